"""In which layers an update grows what it has dropped.

**Source**: by the mean momentum of a layer's weights: SNFS (Dettmers & Zettlemoyer 2019,
https://arxiv.org/abs/1907.04840) and the authors' code; by the number of a layer's weights that are
left: DSR (Mostafa & Wang, ICML 2019, https://arxiv.org/abs/1902.05967, algorithm 1) and the
authors' code; where the largest scores of all layers are: GSE (Heddes et al. 2024,
https://arxiv.org/abs/2401.06898).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Extent, Gradients, Needs
from sparse_training.positions import Positions, among, no_positions, union
from sparse_training.ranking import largest_free
from sparse_training.rules.grow import GrowRule, Largest
from sparse_training.rules.view import LayerView, View

FILL = 0.99
"""No layer is grown beyond this fraction of its free positions (SNFS's code)."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What is to be grown, once the drop rule has chosen; lists are by layer."""

    view: View
    rule: GrowRule
    scores: Gradients | None
    """What the rule ranks positions by; None if all is random."""
    survivors: Sequence[Positions]
    """Active weights that were neither dropped nor pruned."""
    released: Sequence[Positions]
    """The other active weights."""
    dropped: Sequence[int]
    """How many weights the drop rule took."""
    total: int
    """How many to grow in all layers together."""
    regrow_dropped: bool
    """Whether what was just released may be grown where other positions are left."""
    last_layer: bool
    """Whether the output layer takes part."""
    rng: np.random.Generator

    def taken(self, counts: Sequence[int]) -> list[Positions]:
        """Positions that may not be grown, if so many are wanted of every layer."""
        taken = list(self.survivors)
        if not self.regrow_dropped:
            for layer, count in zip(self.view.layers, counts, strict=True):
                i = layer.number
                both = union(self.survivors[i], self.released[i])
                if layer.size - len(both) >= count:
                    taken[i] = both
        return taken


class Redistribution(Protocol):
    """Grows positions in all layers."""

    @property
    def needs(self) -> Needs:
        """What it looks at beside the growth scores."""

    def grown(self, growth: Growth) -> list[Positions]:
        """Per layer what is grown, `growth.total` positions together."""


@dataclass(frozen=True)
class ToItsLayer:
    """Every layer gets back what it lost; what a density path adds goes where there is room."""

    needs = Needs()

    def grown(self, growth: Growth) -> list[Positions]:
        free = _free(growth)
        dropped, added = growth.dropped, growth.total - sum(growth.dropped)
        room = [most - own for most, own in zip(free, dropped, strict=True)]
        more = allocate(added, room, room)
        return _grow(growth, [own + extra for own, extra in zip(dropped, more, strict=True)])


class Merit(Protocol):
    """What a layer's part of the grown weights is in proportion to."""

    @property
    def needs(self) -> Needs:
        """What it looks at."""

    def of(self, layer: LayerView, survivors: Positions) -> float:
        """>= 0; 0 for a layer without weights. survivors: those that the update has not dropped."""


def _mean_size(values: NDArray[np.float32]) -> float:
    return float(np.abs(values.astype(np.float64)).mean()) if len(values) else 0.0


@dataclass(frozen=True)
class MeanMomentum:
    """Mean |momentum| of the active weights before the update (SNFS)."""

    needs = Needs(momentum=Extent.ACTIVE)

    def of(self, layer: LayerView, survivors: Positions) -> float:
        return _mean_size(layer.momentum)


@dataclass(frozen=True)
class MeanGradient:
    """Mean |gradient| of the active weights before the update."""

    needs = Needs(gradient=Extent.ACTIVE)

    def of(self, layer: LayerView, survivors: Positions) -> float:
        return _mean_size(layer.gradient)


@dataclass(frozen=True)
class MeanMagnitude:
    """Mean |w| of the active weights before the update."""

    needs = Needs()

    def of(self, layer: LayerView, survivors: Positions) -> float:
        return _mean_size(layer.weights)


@dataclass(frozen=True)
class ActiveWeights:
    """The number of active weights before the update (as SNFS compares it)."""

    needs = Needs()

    def of(self, layer: LayerView, survivors: Positions) -> float:
        return float(len(layer.active))


@dataclass(frozen=True)
class Survivors:
    """The number of active weights that the update has left (DSR)."""

    needs = Needs()

    def of(self, layer: LayerView, survivors: Positions) -> float:
        return float(len(survivors))


@dataclass(frozen=True)
class InProportion:
    """Layers grow in proportion to a merit; what a full one cannot take goes to the others."""

    merit: Merit
    excess_evenly: bool = False
    """Whether it goes to them in equal parts (SNFS) or in proportion to the merit, too (DSR)."""

    @property
    def needs(self) -> Needs:
        return self.merit.needs

    def grown(self, growth: Growth) -> list[Positions]:
        free = _free(growth)
        capped = [int(FILL * room) for room in free]
        if sum(capped) < growth.total:
            capped = free
        merits = [
            self.merit.of(layer, left)
            for layer, left in zip(growth.view.layers, growth.survivors, strict=True)
        ]
        counts = allocate(growth.total, merits, capped, excess_evenly=self.excess_evenly)
        return _grow(growth, counts)


@dataclass(frozen=True)
class ToLargestScores:
    """The best positions of all layers compete, whatever layer they are in (GSE)."""

    needs = Needs()

    def grown(self, growth: Growth) -> list[Positions]:
        rule, scores, total, rng = growth.rule, growth.scores, growth.total, growth.rng
        ranked = rule.ranked
        if ranked is None or scores is None:
            raise ValueError("layers can only compete for growth by scores: found none")
        # Every layer brings enough for all that is to be grown.
        least = [own + total - sum(growth.dropped) for own in growth.dropped]
        taken = growth.taken(least)
        best = []
        for layer in growth.view.layers:
            i = layer.number
            own = ranked.candidates(layer, taken[i], least[i], rng)
            if own is None:
                most = min(total, layer.size - len(taken[i]))
                own = scores.largest(i, most, taken[i], ranked.fired(layer))
            best.append(own)
        if not growth.last_layer and sum(map(len, best[:-1])) >= total:
            best[-1] = no_positions()
        wins = _wins(growth.view, ranked, scores, best, total)
        return [
            rule.grow(layer, taken[i], int(np.count_nonzero(wins[i])), scores, best[i], rng)
            for i, layer in enumerate(growth.view.layers)
        ]


def _wins(
    view: View, ranked: Largest, scores: Gradients, best: Sequence[Positions], count: int
) -> list[NDArray[np.bool_]]:
    """Which of every layer's best positions have the `count` largest scores of all."""
    old = None
    if ranked.never_active_first:
        old = np.flatnonzero(
            np.concatenate([among(own, view.layers[i].fired) for i, own in enumerate(best)])
        )
    sizes = np.concatenate([np.abs(scores.at(i, own)) for i, own in enumerate(best)])
    wins = np.zeros(len(sizes), dtype=np.bool_)
    wins[largest_free(sizes, no_positions(), count, old)] = True
    return np.split(wins, np.cumsum([len(own) for own in best])[:-1])


def _free(growth: Growth) -> list[int]:
    """How many positions every layer could grow."""
    free = [
        layer.size - len(left)
        for layer, left in zip(growth.view.layers, growth.survivors, strict=True)
    ]
    own = growth.dropped[-1]
    if not growth.last_layer and growth.total - own <= sum(free[:-1]):
        free[-1] = own
    return free


def _grow(growth: Growth, counts: Sequence[int]) -> list[Positions]:
    """So many positions of every layer, by the rule."""
    rule, layers, rng = growth.rule, growth.view.layers, growth.rng
    taken, ranked = growth.taken(counts), growth.rule.ranked
    # All candidates are drawn before anything is grown.
    candidates = [
        None if ranked is None else ranked.candidates(x, taken[x.number], counts[x.number], rng)
        for x in layers
    ]
    return [
        rule.grow(layer, taken[i], counts[i], growth.scores, candidates[i], rng)
        for i, layer in enumerate(layers)
    ]


def allocate(
    total: int,
    shares: Sequence[float],
    capacities: Sequence[int],
    *,
    excess_evenly: bool = False,
) -> tuple[int, ...]:
    """Splits `total` weights in proportion to the shares, no layer above its capacity.

    shares: >= 0; those of layers that still have room count as equal if all are zero. What a full
    layer cannot take goes to those that have room, by the same rule or in equal parts
    (`excess_evenly`), what rounding leaves to the largest remainders, then the first layers. Raises
    ValueError for a total that is more than all capacities.
    """
    room = np.array(capacities, dtype=np.int64)
    if not 0 <= total <= room.sum():
        raise ValueError(f"{total} weights to share among layers that take {room.sum()}")
    weights = np.array(shares, dtype=np.float64)
    exact = np.zeros(len(room))
    # In equal parts goes also what a layer that is full from the beginning would have had.
    unfilled = np.ones(len(room), dtype=np.bool_) if excess_evenly else room > 0
    left = float(total)
    while left > 0.0 and unfilled.any():
        parts = np.where(unfilled, weights, 0.0)
        if parts.sum() <= 0.0:
            parts = unfilled.astype(np.float64)
        exact += left * (parts / parts.sum())
        full = unfilled & (exact >= room)
        left = float((exact - room)[full].sum())
        exact[full] = room[full]
        unfilled &= ~full
        if excess_evenly:
            weights = np.ones(len(room))
    allotted = np.floor(exact + 1e-9).astype(np.int64)
    order = np.lexsort((np.arange(len(room)), allotted - exact))
    missing = total - int(allotted.sum())
    allotted[[layer for layer in order if unfilled[layer]][:missing]] += 1
    return tuple(int(number) for number in allotted)
