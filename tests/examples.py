"""Variants, scenarios and configurators for tests that may not know any by name.

What a test needs is said as a property; the first by name that has it is taken. So a variant can be
added or removed, and only the tests that are its own (`test_<variant>.py`) have to know.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from sparse_training.rules.topology import Topology
from target_algorithms import Role, Variant, variants
from target_algorithms.contract import Options
from target_algorithms.trial import configured
from wrappers.configurators import Configurator, configurators
from wrappers.space import Config, Space, resolved, variant_space

PEAK = 600
"""Weights that a test grants the variants that hold more on their way."""


def space_of(variant: Variant, *, peak: bool = False) -> Space:
    """Its space, as a scenario without (or with) a peak leaves it."""
    granted = Options(
        active_weights=300,
        peak_weights=PEAK if peak else None,
        training_samples=1500,
        hidden=(24, 16),
    )
    return variant_space(variant, granted)


def config_of(variant: Variant, *, peak: bool = False, **changes: Any) -> Config:
    """Its default configuration with some changes."""
    return {**space_of(variant, peak=peak).default, **changes}


def whole(variant: Variant, config: Config) -> Config:
    """A configuration with what the variant fixes, as a trial gets it."""
    return {**variant_space(variant).complete(config), **config}


def topology_at(variant: Variant, **changes: Any) -> Topology:
    """Its topology at its default with some changes."""
    config = whole(variant, config_of(variant, peak=True, **changes))
    topology, _ = configured(*resolved(variant, config))
    return topology


def within_budget(variant: Variant) -> bool:
    """Whether the budget of active weights binds it."""
    return topology_at(variant).first_mask.within_budget


def options_for(variant: Variant, **changes: Any) -> Options:
    """The budget and network of a short trial on digits."""
    values: dict[str, Any] = {"training_samples": 1500, "hidden": (24, 16)}
    if within_budget(variant):
        values["active_weights"] = 300
    if "peak_weights" in variant.requires:
        values["peak_weights"] = PEAK
    return Options(**{**values, **changes})


def _first(wanted: Callable[[Variant], bool]) -> Variant:
    return next(variant for variant in variants().values() if wanted(variant))


def _is_plain(variant: Variant) -> bool:
    """A competitor that updates its mask on the truly sparse engine and grants nothing special."""
    if variant.role is not Role.COMPETITOR or variant.requires:
        return False
    topology = topology_at(variant)
    return topology.updates is not None and not topology.needs.every_position


def _updates_early(topology: Topology) -> bool:
    return topology.updates is not None and topology.updates.when.at_start


SELECTION = _first(lambda variant: variant.role is Role.SELECTION)
BASELINE = _first(lambda variant: variant.role is Role.BASELINE)
REFERENCE = _first(lambda v: v.role is Role.REFERENCE and not within_budget(v))
"""A reference that no budget of active weights binds."""
BOUND_REFERENCE = _first(lambda v: v.role is Role.REFERENCE and within_budget(v))
"""One that it does bind."""
COMBINATION = _first(lambda variant: variant.role is Role.COMBINATION)
PLAIN = _first(_is_plain)
"""A competitor without anything special."""
OTHER = _first(lambda variant: _is_plain(variant) and variant != PLAIN)
"""Another one."""
BY_GRADIENT = _first(lambda v: _is_plain(v) and topology_at(v).needs.a_gradient)
"""A competitor whose updates look at gradients."""
EARLY = _first(lambda v: _is_plain(v) and _updates_early(topology_at(v)))
"""A competitor that updates its mask before the first step, so in the shortest trial."""
NEEDS_PEAK = _first(lambda variant: "peak_weights" in variant.requires)
DENSE_STATE = _first(lambda variant: topology_at(variant).dense_state)
"""A variant that looks at the momentum of inactive weights."""

CONFIGURING: tuple[Configurator, ...] = tuple(c for c in configurators().values() if c.configures)
"""Configurators that try more than the default."""
DEFAULT_ONLY = next(each for each in configurators().values() if not each.configures)


def required(name: str) -> bool:
    """Whether a configurator that is missing is an error here, and not a reason to skip."""
    return bool(os.environ.get(f"SPARSE_ACLIB_REQUIRE_{name.upper()}"))


def each_of(chosen: Iterable[Configurator]) -> list[ParameterSet]:
    """For `parametrize`: configurators, those skipped that cannot run here."""
    return [
        pytest.param(
            each,
            id=each.name,
            marks=pytest.mark.skipif(
                each.missing is not None and not required(each.name), reason=str(each.missing)
            ),
        )
        for each in chosen
    ]


def scenario_name(variant: Variant = PLAIN, of_set: str = "digits") -> str:
    """`<set>/<variant>`."""
    return f"{of_set}/{variant.name}"
