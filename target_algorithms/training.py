"""The one training loop: batches, learning rate, updates of the topology, and what came out.

All randomness comes from the seed through separate named streams, so that masks, weights, batches
and growth do not depend on how much another part draws, or on the engine.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from target_algorithms.engine import Diverged, Engine, LayerChange, Segment
from target_algorithms.instances import Split
from target_algorithms.ledger import Ledger, inference_flops
from target_algorithms.networks import Network, dead_neurons, initial_weights, scaled_widths
from target_algorithms.topology import (
    Positions,
    Topology,
    drop_fraction_at,
    layer_counts,
    random_positions,
    update_due,
    update_layer,
)

STREAMS = ("masks", "weights", "batches", "growth", "grown_values")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser and network, the parameters that all variants share (training.pcs)."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW with betas .9 and .999."""

    learning_rate_sgd: float | None = 0.1
    """Initial learning rate of sgd, > 0."""

    momentum: float | None = 0.9
    """Momentum of sgd, in [0, 1)."""

    momentum_kind: Literal["heavy_ball", "nesterov"] | None = "nesterov"
    """Form of sgd's momentum."""

    learning_rate_adamw: float | None = None
    """Initial learning rate of adamw, > 0."""

    learning_rate_schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls, to 0, over the budget of samples."""

    weight_decay: float = 0.0005
    """Decay of weights, never of biases, >= 0: added to the gradient for sgd, decoupled and
    multiplied by the learning rate for adamw."""

    batch_size: int = 64
    """Rows of a batch, >= 1; the last of an epoch and of the budget may be smaller."""

    activation: Literal["relu", "leaky_relu", "all_relu", "gelu"] = "relu"
    """Activation of the hidden layers."""

    init_scaling: Literal["none", "layer"] = "layer"
    """Is the variance of the initial weights divided by the layer's density?"""

    width_factor: float = 1.0
    """Multiplies every hidden width, > 0; the budget of active weights stays."""

    @property
    def learning_rate(self) -> float:
        """The initial learning rate of the optimiser in use."""
        rate = self.learning_rate_adamw if self.optimizer == "adamw" else self.learning_rate_sgd
        assert rate is not None
        return rate


@dataclass(frozen=True)
class Outcome:
    """What a training run produced and what it spent."""

    judged: NDArray[np.int64] | None
    """Classes predicted for the judging rows by the last iterate; None if training diverged."""
    active: tuple[Positions, ...]
    """Active positions of every layer at the end."""
    weights: tuple[NDArray[np.float32], ...]
    """Their values."""
    biases: tuple[NDArray[np.float32], ...]
    active_weights: int
    """Largest number of active weights during the run."""
    total_weights: int
    """Number of weights of the dense network."""
    training_flops: float
    inference_flops: float
    """A sample."""
    samples: int
    """Training rows consumed, those of update batches included."""
    steps: int
    """Optimiser steps."""
    updates: int
    """Updates of the topology."""
    explored: float
    """Share of all positions that have ever been active."""
    dead_neurons: int
    engine: str


class EngineFactory(Protocol):
    """Builds an engine; `masked.MaskedEngine` documents the arguments."""

    def __call__(
        self,
        network: Network,
        *,
        optimizer: str,
        momentum: float,
        weight_decay: float,
        active: Sequence[Positions],
        values: Sequence[NDArray[np.float32]],
        budget: int,
        train_x: NDArray[np.float32],
        train_y: NDArray[np.int64],
    ) -> Engine: ...


def train(
    engine_factory: EngineFactory,
    recipe: Recipe,
    topology: Topology,
    split: Split,
    *,
    active_weights: int | None,
    training_samples: int,
    hidden: Sequence[int],
    seed: int,
    on_update: Callable[[Sequence[Positions]], None] | None = None,
) -> Outcome:
    """Trains a multi-layer perceptron with at most `active_weights` active weights.

    active_weights: the budget, None for a dense network; training_samples: rows to consume,
    exactly; hidden: widths of the hidden layers before `width_factor`; seed: >= 0; on_update: is
    shown the active positions of all layers at the start and after every update.

    Raises BadInput for a budget below one weight a layer. Divergence is an outcome, not an error.
    """
    streams = random_streams(seed)
    network = Network(
        (split.train_x.shape[1], *scaled_widths(hidden, recipe.width_factor), split.n_classes),
        recipe.activation,
    )
    total = sum(network.sizes)
    if topology.kind == "dense":
        counts = network.sizes
    else:
        assert active_weights is not None
        counts = layer_counts(network.shapes, active_weights, topology.layer_density_power)
    active = [
        random_positions(size, count, streams["masks"])
        for size, count in zip(network.sizes, counts, strict=True)
    ]
    used = sum(counts)
    engine = engine_factory(
        network,
        optimizer="adamw" if recipe.optimizer == "adamw" else f"sgd_{recipe.momentum_kind}",
        momentum=recipe.momentum or 0.0,
        weight_decay=recipe.weight_decay,
        active=active,
        values=initial_weights(network, active, recipe.init_scaling, streams["weights"]),
        budget=used,
        train_x=split.train_x,
        train_y=split.train_y,
    )
    run = _Run(
        engine,
        recipe,
        topology,
        network,
        active,
        streams,
        training_samples,
        on_update or (lambda _: None),
    )
    try:
        run.consume(len(split.train_y))
        judged = engine.predict(split.judge_x)
        weights = tuple(engine.weights(layer) for layer in range(len(active)))
        biases = tuple(engine.biases(layer) for layer in range(len(active)))
        if not all(np.isfinite(values).all() for values in (*weights, *biases)):
            raise Diverged
    except Diverged:
        judged, weights, biases = None, (), ()
    return Outcome(
        judged=judged,
        active=tuple(run.active),
        weights=weights,
        biases=biases,
        active_weights=used,
        total_weights=total,
        training_flops=run.ledger.total,
        inference_flops=inference_flops(used),
        samples=run.samples,
        steps=run.steps,
        updates=run.updates,
        explored=sum(int(fired.sum()) for fired in run.fired) / total,
        dead_neurons=dead_neurons(network, run.active),
        engine=engine.name,
    )


def random_streams(seed: int) -> dict[str, np.random.Generator]:
    """One independent generator for each of `STREAMS`."""
    return {
        name: np.random.default_rng(np.random.SeedSequence([seed, number]))
        for number, name in enumerate(STREAMS)
    }


def batches(
    rows: int, batch_size: int, training_samples: int, rng: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.int64], bool]]:
    """Yields (epoch from 0, rows of the batch, is it the epoch's last) up to the budget.

    An epoch is a new permutation of all rows; its last batch and that of the budget may be
    smaller, so that exactly `training_samples` rows are handed out.
    """
    left = training_samples
    epoch = 0
    while left > 0:
        order = rng.permutation(rows)[:left]
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield epoch, batch, start + len(batch) == rows
        left -= len(order)
        epoch += 1


def learning_rate_at(schedule: str, initial: float, progress: float) -> float:
    """The learning rate when `progress` in [0, 1] of the budget of samples is consumed."""
    if schedule == "constant":
        return initial
    if schedule == "linear":
        return initial * (1.0 - progress)
    assert schedule == "cosine", schedule
    return initial / 2.0 * (1.0 + math.cos(math.pi * progress))


class _Run:
    """The state of a training run outside the engine."""

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        topology: Topology,
        network: Network,
        active: Sequence[Positions],
        streams: Mapping[str, np.random.Generator],
        training_samples: int,
        on_update: Callable[[Sequence[Positions]], None],
    ) -> None:
        self.engine = engine
        self.recipe = recipe
        self.topology = topology
        self.network = network
        self.active = list(active)
        self.streams = streams
        self.budget = training_samples
        self.on_update = on_update
        self.ledger = Ledger(sum(network.sizes))
        self.used = sum(len(positions) for positions in active)
        self.fired = [np.zeros(size, dtype=np.bool_) for size in network.sizes]
        self.samples = self.steps = self.epochs = self.updates = 0
        # RigL may update before the first step, SET not before the first epoch is over.
        self.last_update = 0 if topology.update_unit == "epochs" else None
        self.pending: list[tuple[NDArray[np.int64], float]] = []
        self._remember()

    def consume(self, rows: int) -> None:
        """Spends the whole budget on batches of a training part with so many rows."""
        topology = self.topology
        replace = topology.update_mode == "replace_step"
        for epoch, batch, last in batches(
            rows, self.recipe.batch_size, self.budget, self.streams["batches"]
        ):
            self.epochs = epoch
            if replace and self._due(self.steps, epoch, len(batch)):
                self._flush()
                self.ledger.charge_dense_gradient(self.used, len(batch))
                progress = self.samples / self.budget
                self.samples += len(batch)
                self._update(self.engine.dense_gradients(batch), progress)
                continue
            rate = learning_rate_at(
                self.recipe.learning_rate_schedule,
                self.recipe.learning_rate,
                self.samples / self.budget,
            )
            due = not replace and self._due(self.steps + 1, epoch + last, len(batch))
            gradients: Iterator[NDArray[np.float32]] | None = None
            if due and topology.needs_gradient:
                self._flush()
                # The gradient of this step: taken before it, used after it.
                gradients = iter([g.copy() for g in self.engine.dense_gradients(batch)])
                self.ledger.charge_dense_gradient(self.used, len(batch))
            else:
                self.ledger.charge_step(self.used, len(batch))
            self.pending.append((batch, rate))
            self.samples += len(batch)
            self.steps += 1
            if due:
                self.epochs = epoch + last
                self._flush()
                self._update(gradients, self.samples / self.budget)
            elif last:
                self._flush()
        self._flush()

    def _due(self, steps: int, epochs: int, batch: int) -> bool:
        """Is an update due at these counts, while spending a batch of so many rows?

        Never at the end of the budget: no step would train what it grows.
        """
        topology = self.topology
        if topology.kind != "dynamic" or self.samples + batch >= self.budget:
            return False
        after = batch if topology.update_mode == "after_step" else 0
        return update_due(
            epochs if topology.update_unit == "epochs" else steps,
            self.last_update,
            topology.update_interval,
            now=(self.samples + after) / self.budget,
            begin=0.0,
            end=topology.update_end,
        )

    def _flush(self) -> None:
        if not self.pending:
            return
        rows, rates = zip(*self.pending, strict=True)
        self.pending.clear()
        self.engine.train(Segment(np.concatenate(rows), [len(r) for r in rows], rates))

    def _update(self, gradients: Iterator[NDArray[np.float32]] | None, progress: float) -> None:
        topology = self.topology
        fraction = drop_fraction_at(
            topology.drop_schedule, topology.drop_fraction, progress / topology.update_end
        )
        changes = []
        for layer, size in enumerate(self.network.sizes):
            chosen = update_layer(
                topology,
                size=size,
                active=self.active[layer],
                weights=self.engine.weights(layer),
                fraction=fraction,
                gradient=None if gradients is None else next(gradients),
                fired=self.fired[layer],
                rng=self.streams["growth"],
            )
            values = np.zeros(len(chosen.new), dtype=np.float32)
            if topology.grown_scale > 0.0:
                draws = self.streams["grown_values"].standard_normal(len(values), dtype=np.float32)
                values = draws * np.float32(topology.grown_scale)
            changes.append(LayerChange(chosen.active, chosen.dropped, chosen.new, values))
            self.active[layer] = chosen.active
        self.engine.apply(changes)
        self._remember()
        self.updates += 1
        self.last_update = self.epochs if topology.update_unit == "epochs" else self.steps

    def _remember(self) -> None:
        for fired, positions in zip(self.fired, self.active, strict=True):
            fired[positions] = True
        self.on_update(self.active)
