"""Random search with racing: the baseline, and the template for a new configurator.

Source: ROAR of Hutter, Hoos & Leyton-Brown, "Sequential Model-Based Optimization for General
Algorithm Configuration", LION 2011: uniform sampling with SMAC's own rule for comparing a
challenger to the incumbent. A random search that gave every configuration all instances would be
an unfairly weak baseline.
Differs: as many challengers as workers race side by side.
"""

import itertools
from dataclasses import dataclass
from statistics import fmean

from wrappers.races import Race, side_by_side
from wrappers.run import Ask, Run
from wrappers.scenario import Scenario
from wrappers.space import Config


@dataclass
class Incumbent:
    """A configuration, its costs on the first pairs, and how many pairs it has been given."""

    config: Config
    costs: list[float]
    given: int


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Sample until the budget is used up; a challenger meets the incumbent's pairs in their order.

    Its pairs double (1, 2, 4, ...); it is out as soon as its mean is worse than the incumbent's on
    the same pairs, and takes over when it holds on all of them. The incumbent moves on by one pair
    a challenger, so that luck on a few pairs can't keep it.
    """
    best = Incumbent(run.space.default, [run.evaluate(run.space.default, 0)], 1)
    run.new_incumbent(best.config, best.costs[0])

    def race(challenger: Config) -> Race:
        nonlocal best
        rival = best
        more = [Ask(rival.config, rival.given)] if rival.given < len(run.pairs) else []
        rival.given += len(more)
        *further, first = yield [*more, Ask(challenger, 0)]
        rival.costs += further
        costs = [first]
        while fmean(costs) <= fmean(best.costs[: len(costs)]):
            if len(costs) >= len(best.costs):
                best = Incumbent(challenger, costs, len(costs))
                return run.new_incumbent(challenger, fmean(costs))
            until = min(2 * len(costs), len(best.costs))
            costs += yield [Ask(challenger, pair) for pair in range(len(costs), until)]

    side_by_side(run, (race(run.sample()) for _ in itertools.count()))
