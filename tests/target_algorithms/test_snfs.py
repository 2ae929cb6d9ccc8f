"""SNFS: ceil(.5 n) of the smallest go, the largest momenta come."""

from tests.target_algorithms.by_hand import updated

NAME = "snfs"


def test_half_of_the_weights_go_and_the_largest_momenta_come() -> None:
    """ceil(.5 * 4) = 2 of the smallest go, the two largest momenta come."""
    assert updated(NAME) == [2, 3, 5, 7]
