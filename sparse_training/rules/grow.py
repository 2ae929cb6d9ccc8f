"""Which free positions an update grows.

**Source**: at random: SET (Mocanu et al. 2018); largest dense gradient: RigL (Evci et al., ICML
2020, https://arxiv.org/abs/1911.11134); its mean over batches: rigl-torch; largest momentum: SNFS
(Dettmers & Zettlemoyer 2019, https://arxiv.org/abs/1907.04840); positions that were never active
first: ITOP (Liu et al., ICML 2021, https://arxiv.org/abs/2102.02887); a random subset: GSE (Heddes
et al. 2024, https://arxiv.org/abs/2401.06898); where paths lead, drawn by their score: CHTs (Zhang
et al., NeurIPS 2025, https://arxiv.org/abs/2501.19107); the same fan-in for every neuron: SRigL
(Lasby et al., ICLR 2024, https://arxiv.org/abs/2305.02299).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import DenseGradients, Extent, Gradients, Needs
from sparse_training.errors import BadInput
from sparse_training.networks.network import Layer
from sparse_training.positions import (
    Positions,
    among,
    merged,
    no_positions,
    random_free_positions,
    union,
)
from sparse_training.ranking import keep_largest_of_rows, largest_free
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.paths import path_scores
from sparse_training.rules.view import LayerView


@dataclass(frozen=True)
class Sources:
    """Where growth scores come from, at an update."""

    layers: int
    """Number of layers."""
    gradients: Gradients | None
    """None if no rule needs any."""
    momenta: Gradients | None
    """Of a dense optimiser state; None if no rule needs it."""
    left: Sequence[tuple[Layer, Positions]] = ()
    """Every layer with the active weights that the update has not dropped."""


class GrowScore(Protocol):
    """What growth ranks positions by; the largest sizes are grown."""

    @property
    def batches(self) -> int:
        """How many batches, up to the update, its gradient is a mean over."""

    def needs(self, candidates: float | None) -> Needs:
        """What it looks at, of all positions or of so many times the active weights."""

    def of(self, sources: Sources, memory: Any) -> tuple[Gradients, Any]:
        """A score for every position, and what to remember for the next update."""


def _gradients(sources: Sources) -> Gradients:
    if sources.gradients is None:
        raise ValueError("growth looks at gradients that its needs do not name")
    return sources.gradients


def _given(scores: Gradients | None) -> Gradients:
    if scores is None:
        raise ValueError("growth by scores was given none")
    return scores


def _check_batches(batches: int) -> None:
    if batches < 1:
        raise BadInput(f"a mean over {batches} batches: expected at least 1")


@dataclass(frozen=True)
class Gradient:
    """The dense gradient (RigL)."""

    batches: int = 1
    """Batches that the gradient is a mean over, up to the update (rigl-torch)."""

    def __post_init__(self) -> None:
        _check_batches(self.batches)

    def needs(self, candidates: float | None) -> Needs:
        if candidates is None or self.batches > 1:
            return Needs(gradient=Extent.ALL)
        return Needs(candidates=candidates)

    def of(self, sources: Sources, memory: Any) -> tuple[Gradients, Any]:
        return _gradients(sources), None


@dataclass(frozen=True)
class GradientAverage:
    """The moving average of the dense gradient over the updates."""

    beta: float = 0.9
    """What the past weighs, in [0, 1)."""
    batches: int = 1
    """As of `Gradient`."""

    def __post_init__(self) -> None:
        _check_batches(self.batches)

    def needs(self, candidates: float | None) -> Needs:
        return Needs(gradient=Extent.ALL, every_position=True)

    def of(
        self, sources: Sources, memory: list[NDArray[np.float32]] | None
    ) -> tuple[Gradients, list[NDArray[np.float32]]]:
        gradients, beta = _gradients(sources), np.float32(self.beta)
        averages = [gradients.dense(layer) for layer in range(sources.layers)]
        if memory is not None:
            averages = [
                beta * past + (np.float32(1.0) - beta) * now
                for past, now in zip(memory, averages, strict=True)
            ]
        return DenseGradients(averages), averages


@dataclass(frozen=True)
class Momentum:
    """The momentum of a dense state (SNFS): the velocity, or AdamW's m / (sqrt(v) + eps)."""

    batches = 1

    def needs(self, candidates: float | None) -> Needs:
        return Needs(momentum=Extent.ALL)

    def of(self, sources: Sources, memory: Any) -> tuple[Gradients, Any]:
        if sources.momenta is None:
            raise ValueError("growth looks at momenta that its needs do not name")
        return sources.momenta, None


@dataclass(frozen=True)
class Paths:
    """How much the paths of length three over the weights that are left lead there (CHT)."""

    internal: bool = True
    """Whether links into the community count: CH2, otherwise CH3; see `paths`."""

    batches = 1

    def needs(self, candidates: float | None) -> Needs:
        return Needs(paths=True)

    def of(self, sources: Sources, memory: Any) -> tuple[Gradients, Any]:
        scores = [path_scores(layer, own, internal=self.internal) for layer, own in sources.left]
        return DenseGradients(scores), None


# Rules -------------------------------------------------------------------------------------------


class GrowRule(Protocol):
    """Chooses free positions of one layer."""

    @property
    def ranked(self) -> "Largest | None":
        """The part that ranks positions, and says what is looked at; None if all is random."""

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        """`count` positions that are not taken, ascending; candidates: of what ranks, or None."""


@dataclass(frozen=True)
class AtRandom:
    """Uniformly at random (SET)."""

    never_active: float = 0.0
    """Fraction of them that goes to positions that have never been active, in [0, 1] (ITOP's
    random_unfired is 1). Where there are fewer such positions, all of them."""

    ranked = None

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        if count == 0:
            return no_positions()
        if self.never_active == 0.0:
            return random_free_positions(layer.size, taken, count, rng)
        return grow_fresh_at_random(layer.size, taken, layer.fired, count, self.never_active, rng)


@dataclass(frozen=True)
class Largest:
    """Where the score is largest in size (RigL); of equal ones the lowest position."""

    score: GrowScore = Gradient()
    candidates_per_weight: float | None = None
    """A random subset of the free positions is looked at, so many times the layer's active weights,
    > 0 (GSE's gamma); None: all of them."""
    never_active_first: bool = False
    """Positions that have never been active come before all others (after ITOP)."""

    @property
    def needs(self) -> Needs:
        """What it looks at."""
        return self.score.needs(self.candidates_per_weight)

    @property
    def ranked(self) -> "Largest":
        return self

    def fired(self, layer: LayerView) -> Positions | None:
        """The positions that come last, None if there is no such order."""
        return layer.fired if self.never_active_first else None

    def candidates(
        self, layer: LayerView, taken: Positions, least: int, rng: np.random.Generator
    ) -> Positions | None:
        """A random subset of the free positions, at least so many, that scores are looked at of.

        None if they are looked at of all.
        """
        if self.candidates_per_weight is None:
            return None
        free = layer.size - len(taken)
        asked = round(self.candidates_per_weight * len(layer.active))
        return random_free_positions(layer.size, taken, min(free, max(asked, least)), rng)

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        if count == 0:
            return no_positions()
        scores, fired = _given(scores), self.fired(layer)
        if candidates is None:
            return scores.largest(layer.number, count, taken, fired)
        sizes = np.abs(scores.at(layer.number, candidates))
        old = None if fired is None else np.flatnonzero(among(candidates, fired))
        return candidates[largest_free(sizes, no_positions(), count, old)]


@dataclass(frozen=True)
class Sampled:
    """Drawn one after the other in proportion to a power of the score's size (CHTs).

    A score below a millionth of the largest is none. Where too few positions have one the others
    follow at random.
    """

    largest: Largest = Largest()
    """What ranks them, and among which they are drawn."""
    power: float = 1.0
    """> 0: the larger, the closer to the largest only."""

    def __post_init__(self) -> None:
        if not self.power > 0.0:
            raise BadInput(f"growth by a score to the power {self.power:g}: expected more than 0")

    @property
    def ranked(self) -> Largest:
        return self.largest

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        scores = _given(scores)
        if candidates is None:
            sizes = np.abs(scores.dense(layer.number))
        else:
            sizes = np.zeros(layer.size, dtype=np.float32)
            sizes[candidates] = np.abs(scores.at(layer.number, candidates))
        sizes[taken] = 0.0
        # The first of exponential clocks with such rates: drawing in proportion, without return.
        clocks = rng.standard_exponential(layer.size, dtype=np.float32)
        scored = np.flatnonzero(sizes > np.float32(1e-6) * sizes.max(initial=0.0))
        # In double precision, in which the logarithms of all machines agree but for ties.
        own, clock = (each[scored].astype(np.float64) for each in (sizes, clocks))
        race = self.power * np.log(own) - np.log(np.maximum(clock, 1e-12))
        fired = self.largest.fired(layer)
        old = None if fired is None else np.flatnonzero(among(scored, fired))
        most = min(count, len(scored))
        chosen = scored[largest_free(race, no_positions(), most, old)]
        barred = union(taken, chosen)
        return union(chosen, random_free_positions(layer.size, barred, count - most, rng))


@dataclass(frozen=True)
class EvenFanIn:
    """The largest of every neuron, so many that fan-ins become even, those of 0 left out (SRigL).

    The lowest fan-ins are raised first, of equal ones the first neurons'. Neurons without a weight
    grow only what the others have no room for. Positions that may not be grown count as weights.
    """

    largest: Largest = Largest()
    """What ranks a neuron's positions; it looks at all of them."""

    def __post_init__(self) -> None:
        if self.largest.candidates_per_weight is not None:
            raise BadInput("an even fan-in looks at all positions: found a subset of candidates")

    @property
    def ranked(self) -> Largest:
        return self.largest

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        scores = _given(scores)
        if count == 0:
            return no_positions()
        fan_in, fired = layer.layer.fan_in, self.largest.fired(layer)
        own = np.bincount(taken // fan_in, minlength=layer.layer.neurons)
        share = evened(own, fan_in, count)
        growing = np.flatnonzero(share)
        sizes = np.abs(scores.dense(layer.number)).reshape(-1, fan_in)[growing]
        share = share[growing]
        row_of = np.full(layer.layer.neurons, -1)
        row_of[growing] = np.arange(len(growing))
        first = np.zeros(sizes.shape, dtype=np.bool_)
        _bar(sizes, row_of, taken, fan_in)
        if fired is not None:
            fresh = sizes.copy()
            _bar(fresh, row_of, fired, fan_in)
            room = np.count_nonzero(fresh > -np.inf, axis=1)
            first = keep_largest_of_rows(fresh, np.minimum(share, room))
            sizes[first] = -np.inf
        rest = keep_largest_of_rows(sizes, share - first.sum(axis=1))
        rows, columns = np.nonzero(first | rest)
        return growing[rows] * fan_in + columns


def _bar(
    sizes: NDArray[np.float32], row_of: NDArray[np.int64], positions: Positions, fan_in: int
) -> None:
    """-inf at positions of the neurons that have a row."""
    rows = row_of[positions // fan_in]
    there = rows >= 0
    sizes[rows[there], positions[there] % fan_in] = -np.inf


def evened(own: NDArray[np.int64], most: int, count: int) -> NDArray[np.int64]:
    """How `count` weights are shared by neurons that have so many each and room for `most`.

    See `EvenFanIn`.
    """
    alive = own > 0
    room = np.where(alive, most - own, 0)
    rest = count - int(room.sum())
    if rest >= 0:
        fresh = ~alive
        room[fresh] += evened_to(own[fresh], most, rest)
        return room
    share = np.zeros_like(own)
    share[alive] = evened_to(own[alive], most, count)
    return share


def evened_to(own: NDArray[np.int64], most: int, count: int) -> NDArray[np.int64]:
    """The same among all of the neurons, which have room for that many."""
    low, high = 0, most
    while low < high:
        level = (low + high + 1) // 2
        if np.maximum(level - own, 0).sum() <= count:
            low = level
        else:
            high = level - 1
    share: NDArray[np.int64] = np.maximum(low - own, 0)
    lowest = np.flatnonzero((own + share == low) & (own < most))
    share[lowest[: count - int(share.sum())]] += 1
    return share


@dataclass(frozen=True)
class Mixed:
    """The largest first, then some at random: what lies between SET and RigL."""

    random: float
    """Fraction of the grown weights that is random, in (0, 1); the number is rounded down."""
    largest: Largest = Largest()
    at_random: AtRandom = AtRandom()

    def __post_init__(self) -> None:
        if not 0.0 < self.random < 1.0:
            raise BadInput(
                f"growing a fraction of {self.random:g} at random: expected between 0 and 1"
            )

    @property
    def ranked(self) -> Largest:
        return self.largest

    def grow(
        self,
        layer: LayerView,
        taken: Positions,
        count: int,
        scores: Gradients | None,
        candidates: Positions | None,
        rng: np.random.Generator,
    ) -> Positions:
        random = rounded(self.random, count, Rounding.FLOOR)
        best = self.largest.grow(layer, taken, count - random, scores, candidates, rng)
        if random == 0:
            return best
        drawn = self.at_random.grow(layer, union(taken, best), random, None, None, rng)
        return union(best, drawn)


def grow_fresh_at_random(
    size: int,
    taken: Positions,
    fired: Positions,
    count: int,
    bias: float,
    rng: np.random.Generator,
) -> Positions:
    """Random growth of which a fraction `bias` goes to positions that were never active, ascending.

    With bias 1 this is ITOP's random_unfired. Where fewer such positions are left, all of them
    are taken and the rest is drawn from the others.
    """
    fresh_count = rounded(bias, count, Rounding.NEAREST)
    chosen = no_positions()
    if fresh_count:
        barred = merged(taken, fired)
        fresh_count = min(fresh_count, size - len(barred))
        chosen = random_free_positions(size, barred, fresh_count, rng)
    rest = random_free_positions(size, union(taken, chosen), count - len(chosen), rng)
    return union(chosen, rest)
