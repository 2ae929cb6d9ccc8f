"""Validation: fresh seeds on test instances, nothing evaluated twice, resumable."""

from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from tests.examples import DEFAULT_ONLY
from tests.wrappers.cases import execute, of_other_code
from wrappers.pairs import validation_pairs
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Numbered,
    Record,
    locked,
    read_lines,
)
from wrappers.scenario import Scenario
from wrappers.space import config_id
from wrappers.validation import runs_below, validate


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
            (identity, *pair) for identity in wanted for pair in validation_pairs(scenario, 2)
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


def test_a_run_that_another_process_works_on_is_not_validated(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrappers.records._PATIENCE", 0.3)
    run = execute(scenario, tmp_path, 1, by=DEFAULT_ONLY)
    with locked(run), pytest.raises(BadInput, match="another process is working on this run"):
        validate([run], seeds=1, workers=1)
    assert validate([run], seeds=1, workers=1) == 1


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    assert runs_below([tmp_path]) == []
    with pytest.raises(BadInput, match="run.json: no such file, expected the record of a run"):
        validate([tmp_path], seeds=1, workers=1)
