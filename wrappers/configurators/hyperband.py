"""Asynchronous Hyperband: the template for a configurator that uses several fidelities.

Source: successive halving without waiting (ASHA), Li et al., "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, algorithm 2; brackets: Li et al., "Hyperband: A Novel
Bandit-Based Approach to Hyperparameter Optimization", JMLR 18 (2018).
Differs: a rung is a share of the training budget and a number of pairs (`wrappers/rungs.py`), so
that it races over instances as well; brackets take turns by what they were charged, where the
papers give each of them as many rungs to fill; the incumbent is the best on whole training, and a
challenger meets it on equal pairs.
"""

import itertools
from collections.abc import Sequence
from statistics import fmean

from wrappers.races import Race, side_by_side
from wrappers.run import Run
from wrappers.rungs import ETA, Best, Rung, ladder
from wrappers.scenario import Scenario
from wrappers.space import Config, config_id

BRACKETS = 3
"""They begin on the three lowest rungs."""

AHEAD = 2
"""Races for each worker: those on a high rung take many times as long as those on the lowest."""


class Bracket:
    """Successive halving from one rung up."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs = rungs
        self.costs: list[dict[str, float]] = [{} for _ in rungs]
        """On each rung, mean costs of configurations."""
        self.configs: dict[str, Config] = {}
        self.charged = 0.0
        self._promoted: list[set[str]] = [set() for _ in rungs]

    def promotion(self) -> tuple[Config, int] | None:
        """A configuration to go on with, and its next rung: the best of the highest rung where one
        is among the best 1/eta and has not gone on yet."""
        for rung in reversed(range(len(self.rungs) - 1)):
            costs = self.costs[rung]
            best = sorted(costs, key=lambda name: costs[name])[: len(costs) // ETA]
            for name in best:
                if name not in self._promoted[rung]:
                    self._promoted[rung].add(name)
                    return self.configs[name], rung + 1
        return None


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Promote what can be promoted, else sample, until the budget is used up."""
    rungs = ladder(run)
    brackets = [Bracket(rungs[first:]) for first in range(BRACKETS)]
    best = Best(run)

    def race() -> Race:
        bracket = min(brackets, key=lambda each: each.charged)
        config, place = bracket.promotion() or (run.sample(), 0)
        name, rung = config_id(config), bracket.rungs[place]
        bracket.configs[name] = config
        bracket.charged += rung.price_after(bracket.rungs[place - 1] if place else None)
        costs = yield rung.asks(config)
        bracket.costs[place][name] = fmean(costs)
        if rung.fidelity == 1:
            yield from best.meet(config, costs)

    side_by_side(run, (race() for _ in itertools.count()), AHEAD)
