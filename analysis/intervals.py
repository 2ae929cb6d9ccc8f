"""What a mean over runs and evaluations says: its interval, its p-value, and Holm's correction.

Every run of a configurator is validated on the same (instance, seed) pairs, so costs are a table of
runs x pairs with an effect of the run, one of the pair and a rest. There are two questions:

- **these instances** (`these`): the mean over further runs and further seeds on the very instances
  of the set. Instances are fixed; pairs vary within them.
- **instances like these** (`like`): the mean over further runs and further instances, of which the
  set's are a sample. Pairs of one instance are a cluster: each instance counts once, with its mean
  over seeds, however many seeds it has.

With A, B and E the mean squares of runs, of columns and of the rest, r runs and c columns, the
variance of the mean is estimated by (A + B - E) / (r c): E has the expectation σ², A σ² + c σ_run²,
B σ² + r σ_column².

**Source**: the expected mean squares of a crossed random model, Cornfield and Tukey, Annals of
Mathematical Statistics 27(4):907-949, 1956; the degrees of freedom of a sum of mean squares,
Satterthwaite, Biometrics Bulletin 2(6):110-114, 1946, that is (Σ MS)² / Σ (MS² / df); Holm,
Scandinavian Journal of Statistics 6(2):65-70, 1979.
**Differs** where a mean square is subtracted, for which Satterthwaite's formula was not made
(Gaylor and Hopper, Technometrics 11(4):691-706, 1969): a component that is estimated as negative is
0, so the estimate is max(E, A, B, A + B - E); E is left out of the degrees of freedom, which are
at least those of A or B, whichever has fewer, and at most those of both. How often the intervals
hold the truth says `python -m benchmarks.coverage`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its t interval at `LEVEL`; without bounds where no interval is possible."""

    mean: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    """Two-sided, of a mean of 0."""

    def within(self, least: float, most: float) -> "Interval":
        """Without what cannot be: a mean of few runs has bounds that no error comes to. What is
        cut off holds no true mean, so the interval covers as often as before."""
        if self.empty:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    @property
    def empty(self) -> bool:
        """Whether nothing is known of the mean but its estimate."""
        return math.isnan(self.low)

    @property
    def covers_zero(self) -> bool:
        """Whether no difference is shown; an empty one shows none."""
        return not (self.low > 0 or self.high < 0)


def these(values: Array, instances: Sequence[str]) -> Interval:
    """The mean of a (runs, pairs) table for these instances; `instances` names that of each pair.

    Empty with a single run, and where no instance has two seeds.
    """
    columns = np.unique(np.asarray(instances), return_inverse=True)[1]
    return _crossed(values, columns)


def like(values: Array, instances: Sequence[str]) -> Interval:
    """The mean of a (runs, pairs) table for instances like these, each of which counts once.

    Empty with a single run or a single instance.
    """
    means = _instance_means(values, instances)
    return _crossed(means, np.zeros(means.shape[1], dtype=np.int64))


def these_of_one(values: Array, instances: Sequence[str]) -> Interval:
    """As `these`, of costs of one fixed configuration: (pairs,), among which no run varies."""
    columns = np.unique(np.asarray(instances), return_inverse=True)[1]
    square, free = _between_columns(values[None, :], columns)
    return _interval(float(values.mean()), square / values.size if values.size else 0.0, free)


def like_of_one(values: Array, instances: Sequence[str]) -> Interval:
    """As `like`, of costs of one fixed configuration: (pairs,)."""
    means = _instance_means(values[None, :], instances)[0]
    return these_of_one(means, ["all"] * means.size)


def holm(p_values: Sequence[float] | Array) -> Array:
    """Holm's adjusted p-values, in the order given; NaN, of empty intervals, is not counted."""
    adjusted = np.asarray(p_values, dtype=np.float64).copy()
    known = np.flatnonzero(~np.isnan(adjusted))
    order = known[np.argsort(adjusted[known], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _crossed(values: Array, strata: NDArray[np.int64]) -> Interval:
    """The interval of a (runs, columns) table; columns vary within their strata only."""
    runs, columns = values.shape
    mean = float(values.mean())
    of_columns, free_columns = _between_columns(values, strata)
    free_runs = runs - 1
    if not (free_runs and free_columns):
        return Interval(mean)
    of_runs = columns * float(values.mean(axis=1).var(ddof=1))
    # Run effects differ between strata, which are fixed: that is no part of the rest.
    within = values - _stratum_means(values, strata)
    rest = float(((within - within.mean(axis=0)) ** 2).sum()) / (free_runs * free_columns)
    square = max(rest, of_runs, of_columns, of_runs + of_columns - rest)
    spread = of_runs**2 / free_runs + of_columns**2 / free_columns
    free = square**2 / spread if spread else math.inf
    free = min(max(free, min(free_runs, free_columns)), free_runs + free_columns)
    return _interval(mean, square / (runs * columns), free)


def _between_columns(values: Array, strata: NDArray[np.int64]) -> tuple[float, int]:
    """The mean square of columns within strata, and its degrees of freedom."""
    runs, columns = values.shape
    free = columns - len(set(strata.tolist()))
    if not free:
        return 0.0, 0
    within = (values - _stratum_means(values, strata)).mean(axis=0)
    return runs * float((within**2).sum()) / free, free


def _stratum_means(values: Array, strata: NDArray[np.int64]) -> Array:
    """(runs, columns): each value's mean over its run and stratum."""
    means = np.empty_like(values)
    for stratum in set(strata.tolist()):
        own = strata == stratum
        means[:, own] = values[:, own].mean(axis=1, keepdims=True)
    return means


def _instance_means(values: Array, instances: Sequence[str]) -> Array:
    """(runs, instances): means over the seeds of an instance."""
    names = np.asarray(instances)
    return np.stack([values[:, names == name].mean(axis=1) for name in np.unique(names)], axis=1)


def _interval(mean: float, variance: float, free: float) -> Interval:
    """Of a mean with this variance; empty without degrees of freedom."""
    if not free:
        return Interval(mean)
    error = math.sqrt(variance)
    if error == 0:
        return Interval(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = float(stats.t.ppf((1 + LEVEL) / 2, free)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, free))
    return Interval(mean, mean - half, mean + half, p)
