"""Random search with racing: the baseline, and the template for a new configurator.

Source: ROAR of Hutter, Hoos & Leyton-Brown, "Sequential Model-Based Optimization for General
Algorithm Configuration", LION 2011: uniform sampling with SMAC's own rule for comparing a
challenger to the incumbent. A random search that gave every configuration all instances would be
an unfairly weak baseline.
Differs: as many challengers as workers race side by side.
"""

import itertools
from statistics import fmean

from wrappers.races import Race, side_by_side
from wrappers.run import Ask, Run
from wrappers.scenario import Scenario
from wrappers.space import Config


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Sample until the budget is used up; a challenger meets the incumbent's pairs in their order.

    Its pairs double (1, 2, 4, ...); it is out as soon as its mean is worse than the incumbent's on
    the same pairs, and takes over when it holds on all of them. The incumbent moves on by one pair
    a challenger, so that luck on a few pairs can't keep it.
    """
    best, given = run.space.default, 1
    costs = [run.evaluate(best, 0)]
    run.new_incumbent(best, costs[0])

    def race(challenger: Config) -> Race:
        nonlocal best, given, costs
        of_best = costs  # another one may be the best when they come
        more = [Ask(best, given)] if given < len(run.pairs) else []
        given += len(more)
        *further, first = yield [*more, Ask(challenger, 0)]
        of_best += further
        own = [first]
        while fmean(own) <= fmean(costs[: len(own)]):
            if len(own) >= len(costs):
                best, given, costs = challenger, len(own), own
                return run.new_incumbent(challenger, fmean(own))
            until = min(2 * len(own), len(costs))
            own += yield [Ask(challenger, pair) for pair in range(len(own), until)]

    side_by_side(run, (race(run.sample()) for _ in itertools.count()))
