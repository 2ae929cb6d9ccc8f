"""Networks as data: initial weights, dropout masks, connectivity, architectures."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sparse_training.engines import forward
from sparse_training.errors import BadInput
from sparse_training.loop.recipe import Recipe
from sparse_training.networks.activations import GELU, Activation, AllReLU, ReLU, SReLU
from sparse_training.networks.connectivity import dead_neurons, disconnected
from sparse_training.networks.convolutional import ARCHITECTURES, LeNet5, convolutional
from sparse_training.networks.dropout import _hash, dropout_keep
from sparse_training.networks.initial_weights import Distribution, InitialWeights, Scaling
from sparse_training.networks.network import Layer, Network, Norm
from sparse_training.networks.perceptron import hidden_widths, perceptron_layers
from sparse_training.positions import Positions

PERCEPTRON = Network(layers=perceptron_layers((200, 100, 10)))


def every_fourth(network: Network) -> list[Positions]:
    return [np.arange(0, size, 4) for size in network.sizes]


# Initial weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("initial", "deviation"),
    [
        (InitialWeights(Distribution.HE_NORMAL, Scaling.NONE), (2 / 200) ** 0.5),
        (InitialWeights(Distribution.HE_NORMAL, Scaling.LAYER), (2 / 50) ** 0.5),
        (InitialWeights(Distribution.HE_UNIFORM, Scaling.LAYER), (2 / 50) ** 0.5),
        (InitialWeights(Distribution.XAVIER, Scaling.NONE), (2 / 300) ** 0.5),
        (InitialWeights(Distribution.XAVIER, Scaling.LAYER), (2 / 75) ** 0.5),
        (InitialWeights(Distribution.NORMAL_TENTH, Scaling.LAYER), 0.1),
    ],
    ids=str,
)
def test_initial_weights_have_the_published_deviation(
    initial: InitialWeights, deviation: float
) -> None:
    rng = np.random.default_rng(0)
    drawn = initial.draw(PERCEPTRON, every_fourth(PERCEPTRON), rng)[0]
    assert drawn.std() == pytest.approx(deviation, rel=0.05)
    if initial.distribution in (Distribution.HE_UNIFORM, Distribution.XAVIER):
        assert np.abs(drawn).max() <= deviation * 3**0.5


def test_a_neurons_own_fan_in_counts_where_asked_for() -> None:
    layer = Layer((2, 8))
    positions = np.array([0, 1, 8, 9, 10, 11, 12, 13])  # two inputs of one neuron, six of the other
    deviation = InitialWeights(scaling=Scaling.NEURON).deviation(layer, positions)
    assert deviation[:2] == pytest.approx(1.0)
    assert deviation[2:] == pytest.approx((2 / 6) ** 0.5)


def test_the_fans_of_a_convolution_include_its_kernel() -> None:
    layer = Layer((6, 4, 3, 3), 100, 9)
    everything = np.arange(layer.size)
    he, xavier = (
        InitialWeights(distribution, Scaling.NONE).deviation(layer, everything)[0]
        for distribution in (Distribution.HE_NORMAL, Distribution.XAVIER)
    )
    assert he == pytest.approx((2 / 36) ** 0.5)
    assert xavier == pytest.approx((2 / (36 + 54)) ** 0.5)


def test_widths_scale_and_never_vanish() -> None:
    assert hidden_widths((256, 10), 0.25, 0) == (64, 2)
    assert hidden_widths((1, 3), 0.25, 0) == (1, 1)


@pytest.mark.parametrize(
    ("change", "hidden"), [(-1, (8,)), (0, (8, 6)), (1, (8, 6, 6)), (-5, (8,))]
)
def test_depth_changes_at_the_end_and_one_hidden_layer_stays(
    change: int, hidden: tuple[int, ...]
) -> None:
    network = Recipe(depth_change=change).perceptron(4, (8, 6), 3)
    assert tuple(layer.neurons for layer in network.layers[:-1]) == hidden


# Dropout -----------------------------------------------------------------------------------------


def test_dropout_drops_its_rate_and_never_twice_the_same() -> None:
    masks = [dropout_keep(7, step, layer, 50, 40, 0.3) for step in (0, 1) for layer in (0, 1)]
    for mask in masks:
        assert mask.mean() == pytest.approx(0.7, abs=0.05)
    for one in range(4):
        for other in range(one):
            agree = (masks[one] == masks[other]).mean()
            assert agree == pytest.approx(0.7**2 + 0.3**2, abs=0.06)  # as independent ones do
    assert (masks[0] == dropout_keep(7, 0, 0, 50, 40, 0.3)).all()


def test_the_dropout_hash_is_lowbias32() -> None:
    """The first values of the published finaliser, from its C source: 0 and 1."""

    def lowbias32(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    for value in (0, 1, 12345, 2**32 - 1):
        assert int(_hash(np.uint32(value))) == lowbias32(value)


# Connectivity ------------------------------------------------------------------------------------

SMALL = Network(layers=perceptron_layers((2, 4, 2)))


def test_a_neuron_is_dead_without_an_input_or_without_an_output() -> None:
    # Inputs reach neurons 0, 1 and 2; neurons 0 and 3 reach the outputs: only 0 does both.
    assert dead_neurons(SMALL, [np.array([0, 3, 5]), np.array([0, 3, 4])]) == 3


def test_paths_are_followed_from_inputs_to_outputs() -> None:
    deep = Network(layers=perceptron_layers((1, 2, 2, 2)))
    # Neuron 0 leads to 0, which leads to output 0; neuron 1 is fed and leads nowhere; the second
    # layer's neuron 1 leads to output 1 and nothing leads to it.
    active = [np.array([0, 1]), np.array([0]), np.array([0, 3])]
    assert dead_neurons(deep, active) == 2
    assert disconnected(deep, active) == (2, 1)
    whole = [np.arange(size) for size in deep.sizes]
    assert disconnected(deep, whole) == (0, 0)


def test_paths_through_a_flattened_channel_belong_to_the_channel() -> None:
    network = Network(
        architecture=LeNet5(),
        layers=(Layer((2, 1, 1, 1), 4, 1), Layer((3, 8), 1, 4), Layer((2, 3))),
    )
    # Channel 1 feeds inputs 4 to 7 of the fully connected layer, and only channel 1 has a weight:
    # neuron 0 is reached, neuron 1 looks at channel 0, neuron 2 at nothing.
    active = [np.array([1]), np.array([5, 8]), np.array([0, 4])]
    assert disconnected(network, active) == (3, 1)


# Architectures -----------------------------------------------------------------------------------


def test_lenet_5_is_that_of_caffe() -> None:
    network = convolutional("lenet5", 784, 10, 1.0)
    assert network.shapes == ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500))
    assert [layer.uses for layer in network.layers] == [24 * 24, 8 * 8, 1, 1]


def test_a_wide_resnet_has_the_published_size() -> None:
    """WRN-22-2 on 32x32x3: 1.07 million weights of convolutions and classifier."""
    network = convolutional("wrn-22-2", 3072, 10, 1.0)
    convolutions = [s for s in network.shapes if len(s) == 4]
    assert len([s for s in convolutions if s[2:] == (3, 3)]) == 1 + 3 * 3 * 2
    assert len([s for s in convolutions if s[2:] == (1, 1)]) == 3  # widening shortcuts
    assert sum(network.sizes) == pytest.approx(1.08e6, rel=0.02)
    assert convolutional("wrn-16-2", 3072, 10, 1.0).shapes[-1] == (10, 128)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("features", [784, 3072])
@pytest.mark.parametrize("norm", Norm, ids=str)
def test_an_architecture_counts_the_uses_that_its_forward_pass_has(
    name: str, features: int, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = convolutional(name, features, 10, 0.5, norm=norm, activation=SReLU())
    used: list[int] = []
    convolve, multiply = torch.nn.functional.conv2d, torch.nn.functional.linear

    def conv2d(*args: Any) -> torch.Tensor:
        out: torch.Tensor = convolve(*args)
        used.append(out.shape[2] * out.shape[3])
        return out

    def linear(*args: Any) -> torch.Tensor:
        used.append(1)
        out: torch.Tensor = multiply(*args)
        return out

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    weights = [torch.randn(shape) * 0.1 for shape in network.shapes]
    mode = forward.Mode(training=True)
    rows = torch.randn(2, features)
    out = forward.logits(network, forward.fresh(network, weights), rows, mode, 0)
    assert out.shape == (2, 10) and bool(torch.isfinite(out).all())
    assert sorted(used) == sorted(layer.uses for layer in network.layers)


@pytest.mark.parametrize(
    ("norm", "activation", "a_neuron"),
    [
        (Norm.NONE, GELU(), 0),
        (Norm.BATCH, ReLU(), 2),
        (Norm.LAYER, AllReLU(), 2),
        (Norm.NONE, SReLU(), 4),
        (Norm.BATCH, SReLU(), 6),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("recipe_of", "neurons"),
    [
        (lambda recipe: recipe.perceptron(64, (128, 96), 10), 128 + 96),
        (lambda recipe: recipe.convolutional("lenet5", 784, 10), 20 + 50 + 500),
        # After the first convolution, then after both of two blocks in each of three groups.
        (lambda recipe: recipe.convolutional("wrn-16-2", 3072, 10), 16 + 4 * (32 + 64 + 128)),
    ],
    ids=["mlp", "lenet5", "wrn-16-2"],
)
def test_what_normalisation_and_activation_train_is_counted_a_neuron(
    recipe_of: Callable[[Recipe], Network],
    neurons: int,
    norm: Norm,
    activation: Activation,
    a_neuron: int,
) -> None:
    network = recipe_of(Recipe(norm=norm, activation=activation))
    assert network.neuron_parameters == a_neuron * neurons
    weights = [torch.zeros(shape) for shape in network.shapes]
    trained = forward.fresh(network, weights)
    assert network.neuron_parameters == sum(
        values.numel() for values in (*itertools.chain(*trained.norms), *trained.srelus)
    )


@pytest.mark.parametrize(
    ("name", "features", "message"),
    [
        ("vgg", 784, "unknown network 'vgg': expected one of lenet5, wrn-16-2, wrn-22-2"),
        ("lenet5", 30, "30 features are no image"),
        ("lenet5", 64, "lenet5 needs images of at least 16x16 pixels: 8x8"),
        ("wrn-16-2", 49, "wrn-16-2 needs images of at least 8x8 pixels: 7x7"),
    ],
)
def test_an_architecture_says_what_it_cannot_take(name: str, features: int, message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        convolutional(name, features, 10, 1.0)


def test_a_layer_knows_its_size() -> None:
    layer = Layer((6, 4, 3, 3), 100, 9)
    assert (layer.size, layer.neurons, layer.fan_in) == (math.prod((6, 4, 3, 3)), 6, 36)
