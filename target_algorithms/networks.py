"""Multi-layer perceptrons as data: shapes, activation and initial weights, for any engine.

**Source**: initial weights: He et al., ICCV 2015; variance divided by the layer's density: as in
Evci et al., "Gradient Flow in Sparse Neural Networks", AAAI 2022, with the mean fan-in of a layer
in place of every neuron's own; All-ReLU: Curci et al., "Truly Sparse Neural Networks at Scale",
2021, https://arxiv.org/abs/2102.01732.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from target_algorithms.topology import Positions

LEAKY_RELU_SLOPE = 0.01
ALL_RELU_SLOPE = 0.6


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron: inputs, hidden layers, one output a class."""

    widths: tuple[int, ...]
    """Neurons from the inputs to the outputs, at least two entries."""
    activation: str
    """relu, leaky_relu, all_relu or gelu (exact, with erf)."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of every weight matrix; a flat position is output * inputs + input."""
        return tuple(zip(self.widths[1:], self.widths[:-1], strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of weights of every layer; biases are dense and outside every count."""
        return tuple(rows * columns for rows, columns in self.shapes)

    def negative_slope(self, layer: int) -> float:
        """Slope below zero of hidden layer `layer` (from 0) for the piecewise linear activations.

        All-ReLU alternates the sign, beginning with minus.
        """
        if self.activation == "all_relu":
            return ALL_RELU_SLOPE if layer % 2 else -ALL_RELU_SLOPE
        return LEAKY_RELU_SLOPE if self.activation == "leaky_relu" else 0.0


def scaled_widths(hidden: Sequence[int], factor: float) -> tuple[int, ...]:
    """Every hidden width times the factor, rounded, at least 1."""
    return tuple(max(1, round(width * factor)) for width in hidden)


def initial_weights(
    network: Network, active: Sequence[Positions], scaling: str, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Values of the active weights of every layer: N(0, 2 / fan-in).

    With scaling `layer` the fan-in is the mean number of active inputs of the layer's neurons, so
    that signals keep their variance; with `none` it is the number of inputs. Only active weights
    are drawn, in ascending position.
    """
    values = []
    for (rows, columns), positions in zip(network.shapes, active, strict=True):
        fan_in = len(positions) / rows if scaling == "layer" else columns
        draws = rng.standard_normal(len(positions), dtype=np.float32)
        values.append(draws * np.float32(math.sqrt(2.0 / fan_in)))
    return values


def dead_neurons(network: Network, active: Sequence[Positions]) -> int:
    """Hidden neurons without an active incoming or without an active outgoing weight."""
    dead = 0
    for layer in range(len(active) - 1):
        incoming = np.unique(active[layer] // network.shapes[layer][1])
        outgoing = np.unique(active[layer + 1] % network.shapes[layer + 1][1])
        alive = np.intersect1d(incoming, outgoing, assume_unique=True)
        dead += network.widths[layer + 1] - len(alive)
    return dead
