"""Sets of positions inside a layer, as ascending arrays.

A layer's mask is the ascending array of the flat positions of its active weights, so that an engine
that stores only those can use the same rules as one that stores masks.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.int64, np.float64)

Positions = NDArray[np.int64]
"""Flat positions (row-major) inside one layer's weight matrix, ascending, shape (count,)."""

Shape = tuple[int, ...]
"""Of a layer's weights: (outputs, inputs) or (out channels, in channels, height, width)."""


def no_positions() -> Positions:
    """The empty set."""
    return np.zeros(0, dtype=np.int64)


def random_positions(size: int, count: int, rng: np.random.Generator) -> Positions:
    """Exactly `count` of `size` positions, uniformly without replacement, ascending."""
    return np.sort(rng.choice(size, count, replace=False, shuffle=False)).astype(np.int64)


def random_free_positions(
    size: int, taken: Positions, count: int, rng: np.random.Generator
) -> Positions:
    """`count` positions drawn uniformly from those of `size` that are not taken, ascending.

    Needs memory for the taken positions only, not for all.
    """
    ranks = random_positions(size - len(taken), count, rng)
    # taken[i] - i free positions lie before taken[i]: so many taken ones lie before a rank.
    return ranks + np.searchsorted(taken - np.arange(len(taken)), ranks, side="right")


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """The values without repetitions, ascending.

    NumPy's own function imports its masked arrays at its first use, which every trial would pay.
    """
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def union(first: Positions, second: Positions) -> Positions:
    """Both of two disjoint sets of positions, ascending. Raises ValueError if they overlap."""
    # Two ascending runs: a stable sort merges them.
    both = np.concatenate([first, second])
    both.sort(kind="stable")
    if len(both) > 1 and not bool((both[1:] > both[:-1]).all()):
        raise ValueError("a position is in both of two sets that must be disjoint")
    return both


def merged(first: Positions, second: Positions) -> Positions:
    """The union of two sets of positions that may overlap, ascending."""
    return union(first, without(second, first))


def without(positions: Positions, others: Positions) -> Positions:
    """Those of the ascending positions that are not among the ascending others."""
    return positions[~among(positions, others)]


def among(positions: Positions, others: Positions) -> NDArray[np.bool_]:
    """For each position, whether it is one of the ascending others."""
    if len(others) == 0:
        return np.zeros(len(positions), dtype=np.bool_)
    place = np.searchsorted(others, positions)
    place[place == len(others)] = 0
    same: NDArray[np.bool_] = others[place] == positions
    return same
