"""The mask before training: as many weights as asked for, in the layers that are asked for."""

import numpy as np
import pytest

from sparse_training.engines.interface import Optimizer, Setup
from sparse_training.engines.masked import MaskedEngine
from sparse_training.errors import BadInput
from sparse_training.networks.initial_weights import Distribution, InitialWeights, Scaling
from sparse_training.networks.network import Network
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.first_mask import (
    AllWeights,
    Chosen,
    FirstMask,
    MostSalient,
    RandomMask,
    Untrained,
)
from sparse_training.rules.saliency import Grasp, Snip, SynFlow
from tests.sparse_training.cases import toy_split

SPLIT = toy_split()
NETWORK = Network(layers=perceptron_layers((7, 12, 8, 3)))  # 84, 96 and 24 weights


def chosen(mask: FirstMask, count: int, seed: int = 0) -> Chosen:
    """What a first mask chooses for a perceptron on the toy data."""
    nothing = np.zeros(0, dtype=np.int64)
    return mask.choose(
        Untrained(
            empty=Setup(
                network=NETWORK,
                optimizer=Optimizer(),
                active=[nothing] * 3,
                values=[np.zeros(0, dtype=np.float32)] * 3,
                budget=0,
                train_x=SPLIT.train_x,
                train_y=SPLIT.train_y,
            ),
            engine_factory=MaskedEngine,
            initial_weights=InitialWeights(Distribution.HE_UNIFORM, Scaling.LAYER),
            batch_size=16,
            masks=np.random.default_rng(seed),
            weights=np.random.default_rng(seed + 1),
        ),
        count,
    )


def counts(mask: FirstMask, count: int) -> list[int]:
    return [len(positions) for positions in chosen(mask, count).active]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (RandomMask(densities=ErdosRenyi(0.0)), [42, 48, 12]),
        (RandomMask(densities=ErdosRenyi(1.0)), list(ErdosRenyi().counts(NETWORK.shapes, 102))),
        # Half of the budget for one dense layer, a third each for two; what is left is spread.
        (RandomMask(densities=ErdosRenyi(0.0), dense_last_layer=True), [36, 42, 24]),
        (RandomMask(densities=ErdosRenyi(0.0), dense_first_layer=True), [50, 42, 10]),
        (RandomMask(dense_first_layer=True, dense_last_layer=True), [33, 45, 24]),
    ],
    ids=repr,
)
def test_a_random_mask_has_the_counts_of_its_densities(
    mask: RandomMask, expected: list[int]
) -> None:
    assert counts(mask, 102) == expected


def test_a_random_mask_is_another_one_for_every_seed_and_costs_nothing() -> None:
    first, again, other = (chosen(RandomMask(), 60, seed) for seed in (0, 0, 7))
    assert (first.samples, first.passes) == (0, 0.0)
    for a, b in zip(first.active, again.active, strict=True):
        assert (a == b).all()
    assert not all(np.array_equal(a, b) for a, b in zip(first.active, other.active, strict=True))


def test_the_weights_of_a_random_mask_are_scaled_by_its_densities() -> None:
    drawn = chosen(RandomMask(densities=ErdosRenyi(0.0)), 102)
    for values, layer in zip(drawn.values, NETWORK.layers, strict=True):
        assert np.abs(values).max() <= (3 * 2 / (layer.fan_in / 2)) ** 0.5


@pytest.mark.parametrize(
    ("mask", "samples", "passes"),
    [
        (MostSalient(Snip()), 16, 48.0),
        (MostSalient(Grasp()), 16, 144.0),
        (MostSalient(SynFlow()), 0, 300.0),
    ],
    ids=repr,
)
def test_a_mask_by_saliency_has_a_weight_in_every_layer_and_says_what_it_took(
    mask: MostSalient, samples: int, passes: float
) -> None:
    for count in (3, 60, NETWORK.size):
        made = chosen(mask, count)
        assert sum(map(len, made.active)) == count and all(map(len, made.active))
        assert (made.samples, made.passes) == (samples, passes)
    with pytest.raises(BadInput, match="at least one weight a layer"):
        chosen(mask, 2)


def test_all_weights_are_all_weights_whatever_is_asked_for() -> None:
    assert counts(AllWeights(), 5) == [84, 96, 24]
    assert not AllWeights().within_budget and AllWeights().starts_dense


@pytest.mark.parametrize("count", [5, 60, 150, 204])
def test_with_a_constant_fan_in_neurons_of_a_layer_differ_by_one_weight_at_most(count: int) -> None:
    even, free = (
        chosen(RandomMask(constant_fan_in=asked), count).active for asked in (True, False)
    )
    assert [len(own) for own in even] == [len(own) for own in free]
    for layer, own in zip(NETWORK.layers, even, strict=True):
        fan_ins = np.bincount(own // layer.fan_in, minlength=layer.neurons)
        assert fan_ins.max() - fan_ins.min() <= 1
        assert (np.diff(own) > 0).all()
