"""Importance pruning: hidden neurons that lose all their incoming weights for good.

**Source**: Curci et al., "Truly Sparse Neural Networks at Scale", 2021,
https://arxiv.org/abs/2102.01732.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import BadInput
from sparse_training.ranking import keep_largest
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.view import LayerView


@dataclass(frozen=True, kw_only=True)
class ImportancePruning:
    """Of every hidden layer the least important neurons go, those of the smallest sum of |w|.

    What is lost is not grown elsewhere, but for what a density path still asks for.
    """

    fraction: float
    """Of the neurons that have incoming weights, in (0, 1); rounded down, and never all of them."""
    start: float = 0.4
    """Fraction of the training budget before which it rests."""
    interval: int = 10
    """Updates between two prunings, >= 1."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction < 1.0 or self.interval < 1:
            raise BadInput(
                f"pruning a fraction of {self.fraction:g} of the neurons every {self.interval} "
                "updates: expected one between 0 and 1, and at least 1"
            )

    def due(self, updates: int, progress: float) -> bool:
        """Whether neurons are pruned after an update, the `updates`-th of the run."""
        return progress >= self.start and updates % self.interval == 0

    def keep(self, layers: Sequence[LayerView]) -> list[NDArray[np.bool_]]:
        """Which active weights of every layer stay; all of the output layer."""
        keep = [np.ones(len(layer.active), dtype=np.bool_) for layer in layers]
        for i, layer in enumerate(layers[:-1]):
            neurons = layer.active // layer.layer.fan_in
            count = layer.layer.neurons
            sizes = np.abs(layer.weights).astype(np.float64)
            importance = np.bincount(neurons, weights=sizes, minlength=count).astype(np.float64)
            alive = np.flatnonzero(np.bincount(neurons, minlength=count))
            gone = min(rounded(self.fraction, len(alive), Rounding.FLOOR), len(alive) - 1)
            stay = keep_largest(importance[alive], len(alive) - gone)
            keep[i] = np.isin(neurons, alive[stay])
        return keep
