"""A whole benchmark: which runs it makes, and that it goes on where it was."""

from pathlib import Path

import pytest

from target_algorithms.errors import BadInput
from wrappers.benchmark import Benchmark, Job, ablated, run_jobs
from wrappers.run import append_line
from wrappers.scenario import read


def plan(results: Path, **changes: object) -> Benchmark:
    settings: dict[str, object] = {
        "sets": ("digits",),
        "variants": ("set", "rigl"),
        "trials": 3,
        "seeds": 2,
        "validation_seeds": 1,
        "workers": 2,
        "results": results,
    }
    return Benchmark(**(settings | changes))  # type: ignore[arg-type]


def test_every_configurator_gets_the_same_budget_and_seeds_and_baselines_only_the_default(
    tmp_path: Path,
) -> None:
    jobs = plan(tmp_path).jobs()
    configured = [job for job in jobs if job.configurator != "default"]
    assert {job.scenario.variant for job in configured} == {"set", "rigl"}
    assert {job.trials for job in configured} == {3}
    by_configurator: dict[str, set[tuple[str, int]]] = {}
    for job in configured:
        by_configurator.setdefault(job.configurator, set()).add((job.scenario.name, job.seed))
    assert {"random_search", "smac"} <= set(by_configurator)
    assert len(set(map(frozenset, by_configurator.values()))) == 1
    assert {j.scenario.variant for j in jobs if j.configurator == "default"} == {"static", "dense"}


def test_the_full_benchmark_has_every_variant_with_its_own_budget(tmp_path: Path) -> None:
    jobs = plan(tmp_path, variants=None, trials=None).jobs()
    configured = [job for job in jobs if job.configurator != "default"]
    assert {job.scenario.variant for job in configured} == {"set", "rigl", "meta", "static"}
    assert {job.trials for job in configured} == {job.scenario.runcount_limit for job in configured}


def test_jobs_run_side_by_side_and_finished_ones_are_not_repeated(
    suite: Path, tmp_path: Path
) -> None:
    jobs = [
        Job(read(suite / "scenarios/digits" / variant), "default", 1, 3, tmp_path)
        for variant in ("set", "static", "dense")
    ]
    *_, done = run_jobs(jobs, 2)
    assert done == 9 and all(job.done == 3 for job in jobs)
    before = [(job.folder / "runhistory.jsonl").stat().st_mtime_ns for job in jobs]
    assert list(run_jobs(jobs, 2)) == [9]
    assert [(job.folder / "runhistory.jsonl").stat().st_mtime_ns for job in jobs] == before


def test_a_run_that_fails_ends_the_benchmark_with_its_last_words(
    suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios/digits/set")
    (scenario.folder / "scenario.txt").write_text("algo = nonsense\n")
    with pytest.raises(BadInput, match="sparse-aclib: error: .*scenario.txt"):
        list(run_jobs([Job(scenario, "default", 1, 3, tmp_path)], 1))


def test_ablated_is_the_run_with_the_best_training_estimate_of_meta(tmp_path: Path) -> None:
    jobs = [
        Job(read(f"digits/{variant}"), "random_search", seed, 3, tmp_path)
        for variant in ("rigl", "meta")
        for seed in (1, 2)
    ]
    for job, estimate in zip(jobs, (0.0, 0.1, 0.3, 0.2), strict=True):
        job.folder.mkdir(parents=True)
        append_line(job.folder / "trajectory.jsonl", {"estimate": 0.01})
        append_line(job.folder / "trajectory.jsonl", {"estimate": estimate})
    assert ablated(jobs) == [jobs[3]]
