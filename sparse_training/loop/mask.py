"""The active weights now, and those that have ever been active."""

from collections.abc import Sequence

from sparse_training.positions import Positions, merged, no_positions, without
from sparse_training.rules.update import LayerUpdate


class Mask:
    """The mask of a network while it is trained."""

    def __init__(self, active: Sequence[Positions]) -> None:
        self.active = list(active)
        """Per layer."""
        self.fired = [positions.copy() for positions in active]
        """Positions that have ever been active."""
        self.new = [no_positions() for _ in active]
        """Positions whose weights the last update grew."""
        self.peak = self.count
        """Most weights that have been active at a time."""

    @property
    def counts(self) -> list[int]:
        """Active weights of every layer."""
        return [len(positions) for positions in self.active]

    @property
    def count(self) -> int:
        """Active weights."""
        return sum(self.counts)

    def change(self, changes: Sequence[LayerUpdate], *, by_an_update: bool) -> None:
        """Takes over what an update, or a pruning outside of one, has chosen."""
        for layer, change in enumerate(changes):
            fresh = without(change.new, self.fired[layer])
            if len(fresh):
                self.fired[layer] = merged(self.fired[layer], fresh)
        self.active = [change.active for change in changes]
        if by_an_update:
            self.new = [change.new for change in changes]
        self.peak = max(self.peak, self.count)
