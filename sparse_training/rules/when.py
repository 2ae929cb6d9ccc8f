"""When an update is due, and what it does to the optimiser step beside it.

The clock is the share of the training budget that is spent, so that the same rule means the same in
runs of any length, batch size and price.

**Source**: up to T_end, in place of optimiser steps: RigL (Evci et al., ICML 2020,
https://arxiv.org/abs/1911.11134, algorithm 1) and the authors' code; after them: SET (Mocanu et al.
2018).
**Differs**: the papers fix an interval in steps or epochs; here the number of updates is fixed, and
the interval follows from the run.
"""

import enum
import math
from dataclasses import dataclass

from sparse_training.errors import BadInput


class Place(enum.Enum):
    """Where an update stands, and so what its gradient costs."""

    INSTEAD_OF_A_STEP = enum.auto()
    """It spends a batch, on which no optimiser step is made (RigL's code)."""
    BEFORE_A_STEP = enum.auto()
    """It spends a batch, on which the next step is then made as well; so the batch counts twice."""
    AFTER_A_STEP = enum.auto()
    """It follows a step and uses the gradient of that step's batch, taken before the step (SET,
    ITOP)."""


@dataclass(frozen=True, kw_only=True)
class Evenly:
    """So many updates between two points of the run, at equal distances."""

    count: int
    """Updates, >= 1; fewer are made where the price of one spends the time of the next."""
    place: Place = Place.AFTER_A_STEP
    at_start: bool = False
    """Whether the first is due at `start` (RigL's and JaxPruner's code); otherwise it is due one
    distance later."""
    start: float = 0.0
    """Fraction of the training budget before which no update is made, in [0, 1)."""
    end: float = 1.0
    """Fraction of the training budget after which the mask stays, in (0, 1] (T_end / T). No update
    is due at `end` itself, where a falling drop fraction is zero and nothing is left to train."""

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise BadInput(
                f"updates from {self.start:g} of the budget to {self.end:g} of it: expected the "
                "start before the end"
            )
        if self.count < 1:
            raise BadInput(f"{self.count} updates: expected at least 1")

    def reached(self, progress: float) -> int:
        """How many updates were due until `progress` of the training budget was spent."""
        if progress < self.start:
            return 0
        distances = self.count if self.at_start else self.count + 1
        # A point that a step ends on is reached, whatever binary fractions make of it.
        passed = (progress - self.start) / (self.end - self.start) * distances + 1e-9
        return min(self.count, math.floor(passed) + self.at_start)

    def next(self, reached: int) -> float:
        """The progress before which `due` is not true again; infinite if it never is."""
        if reached >= self.count:
            return math.inf
        distances = self.count if self.at_start else self.count + 1
        passed = reached + 1 - self.at_start
        return self.start + (self.end - self.start) * (passed - 2e-9) / distances

    def due(self, progress: float, reached: int) -> bool:
        """Whether an update is due; reached: what `reached` said after the last one, or 0.

        So an update that is dearer than the distance to the next one takes its place.
        """
        return progress <= self.end and self.reached(progress) > reached
