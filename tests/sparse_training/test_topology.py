"""Rules that contradict each other are refused when they are put together; needs add up."""

from dataclasses import replace
from typing import Any

import pytest

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput
from sparse_training.rules.amount import Fraction
from sparse_training.rules.drop import BelowThreshold, MagnitudeAndGradient, Smallest, Within
from sparse_training.rules.first_mask import MostSalient
from sparse_training.rules.grow import (
    AtRandom,
    Gradient,
    GradientAverage,
    Largest,
    Mixed,
    Momentum,
)
from sparse_training.rules.new_weights import GradientStep, NewWeights, State
from sparse_training.rules.redistribution import (
    InProportion,
    MeanGradient,
    MeanMomentum,
    ToLargestScores,
)
from sparse_training.rules.saliency import Grasp, Snip, SynFlow
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from tests.sparse_training.cases import BY_GRADIENT, DENSE, RIGL, SET, SNFS, STATIC, with_updates

AFTER = Evenly(count=30)
INSTEAD = replace(AFTER, place=Place.INSTEAD_OF_A_STEP)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grow": Largest(Momentum())}, "growth by momentum needs a dense optimiser state"),
        (
            {"grow": Mixed(0.5, Largest(Momentum()))},
            "growth by momentum needs a dense optimiser state",
        ),
        (
            {"drop": Smallest(within=Within.ALL_LAYERS)},
            "dropping over all layers needs a redistribution",
        ),
        ({"drop": BelowThreshold()}, "dropping over all layers needs a redistribution"),
        (
            {"grow": AtRandom(), "when": AFTER, "redistribution": ToLargestScores()},
            "layers can only compete for growth by scores",
        ),
        ({"grow": AtRandom(), "when": INSTEAD}, "would spend a batch on nothing"),
        (
            {"grow": AtRandom(), "when": replace(INSTEAD, place=Place.BEFORE_A_STEP)},
            "would spend a batch on nothing",
        ),
    ],
)
def test_rules_that_contradict_each_other_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(BY_GRADIENT, **{"when": INSTEAD, **changes})


def test_random_growth_may_spend_a_batch_that_another_rule_looks_at() -> None:
    drop = Smallest(MagnitudeAndGradient())
    rules = replace(BY_GRADIENT, when=INSTEAD, grow=AtRandom(), drop=drop)
    assert rules.needs == Needs(gradient=Extent.ACTIVE)


def needs(**changes: Any) -> Needs:
    """Of updates after steps, with random growth unless another is asked for."""
    parts = {"amount": Fraction(0.3), "drop": Smallest(), "grow": AtRandom(), **changes}
    return Updates(when=AFTER, **parts).needs


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Needs()),
        ({"grow": Largest()}, Needs(gradient=Extent.ALL)),
        ({"grow": Mixed(0.9)}, Needs(gradient=Extent.ALL)),
        ({"grow": Largest(candidates_per_weight=0.5)}, Needs(candidates=0.5)),
        ({"grow": Largest(Gradient(2), 0.5)}, Needs(gradient=Extent.ALL)),
        ({"drop": Smallest(MagnitudeAndGradient())}, Needs(gradient=Extent.ACTIVE)),
        (
            {"drop": Smallest(MagnitudeAndGradient()), "grow": Largest(Gradient(), 2.0)},
            Needs(gradient=Extent.ACTIVE, candidates=2.0),
        ),
        ({"redistribution": InProportion(MeanGradient())}, Needs(gradient=Extent.ACTIVE)),
        ({"redistribution": InProportion(MeanMomentum())}, Needs(momentum=Extent.ACTIVE)),
        ({"new_weights": NewWeights(value=GradientStep())}, Needs(gradient=Extent.ACTIVE)),
        ({"new_weights": NewWeights(state=State.GRADIENT)}, Needs(gradient=Extent.ACTIVE)),
        (
            {"grow": Largest(GradientAverage())},
            Needs(gradient=Extent.ALL, every_position=True),
        ),
        (
            {"grow": Largest(Momentum()), "dense_state": True},
            Needs(momentum=Extent.ALL, every_position=True),
        ),
    ],
)
def test_an_update_needs_what_any_of_its_rules_looks_at(
    changes: dict[str, Any], expected: Needs
) -> None:
    assert needs(**changes) == expected


def test_a_first_mask_needs_no_engine_of_its_own() -> None:
    for saliency in (Snip(), Grasp(), SynFlow()):
        assert Topology(first_mask=MostSalient(saliency)).needs == Needs()


def test_two_algorithms_are_equal_where_their_rules_are() -> None:
    assert RIGL == with_updates(RIGL, drop=Smallest())
    assert RIGL != with_updates(RIGL, drop=Smallest(MagnitudeAndGradient()))
    assert len({RIGL, SET, SNFS, STATIC, DENSE}) == 5
