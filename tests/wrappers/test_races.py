"""Races side by side, rungs, shares of the training budget."""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms.contract import Details, Result, Trained, Trial
from tests.examples import CONFIGURING, DEFAULT_ONLY, each_of
from tests.wrappers.cases import FIRST, execute, timeless
from wrappers import configurators, foreign
from wrappers.check import check
from wrappers.configurators import Configurator
from wrappers.configurators.hyperband import Bracket
from wrappers.evaluator import Evaluator
from wrappers.races import Race, side_by_side
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Numbered,
    read_lines,
    read_run,
    write_run,
)
from wrappers.run import Ask, BudgetExhausted, Run, open_run
from wrappers.rungs import Best, Rung, ladder
from wrappers.scenario import Scenario
from wrappers.space import Config, config_id


@contextmanager
def opened(scenario: Scenario, results: Path, trials: int, workers: int = 1) -> Iterator[Run]:
    """A run that the test is the configurator of."""
    info = DEFAULT_ONLY.describe(scenario, seed=1, trials=trials, workers=workers)
    with open_run(results, scenario, info) as run:
        yield run


def cost_of(trial: Trial) -> float:
    """A formula instead of training: of the seed, so that it is another one for each pair."""
    return random.Random(f"{trial.seed} {sorted(trial.config.items())}").random()


@pytest.fixture
def in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials end in an order that has nothing to do with that of asking, and cost a formula."""
    waiting: list[tuple[Trial, Future[Result]]] = []
    luck = random.Random()

    def submit(evaluator: Evaluator, trial: Trial) -> Future[Result]:
        future: Future[Result] = Future()
        waiting.append((trial, future))
        return future

    def costs(run: Run, under_way: list[Future[float]]) -> list[float]:
        while not all(future.done() for future in under_way):
            trial, future = waiting.pop(luck.randrange(len(waiting)))
            future.set_result(Result(status="SUCCESS", trained=_trained(cost_of(trial))))
        return kept(run, under_way)

    kept: Callable[[Run, list[Future[float]]], list[float]] = Run.costs
    monkeypatch.setattr(Evaluator, "submit", submit)
    monkeypatch.setattr(Run, "costs", costs)


def _trained(cost: float) -> Trained:
    return Trained(
        cost=cost,
        active_weights=1,
        weights=2,
        density=0.5,
        training_flops=1.0,
        inference_flops=1.0,
        engine="sparse",
        misc=Details(),
    )


def test_races_are_told_costs_in_the_order_of_asking(
    scenario: Scenario, tmp_path: Path, in_any_order: None
) -> None:
    told: list[tuple[int, int]] = []

    def race(number: int) -> Race:
        for pair in range(number % 3 + 1):
            costs = yield [Ask(run.space.default, pair, 1 / (number + 1))]
            assert len(costs) == 1
            told.append((number, pair))

    with opened(scenario, tmp_path, trials=30, workers=3) as run:
        side_by_side(run, (race(number) for number in range(6)))
    # Three at a time; who has waited longest comes next, and a race that ends makes room for one.
    assert told == [
        (0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (4, 0), (5, 0), (2, 2), (4, 1), (5, 1),
        (5, 2),
    ]  # fmt: skip


def test_when_the_budget_is_used_up_what_it_paid_for_is_told_and_nothing_else_is_asked(
    scenario: Scenario, tmp_path: Path, in_any_order: None
) -> None:
    told: list[int] = []

    def race(number: int) -> Race:
        yield [Ask(run.space.default, number)]
        told.append(number)
        yield [Ask(run.space.default, pair) for pair in range(3, 10)]
        raise AssertionError("the budget pays for no more")

    with opened(scenario, tmp_path, trials=9, workers=3) as run:
        with pytest.raises(BudgetExhausted):
            side_by_side(run, (race(number) for number in itertools.count()))
        assert told == [0, 1, 2] and run.remaining == 0
    assert len(read_lines(run.folder / RUNHISTORY, Numbered)) == 9


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_random_search_is_the_same_run_whichever_trial_ends_first(
    scenario: Scenario, tmp_path: Path, in_any_order: None, workers: int
) -> None:
    runs = [execute(scenario, tmp_path / name, 60, workers=workers) for name in ("a", "b")]
    first, again = (
        sorted((each.trial, each.key, each.cost) for each in read_lines(run / RUNHISTORY, Numbered))
        for run in runs
    )
    assert first == again and len(first) == 60
    assert (runs[0] / TRAJECTORY).read_text() == (runs[1] / TRAJECTORY).read_text()


def test_configurators_that_sample_with_the_same_seed_find_other_configurations(
    scenario: Scenario, tmp_path: Path
) -> None:
    drawn = []
    for by in CONFIGURING:
        info = by.describe(scenario, seed=1, trials=5, workers=1)
        with open_run(tmp_path, scenario, info) as run:
            drawn.append([config_id(run.sample()) for _ in range(20)])
    assert len({identity for of_one in drawn for identity in of_one}) == 20 * len(CONFIGURING)


# Shares of the training budget -------------------------------------------------------------------


def test_a_trial_with_a_share_of_the_training_budget_is_charged_that_share(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=2) as run:
        default = run.space.default
        third = run.evaluate(default, 0, 1 / 3)
        whole = run.evaluate(default, 0)
        assert run.evaluate(default, 0, 1 / 3) == third
        assert run.used == pytest.approx(4 / 3) and run.remaining == pytest.approx(2 / 3)
        with pytest.raises(BudgetExhausted):
            run.evaluate(default, 1)
        run.evaluate_many([Ask(default, 1, 1 / 3), Ask(default, 2, 1 / 3)])
        assert run.remaining == 0 and isinstance(run.used, int), "three thirds are one"
        run.new_incumbent(default, whole)
        run.finish()
    records = read_lines(run.folder / RUNHISTORY, Numbered)
    assert [each.fidelity for each in records] == [1 / 3, 1.0, 1 / 3, 1 / 3]
    samples = [each.misc.samples for each in records]
    assert samples == [200, 600, 200, 200], "of 600 in the scenario"
    info = read_run(run.folder)
    assert (info.trials_used, info.budget_used) == (4, 2)
    assert check(tmp_path)[1] == []
    write_run(run.folder, replace(info, budget_used=1.5))
    (fault,) = check(tmp_path)[1]
    assert fault.endswith("budget_used is 1.5, expected the 2 of its trials")


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_what_is_no_share_is_refused(share: float, scenario: Scenario, tmp_path: Path) -> None:
    with opened(scenario, tmp_path, trials=2) as run:
        with pytest.raises(BadInput, match=r"the fidelity is .*above 0 and at most 1"):
            run.evaluate(run.space.default, 0, share)
    assert not (run.folder / RUNHISTORY).exists()


# Rungs -------------------------------------------------------------------------------------------


def test_each_rung_is_three_times_the_price_of_the_one_below(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=300) as run:
        rungs = ladder(run)
    assert rungs[:3] == (Rung(1 / 9, 1), Rung(1 / 3, 1), Rung(1.0, 1))
    assert rungs[3:] == (Rung(1.0, 3), Rung(1.0, 9), Rung(1.0, 27))
    prices = [rung.fidelity * rung.pairs for rung in rungs]
    assert prices == pytest.approx([3.0**k for k in range(-2, 4)])
    charged = [rung.price_after(below) for below, rung in zip((None, *rungs), rungs, strict=False)]
    assert charged == pytest.approx([1 / 9, 1 / 3, 1, 2, 6, 18]), "pairs met before are free"


def test_a_challenger_meets_the_incumbent_on_equal_pairs(
    scenario: Scenario, tmp_path: Path, in_any_order: None
) -> None:
    with opened(scenario, tmp_path, trials=200) as run:
        best, champion = Best(run), run.space.default
        rivals = [(run.sample(), 1 + k % 4) for k in range(12)]

        def race(config: Config, pairs: int) -> Race:
            costs = yield [Ask(config, pair) for pair in range(pairs)]
            yield from best.meet(config, costs)

        side_by_side(run, (race(*each) for each in rivals))
    costs = {t.key[:3]: t.cost for t in read_lines(run.folder / RUNHISTORY, Numbered)}

    def mean(config: Config, pairs: int) -> float:
        return sum(costs[config_id(config), *pair] for pair in run.pairs[:pairs]) / pairs

    expected = [config_id(champion)]
    for rival, pairs in rivals:
        if mean(rival, pairs) <= mean(champion, pairs):
            champion = rival
            expected.append(config_id(rival))
    incumbents = read_lines(run.folder / TRAJECTORY, Incumbent)
    assert [each.config_id for each in incumbents] == expected and len(expected) > 2


def test_a_bracket_promotes_the_best_third_of_a_rung_each_once() -> None:
    """By hand: 2 of 7 may go on; of the next rung 1 of 3, which comes first."""
    bracket = Bracket([Rung(1 / 9, 1), Rung(1 / 3, 1), Rung(1.0, 1)])
    costs = {"a": 0.4, "b": 0.1, "c": 0.5, "d": 0.2, "e": 0.9, "f": 0.3, "g": 0.6}
    bracket.configs = {name: {"x": name} for name in costs}
    for name in ("a", "b"):
        bracket.costs[0][name] = costs[name]
    assert bracket.promotion() is None, "a third of two is none"
    bracket.costs[0] = dict(costs)
    assert bracket.promotion() == ({"x": "b"}, 1)
    assert bracket.promotion() == ({"x": "d"}, 1)
    assert bracket.promotion() is None
    bracket.costs[1] = {"b": 0.3, "d": 0.05, "f": 0.2}
    bracket.costs[0]["h"], bracket.configs["h"] = 0.0, {"x": "h"}
    assert bracket.promotion() == ({"x": "d"}, 2), "the highest rung first"
    assert bracket.promotion() == ({"x": "h"}, 1)


MULTI = [each for each in CONFIGURING if "wrappers.rungs" in each.file.read_text()]


@pytest.mark.parametrize("by", each_of(MULTI))
def test_a_run_over_rungs_goes_on_where_it_was_cut_off(
    by: Configurator, scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 30, by=by, workers=2)
    records = read_lines(folder / RUNHISTORY, Numbered)
    assert {1 / 9, 1 / 3, 1.0} == {each.fidelity for each in records}
    assert check(tmp_path)[1] == []
    whole = {each.trial: timeless(each) for each in records}
    trajectory = (folder / TRAJECTORY).read_text()

    running = replace(read_run(folder), state="running", trials_used=0, budget_used=None)
    write_run(folder, running)
    lines = (folder / RUNHISTORY).read_text().splitlines(keepends=True)
    (folder / RUNHISTORY).write_text("".join(lines[:-20]))
    (folder / TRAJECTORY).write_text(trajectory.splitlines(keepends=True)[0])
    execute(scenario, tmp_path, 30, by=by, workers=2)
    again = {each.trial: timeless(each) for each in read_lines(folder / RUNHISTORY, Numbered)}
    assert again == whole and (folder / TRAJECTORY).read_text() == trajectory


def test_there_are_configurators_with_several_fidelities_and_the_template_has_one() -> None:
    assert len(MULTI) >= 2 and FIRST not in MULTI
    assert set(MULTI) <= set(configurators.configurators().values())


@pytest.mark.parametrize("form", ["csv", "smac3-2"])
def test_shares_go_out_with_a_run_and_come_in_again(
    form: str, scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path / "ours", 12, by=MULTI[0])
    for name, text in foreign.written(form, folder).items():
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_text(text)
    left = foreign.read(form, tmp_path / "theirs", scenario)
    records = read_lines(folder / RUNHISTORY, Numbered)
    assert [each.key for each in left.trials] == [each.key for each in records]
    again, _ = foreign.make_run(
        left, scenario, form=form, configurator="theirs", seed=1, results=tmp_path / "results"
    )
    assert read_run(again).budget_used == read_run(folder).budget_used
    assert check(tmp_path / "results")[1] == []
    lines = foreign.written("deepcave", folder)["runhistory.json"]
    told = {each["budget"] for each in json.loads(lines)["data"]}
    assert told == {each.fidelity for each in records}
