"""The active weights now, and those that have ever been active."""

from collections.abc import Sequence

import numpy as np

from sparse_training.positions import Positions, distinct, no_positions
from sparse_training.rules.update import LayerUpdate

ROOM = 1 << 14
"""Positions of a layer that may wait to be put with those that have been active before."""


class Mask:
    """The mask of a network while it is trained."""

    def __init__(self, active: Sequence[Positions]) -> None:
        self.active = list(active)
        """Per layer."""
        self.new = [no_positions() for _ in active]
        """Positions whose weights the last update grew."""
        self.peak = self.count
        """Most weights that have been active at a time."""
        self._fired = [[positions] for positions in active]

    @property
    def counts(self) -> list[int]:
        """Active weights of every layer."""
        return [len(positions) for positions in self.active]

    @property
    def count(self) -> int:
        """Active weights."""
        return sum(self.counts)

    def fired(self, layer: int) -> Positions:
        """Positions of a layer that have ever been active."""
        parts = self._fired[layer]
        if len(parts) > 1:
            parts[:] = [distinct(np.concatenate(parts))]
        return parts[0]

    def change(self, changes: Sequence[LayerUpdate], *, by_an_update: bool) -> None:
        """Takes over what an update, or a pruning outside of one, has chosen."""
        for layer, change in enumerate(changes):
            # Put together when somebody asks, or they are as many as those before.
            parts = self._fired[layer]
            if len(change.new):
                parts.append(change.new)
            if sum(map(len, parts[1:])) > len(parts[0]) + ROOM:
                self.fired(layer)
        self.active = [change.active for change in changes]
        if by_an_update:
            self.new = [change.new for change in changes]
        self.peak = max(self.peak, self.count)
