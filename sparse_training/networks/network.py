"""A network as an engine sees it: layers of weights, and what lies between them."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sparse_training.networks.activations import Activation, ReLU
from sparse_training.positions import Shape

NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.1
"""Fraction of a batch in batch normalisation's running mean and (unbiased) variance."""


class Norm(enum.Enum):
    """Normalisation of hidden layers, between weights and activation.

    With scale (from 1) and shift (from 0).
    """

    NONE = enum.auto()
    BATCH = enum.auto()
    LAYER = enum.auto()

    @property
    def parameters(self) -> int:
        """Trainable parameters of a neuron: its scale and its shift."""
        return 0 if self is Norm.NONE else 2


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


class Architecture(Protocol):
    """How the layers are put together."""

    @property
    def name(self) -> str:
        """As command lines call it."""

    @property
    def chain(self) -> bool:
        """Whether every layer feeds only the next."""

    def sites(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """Neurons (channels) at every place with normalisation and activation, in forward order."""


def hidden(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The neurons of every layer but the last: the sites of a chain."""
    return tuple(layer.neurons for layer in layers[:-1])


@dataclass(frozen=True)
class Perceptron:
    """Fully connected layers, one after the other."""

    name = "mlp"
    chain = True

    def sites(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        return hidden(layers)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that maps rows of features to one output a class."""

    layers: tuple[Layer, ...]
    """In the order of the forward pass."""
    architecture: Architecture = Perceptron()
    image: tuple[int, int, int] | None = None
    """(channels, height, width) of the inputs of a convolutional network."""
    activation: Activation = ReLU()
    """Of hidden layers."""
    norm: Norm = Norm.NONE
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
    def size(self) -> int:
        """Number of weights of all layers."""
        return sum(self.sizes)

    @property
    def sites(self) -> tuple[int, ...]:
        """Neurons (channels) at every place with normalisation and activation, in forward order."""
        return self.architecture.sites(self.layers)

    @property
    def neuron_parameters(self) -> int:
        """Trainable parameters of normalisation and activation, which no mask can leave out.

        They count as active weights; biases do not.
        """
        return sum(self.sites) * (self.norm.parameters + self.activation.parameters)

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].neurons

    def has_bias(self, layer: int) -> bool:
        """Hidden layers before a batch normalisation have none: it would do nothing.

        Its gradient would be zero but for rounding, which AdamW blows up to whole steps.
        """
        return self.norm is not Norm.BATCH or layer == len(self.layers) - 1
