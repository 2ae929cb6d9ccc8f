"""One update of the mask: what is dropped and what is grown, in all layers.

Pure: rules and what they see in, choices out. This is the order in which `Updates` puts its rules
together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.positions import Positions, among, no_positions, union, without
from sparse_training.ranking import keep_largest_of_all
from sparse_training.rules.grow import Sources
from sparse_training.rules.redistribution import Growth
from sparse_training.rules.topology import Updates
from sparse_training.rules.view import LayerView, View


@dataclass(frozen=True)
class Memory:
    """What rules remember from one update to the next."""

    drop: Any = None
    grow: Any = None


@dataclass(frozen=True)
class LayerUpdate:
    """What an update does to one layer, as ascending flat positions."""

    active: Positions
    """Active after the update."""
    dropped: Positions
    """Active before, not after."""
    new: Positions
    """Those that get a new value and new optimiser state."""


def update(
    rules: Updates,
    view: View,
    sources: Sources,
    *,
    fraction: float,
    target: int,
    memory: Memory,
    rng: np.random.Generator,
) -> tuple[list[LayerUpdate], Memory]:
    """Drops and grows; `target` weights are active afterwards.

    view: of which `movable` holds for the layers that are updated; fraction: to drop now. If fewer
    than the present weights are wanted, the smallest |w| of all layers go first (GraNet). A layer
    without free positions keeps its mask: what it drops is grown again, and starts anew where the
    rules say so of regrown weights.
    """
    unpruned = [np.ones(len(layer.active), dtype=np.bool_) for layer in view.layers]
    if target < view.count:
        unpruned = keep_largest_of_all([np.abs(layer.weights) for layer in view.layers], target)
    movable = replace(
        view, layers=[_movable(own, left) for own, left in zip(view.layers, unpruned, strict=True)]
    )
    kept, remembered = rules.drop.keep(movable, fraction, memory.drop, rng)
    survives = [
        _survives(layer, left, keep)
        for layer, left, keep in zip(movable.layers, unpruned, kept, strict=True)
    ]
    survivors = [layer.active[own] for layer, own in zip(view.layers, survives, strict=True)]
    ranked, scores, averages = rules.grow.ranked, None, None
    if ranked is not None:
        left = [(own.layer, stay) for own, stay in zip(view.layers, survivors, strict=True)]
        scores, averages = ranked.score.of(replace(sources, left=left), memory.grow)
    released = [layer.active[~own] for layer, own in zip(view.layers, survives, strict=True)]
    grown = rules.redistribution.grown(
        Growth(
            view=view,
            rule=rules.grow,
            scores=scores,
            survivors=survivors,
            released=released,
            dropped=[int(np.count_nonzero(~keep)) for keep in kept],
            total=target - sum(map(len, survivors)),
            regrow_dropped=rules.regrow_dropped,
            last_layer=rules.last_layer,
            rng=rng,
        )
    )
    keeps = rules.new_weights.regrown_keep
    changes = [
        _change(left, gone, new, keeps)
        for left, gone, new in zip(survivors, released, grown, strict=True)
    ]
    return changes, Memory(remembered, averages)


def prune(layers: Sequence[LayerView], target: int) -> list[LayerUpdate]:
    """Keeps the `target` largest |w| of all layers, at least one in each, and grows nothing."""
    keep = keep_largest_of_all([np.abs(layer.weights) for layer in layers], target)
    return without_growth(layers, keep)


def without_growth(
    layers: Sequence[LayerView], keep: Sequence[NDArray[np.bool_]]
) -> list[LayerUpdate]:
    """Drops all but some of the active weights of every layer."""
    return [
        LayerUpdate(layer.active[kept], layer.active[~kept], no_positions())
        for layer, kept in zip(layers, keep, strict=True)
    ]


def _movable(layer: LayerView, unpruned: NDArray[np.bool_]) -> LayerView:
    """The layer without what a density path has just taken away."""
    return replace(layer, movable=layer.movable & unpruned)


def _survives(
    layer: LayerView, unpruned: NDArray[np.bool_], keep: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which active weights are left after pruning and dropping."""
    survives = unpruned.copy()
    survives[np.flatnonzero(layer.movable)[~keep]] = False
    return survives


def _change(
    survivors: Positions, released: Positions, grown: Positions, regrown_keep: bool
) -> LayerUpdate:
    again = among(grown, released)
    return LayerUpdate(
        active=union(survivors, grown),
        dropped=without(released, grown[again]),
        new=grown[~again] if regrown_keep else grown,
    )
