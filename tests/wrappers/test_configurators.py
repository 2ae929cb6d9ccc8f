"""What every configurator keeps to, whichever file it is in."""

from pathlib import Path

import pytest

from target_algorithms.errors import BadInput
from wrappers import configurators
from wrappers.files import read_lines
from wrappers.run import training_pairs
from wrappers.scenario import read

TRIALS = 26
NAMES = [
    pytest.param(name, marks=pytest.mark.irace if name == "irace" else ())
    for name in configurators.names()
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", ["set", "meta"])
def test_a_configurator_keeps_to_the_rules(
    name: str, variant: str, suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios/digits" / variant)
    space = scenario.space
    first, again = (
        configurators.execute(scenario, name, 3, TRIALS, 1, tmp_path / folder)
        for folder in ("first", "again")
    )
    trials = read_lines(first / "runhistory.jsonl")
    trajectory = read_lines(first / "trajectory.jsonl")

    assert 0 < len(trials) <= TRIALS
    assert [trial["trial"] for trial in trials] == list(range(1, len(trials) + 1))
    assert trials[0]["config"] == trajectory[0]["config"] == space.default
    pairs = training_pairs(scenario, 3, TRIALS)
    assert {(trial["instance"], trial["seed"]) for trial in trials} <= set(pairs)
    asked = [(trial["config_id"], trial["instance"], trial["seed"]) for trial in trials]
    assert len(set(asked)) == len(asked), "a trial was paid for twice"
    evaluated = {trial["config_id"] for trial in trials}
    assert all(entry["config_id"] in evaluated for entry in trajectory)
    for trial in trials:
        assert space.check(trial["config"]) == trial["config"]
        assert trial["active_weights"] == 600 or variant == "dense"

    same = read_lines(again / "runhistory.jsonl")
    assert [t["config_id"] for t in same] == [t["config_id"] for t in trials]
    assert [t["cost"] for t in same] == [t["cost"] for t in trials]


def test_the_configurators_that_the_suite_compares_are_there() -> None:
    assert {"random_search", "smac", "irace"} <= set(configurators.names())


def test_an_unknown_configurator_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="unknown configurator 'nosuch', expected one of default"):
        configurators.load("nosuch")


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = configurators.missing()["smac"]
    assert reason == "the package smac is not installed; run './run_all.sh setup'"
