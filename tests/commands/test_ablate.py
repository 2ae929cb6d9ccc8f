"""An ablation of a run: real trials, kept, gone on with, outside the budget."""

from pathlib import Path

import pytest

from commands.ablate import ablate
from sparse_training.errors import BadInput, Busy
from tests.examples import DEFAULT_ONLY, scenario_name
from wrappers import configurators
from wrappers.locks import locked
from wrappers.pairs import ablation_pairs
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    RUNHISTORY,
    TRAJECTORY,
    AblationPath,
    Incumbent,
    Record,
    append_line,
    read_lines,
    read_whole,
)
from wrappers.scenario import Scenario, read
from wrappers.space import config_id

CHANGES = {"batch_size": 32, "learning_rate_sgd": 0.05}


@pytest.fixture
def scenario(suite: Path) -> Scenario:
    return read(suite / "scenarios" / scenario_name())


@pytest.fixture
def run(scenario: Scenario, tmp_path: Path) -> Path:
    """A run whose incumbent differs in two parameters from the default."""
    folder = configurators.execute(
        scenario, DEFAULT_ONLY, seed=1, trials=1, workers=1, results=tmp_path / "results"
    )
    config = scenario.space.default | CHANGES
    entry = Incumbent(trial=1, config_id=config_id(config), config=config, estimate=0.1)
    append_line(folder / TRAJECTORY, entry)
    return folder


def test_an_ablation_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    scenario: Scenario, run: Path
) -> None:
    before = (run / RUNHISTORY).read_bytes()
    asked: list[int] = []

    def stop(done: int, most: int) -> None:
        assert 0 <= done <= most
        asked.append(most)
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(run, trials=50, workers=1, progress=stop)
    assert not (run / ABLATION).exists()
    kept = (run / ABLATION_TRIALS).read_bytes()
    assert len(read_lines(run / ABLATION_TRIALS, Record)) == 12

    assert ablate(run, trials=50, workers=2) == run / ABLATION
    assert (run / ABLATION_TRIALS).read_bytes().startswith(kept)
    trials = read_lines(run / ABLATION_TRIALS, Record)
    assert len({trial.key for trial in trials}) == len(trials) <= asked[0]
    assert {(trial.instance, trial.seed) for trial in trials} == set(ablation_pairs(scenario))
    assert (run / RUNHISTORY).read_bytes() == before

    path = read_whole(run / ABLATION, AblationPath)
    assert (path.evaluation, path.pairs) == ("trials", len(scenario.training))
    assert path.source == scenario.space.default
    assert path.target == scenario.space.default | CHANGES
    assert {name for step in path.steps for name in step.parameters} == set(CHANGES)
    assert sum(step.gain for step in path.steps) == pytest.approx(
        path.source_cost - path.target_cost
    )
    costs = [t.cost for t in trials if t.config_id == config_id(path.target)]
    assert path.target_cost == pytest.approx(sum(costs) / len(costs))

    whole = (run / ABLATION).read_bytes()
    assert ablate(run, trials=50, workers=1) == run / ABLATION
    assert (run / ABLATION).read_bytes() == whole


def test_an_ablation_costs_no_more_than_its_run_unless_more_is_granted(run: Path) -> None:
    with pytest.raises(BadInput, match=r"takes 35 to 50 trials, more than the 1 .*--trials 50"):
        ablate(run, workers=1)
    assert not (run / ABLATION_TRIALS).exists()
    assert ablate(run, trials=35, workers=2) == run / ABLATION
    assert len(read_lines(run / ABLATION_TRIALS, Record)) <= 35


def test_a_run_that_another_process_works_on_is_not_ablated(
    run: Path,
) -> None:
    with locked(run), pytest.raises(Busy, match="another process is working on it"):
        ablate(run, trials=50, workers=1, patience=0.1)
