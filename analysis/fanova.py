"""Functional ANOVA of a surrogate forest: which parameters, and which pairs, explain the cost.

**Source**: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
Importance", ICML 2014, algorithms 1 and 2, exact on each tree's partition into leaves.
**Differs**: the measure is the scenario's own (`analysis/surrogate.py`); marginals are computed
with difference arrays instead of a loop over leaves and cells. Conditional parameters are treated
as if being inactive were independent of the parent (a product measure with the right probability
of being inactive). That is an approximation: the forest is also asked about combinations that
cannot occur, and a parent and its children share what they explain, in a ratio that depends on
which of them the trees happened to split on ("learning_rate_sgd is inactive" says as much as
"optimizer is adamw"). So the table also has what each family, a parent with its children, explains
jointly; that is the number to read. Pairs that are never active together are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.surrogate import LEAST_R2, Array, Axis, Refusal, Surrogate

COLUMNS = ["kind", "parameter", "other", "importance", "std", "trees"]

_BLOCK = 512  # leaves compared at once with all others


@dataclass(frozen=True)
class Partition:
    """The leaves of one tree: disjoint boxes that cover the space, each with a value.

    Leaf `l` holds dimension `d` in the cells `first[l, d]` to `last[l, d]` (exclusive) between the
    cuts that the tree makes in that dimension; `cells[d]` are the probabilities of the cells.
    """

    values: Array
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    cells: tuple[Array, ...]

    @property
    def masses(self) -> Array:
        """Probability of each leaf's side, as a (leaves, dimensions) array."""
        sides = []
        for d, cell in enumerate(self.cells):
            cumulative = np.concatenate([[0.0], np.cumsum(cell)])
            sides.append(cumulative[self.last[:, d]] - cumulative[self.first[:, d]])
        return np.stack(sides, axis=1)


def partition(tree: Any, axes: Sequence[Axis]) -> Partition:
    """The leaves of a scikit-learn tree (`estimator.tree_`) under the measure of the axes."""
    lower = np.full((tree.node_count, len(axes)), -np.inf)
    upper = np.full((tree.node_count, len(axes)), np.inf)
    left, right = tree.children_left, tree.children_right
    level = np.array([0])
    while True:
        level = level[left[level] >= 0]
        if not len(level):
            break
        feature, threshold = tree.feature[level], tree.threshold[level]
        for child in (left[level], right[level]):
            lower[child], upper[child] = lower[level], upper[level]
        upper[left[level], feature] = threshold
        lower[right[level], feature] = threshold
        level = np.concatenate([left[level], right[level]])
    leaves = left < 0
    return boxes(tree.value[leaves].reshape(-1), lower[leaves], upper[leaves], axes)


def boxes(values: Array, lower: Array, upper: Array, axes: Sequence[Axis]) -> Partition:
    """A partition from (leaves, dimensions) bounds; a box holds what is > lower and <= upper."""
    first = np.empty(lower.shape, dtype=np.intp)
    last = np.empty(lower.shape, dtype=np.intp)
    cells = []
    for d, axis in enumerate(axes):
        cuts = np.unique(np.concatenate([lower[:, d], upper[:, d], [-np.inf, np.inf]]))
        first[:, d] = np.searchsorted(cuts, lower[:, d])
        last[:, d] = np.searchsorted(cuts, upper[:, d])
        cells.append(np.diff(axis.below(cuts)))
    return Partition(values, first, last, tuple(cells))


def explained(leaves: Partition, dimensions: Sequence[int]) -> float:
    """Variance of the marginal of a tree over some dimensions: their own and all within them."""
    masses = leaves.masses
    return _explained(leaves, masses, _centred(leaves, masses), tuple(dimensions))


def jointly_explained(leaves: Partition, dimensions: Sequence[int]) -> float:
    """The same as `explained`, by overlaps of leaves: for dimensions with too many cells together.

    Time grows with the square of the number of leaves, memory with the number.
    """
    masses = leaves.masses
    others = np.delete(masses, tuple(dimensions), axis=1).prod(axis=1)
    weighted = others * _centred(leaves, masses)
    ends = []
    for d in dimensions:
        cumulative = np.concatenate([[0.0], np.cumsum(leaves.cells[d])])
        ends.append((cumulative[leaves.first[:, d]], cumulative[leaves.last[:, d]]))
    total = 0.0
    for start in range(0, len(masses), _BLOCK):
        block = slice(start, start + _BLOCK)
        overlap = np.ones((len(weighted[block]), len(masses)))
        for low, high in ends:
            side = np.minimum.outer(high[block], high) - np.maximum.outer(low[block], low)
            overlap *= np.maximum(side, 0.0, out=side)
        total += float(weighted[block] @ overlap @ weighted)
    return total


def importance(
    surrogate: Surrogate,
    *,
    pairs: bool = True,
    families: Sequence[Sequence[str]] = (),
    least_r2: float = LEAST_R2,
) -> pd.DataFrame | Refusal:
    """One row a parameter ("single"), a pair ("pair"), a family: shares of the cost's variance.

    `importance` is the mean over trees of a fraction in [0, 1], `std` its standard deviation over
    trees; trees that are constant are left out. A pair's share is what it adds to its two
    parameters, a family's is all that its members explain alone and among each other; the first
    member is in `parameter`, the rest in `other`. Most important first within each kind. Refused
    where the surrogate explains too little, or nothing varies.
    """
    if not surrogate.r2 >= least_r2:
        return Refusal(
            f"the surrogate's out-of-bag R² is {surrogate.r2:.2f}, at least {least_r2} is needed"
        )
    trees = [partition(tree.tree_, surrogate.axes) for tree in surrogate.forest.estimators_]
    names = [axis.parameter.name for axis in surrogate.axes]
    apart = {
        (names[a], names[b])
        for a, b in combinations(range(len(names)), 2)
        if not surrogate.together[a, b]
    }
    table = shares(trees, names, pairs=pairs, families=families)
    if isinstance(table, Refusal):
        return table
    impossible = [
        kind == "pair" and (parameter, other) in apart
        for kind, parameter, other in zip(
            table["kind"], table["parameter"], table["other"], strict=True
        )
    ]
    return table[~np.array(impossible)].reset_index(drop=True)


def shares(
    trees: Sequence[Partition],
    names: Sequence[str],
    *,
    pairs: bool = True,
    families: Sequence[Sequence[str]] = (),
) -> pd.DataFrame | Refusal:
    """The table of `importance` from the partitions of trees whose dimensions have these names."""
    terms: list[tuple[int, ...]] = [(d,) for d in range(len(names))]
    if pairs:
        terms += combinations(range(len(names)), 2)
    joint = [tuple(names.index(name) for name in family) for family in families]
    rows = [row for row in (_shares(tree, terms, joint) for tree in trees) if row is not None]
    if not rows:
        return Refusal("every tree of the surrogate is constant, there is nothing to explain")
    of_trees = np.array(rows)
    kinds = ["pair" if len(term) > 1 else "single" for term in terms] + ["family"] * len(joint)
    table = pd.DataFrame(
        {
            "kind": kinds,
            "parameter": [names[term[0]] for term in (*terms, *joint)],
            "other": [" + ".join(names[d] for d in term[1:]) for term in (*terms, *joint)],
            "importance": of_trees.mean(axis=0),
            "std": of_trees.std(axis=0),
            "trees": len(of_trees),
        },
        columns=COLUMNS,
    )
    order = ["kind", "importance", "parameter", "other"]
    return table.sort_values(order, ascending=[False, False, True, True], ignore_index=True)


def _shares(
    leaves: Partition, terms: Sequence[tuple[int, ...]], joint: Sequence[tuple[int, ...]]
) -> list[float] | None:
    """What each term adds and each of `joint` explains, as shares; None for a constant tree."""
    masses = leaves.masses
    centred = _centred(leaves, masses)
    total = float(masses.prod(axis=1) @ centred**2)
    # Rounding alone leaves something of a tree whose leaves are all equal.
    if total <= 1e-24 * float(np.abs(leaves.values).max()) ** 2:
        return None
    split = [len(cell) > 1 for cell in leaves.cells]
    own: dict[tuple[int, ...], float] = {}
    for term in terms:
        if not all(split[d] for d in term):
            own[term] = 0.0
            continue
        within = sum(own[(d,)] for d in term) if len(term) > 1 else 0.0
        own[term] = max(0.0, _explained(leaves, masses, centred, term) - within)
    together = [
        own[term] if term in own and len(term) == 1 else jointly_explained(leaves, term)
        for term in joint
    ]
    return [value / total for value in (*(own[term] for term in terms), *together)]


def _centred(leaves: Partition, masses: Array) -> Array:
    weights = masses.prod(axis=1)
    mean = float(weights @ leaves.values) / float(weights.sum())
    return leaves.values - mean


def _explained(
    leaves: Partition, masses: Array, centred: Array, dimensions: tuple[int, ...]
) -> float:
    others = np.delete(masses, dimensions, axis=1).prod(axis=1)
    shape = tuple(len(leaves.cells[d]) + 1 for d in dimensions)
    # Each leaf adds a constant to a block of cells: put its corners in, then sum along the axes.
    marginal = np.zeros(shape)
    for corner in np.ndindex(*(2,) * len(dimensions)):
        ends = [
            (leaves.last if end else leaves.first)[:, d]
            for end, d in zip(corner, dimensions, strict=True)
        ]
        sign = -1.0 if sum(corner) % 2 else 1.0
        place = np.ravel_multi_index(tuple(ends), shape)
        added = np.bincount(place, sign * others * centred, minlength=marginal.size)
        marginal += added.reshape(shape)
    for axis in range(len(dimensions)):
        marginal = np.cumsum(marginal, axis=axis)
    squares = marginal[tuple(slice(-1) for _ in dimensions)] ** 2
    for d in reversed(dimensions):
        squares = squares @ leaves.cells[d]
    return float(squares)
