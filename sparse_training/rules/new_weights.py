"""Values and optimiser state of the weights that an update grows.

**Source**: zero, and the choices of `grow_init` and `initial_acc_scale`: RigL (Evci et al., ICML
2020, https://arxiv.org/abs/1911.11134) and the authors' code; N(0, .1^2): SET's SciPy code; the
state that a dense momentum holds: SNFS (Dettmers & Zettlemoyer 2019).
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Extent, Needs
from sparse_training.positions import Positions


@dataclass(frozen=True, kw_only=True)
class Grown:
    """The grown weights of a layer, when their values are chosen."""

    positions: Positions
    """Ascending."""
    gradient: Callable[[], NDArray[np.float32]]
    """Of the loss by them."""
    initial_deviation: Callable[[], NDArray[np.float64]]
    """Standard deviation of the layer's initial weights, at them."""
    learning_rate: float
    """Now."""
    rng: np.random.Generator

    def draws(self) -> NDArray[np.float32]:
        """One from N(0, 1) for each."""
        return self.rng.standard_normal(len(self.positions), dtype=np.float32)


class Value(Protocol):
    """How grown weights begin."""

    @property
    def needs(self) -> Needs:
        """What it looks at."""

    def of(self, grown: Grown) -> NDArray[np.float32]:
        """A value for each; not called for none."""


@dataclass(frozen=True)
class Zero:
    """At zero (RigL)."""

    needs = Needs()

    def of(self, grown: Grown) -> NDArray[np.float32]:
        return np.zeros(len(grown.positions), dtype=np.float32)


@dataclass(frozen=True)
class Normal:
    """From N(0, deviation^2)."""

    deviation: float = 0.1
    """> 0; .1 in SET's SciPy code."""

    needs = Needs()

    def of(self, grown: Grown) -> NDArray[np.float32]:
        return grown.draws() * np.float32(self.deviation)


@dataclass(frozen=True)
class LikeInitial:
    """As the layer's initial weights, times a scale."""

    scale: float = 1.0
    """> 0."""

    needs = Needs()

    def of(self, grown: Grown) -> NDArray[np.float32]:
        scale = np.float32(self.scale)
        return grown.draws() * scale * grown.initial_deviation().astype(np.float32)


@dataclass(frozen=True)
class GradientStep:
    """At a step of scale times the learning rate down the gradient."""

    scale: float = 1.0
    """> 0."""

    needs = Needs(gradient=Extent.ACTIVE)

    def of(self, grown: Grown) -> NDArray[np.float32]:
        step = -np.float32(self.scale) * np.float32(grown.learning_rate)
        return step * grown.gradient()


class State(enum.Enum):
    """Optimiser state of grown weights."""

    ZERO = enum.auto()
    """RigL."""
    KEPT = enum.auto()
    """What a dense state holds there (SNFS); zero without one."""
    GRADIENT = enum.auto()
    """Velocity or first moment the gradient, second moment its square."""

    @property
    def needs(self) -> Needs:
        """What it looks at."""
        return Needs(gradient=Extent.ACTIVE) if self is State.GRADIENT else Needs()


@dataclass(frozen=True, kw_only=True)
class NewWeights:
    """How grown weights begin."""

    value: Value = Zero()
    state: State = State.ZERO
    regrown_keep: bool = True
    """Whether a weight that is dropped and grown by the same update keeps its value and optimiser
    state (RigL's code) or starts as a new one (SET)."""

    @property
    def needs(self) -> Needs:
        """What an update looks at for them."""
        return self.value.needs | self.state.needs
