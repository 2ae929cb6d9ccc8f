"""Meta: its default is RigL's, and the top of its scores comes before what is random."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.target_algorithms.by_hand import one_update

NAME = "meta"


def test_its_default_is_rigl_at_its_default() -> None:
    assert topology_at(variant(NAME)) == topology_at(variant("rigl"))


def test_a_mixture_grows_the_largest_first_and_the_rest_at_random() -> None:
    """Of two that are dropped one grows at -6; the other is any free position, not always at 5."""
    topology = topology_at(variant(NAME), grow="mixed", grow_random_share=0.5, unfired_bias=0.0)
    grown = [set(one_update(topology, 0.5, seed=s).active.tolist()) - {2, 3} for s in range(40)]
    assert all(5 in positions and len(positions) == 2 for positions in grown)
    assert len({min(positions - {5}) for positions in grown}) == 5
