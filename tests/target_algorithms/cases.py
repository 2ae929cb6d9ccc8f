"""What several tests share: default configurations, a small split, engines that watch."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from target_algorithms.engine import LayerChange, Segment
from target_algorithms.instances import Split
from target_algorithms.masked import MaskedEngine
from target_algorithms.topology import Positions, Topology
from target_algorithms.training import Outcome, Recipe, train

SGD: dict[str, str | int | float] = {
    "optimizer": "sgd",
    "learning_rate_sgd": 0.1,
    "momentum": 0.9,
    "momentum_kind": "nesterov",
    "learning_rate_schedule": "cosine",
    "weight_decay": 0.0005,
    "batch_size": 64,
    "activation": "relu",
    "init_scaling": "layer",
    "width_factor": 1.0,
}
OWN: dict[str, dict[str, str | int | float]] = {
    "set": {
        "drop_fraction": 0.3,
        "drop_schedule": "cosine",
        "grown_init": "zero",
        "update_interval_epochs": 1,
        "update_end": 0.75,
    },
    "rigl": {
        "layer_density_power": 1.0,
        "drop_fraction": 0.3,
        "update_interval_steps": 100,
        "update_end": 0.75,
    },
    "static": {"layer_density_power": 1.0},
    "dense": {},
    "meta": {
        "layer_density_power": 1.0,
        "drop_rule": "magnitude",
        "drop_fraction": 0.3,
        "drop_schedule": "cosine",
        "grow": "score",
        "grow_score": "gradient",
        "grown_init": "zero",
        "regrown_value": "keep",
        "update_unit": "steps",
        "update_interval_steps": 100,
        "update_end": 0.75,
        "update_mode": "replace_step",
    },
}


def request(variant: str, **changes: object) -> dict[str, object]:
    """A short trial of a variant at its defaults on digits."""
    options: dict[str, object] = {"training_samples": 1500, "hidden": [24, 16]}
    if variant != "dense":
        options["active_weights"] = 300
    return {
        "variant": variant,
        "options": options,
        "instance": "sklearn/digits/0/3",
        "seed": 17,
        "config": {**SGD, **OWN.get(variant, {})},
        **changes,
    }


def toy_split(rows: int = 90, inputs: int = 7, classes: int = 3) -> Split:
    """Gaussian clusters, the same ones on every call."""
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


class WatchedEngine(MaskedEngine):
    """A masked engine that notes what it is asked and how updates change it."""

    watched: "list[WatchedEngine]" = []

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]
        self.calls: list[str] = []
        self.rows: list[NDArray[np.int64]] = []
        self.asked: list[str] = []
        self.changes: list[
            tuple[Sequence[LayerChange], list[NDArray[np.float32]], list[NDArray[np.float32]]]
        ] = []
        WatchedEngine.watched.append(self)

    def train(self, segment: Segment) -> None:
        self.calls.append("1" * len(segment.sizes))
        self.asked.append("1")
        self.rows.append(segment.rows)
        super().train(segment)

    def dense_gradients(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        self.calls.append("g")
        self.asked.append("g")
        self.rows.append(rows)
        return super().dense_gradients(rows)

    def apply(self, changes: Sequence[LayerChange]) -> None:
        self.calls.append("u")
        before = [values.copy() for values in self.buffers()]
        super().apply(changes)
        self.changes.append((changes, before, [values.copy() for values in self.buffers()]))

    def buffers(self) -> list[NDArray[np.float32]]:
        """Weights and the optimiser's state, flat."""
        return [self._weights, *self._weight_state]

    def start(self, layer: int) -> int:
        """Where the layer begins in the buffers."""
        return self._starts[layer]


def toy_run(
    topology: Topology,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    active_weights: int | None = 60,
    training_samples: int = 1000,
    hidden: Sequence[int] = (12, 8),
) -> tuple[Outcome, list[list[Positions]], WatchedEngine]:
    """Trains on the toy split; also returns the active positions after every update."""
    seen: list[list[Positions]] = []
    WatchedEngine.watched.clear()
    outcome = train(
        WatchedEngine,
        recipe or Recipe(batch_size=16),
        topology,
        toy_split(),
        active_weights=active_weights,
        training_samples=training_samples,
        hidden=hidden,
        seed=seed,
        on_update=lambda active: seen.append([positions.copy() for positions in active]),
    )
    return outcome, seen, WatchedEngine.watched[-1]


def same(first: Outcome, second: Outcome) -> bool:
    """Are the trained networks equal, bit for bit?"""
    pairs = [
        *zip(first.active, second.active, strict=True),
        *zip(first.weights, second.weights, strict=True),
        *zip(first.biases, second.biases, strict=True),
    ]
    return len(pairs) > 0 and all(np.array_equal(one, other) for one, other in pairs)
