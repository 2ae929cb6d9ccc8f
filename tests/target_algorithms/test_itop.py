"""ITOP: SET or RigL, with positions that were never active first if asked for."""

from tests.target_algorithms.by_hand import updated

NAME = "itop"


def test_rigl_itop_rounds_up() -> None:
    """RigL-ITOP at .3: ceil(1.2) = 2."""
    assert updated(NAME, 0.3, growth="gradient") == [2, 3, 5, 7]


def test_unfired_growth_takes_positions_that_were_never_active() -> None:
    unfired = updated(NAME, growth="random_unfired")
    assert unfired[:2] == [2, 3] and set(unfired[2:]) <= {4, 5, 6, 7}
