"""The ledger against published costs of methods and networks."""

import math

import pytest

from target_algorithms.ledger import forward_flops, pass_flops
from target_algorithms.networks import Layer, Network, perceptron_layers
from target_algorithms.topology import published_count, published_densities


def step(sparse: float, dense: float) -> float:
    return pass_flops(sparse, dense, gradient_of="active")


@pytest.mark.parametrize(
    ("interval", "expected"), [(50, 0.205229), (100, 0.202640), (1000, 0.200266)]
)
def test_rigl_costs_the_published_share_of_dense_training(interval: int, expected: float) -> None:
    sparse, dense = 0.2, 1.0
    spent = interval * step(sparse, dense) + pass_flops(sparse, dense, gradient_of="all")
    assert spent / ((interval + 1) * step(dense, dense)) == pytest.approx(expected, abs=5e-7)


def test_snfs_and_set_cost_the_published_shares_of_dense_training() -> None:
    sparse, dense = 0.2, 1.0
    every_step = pass_flops(sparse, dense, gradient_of="all")
    assert every_step / step(dense, dense) == pytest.approx(0.466667, abs=5e-7)
    assert step(sparse, dense) / step(dense, dense) == pytest.approx(0.2)


def test_candidates_cost_their_gradient_and_never_more_than_all_weights() -> None:
    assert pass_flops(1.0, 10.0, gradient_of="none", candidates=2.0) == 4.0
    assert pass_flops(1.0, 10.0, gradient_of="active", candidates=2.0) == 5.0
    assert pass_flops(1.0, 10.0, gradient_of="active", candidates=99.0) == 12.0
    assert pass_flops(1.0, 10.0, gradient_of="all", candidates=2.0) == 12.0


def test_a_forward_pass_counts_multiplications_and_additions() -> None:
    lenet = Network(layers=perceptron_layers((784, 300, 100, 10)))
    assert forward_flops(lenet, (18715, 6906, 1000)) == 2 * 26621


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
    ("sparsity", "power", "share"),
    [
        (0.8, 1.0, 0.42),
        (0.9, 1.0, 0.24),
        (0.95, 1.0, 0.12),
        (0.8, 0.0, 0.23),
        (0.9, 0.0, 0.13),
        (0.95, 0.0, 0.08),
    ],
)
def test_sparse_resnet_50_costs_the_share_that_rigls_paper_gives(
    sparsity: float, power: float, share: float
) -> None:
    network = resnet50()
    found = forward_flops(network, counts_of(network, sparsity, power))
    # The paper rounds to two digits, and rounds .414 and .223 up.
    assert found / forward_flops(network, network.sizes) == pytest.approx(share, abs=0.0075)


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
