"""Random search with racing: the baseline, and the template for a new configurator.

Source: ROAR of Hutter, Hoos & Leyton-Brown, "Sequential Model-Based Optimization for General
Algorithm Configuration", LION 2011: uniform sampling with SMAC's own rule for comparing a
challenger to the incumbent. A random search that gave every configuration all instances would be
an unfairly weak baseline.
"""

import random
from statistics import fmean

from wrappers.run import Run
from wrappers.scenario import Scenario


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Sample until the budget is used up; a challenger meets the incumbent's pairs in their order.

    Its pairs double (1, 2, 4, ...); it is out as soon as its mean is worse than the incumbent's on
    the same pairs, and takes over when it holds on all of them. The incumbent moves on by one pair
    a challenger, so that luck on a few pairs can't keep it.
    """
    rng = random.Random(seed)
    incumbent = run.space.default
    costs = [run.evaluate(incumbent, 0)]
    run.new_incumbent(incumbent, costs[0])
    while True:
        if len(costs) < len(run.pairs):
            costs.append(run.evaluate(incumbent, len(costs)))
        challenger, rival = run.space.sample(rng), list[float]()
        while len(rival) < len(costs):
            until = min(max(1, 2 * len(rival)), len(costs))
            rival += run.evaluate_many([(challenger, i) for i in range(len(rival), until)])
            if fmean(rival) > fmean(costs[: len(rival)]):
                break
        else:
            incumbent, costs = challenger, rival
            run.new_incumbent(incumbent, fmean(costs))
