"""Spaces to test forms of them on: the toy's and every variant's."""

import random

import pytest

from target_algorithms import variants
from tests.wrappers.toy import OWN_PCS, RECIPE_PCS
from wrappers.space import Config, Space, read_pcs, variant_space

SAMPLES = 200

SPACES = {
    "toy": read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs"),
    **{name: variant_space(variant) for name, variant in variants().items()},
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def sample(space: Space) -> list[Config]:
    """The default and some at random."""
    rng = random.Random(1)
    return [space.default, *(space.sample(rng) for _ in range(SAMPLES))]


def forbidden_configuration(space: Space, clause: tuple[tuple[str, str], ...]) -> Config:
    """A configuration that is legal but for one clause."""
    free = Space(space.parameters, space.conditions)
    rng = random.Random(2)
    return next(
        config
        for config in iter(lambda: free.sample(rng), None)
        if all(config.get(name) == value for name, value in clause)
    )
