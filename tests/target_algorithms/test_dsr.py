"""DSR: what is below the threshold goes, as much comes at random where nothing was."""

from tests.target_algorithms.by_hand import updated

NAME = "dsr"


def test_what_is_below_the_threshold_goes_and_a_free_position_comes() -> None:
    """Threshold .15: .1 goes; one of the four free positions comes."""
    after = updated(NAME, drop_threshold=0.15)
    assert after[:3] == [1, 2, 3] and after[3] in (4, 5, 6, 7)
