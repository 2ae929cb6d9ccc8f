"""What several tests share: configurations, a small split, engines that watch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from target_algorithms.engine import Engine, Gradients, LayerChange, Segment, Setup
from target_algorithms.instances import Split
from target_algorithms.masked import MaskedEngine
from target_algorithms.networks import Network
from target_algorithms.settings import Recipe, Topology
from target_algorithms.sparse import SparseEngine
from target_algorithms.topology import Positions
from target_algorithms.training import Budget, Outcome, multi_layer_perceptron, train
from target_algorithms.trial import configured
from target_algorithms.variants import variants
from wrappers.space import variant_space

ENGINES: dict[str, type[MaskedEngine] | type[SparseEngine]] = {
    "masked": MaskedEngine,
    "sparse": SparseEngine,
}

PEAK = 600
"""What the requests below grant the variants that prune on their way."""


def config_of(variant: str, *, peak: bool = False, **changes: Any) -> dict[str, Any]:
    """The default configuration of a variant with some changes."""
    space = variant_space(variant)
    if not peak:
        space = space.fixed({"density_path": "constant"})
    return {**space.default, **changes}


def topology_at(variant: str, **changes: Any) -> Topology:
    """A variant's settings at its defaults with some changes."""
    topology, _ = configured(variant, config_of(variant, peak=True, **changes))
    return topology


def request(variant: str, **changes: Any) -> dict[str, Any]:
    """A short trial of a variant at its defaults on digits."""
    options: dict[str, Any] = {"training_samples": 1500, "hidden": [24, 16]}
    if variant != "dense":
        options["active_weights"] = 300
    if variant == "granet":
        options["peak_weights"] = PEAK
    return {
        "variant": variant,
        "options": options,
        "instance": "sklearn/digits/0/3",
        "seed": 17,
        "config": config_of(variant, peak=variant == "granet"),
        **changes,
    }


SPARSE_VARIANTS = tuple(name for name in variants() if name != "dense")


def toy_split(rows: int = 90, inputs: int = 7, classes: int = 3) -> Split:
    """Gaussian clusters, the same ones on every call; the last 30 rows judge."""
    rng = np.random.default_rng(5)
    labels = np.arange(rows) % classes
    centres = rng.standard_normal((classes, inputs))
    values = (centres[labels] + rng.standard_normal((rows, inputs))).astype(np.float32)
    train_rows, judge_rows = np.arange(0, rows - 30), np.arange(rows - 30, rows)
    return Split(
        train_x=values[train_rows],
        train_y=labels[train_rows].astype(np.int64),
        judge_x=values[judge_rows],
        judge_y=labels[judge_rows].astype(np.int64),
        n_classes=classes,
        train_rows=train_rows,
        judge_rows=judge_rows,
    )


class Watched:
    """An engine that notes what it is asked, and how updates change it."""

    def __init__(self, engine: Engine, network: Network) -> None:
        self.engine = engine
        self.name = engine.name
        self._network = network
        self.calls: list[str] = []
        """g a gradient, u an update, 1 a step; steps of a segment in one item."""
        self.rows: list[NDArray[np.int64]] = []
        """Of every segment and gradient."""
        self.asked: list[str] = []
        """What each of them was for: 1 or g."""
        self.changes: list[
            tuple[Sequence[LayerChange], list[NDArray[np.float32]], list[NDArray[np.float32]]]
        ] = []
        """Of every update: what changed; weights and momenta before and after, flat and dense."""

    def train(self, segment: Segment) -> None:
        self.calls.append("1" * len(segment.sizes))
        self.asked.append("1")
        self.rows.append(segment.rows)
        self.engine.train(segment)

    def gradients(self, rows: NDArray[np.int64]) -> Gradients:
        self.calls.append("g")
        self.asked.append("g")
        self.rows.append(rows)
        return self.engine.gradients(rows)

    def apply(self, changes: Sequence[LayerChange]) -> None:
        self.calls.append("u")
        before = self.buffers()
        self.engine.apply(changes)
        self.changes.append((changes, before, self.buffers()))

    def buffers(self) -> list[NDArray[np.float32]]:
        """Weights and momenta as flat dense arrays over all layers."""
        found = []
        for values in (self.engine.weights, self.engine.momenta):
            parts = []
            for layer, size in enumerate(self._network.sizes):
                dense = np.zeros(size, dtype=np.float32)
                dense[self.engine._active[layer]] = values(layer)  # type: ignore[attr-defined]
                parts.append(dense)
            found.append(np.concatenate(parts))
        return found

    def start(self, layer: int) -> int:
        """Where the layer begins in the buffers."""
        return sum(self._network.sizes[:layer])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def toy_network(recipe: Recipe, hidden: Sequence[int] = (12, 8)) -> Network:
    """A perceptron for the toy split."""
    return multi_layer_perceptron(recipe, 7, hidden, 3)


def toy_run(
    topology: Topology,
    recipe: Recipe | None = None,
    *,
    engine: str = "masked",
    seed: int = 0,
    hidden: Sequence[int] = (12, 8),
    split: Split | None = None,
    **budget: Any,
) -> tuple[Outcome, list[list[Positions]], Watched]:
    """Trains on the toy split; also returns the active positions at the start and after updates.

    budget: as of `Budget`; 60 active weights and 1000 samples if left out.
    """
    chosen = recipe or Recipe(batch_size=16)
    network = toy_network(chosen, hidden)
    seen: list[list[Positions]] = []
    made: list[Watched] = []

    def factory(setup: Setup) -> Engine:
        made.append(Watched(ENGINES[engine](setup), network))
        return made[-1]  # type: ignore[return-value]

    granted: Mapping[str, Any] = {
        "active_weights": None if topology.kind == "dense" else 60,
        **({} if "training_flops" in budget else {"training_samples": 1000}),
        **budget,
    }
    outcome = train(
        factory,
        chosen,
        topology,
        network,
        split or toy_split(),
        budget=Budget(**granted),
        seed=seed,
        on_update=lambda active: seen.append([positions.copy() for positions in active]),
    )
    return outcome, seen, made[-1]


def same(first: Outcome, second: Outcome) -> bool:
    """Are the trained networks equal, bit for bit?"""
    pairs = [
        *zip(first.active, second.active, strict=True),
        *zip(first.weights, second.weights, strict=True),
        *zip(first.biases, second.biases, strict=True),
    ]
    return len(pairs) > 0 and all(np.array_equal(one, other) for one, other in pairs)
