"""Everything beside the topology: optimiser, learning rate, and the network's settings.

**Source**: warm-up: RigL's ImageNet runs; learning rates scaled by the density: after SuPar (Dey et
al., 2024, https://arxiv.org/abs/2405.15743).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sparse_training.engines.interface import Optimizer
from sparse_training.networks.activations import Activation, ReLU
from sparse_training.networks.convolutional import convolutional
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network, Norm
from sparse_training.networks.perceptron import hidden_widths, perceptron_layers
from sparse_training.schedules import Cosine, Schedule


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """The learning rate over the training budget."""

    initial: float = 0.1
    """> 0."""
    schedule: Schedule = Cosine()
    warmup: float = 0.0
    """Fraction of the budget over which it first rises linearly, in [0, 1); the schedule follows
    over the rest."""
    density_power: float = 0.0
    """x in initial times density^-x, x >= 0, with the density of the whole network."""

    def factor(self, progress: float) -> float:
        """The learning rate as a fraction of the initial one, at `progress` of the budget."""
        return self._at(progress, 1.0)

    def at(self, progress: float, density: float) -> float:
        """The learning rate when `progress` in [0, 1] of the budget is spent."""
        return self._at(progress, self.initial * density**-self.density_power)

    def _at(self, progress: float, initial: float) -> float:
        if progress < self.warmup:
            return initial * progress / self.warmup
        return initial * self.schedule.at((progress - self.warmup) / (1.0 - self.warmup))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is built and trained, whatever its topology."""

    optimizer: Optimizer = Optimizer()
    learning_rate: LearningRate = LearningRate()
    batch_size: int = 64
    """Rows of a batch, >= 1; the last of an epoch and of the budget may be smaller."""
    activation: Activation = ReLU()
    """Of the hidden layers."""
    norm: Norm = Norm.NONE
    """Of the hidden layers."""
    dropout: float = 0.0
    """Of the hidden layers, in [0, 1)."""
    label_smoothing: float = 0.0
    """In [0, 1)."""
    initial_weights: InitialWeights = InitialWeights()
    width_factor: float = 1.0
    """Multiplies every hidden width, > 0; the budget of active weights stays."""
    depth_change: int = 0
    """Hidden layers more than the scenario's, as wide as its last one, or fewer; one stays."""

    def perceptron(self, inputs: int, hidden: Sequence[int], classes: int) -> Network:
        """A multi-layer perceptron; hidden: nominal widths, before factor and change of depth."""
        widths = hidden_widths(hidden, self.width_factor, self.depth_change)
        return Network(
            layers=perceptron_layers((inputs, *widths, classes)),
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            label_smoothing=self.label_smoothing,
        )

    def convolutional(self, architecture: str, inputs: int, classes: int) -> Network:
        """A convolutional network by its name. Raises BadInput."""
        return convolutional(
            architecture,
            inputs,
            classes,
            self.width_factor,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            label_smoothing=self.label_smoothing,
        )
