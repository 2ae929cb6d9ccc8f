"""Optimiser steps, collected and handed to the engine a segment at a time."""

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Engine, Segment


class Steps:
    """What is trained between two looks at the network."""

    def __init__(self, engine: Engine) -> None:
        self.count = 0
        """Optimiser steps of the run so far, those not yet made included."""
        self._engine = engine
        self._rows: list[NDArray[np.int64]] = []
        self._rates: list[float] = []

    def add(self, rows: NDArray[np.int64], learning_rate: float) -> None:
        """A step on a batch."""
        self._rows.append(rows)
        self._rates.append(learning_rate)
        self.count += 1

    def make(self) -> None:
        """Makes the steps that were added. Raises Diverged."""
        if self._rows:
            rows, rates = self._rows, self._rates
            self._rows, self._rates = [], []
            self._engine.train(Segment(np.concatenate(rows), [len(r) for r in rows], rates))
