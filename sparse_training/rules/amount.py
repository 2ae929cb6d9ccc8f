"""What fraction of the active weights an update drops, and how that falls over the run.

**Source**: constant in SET (Mocanu et al. 2018); half a cosine in RigL (Evci et al. 2020), equation
1, to a final .005 in the codes of SNFS (Dettmers & Zettlemoyer 2019) and ITOP (Liu et al. 2021);
halved in MEST's scripts (Yuan et al. 2021). The shapes are in `schedules`.
"""

import enum
import math
from dataclasses import dataclass

from sparse_training.errors import BadInput
from sparse_training.schedules import Cosine, Schedule


@dataclass(frozen=True)
class LikeLearningRate:
    """In proportion to the learning rate, whatever its schedule."""


@dataclass(frozen=True)
class Fraction:
    """A fraction of the active weights that falls from `initial` to `final` by a schedule."""

    initial: float
    """Of the first update, in [0, 1): alpha in RigL, zeta in SET."""
    schedule: Schedule | LikeLearningRate = Cosine()
    final: float = 0.0
    """Below which it does not fall, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.initial < 1.0:
            raise BadInput(
                f"dropping a fraction of {self.initial:g} would empty a layer: expected at least 0 "
                "and below 1"
            )

    def at(self, progress: float, learning_rate: float) -> float:
        """The fraction when `progress` of the time up to the last update has passed.

        progress: counts as 1 beyond it; learning_rate: as a fraction of the initial one.
        """
        if isinstance(self.schedule, LikeLearningRate):
            left = learning_rate
        else:
            left = self.schedule.at(min(max(progress, 0.0), 1.0))
        return self.final + (self.initial - self.final) * left


class Rounding(enum.Enum):
    """Of a number of weights."""

    FLOOR = enum.auto()
    """RigL."""
    CEIL = enum.auto()
    """SNFS, ITOP, GraNet."""
    NEAREST = enum.auto()
    """JaxPruner; half up."""


def rounded(fraction: float, count: int, rounding: Rounding) -> int:
    """fraction * count as a whole number, at most count."""
    # A fraction of .3 times 10 must not become 2 by floor or 4 by ceil through binary fractions.
    exact = round(fraction * count, 9)
    if rounding is Rounding.FLOOR:
        return min(count, math.floor(exact))
    if rounding is Rounding.CEIL:
        return min(count, math.ceil(exact))
    return min(count, math.floor(exact + 0.5))
