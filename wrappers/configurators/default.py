"""No configuration: the default configuration on every training instance once.

How baselines enter a comparison: with a record, a trajectory of one entry and a
validation like any other run.
"""

from statistics import fmean

from wrappers.run import Ask, Run
from wrappers.scenario import Scenario

CONFIGURES = False


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Evaluate the default on one block of pairs, or on as many as the budget has."""
    default = run.space.default
    block = min(len(scenario.training), run.budget)
    costs = run.evaluate_many([Ask(default, pair) for pair in range(block)])
    run.new_incumbent(default, fmean(costs))
