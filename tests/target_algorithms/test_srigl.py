"""SRigL: neurons with few salient weights go; the others have the same fan-in at every moment."""

import numpy as np
import pytest

from target_algorithms import variant
from tests.examples import topology_at
from tests.sparse_training.cases import PLAIN, active_of, toy_network, toy_run, updated, view_of
from tests.target_algorithms.evidence import margin

NAME = "srigl"

HIDDEN = {0: 0.9, 1: 0.8, 4: 0.7, 5: 0.1, 8: 0.2, 9: 0.3}
"""Three neurons of four inputs, two weights each."""


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, [0, 1, 2, 4, 5, 6]), (0.3, [0, 1, 4, 6, 9, 11])]
)
def test_what_an_ablated_neuron_loses_makes_the_others_even_again(
    share: float, expected: list[int]
) -> None:
    """A third of six weights: .1 and .2 would go. With gamma 1 the third neuron, with one salient
    weight of two, goes instead, and the others grow a third one each, where their own gradient is
    largest; with .3 the second and the third grow their second again."""
    rules = topology_at(variant(NAME), salient_share=share).updates
    assert rules is not None
    slopes = [0, 0, 2.0, 1.0, 0, 0, 5.0, 0, 0, 0, 0, 1.5]
    view = view_of([HIDDEN, {0: 1.0}], [(3, 4), (1, 3)], gradients=[slopes, [0.0] * 3])
    assert active_of(updated(rules, view, 0.34)) == [expected, [0]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_fan_ins_of_a_layer_are_the_same_up_to_one_after_every_update(
    share: float, seed: int
) -> None:
    topology = topology_at(variant(NAME), salient_share=share)
    _, masks, _ = toy_run(topology, seed=seed, training_samples=2000)
    assert len(masks) > 10
    for mask in masks:
        assert sum(map(len, mask)) == 60
        for layer, own in zip(toy_network(PLAIN).layers, mask, strict=True):
            fan_ins = np.bincount(own // layer.fan_in, minlength=layer.neurons)
            alive = fan_ins[fan_ins > 0]
            assert alive.max() - alive.min() <= 1


def test_it_beats_a_static_mask_where_few_weights_are_active() -> None:
    assert margin(NAME) > 0.015
