"""SET: the weights closest to zero of either sign go, as many come at random."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.target_algorithms.by_hand import one_update, updated
from tests.target_algorithms.evidence import margin

NAME = "set"


def test_both_thresholds_go_too_and_what_comes_is_random() -> None:
    """Thresholds at zeta .3: of the sorted -4, -.2, .1, 3 the second and the last, which go too."""
    after = updated(NAME)
    assert 3 in after and len(after) == 4


def test_the_nominal_rule_drops_an_exact_number_of_either_sign() -> None:
    after = updated(NAME, 0.5, drop_rule="sign_nominal")
    assert {2, 3} <= set(after)


def test_what_is_grown_starts_anew_even_where_it_was_just_dropped() -> None:
    topology = topology_at(variant(NAME))
    again = [one_update(topology, seed=seed) for seed in range(50)]
    assert any(set(change.new.tolist()) & {0, 1, 2} for change in again)


def test_it_beats_a_static_mask_where_few_weights_are_active() -> None:
    assert margin(NAME) > 0.015
