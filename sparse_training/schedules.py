"""How something falls over time: the shapes that drop fractions and learning rates share.

**Source**: cosine: Loshchilov & Hutter, ICLR 2017, and RigL (Evci et al. 2020), equation 1;
polynomial: RigL's appendix; halved: MEST's scripts (Yuan et al. 2021); tenths: the step schedule of
RigL's scripts.
"""

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A shape that begins at 1."""

    def at(self, progress: float) -> float:
        """What is left of the initial value when `progress` in [0, 1] of the time has passed."""


@dataclass(frozen=True)
class Constant:
    """Does not fall."""

    def at(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear:
    """In a straight line to 0."""

    def at(self, progress: float) -> float:
        return 1.0 - progress


@dataclass(frozen=True)
class Cosine:
    """By half a cosine to 0."""

    def at(self, progress: float) -> float:
        return (1.0 + math.cos(math.pi * progress)) / 2.0


@dataclass(frozen=True)
class Polynomial:
    """(1 - progress) ** power."""

    power: float = 3.0
    """> 0."""

    def at(self, progress: float) -> float:
        return float((1.0 - progress) ** self.power)


@dataclass(frozen=True)
class Halved:
    """To a half after three quarters of the time."""

    def at(self, progress: float) -> float:
        return 1.0 if progress < 0.75 else 0.5


@dataclass(frozen=True)
class Tenths:
    """To a tenth at half the time, and to a hundredth at three quarters."""

    def at(self, progress: float) -> float:
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
