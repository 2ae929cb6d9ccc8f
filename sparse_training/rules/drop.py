"""Which active weights an update drops.

Most rules are the smallest of some score (`Smallest`); a new score is a class with `of`, a rule of
another kind one with `keep`.

**Source**: magnitude: SET, RigL; sign thresholds: SET's code (Mocanu et al. 2018); magnitude and
gradient: MEST (Yuan et al., NeurIPS 2021, https://arxiv.org/abs/2110.14032); |w g| and random: as
Nowak et al., NeurIPS 2023, https://arxiv.org/abs/2306.12230, compare them; an adaptive threshold:
DSR (Mostafa & Wang, ICML 2019, https://arxiv.org/abs/1902.05967, algorithm 1); relative importance
and stranded weights: CHTs (Zhang et al., NeurIPS 2025, https://arxiv.org/abs/2501.19107) and the
authors' code; neurons with too few salient weights: SRigL (Lasby et al., ICLR 2024,
https://arxiv.org/abs/2305.02299) and the authors' code.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput
from sparse_training.networks.connectivity import input_neurons
from sparse_training.positions import Positions, among, no_positions
from sparse_training.ranking import keep_largest, keep_largest_of_all, keep_largest_of_rows
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.view import LayerView, View

Scores = NDArray[np.float32]
Kept = NDArray[np.bool_]

GRADIENT_OF_ACTIVE = Needs(gradient=Extent.ACTIVE)


class DropRule(Protocol):
    """Decides about the movable weights of all layers."""

    @property
    def needs(self) -> Needs:
        """What it looks at beside the weights."""

    @property
    def over_all_layers(self) -> bool:
        """Whether layers lose different fractions, so that a redistribution is needed."""

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        """Per layer, which of its movable weights stay; and what to remember for the next update.

        fraction: to drop, in [0, 1); memory: what this rule returned last, None at first. Of a
        layer with movable weights at least one stays.
        """


# Scores ------------------------------------------------------------------------------------------


class DropScore(Protocol):
    """Importance of active weights: the smallest are dropped."""

    @property
    def needs(self) -> Needs:
        """What it looks at beside the weights."""

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        """A finite score for every active weight of a layer, and what to remember of the layer."""


@dataclass(frozen=True)
class Magnitude:
    """|w|."""

    needs = Needs()

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        return np.abs(layer.weights), None


@dataclass(frozen=True)
class MagnitudeAverage:
    """Moving average of |w| over the updates; a new weight begins at its first |w|."""

    beta: float = 0.5
    """What the past weighs, in [0, 1)."""

    needs = Needs()

    def of(
        self,
        layer: LayerView,
        memory: tuple[Positions, Scores] | None,
        rng: np.random.Generator,
    ) -> tuple[Scores, tuple[Positions, Scores]]:
        now = np.abs(layer.weights)
        before, has_past = now, np.ones(len(now), dtype=np.bool_)
        if memory is not None:
            positions, averages = memory
            has_past = ~among(layer.active, layer.new)
            before = np.zeros_like(now)
            before[has_past] = averages[np.searchsorted(positions, layer.active[has_past])]
        beta = np.float32(self.beta)
        average = np.where(has_past, beta * before + (np.float32(1.0) - beta) * now, now)
        return average, (layer.active, average)


@dataclass(frozen=True)
class MagnitudeAndGradient:
    """|w| + lambda |g| (MEST)."""

    weight: float = 1.0
    """lambda, >= 0."""

    needs = GRADIENT_OF_ACTIVE

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        with np.errstate(over="ignore"):
            scores = np.abs(layer.weights) + np.float32(self.weight) * _slope(layer)
        return _comparable(scores), None


@dataclass(frozen=True)
class Sensitivity:
    """|w g|, SNIP's score."""

    needs = GRADIENT_OF_ACTIVE

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        with np.errstate(over="ignore"):
            scores = np.abs(layer.weights) * _slope(layer)
        return _comparable(scores), None


@dataclass(frozen=True)
class RelativeImportance:
    """|w| as a share of all |w| into its neuron, and as one of all |w| out of its input (CHTs)."""

    needs = Needs()

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        size = np.abs(layer.weights).astype(np.float64)
        neurons, inputs = layer.active // layer.layer.fan_in, layer.active % layer.layer.fan_in

        def share(ends: Positions) -> NDArray[np.float64]:
            sums = np.bincount(ends, weights=size).astype(np.float64)
            return size / np.maximum(sums, np.finfo(np.float64).tiny)[ends]

        return (share(neurons) + share(inputs)).astype(np.float32), None


@dataclass(frozen=True)
class Chance:
    """A random number."""

    needs = Needs()

    def of(self, layer: LayerView, memory: Any, rng: np.random.Generator) -> tuple[Scores, Any]:
        return rng.random(len(layer.weights), dtype=np.float32), None


def _slope(layer: LayerView) -> Scores:
    """|gradient| of the active weights.

    Below a millionth of the layer's largest it is a sum that cancels but for rounding, and counts
    as zero.
    """
    slope = np.abs(layer.gradient)
    least = np.float32(1e-6) * slope.max(initial=0.0)
    cancelled: Scores = np.where(slope < least, np.float32(0.0), slope)
    return cancelled


def _comparable(scores: NDArray[np.floating]) -> Scores:
    """Scores of which those beyond the largest number are equal, and still to be compared."""
    most = np.float32(np.finfo(np.float32).max / 2)
    limited: Scores = np.minimum(scores.astype(np.float32, copy=False), most)
    return limited


# Rules -------------------------------------------------------------------------------------------


class Within(enum.Enum):
    """Where weights are compared with each other."""

    A_LAYER = enum.auto()
    """The fraction is dropped in every layer."""
    ALL_LAYERS = enum.auto()
    """The fraction is dropped of all layers together (GSE)."""


@dataclass(frozen=True)
class Smallest:
    """Drops the weights with the smallest scores; at least one of every layer stays."""

    score: DropScore = Magnitude()
    within: Within = Within.A_LAYER
    rounding: Rounding = Rounding.FLOOR
    """Of the number to drop."""

    @property
    def needs(self) -> Needs:
        return self.score.needs

    @property
    def over_all_layers(self) -> bool:
        return self.within is Within.ALL_LAYERS

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        past = memory or [None] * len(view.layers)
        scored = [
            self.score.of(layer, of_layer, rng)
            for layer, of_layer in zip(view.layers, past, strict=True)
        ]
        scores = view.movable([scores for scores, _ in scored])
        return self._keep(scores, fraction), [remembered for _, remembered in scored]

    def _keep(self, scores: Sequence[Scores], fraction: float) -> list[Kept]:
        if self.within is Within.A_LAYER:
            return [
                keep_largest(
                    layer, max(min(1, len(layer)), len(layer) - self._count(layer, fraction))
                )
                for layer in scores
            ]
        total = sum(len(layer) for layer in scores)
        least = sum(len(layer) > 0 for layer in scores)
        gone = min(rounded(fraction, total, self.rounding), total - least)
        return keep_largest_of_all(scores, total - gone)

    def _count(self, layer: Scores, fraction: float) -> int:
        return rounded(fraction, len(layer), self.rounding)


@dataclass(frozen=True)
class SignThresholds:
    """SET's rule as its code has it: a threshold for either sign, and the thresholds go too.

    The thresholds are the quantiles `fraction` of the negative and of the positive weights, counted
    from zero; so a few weights more than that fraction of each sign are dropped. Where the code
    would drop every weight (possible for fewer than about 1 / fraction weights) the largest |w|
    stays.
    """

    needs = Needs()
    over_all_layers = False

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        weights = view.movable([layer.weights for layer in view.layers])
        return [keep_by_sign_thresholds(values, fraction) for values in weights], None


@dataclass(frozen=True)
class SignCounts:
    """SET's rule as its paper has it: the floor(fraction n) weights closest to zero of either sign.

    Zero counts as positive.
    """

    needs = Needs()
    over_all_layers = False

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        weights = view.movable([layer.weights for layer in view.layers])
        return [keep_by_sign_counts(values, fraction) for values in weights], None


@dataclass(frozen=True)
class BelowThreshold:
    """DSR's rule: drops |w| below one threshold for all layers, which adapts.

    It is halved after an update that dropped more than 1.1 times the fraction of all active
    weights, and doubled after one that dropped less than 0.9 times.
    """

    threshold: float = 1e-3
    """Of the first update, > 0."""

    needs = Needs()
    over_all_layers = True

    def __post_init__(self) -> None:
        if not self.threshold > 0.0:
            raise BadInput(f"a threshold of {self.threshold:g}: expected more than 0")

    def keep(
        self, view: View, fraction: float, memory: float | None, rng: np.random.Generator
    ) -> tuple[list[Kept], float]:
        threshold = self.threshold if memory is None else memory
        weights = view.movable([layer.weights for layer in view.layers])
        kept = [keep_above(values, threshold) for values in weights]
        dropped = sum(int(np.count_nonzero(~layer)) for layer in kept)
        return kept, next_threshold(threshold, dropped, fraction * view.count)


@dataclass(frozen=True)
class WithStranded:
    """Drops also what the dropped weights leave without a way in or out (CHT's chain removal).

    These are the other weights of a hidden neuron that no weight leads to, or none leads on from;
    what a density path takes away in the same update still counts as there. A layer that would
    lose everything loses none of them, nor does any in a residual network, which has other ways,
    or where nothing was dropped.
    """

    rule: DropRule = Smallest()
    """What it drops in the first place."""

    @property
    def needs(self) -> Needs:
        return self.rule.needs

    @property
    def over_all_layers(self) -> bool:
        return self.rule.over_all_layers

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        kept, remembered = self.rule.keep(view, fraction, memory, rng)
        if view.chain and not all(own.all() for own in kept):
            last = len(kept) - 1
            for i in reversed(range(last)):
                onward = view.layers[i + 1]
                used = input_neurons(onward.layer, _left(onward, kept[i + 1]))
                layer = view.layers[i]
                kept[i] = _and(kept[i], np.isin(_movable(layer) // layer.layer.fan_in, used))
            for i in range(last):
                layer = view.layers[i]
                fed = _left(layer, kept[i]) // layer.layer.fan_in
                onward = view.layers[i + 1]
                comes_from = input_neurons(onward.layer, _movable(onward))
                kept[i + 1] = _and(kept[i + 1], np.isin(comes_from, fed))
        return kept, remembered


def _movable(layer: LayerView) -> Positions:
    return layer.active[layer.movable]


def _left(layer: LayerView, kept: Kept) -> Positions:
    """The active positions without the movable ones that are not kept."""
    left = np.ones(len(layer.active), dtype=np.bool_)
    left[layer.movable] = kept
    return layer.active[left]


def _and(kept: Kept, reached: Kept) -> Kept:
    """What is kept and reached; what is kept where that would be nothing."""
    both = kept & reached
    return both if both.any() else kept


@dataclass(frozen=True)
class NeuronAblation:
    """The smallest |w| of a layer, all of neurons with few salient weights, and what is too many.

    Salient are the weights that magnitude would keep, and as many positions of the layer as it
    would drop, those of the largest gradients. What is lost goes to the layer's other neurons, of
    which none keeps more than an even share of all, nor less than one weight. Output neurons stay.
    """

    salient_share: float = 0.3
    """gamma, in [0, 1]: of the layer's weights divided by its neurons, rounded down; neurons with
    fewer salient weights, or none, go, where any weight of the layer is dropped."""

    needs = Needs(gradient=Extent.ALL)
    over_all_layers = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.salient_share <= 1.0:
            raise BadInput(
                f"ablation below a share of {self.salient_share:g}: expected one in [0, 1]"
            )

    def keep(
        self, view: View, fraction: float, memory: Any, rng: np.random.Generator
    ) -> tuple[list[Kept], Any]:
        last = len(view.layers) - 1
        return [self._keep(layer, fraction, layer.number == last) for layer in view.layers], None

    def _keep(self, layer: LayerView, fraction: float, output: bool) -> Kept:
        positions, size = _movable(layer), np.abs(layer.weights[layer.movable])
        count, fan_in, neurons = len(positions), layer.layer.fan_in, layer.layer.neurons
        gone = rounded(fraction, count, Rounding.FLOOR)
        if gone == 0:
            return np.ones(count, dtype=np.bool_)
        salient = keep_largest(size, count - gone)
        of_neuron = positions // fan_in
        alive = np.bincount(of_neuron, minlength=neurons) > 0
        if not output:
            grows = self._candidates(layer, gone)
            grows = grows[~among(grows, positions[salient])]
            salience = np.bincount(of_neuron[salient], minlength=neurons)
            salience += np.bincount(grows // fan_in, minlength=neurons)
            salience[~alive] = -1
            enough = salience >= max(
                1, rounded(self.salient_share, count // neurons, Rounding.FLOOR)
            )
            # Those that stay need room for all the weights.
            least = -(-count // fan_in)
            if np.count_nonzero(enough) < least:
                enough = keep_largest(salience.astype(np.float32), least)
            alive = enough
        return keep_even(of_neuron, size, alive, count - gone)

    def _candidates(self, layer: LayerView, count: int) -> Positions:
        if layer.gradients is None:
            raise ValueError("a rule looks at gradients that its needs do not name")
        return layer.gradients.largest(layer.number, count, no_positions())


def keep_even(
    of_neuron: NDArray[np.int64], size: Scores, alive: NDArray[np.bool_], count: int
) -> Kept:
    """The `count` largest of the neurons that are alive, of each at least one and at most its part.

    The parts are even shares of all weights; the ones that a remainder makes larger by one are
    those with the largest weight to gain.
    """
    pool = np.flatnonzero(alive[of_neuron])
    largest = np.zeros(len(size), dtype=np.bool_)
    largest[pool[keep_largest(size[pool], min(count, len(pool)))]] = True
    part, larger = divmod(len(size), int(np.count_nonzero(alive)))
    # A row a neuron, its weights from the left.
    owns = np.bincount(of_neuron, minlength=len(alive))
    place = np.arange(len(size)) - (np.cumsum(owns) - owns)[of_neuron]
    rows = np.full((len(alive), owns.max(initial=0)), -np.inf, dtype=size.dtype)
    rows[of_neuron, place] = size
    wanted = np.where(
        alive, np.maximum(1, np.bincount(of_neuron[largest], minlength=len(alive))), 0
    )
    kept = keep_largest_of_rows(rows, np.minimum(part, wanted))
    beyond = keep_largest_of_rows(rows, np.minimum(part + 1, wanted)) & ~kept
    beyond &= beyond.cumsum(axis=1) == 1
    keep = kept[of_neuron, place]
    more = np.flatnonzero(beyond[of_neuron, place])
    keep[more[keep_largest(size[more], min(larger, len(more)))]] = True
    return keep


def keep_above(weights: NDArray[np.float32], threshold: float) -> Kept:
    """|w| >= threshold stays, and the largest |w| of the layer in any case."""
    size = np.abs(weights)
    keep: Kept = size >= np.float32(threshold)
    return keep if keep.any() or len(weights) == 0 else keep_largest(size, 1)


def next_threshold(threshold: float, dropped: int, wanted: float) -> float:
    """DSR's threshold for the next update: halved after too many, doubled after too few."""
    if dropped > 1.1 * wanted:
        return threshold / 2.0
    return threshold * 2.0 if dropped < 0.9 * wanted else threshold


def keep_by_sign_thresholds(weights: NDArray[np.floating], zeta: float) -> Kept:
    """`SignThresholds` for one layer."""
    if len(weights) == 0 or zeta == 0.0:
        return np.ones(len(weights), dtype=np.bool_)
    values = np.sort(weights)
    count = len(values)
    nearest = np.abs(values)
    first_zero = int(nearest.argmin())
    last_zero = count - int(nearest[::-1].argmin())
    largest_negative = values[int((1.0 - zeta) * first_zero)]
    smallest_positive = values[int(min(count - 1, last_zero + zeta * (count - last_zero)))]
    keep: Kept = (weights > smallest_positive) | (weights < largest_negative)
    return keep if keep.any() else keep_largest(np.abs(weights), 1)


def keep_by_sign_counts(weights: NDArray[np.float32], zeta: float) -> Kept:
    """`SignCounts` for one layer."""
    keep = np.ones(len(weights), dtype=np.bool_)
    for sign in (weights >= 0, weights < 0):
        members = np.flatnonzero(sign)
        survivors = len(members) - rounded(zeta, len(members), Rounding.FLOOR)
        keep[members] = keep_largest(np.abs(weights[members]), survivors)
    return keep
