"""The mask of a run: what is active, what ever was, and what the last update grew."""

from sparse_training.loop.mask import Mask
from sparse_training.rules.update import LayerUpdate
from tests.sparse_training.cases import positions_of


def change(active: list[int], new: list[int]) -> list[LayerUpdate]:
    return [LayerUpdate(positions_of(active), positions_of([]), positions_of(new))]


def test_a_mask_remembers_all_that_was_active_and_the_most_at_a_time() -> None:
    mask = Mask([positions_of([0, 4])])
    mask.change(change([0, 2, 7], new=[2, 7]), by_an_update=True)
    mask.change(change([4], new=[4]), by_an_update=True)
    assert mask.active[0].tolist() == [4] and mask.fired[0].tolist() == [0, 2, 4, 7]
    assert (mask.count, mask.counts, mask.peak) == (1, [1], 3)


def test_what_the_last_update_grew_is_new_until_the_next_one_whatever_is_pruned() -> None:
    mask = Mask([positions_of([0, 4])])
    assert mask.new[0].tolist() == []
    mask.change(change([0, 2, 7], new=[2, 7]), by_an_update=True)
    mask.change(change([0, 2], new=[]), by_an_update=False)
    assert mask.new[0].tolist() == [2, 7] and mask.active[0].tolist() == [0, 2]
