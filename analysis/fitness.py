"""Whether an instance set measures sparse training: what of the cost is rules, what chance.

Random settings of the rules (`wrappers.fitness`) are compared on the same (instance, seed) pairs,
by the additive model cost = setting + pair + rest. Of the better half of them, those among which a
configurator looks in the end:

- *noise* is the standard deviation of the rest: what is left of a trial's cost when setting and
  pair are known;
- *spread* is the standard deviation of the settings' means, without what noise contributes to it;
- *rank correlation* is Spearman's, the mean over pairs of instances.

A parameter is *inert* in a setting if another value of it gives the same trials on two pairs: the
same cost, price, steps, updates, and the same number of positions tried, neurons dead.
"""

import inspect
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from target_algorithms import Role, Variant, variant
from wrappers.fitness import Matrix, Probe, Sample
from wrappers.records import Record
from wrappers.space import Config

Array = NDArray[np.float64]

_COMBINED = Role.COMBINATION

LEAST_RATIO = 1.5
"""Spread over noise from which on a set tells settings apart with few trials."""
LEAST_CORRELATION = 0.5
MOST_INERT = 0.1
MOST_FAILED = 0.25


@dataclass(frozen=True)
class Fitness:
    """The figures of one instance set."""

    set: str
    configurations: int
    pairs: int
    noise: float
    spread: float
    correlation: float
    """NaN with a single instance."""
    defaults: Mapping[str, float]
    """Mean error of each variant's default."""
    best_baseline: float
    """Lowest mean error of a random setting of the baseline's rules, the default among them."""
    failed: float
    """Fraction of the random settings' trials that failed or are no better than chance."""
    inert: Mapping[str, tuple[int, int]]
    """Of each parameter of the combination's rules: (settings in which it was inert, settings in
    which it was changed)."""
    still: float
    """Fraction of the random dynamic settings that never updated the mask."""
    masked: float
    """Fraction of the random settings that need the masked engine."""
    seconds: float
    """Of a trial, the median."""

    @property
    def ratio(self) -> float:
        """Spread over noise."""
        return self.spread / self.noise if self.noise else math.inf

    @property
    def better_defaults(self) -> tuple[str, ...]:
        """Competitors whose default is better than the baseline at its best."""
        return tuple(
            name
            for name, cost in self.defaults.items()
            if variant(name).role is Role.COMPETITOR and cost < self.best_baseline
        )

    @property
    def lacks(self) -> tuple[str, ...]:
        """What speaks against the set, in words."""
        said = {
            f"rules spread only {self.ratio:.1f} times the noise": self.ratio < LEAST_RATIO,
            f"instances disagree (rank correlation {self.correlation:.2f})": self.correlation
            < LEAST_CORRELATION,
            f"{self.still:.0%} of the dynamic settings never update": self.still > MOST_INERT,
            f"inert: {', '.join(self.most_inert)}": bool(self.most_inert),
            f"{self.failed:.0%} of the trials fail": self.failed > MOST_FAILED,
            "a static mask is as good as the dynamic defaults": len(self.better_defaults) < 2,
        }
        return tuple(words for words, lacking in said.items() if lacking)

    @property
    def most_inert(self) -> tuple[str, ...]:
        """Parameters that are inert more often than is explained by chance in a sample of theirs.

        A one-sided binomial test at the level .05 of `MOST_INERT`.
        """
        return tuple(
            name
            for name, (idle, changed) in self.inert.items()
            if stats.binomtest(idle, changed, MOST_INERT, alternative="greater").pvalue < 0.05
        )

    @property
    def inert_share(self) -> float:
        """Over all parameters and settings."""
        return sum(idle for idle, _ in self.inert.values()) / sum(
            changed for _, changed in self.inert.values()
        )

    @property
    def verdict(self) -> str:
        """`fit`, or what is lacking."""
        return "; ".join(self.lacks) or "fit"


def fitness(sample: Sample, classes: Mapping[str, int]) -> Fitness:
    """The figures of a sample; classes: how many each instance has."""
    drawn = sample.random[_COMBINED]
    costs = _costs(drawn)
    better = np.argsort(costs.mean(axis=1), kind="stable")[: max(2, (len(costs) + 1) // 2)]
    noise, spread = noise_and_spread(costs[better])
    instances = [instance for instance, _ in sample.pairs]
    baseline = [each for each in sample.defaults if variant(each).role is Role.BASELINE]
    of_baseline = [*_costs(sample.random[Role.BASELINE]).mean(axis=1)]
    of_baseline += [_mean(sample.defaults[each]) for each in baseline]
    records = list(itertools.chain.from_iterable(drawn))
    combined = next(each for each in map(variant, sample.defaults) if each.role is _COMBINED)
    dynamic = [row for row in drawn if _is_dynamic(combined, row[0].config)]
    return Fitness(
        set=sample.set,
        configurations=len(drawn),
        pairs=len(sample.pairs),
        noise=noise,
        spread=spread,
        correlation=rank_correlation(costs, instances),
        defaults={name: _mean(row) for name, row in sample.defaults.items()},
        best_baseline=min(of_baseline),
        failed=float(np.mean([_failed(each, classes[each.instance]) for each in records])),
        inert=inert(sample.probes),
        still=float(np.mean([_still(row) for row in dynamic])) if dynamic else math.nan,
        masked=float(np.mean([row[0].engine == "masked" for row in drawn])),
        seconds=float(np.median([each.runtime for each in records])),
    )


def noise_and_spread(costs: Array) -> tuple[float, float]:
    """Standard deviations of the rest and of the settings' effects.

    costs: settings x pairs, at least 2 x 2.
    """
    settings, pairs = costs.shape
    rest = costs - costs.mean(axis=1, keepdims=True) - costs.mean(axis=0) + costs.mean()
    variance = float((rest**2).sum() / ((settings - 1) * (pairs - 1)))
    means = float(costs.mean(axis=1).var(ddof=1))
    return math.sqrt(variance), math.sqrt(max(0.0, means - variance / pairs))


def rank_correlation(costs: Array, instances: Sequence[str]) -> float:
    """Mean of Spearman's coefficient between the settings' costs on two instances; NaN for one."""
    by_instance = [
        costs[:, [each == name for each in instances]].mean(axis=1)
        for name in dict.fromkeys(instances)
    ]
    between = [
        float(stats.spearmanr(one, other).statistic)
        for one, other in itertools.combinations(by_instance, 2)
        if np.ptp(one) > 0 and np.ptp(other) > 0
    ]
    return float(np.mean(between)) if between else math.nan


def table(sets: Sequence[Fitness]) -> pd.DataFrame:
    """One row a set, with columns that people read."""
    return pd.DataFrame(
        {
            "set": [each.set for each in sets],
            "settings x pairs": [f"{each.configurations} x {each.pairs}" for each in sets],
            "noise": [f"{each.noise:.4f}" for each in sets],
            "spread": [f"{each.spread:.4f}" for each in sets],
            "ratio": [f"{each.ratio:.1f}" for each in sets],
            "rank corr.": [f"{each.correlation:.2f}" for each in sets],
            "baseline's best": [f"{each.best_baseline:.3f}" for each in sets],
            "best default": [_best(each) for each in sets],
            "failed": [f"{each.failed:.0%}" for each in sets],
            "inert": [f"{each.inert_share:.0%}" for each in sets],
            "masked": [f"{each.masked:.0%}" for each in sets],
            "s/trial": [f"{each.seconds:.2f}" for each in sets],
            "verdict": [each.verdict for each in sets],
        }
    )


def _best(figures: Fitness) -> str:
    competitors = {
        name: cost
        for name, cost in figures.defaults.items()
        if variant(name).role is Role.COMPETITOR
    }
    name = min(competitors, key=lambda each: competitors[each])
    return f"{competitors[name]:.3f} ({name})"


def _costs(rows: Matrix) -> Array:
    return np.array([[record.cost for record in row] for row in rows])


def _mean(row: Sequence[Record]) -> float:
    return float(np.mean([record.cost for record in row]))


def _failed(record: Record, classes: int) -> bool:
    """Whether a trial failed, or its network answers as if it had learnt nothing."""
    return record.status != "SUCCESS" or record.cost > 0.95 * (1.0 - 1.0 / classes)


def _is_dynamic(chosen: Variant, config: Config) -> bool:
    """Whether the rules of a configuration update the mask."""
    own = inspect.signature(chosen.compose).parameters
    rules = chosen.compose(**{name: value for name, value in config.items() if name in own})
    return rules.updates is not None


def _still(row: Sequence[Record]) -> bool:
    return all(record.misc.updates == 0 for record in row)


def inert(probes: Sequence[Probe]) -> dict[str, tuple[int, int]]:
    """(settings in which it was inert, settings in which it was changed) of each parameter."""
    idle = Counter(each.parameter for each in probes if each.inert)
    changed = Counter(each.parameter for each in probes)
    return {name: (idle[name], changed[name]) for name in sorted(changed)}
