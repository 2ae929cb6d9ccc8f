"""GSE: the smallest of all layers go, the best of a random subset come."""

from tests.target_algorithms.by_hand import updated

NAME = "gse"


def test_with_as_many_candidates_as_free_positions_the_largest_gradient_comes() -> None:
    """gamma 1: all four free positions are candidates; floor(.25 * 4) = 1 moves, to -6."""
    assert updated(NAME, 0.25) == [1, 2, 3, 5]
