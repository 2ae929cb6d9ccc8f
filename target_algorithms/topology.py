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
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from target_algorithms.errors import BadInput

Positions = NDArray[np.int64]
"""Flat positions (row-major) inside one layer's weight matrix, ascending, shape (count,)."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How the set of active weights is chosen and changed during training.

    The defaults are RigL's. Settings that cannot matter keep their defaults, so two equal
    `Topology` values are two equal algorithms.
    """

    kind: Literal["dense", "static", "dynamic"] = "dynamic"
    """`dense`: all weights, outside any budget; `static`: a random mask that never changes;
    `dynamic`: the mask is updated by the rules below."""

    layer_density_power: float = 1.0
    """Exponent of the Erdos-Renyi raw density, in [0, 1]: 1 is ER/ERK (a layer's density is
    proportional to (n_in + n_out) / (n_in * n_out)), 0 the same density everywhere."""

    drop_rule: Literal["magnitude", "sign", "sign_nominal"] = "magnitude"
    """`magnitude`: the floor(k) smallest |w| of a layer (RigL); `sign`: the thresholds of SET's
    code; `sign_nominal`: the floor(zeta n) weights closest to zero of either sign."""

    drop_fraction: float = 0.3
    """Share of a layer's active weights that the first update replaces, in [0, 1]
    (alpha in RigL, zeta in SET)."""

    drop_schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the share falls between the start and `update_end` (RigL: cosine; SET: constant)."""

    grow_random_share: float = 0.0
    """Share of the grown weights drawn uniformly, in [0, 1]: 1 is SET, 0 is RigL."""

    grow_score: Literal["gradient", "unfired_gradient"] = "gradient"
    """What the rest is ranked by: |dense gradient|, or the same with positions that have never
    been active before all others (ITOP)."""

    grown_scale: float = 0.0
    """Standard deviation of the normal distribution that new weights are drawn from, >= 0;
    0 makes them zero (RigL), 0.1 is SET's."""

    regrown_value: Literal["keep", "new"] = "keep"
    """Does a weight that is dropped and grown by the same update keep its value and optimiser
    state (RigL's code) or start as a new one (SET)?"""

    update_unit: Literal["steps", "epochs"] = "steps"
    """Unit of `update_interval`: optimiser steps (RigL) or passes over the training part (SET)."""

    update_interval: int = 100
    """Steps or epochs between two updates, >= 1 (Delta T)."""

    update_end: float = 0.75
    """Share of the training budget after which the mask stays, in [0, 1] (T_end / T)."""

    update_mode: Literal["replace_step", "after_step"] = "replace_step"
    """`replace_step`: an update spends a batch, on which no optimiser step is made (RigL's code);
    `after_step`: it follows a step and uses the gradient of that step's batch, taken before the
    step (SET, ITOP)."""

    @property
    def needs_gradient(self) -> bool:
        """Does an update look at the dense gradient?"""
        return self.kind == "dynamic" and self.grow_random_share < 1.0


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


def layer_counts(shapes: Sequence[Shape], budget: int, power: float) -> tuple[int, ...]:
    """The number of active weights of every layer; they sum to min(budget, all weights).

    A layer's share follows `raw_densities`; a layer that would overflow becomes dense, one that
    would be empty gets one weight, and the scale is solved again for the others. What rounding
    leaves goes to the largest remainders. Raises BadInput for a budget below one weight a layer.
    """
    sizes = np.array([math.prod(shape) for shape in shapes], dtype=np.float64)
    if budget < len(shapes):
        raise BadInput(
            f"a budget of {budget} active weights for {len(shapes)} layers: "
            "expected at least one weight a layer"
        )
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


def kept(weights: NDArray[np.float32], rule: str, fraction: float) -> NDArray[np.bool_]:
    """Which of a layer's active weights survive an update, in the order given.

    weights: values of the active weights, shape (active,); fraction: share to drop, in [0, 1].
    """
    if rule == "magnitude":
        return keep_largest(np.abs(weights), len(weights) - int(fraction * len(weights)))
    if rule == "sign":
        return keep_by_sign_thresholds(weights, fraction)
    if rule == "sign_nominal":
        return keep_by_sign_counts(weights, fraction)
    raise BadInput(f"unknown drop rule {rule!r}")


def keep_largest(scores: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """True for the `count` largest scores; of equal scores the first ones win."""
    keep = np.zeros(len(scores), dtype=np.bool_)
    keep[largest(scores, count)] = True
    return keep


def keep_by_sign_thresholds(weights: NDArray[np.float32], zeta: float) -> NDArray[np.bool_]:
    """SET's rule as its code has it: a threshold for either sign, and the thresholds go too.

    Therefore a few weights more than zeta of each sign are dropped. Where the code would drop
    every weight (possible for fewer than about 1/zeta weights) the largest |w| stays.
    """
    if len(weights) == 0:
        return np.zeros(0, dtype=np.bool_)
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
        survivors = len(members) - int(zeta * len(members))
        keep[members] = keep_largest(np.abs(weights[members]), survivors)
    return keep


# Growing -----------------------------------------------------------------------------------------


def largest(scores: NDArray[np.floating], count: int) -> Positions:
    """The positions of the `count` largest scores, ascending; of equal scores the lowest win."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > threshold)
    ties = np.flatnonzero(scores == threshold)[: count - len(above)]
    chosen = np.sort(np.concatenate([above, ties]))
    assert len(chosen) == count, "scores must be finite"
    return chosen


def grow_by_score(
    scores: NDArray[np.floating],
    taken: Positions,
    count: int,
    fired: NDArray[np.bool_] | None = None,
) -> Positions:
    """The `count` positions with the largest scores among those not taken, ascending.

    scores: one for every position of the layer, >= 0; fired: positions that have been active
    before, which come only after all that have not.
    """
    ranked = scores.astype(np.float32).reshape(-1)  # a copy: the caller's scores stay
    # -inf and not 0: a taken position must lose against a free one whose score is 0.
    ranked[taken] = -np.inf
    if fired is None:
        return largest(ranked, count)
    fresh = np.where(fired, -np.inf, ranked)
    first = largest(fresh, min(count, int(np.count_nonzero(fresh > -np.inf))))
    ranked[first] = -np.inf
    return np.sort(np.concatenate([first, largest(ranked, count - len(first))]))


def grow_at_random(size: int, taken: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` positions drawn uniformly from those of `size` not taken, ascending.

    Needs memory for the taken positions only, not for all.
    """
    ranks = random_positions(size - len(taken), count, rng)
    # taken[i] - i free positions lie before taken[i]: so many taken ones lie before a rank.
    return ranks + np.searchsorted(taken - np.arange(len(taken)), ranks, side="right")


def union(first: Positions, second: Positions) -> Positions:
    """Both of two disjoint sets of positions, ascending."""
    both = np.sort(np.concatenate([first, second]))
    assert len(both) < 2 or (np.diff(both) > 0).all(), "positions chosen twice"
    return both


@dataclass(frozen=True)
class LayerUpdate:
    """What an update does to one layer, as ascending flat positions."""

    active: Positions
    """Active after the update; as many as before."""
    dropped: Positions
    """Active before, not after."""
    new: Positions
    """Those that get a new value and no optimiser state."""


def update_layer(
    topology: Topology,
    *,
    size: int,
    active: Positions,
    weights: NDArray[np.float32],
    fraction: float,
    gradient: NDArray[np.float32] | None,
    fired: NDArray[np.bool_],
    rng: np.random.Generator,
) -> LayerUpdate:
    """Drops and grows as many weights of one layer as the settings say.

    size: positions in the layer; weights: values at the active positions; fraction: share to drop
    now; gradient: dense gradient of the loss by the effective (masked) weights, any shape with
    `size` elements, None if growth is random; fired: per position, has it ever been active.

    Grows over all positions that were not kept, the ones just dropped among them.
    """
    keep = kept(weights, topology.drop_rule, fraction)
    survivors, released = active[keep], active[~keep]
    count = len(released)
    random_count = int(topology.grow_random_share * count)
    grown = np.zeros(0, dtype=np.int64)
    if count > random_count:
        assert gradient is not None
        seen = fired if topology.grow_score == "unfired_gradient" else None
        grown = grow_by_score(np.abs(gradient), survivors, count - random_count, seen)
    if random_count:
        grown = union(grown, grow_at_random(size, union(survivors, grown), random_count, rng))
    after = union(survivors, grown)
    assert len(after) == len(active), "an update must not change the number of active weights"
    regrown = np.isin(grown, released, assume_unique=True)
    return LayerUpdate(
        active=after,
        dropped=np.setdiff1d(released, grown, assume_unique=True),
        new=grown if topology.regrown_value == "new" else grown[~regrown],
    )


# Timing ------------------------------------------------------------------------------------------


def drop_fraction_at(schedule: str, initial: float, progress: float) -> float:
    """The share to drop when `progress` in [0, 1] of the time up to the last update has passed."""
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "constant":
        return initial
    if schedule == "linear":
        return initial * (1.0 - progress)
    if schedule == "cosine":
        return initial / 2.0 * (1.0 + math.cos(math.pi * progress))
    raise BadInput(f"unknown drop schedule {schedule!r}")


def update_due(
    count: int, last: int | None, interval: int, *, now: float, begin: float, end: float
) -> bool:
    """Is an update due, `count` optimiser steps (or epochs) after the start?

    last: the count at the last update, None before the first, which is due at once; now, begin,
    end: on one clock of the caller's choice. With the count as the clock this is RigL's rule, in
    which an update step does not advance the count.
    """
    return begin <= now <= end and (last is None or last + interval <= count)
