"""Functional ANOVA of a surrogate forest: which parameters, and which pairs, explain the cost.

**Source**: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
Importance", ICML 2014; groups by the estimator of Saltelli et al. (Comput. Phys. Commun. 2010).
**Differs**: what is explained is the mean of the trees, not each tree, under the measure that the
scenario itself samples with, conditions and forbidden combinations included (`measure.py`). Sampled
and not exact: `DRAWS` configurations, always the same; a share is off by about .01.

A parameter with conditions is looked at where it is active: its share is how often that is, times
the variance that it explains there. Whether it is active is its parent's doing and the parent's
share. So a child that does nothing has 0, and parent and child add up to what they explain.
Singles, pairs and what is beyond them are shares of one variance and add up to 1; a table has the
ten largest pairs and, as `rest`, what its singles and pairs leave.
A group (a family: a parent and all that depends on it; a component: a section of the parameter
file) has all that its members explain alone and among each other, beyond what those parents
explain that are not in it.

Forbidden combinations tie the parameters that they name: what two tied ones explain alike is
counted for both of them, and the rest is less for it.

Intervals are over data: a bootstrap of the configurations, a forest of its own for each resample.
They are on the wide side, as such forests see two thirds of the configurations and have a quarter
of the trees. They do not tell how far a forest is from the truth.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.measure import Measure, cells, parents
from analysis.surrogate import LEAST_R2, TREES, Array, Refusal, Surrogate, grown
from wrappers.space import Parameter

COLUMNS = ["kind", "parameter", "other", "importance", "least", "most"]
REST = "rest"

DRAWS = 32_768
"""Configurations that singles and pairs are computed from; a quarter of them for groups."""
RESAMPLES = 20
PAIRS = 10
"""Pairs in a table."""
_CELLS, _PAIR_CELLS = 32, 16  # of a numeric parameter
_NORMAL = 1.96  # standard deviations on either side that a 95 % interval has


@dataclass(frozen=True)
class Group:
    """Parameters that are looked at together."""

    kind: str
    """family, component."""
    name: str
    """The family's first member, the component's title."""
    members: tuple[str, ...]


@dataclass(frozen=True)
class _Drawn:
    """What all forests of an analysis are asked for, and the cells that it lies in."""

    places: Array
    active: NDArray[np.bool_]
    singles: tuple[tuple[NDArray[np.intp], int], ...]
    """Of each parameter the cell of each configuration, and how many cells there are."""
    coarse: tuple[tuple[NDArray[np.intp], int], ...]
    """The same, for pairs."""


def _drawn(measure: Measure, draws: Array) -> _Drawn:
    return _Drawn(
        measure.places(draws),
        measure.active(draws),
        tuple(cells(a, z, _CELLS) for a, z in zip(measure.axes, draws.T, strict=True)),
        tuple(cells(a, z, _PAIR_CELLS) for a, z in zip(measure.axes, draws.T, strict=True)),
    )


def importance(
    surrogate: Surrogate,
    *,
    groups: Sequence[Group] = (),
    least_r2: float = LEAST_R2,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> pd.DataFrame | Refusal:
    """One row a parameter ("single"), a pair ("pair"), a group, a rest: shares of the variance.

    `importance` is a fraction in [0, 1], `least` and `most` are the ends of its 95 % interval. The
    second of a pair and the other members of a group are in `other`. A rest is what the rows of the
    kinds in its `parameter` leave over, and may be a little below 0. Most important first within
    each kind. Deterministic. Refused where the surrogate explains too little, or nothing varies.
    """
    if not surrogate.r2 >= least_r2:
        return Refusal(
            f"the surrogate's out-of-bag R² is {surrogate.r2:.2f}, at least {least_r2} is needed"
        )
    measure = Measure(surrogate.space, surrogate.axes)
    sample, others = (measure.sample(seed, draws) for seed in (0, 1))
    drawn = _drawn(measure, sample)
    cost = _predicted(surrogate.forest, drawn.places)
    if np.ptp(cost) <= 1e-12 * max(1.0, float(np.abs(cost).max())):
        return Refusal("the surrogate is constant, there is nothing to explain")
    # What leads in one sample need not in the next: pairs are chosen by one and told by the other.
    trial = _drawn(measure, others)
    pairs = _leading(trial, _predicted(surrogate.forest, trial.places))
    held = _Held.of(measure, sample[: draws // 4], groups)
    values = _shares(surrogate.forest, drawn, held, pairs)
    # All forests are asked for the same configurations: fewer of them will do for differences.
    fewer, fewer_held = _drawn(measure, sample[: draws // 4]), held.first(draws // 8)
    spread = np.std(
        [_shares(f, fewer, fewer_held, pairs) for f in _of_resamples(surrogate, resamples)],
        axis=0,
        ddof=1,
    )
    terms = _terms(surrogate, pairs, groups)
    table = pd.DataFrame(terms, columns=COLUMNS[:3])
    bounded = (table["kind"] != REST).to_numpy()
    ends = [values + side * _NORMAL * spread for side in (-1, 1)]
    least, most = (np.where(bounded, np.clip(end, 0.0, 1.0), end) for end in ends)
    table = table.assign(importance=values, least=least, most=most)
    table = table[(table["kind"] != "pair") | (table["importance"] > 0)]
    order = ["kind", "importance", "parameter", "other"]
    return table.sort_values(order, ascending=[False, False, True, True], ignore_index=True)


def _of_resamples(surrogate: Surrogate, resamples: int) -> Sequence[Any]:
    """Forests on configurations drawn with replacement."""
    rng = np.random.default_rng(1)
    n = len(surrogate.costs)
    forests = []
    for seed in range(resamples):
        rows = rng.integers(0, n, n)
        places, costs = surrogate.places[rows], surrogate.costs[rows]
        forests.append(grown(places, costs, seed=seed, trees=TREES // 4))
    return forests


def _predicted(forest: Any, places: Array) -> Array:
    return np.asarray(forest.predict(places), dtype=np.float64)


def _terms(
    surrogate: Surrogate, pairs: Sequence[tuple[int, int]], groups: Sequence[Group]
) -> list[tuple[str, str, str]]:
    names = [axis.parameter.name for axis in surrogate.axes]
    kinds = dict.fromkeys(group.kind for group in groups)
    return [
        *(("single", name, "") for name in names),
        *(("pair", names[a], names[b]) for a, b in pairs),
        *((g.kind, g.name, " + ".join(m for m in g.members if m != g.name)) for g in groups),
        (REST, "single + pair", ""),
        *((REST, kind, "") for kind in kinds),
    ]


def _shares(forest: Any, drawn: _Drawn, held: "_Held", pairs: Sequence[tuple[int, int]]) -> Array:
    """The shares of all terms of `_terms`, in their order."""
    cost = _predicted(forest, drawn.places)
    variance = float(cost.var())
    if variance <= 0:
        variance = np.inf  # a constant forest explains nothing by anything
    singles, residual = _singles(drawn, cost)
    of_pairs = [_pair(drawn, residual, a, b) for a, b in pairs]
    own = np.array([*singles, *of_pairs]) / variance
    of_groups = held.explained(forest, cost, own[: len(singles)])
    left = [1.0 - own.sum()]
    for kind in dict.fromkeys(held.kinds):
        left.append(1.0 - of_groups[[k == kind for k in held.kinds]].sum())
    return np.array([*own, *of_groups, *left])


def _singles(drawn: _Drawn, cost: Array) -> tuple[list[float], Array]:
    """What each parameter explains where it is active, and what all of them leave of each cost."""
    explained = []
    residual = cost - cost.mean()
    for d, (cell, number) in enumerate(drawn.singles):
        active = drawn.active[:, d]
        own, within = cost[active], cell[active]
        effect, between = _effect(own, within, number)
        explained.append(max(0.0, between) * len(own) / len(cost))
        residual[active] -= effect[within]
    return explained, residual


def _pair(drawn: _Drawn, residual: Array, a: int, b: int) -> float:
    """What two parameters explain together, beyond each, where both are active.

    Of what single parameters leave: their effects would be noise here.
    """
    both = drawn.active[:, a] & drawn.active[:, b]
    own = residual[both]
    (first, rows), (second, columns) = drawn.coarse[a], drawn.coarse[b]
    first, second = first[both], second[both]
    joint = _effect(own, first * columns + second, rows * columns)[1]
    alone = _effect(own, first, rows)[1] + _effect(own, second, columns)[1]
    return max(0.0, joint - alone) * len(own) / len(residual)


def _effect(cost: Array, cell: NDArray[np.intp], number: int) -> tuple[Array, float]:
    """How far the mean of each cell is from that of all, and the variance between the cells.

    Without what chance alone gives the means of a sample, which may leave a little less than 0.
    """
    count = np.bincount(cell, minlength=number)
    if len(cost) <= (filled := int((count > 0).sum())):
        return np.zeros(number), 0.0
    effect = np.bincount(cell, cost, number) / np.maximum(count, 1) - cost.mean()
    effect[count == 0] = 0.0
    between = float(count @ effect**2)
    within = float(((cost - cost.mean()) ** 2).sum()) - between
    return effect, (between - (filled - 1) * within / (len(cost) - filled)) / len(cost)


def _leading(drawn: _Drawn, cost: Array) -> list[tuple[int, int]]:
    """The pairs that explain most."""
    _, residual = _singles(drawn, cost)
    size = drawn.active.shape[1]
    every = {(a, b): _pair(drawn, residual, a, b) for a in range(size) for b in range(a + 1, size)}
    leading = sorted(every, key=lambda pair: -every[pair])[:PAIRS]
    return [pair for pair in leading if every[pair] > 0]


@dataclass(frozen=True)
class _Held:
    """What the groups need: configurations that share a group with the first ones of a sample."""

    kinds: tuple[str, ...]
    """Of the groups."""
    sets: tuple[frozenset[str], ...]
    """What is held, each once: groups with their parents, and these parents; first nothing."""
    needed: tuple[tuple[int, int], ...]
    """Of each group its set, and that of its parents."""
    alone: tuple[int, ...]
    """Of each group the parameter that it consists of, -1 where they are more or have parents."""
    places: Array
    """One block of configurations a set."""

    @staticmethod
    def of(measure: Measure, sample: Array, groups: Sequence[Group]) -> "_Held":
        others = np.random.default_rng(2).random(sample.shape)
        names = [axis.parameter.name for axis in measure.axes]
        needed, alone = [], []
        sets = {frozenset[str](): 0}
        for group in groups:
            outside = frozenset(parents(measure.space, group.members)) - set(group.members)
            pair = (outside | set(group.members), outside)
            needed.append((_place(sets, pair[0]), _place(sets, pair[1])))
            alone.append(names.index(group.members[0]) if len(pair[0]) == 1 else -1)
        blocks = [measure.held(2, sample, others, each) for each in sets]
        return _Held(
            tuple(group.kind for group in groups),
            tuple(sets),
            tuple(needed),
            tuple(alone),
            np.concatenate([measure.places(block) for block in blocks]),
        )

    def first(self, n: int) -> "_Held":
        """The same with the first n configurations of each block."""
        blocks = self.places.reshape(len(self.sets), -1, self.places.shape[1])
        return replace(self, places=blocks[:, :n].reshape(-1, self.places.shape[1]))

    def explained(self, forest: Any, cost: Array, singles: Array) -> Array:
        """The shares that groups explain beyond their parents; `singles` are those of parameters.

        The covariance of a cost with that of a configuration which has so much in common with it is
        the variance that this explains. What two with nothing in common covary is chance, and goes.
        """
        blocks = _predicted(forest, self.places).reshape(len(self.sets), -1)
        own = cost[: blocks.shape[1]] - cost[: blocks.shape[1]].mean()
        shares = []
        for (whole, outside), alone in zip(self.needed, self.alone, strict=True):
            common = float(own @ (blocks[whole] - blocks[outside])) / len(own)
            variance = (float(own.var()) + float(blocks[whole].var())) / 2
            share = max(0.0, common) / variance if variance > 0 else 0.0
            shares.append(share if alone < 0 else float(singles[alone]))
        return np.array(shares)


def _place(sets: dict[frozenset[str], int], held: frozenset[str]) -> int:
    return sets.setdefault(held, len(sets))


def components(parameters: Iterable[Parameter], others: str) -> dict[str, list[str]]:
    """The parameters below each heading of their files; `others`: what those without one are."""
    found: dict[str, list[str]] = {}
    for parameter in parameters:
        found.setdefault(parameter.component or others, []).append(parameter.name)
    return found


def groups(
    families: Sequence[Sequence[str]], components: Mapping[str, Sequence[str]]
) -> list[Group]:
    """What is looked at together of a variant."""
    return [
        *(Group("component", title, tuple(names)) for title, names in components.items()),
        *(Group("family", family[0], tuple(family)) for family in families),
    ]
