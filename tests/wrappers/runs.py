"""Runs for tests: short, of the configurator that a new one begins with."""

from pathlib import Path

from wrappers import configurators
from wrappers.configurators import TEMPLATE, Configurator
from wrappers.scenario import Scenario

FIRST = configurators.configurators()[TEMPLATE.stem]
"""The configurator that a new one begins with."""


def execute(
    scenario: Scenario,
    results: Path,
    trials: int,
    *,
    by: Configurator = FIRST,
    seed: int = 1,
    workers: int = 1,
) -> Path:
    """Does a run; returns its folder."""
    return configurators.execute(
        scenario, by, seed=seed, trials=trials, workers=workers, results=results
    )
