"""Importance pruning: hidden neurons that lose all their incoming weights for good.

**Source**: Curci et al., "Truly Sparse Neural Networks at Scale", 2021,
https://arxiv.org/abs/2102.01732. There an interval in epochs; here a number of prunings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import BadInput
from sparse_training.ranking import keep_largest
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.view import LayerView
from sparse_training.rules.when import Evenly


@dataclass(frozen=True, kw_only=True)
class ImportancePruning:
    """Of every hidden layer the least important neurons go, those of the smallest sum of |w|.

    What is lost is not grown elsewhere, but for what a density path still asks for.
    """

    fraction: float
    """Of the neurons that have incoming weights, in (0, 1); rounded down, and never all of them."""
    when: Evenly = Evenly(count=2, start=0.4, at_start=True)
    """When one is due; it follows the next update."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction < 1.0:
            raise BadInput(
                f"pruning a fraction of {self.fraction:g} of the neurons: expected one between 0 "
                "and 1"
            )

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
