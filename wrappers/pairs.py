"""The (instance, seed) pairs that configurations are evaluated on: the same for all who compare."""

import hashlib
import random

from wrappers.scenario import Scenario

Pair = tuple[str, int]
"""An instance and a seed: what a configuration is evaluated on."""


def derived_seed(*key: object) -> int:
    """A seed in [0, 2**31) that depends on nothing but the key, in any process."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def training_pairs(scenario: Scenario, seed: int, trials: int) -> tuple[Pair, ...]:
    """The pairs of all runs with this seed, whatever the configurator.

    Blocks that hold every training instance once, in an order of their own, with one seed a block;
    as many blocks as a single configuration could use up the budget with.
    """
    order = random.Random(derived_seed("order", scenario.name, seed))
    pairs: list[Pair] = []
    while len(pairs) < trials:
        block = derived_seed("train", scenario.name, seed, len(pairs))
        instances = list(scenario.training)
        order.shuffle(instances)
        pairs += [(instance, block) for instance in instances]
    return tuple(pairs)


def validation_pairs(scenario: Scenario, seeds: int) -> tuple[Pair, ...]:
    """Test instances with seeds that no run trains with, the same for every run of a set."""
    return tuple(
        (instance, derived_seed("validate", scenario.set, k))
        for k in range(seeds)
        for instance in scenario.test
    )


def ablation_pairs(scenario: Scenario) -> tuple[Pair, ...]:
    """Training instances with a seed that no run trains with."""
    seed = derived_seed("ablate", scenario.name)
    return tuple((instance, seed) for instance in scenario.training)
