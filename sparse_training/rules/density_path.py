"""More active weights on the way than at the end, where a scenario grants a peak.

**Source**: cubic: Zhu & Gupta 2017, as in GraNet (Liu et al., NeurIPS 2021,
https://arxiv.org/abs/2106.10404); soft bound: EM&S of MEST (Yuan et al., NeurIPS 2021,
https://arxiv.org/abs/2110.14032); cyclic: after AC/DC (Peste et al., NeurIPS 2021).
"""

from dataclasses import dataclass
from typing import Protocol


class DensityPath(Protocol):
    """The number of active weights over time, down to the budget."""

    @property
    def factor(self) -> float:
        """What it begins with, as a multiple of the budget of active weights, > 1; less where the
        scenario's peak or the network is smaller."""

    @property
    def end(self) -> float:
        """Fraction of the training budget at which it has reached the budget of active weights."""

    def density(self, initial: float, final: float, progress: float) -> float:
        """The density wanted when `progress` in [0, 1) of the path has passed."""

    def dropped(self, fraction: float, budget: int, present: int) -> float:
        """The fraction that an update drops, given what its amount says."""


def weights_at(path: DensityPath, initial: int, final: int, total: int, progress: float) -> int:
    """The number of active weights wanted when `progress` of the training budget is spent."""
    passed = progress / path.end
    if passed >= 1.0:
        return final
    density = path.density(initial / total, final / total, passed)
    return min(initial, max(final, round(density * total)))


@dataclass(frozen=True)
class Cubic:
    """final + (initial - final) (1 - progress)^3, pruned over all layers by magnitude (GraNet)."""

    factor: float = 4.0
    end: float = 0.5
    """In (0, 1)."""

    def density(self, initial: float, final: float, progress: float) -> float:
        return float(final + (initial - final) * (1.0 - progress) ** 3)

    def dropped(self, fraction: float, budget: int, present: int) -> float:
        return fraction


@dataclass(frozen=True)
class SoftBound:
    """The initial density for three quarters of the path, then the mean of both (MEST's EM&S).

    Each update drops down to the budget and grows up again.
    """

    factor: float = 4.0
    end: float = 0.5
    """In (0, 1)."""

    def density(self, initial: float, final: float, progress: float) -> float:
        return initial if progress < 0.75 else (initial + final) / 2.0

    def dropped(self, fraction: float, budget: int, present: int) -> float:
        return 1.0 - budget / present


@dataclass(frozen=True)
class Cyclic:
    """Initial and final density in turn, half a period each (after AC/DC)."""

    factor: float = 4.0
    end: float = 0.5
    """In (0, 1)."""
    cycles: int = 2
    """Periods, >= 1."""

    def density(self, initial: float, final: float, progress: float) -> float:
        return initial if progress * self.cycles % 1.0 < 0.5 else final

    def dropped(self, fraction: float, budget: int, present: int) -> float:
        return fraction
