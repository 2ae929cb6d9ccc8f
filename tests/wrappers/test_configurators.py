"""What every configurator keeps to, whichever file it is in."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms import Variant
from tests.examples import (
    BASELINE,
    COMBINATION,
    CONFIGURING,
    PLAIN,
    each_of,
    scenario_name,
    within_budget,
)
from tests.wrappers.cases import with_options
from wrappers import configurators
from wrappers.configurators import Configurator
from wrappers.pairs import training_pairs
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Numbered,
    read_lines,
    read_run,
    write_run,
)
from wrappers.scenario import read
from wrappers.space import canonical, config_id, read_pcs, variant_space

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

    used = sum(trial.fidelity for trial in trials)
    assert 0 < used < TRIALS + 1e-9
    info = read_run(first)
    assert info.trials_used == len(trials) and info.budget_used == pytest.approx(used)
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
        assert trial.active_weights == 600 or trial.over_budget or not within_budget(variant)

    same = read_lines(again / RUNHISTORY, Numbered)
    assert [trial.config_id for trial in same] == [trial.config_id for trial in trials]
    assert [trial.cost for trial in same] == [trial.cost for trial in trials]


def all_but(*free: str) -> str:
    """The option that fixes all parameters of the baseline at their defaults but these."""
    left = [p for p in variant_space(BASELINE).parameters if p.name not in free]
    return "--only " + ",".join(f"{p.name}:{p.default}" for p in left)


@pytest.mark.parametrize("configurator", each_of(CONFIGURING))
@pytest.mark.parametrize(
    ("free", "configurations"),
    [
        (("decay_biases",), 2),
        (("decay_biases", "norm", "sparse_gradient_correction"), 10),
        (("depth_change", "learning_rate_schedule"), 12),
    ],
)
def test_in_a_space_of_few_configurations_the_whole_budget_goes_to_them(
    configurator: Configurator,
    free: tuple[str, ...],
    configurations: int,
    suite: Path,
    tmp_path: Path,
) -> None:
    """And a run of it that was cut off goes on as if it had not been."""
    trials = 40
    scenario = read(with_options(suite, BASELINE, all_but(*free)))
    every = scenario.space.configurations(trials)
    assert every is not None and len(every) == len({canonical(c) for c in every}) == configurations
    folder = configurators.execute(
        scenario, configurator, seed=2, trials=trials, workers=2, results=tmp_path
    )
    records = read_lines(folder / RUNHISTORY, Numbered)
    whole = {record.trial: (record.key, record.cost) for record in records}
    info = read_run(folder)
    assert info.budget_used is not None and trials - 1 < info.budget_used <= trials
    assert len(records) == info.trials_used and info.state == "finished"
    tried, there = {r.config_id for r in records}, {config_id(config) for config in every}
    assert tried <= there and (tried == there or configurations > 2)
    settings, trajectory = read_run(folder).settings, (folder / TRAJECTORY).read_text()

    write_run(folder, replace(read_run(folder), state="running"))
    kept = [line for line in (folder / RUNHISTORY).read_text().splitlines(keepends=True)][:-15]
    (folder / RUNHISTORY).write_text("".join(kept))
    configurators.execute(
        scenario, configurator, seed=2, trials=trials, workers=2, results=tmp_path
    )
    again = read_lines(folder / RUNHISTORY, Numbered)
    assert {record.trial: (record.key, record.cost) for record in again} == whole
    assert read_run(folder).settings == settings
    assert (folder / TRAJECTORY).read_text() == trajectory


def test_all_configurations_of_a_space_are_those_that_can_be_sampled() -> None:
    space = read_pcs("a {x, y} [x]\nb [1, 3] [1]il\nc {u, v} [u]\nb | a in {x}\n{a=y, c=v}", "t")
    every = space.configurations(8)
    assert every is not None
    rng = random.Random(1)
    assert {canonical(c) for c in every} == {canonical(space.sample(rng)) for _ in range(500)}
    assert [space.check(config) for config in every] == list(every) and len(every) == 7
    assert space.configurations(7) is None  # the forbidden one is counted
    assert read_pcs("a [0, 1] [0]", "t").configurations(10**6) is None
    assert read_pcs("a [0, 1000000000000] [0]i", "t").configurations(1000) is None


@pytest.mark.parametrize("seed", [-1, 2**31 - 1, 2**40])
def test_a_seed_that_some_configurator_cannot_have_is_refused(
    seed: int, suite: Path, tmp_path: Path
) -> None:
    scenario = read(suite / "scenarios" / scenario_name())
    with pytest.raises(BadInput, match=f"the seed is {seed}, expected an integer from 0 to 2147"):
        configurators.execute(
            scenario, CONFIGURING[0], seed=seed, trials=1, workers=1, results=tmp_path
        )
    assert not list(tmp_path.glob("digits"))


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
