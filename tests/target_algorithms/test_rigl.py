"""RigL: floor(.3 n) of the smallest go, the largest gradients come."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.target_algorithms.by_hand import one_update, updated
from tests.target_algorithms.evidence import margin

NAME = "rigl"


def test_the_smallest_weight_goes_and_the_position_of_the_largest_gradient_comes() -> None:
    """floor(.3 * 4) = 1: the weight .1 goes, the position of gradient -6 comes."""
    assert updated(NAME) == [1, 2, 3, 5]


def test_a_weight_that_is_dropped_and_grown_again_is_not_new() -> None:
    gradient = (9.0, 0.0, 0.0, 0.0, 1.0, -6.0, 2.0, 5.0)
    change = one_update(topology_at(variant(NAME)), gradient=gradient)
    assert change.active.tolist() == [0, 1, 2, 3]
    assert len(change.new) == len(change.dropped) == 0


def test_it_beats_a_static_mask_where_few_weights_are_active() -> None:
    assert margin(NAME) > 0.015
