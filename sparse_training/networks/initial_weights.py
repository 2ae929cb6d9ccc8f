"""Distributions of the initial weights.

**Source**: He et al., ICCV 2015; Glorot & Bengio, AISTATS 2010; variance divided by the density:
Evci et al., "Gradient Flow in Sparse Neural Networks", AAAI 2022; N(0, 0.1^2): SET's SciPy code.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.networks.network import Layer, Network
from sparse_training.positions import Positions


class Distribution(enum.Enum):
    """Of one weight; fans as `Scaling` counts them."""

    HE_NORMAL = enum.auto()
    """N(0, 2 / fan-in)."""
    HE_UNIFORM = enum.auto()
    """Uniform with variance 2 / fan-in."""
    XAVIER = enum.auto()
    """Uniform with variance 2 / (fan-in + fan-out)."""
    NORMAL_TENTH = enum.auto()
    """N(0, 0.1^2), whatever the fans."""


class Scaling(enum.Enum):
    """What counts as the fans of a sparse neuron."""

    NONE = enum.auto()
    """All inputs of a neuron, and all outputs of an input."""
    LAYER = enum.auto()
    """Those times the layer's density."""
    NEURON = enum.auto()
    """Every neuron's own number of active inputs; outputs by the density."""


@dataclass(frozen=True)
class InitialWeights:
    """How the weights are drawn before training."""

    distribution: Distribution = Distribution.HE_NORMAL
    scaling: Scaling = Scaling.LAYER

    def draw(
        self, network: Network, active: Sequence[Positions], rng: np.random.Generator
    ) -> list[NDArray[np.float32]]:
        """Values of the active weights of every layer.

        Only active weights are drawn, in ascending position.
        """
        values = []
        for layer, positions in zip(network.layers, active, strict=True):
            scale = self.deviation(layer, positions)
            if self.distribution in (Distribution.HE_UNIFORM, Distribution.XAVIER):
                draws = rng.random(len(positions), dtype=np.float32)
                draws = draws * np.float32(2.0) - np.float32(1.0)
                draws *= np.float32(math.sqrt(3.0))
            else:
                draws = rng.standard_normal(len(positions), dtype=np.float32)
            values.append(draws * scale.astype(np.float32))
        return values

    def deviation(self, layer: Layer, positions: Positions) -> NDArray[np.float64]:
        """Standard deviation of the initial weights at the positions (all active), one each."""
        count = len(positions)
        if self.distribution is Distribution.NORMAL_TENTH:
            return np.full(count, 0.1)
        density = 1.0 if self.scaling is Scaling.NONE else count / layer.size
        fan_in = np.full(count, layer.fan_in * density)
        if self.scaling is Scaling.NEURON:
            neurons = positions // layer.fan_in
            fan_in = np.bincount(neurons, minlength=layer.neurons)[neurons].astype(np.float64)
        if self.distribution is not Distribution.XAVIER:
            return np.sqrt(2.0 / fan_in)
        fan_out = layer.neurons * layer.fan_in / layer.shape[1] * density
        return np.sqrt(2.0 / (fan_in + fan_out))
