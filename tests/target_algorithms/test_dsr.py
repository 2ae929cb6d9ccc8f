"""DSR: what is below the threshold goes, as much comes at random where nothing was."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.sparse_training.cases import toy_run, updated, view_of
from tests.target_algorithms.by_hand import updated as updated_by_hand

NAME = "dsr"


def test_what_is_below_the_threshold_goes_and_a_free_position_comes() -> None:
    """Threshold .15: .1 goes; one of the four free positions comes."""
    after = updated_by_hand(NAME, drop_threshold=0.15)
    assert after[:3] == [1, 2, 3] and after[3] in (4, 5, 6, 7)


def test_layers_grow_in_proportion_to_what_the_update_has_left_of_them() -> None:
    """500, 20 and 80 of 3000, 1500 and 100 go; 2500, 1480 and 20 are left: 375, 222 and 3 come."""
    sizes, gone = (3000, 1500, 100), (500, 20, 80)
    layers = [
        {position: 0.01 if position < below else 1.0 for position in range(size)}
        for size, below in zip(sizes, gone, strict=True)
    ]
    rules = topology_at(variant(NAME), drop_threshold=0.1).updates
    assert rules is not None
    changes = updated(rules, view_of(layers, [(1, 6000)] * 3))
    assert [len(change.new) for change in changes] == [375, 222, 3]
    assert [len(change.dropped) for change in changes] == list(gone)


def test_its_default_aims_at_600_of_the_weights_of_lenet_300_100_at_sparsity_98() -> None:
    """The authors' --n-prune-params and their default network, of 784-300-100-10 weights."""
    rules = topology_at(variant(NAME)).updates
    assert rules is not None
    active = round(0.02 * (784 * 300 + 300 * 100 + 100 * 10))
    assert active == 5324
    assert abs(rules.amount.initial * active - 600) < 3
    assert rules.amount.at(0.9, 0.1) == rules.amount.initial


def test_its_mask_rests_in_the_last_twentieth_of_training() -> None:
    """Epoch 190 of 200 and 95 of 100 in the authors' scripts; here of 400 steps up to the 380th."""
    topology = topology_at(variant(NAME), update_count=37)
    outcome, seen, watched = toy_run(topology, training_samples=6000)
    assert (outcome.steps, outcome.updates) == (400, 37) and len(seen) == 1 + 37
    assert watched.pattern.endswith("u" + "1" * 30)
