"""The largest of some scores, with one rule for ties, so that every engine chooses alike.

Of equal scores the lowest position wins. Scores within `TIE` of the cut count as equal.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse_training.positions import Positions

TIE = 1e-5
"""Scores this close to the cut, relatively, count as equal. Equal or constant features give equal
gradients and AdamW first steps of equal size, but for the last digits, which depend on the order of
sums: without this, engines would settle such ties each in its own way."""


def keep_largest(scores: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """True for the `count` largest scores; of those equal to the smallest (`TIE`) the first win.

    Raises ValueError for scores that are not finite.
    """
    if count == 0:
        return np.zeros(len(scores), dtype=np.bool_)
    least = _least_of_largest(scores, count)
    margin = abs(least) * scores.dtype.type(TIE)
    keep: NDArray[np.bool_] = scores > least + margin
    ties = np.flatnonzero((scores >= least - margin) & ~keep)
    keep[ties[: count - np.count_nonzero(keep)]] = True
    if np.count_nonzero(keep) != count:
        raise ValueError("scores must be finite to be compared")
    return keep


def keep_largest_of_rows(
    scores: NDArray[np.floating], counts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """`keep_largest` of every row of a matrix, so many in each.

    Scores of -inf are never kept: a row has at least as many others as are asked of it.
    """
    rows, columns = scores.shape
    order = np.sort(scores, axis=1)
    least = order[np.arange(rows), columns - np.maximum(counts, 1)].reshape(-1, 1)
    wanted = counts.reshape(-1, 1)
    margin = np.where(wanted > 0, np.abs(least) * scores.dtype.type(TIE), 0)
    keep: NDArray[np.bool_] = scores > least + margin
    keep &= wanted > 0
    ties = (scores >= least - margin) & ~keep
    keep |= ties & (ties.cumsum(axis=1) <= wanted - keep.sum(axis=1, keepdims=True))
    if (keep.sum(axis=1) != counts).any():
        raise ValueError("scores must be finite to be compared")
    return keep


def _least_of_largest(scores: NDArray[np.floating], count: int) -> np.floating:
    """The smallest of the `count` largest scores."""
    # numpy partitions ten to some hundred times as slowly where most scores are one and the same,
    # as those of what is taken, or without a gradient or a path, are: they are left out.
    for _ in ("taken", "none"):
        least: np.floating = scores.min()
        above = scores[scores > least]
        if count > len(above):
            return least
        scores = above
    least = np.partition(scores, len(scores) - count)[-count]
    return least


def keep_largest_of_all(
    scores: Sequence[NDArray[np.floating]], count: int
) -> list[NDArray[np.bool_]]:
    """True for the `count` largest of all layers' scores, but at least one in every layer.

    Of equal scores (`TIE`) the first layer and the lowest position win. count: at least one a
    layer.
    """
    everything = np.concatenate([layer.astype(np.float64) for layer in scores])
    ends = np.cumsum([0, *(len(layer) for layer in scores)])
    best = [
        start + int(np.argmax(everything[start:end]))
        for start, end in zip(ends[:-1], ends[1:], strict=True)
        if end > start
    ]
    keep = np.zeros(len(everything), dtype=np.bool_)
    keep[best] = True
    keep[~keep] = keep_largest(everything[~keep], count - len(best))
    return np.split(keep, ends[1:-1])


def largest_free(
    scores: NDArray[np.floating],
    taken: Positions,
    count: int,
    fired: Positions | None = None,
) -> Positions:
    """The `count` positions with the largest scores among those not taken, ascending.

    scores: one for every position of the layer, finite; fired: positions that have been active
    before, which come only after all that have not. Ties go to the lowest position.
    """
    ranked = scores.astype(np.float32).reshape(-1)  # a copy: the caller's scores stay
    # -inf and not 0: a taken position must lose against a free one whose score is 0.
    ranked[taken] = -np.inf
    first = np.zeros(len(ranked), dtype=np.bool_)
    if fired is not None:
        fresh = ranked.copy()
        fresh[fired] = -np.inf
        first = keep_largest(fresh, min(count, int(np.count_nonzero(fresh > -np.inf))))
        ranked[first] = -np.inf
    rest = keep_largest(ranked, count - int(np.count_nonzero(first)))
    return np.flatnonzero(first | rest)
