"""Networks as data: layers, activation, normalisation and initial weights, for any engine.

**Source**: initial weights: He et al., ICCV 2015, and Glorot & Bengio, AISTATS 2010; variance
divided by the density: Evci et al., "Gradient Flow in Sparse Neural Networks", AAAI 2022; All-ReLU:
Curci et al., "Truly Sparse Neural Networks at Scale", 2021, https://arxiv.org/abs/2102.01732;
SReLU: Jin et al., AAAI 2016; dropout: Srivastava et al., JMLR 2014.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from target_algorithms.topology import Positions, Shape

LEAKY_RELU_SLOPE = 0.01
SRELU_START = (0.0, 0.2, 1.0, 1.0)
"""Initial SReLU parameters of every neuron: left threshold and slope, right threshold and slope.
Below the left threshold the value is t_l + a_l (z - t_l), above the right one t_r + a_r (z - t_r).
They are trained as biases are, without weight decay."""
NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.1
"""Share of a batch in batch normalisation's running mean and (unbiased) variance."""


@dataclass(frozen=True)
class Layer:
    """One masked weight tensor; flat positions are row-major in its shape."""

    shape: Shape
    """(outputs, inputs) or (output channels, input channels, height, width)."""
    uses: int = 1
    """Multiplications by every weight for one sample: 1, or the pixels of the output."""
    inputs_per_neuron: int = 1
    """How many consecutive inputs come from one neuron of the layer before: 1, the pixels of a
    kernel, or those of the channel that a fully connected layer flattens."""

    @property
    def size(self) -> int:
        """Number of weights; biases are dense and outside every count."""
        return math.prod(self.shape)

    @property
    def neurons(self) -> int:
        """Outputs, or output channels."""
        return self.shape[0]

    @property
    def fan_in(self) -> int:
        """Weights of one neuron."""
        return self.size // self.shape[0]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that maps rows of features to one output a class."""

    layers: tuple[Layer, ...]
    """In the order of the forward pass."""
    architecture: str = "mlp"
    """`mlp`: the layers one after the other; else a convolutional one, see `convolutional`."""
    image: tuple[int, int, int] | None = None
    """(channels, height, width) of the inputs of a convolutional network."""
    activation: str = "relu"
    """relu, leaky_relu, all_relu, srelu or gelu (exact, with erf); of hidden layers. `linear` is
    for SynFlow's passes only."""
    all_relu_slope: float = 0.6
    norm: str = "none"
    """none, batch or layer: normalisation of hidden layers, between weights and activation, with
    scale (from 1) and shift (from 0)."""
    dropout: float = 0.0
    """Probability that an activation of a hidden layer is set to zero, in [0, 1); those that stay
    are divided by 1 - dropout."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes, in [0, 1)."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every layer's weights."""
        return tuple(layer.shape for layer in self.layers)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights of every layer."""
        return tuple(layer.size for layer in self.layers)

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].neurons

    def has_bias(self, layer: int) -> bool:
        """Hidden layers before a batch normalisation have none: it would do nothing.

        Its gradient would be zero but for rounding, which AdamW blows up to whole steps.
        """
        return self.norm != "batch" or layer == len(self.layers) - 1

    def negative_slope(self, layer: int) -> float:
        """Slope below zero of hidden layer `layer` (from 0) for relu, leaky_relu and all_relu.

        All-ReLU alternates the sign, beginning with minus.
        """
        if self.activation == "all_relu":
            return self.all_relu_slope if layer % 2 else -self.all_relu_slope
        return LEAKY_RELU_SLOPE if self.activation == "leaky_relu" else 0.0


def perceptron_layers(widths: Sequence[int]) -> tuple[Layer, ...]:
    """Fully connected layers; widths: neurons from the inputs to the outputs, at least two."""
    return tuple(
        Layer((outputs, inputs)) for inputs, outputs in zip(widths[:-1], widths[1:], strict=True)
    )


def scaled_widths(hidden: Sequence[int], factor: float) -> tuple[int, ...]:
    """Every hidden width times the factor, rounded, at least 1."""
    return tuple(max(1, round(width * factor)) for width in hidden)


def initial_weights(
    network: Network,
    active: Sequence[Positions],
    init: str,
    scaling: str | None,
    rng: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """Values of the active weights of every layer.

    init: he_normal N(0, 2 / fan-in), he_uniform (the same variance), xavier (uniform, variance
    2 / (fan-in + fan-out)) or normal_0.1 N(0, 0.1^2). scaling: `none` (or None) counts all inputs
    of a neuron (and all outputs of an input) as its fans; `layer` multiplies them by the layer's
    density; `neuron` takes every neuron's own number of active inputs (Evci et al.) and the
    density for the outputs. Only active weights are drawn, in ascending position.
    """
    values = []
    for layer, positions in zip(network.layers, active, strict=True):
        count = len(positions)
        scale = weight_scale(layer, positions, init, scaling)
        if init in ("he_uniform", "xavier"):
            draws = rng.random(count, dtype=np.float32) * np.float32(2.0) - np.float32(1.0)
            draws *= np.float32(math.sqrt(3.0))
        else:
            draws = rng.standard_normal(count, dtype=np.float32)
        values.append(draws * scale.astype(np.float32))
    return values


def weight_scale(
    layer: Layer, positions: Positions, init: str, scaling: str | None
) -> NDArray[np.float64]:
    """Standard deviation of the initial weights at the positions (all active ones), one each."""
    count = len(positions)
    if init == "normal_0.1":
        return np.full(count, 0.1)
    density = 1.0 if scaling in ("none", None) else count / layer.size
    fan_in = np.full(count, layer.fan_in * density)
    if scaling == "neuron":
        neurons = positions // layer.fan_in
        fan_in = np.bincount(neurons, minlength=layer.neurons)[neurons].astype(np.float64)
    if init != "xavier":
        return np.sqrt(2.0 / fan_in)
    fan_out = layer.neurons * layer.fan_in / layer.shape[1] * density
    return np.sqrt(2.0 / (fan_in + fan_out))


# Dropout -----------------------------------------------------------------------------------------


def dropout_keep(
    seed: int, step: int, layer: int, neurons: int, samples: int, rate: float
) -> NDArray[np.bool_]:
    """Which activations stay, shape (neurons, samples): a hash of where and when, no generator.

    step: optimiser steps made before this one; layer: hidden layer from 0; the index of an
    activation is neuron * samples + sample. Any engine can compute the same masks in any order.
    The hash is the 32-bit finaliser `lowbias32` of C. Wellons.
    """
    key = _hash(np.uint32(seed & 0xFFFFFFFF))
    key = _hash(np.uint32(key ^ np.uint32(step & 0xFFFFFFFF)))
    key = _hash(np.uint32(key ^ np.uint32(layer)))
    index = np.arange(neurons * samples, dtype=np.uint32)
    threshold = np.uint32(round(rate * 2.0**32) if rate < 1.0 else 0xFFFFFFFF)
    keep: NDArray[np.bool_] = (_hash(index ^ key) >= threshold).reshape(neurons, samples)
    return keep


def _hash(value: NDArray[np.uint32] | np.uint32) -> NDArray[np.uint32]:
    mixed = np.array(value, dtype=np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x7FEB352D)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x846CA68B)
    mixed ^= mixed >> np.uint32(16)
    return mixed


# Connectivity ------------------------------------------------------------------------------------


def dead_neurons(network: Network, active: Sequence[Positions]) -> int:
    """Hidden neurons (channels) without an active incoming or without an active outgoing weight.

    In a residual network a channel has several ways in and out: there only those without an
    active incoming weight count.
    """
    chain = network.architecture in CHAINS
    dead = 0
    for layer in range(len(active) - 1):
        alive = np.unique(active[layer] // network.layers[layer].fan_in)
        if chain:
            outgoing = np.unique(_input_neurons(network.layers[layer + 1], active[layer + 1]))
            alive = np.intersect1d(alive, outgoing, assume_unique=True)
        dead += network.layers[layer].neurons - len(alive)
    return dead


def disconnected(network: Network, active: Sequence[Positions]) -> tuple[int, int] | None:
    """(hidden neurons on no path from an input to an output, outputs that no input reaches).

    None for residual networks, whose skip connections are paths of their own.
    """
    if network.architecture not in CHAINS:
        return None
    first = network.layers[0]
    reached = np.ones(first.fan_in // first.inputs_per_neuron, dtype=np.bool_)
    forward = []
    for layer, positions in zip(network.layers, active, strict=True):
        live = positions[reached[_input_neurons(layer, positions)]]
        reached = np.zeros(layer.neurons, dtype=np.bool_)
        reached[live // layer.fan_in] = True
        forward.append(reached)
    useful = np.ones(network.classes, dtype=np.bool_)
    lost = 0
    for number in range(len(network.layers) - 1, 0, -1):
        layer, positions = network.layers[number], active[number]
        live = positions[useful[positions // layer.fan_in]]
        useful = np.zeros(network.layers[number - 1].neurons, dtype=np.bool_)
        useful[_input_neurons(layer, live)] = True
        lost += int(np.count_nonzero(~(useful & forward[number - 1])))
    return lost, int(np.count_nonzero(~forward[-1]))


def _input_neurons(layer: Layer, positions: Positions) -> Positions:
    return positions % layer.fan_in // layer.inputs_per_neuron


CHAINS = ("mlp", "lenet5")
"""Architectures in which every layer feeds only the next."""
