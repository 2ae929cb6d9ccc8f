"""What the tests of this folder share: a toy variant and its scenario, spaces, short runs."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from target_algorithms import Variant, variants
from tests.examples import scenario_name
from wrappers import configurators, formats
from wrappers.configurators import TEMPLATE, Configurator
from wrappers.records import Record
from wrappers.scenario import Scenario, read
from wrappers.space import Config, Space, read_pcs, variant_space

# A toy: one variant with everything the formats have, one scenario --------------------------------

RECIPE_PCS = """\
optimizer {sgd, adamw} [sgd]
learning_rate_sgd [0.001, 1.0] [0.1]l
momentum [0.0, 0.99] [0.9]
momentum_kind {heavy_ball, nesterov} [nesterov]
learning_rate_adamw [0.0001, 0.1] [0.003]l
weight_decay [0.000001, 0.1] [0.0005]l
batch_size [16, 256] [64]il
width_factor [0.25, 4.0] [1.0]l

learning_rate_sgd | optimizer in {sgd}
momentum | optimizer in {sgd}
momentum_kind | optimizer in {sgd}
learning_rate_adamw | optimizer in {adamw}
"""
"""Stands for recipe.pcs where a test reads texts; a variant has the checkout's own."""

OWN_PCS = """\
# A variant with everything the format has.
layer_density_power [0, 1] [1]
grow {random, score, mixed} [score]
grow_random_share [0.05, 0.95] [0.5]
grow_score {gradient, unfired_gradient} [gradient]
update_interval_epochs [1, 10] [1]il
rounds [1, 5] [2]i
update_mode {replace_step, after_step} [replace_step]
both [0, 1] [0.5]
Conditionals:
grow_random_share | grow in {mixed}
grow_score | grow in {score, mixed}
both | grow in {mixed}
both | grow_score in {gradient}
Forbidden:
{grow=random, update_mode=replace_step}
"""

ALGORITHM = '''\
"""A variant whose parameters are all ignored: a random mask that stays."""

from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.topology import Topology


def compose(**parameters: object) -> Topology:
    """The same for every configuration."""
    return Topology(first_mask=RandomMask())
'''

SCENARIO = """\
algo = python3 ./wrappers/target toy --active-weights 1000 --training-samples 20000 --hidden 256-256
execdir = .
deterministic = 0
run_obj = quality
overall_obj = mean
cutoff_time = 60
wallclock_limit = 3600
runcount_limit = 600
paramfile = ./scenarios/spaces/toy.pcs
instance_file = ./scenarios/toys/training.txt
test_instance_file = ./scenarios/toys/test.txt
feature_file = ./scenarios/toys/features.csv
"""

# Spaces to test forms of them on: the toy's and every variant's -----------------------------------

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


def with_options(suite: Path, variant: Variant, options: str) -> Path:
    """The variant's scenario in the suite with more options, its space written."""
    folder = suite / "scenarios" / scenario_name(variant)
    file = folder / "scenario.txt"
    algo, rest = file.read_text().split("\n", 1)
    rest = rest.replace(f"/{variant.name}.pcs", f"/{variant.name}-fixed.pcs")
    file.write_text(f"{algo} {options}\n{rest}")
    formats.write(formats.committed(read(folder, check_paramfile=False)))
    return folder


# Runs: short, of the configurator that a new one begins with --------------------------------------

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


def of_other_code(lines: str) -> str:
    """Records as if other code had made them, without a checksum as those of earlier versions."""
    without = re.sub(', "checksum": "[0-9a-f]{12}"', "", lines)
    return re.sub('"code": "[0-9a-f]{12}"', '"code": "0123456789ab"', without)


R = TypeVar("R", bound=Record)


def timeless(record: R) -> R:
    """A record without what the clock and the machine decide."""
    return replace(record, runtime=0.0, cpu_time=0.0, peak_memory=0.0, started=None, worker="")
