"""Validation: fresh seeds on test instances, nothing evaluated twice, resumable."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from analysis.records import read as frames
from sparse_training.errors import BadInput, Busy
from target_algorithms.contract import Details, Result, Trial
from tests.examples import DEFAULT_ONLY
from tests.wrappers.cases import execute, of_other_code
from wrappers.check import check
from wrappers.locks import locked
from wrappers.pairs import validation_pairs
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Key,
    Numbered,
    Record,
    read_lines,
    to_json,
)
from wrappers.scenario import Scenario
from wrappers.space import config_id
from wrappers.validation import runs_below, validate, validated
from wrappers.warm import WorkerProcess


def test_every_incumbent_meets_every_test_pair_once_and_the_default_only_once_for_all_runs(
    scenario: Scenario, tmp_path: Path
) -> None:
    runs = [execute(scenario, tmp_path, 6, seed=seed) for seed in (1, 2)]
    incumbents = [{e.config_id for e in read_lines(r / TRAJECTORY, Incumbent)} for r in runs]
    default = config_id(read_lines(runs[0] / TRAJECTORY, Incumbent)[0].config)
    assert default in incumbents[0] & incumbents[1]

    evaluated = validate(runs, seeds=2, workers=1)
    assert evaluated == 2 * len(incumbents[0] | incumbents[1])
    for run, wanted in zip(runs, incumbents, strict=True):
        records = read_lines(run / VALIDATION, Record)
        assert sorted(record.key for record in records) == sorted(
            Key(identity, *pair) for identity in wanted for pair in validation_pairs(scenario, 2)
        )
        assert records[0].status == "SUCCESS"
        assert '"trial"' not in (run / VALIDATION).read_text()

    assert validate(runs, seeds=2, workers=1) == 0
    assert validate(runs[:1], seeds=3, workers=1) == len(incumbents[0])


def test_an_interrupted_validation_goes_on_with_what_is_missing(
    scenario: Scenario, tmp_path: Path
) -> None:
    run = execute(scenario, tmp_path, 1, by=DEFAULT_ONLY)
    validate([run], seeds=4, workers=1)
    before = {record.seed: record.cost for record in read_lines(run / VALIDATION, Record)}
    lines = (run / VALIDATION).read_text().splitlines(keepends=True)
    (run / VALIDATION).write_text("".join(lines[:2]) + lines[2][:30])
    assert validate([run], seeds=4, workers=1) == 2
    assert {r.seed: r.cost for r in read_lines(run / VALIDATION, Record)} == before
    assert len(before) == len((run / VALIDATION).read_text().splitlines()) == 4


def test_a_run_is_validated_on_its_own_scenario_or_not_at_all(
    scenario: Scenario, tmp_path: Path
) -> None:
    run = execute(scenario, tmp_path, 1, by=DEFAULT_ONLY)
    trained = read_lines(run / RUNHISTORY, Numbered)[0].training_flops
    validate([run], seeds=1, workers=1)
    validated = read_lines(run / VALIDATION, Record)[0].training_flops
    assert validated == pytest.approx(trained, rel=0.1), "not with the 600 samples of the run"
    text = scenario.text.replace("--training-samples 600", "--training-samples 601")
    scenario.path.write_text(text)
    with pytest.raises(BadInput, match="another version of scenario"):
        validate([run], seeds=2, workers=1)


def test_what_a_sibling_has_is_copied_unless_other_code_made_it(
    scenario: Scenario, tmp_path: Path
) -> None:
    one, two, three = (execute(scenario, tmp_path, 1, by=DEFAULT_ONLY, seed=n) for n in (1, 2, 3))
    assert validate([one], seeds=2, workers=1) == 2
    assert validate([two], seeds=2, workers=1) == 0
    assert (two / VALIDATION).read_text() == (one / VALIDATION).read_text()
    for run in (one, two):
        (run / VALIDATION).write_text(of_other_code((run / VALIDATION).read_text()))
    assert validate([three], seeds=2, workers=1) == 2
    with pytest.raises(BadInput, match="another version of what trials of .* run on the"):
        validate([one], seeds=2, workers=1)


def crashed(run: Path) -> None:
    """Makes the first validated trial of a run one that crashed."""
    first, *others = read_lines(run / VALIDATION, Record)
    failed = replace(first, status="CRASHED", cost=1.0, misc=Details(error="the process died"))
    lines = [to_json(record) for record in (failed, *others)]
    (run / VALIDATION).write_text("".join(f"{line}\n" for line in lines))


def test_what_crashed_is_no_answer_to_other_runs_and_is_evaluated_again_when_asked(
    scenario: Scenario, tmp_path: Path
) -> None:
    one, two = (execute(scenario, tmp_path, 1, by=DEFAULT_ONLY, seed=n) for n in (1, 2))
    validate([one], seeds=2, workers=1)
    before = {record.key: record.cost for record in read_lines(one / VALIDATION, Record)}
    crashed(one)
    assert validate([two], seeds=2, workers=1) == 1
    assert {r.key: r.cost for r in read_lines(two / VALIDATION, Record)} == before
    assert validate([one], seeds=2, workers=1) == 0
    assert validate([one], seeds=2, workers=1, retry_failed=True) == 0, "its sibling has it now"
    assert {r.key: r.cost for r in read_lines(one / VALIDATION, Record)} == before
    assert [record.status for record in validated([one, two])] == ["SUCCESS"] * 2
    assert check(tmp_path)[1] == [], "a trial that was evaluated again is not doubled"


def test_a_worker_that_is_killed_in_a_validation_leaves_no_trace_in_the_record(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (execute(scenario, tmp_path / name, 1, by=DEFAULT_ONLY) for name in ("one", "two"))
    validate([one], seeds=6, workers=2)
    kept = WorkerProcess.run
    asked: list[int] = []

    def run(worker: WorkerProcess, trial: Trial) -> Result:
        asked.append(trial.seed)
        if len(asked) == 3:  # as the kernel does where memory is short
            os.kill(worker.pid, signal.SIGKILL)
        return kept(worker, trial)

    monkeypatch.setattr(WorkerProcess, "run", run)
    assert validate([two], seeds=6, workers=1) == 6
    wanted, got = (read_lines(run / VALIDATION, Record) for run in (one, two))
    assert {r.key: (r.status, r.cost) for r in got} == {r.key: (r.status, r.cost) for r in wanted}


@pytest.mark.parametrize("place", [0, -1])
def test_a_run_that_lost_an_incumbent_is_neither_validated_nor_reported(
    scenario: Scenario, tmp_path: Path, place: int
) -> None:
    run = execute(scenario, tmp_path, 20, seed=3)
    validate([run], seeds=1, workers=1)
    lines = (run / TRAJECTORY).read_text().splitlines(keepends=True)
    assert len(lines) > 1
    del lines[place]
    (run / TRAJECTORY).write_text("".join(lines))
    with pytest.raises(BadInput, match=r"configuration \w+, expected .*; 'sparse-aclib check"):
        validate([run], seeds=2, workers=1)
    with pytest.raises(BadInput, match="expected (the default|one of trajectory)"):
        frames(tmp_path)


def test_a_worker_that_is_killed_while_it_loads_is_started_again(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = execute(scenario, tmp_path, 1, by=DEFAULT_ONLY)
    kept = WorkerProcess._pipes
    started: list[int] = []

    def pipes(worker: WorkerProcess) -> tuple[IO[bytes], IO[bytes]]:
        made = kept(worker)
        if worker.pid not in started:
            started.append(worker.pid)
            if len(started) == 1:
                os.kill(worker.pid, signal.SIGKILL)
        return made

    monkeypatch.setattr(WorkerProcess, "_pipes", pipes)
    assert validate([run], seeds=1, workers=1) == 1 and len(started) == 2


def test_a_run_that_another_process_works_on_is_not_validated(
    scenario: Scenario, tmp_path: Path
) -> None:
    run = execute(scenario, tmp_path, 1, by=DEFAULT_ONLY)
    with locked(run), pytest.raises(Busy, match="another process is working on it"):
        validate([run], seeds=1, workers=1, patience=0.1)
    assert validate([run], seeds=1, workers=1) == 1


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run in it; 'sparse-aclib run' makes one"):
        runs_below([tmp_path])
    with pytest.raises(BadInput, match="run.json: no such file, expected the record of a run"):
        validate([tmp_path], seeds=1, workers=1)
