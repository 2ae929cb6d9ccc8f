"""Static: a random mask that stays."""

from tests.target_algorithms.by_hand import never_updates

NAME = "static"


def test_the_mask_never_changes() -> None:
    assert never_updates(NAME)
