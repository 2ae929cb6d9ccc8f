"""One update of the topology: what is dropped and what is grown, in all layers.

Pure: `Topology` settings and what the engine knows in, choices out. The rules themselves are in
`topology`; this is the order in which a setting of the meta-framework puts them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from target_algorithms.engine import Gradients
from target_algorithms.settings import Topology
from target_algorithms.topology import (
    Positions,
    allocate,
    among,
    grow_at_random,
    grow_by_score,
    grow_fresh_at_random,
    keep_above,
    keep_by_sign_counts,
    keep_by_sign_thresholds,
    keep_globally,
    keep_largest,
    keep_scores,
    number_to_drop,
    union,
    without,
)

SNFS_FILL = 0.99
"""No layer is grown beyond this share of its free positions by a redistribution (SNFS's code)."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What an update looks at, per layer; the rows of a list are in the order of the layers."""

    sizes: Sequence[int]
    """Positions."""
    active: Sequence[Positions]
    weights: Sequence[NDArray[np.float32]]
    """Values at the active positions."""
    fired: Sequence[Positions]
    """Positions that have been active before, ascending."""
    kept_scores: Sequence[NDArray[np.float32]] | None = None
    """Moving averages of |w| at the active positions, for `magnitude_ema`."""
    momenta: Sequence[NDArray[np.float32]] | None = None
    """Velocity or first moment at the active positions, for redistribution by momentum."""
    gradient: Gradients | None = None
    """Of the loss by the effective weights; None if the settings do not need one."""
    grow_scores: Gradients | None = None
    """What growth ranks: the gradient, its average or the momentum; None if all is random."""


@dataclass(frozen=True)
class LayerUpdate:
    """What an update does to one layer, as ascending flat positions."""

    active: Positions
    """Active after the update."""
    dropped: Positions
    """Active before, not after."""
    new: Positions
    """Those that get a new value and new optimiser state."""


@dataclass(frozen=True)
class Update:
    """What an update does."""

    layers: tuple[LayerUpdate, ...]
    replaced: int
    """Weights dropped by the drop rule, those that were grown again among them."""


def update(
    topology: Topology,
    seen: Seen,
    *,
    fraction: float,
    target: int,
    threshold: float,
    rng: np.random.Generator,
) -> Update:
    """Drops and grows; `target` weights are active afterwards.

    fraction: share to drop now; threshold: of the rule `threshold`. If fewer than the present
    weights are wanted, the smallest |w| of all layers go first (GraNet).
    """
    layers = range(len(seen.sizes))
    present = sum(len(positions) for positions in seen.active)
    stays = [np.ones(len(positions), dtype=np.bool_) for positions in seen.active]
    if target < present:
        stays = keep_globally([np.abs(weights) for weights in seen.weights], target)
    keep = _dropped(topology, seen, stays, fraction, threshold, rng)
    survivors = [seen.active[i][keep[i]] for i in layers]
    released = [seen.active[i][~keep[i]] for i in layers]
    lost = [int(np.count_nonzero(stays[i])) - len(survivors[i]) for i in layers]
    grown = _grown(topology, seen, survivors, released, lost, target, rng)

    changes = []
    for layer in layers:
        again = among(grown[layer], released[layer])
        changes.append(
            LayerUpdate(
                active=union(survivors[layer], grown[layer]),
                dropped=without(released[layer], grown[layer][again]),
                new=grown[layer] if topology.regrown_value == "new" else grown[layer][~again],
            )
        )
    total = sum(len(change.active) for change in changes)
    assert total == target, f"{total} weights after an update, {target} wanted"
    return Update(tuple(changes), sum(lost))


def prune(seen: Seen, target: int) -> Update:
    """Keeps the `target` largest |w| of all layers, at least one in each, and grows nothing."""
    keep = keep_globally([np.abs(weights) for weights in seen.weights], target)
    return _without(seen, keep)


def prune_neurons(seen: Seen, fan_ins: Sequence[int], share: float) -> Update:
    """Importance pruning: the least important hidden neurons lose all their incoming weights.

    fan_ins: weights of a neuron, per layer. The importance of a neuron is the sum of its incoming
    |w| (Curci et al. 2021); of every hidden layer the floor(share * neurons) least important among
    those that have incoming weights go, but never all of them.
    """
    keep = [np.ones(len(positions), dtype=np.bool_) for positions in seen.active]
    for layer, fan_in in enumerate(fan_ins[:-1]):
        neurons = seen.active[layer] // fan_in
        count = seen.sizes[layer] // fan_in
        sizes = np.abs(seen.weights[layer]).astype(np.float64)
        importance = np.bincount(neurons, weights=sizes, minlength=count).astype(np.float64)
        alive = np.flatnonzero(np.bincount(neurons, minlength=count))
        stay = len(alive) - min(number_to_drop(share, len(alive), "floor"), len(alive) - 1)
        keep[layer] = np.isin(neurons, alive[keep_largest(importance[alive], stay)])
    return _without(seen, keep)


def _without(seen: Seen, keep: Sequence[NDArray[np.bool_]]) -> Update:
    nothing = np.zeros(0, dtype=np.int64)
    changes = tuple(
        LayerUpdate(positions[kept], positions[~kept], nothing)
        for positions, kept in zip(seen.active, keep, strict=True)
    )
    return Update(changes, 0)


def _dropped(
    topology: Topology,
    seen: Seen,
    stays: Sequence[NDArray[np.bool_]],
    fraction: float,
    threshold: float,
    rng: np.random.Generator,
) -> list[NDArray[np.bool_]]:
    """Which active weights survive the drop rule, given which have not been pruned before it."""
    rule = topology.drop_rule
    last = len(seen.sizes) - 1
    evolving = [layer < last or topology.evolve_last_layer == "yes" for layer in range(last + 1)]
    scores = [
        _scores(topology, seen, layer, rng)[stays[layer]]
        if rule not in ("sign", "sign_nominal")
        else seen.weights[layer][stays[layer]]
        for layer in range(last + 1)
    ]
    if rule == "threshold":
        chosen = [keep_above(values, threshold) for values in scores]
    elif topology.drop_scope == "global" and rule not in ("sign", "sign_nominal"):
        movable = [values if evolving[i] else values[:0] for i, values in enumerate(scores)]
        total = sum(len(values) for values in movable)
        least = sum(len(values) > 0 for values in movable)
        gone = min(number_to_drop(fraction, total, topology.drop_rounding), total - least)
        chosen = keep_globally(movable, total - gone)
    else:
        chosen = [_kept(topology, values, fraction) for values in scores]
    keep = []
    for layer, mask in enumerate(stays):
        survivors = mask.copy()
        if evolving[layer]:
            survivors[np.flatnonzero(mask)[~chosen[layer]]] = False
        keep.append(survivors)
    return keep


def _kept(topology: Topology, values: NDArray[np.float32], fraction: float) -> NDArray[np.bool_]:
    """Survivors of one layer by its own weights (sign rules) or scores; one at least stays."""
    if topology.drop_rule == "sign":
        return keep_by_sign_thresholds(values, fraction)
    if topology.drop_rule == "sign_nominal":
        return keep_by_sign_counts(values, fraction)
    gone = number_to_drop(fraction, len(values), topology.drop_rounding)
    least = min(1, len(values)) if fraction < 1.0 else 0
    return keep_largest(values, max(least, len(values) - gone))


def _scores(
    topology: Topology, seen: Seen, layer: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    weights = seen.weights[layer]
    if topology.drop_rule == "random":
        return rng.random(len(weights), dtype=np.float32)
    if topology.drop_rule == "magnitude_ema":
        assert seen.kept_scores is not None
        return seen.kept_scores[layer]
    gradient = None
    if topology.drop_rule in ("mest", "snip", "reciprocal"):
        assert seen.gradient is not None
        gradient = seen.gradient.at(layer, seen.active[layer])
    return keep_scores(topology.drop_rule, weights, gradient, topology.mest_lambda)


def _grown(
    topology: Topology,
    seen: Seen,
    survivors: Sequence[Positions],
    released: Sequence[Positions],
    lost: Sequence[int],
    target: int,
    rng: np.random.Generator,
) -> list[Positions]:
    """What every layer grows; lost: how many weights each has just dropped."""
    layers = range(len(seen.sizes))
    total = target - sum(len(positions) for positions in survivors)
    taken = list(survivors)
    if topology.redistribution == "score":
        needs = [number + total - sum(lost) for number in lost]
    else:
        needs = list(_counts(topology, seen, survivors, lost, total))
    if topology.regrow_dropped == "no":
        for layer in layers:
            both = union(survivors[layer], released[layer])
            if seen.sizes[layer] - len(both) >= needs[layer]:
                taken[layer] = both
    if topology.redistribution != "score":
        pools = [_pool(topology, seen, i, taken[i], needs[i], rng) for i in layers]
        return [_grow(topology, seen, i, taken[i], needs[i], pools[i], rng) for i in layers]

    # The best of every layer compete; each brings enough for all that is to be grown.
    best = []
    for layer in layers:
        own = _pool(topology, seen, layer, taken[layer], needs[layer], rng)
        if own is None:
            assert seen.grow_scores is not None
            most = min(total, seen.sizes[layer] - len(taken[layer]))
            own = seen.grow_scores.largest(layer, most, taken[layer], _fired(topology, seen, layer))
        best.append(own)
    if topology.evolve_last_layer == "no" and sum(map(len, best[:-1])) >= total:
        best[-1] = best[-1][:0]
    chosen = _winners(topology, seen, best, total)
    return [
        _grow(topology, seen, i, taken[i], int(np.count_nonzero(chosen[i])), best[i], rng)
        for i in layers
    ]


def _winners(
    topology: Topology, seen: Seen, pools: Sequence[Positions], count: int
) -> list[NDArray[np.bool_]]:
    """Which positions of the pools have the `count` largest growth scores of all layers."""
    assert seen.grow_scores is not None
    scores = [np.abs(seen.grow_scores.at(layer, pool)) for layer, pool in enumerate(pools)]
    old = None
    if topology.grow_score == "unfired_gradient":
        old = np.flatnonzero(
            np.concatenate([among(pool, seen.fired[i]) for i, pool in enumerate(pools)])
        )
    everything = np.concatenate(scores)
    chosen = np.zeros(len(everything), dtype=np.bool_)
    chosen[grow_by_score(everything, np.zeros(0, dtype=np.int64), count, old)] = True
    return np.split(chosen, np.cumsum([len(pool) for pool in pools])[:-1])


def _counts(
    topology: Topology,
    seen: Seen,
    survivors: Sequence[Positions],
    lost: Sequence[int],
    total: int,
) -> tuple[int, ...]:
    """How many of `total` weights every layer grows, by the redistribution."""
    free = [size - len(left) for size, left in zip(seen.sizes, survivors, strict=True)]
    if topology.evolve_last_layer == "no" and total - lost[-1] <= sum(free[:-1]):
        free[-1] = lost[-1]
    if topology.redistribution == "none":
        # What a path adds goes where there is room; without one every layer gets its own back.
        extra = [room - own for room, own in zip(free, lost, strict=True)]
        added = allocate(total - sum(lost), extra, extra)
        return tuple(own + more for own, more in zip(lost, added, strict=True))
    shares = [_share(topology, seen, layer) for layer in range(len(free))]
    capped = [int(SNFS_FILL * room) for room in free]
    if sum(capped) < total:
        capped = free
    return allocate(total, shares, capped)


def _share(topology: Topology, seen: Seen, layer: int) -> float:
    """What a layer's part of the grown weights is in proportion to, before the update."""
    if topology.redistribution == "nonzeros":
        return float(len(seen.active[layer]))
    if topology.redistribution == "magnitude":
        values = seen.weights[layer]
    elif topology.redistribution == "momentum":
        assert seen.momenta is not None
        values = seen.momenta[layer]
    else:
        assert topology.redistribution == "gradient" and seen.gradient is not None
        values = seen.gradient.at(layer, seen.active[layer])
    return float(np.abs(values.astype(np.float64)).mean()) if len(values) else 0.0


def _fired(topology: Topology, seen: Seen, layer: int) -> Positions | None:
    return seen.fired[layer] if topology.grow_score == "unfired_gradient" else None


def _pool(
    topology: Topology,
    seen: Seen,
    layer: int,
    taken: Positions,
    need: int,
    rng: np.random.Generator,
) -> Positions | None:
    """The random candidates of a layer, ascending; None if all free positions are candidates."""
    if topology.grow_random_share >= 1.0 or topology.grow_candidates is None:
        return None
    free = seen.sizes[layer] - len(taken)
    asked = round(topology.grow_candidates * len(seen.active[layer]))
    return grow_at_random(seen.sizes[layer], taken, min(free, max(asked, need)), rng)


def _grow(
    topology: Topology,
    seen: Seen,
    layer: int,
    taken: Positions,
    count: int,
    pool: Positions | None,
    rng: np.random.Generator,
) -> Positions:
    """The `count` positions that a layer grows: by score from the pool, then at random."""
    size = seen.sizes[layer]
    random_count = number_to_drop(topology.grow_random_share, count, "floor")
    wanted = count - random_count
    grown = np.zeros(0, dtype=np.int64)
    if wanted:
        assert seen.grow_scores is not None
        fired = _fired(topology, seen, layer)
        if pool is None:
            grown = seen.grow_scores.largest(layer, wanted, taken, fired)
        else:
            scores = np.abs(seen.grow_scores.at(layer, pool))
            old = None if fired is None else np.flatnonzero(among(pool, fired))
            grown = pool[grow_by_score(scores, grown, wanted, old)]
    if random_count:
        both = union(taken, grown)
        if topology.unfired_bias > 0.0:
            fired, bias = seen.fired[layer], topology.unfired_bias
            drawn = grow_fresh_at_random(size, both, fired, random_count, bias, rng)
        else:
            drawn = grow_at_random(size, both, random_count, rng)
        grown = union(grown, drawn)
    return grown
