"""What several tests share: layers by hand, algorithms put together, runs, drawn configurations."""

import enum
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.instances import Split
from sparse_training.engines.interface import (
    AdamW,
    DenseGradients,
    EngineFactory,
    Gradients,
    LayerChange,
    Segment,
    Setup,
)
from sparse_training.engines.masked import MaskedEngine
from sparse_training.engines.sparse import SparseEngine
from sparse_training.loop.budget import Budget
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.training import Outcome, train
from sparse_training.networks.network import Layer, Network
from sparse_training.positions import Positions, Shape
from sparse_training.rules.amount import Fraction
from sparse_training.rules.drop import SignThresholds, Smallest
from sparse_training.rules.first_mask import AllWeights, RandomMask
from sparse_training.rules.grow import AtRandom, Largest, Momentum, Sources
from sparse_training.rules.new_weights import NewWeights, Normal, State
from sparse_training.rules.redistribution import InProportion, MeanMomentum
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.update import LayerUpdate, Memory, update
from sparse_training.rules.view import LayerView, View
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant
from target_algorithms.trial import configured
from tests.examples import COMBINATION
from wrappers.space import Space, variant_space

# Layers by hand ----------------------------------------------------------------------------------


def positions_of(positions: Sequence[int]) -> Positions:
    """Ascending positions as rules take them."""
    return np.array(sorted(positions), dtype=np.int64)


def scores_of(layers: Sequence[Sequence[float]]) -> DenseGradients:
    """One value for every position of every layer."""
    return DenseGradients([np.array(layer, dtype=np.float32) for layer in layers])


def layer_of(
    weights: Mapping[int, float],
    shape: Shape,
    *,
    number: int = 0,
    gradients: Gradients | None = None,
    momenta: Sequence[float] | None = None,
    fired: Sequence[int] | None = None,
    new: Sequence[int] = (),
    movable: bool = True,
) -> LayerView:
    """A layer from {position: weight}; momenta: of the active weights; fired: these if left out."""
    active = positions_of(list(weights))
    return LayerView(
        number=number,
        layer=Layer(shape),
        active=active,
        weights=np.array([weights[p] for p in active.tolist()], dtype=np.float32),
        ever_active=lambda: active if fired is None else positions_of(fired),
        new=positions_of(new),
        movable=np.full(len(active), movable),
        gradients=gradients,
        momenta=None if momenta is None else np.array(momenta, dtype=np.float32),
    )


def view_of(
    layers: Sequence[Mapping[int, float]],
    shapes: Sequence[Shape],
    *,
    gradients: Sequence[Sequence[float]] | None = None,
    momenta: Sequence[Sequence[float]] | None = None,
    fired: Sequence[Sequence[int]] | None = None,
    last_layer: bool = True,
) -> View:
    """Layers from {position: weight}; gradients: of every position, momenta: of active ones.

    last_layer: whether the weights of the last layer may move.
    """
    scores = None if gradients is None else scores_of(gradients)
    return View(
        [
            layer_of(
                weights,
                shape,
                number=number,
                gradients=scores,
                momenta=None if momenta is None else momenta[number],
                fired=None if fired is None else fired[number],
                movable=last_layer or number < len(layers) - 1,
            )
            for number, (weights, shape) in enumerate(zip(layers, shapes, strict=True))
        ]
    )


def one_layer(weights: Sequence[float], gradient: Sequence[float] | None = None) -> View:
    """A layer whose positions are all active."""
    return view_of(
        [dict(enumerate(weights))],
        [(1, len(weights))],
        gradients=None if gradient is None else [gradient],
    )


def updated(
    rules: Updates,
    view: View,
    fraction: float = 0.5,
    *,
    target: int | None = None,
    memory: Memory | None = None,
    seed: int = 0,
) -> list[LayerUpdate]:
    """What an update does; growth ranks by the gradients of the view.

    target: as many weights as there are if left out.
    """
    gradients = view.layers[0].gradients
    changes, _ = update(
        rules,
        view,
        Sources(len(view.layers), gradients, gradients),
        fraction=fraction,
        target=view.count if target is None else target,
        memory=memory or Memory(),
        rng=np.random.default_rng(seed),
    )
    return changes


def active_of(changes: Sequence[LayerUpdate]) -> list[list[int]]:
    """The active positions of every layer after an update."""
    return [change.active.tolist() for change in changes]


# Algorithms put together -------------------------------------------------------------------------

STATIC = Topology(first_mask=RandomMask())
DENSE = Topology(first_mask=AllWeights())

IN_PLACE_OF_STEPS = Evenly(count=5, place=Place.INSTEAD_OF_A_STEP, at_start=True, end=0.75)
BY_GRADIENT = Updates(when=IN_PLACE_OF_STEPS, amount=Fraction(0.3), drop=Smallest(), grow=Largest())
RIGL = Topology(first_mask=RandomMask(), updates=BY_GRADIENT)
"""The smallest go, the largest gradients come, in place of a step."""

AFTER_STEPS = Evenly(count=15)
SET = Topology(
    first_mask=RandomMask(),
    updates=Updates(
        when=AFTER_STEPS,
        amount=Fraction(0.3, Constant()),
        drop=SignThresholds(),
        grow=AtRandom(),
        new_weights=NewWeights(value=Normal(0.1), regrown_keep=False),
    ),
)
"""SET as in 2018: a constant fraction of either sign goes after every epoch, as many come at
random."""

SNFS = Topology(
    first_mask=RandomMask(),
    updates=Updates(
        when=AFTER_STEPS,
        amount=Fraction(0.5, final=0.005),
        drop=Smallest(),
        grow=Largest(Momentum()),
        redistribution=InProportion(MeanMomentum(), excess_evenly=True),
        new_weights=NewWeights(state=State.KEPT, regrown_keep=False),
        dense_state=True,
    ),
)
"""A dense momentum says where, and in which layer, weights are grown."""


def with_updates(topology: Topology, **changes: Any) -> Topology:
    """The same with other rules of its updates."""
    assert topology.updates is not None
    return replace(topology, updates=replace(topology.updates, **changes))


# A small split, and training on it ---------------------------------------------------------------

ENGINES: dict[str, type[MaskedEngine] | type[SparseEngine]] = {
    "masked": MaskedEngine,
    "sparse": SparseEngine,
}


def toy_split(rows: int = 90, inputs: int = 7, classes: int = 3) -> Split:
    """Gaussian clusters, the same ones on every call; the last 30 rows evaluate."""
    rng = np.random.default_rng(5)
    labels = np.arange(rows) % classes
    centres = rng.standard_normal((classes, inputs))
    values = (centres[labels] + rng.standard_normal((rows, inputs))).astype(np.float32)
    train_rows, eval_rows = np.arange(0, rows - 30), np.arange(rows - 30, rows)
    return Split(
        train_x=values[train_rows],
        train_y=labels[train_rows].astype(np.int64),
        eval_x=values[eval_rows],
        eval_y=labels[eval_rows].astype(np.int64),
        n_classes=classes,
        train_rows=train_rows,
        eval_rows=eval_rows,
    )


class Watched:
    """An engine that notes what it is asked, and how changes of the mask change it."""

    def __init__(self, engine: MaskedEngine | SparseEngine, setup: Setup) -> None:
        self.engine = engine
        self.name = engine.name
        self._sizes = setup.network.sizes
        self._active = list(setup.active)
        self.calls: list[str] = []
        """g a gradient, u a change of the mask, 1 a step; steps of a segment in one item."""
        self.rows: list[NDArray[np.int64]] = []
        """Of every segment and gradient."""
        self.asked: list[str] = []
        """What each of them was for: 1 or g."""
        self.taken: list[Gradients] = []
        """The gradients."""
        self.changes: list[
            tuple[Sequence[LayerChange], list[NDArray[np.float32]], list[NDArray[np.float32]]]
        ] = []
        """Of every change: what changed; weights and momenta before and after, flat and dense."""

    def train(self, segment: Segment) -> None:
        self.calls.append("1" * len(segment.sizes))
        self.asked.append("1")
        self.rows.append(segment.rows)
        self.engine.train(segment)

    def gradients(self, rows: NDArray[np.int64]) -> Gradients:
        self.calls.append("g")
        self.asked.append("g")
        self.rows.append(rows)
        self.taken.append(self.engine.gradients(rows))
        return self.taken[-1]

    def apply(self, changes: Sequence[LayerChange]) -> None:
        self.calls.append("u")
        before = self.buffers()
        self.engine.apply(changes)
        self._active = [change.active for change in changes]
        self.changes.append((changes, before, self.buffers()))

    def buffers(self) -> list[NDArray[np.float32]]:
        """Weights and momenta as flat dense arrays over all layers."""
        both = []
        for values in (self.engine.weights, self.engine.momenta):
            parts = []
            for layer, size in enumerate(self._sizes):
                dense = np.zeros(size, dtype=np.float32)
                dense[self._active[layer]] = values(layer)
                parts.append(dense)
            both.append(np.concatenate(parts))
        return both

    def start(self, layer: int) -> int:
        """Where the layer begins in the buffers."""
        return sum(self._sizes[:layer])

    @property
    def pattern(self) -> str:
        """All calls in order."""
        return "".join(self.calls)

    @property
    def looked_at(self) -> int:
        """Rows that gradients were taken of."""
        return sum(len(r) for call, r in zip(self.asked, self.rows, strict=True) if call == "g")

    # What is handed on ---------------------------------------------------------------------------

    def weights(self, layer: int) -> NDArray[np.float32]:
        return self.engine.weights(layer)

    def biases(self, layer: int) -> NDArray[np.float32]:
        return self.engine.biases(layer)

    def momenta(self, layer: int) -> NDArray[np.float32]:
        return self.engine.momenta(layer)

    def dense_momenta(self) -> Gradients:
        return self.engine.dense_momenta()

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.engine.logits(rows)


def toy_network(recipe: Recipe, hidden: Sequence[int] = (12, 8)) -> Network:
    """A perceptron for the toy split."""
    return recipe.perceptron(7, hidden, 3)


PLAIN = Recipe(batch_size=16)


def toy_run(
    topology: Topology,
    recipe: Recipe = PLAIN,
    *,
    engine: str = "masked",
    seed: int = 0,
    hidden: Sequence[int] = (12, 8),
    split: Split | None = None,
    **budget: Any,
) -> tuple[Outcome, list[list[Positions]], Watched]:
    """Trains on the toy split; also returns the active positions at the start and after changes.

    budget: as of `Budget`; 60 active weights and 1000 samples if left out.
    """
    seen: list[list[Positions]] = []
    made: list[Watched] = []

    def factory(setup: Setup) -> Watched:
        made.append(Watched(ENGINES[engine](setup), setup))
        return made[-1]

    granted: dict[str, Any] = {
        "active_weights": 60 if topology.first_mask.within_budget else None,
        **({} if "training_flops" in budget else {"training_samples": 1000}),
        **budget,
    }
    outcome = train(
        factory,
        recipe,
        topology,
        toy_network(recipe, hidden),
        split or toy_split(),
        budget=Budget(**granted),
        seed=seed,
        on_change=lambda active: seen.append([positions.copy() for positions in active]),
    )
    return outcome, seen, made[-1]


def same(first: Outcome, second: Outcome) -> bool:
    """Whether the trained networks are equal, bit for bit."""
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [
        *zip(first.active, second.active, strict=True),
        *zip(first.weights, second.weights, strict=True),
        *zip(first.biases, second.biases, strict=True),
    ]
    return len(pairs) > 0 and all(np.array_equal(one, other) for one, other in pairs)


def digest(outcome: Outcome) -> str:
    """Of masks, weights and biases."""
    arrays: list[NDArray[Any]] = [*outcome.active, *outcome.weights, *outcome.biases]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


# Agreement of the engines -------------------------------------------------------------------------

SPLIT = toy_split(rows=120, inputs=20, classes=4)
TOLERANCE = 2e-3


@dataclass(frozen=True)
class Case:
    """A run that both engines can make."""

    recipe: Recipe
    topology: Topology
    budget: Budget
    seed: int
    split: Split = SPLIT
    hidden: Sequence[int] = (16, 12)

    @property
    def network(self) -> Network:
        """What is trained."""
        split = self.split
        return self.recipe.perceptron(split.train_x.shape[1], self.hidden, split.n_classes)

    def trained(self, engine: EngineFactory) -> tuple[Outcome, list[list[Positions]]]:
        """What comes of it, and the mask at the start and after every change."""
        masks: list[list[Positions]] = []
        outcome = train(
            engine,
            self.recipe,
            self.topology,
            self.network,
            self.split,
            budget=self.budget,
            seed=self.seed,
            on_change=lambda active: masks.append([positions.copy() for positions in active]),
        )
        return outcome, masks


def assert_same(
    first: tuple[Outcome, list[list[Positions]]],
    second: tuple[Outcome, list[list[Positions]]],
    tolerance: float = TOLERANCE,
) -> None:
    """The same masks, numbers and predictions, and the same weights to rounding."""
    (one, masks), (other, again) = first, second
    assert (one.predicted is None) == (other.predicted is None)
    if one.predicted is None or other.predicted is None:
        return
    assert len(masks) == len(again)
    for change, (before, after) in enumerate(zip(masks, again, strict=True)):
        for layer, (a, b) in enumerate(zip(before, after, strict=True)):
            assert np.array_equal(a, b), f"change {change}, layer {layer}"
    ours, theirs = (*one.weights, *one.biases), (*other.weights, *other.biases)
    for values, same_values in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values, same_values, rtol=tolerance, atol=tolerance)
    for name in (
        *("active_weights", "final_weights", "training_flops", "samples", "steps", "updates"),
        *("explored", "dead_neurons", "disconnected", "inference_flops"),
    ):
        assert getattr(one, name) == getattr(other, name)
    assert (one.predicted != other.predicted).mean() <= 0.04  # a row or none, on the boundary


def assert_agreement(case: Case, tolerance: float = TOLERANCE) -> Outcome:
    """Both engines agree; returns what comes of it."""
    masked, sparse = case.trained(MaskedEngine), case.trained(SparseEngine)
    assert (masked[0].engine, sparse[0].engine) == ("masked", "sparse")
    assert_same(masked, sparse, tolerance)
    return masked[0]


# Configurations drawn from the space of the combination ------------------------------------------


@cache
def _space() -> Space:
    return variant_space(COMBINATION)


Wanted = Callable[[Topology, Recipe], bool]


def drawn(seed: int, wanted: Wanted = lambda topology, recipe: True) -> tuple[Topology, Recipe]:
    """The first random configuration of a seed that is wanted, fit for a run on toy data.

    Whatever the combination can compose can be drawn, so a rule that is added to it is tested by
    existing. Only sizes are changed: many updates that drop much, small batches, learning rates
    at which the last digits stay the last ones.
    """
    rng = random.Random(seed)
    while True:
        topology, recipe = configured(COMBINATION, _space().sample(rng))
        topology, recipe = _often(topology, rng), _gently(recipe, rng)
        if wanted(topology, recipe):
            return topology, recipe


@cache
def first_draws() -> list[tuple[Topology, Recipe]]:
    """Those of two thousand seeds, whatever they are."""
    return [drawn(seed) for seed in range(2000)]


def composable(wanted: Wanted) -> set[str]:
    """All `parts` of the wanted ones among the `first_draws`."""
    return set().union(
        *(
            parts(topology) | parts(recipe)
            for topology, recipe in first_draws()
            if wanted(topology, recipe)
        )
    )


def _often(topology: Topology, rng: random.Random) -> Topology:
    """With an update every few steps."""
    rules = topology.updates
    if rules is None:
        return topology
    neurons = rules.neurons
    if neurons is not None:
        neurons = replace(neurons, fraction=max(neurons.fraction, 0.2))
    return with_updates(
        topology,
        when=replace(rules.when, count=rng.randint(5, 20)),
        amount=replace(rules.amount, initial=rng.uniform(0.1, 0.6)),
        neurons=neurons,
    )


def _gently(recipe: Recipe, rng: random.Random) -> Recipe:
    rate = 0.002 if isinstance(recipe.optimizer.rule, AdamW) else 0.02
    power = recipe.learning_rate.density_power
    return replace(
        recipe,
        batch_size=rng.choice((10, 16, 37)),
        # What training makes of it is about the rate, at the densities of the toys.
        learning_rate=replace(recipe.learning_rate, initial=rate * 0.25**power),
    )


def parts(value: object) -> set[str]:
    """The classes and the choices, but no numbers, of which frozen objects are composed."""
    if isinstance(value, enum.Enum):
        return {str(value)}
    if not is_dataclass(value) or isinstance(value, type):
        return set()
    name = type(value).__name__
    made_of = {name}
    for field in fields(value):
        one = getattr(value, field.name)
        if one is None or isinstance(one, bool):
            made_of.add(f"{name}.{field.name} = {one}")
        made_of |= parts(one)
    return made_of
