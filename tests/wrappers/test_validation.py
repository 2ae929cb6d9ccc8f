"""Validation: fresh seeds on test instances, nothing evaluated twice, resumable."""

import json
from pathlib import Path

import pytest

from target_algorithms.errors import BadInput
from wrappers import configurators
from wrappers.files import read_lines
from wrappers.run import validation_pairs
from wrappers.scenario import Scenario, read
from wrappers.space import config_id
from wrappers.validation import runs_below, validate


@pytest.fixture
def rigl(suite: Path) -> Scenario:
    """RigL on digits, 600 samples a trial."""
    return read(suite / "scenarios/digits/rigl")


def test_every_incumbent_meets_every_test_pair_once_and_the_default_only_once_for_all_runs(
    rigl: Scenario, tmp_path: Path
) -> None:
    runs = [configurators.execute(rigl, "random_search", seed, 6, 1, tmp_path) for seed in (1, 2)]
    incumbents = [{e["config_id"] for e in read_lines(r / "trajectory.jsonl")} for r in runs]
    default = config_id(read_lines(runs[0] / "trajectory.jsonl")[0]["config"])
    assert default in incumbents[0] & incumbents[1]

    evaluated = validate(runs, seeds=2, workers=1)
    assert evaluated == 2 * len(incumbents[0] | incumbents[1])
    for run, wanted in zip(runs, incumbents, strict=True):
        records = read_lines(run / "validation.jsonl")
        found = [(r["config_id"], r["instance"], r["seed"]) for r in records]
        assert sorted(found) == sorted(
            (identity, *pair) for identity in wanted for pair in validation_pairs(rigl, 2)
        )
        assert "trial" not in records[0] and records[0]["status"] == "SUCCESS"

    assert validate(runs, seeds=2, workers=1) == 0
    assert validate(runs[:1], seeds=3, workers=1) == len(incumbents[0])


def test_an_interrupted_validation_goes_on_with_what_is_missing(
    rigl: Scenario, tmp_path: Path
) -> None:
    run = configurators.execute(rigl, "default", 1, 1, 1, tmp_path)
    validate([run], seeds=4, workers=1)
    lines = (run / "validation.jsonl").read_text().splitlines(keepends=True)
    (run / "validation.jsonl").write_text("".join(lines[:2]) + lines[2][:30])
    assert validate([run], seeds=4, workers=1) == 2
    costs = {r["seed"]: r["cost"] for r in read_lines(run / "validation.jsonl")}
    assert costs == {json.loads(line)["seed"]: json.loads(line)["cost"] for line in lines}


def test_a_run_is_validated_on_its_own_scenario_or_not_at_all(
    suite: Path, rigl: Scenario, tmp_path: Path
) -> None:
    run = configurators.execute(rigl, "default", 1, 1, 1, tmp_path)
    trained = read_lines(run / "runhistory.jsonl")[0]["training_flops"]
    validate([run], seeds=1, workers=1)
    validated = read_lines(run / "validation.jsonl")[0]["training_flops"]
    assert validated == pytest.approx(trained, rel=0.1), "not with the 600 samples of the run"
    file = suite / "scenarios/digits/rigl/scenario.txt"
    file.write_text(file.read_text().replace("--training-samples 600", "--training-samples 601"))
    with pytest.raises(BadInput, match="another version of scenario"):
        validate([run], seeds=2, workers=1)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    assert runs_below([tmp_path]) == []
    with pytest.raises(BadInput, match="no readable run.json"):
        validate([tmp_path], seeds=1, workers=1)
