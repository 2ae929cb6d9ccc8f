"""What the training loop asks of an engine: steps, dense gradients, updates, predictions.

An engine owns the weights, their gradients and the state of the optimiser, and nothing else: every
random choice and every choice of positions is made outside and handed in. Two engines given the
same calls therefore train the same network, but for rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from target_algorithms.topology import Positions


class Diverged(ArithmeticError):
    """A loss, a gradient or a weight is no longer finite."""


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
    dropped: Positions
    new: Positions
    values: NDArray[np.float32]
    """Values of the new weights, in the order of `new`; their optimiser state becomes zero."""


class Engine(Protocol):
    """Weights, gradients and optimiser state of one network on one training part."""

    @property
    def name(self) -> str:
        """What results record as `engine`."""

    def train(self, segment: Segment) -> None:
        """Makes the steps; after each, at most the budget of weights is non-zero.

        Raises Diverged.
        """

    def weights(self, layer: int) -> NDArray[np.float32]:
        """Values of the layer's active weights, in ascending position."""

    def biases(self, layer: int) -> NDArray[np.float32]:
        """The layer's biases, shape (outputs,)."""

    def dense_gradients(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Layer by layer the gradient of the mean loss on the rows by the effective weights.

        Shape (outputs, inputs), inactive positions included. An array is only good until the
        next one is asked for. Changes nothing. Raises Diverged.
        """

    def apply(self, changes: Sequence[LayerChange]) -> None:
        """Changes the topology of all layers; weights that stay keep value and optimiser state."""

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of every row; rows: features, shape (rows, inputs). Raises Diverged."""
