"""SNIP and its successors: a mask by saliency, which then stays."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.target_algorithms.by_hand import never_updates

NAME = "snip"


def test_the_mask_never_changes() -> None:
    assert never_updates(NAME)


def test_each_saliency_is_the_one_that_its_name_says() -> None:
    names = {
        name: topology_at(variant(NAME), init_mask=name).first_mask.name
        for name in ("snip", "grasp", "synflow")
    }
    assert all(name == mask for name, mask in names.items())
