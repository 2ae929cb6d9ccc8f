"""A whole benchmark: which runs it makes, and that it goes on where it was."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from commands.benchmark import Benchmark, Job, ablated, run_jobs
from sparse_training.errors import BadInput
from target_algorithms import Role, variants
from tests.examples import (
    BASELINE,
    COMBINATION,
    CONFIGURING,
    DEFAULT_ONLY,
    OTHER,
    PLAIN,
    REFERENCE,
    scenario_name,
)
from wrappers.configurators import TEMPLATE, configurators
from wrappers.locks import locked
from wrappers.processes import environment
from wrappers.progress import BENCHMARKS
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    append_line,
    read_run,
    write_run,
)
from wrappers.scenario import read
from wrappers.space import Config, config_id

FIRST = configurators()[TEMPLATE.stem]


def plan(results: Path) -> Benchmark:
    return Benchmark(
        sets=("digits",),
        variants=(PLAIN.name, OTHER.name),
        configurators=None,
        trials=3,
        seeds=2,
        validation_seeds=1,
        workers=2,
        results=results,
    )


def test_every_configurator_gets_the_same_budget_and_seeds_and_baselines_only_the_default(
    tmp_path: Path,
) -> None:
    jobs = plan(tmp_path).jobs()
    configured = [job for job in jobs if job.configurator.configures]
    assert {job.scenario.variant for job in configured} == {PLAIN, OTHER}
    assert {job.trials for job in configured} == {3}
    by_configurator: dict[str, set[tuple[str, int]]] = {}
    for job in configured:
        of_this = by_configurator.setdefault(job.configurator.name, set())
        of_this.add((job.scenario.name, job.seed))
    usable = {each.name for each in CONFIGURING if each.missing is None}
    assert set(by_configurator) == usable and len(usable) > 1
    assert len(set(map(frozenset, by_configurator.values()))) == 1
    with_default = {job.scenario.variant for job in jobs if not job.configurator.configures}
    assert with_default == {
        each for each in variants().values() if each.role in (Role.BASELINE, Role.REFERENCE)
    }


def test_configurators_that_are_named_are_the_only_ones_beside_the_default(tmp_path: Path) -> None:
    jobs = replace(plan(tmp_path), configurators=(FIRST.name,)).jobs()
    assert {job.configurator for job in jobs} == {FIRST, DEFAULT_ONLY}
    with pytest.raises(BadInput, match="unknown configurator 'nosuch', expected one of"):
        replace(plan(tmp_path), configurators=(FIRST.name, "nosuch")).jobs()


def test_a_run_that_another_process_works_on_is_waited_for_and_is_no_failure(
    suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios" / scenario_name())
    ours, theirs = (Job(scenario, DEFAULT_ONLY, seed, 3, tmp_path) for seed in (1, 2))
    failed: dict[Path, str] = {}
    with locked(theirs.folder):
        steps = run_jobs([theirs, ours], 1, failed)
        events: dict[str, None] = {}
        while f"{ours.name} finished" not in events:
            events[str(next(steps)[1])] = None
    *_, (done, _) = steps
    assert list(events) == [f"{theirs.name} is another process's", f"{ours.name} finished"]
    assert done == 6 and not failed and theirs.finished


def test_the_full_benchmark_has_every_variant_with_its_own_budget(tmp_path: Path) -> None:
    jobs = replace(plan(tmp_path), variants=None, trials=None).jobs()
    configured = [job for job in jobs if job.configurator.configures]
    assert {job.scenario.variant for job in configured} == {
        each
        for each in variants().values()
        if each.role is not Role.REFERENCE and "peak_weights" not in each.requires
    }
    assert {job.trials for job in configured} == {job.scenario.runcount_limit for job in configured}


def test_jobs_run_side_by_side_and_finished_ones_are_not_repeated(
    suite: Path, tmp_path: Path
) -> None:
    jobs = [
        Job(read(suite / "scenarios" / scenario_name(variant)), DEFAULT_ONLY, 1, 3, tmp_path)
        for variant in (PLAIN, BASELINE, REFERENCE)
    ]
    failed: dict[Path, str] = {}
    *_, (done, event) = run_jobs(jobs, 2, failed)
    assert (
        done == 9
        and str(event).endswith(" 1 finished")
        and not failed
        and all(job.finished for job in jobs)
    )
    before = [(job.folder / RUNHISTORY).stat().st_mtime_ns for job in jobs]
    assert list(run_jobs(jobs, 2, failed)) == [(9, None)]
    assert [(job.folder / RUNHISTORY).stat().st_mtime_ns for job in jobs] == before


def test_a_run_that_fails_is_named_with_its_last_words_and_takes_nothing_along(
    suite: Path, tmp_path: Path
) -> None:
    bad, good = (
        Job(read(suite / "scenarios" / scenario_name(variant)), DEFAULT_ONLY, 1, 3, tmp_path)
        for variant in (PLAIN, BASELINE)
    )
    (bad.scenario.folder / "scenario.txt").write_text("algo = nonsense\n")
    failed: dict[Path, str] = {}
    *_, (done, event) = run_jobs([bad, good], 2, failed)
    assert done == 6 and good.finished and event in (f"{bad.name} failed", f"{good.name} finished")
    assert list(failed) == [bad.folder] and "sparse-aclib: error: " in failed[bad.folder]


def test_data_that_were_not_fetched_are_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "empty"))
    lacking = replace(plan(tmp_path / "results"), sets=("digits", "letter97"))
    with pytest.raises(BadInput, match=r"letter97/.* 1 of its 1 .* 'sparse-aclib fetch letter97'"):
        lacking.do()
    assert not (tmp_path / "results").exists()


def test_where_every_run_fails_the_first_ones_last_words_are_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(jobs: list[Job], at_once: int, failed: dict[Path, str]) -> Iterator[tuple[int, None]]:
        failed.update({job.folder: f"no {job.configurator.name}" for job in jobs})
        yield 0, None

    monkeypatch.setattr("commands.benchmark.run_jobs", fail)
    with pytest.raises(
        BadInput, match=rf"all \d+ runs failed; the first is .*/seed-1: no {DEFAULT_ONLY.name}"
    ):
        plan(tmp_path).do()
    left = [path.name for path in tmp_path.iterdir()]
    assert left == [BENCHMARKS], "the plan; nothing to validate, to ablate, to report"


def test_a_run_with_all_its_trials_but_no_end_is_not_finished(suite: Path, tmp_path: Path) -> None:
    job = Job(read(suite / "scenarios" / scenario_name()), DEFAULT_ONLY, 1, 3, tmp_path)
    assert list(run_jobs([job], 1, {}))[-1] == (3, f"{job.name} finished")
    write_run(job.folder, replace(read_run(job.folder), state="running"))
    assert not job.finished and job.done == 3


def test_a_finished_run_with_another_budget_does_not_pass_for_this_one(
    suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios" / scenario_name())
    list(run_jobs([Job(scenario, DEFAULT_ONLY, 1, 3, tmp_path)], 1, {}))
    with pytest.raises(BadInput, match="has trials 3, asked for was 50"):
        list(run_jobs([Job(scenario, DEFAULT_ONLY, 1, 50, tmp_path)], 1, {}))


def test_a_killed_benchmark_leaves_no_run_behind_and_goes_on(suite: Path, tmp_path: Path) -> None:
    scenario = suite / "scenarios" / scenario_name()
    program = (
        "from pathlib import Path\n"
        "from commands.benchmark import Job, run_jobs\n"
        "from wrappers.configurators import configurator\n"
        "from wrappers.scenario import read\n"
        f"by = configurator({FIRST.name!r})\n"
        f"job = Job(read({str(scenario)!r}), by, 1, 40, Path({str(tmp_path)!r}))\n"
        "list(run_jobs([job], 1, {}))\n"
    )
    job = Job(read(scenario), FIRST, 1, 40, tmp_path)
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


def test_ablated_is_the_run_with_the_best_training_estimate_of_a_combination(
    tmp_path: Path,
) -> None:
    jobs = [
        Job(read(scenario_name(variant)), FIRST, seed, 3, tmp_path)
        for variant in (PLAIN, COMBINATION)
        for seed in (1, 2)
    ]

    def incumbent(job: Job, value: int, estimate: float) -> None:
        config: Config = {"a": value}
        entry = Incumbent(trial=1, config_id=config_id(config), config=config, estimate=estimate)
        append_line(job.folder / TRAJECTORY, entry)

    for job, estimate in zip(jobs, (0.0, 0.1, 0.3, 0.2), strict=True):
        job.folder.mkdir(parents=True)
        incumbent(job, 1, 0.01)
        incumbent(job, 2, estimate)
    assert ablated(jobs) == [jobs[3]]
    incumbent(jobs[3], 1, 0.0)
    assert ablated(jobs) == [jobs[2]], "it ended with the default: nothing to ablate"
    assert ablated(jobs[:2]) == [jobs[0]], "of another variant where there is no combination"
