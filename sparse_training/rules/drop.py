"""Which active weights an update drops.

Most rules are the smallest of some score (`Smallest`); a new score is a class with `of`, a rule of
another kind one with `keep`.

**Source**: magnitude: SET, RigL; sign thresholds: SET's code (Mocanu et al. 2018); magnitude and
gradient: MEST (Yuan et al., NeurIPS 2021, https://arxiv.org/abs/2110.14032); |w g| and random: as
Nowak et al., NeurIPS 2023, https://arxiv.org/abs/2306.12230, compare them; an adaptive threshold:
DSR (Mostafa & Wang, ICML 2019, https://arxiv.org/abs/1902.05967, algorithm 1).
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput
from sparse_training.positions import Positions, among
from sparse_training.ranking import keep_largest, keep_largest_of_all
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
