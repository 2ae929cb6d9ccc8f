"""What the training loop asks of an engine: steps, gradients, changes of the mask, outputs.

An engine owns the weights, their gradients and the state of the optimiser, and nothing else: every
random choice and every choice of positions is made outside and handed in. Two engines given the
same calls therefore train the same network, but for rounding.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.networks.network import Network
from sparse_training.positions import Positions
from sparse_training.ranking import largest_free


class Diverged(ArithmeticError):
    """A loss, a gradient or a weight is no longer finite."""


class BudgetExceeded(RuntimeError):
    """A fault of the code: weights are in use that were not granted, or are not active."""


# Optimisers --------------------------------------------------------------------------------------


class Decay(enum.Enum):
    """Where SGD's weight decay enters; AdamW's is decoupled."""

    COUPLED = enum.auto()
    """g += wd w, before the momentum."""
    DECOUPLED = enum.auto()
    """w -= lr wd w, before the step."""
    INDEPENDENT = enum.auto()
    """w -= wd w, taken at the w before the step (SET's code: w += v - wd w)."""


@dataclass(frozen=True, kw_only=True)
class SGD:
    """v = momentum v + g, then a step of -lr v, or of -lr (g + momentum v) with `nesterov`."""

    momentum: float = 0.9
    """In [0, 1)."""
    nesterov: bool = True
    decay: Decay = Decay.COUPLED


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """beta1 .9, epsilon 1e-8; its bias corrected by the step of the run, for grown weights too."""

    beta2: float = 0.999
    """In [0, 1)."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How a gradient becomes a step; the state starts at zero."""

    rule: SGD | AdamW = SGD()
    weight_decay: float = 0.0005
    """>= 0."""
    decay_biases: bool = False
    """Do the biases of the layers decay too? Parameters of normalisation and activation never."""
    gradient_correction: bool = False
    """Multiplies the weights' gradient of every normalised neuron i, before decay and momentum, by
    sqrt(density of i) / sqrt(density of its layer) (SparseOpt); a neuron without weights by 0."""
    dense_state: bool = False
    """Does the optimiser's state go on following the dense gradient at inactive positions (SNFS)?
    Weight decay does not enter there."""


# What rules look at ------------------------------------------------------------------------------


def momentum(state: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What rules know as momentum: SGD's velocity, or AdamW's m / (sqrt(v) + 1e-8) (SNFS's code).

    state: (velocity,) or (m, v).
    """
    if len(state) == 1:
        return state[0]
    adapted: NDArray[np.float32] = np.divide(state[0], np.sqrt(state[1]) + 1e-8)
    return adapted


class Extent(enum.IntEnum):
    """The weights of which something is looked at."""

    NOTHING = 0
    ACTIVE = 1
    ALL = 2


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a rule asks an engine for at an update; the ledger prices it."""

    gradient: Extent = Extent.NOTHING
    """Weights whose gradient an update looks at, besides `candidates`."""
    candidates: float = 0.0
    """Inactive positions whose gradient is looked at, as a multiple of the active weights."""
    momentum: Extent = Extent.NOTHING
    """Weights whose momentum an update looks at; that of all needs a dense optimiser state."""
    paths: bool = False
    """Whether an update walks along the active weights (`rules.paths`); no engine takes part."""
    every_position: bool = False
    """Whether a value is kept for every position: a dense optimiser state, an average."""

    @property
    def a_gradient(self) -> bool:
        """Whether an update looks at any gradient."""
        return self.gradient > Extent.NOTHING or self.candidates > 0.0

    def __or__(self, other: "Needs") -> "Needs":
        """What both need together."""
        return Needs(
            gradient=max(self.gradient, other.gradient),
            candidates=max(self.candidates, other.candidates),
            momentum=max(self.momentum, other.momentum),
            paths=self.paths or other.paths,
            every_position=self.every_position or other.every_position,
        )


class Gradients(Protocol):
    """Dense gradients, or other scores of all positions, of every layer; valid until dropped."""

    def at(self, layer: int, positions: Positions) -> NDArray[np.float32]:
        """The signed values at ascending positions of the layer, active or not."""

    def largest(
        self, layer: int, count: int, taken: Positions, fired: Positions | None = None
    ) -> Positions:
        """The `count` positions of the largest |value| among those not taken, ascending.

        Of equal ones the lowest position wins; `fired` come only after all others. See
        `ranking.largest_free`.
        """

    def dense(self, layer: int) -> NDArray[np.float32]:
        """All values of the layer in one array, shape (positions,). Do not write to it."""

    def averaged(self, earlier: "Sequence[Gradients]") -> "Gradients":
        """The mean of these and of earlier ones of the same engine."""


@dataclass(frozen=True)
class DenseGradients:
    """Gradients that are all there, as flat arrays; see `Gradients`."""

    layers: Sequence[NDArray[np.float32]]

    def at(self, layer: int, positions: Positions) -> NDArray[np.float32]:
        return self.layers[layer][positions]

    def largest(
        self, layer: int, count: int, taken: Positions, fired: Positions | None = None
    ) -> Positions:
        return largest_free(np.abs(self.layers[layer]), taken, count, fired)

    def dense(self, layer: int) -> NDArray[np.float32]:
        return self.layers[layer]

    def averaged(self, earlier: Sequence[Gradients]) -> "DenseGradients":
        totals = []
        for layer in range(len(self.layers)):
            first, *others = [part.dense(layer) for part in (*earlier, self)]
            total = first.copy()
            for values in others:
                total += values
            totals.append(total / np.float32(len(earlier) + 1))
        return DenseGradients(totals)


# Engines -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an engine is built from."""

    network: Network
    optimizer: Optimizer
    active: Sequence[Positions]
    """Per layer the flat active positions, ascending."""
    values: Sequence[NDArray[np.float32]]
    """Their initial weights. Biases start at zero."""
    budget: int
    """The most weights that may be active at any step."""
    train_x: NDArray[np.float32]
    """Features, (rows, inputs)."""
    train_y: NDArray[np.int64]
    """Classes from 0, (rows,)."""
    seed: int = 0
    """Key of the dropout masks, see `networks.dropout`."""
    device: str = "cpu"


@dataclass(frozen=True)
class Segment:
    """Optimiser steps between two changes of the mask."""

    rows: NDArray[np.int64]
    """Rows of the training part, batch after batch, shape (sum of sizes,)."""
    sizes: Sequence[int]
    """Rows of every batch, in order."""
    learning_rates: Sequence[float]
    """One a batch."""


@dataclass(frozen=True)
class LayerChange:
    """One layer's new mask, all positions flat and ascending."""

    active: Positions
    """Active from now on; the number may have changed."""
    dropped: Positions
    """Active before, not now."""
    new: Positions
    """Those that get a new value."""
    values: NDArray[np.float32]
    """Values of the new weights, in the order of `new`."""
    state: NDArray[np.float32] | None = None
    """Velocity or first moment of the new weights; the second moment becomes its square. None:
    zero, or what a dense state holds there."""


class Engine(Protocol):
    """Weights, gradients and optimiser state of one network on one training part."""

    @property
    def name(self) -> str:
        """What results record as `engine`."""

    def train(self, segment: Segment) -> None:
        """Makes the steps; no inactive weight is ever other than zero. Raises Diverged."""

    def weights(self, layer: int) -> NDArray[np.float32]:
        """Values of the layer's active weights, in ascending position."""

    def biases(self, layer: int) -> NDArray[np.float32]:
        """The layer's biases, shape (outputs,)."""

    def momenta(self, layer: int) -> NDArray[np.float32]:
        """Of the layer's active weights, in ascending position: see `momentum`."""

    def gradients(self, rows: NDArray[np.int64]) -> Gradients:
        """The gradient by the effective (masked) weights of the mean loss on the rows.

        In training mode: the dropout masks and batch statistics are those of the next step.
        Changes nothing, and what it returns stays as it is when training goes on. Raises Diverged.
        """

    def dense_momenta(self) -> Gradients:
        """The dense state as scores: see `momentum`.

        For `dense_state` only; as it is now, training may not go on while it is in use.
        """

    def apply(self, changes: Sequence[LayerChange]) -> None:
        """Changes the mask of all layers; weights that stay keep value and optimiser state."""

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs before the softmax, (rows, classes), in evaluation mode. Raises Diverged.

        rows: features, shape (rows, inputs).
        """


EngineFactory = Callable[[Setup], Engine]
