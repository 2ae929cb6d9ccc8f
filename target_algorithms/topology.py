"""Which weights are active: densities of layers, and the drop and grow rules of sparse training.

Pure rules on numpy arrays: scores in, choice out. A layer's topology is the ascending array of the
flat positions of its active weights, so that an engine that stores only those can use the rules as
well as one that stores masks. Ties go to the lowest position; nothing here draws from a generator
that was not handed in.

**Source**: SET: Mocanu et al., Nature Communications 2018, https://arxiv.org/abs/1707.04780 and
the authors' code; RigL and ERK: Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134 and the
authors' code; never-active weights first: Liu et al. (ITOP), ICML 2021,
https://arxiv.org/abs/2102.02887.
**Differs**: counts are exact (no Bernoulli masks), for the budget is checked at every step; an
inactive weight never competes with an active one that happens to be zero (RigL's code adds noise
to the scores of all positions and can keep an inactive one).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from target_algorithms.errors import BadInput

Positions = NDArray[np.int64]
"""Flat positions (row-major) inside one layer's weight matrix, ascending, shape (count,)."""

Shape = tuple[int, ...]


# Densities of layers -----------------------------------------------------------------------------


def raw_densities(
    shapes: Sequence[Shape], power: float, *, kernel: bool = True
) -> NDArray[np.float64]:
    """Erdos-Renyi densities before scaling: (sum of dimensions / product of dimensions) ** power.

    With `kernel` (ERK) every dimension of a convolution's weight counts, otherwise (ER) the last
    two, the channels, as in RigL's code.
    """
    dimensions = [shape if kernel else shape[-2:] for shape in shapes]
    return np.array([(sum(dims) / math.prod(dims)) ** power for dims in dimensions])


def layer_counts(
    shapes: Sequence[Shape], budget: int, power: float, dense: Sequence[int] = ()
) -> tuple[int, ...]:
    """The number of active weights of every layer; they sum to min(budget, all weights).

    A layer's share follows `raw_densities`; a layer that would overflow becomes dense, one that
    would be empty gets one weight, and the scale is solved again for the others. What rounding
    leaves goes to the largest remainders. Raises BadInput for a budget below one weight a layer.

    dense: layers that get all their weights, or half of the budget where that is less (the budget
    over the number of such layers plus one, if there are several), before the others share.
    """
    if budget < len(shapes):
        raise BadInput(
            f"a budget of {budget} active weights for {len(shapes)} layers: "
            "expected at least one weight a layer"
        )
    if dense and len(dense) < len(shapes):
        others = [layer for layer in range(len(shapes)) if layer not in dense]
        most = max(1, (budget - len(others)) // (len(dense) + 1))
        fixed = {layer: min(math.prod(shapes[layer]), most) for layer in dense}
        # What the others have no room for is theirs after all.
        spare = budget - sum(fixed.values()) - sum(math.prod(shapes[i]) for i in others)
        for layer in dense:
            more = min(max(0, spare), math.prod(shapes[layer]) - fixed[layer])
            fixed[layer] += more
            spare -= more
        rest = layer_counts([shapes[i] for i in others], budget - sum(fixed.values()), power)
        free = dict(zip(others, rest, strict=True))
        return tuple(fixed.get(layer, free.get(layer, 0)) for layer in range(len(shapes)))
    sizes = np.array([math.prod(shape) for shape in shapes], dtype=np.float64)
    if budget >= sizes.sum():
        return tuple(int(size) for size in sizes)
    wanted = raw_densities(shapes, power) * sizes
    # sum(clip(scale * wanted, 1, size)) grows with the scale and is linear between the scales at
    # which a layer leaves its lower or reaches its upper limit: find the piece, solve inside it.
    breaks = np.unique(np.concatenate([1.0 / wanted, sizes / wanted]))
    totals = np.clip(np.outer(breaks, wanted), 1.0, sizes).sum(axis=1)
    piece = int(np.clip(np.searchsorted(totals, budget), 1, len(breaks) - 1))
    share = (budget - totals[piece - 1]) / (totals[piece] - totals[piece - 1])
    scale = breaks[piece - 1] + share * (breaks[piece] - breaks[piece - 1])
    exact = np.clip(scale * wanted, 1.0, sizes)
    # The solution is exact but for rounding errors; they must not make floor() lose a weight.
    counts = np.floor(exact + 1e-12 * sizes.sum()).astype(np.int64)
    remainders = np.where(counts < sizes, exact - counts, -np.inf)
    order = np.lexsort((np.arange(len(sizes)), -remainders))
    counts[order[: budget - int(counts.sum())]] += 1
    assert counts.sum() == budget and (counts >= 1).all() and (counts <= sizes).all(), counts
    return tuple(int(count) for count in counts)


def published_densities(
    shapes: Sequence[Shape], density: float, power: float = 1.0, *, kernel: bool = True
) -> tuple[float, ...]:
    """The densities of RigL's code for a density wanted on average.

    Rounds every layer's number of zeros down before it solves for the scale, as the code does.
    This suite trains with `layer_counts`; the published numbers are in this form.
    """
    sizes = [math.prod(shape) for shape in shapes]
    zeros = [_published_zeros(size, density) for size in sizes]
    raw = raw_densities(shapes, power, kernel=kernel)
    dense: set[int] = set()
    while True:
        rest = [layer for layer in range(len(shapes)) if layer not in dense]
        if not rest:
            return (1.0,) * len(shapes)
        room = sum(sizes[i] - zeros[i] for i in rest) - sum(zeros[i] for i in dense)
        scale = room / sum(raw[i] * sizes[i] for i in rest)
        if max(raw[i] for i in rest) * scale <= 1.0:
            return tuple(1.0 if i in dense else float(scale * raw[i]) for i in range(len(shapes)))
        largest = max(raw[i] for i in rest)
        dense.update(i for i in rest if raw[i] == largest)


def published_count(shape: Shape, density: float) -> int:
    """The number of active weights that RigL's code gives a layer: n - floor((1 - density) n)."""
    size = math.prod(shape)
    return size - _published_zeros(size, density)


def _published_zeros(size: int, density: float) -> int:
    # The code is given the sparsity: 1 - (1 - 0.1) must not lose a weight to rounding.
    return math.floor((1.0 - density) * size + 1e-9)


def random_positions(size: int, count: int, rng: np.random.Generator) -> Positions:
    """Exactly `count` of `size` positions, uniformly without replacement, ascending."""
    return np.sort(rng.choice(size, count, replace=False, shuffle=False)).astype(np.int64)


# Dropping ----------------------------------------------------------------------------------------


def number_to_drop(share: float, count: int, rounding: str) -> int:
    """share * count rounded by `floor`, `ceil` or `nearest` (half up), at most count."""
    # A share of .3 times 10 must not become 2 by floor or 4 by ceil through binary fractions.
    exact = round(share * count, 9)
    rounded = {"floor": math.floor, "ceil": math.ceil}.get(rounding, lambda x: math.floor(x + 0.5))
    return min(count, int(rounded(exact)))


def keep_scores(
    rule: str,
    weights: NDArray[np.float32],
    gradient: NDArray[np.float32] | None,
    mest_lambda: float,
) -> NDArray[np.float32]:
    """Importance of the active weights of a layer, the smallest are dropped; shape as weights.

    gradient: at the active weights; below a millionth of the layer's largest it is a sum that
    cancels but for rounding, and counts as zero. `mest`: |w| + lambda |g| (Yuan et al. 2021);
    `snip`: |w g|; `reciprocal`: |w| / |g| (Nowak et al. 2023), largest where the gradient is zero.
    """
    size = np.abs(weights)
    if rule in ("magnitude", "magnitude_ema", "threshold"):
        return size
    assert gradient is not None, rule
    slope = np.abs(gradient)
    slope = np.where(slope < np.float32(1e-6) * slope.max(initial=0.0), np.float32(0.0), slope)
    scores: NDArray[np.floating]
    with np.errstate(over="ignore"):
        if rule == "mest":
            scores = size + np.float32(mest_lambda) * slope
        elif rule == "snip":
            scores = size * slope
        else:
            assert rule == "reciprocal", rule
            scores = size / np.maximum(slope, np.finfo(np.float32).tiny)
    # Beyond the largest number all are equal, and still to be compared.
    return np.minimum(scores, np.finfo(np.float32).max / 2).astype(np.float32, copy=False)


def keep_globally(scores: Sequence[NDArray[np.floating]], count: int) -> list[NDArray[np.bool_]]:
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
    everything[best] = -np.inf
    keep = keep_largest(everything, count - len(best))
    keep[best] = True
    return np.split(keep, ends[1:-1])


def keep_above(weights: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """DSR's rule: |w| >= threshold stays, and the largest |w| of the layer in any case."""
    size = np.abs(weights)
    keep: NDArray[np.bool_] = size >= np.float32(threshold)
    return keep if keep.any() or len(weights) == 0 else keep_largest(size, 1)


def next_threshold(threshold: float, dropped: int, wanted: float) -> float:
    """DSR's threshold for the next update: halved after too many, doubled after too few."""
    if dropped > 1.1 * wanted:
        return threshold / 2.0
    return threshold * 2.0 if dropped < 0.9 * wanted else threshold


TIE = 1e-5
"""Scores this close to the cut, relatively, count as equal. Equal or constant features give equal
gradients and AdamW first steps of equal size, but for the last digits, which depend on the order of
sums: without this, engines would settle such ties each in its own way."""


def keep_largest(scores: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """True for the `count` largest scores; of those equal to the smallest (`TIE`) the first win."""
    if count == 0:
        return np.zeros(len(scores), dtype=np.bool_)
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    margin = abs(least) * scores.dtype.type(TIE)
    keep: NDArray[np.bool_] = scores > least + margin
    ties = np.flatnonzero((scores >= least - margin) & ~keep)
    keep[ties[: count - np.count_nonzero(keep)]] = True
    assert np.count_nonzero(keep) == count, "scores must be finite"
    return keep


def keep_by_sign_thresholds(weights: NDArray[np.float32], zeta: float) -> NDArray[np.bool_]:
    """SET's rule as its code has it: a threshold for either sign, and the thresholds go too.

    Therefore a few weights more than zeta of each sign are dropped. Where the code would drop
    every weight (possible for fewer than about 1/zeta weights) the largest |w| stays.
    """
    if len(weights) == 0 or zeta == 0.0:
        return np.ones(len(weights), dtype=np.bool_)
    values = np.sort(weights)
    count = len(values)
    nearest = np.abs(values)
    first_zero = int(nearest.argmin())
    last_zero = count - int(nearest[::-1].argmin())
    largest_negative = values[int((1.0 - zeta) * first_zero)]
    smallest_positive = values[int(min(count - 1, last_zero + zeta * (count - last_zero)))]
    keep: NDArray[np.bool_] = (weights > smallest_positive) | (weights < largest_negative)
    return keep if keep.any() else keep_largest(np.abs(weights), 1)


def keep_by_sign_counts(weights: NDArray[np.float32], zeta: float) -> NDArray[np.bool_]:
    """Drops the floor(zeta n) weights closest to zero of either sign; zero counts as positive."""
    keep = np.ones(len(weights), dtype=np.bool_)
    for sign in (weights >= 0, weights < 0):
        members = np.flatnonzero(sign)
        survivors = len(members) - number_to_drop(zeta, len(members), "floor")
        keep[members] = keep_largest(np.abs(weights[members]), survivors)
    return keep


# Growing -----------------------------------------------------------------------------------------


def grow_by_score(
    scores: NDArray[np.floating],
    taken: Positions,
    count: int,
    fired: Positions | None = None,
) -> Positions:
    """The `count` positions with the largest scores among those not taken, ascending.

    scores: one for every position of the layer, >= 0; fired: positions that have been active
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


def grow_at_random(size: int, taken: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` positions drawn uniformly from those of `size` not taken, ascending.

    Needs memory for the taken positions only, not for all.
    """
    ranks = random_positions(size - len(taken), count, rng)
    # taken[i] - i free positions lie before taken[i]: so many taken ones lie before a rank.
    return ranks + np.searchsorted(taken - np.arange(len(taken)), ranks, side="right")


def grow_fresh_at_random(
    size: int,
    taken: Positions,
    fired: Positions,
    count: int,
    bias: float,
    rng: np.random.Generator,
) -> Positions:
    """Random growth of which a share `bias` goes to positions that were never active, ascending.

    With bias 1 this is ITOP's random_unfired. Where fewer such positions are left, all of them
    are taken and the rest is drawn from the others.
    """
    fresh_count = number_to_drop(bias, count, "nearest")
    chosen = np.zeros(0, dtype=np.int64)
    if fresh_count:
        barred = merged(taken, fired)
        fresh_count = min(fresh_count, size - len(barred))
        chosen = grow_at_random(size, barred, fresh_count, rng)
    rest = grow_at_random(size, union(taken, chosen), count - len(chosen), rng)
    return union(chosen, rest)


def union(first: Positions, second: Positions) -> Positions:
    """Both of two disjoint sets of positions, ascending."""
    # Two ascending runs: a stable sort merges them.
    both = np.concatenate([first, second])
    both.sort(kind="stable")
    assert len(both) < 2 or bool((both[1:] > both[:-1]).all()), "positions chosen twice"
    return both


def merged(first: Positions, second: Positions) -> Positions:
    """The union of two sets of positions that may overlap, ascending."""
    return union(first, without(second, first))


def without(positions: Positions, others: Positions) -> Positions:
    """Those of the ascending positions that are not among the ascending others."""
    return positions[~among(positions, others)]


def among(positions: Positions, others: Positions) -> NDArray[np.bool_]:
    """Per position, is it one of the ascending others?"""
    if len(others) == 0:
        return np.zeros(len(positions), dtype=np.bool_)
    found = np.searchsorted(others, positions)
    found[found == len(others)] = 0
    same: NDArray[np.bool_] = others[found] == positions
    return same


# Between layers ----------------------------------------------------------------------------------


def allocate(total: int, shares: Sequence[float], capacities: Sequence[int]) -> tuple[int, ...]:
    """Splits `total` weights in proportion to the shares, no layer above its capacity.

    shares: >= 0; those of layers that still have room count as equal if all are zero. What a full
    layer cannot take goes to the others by the same rule (SNFS), what rounding leaves to the
    largest remainders, then the first layers. total: at most the sum of the capacities.
    """
    room = np.array(capacities, dtype=np.int64)
    assert 0 <= total <= room.sum(), (total, capacities)
    given = np.zeros(len(room), dtype=np.int64)
    unfilled = room > 0
    while unfilled.any():
        weights = np.where(unfilled, np.array(shares, dtype=np.float64), 0.0)
        if weights.sum() <= 0.0:
            weights = unfilled.astype(np.float64)
        exact = (total - given.sum()) * (weights / weights.sum())
        full = unfilled & (exact >= room)
        if not full.any():
            floor = np.floor(exact + 1e-9).astype(np.int64)
            left = total - int(given.sum() + floor.sum())
            order = np.lexsort((np.arange(len(room)), floor - exact))
            floor[[layer for layer in order if unfilled[layer]][:left]] += 1
            given += floor
            break
        given[full] = room[full]
        unfilled &= ~full
    assert given.sum() == total and (given <= room).all(), given
    return tuple(int(number) for number in given)


# Timing ------------------------------------------------------------------------------------------


def drop_fraction_at(
    schedule: str,
    initial: float,
    progress: float,
    *,
    final: float = 0.0,
    power: float = 3.0,
    learning_rate: float = 1.0,
) -> float:
    """The share to drop when `progress` in [0, 1] of the time up to the last update has passed.

    Falls from `initial` to `final` by `linear`, `cosine` or `polynomial` (with its power); `step`:
    halved after three quarters of the time (MEST's scripts); `learning_rate`: in proportion to the
    learning rate, given as a share of the initial one.
    """
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "constant":
        return initial
    if schedule == "step":
        return initial if progress < 0.75 else initial / 2.0
    if schedule == "learning_rate":
        return final + (initial - final) * learning_rate
    if schedule == "linear":
        shape = 1.0 - progress
    elif schedule == "cosine":
        shape = (1.0 + math.cos(math.pi * progress)) / 2.0
    elif schedule == "polynomial":
        shape = (1.0 - progress) ** power
    else:
        raise BadInput(f"unknown drop schedule {schedule!r}")
    return final + (initial - final) * shape


def density_at(path: str, initial: float, final: float, progress: float, cycles: int) -> float:
    """The density wanted when `progress` in [0, 1] of a density path has passed; `final` after it.

    cubic: final + (initial - final) (1 - progress)^3 (Zhu & Gupta 2017, GraNet); soft_bound: the
    initial one for 3/4 of the path, then the mean (MEST's EM&S); cyclic: initial and final in
    turn, half a period each.
    """
    if progress >= 1.0:
        return final
    if path == "cubic":
        return final + (initial - final) * (1.0 - progress) ** 3
    if path == "soft_bound":
        return initial if progress < 0.75 else (initial + final) / 2.0
    if path == "cyclic":
        return initial if progress * cycles % 1.0 < 0.5 else final
    assert path == "constant", path
    return final


def update_due(
    count: int, last: int | None, interval: int, *, now: float, begin: float, end: float
) -> bool:
    """Is an update due, `count` optimiser steps (or epochs) after the start?

    last: the count at the last update, None before the first, which is due at once; now, begin,
    end: on one clock of the caller's choice. With the count as the clock this is RigL's rule, in
    which an update step does not advance the count.
    """
    return begin <= now <= end and (last is None or last + interval <= count)
