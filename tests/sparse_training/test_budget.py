"""What things cost, against published costs of methods and networks; and what is spent."""

import math
from typing import Any

import pytest

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput
from sparse_training.loop.budget import Account, Budget, forward_flops, pass_flops, prices
from sparse_training.networks.network import Layer, Network
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.rules.densities import published_count, published_densities

# Prices ------------------------------------------------------------------------------------------


def step(sparse: float, dense: float) -> float:
    return pass_flops(sparse, dense, Extent.ACTIVE)


@pytest.mark.parametrize(
    ("interval", "expected"), [(50, 0.205229), (100, 0.202640), (1000, 0.200266)]
)
def test_rigl_costs_the_published_fraction_of_dense_training(
    interval: int, expected: float
) -> None:
    sparse, dense = 0.2, 1.0
    spent = interval * step(sparse, dense) + pass_flops(sparse, dense, Extent.ALL)
    assert spent / ((interval + 1) * step(dense, dense)) == pytest.approx(expected, abs=5e-7)


def test_snfs_and_set_cost_the_published_fractions_of_dense_training() -> None:
    sparse, dense = 0.2, 1.0
    every_step = pass_flops(sparse, dense, Extent.ALL)
    assert every_step / step(dense, dense) == pytest.approx(0.466667, abs=5e-7)
    assert step(sparse, dense) / step(dense, dense) == pytest.approx(0.2)


def test_candidates_cost_their_gradient_and_never_more_than_all_weights() -> None:
    assert pass_flops(1.0, 10.0, Extent.NOTHING, candidates=2.0) == 4.0
    assert pass_flops(1.0, 10.0, Extent.ACTIVE, candidates=2.0) == 5.0
    assert pass_flops(1.0, 10.0, Extent.ACTIVE, candidates=99.0) == 12.0
    assert pass_flops(1.0, 10.0, Extent.ALL, candidates=2.0) == 12.0


def test_a_forward_pass_counts_multiplications_and_additions() -> None:
    lenet = Network(layers=perceptron_layers((784, 300, 100, 10)))
    assert forward_flops(lenet, (18715, 6906, 1000)) == 2 * 26621


def test_a_step_that_an_update_looks_at_costs_one_pass_with_the_larger_gradient() -> None:
    """f_S = 12 and f_D = 24: 2 f_S and a gradient of the active, of all, or of candidates."""
    network = Network(layers=perceptron_layers((3, 2, 3)))
    counts = (4, 2)

    def costs(needs: Needs, dense_state: bool = False) -> tuple[float, float, float, float]:
        price = prices(network, counts, needs, dense_state)
        return price.step, price.dense_step, price.update, price.step_with_update

    assert costs(Needs()) == (36, 48, 0, 0)
    assert costs(Needs(gradient=Extent.ACTIVE)) == (36, 48, 36, 36)
    assert costs(Needs(gradient=Extent.ALL)) == (36, 48, 48, 48)
    assert costs(Needs(candidates=0.5)) == (36, 48, 30, 42)
    assert costs(Needs(gradient=Extent.ACTIVE, candidates=0.5)) == (36, 48, 42, 42)
    assert costs(Needs(gradient=Extent.ACTIVE), dense_state=True) == (48, 48, 36, 48)


def resnet50() -> Network:
    """ResNet-50 v1.5 for 224x224 images: convolutions and the classifier."""
    layers = [Layer((64, 3, 7, 7), 112 * 112)]
    inputs, side = 64, 56
    for group, (middle, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            out = side // 2 if group and block == 0 else side
            layers += [
                Layer((middle, inputs, 1, 1), side * side),
                Layer((middle, middle, 3, 3), out * out),
                Layer((4 * middle, middle, 1, 1), out * out),
            ]
            if block == 0:
                layers.append(Layer((4 * middle, inputs, 1, 1), out * out))
            inputs, side = 4 * middle, out
    return Network(layers=(*layers, Layer((1000, inputs))))


def counts_of(network: Network, sparsity: float, power: float) -> list[int]:
    """RigL's counts: ERK over all layers, or uniform with the first layer dense."""
    if power == 0.0:
        return [
            network.sizes[0],
            *(published_count(shape, 1 - sparsity) for shape in network.shapes[1:]),
        ]
    densities = published_densities(network.shapes, 1 - sparsity, power)
    return [published_count(s, d) for s, d in zip(network.shapes, densities, strict=True)]


def test_resnet_50_has_the_published_size_and_cost() -> None:
    network = resnet50()
    assert sum(network.sizes) == 25_502_912
    assert forward_flops(network, network.sizes) == pytest.approx(8.2e9, rel=0.01)


@pytest.mark.parametrize(
    ("sparsity", "power", "fraction"),
    [
        (0.8, 1.0, 0.42),
        (0.9, 1.0, 0.24),
        (0.95, 1.0, 0.12),
        (0.8, 0.0, 0.23),
        (0.9, 0.0, 0.13),
        (0.95, 0.0, 0.08),
    ],
)
def test_sparse_resnet_50_costs_the_fraction_that_rigls_paper_gives(
    sparsity: float, power: float, fraction: float
) -> None:
    network = resnet50()
    sparse = forward_flops(network, counts_of(network, sparsity, power))
    # The paper rounds to two digits, and rounds .414 and .223 up.
    assert sparse / forward_flops(network, network.sizes) == pytest.approx(fraction, abs=0.0075)


@pytest.mark.parametrize(
    ("sparsity", "power", "megabytes"),
    [(0.9, 1.0, 13.499), (0.95, 1.0, 8.399), (0.9, 0.0, 13.532), (0.95, 0.0, 8.433)],
)
def test_sparse_resnet_50_has_the_size_that_rigls_paper_gives(
    sparsity: float, power: float, megabytes: float
) -> None:
    """32 bits a weight, one bit a position, and 27,560 dense biases and scales."""
    network = resnet50()
    active = sum(counts_of(network, sparsity, power))
    size = 4 * active + sum(network.sizes) / 8 + 4 * 27_560
    assert size / 1e6 == pytest.approx(megabytes, abs=0.002)


@pytest.mark.parametrize(("sparsity", "dense"), [(0.8, 8), (0.9, 1), (0.95, 0)])
def test_erk_makes_the_published_number_of_resnet_50s_layers_dense(
    sparsity: float, dense: int
) -> None:
    network = resnet50()
    densities = published_densities(network.shapes, 1 - sparsity)
    full = [s for s, d in zip(network.shapes, densities, strict=True) if d == 1.0]
    assert len(full) == dense
    assert all(math.prod(shape) <= 64 * 512 for shape in full)


# Spending ----------------------------------------------------------------------------------------


def test_a_budget_is_of_samples_or_of_flops() -> None:
    neither: dict[str, Any] = {}
    for both in (neither, {"training_samples": 1, "training_flops": 1.0}):
        with pytest.raises(BadInput, match="either in samples or in FLOPs: expected one"):
            Budget(active_weights=1, **both)


def test_samples_are_paid_one_by_one_and_their_price_is_noted() -> None:
    account = Account(Budget(active_weights=1, training_samples=10))
    assert account.affordable(7, price=1e9) == 7
    account.spend(7, price=2.0)
    assert (account.samples, account.flops, account.progress) == (7, 14.0, 0.7)
    assert account.affordable(7, price=1e9) == 3
    assert account.progress_after(1, price=1e9) == 0.8
    assert account.progress_after(9, price=1.0) == 1.0


def test_flops_are_paid_to_the_last_whole_row() -> None:
    account = Account(Budget(active_weights=1, training_flops=100.0))
    assert account.affordable(50, price=3.0) == 33
    account.spend(30, price=3.0)
    assert account.progress == 0.9 and account.progress_after(2, price=3.0) == 0.96
    assert account.affordable(50, price=3.0) == 3
    account.spend(3, price=3.0)
    assert account.affordable(50, price=3.0) == 0


def test_a_row_is_not_lost_to_rounding() -> None:
    account = Account(Budget(active_weights=1, training_flops=0.3))
    account.spend(2, price=0.1)
    assert account.affordable(5, price=0.1) == 1
