"""Dense: everything, and nothing changes."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.target_algorithms.by_hand import never_updates

NAME = "dense"


def test_all_weights_are_active_and_stay() -> None:
    assert never_updates(NAME)
    assert not topology_at(variant(NAME)).first_mask.within_budget
