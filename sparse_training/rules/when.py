"""When an update is due, and what it does to the optimiser step beside it.

**Source**: in place of every Delta T-th step up to T_end: RigL (Evci et al., ICML 2020,
https://arxiv.org/abs/1911.11134, algorithm 1) and the authors' code; after epochs: SET (Mocanu et
al. 2018).
"""

import enum
from dataclasses import dataclass

from sparse_training.errors import BadInput


class Unit(enum.Enum):
    """What an interval counts."""

    STEPS = enum.auto()
    """Optimiser steps (RigL)."""
    EPOCHS = enum.auto()
    """Passes over the training part (SET)."""


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
class Every:
    """Updates at an interval, between two points of the run."""

    interval: int
    """Steps or epochs between two updates, >= 1 (Delta T)."""
    unit: Unit = Unit.STEPS
    place: Place = Place.AFTER_A_STEP
    at_start: bool = False
    """Whether an update is due before the first step (RigL's and JaxPruner's code)."""
    start: float = 0.0
    """Fraction of the training budget before which no update is made, in [0, 1)."""
    end: float = 1.0
    """Fraction of the training budget after which the mask stays, in (0, 1] (T_end / T)."""

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise BadInput(
                f"updates from {self.start:g} of the budget to {self.end:g} of it: expected the "
                "start before the end"
            )
        if self.interval < 1:
            raise BadInput(f"an interval of {self.interval} between updates: expected at least 1")

    def counts(self, steps: int, epochs: int) -> int:
        """What the interval counts."""
        return steps if self.unit is Unit.STEPS else epochs

    def due(self, count: int, last: int | None, progress: float) -> bool:
        """Whether an update is due.

        count, last: steps (or epochs) now and at the last update, None before the first, which is
        due at once; progress: the fraction of the training budget that is spent. With the number of
        steps as the clock this is RigL's rule, in which an update does not advance the count.
        """
        if not self.start <= progress <= self.end:
            return False
        return last is None or last + self.interval <= count
