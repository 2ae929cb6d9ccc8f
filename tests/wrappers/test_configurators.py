"""What every configurator keeps to, whichever file it is in."""

import shutil
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms import Role, Variant
from tests.examples import COMBINATION, PLAIN, each_of, scenario_name
from wrappers import configurators
from wrappers.configurators import Configurator
from wrappers.pairs import training_pairs
from wrappers.records import RUNHISTORY, TRAJECTORY, Incumbent, Numbered, read_lines
from wrappers.scenario import read

TRIALS = 26


@pytest.mark.parametrize("configurator", each_of(configurators.configurators().values()))
@pytest.mark.parametrize("variant", [PLAIN, COMBINATION], ids=lambda variant: variant.name)
def test_a_configurator_keeps_to_the_rules(
    configurator: Configurator, variant: Variant, suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios" / scenario_name(variant))
    space = scenario.space
    first, again = (
        configurators.execute(
            scenario, configurator, seed=3, trials=TRIALS, workers=1, results=tmp_path / folder
        )
        for folder in ("first", "again")
    )
    trials = read_lines(first / RUNHISTORY, Numbered)
    trajectory = read_lines(first / TRAJECTORY, Incumbent)

    assert 0 < len(trials) <= TRIALS
    assert [trial.trial for trial in trials] == list(range(1, len(trials) + 1))
    assert trials[0].config == trajectory[0].config == space.default
    pairs = training_pairs(scenario, 3, TRIALS)
    assert {(trial.instance, trial.seed) for trial in trials} <= set(pairs)
    asked = [trial.key for trial in trials]
    assert len(set(asked)) == len(asked), "a trial was paid for twice"
    evaluated = {trial.config_id for trial in trials}
    assert all(entry.config_id in evaluated for entry in trajectory)
    assert (len(evaluated) > 1) == configurator.configures
    for trial in trials:
        assert space.check(trial.config) == trial.config
        assert trial.active_weights == 600 or variant.role is Role.REFERENCE

    same = read_lines(again / RUNHISTORY, Numbered)
    assert [trial.config_id for trial in same] == [trial.config_id for trial in trials]
    assert [trial.cost for trial in same] == [trial.cost for trial in trials]


def test_an_unknown_configurator_is_answered_with_the_known_ones() -> None:
    first = next(iter(configurators.configurators()))
    with pytest.raises(BadInput, match=f"unknown configurator 'nosuch', expected one of {first}, "):
        configurators.configurator("nosuch")


NEEDY = '''\
"""Needs a library that nobody has."""

CONFIGURES = False
SLOW = True


def available():
    return "the package nosuch is not installed; run './run_all.sh setup'"


def versions():
    return {"nosuch": "1.0"}


def configure(scenario, run, *, seed):
    run.new_incumbent(run.space.default, None)
'''


def test_what_a_configurator_says_of_itself_is_asked_when_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wrappers" / "configurators" / "needy.py"
    file.parent.mkdir(parents=True)
    file.write_text(NEEDY)
    file.with_name("_helper.py").write_text("raise AssertionError")
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(tmp_path))
    needy = configurators.configurators()["needy"]
    assert (needy.file, needy.configures, needy.slow) == (file, False, True)
    assert needy.versions == {"nosuch": "1.0"}
    assert "_helper" not in configurators.configurators()
    reason = "the package nosuch is not installed; run './run_all.sh setup'"
    assert needy.missing == configurators.missing()["needy"] == reason
    with pytest.raises(BadInput, match=f"needy: {reason}"):
        configurators.configurator("needy")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import nosuch", "ModuleNotFoundError: No module named 'nosuch'"),
        ("def (", "SyntaxError: "),
    ],
)
def test_a_configurator_that_cannot_be_imported_is_one_line_with_its_place(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wrappers" / "configurators" / "broken.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(tmp_path))
    with pytest.raises(BadInput, match=f"{file} cannot be imported: {problem}") as refusal:
        configurators.missing()
    assert "\n" not in str(refusal.value)


def test_a_configurator_that_two_roots_have_is_refused_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = next(iter(configurators.configurators().values()))
    file = tmp_path / "wrappers" / "configurators" / own.file.name
    file.parent.mkdir(parents=True)
    shutil.copy(own.file, file)
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(tmp_path))
    expected = f"two configurators are called {own.name}: {own.file} and {file}; rename one"
    with pytest.raises(BadInput, match=expected):
        configurators.configurators()
