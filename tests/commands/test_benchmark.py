"""A whole benchmark: which runs it makes, and that it goes on where it was."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from target_algorithms.errors import BadInput
from target_algorithms.variants import variants
from wrappers.benchmark import Benchmark, Job, ablated, run_jobs
from wrappers.evaluator import environment
from wrappers.files import append_line
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


@contextmanager
def no_bar(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    yield lambda *done: None


def no_method(*arguments: object) -> dict[str, object]:
    raise AssertionError("nothing to ablate")


def no_report(results: Path, missing: dict[str, str]) -> Path:
    raise AssertionError("nothing to report")


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
    assert {job.scenario.variant for job in configured} == set(variants()) - {"dense", "granet"}
    assert {job.trials for job in configured} == {job.scenario.runcount_limit for job in configured}


def test_jobs_run_side_by_side_and_finished_ones_are_not_repeated(
    suite: Path, tmp_path: Path
) -> None:
    jobs = [
        Job(read(suite / "scenarios/digits" / variant), "default", 1, 3, tmp_path)
        for variant in ("set", "static", "dense")
    ]
    failed: dict[Path, str] = {}
    *_, done = run_jobs(jobs, 2, failed)
    assert done == 9 and not failed and all(job.finished for job in jobs)
    before = [(job.folder / "runhistory.jsonl").stat().st_mtime_ns for job in jobs]
    assert list(run_jobs(jobs, 2, failed)) == [9]
    assert [(job.folder / "runhistory.jsonl").stat().st_mtime_ns for job in jobs] == before


def test_a_run_that_fails_is_named_with_its_last_words_and_takes_nothing_along(
    suite: Path, tmp_path: Path
) -> None:
    bad, good = (
        Job(read(suite / "scenarios/digits" / variant), "default", 1, 3, tmp_path)
        for variant in ("set", "static")
    )
    (bad.scenario.folder / "scenario.txt").write_text("algo = nonsense\n")
    failed: dict[Path, str] = {}
    *_, done = run_jobs([bad, good], 2, failed)
    assert done == 6 and good.finished
    assert list(failed) == [bad.folder] and "sparse-aclib: error: " in failed[bad.folder]


def test_data_that_were_not_fetched_are_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "empty"))
    lacking = plan(tmp_path / "results", sets=("digits", "optdigits"))
    with pytest.raises(
        BadInput, match=r"optdigits/.* 1 of its 1 .* 'sparse-aclib fetch optdigits'"
    ):
        lacking.do(no_bar, no_method, no_report)
    assert not (tmp_path / "results").exists()


def test_where_every_run_fails_the_first_ones_last_words_are_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(jobs: list[Job], at_once: int, failed: dict[Path, str]) -> Iterator[int]:
        failed.update({job.folder: f"no {job.configurator}" for job in jobs})
        yield 0

    monkeypatch.setattr("wrappers.benchmark.run_jobs", fail)
    with pytest.raises(BadInput, match=r"all \d+ runs failed; the first is .*/seed-1: no default"):
        plan(tmp_path).do(no_bar, no_method, no_report)


def test_a_run_with_all_its_trials_but_no_end_is_not_finished(suite: Path, tmp_path: Path) -> None:
    job = Job(read(suite / "scenarios/digits/set"), "default", 1, 3, tmp_path)
    assert list(run_jobs([job], 1, {}))[-1] == 3
    about = job.folder / "run.json"
    about.write_text(about.read_text().replace('"finished"', '"running"', 1))
    assert not job.finished and job.done == 3


def test_a_finished_run_with_another_budget_does_not_pass_for_this_one(
    suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios/digits/set")
    list(run_jobs([Job(scenario, "default", 1, 3, tmp_path)], 1, {}))
    with pytest.raises(BadInput, match="has trials 3, asked for was 50"):
        list(run_jobs([Job(scenario, "default", 1, 50, tmp_path)], 1, {}))


def test_a_killed_benchmark_leaves_no_run_behind_and_goes_on(suite: Path, tmp_path: Path) -> None:
    scenario = suite / "scenarios/digits/set"
    program = (
        "from pathlib import Path\n"
        "from wrappers.benchmark import Job, run_jobs\n"
        "from wrappers.scenario import read\n"
        f"job = Job(read({str(scenario)!r}), 'random_search', 1, 40, Path({str(tmp_path)!r}))\n"
        "list(run_jobs([job], 1, {}))\n"
    )
    job = Job(read(scenario), "random_search", 1, 40, tmp_path)
    benchmark = subprocess.Popen([sys.executable, "-c", program], env=environment())
    while job.done < 3:
        time.sleep(0.02)
    benchmark.kill()
    benchmark.wait()
    time.sleep(0.5)
    stopped_at = job.done
    time.sleep(0.7)
    assert job.done == stopped_at < 40
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True)
    assert job.finished and job.done == 40


def test_ablated_is_the_run_with_the_best_training_estimate_of_meta(tmp_path: Path) -> None:
    jobs = [
        Job(read(f"digits/{variant}"), "random_search", seed, 3, tmp_path)
        for variant in ("rigl", "meta")
        for seed in (1, 2)
    ]
    for job, estimate in zip(jobs, (0.0, 0.1, 0.3, 0.2), strict=True):
        job.folder.mkdir(parents=True)
        append_line(job.folder / "trajectory.jsonl", {"config_id": "a", "estimate": 0.01})
        append_line(job.folder / "trajectory.jsonl", {"config_id": "b", "estimate": estimate})
    assert ablated(jobs) == [jobs[3]]
    append_line(jobs[3].folder / "trajectory.jsonl", {"config_id": "a", "estimate": 0.0})
    assert ablated(jobs) == [jobs[2]], "it ended with the default: nothing to ablate"
