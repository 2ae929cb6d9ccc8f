"""What the training loop asks of an engine: steps, gradients, changes of the topology, outputs.

An engine owns the weights, their gradients and the state of the optimiser, and nothing else: every
random choice and every choice of positions is made outside and handed in. Two engines given the
same calls therefore train the same network, but for rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from target_algorithms.networks import Network
from target_algorithms.topology import Positions, grow_by_score


class Diverged(ArithmeticError):
    """A loss, a gradient or a weight is no longer finite."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How a gradient becomes a step; the state starts at zero."""

    kind: Literal["sgd", "adamw"] = "sgd"
    """sgd: v = momentum v + g, step -lr v (or -lr (g + momentum v) with `nesterov`); adamw with
    beta1 .9 and epsilon 1e-8, its bias corrected by the step of the run, for grown weights too."""
    momentum: float = 0.9
    nesterov: bool = True
    beta2: float = 0.999
    weight_decay: float = 0.0005
    decay_kind: Literal["coupled", "decoupled", "independent"] = "coupled"
    """coupled: g += wd w before the momentum; decoupled: w -= lr wd w before the step (what adamw
    does whatever is set here); independent: w -= wd w, taken at the w before the step (SET's
    code: w += v - wd w)."""
    decay_biases: bool = False
    """Do the biases of the layers decay too? Parameters of normalisation and activation never."""
    gradient_correction: bool = False
    """Multiplies the weights' gradient of every normalised neuron i, before decay and momentum, by
    sqrt(density of i) / sqrt(density of its layer) (SparseOpt); a neuron without weights by 0."""
    dense_state: bool = False
    """Does the optimiser's state go on following the dense gradient at inactive positions (SNFS)?
    Weight decay does not enter there."""


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
    """Key of the dropout masks, see `networks.dropout_keep`."""
    device: str = "cpu"


@dataclass(frozen=True)
class Segment:
    """Optimiser steps between two changes of the topology."""

    rows: NDArray[np.int64]
    """Rows of the training part, batch after batch, shape (sum of sizes,)."""
    sizes: Sequence[int]
    """Rows of every batch, in order."""
    learning_rates: Sequence[float]
    """One a batch."""


@dataclass(frozen=True)
class LayerChange:
    """One layer's new topology, all positions flat and ascending."""

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


class Gradients(Protocol):
    """Dense gradients, or other scores of all positions, of every layer; valid until dropped."""

    def at(self, layer: int, positions: Positions) -> NDArray[np.float32]:
        """The signed values at ascending positions of the layer, active or not."""

    def largest(
        self, layer: int, count: int, taken: Positions, fired: Positions | None = None
    ) -> Positions:
        """The `count` positions of the largest |value| among those not taken, ascending.

        Of equal ones the lowest position wins; `fired` come only after all others. See
        `topology.grow_by_score`.
        """

    def dense(self, layer: int) -> NDArray[np.float32]:
        """All values of the layer in one array, shape (positions,). Do not write to it."""

    def averaged(self, earlier: "Sequence[Gradients]") -> "Gradients":
        """The mean of these and of earlier ones of the same engine."""


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
        """Velocity or first moment of the layer's active weights, in ascending position."""

    def gradients(self, rows: NDArray[np.int64]) -> Gradients:
        """The gradient by the effective (masked) weights of the mean loss on the rows.

        In training mode: the dropout masks and batch statistics are those of the next step.
        Changes nothing, and what it returns stays as it is when training goes on. Raises Diverged.
        """

    def dense_momenta(self) -> Gradients:
        """The dense state as scores: the velocity, or adamw's m / (sqrt(v) + 1e-8).

        For `dense_state` only; as it is now, training may not go on while it is in use.
        """

    def apply(self, changes: Sequence[LayerChange]) -> None:
        """Changes the topology of all layers; weights that stay keep value and optimiser state."""

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs before the softmax, (rows, classes), in evaluation mode. Raises Diverged.

        rows: features, shape (rows, inputs).
        """


EngineFactory = Callable[[Setup], Engine]


@dataclass(frozen=True)
class DenseGradients:
    """Gradients that are all there, as flat arrays; see `Gradients`."""

    layers: Sequence[NDArray[np.float32]]

    def at(self, layer: int, positions: Positions) -> NDArray[np.float32]:
        return self.layers[layer][positions]

    def largest(
        self, layer: int, count: int, taken: Positions, fired: Positions | None = None
    ) -> Positions:
        return grow_by_score(np.abs(self.layers[layer]), taken, count, fired)

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
