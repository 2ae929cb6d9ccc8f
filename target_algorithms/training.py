"""The one training loop: batches, learning rate, updates of the topology, and what came out.

All randomness comes from the seed through separate named streams, so that masks, weights, batches
and growth do not depend on how much another part draws, or on the engine.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from target_algorithms import saliency
from target_algorithms.engine import (
    DenseGradients,
    Diverged,
    Engine,
    EngineFactory,
    Gradients,
    LayerChange,
    Optimizer,
    Segment,
    Setup,
)
from target_algorithms.errors import BadInput
from target_algorithms.instances import Split
from target_algorithms.ledger import forward_flops, pass_flops
from target_algorithms.networks import (
    Network,
    dead_neurons,
    disconnected,
    initial_weights,
    perceptron_layers,
    scaled_widths,
    weight_scale,
)
from target_algorithms.settings import InitMask, Recipe, Topology
from target_algorithms.topology import (
    Positions,
    density_at,
    drop_fraction_at,
    keep_globally,
    layer_counts,
    merged,
    next_threshold,
    random_positions,
    update_due,
    without,
)
from target_algorithms.updates import Seen, Update, prune, prune_neurons, update

STREAMS = ("masks", "weights", "batches", "growth", "grown_values")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a scenario grants."""

    active_weights: int | None
    """Active weights at the end, and at any step unless `peak_weights` says otherwise; None for a
    dense network."""
    training_samples: int | None = None
    """Rows presented over the whole training, those of update batches included; or"""
    training_flops: float | None = None
    """the price of training by the `ledger`."""
    peak_weights: int | None = None
    """Active weights at any step; at least `active_weights`."""

    def __post_init__(self) -> None:
        assert (self.training_samples is None) != (self.training_flops is None)


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
    final_weights: int
    """Number of active weights at the end."""
    total_weights: int
    """Number of weights of the dense network."""
    training_flops: float
    inference_flops: float
    """A sample, of the network at the end."""
    samples: int
    """Training rows consumed, those of update batches included."""
    steps: int
    """Optimiser steps."""
    updates: int
    """Updates of the topology."""
    explored: float
    """Share of all positions that have ever been active."""
    dead_neurons: int
    """See `networks.dead_neurons`."""
    disconnected: tuple[int, int] | None
    """See `networks.disconnected`."""
    engine: str


def multi_layer_perceptron(
    recipe: Recipe, inputs: int, hidden: Sequence[int], classes: int
) -> Network:
    """The network of a recipe; hidden: nominal widths, before `width_factor` and `depth_change`."""
    deeper = [*hidden, *[hidden[-1]] * recipe.depth_change] if hidden else []
    kept = deeper[: max(1, len(hidden) + recipe.depth_change)]
    return Network(
        layers=perceptron_layers((inputs, *scaled_widths(kept, recipe.width_factor), classes)),
        **network_settings(recipe),
    )


def network_settings(recipe: Recipe) -> Mapping[str, Any]:
    """What a recipe says about any network, as keywords of `Network`."""
    return {
        "activation": recipe.activation,
        "all_relu_slope": recipe.all_relu_slope or 0.6,
        "norm": recipe.norm,
        "dropout": recipe.dropout,
        "label_smoothing": recipe.label_smoothing,
    }


def train(
    engine_factory: EngineFactory,
    recipe: Recipe,
    topology: Topology,
    network: Network,
    split: Split,
    *,
    budget: Budget,
    seed: int,
    device: str = "cpu",
    on_update: Callable[[Sequence[Positions]], None] | None = None,
) -> Outcome:
    """Trains a network within a budget and predicts the judging rows.

    seed: >= 0; on_update: is shown the active positions of all layers at the start and after
    every update. Raises BadInput for settings and budgets that cannot work. Divergence is an
    outcome, not an error.
    """
    check(topology)
    if not np.isfinite(split.train_x).all() or not np.isfinite(split.judge_x).all():
        raise BadInput("the data contain values that are not finite: expected numbers only")
    streams = random_streams(seed)
    setup = Setup(
        network=network,
        optimizer=Optimizer(
            kind=recipe.optimizer,
            momentum=recipe.momentum or 0.0,
            nesterov=recipe.momentum_kind == "nesterov",
            beta2=0.999 if recipe.beta2 is None else recipe.beta2,
            weight_decay=recipe.weight_decay,
            decay_kind=recipe.decay_kind or "coupled",
            decay_biases=recipe.decay_biases == "yes",
            gradient_correction=recipe.sparse_gradient_correction == "yes",
            dense_state=topology.kind == "dynamic" and topology.inactive_state == "dense",
        ),
        active=[np.arange(0, dtype=np.int64)] * len(network.layers),
        values=[np.zeros(0, dtype=np.float32)] * len(network.layers),
        budget=0,
        train_x=split.train_x,
        train_y=split.train_y,
        seed=seed,
        device=device,
    )
    run = _Run(recipe, topology, network, budget, streams, on_update or (lambda _: None))
    try:
        run.begin(engine_factory, setup)
        run.consume(len(split.train_y))
        judged = run.engine.logits(split.judge_x).argmax(axis=1)
        weights, biases = (
            tuple(run.finite(run.engine.weights)),
            tuple(run.finite(run.engine.biases)),
        )
    except Diverged:
        judged, weights, biases = None, (), ()
    return Outcome(
        judged=judged,
        active=tuple(run.active),
        weights=weights,
        biases=biases,
        active_weights=run.peak,
        final_weights=run.used,
        total_weights=sum(network.sizes),
        training_flops=run.flops,
        inference_flops=forward_flops(network, run.counts),
        samples=run.samples,
        steps=run.steps,
        updates=run.updates,
        explored=sum(len(fired) for fired in run.fired) / sum(network.sizes),
        dead_neurons=dead_neurons(network, run.active),
        disconnected=disconnected(network, run.active),
        engine=run.engine.name,
    )


def check(topology: Topology) -> None:
    """Raises BadInput for settings that contradict each other."""
    if topology.kind != "dynamic":
        return
    if not 0.0 <= topology.drop_fraction < 1.0:
        raise BadInput(
            f"drop_fraction = {topology.drop_fraction:g} would empty a layer: "
            "expected a share of at least 0 and below 1"
        )
    if topology.update_start >= topology.update_end:
        raise BadInput(
            f"update_start = {topology.update_start:g} is not before "
            f"update_end = {topology.update_end:g}"
        )
    ranked = topology.grow_random_share < 1.0
    if ranked and topology.grow_score == "momentum" and topology.inactive_state != "dense":
        raise BadInput("grow_score = momentum needs inactive_state = dense")
    global_drop = topology.drop_scope == "global" or topology.drop_rule == "threshold"
    if global_drop and topology.redistribution == "none":
        raise BadInput("dropping over all layers needs a redistribution: found none")
    if (
        topology.update_unit == "steps"
        and topology.gradient_accumulation > topology.update_interval
    ):
        raise BadInput(
            f"gradient_accumulation = {topology.gradient_accumulation} is longer than "
            f"update_interval = {topology.update_interval}"
        )


def random_streams(seed: int) -> dict[str, np.random.Generator]:
    """One independent generator for each of `STREAMS`."""
    return {
        name: np.random.default_rng(np.random.SeedSequence([seed, number]))
        for number, name in enumerate(STREAMS)
    }


def batches(
    rows: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.int64], bool]]:
    """Yields (epoch from 0, rows of the batch, is it the epoch's last) for ever.

    An epoch is a new permutation of all rows; its last batch may be smaller.
    """
    epoch = 0
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows, batch_size):
            batch = order[start : start + batch_size]
            yield epoch, batch, start + len(batch) == rows
        epoch += 1


def learning_rate_at(schedule: str, initial: float, progress: float, warmup: float = 0.0) -> float:
    """The learning rate when `progress` in [0, 1] of the budget is consumed.

    Over the first share `warmup` it rises linearly, the schedule follows over the rest.
    """
    if progress < warmup:
        return initial * progress / warmup
    after = (progress - warmup) / (1.0 - warmup)
    if schedule == "constant":
        return initial
    if schedule == "linear":
        return initial * (1.0 - after)
    if schedule == "step":
        return initial * (1.0 if after < 0.5 else 0.1 if after < 0.75 else 0.01)
    assert schedule == "cosine", schedule
    return initial / 2.0 * (1.0 + math.cos(math.pi * after))


class _Run:
    """The state of a training run outside the engine."""

    engine: Engine

    def __init__(
        self,
        recipe: Recipe,
        topology: Topology,
        network: Network,
        budget: Budget,
        streams: Mapping[str, np.random.Generator],
        on_update: Callable[[Sequence[Positions]], None],
    ) -> None:
        self.recipe = recipe
        self.topology = topology
        self.network = network
        self.budget = budget
        self.streams = streams
        self.on_update = on_update
        self.total = sum(network.sizes)
        self.flops = 0.0
        self.samples = self.steps = self.epochs = self.updates = self.peak = 0
        # RigL may update before the first step, SET not before the first epoch is over.
        self.last_update = None if topology.update_at_start == "yes" else 0
        self.threshold = topology.drop_threshold
        self.pending: list[tuple[NDArray[np.int64], float]] = []
        self.averages: list[NDArray[np.float32]] | None = None
        self.gradient_averages: list[NDArray[np.float32]] | None = None
        self.gathered: list[Gradients] = []

    # Counts --------------------------------------------------------------------------------------

    def _set_active(self, active: Sequence[Positions]) -> None:
        self.active = list(active)
        self.counts = [len(positions) for positions in active]
        self.used = sum(self.counts)
        self.peak = max(self.peak, self.used)
        sparse = forward_flops(self.network, self.counts)
        dense = forward_flops(self.network, self.network.sizes)
        topology = self.topology
        follows = topology.kind == "dynamic" and topology.inactive_state == "dense"
        step, looks = "all" if follows else "active", topology.update_gradient
        candidates = topology.grow_candidates if topology.grows_by_gradient else None
        # FLOPs a row of: a step; one whose gradient is accumulated; an update by itself, and one
        # that uses the gradient of a step.
        self.step_price = pass_flops(sparse, dense, gradient_of=step)
        self.dense_step_price = pass_flops(sparse, dense, gradient_of="all")
        self.update_price = self.shared_price = 0.0
        if topology.needs_gradient:
            self.update_price = pass_flops(sparse, dense, gradient_of=looks, candidates=candidates)
            both = "all" if "all" in (step, looks) else "active"
            self.shared_price = pass_flops(sparse, dense, gradient_of=both, candidates=candidates)
        self.on_update(self.active)

    def _target(self) -> int:
        """The number of active weights wanted now."""
        topology = self.topology
        density = density_at(
            topology.density_path,
            self.start / self.total,
            self.ceiling / self.total,
            self.progress / topology.path_end,
            topology.path_cycles,
        )
        return min(self.start, max(self.ceiling, round(density * self.total)))

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        if self.budget.training_samples is not None:
            return min(1.0, self.samples / self.budget.training_samples)
        assert self.budget.training_flops is not None
        return min(1.0, self.flops / self.budget.training_flops)

    def _affordable(self, wanted: int, price: float) -> int:
        """How many of the rows wanted the budget still pays; price: FLOPs a row."""
        if self.budget.training_samples is not None:
            left = self.budget.training_samples - self.samples
        else:
            assert self.budget.training_flops is not None
            # The difference of large sums: a row is not lost to rounding.
            left = math.floor((self.budget.training_flops - self.flops) / price + 1e-6)
        return max(0, min(wanted, left))

    def _spend(self, rows: int, price: float) -> None:
        self.samples += rows
        self.flops += rows * price

    # Begin ---------------------------------------------------------------------------------------

    def begin(self, engine_factory: EngineFactory, empty: Setup) -> None:
        """Chooses the first mask and the first weights and builds the engine."""
        topology, network, sizes = self.topology, self.network, self.network.sizes
        if topology.kind == "dense":
            self.ceiling = self.start = self.total
        else:
            assert self.budget.active_weights is not None
            self.ceiling = min(self.budget.active_weights, self.total)
            self.start = self.ceiling
            if topology.kind == "dynamic" and topology.density_path != "constant":
                peak = self.budget.peak_weights
                if peak is None:
                    raise BadInput(
                        f"density_path = {topology.density_path} holds more weights on its way "
                        "than at its end: expected --peak-weights, which says how many"
                    )
                asked = round(topology.initial_density * self.total)
                if topology.initial_factor is not None:
                    asked = round(topology.initial_factor * self.ceiling)
                self.start = max(self.ceiling, min(peak, asked))
        if topology.kind != "dense" and topology.init_mask != "random":
            active, values = self._salient(engine_factory, empty)
        else:
            counts = sizes
            if topology.kind != "dense":
                dense = {0: topology.first_layer, len(sizes) - 1: topology.last_layer}
                counts = layer_counts(
                    network.shapes,
                    self.start,
                    topology.layer_density_power,
                    [layer for layer, kind in dense.items() if kind == "dense"],
                )
            active = [
                random_positions(size, count, self.streams["masks"])
                for size, count in zip(sizes, counts, strict=True)
            ]
            values = initial_weights(
                network,
                active,
                self.recipe.weight_init,
                self.recipe.init_scaling,
                self.streams["weights"],
            )
        self.fired = [positions.copy() for positions in active]
        self._set_active(active)
        self.engine = engine_factory(
            replace(empty, active=self.active, values=values, budget=self.start)
        )
        power = self.recipe.learning_rate_density_power
        self.learning_rate = self.recipe.learning_rate * (self.ceiling / self.total) ** -power
        if self._affordable(1, self.step_price):
            return
        name, granted, least = "training_samples", self.budget.training_samples, self.samples + 1
        if granted is None:
            name, granted = "training_flops", math.floor(self.budget.training_flops or 0.0)
            least = math.ceil(self.flops + self.step_price)
        taken = f" after init_mask = {topology.init_mask}" if self.flops else ""
        raise BadInput(
            f"{name} = {granted} do not pay for one row{taken}: expected at least {least}"
        )

    def _salient(
        self, engine_factory: EngineFactory, empty: Setup
    ) -> tuple[list[Positions], list[NDArray[np.float32]]]:
        """The mask of the largest saliencies, and the dense initial weights in it as they are.

        Charged to the budget: the rows of the batch as samples, the passes as FLOPs.
        """
        network, rule = self.network, self.topology.init_mask
        everything = [np.arange(size, dtype=np.int64) for size in network.sizes]
        init = self.recipe.weight_init
        dense = initial_weights(network, everything, init, "none", self.streams["weights"])
        rows = self.streams["masks"].permutation(len(empty.train_y))[: self.recipe.batch_size]
        setup = replace(empty, active=everything, values=dense, budget=self.total)
        if self.start < len(network.layers):
            layer_counts(network.shapes, self.start, 1.0)  # raises BadInput
        scores = self._saliencies(rule, engine_factory, setup, rows)
        keep = keep_globally(scores, self.start)
        active = [np.flatnonzero(mask).astype(np.int64) for mask in keep]
        values = [drawn[positions] for drawn, positions in zip(dense, active, strict=True)]
        self.samples += 0 if rule == "synflow" else len(rows)
        self.flops += saliency.passes(rule, len(rows)) * forward_flops(network, network.sizes)
        return active, values

    def _saliencies(
        self,
        rule: InitMask,
        engine_factory: EngineFactory,
        setup: Setup,
        rows: NDArray[np.int64],
    ) -> list[NDArray[np.float32]]:
        """A score for every weight; raises BadInput where they are not numbers."""
        found: list[NDArray[np.float32]] | None
        try:
            found = saliency.scores(rule, engine_factory, setup, rows, keep=self.start)
        except Diverged:
            found = None
        if found is None or not all(np.isfinite(layer).all() for layer in found):
            raise BadInput(
                f"init_mask = {rule} finds gradients that are not finite: expected features of a "
                "moderate size"
            )
        return found

    # Loop ----------------------------------------------------------------------------------------

    def consume(self, rows: int) -> None:
        """Spends the whole budget on batches of a training part with so many rows."""
        mode = self.topology.update_mode
        for epoch, whole, whole_last in batches(
            rows, self.recipe.batch_size, self.streams["batches"]
        ):
            self.epochs = epoch
            self._settle()
            batch = whole
            if mode != "after_step" and self._due(self.steps, epoch, len(batch)):
                self._flush()
                afforded = self._affordable(len(batch), max(self.update_price, 1.0))
                progress = self.progress
                gradient = self._gradient(batch[:afforded]) if afforded else None
                self._spend(afforded, self.update_price)
                self._update(gradient, progress)
                if mode == "replace_step":
                    continue
            after = mode == "after_step" and self._due(
                self.steps + 1, epoch + whole_last, len(batch)
            )
            looks = after and self.topology.needs_gradient
            gathers = looks or self._accumulates()
            price = self.step_price
            if gathers:
                price = self.shared_price if looks else self.dense_step_price
            batch = whole[: self._affordable(len(whole), price)]
            if len(batch) == 0:
                break
            last = whole_last and len(batch) == len(whole)
            rate = learning_rate_at(
                self.recipe.learning_rate_schedule,
                self.learning_rate,
                self.progress,
                self.recipe.warmup,
            )
            gradient = None
            if gathers:
                self._flush()
                # The gradient of this step: taken before it, used after it.
                gradient = self._gradient(batch) if looks else None
                if not looks:
                    self.gathered.append(self.engine.gradients(batch))
            self._spend(len(batch), price)
            self.pending.append((batch, rate))
            self.steps += 1
            if after and len(batch) == len(whole):
                self.epochs = epoch + last
                self._flush()
                self._update(gradient, self.progress)
            elif last:
                self._flush()
        self._flush()
        self._settle(at_the_end=True)

    def _due(self, steps: int, epochs: int, batch: int) -> bool:
        """Is an update due at these counts, while spending a batch of so many rows?

        Never at the end of the budget: no step would train what it grows.
        """
        topology = self.topology
        after = topology.update_mode == "after_step"
        if topology.kind != "dynamic":
            return False
        price = max(self.step_price, self.shared_price) if after else self.update_price
        if self._affordable(batch + 1, max(price, 1.0)) <= batch:
            return False
        now = self.progress
        if after:
            if self.budget.training_samples is not None:
                now = (self.samples + batch) / self.budget.training_samples
            else:
                assert self.budget.training_flops is not None
                now = (self.flops + batch * price) / self.budget.training_flops
        return update_due(
            epochs if topology.update_unit == "epochs" else steps,
            self.last_update,
            topology.update_interval,
            now=now,
            begin=topology.update_start,
            end=topology.update_end,
        )

    def _flush(self) -> None:
        if not self.pending:
            return
        rows, rates = zip(*self.pending, strict=True)
        self.pending.clear()
        self.engine.train(Segment(np.concatenate(rows), [len(r) for r in rows], rates))

    # Gradients for updates -----------------------------------------------------------------------

    def _gradient(self, batch: NDArray[np.int64]) -> Gradients | None:
        if not self.topology.needs_gradient:
            return None
        gradient = self.engine.gradients(batch)
        return gradient.averaged(self.gathered) if self.gathered else gradient

    def _accumulates(self) -> bool:
        """Is this one of the batches before an update whose gradients are accumulated?"""
        topology = self.topology
        if not topology.grows_by_gradient or topology.gradient_accumulation == 1:
            return False
        if topology.update_unit == "epochs":
            return False
        if not topology.update_start <= self.progress <= topology.update_end:
            return False
        left = topology.update_interval - (self.steps - (self.last_update or 0))
        # The last batch is the update's own, or that of the step before it.
        own = topology.update_mode != "after_step"
        return left + own <= topology.gradient_accumulation

    def _grow_scores(self, gradient: Gradients | None) -> Gradients | None:
        topology = self.topology
        if topology.grow_random_share >= 1.0:
            return None
        if topology.grow_score == "momentum":
            return self.engine.dense_momenta()
        if topology.grow_score != "gradient_ema":
            return gradient
        assert gradient is not None
        now = [gradient.dense(layer) for layer in range(len(self.active))]
        if self.gradient_averages is None:
            self.gradient_averages = [layer.copy() for layer in now]
        else:
            beta = np.float32(topology.grow_ema_beta)
            for average, layer in zip(self.gradient_averages, now, strict=True):
                average *= beta
                average += (np.float32(1.0) - beta) * layer
        return DenseGradients(self.gradient_averages)

    # Updates -------------------------------------------------------------------------------------

    def _update(self, gradient: Gradients | None, progress: float) -> None:
        topology = self.topology
        schedule = self.recipe.learning_rate_schedule
        fraction = drop_fraction_at(
            topology.drop_schedule,
            topology.drop_fraction,
            progress / topology.update_end,
            final=topology.drop_final,
            power=topology.drop_power,
            learning_rate=learning_rate_at(schedule, 1.0, progress, self.recipe.warmup),
        )
        if topology.density_path == "soft_bound":
            fraction = 1.0 - self.ceiling / self.used
        done = update(
            topology,
            self._with_scores(self._seen(), gradient),
            fraction=fraction,
            target=self._target(),
            threshold=self.threshold,
            rng=self.streams["growth"],
        )
        if topology.drop_rule == "threshold":
            self.threshold = next_threshold(self.threshold, done.replaced, fraction * self.used)
        self._apply(done, gradient)
        self.updates += 1
        self.last_update = self.epochs if topology.update_unit == "epochs" else self.steps
        self.gathered = []
        if (
            topology.importance_share > 0.0
            and progress >= topology.importance_start
            and self.updates % topology.importance_interval == 0
        ):
            fan_ins = [layer.fan_in for layer in self.network.layers]
            self._apply(prune_neurons(self._seen(), fan_ins, topology.importance_share), None)
            self.ceiling = min(self.ceiling, self.used)

    def _settle(self, at_the_end: bool = False) -> None:
        """Prunes to the budget when a density path is over and no update has done it."""
        if self.used <= self.ceiling or not (at_the_end or self.progress >= self.topology.path_end):
            return
        self._flush()
        self._apply(prune(self._seen(), self.ceiling), None)

    def _seen(self) -> Seen:
        """What is active and what it weighs. Raises Diverged for what is not finite."""
        return Seen(
            sizes=self.network.sizes,
            active=self.active,
            weights=self.finite(self.engine.weights),
            fired=self.fired,
        )

    def finite(self, of: Callable[[int], NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Values of all layers; the step before an update may have been the one that diverged."""
        values = [of(layer) for layer in range(len(self.active))]
        if not all(np.isfinite(layer).all() for layer in values):
            raise Diverged
        return values

    def _with_scores(self, seen: Seen, gradient: Gradients | None) -> Seen:
        """The same with all that the settings look at."""
        topology = self.topology
        if topology.drop_rule == "magnitude_ema":
            now = [np.abs(values) for values in seen.weights]
            beta = np.float32(topology.drop_ema_beta)
            self.averages = [
                np.where(np.isnan(old), new, beta * old + (np.float32(1.0) - beta) * new)
                for old, new in zip(self.averages or now, now, strict=True)
            ]
        momenta = None
        if topology.redistribution == "momentum":
            momenta = self.finite(self.engine.momenta)
        return replace(
            seen,
            kept_scores=self.averages,
            momenta=momenta,
            gradient=gradient,
            grow_scores=self._grow_scores(gradient),
        )

    def _apply(self, done: Update, gradient: Gradients | None) -> None:
        topology = self.topology
        changes = []
        averages = []
        for layer, chosen in enumerate(done.layers):
            state: NDArray[np.float32] | None = np.zeros(len(chosen.new), dtype=np.float32)
            if topology.grown_state == "gradient":
                state = self._at(gradient, layer, chosen.new)
            elif topology.grown_state == "keep":
                state = None
            values = self._grown_values(gradient, layer, chosen.active, chosen.new)
            changes.append(LayerChange(chosen.active, chosen.dropped, chosen.new, values, state))
            if self.averages is not None:
                # What is not a number starts anew at the next update.
                old = self.active[layer]
                place = np.searchsorted(old, without(chosen.active, chosen.new))
                now = np.full(len(chosen.active), np.nan, dtype=np.float32)
                now[np.searchsorted(chosen.active, old[place])] = self.averages[layer][place]
                averages.append(now)
            fresh = without(chosen.new, self.fired[layer])
            if len(fresh):
                self.fired[layer] = merged(self.fired[layer], fresh)
        self.engine.apply(changes)
        if self.averages is not None:
            self.averages = averages
        self._set_active([change.active for change in changes])

    def _grown_values(
        self, gradient: Gradients | None, layer: int, active: Positions, new: Positions
    ) -> NDArray[np.float32]:
        topology = self.topology
        if topology.grown_init == "zero" or len(new) == 0:
            return np.zeros(len(new), dtype=np.float32)
        scale = np.float32(topology.grown_scale)
        if topology.grown_init == "gradient_step":
            rate = learning_rate_at(
                self.recipe.learning_rate_schedule,
                self.learning_rate,
                self.progress,
                self.recipe.warmup,
            )
            return -scale * np.float32(rate) * self._at(gradient, layer, new)
        draws = self.streams["grown_values"].standard_normal(len(new), dtype=np.float32)
        if topology.grown_init == "normal":
            return draws * scale
        spread = weight_scale(
            self.network.layers[layer], active, self.recipe.weight_init, self.recipe.init_scaling
        )
        return draws * scale * spread[np.searchsorted(active, new)].astype(np.float32)

    def _at(
        self, gradient: Gradients | None, layer: int, positions: Positions
    ) -> NDArray[np.float32]:
        if gradient is None:  # nothing is grown where none was taken
            return np.zeros(len(positions), dtype=np.float32)
        return gradient.at(layer, positions)
