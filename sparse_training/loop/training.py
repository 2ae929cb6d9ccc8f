"""The one training loop, and what came of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.instances import Split
from sparse_training.engines.interface import Diverged, EngineFactory, Setup
from sparse_training.errors import BadInput
from sparse_training.loop.budget import Account, Budget, forward_flops
from sparse_training.loop.mask_updates import Look, MaskUpdates, finite
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.start import begin
from sparse_training.loop.steps import Steps
from sparse_training.loop.streams import Batch, batches, streams
from sparse_training.networks.connectivity import dead_neurons, disconnected
from sparse_training.networks.network import Network
from sparse_training.positions import Positions
from sparse_training.rules.topology import Topology


@dataclass(frozen=True)
class Outcome:
    """What a training run produced and what it spent."""

    predicted: NDArray[np.int64] | None
    """Classes of the evaluation rows by the last iterate; None if training diverged."""
    active: tuple[Positions, ...]
    """Active positions of every layer at the end."""
    weights: tuple[NDArray[np.float32], ...]
    """Their values."""
    biases: tuple[NDArray[np.float32], ...]
    active_weights: int
    """Largest number of active weights during the run; in this number and the two that follow are
    the parameters of normalisation and activation."""
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
    """Updates of the mask."""
    explored: float
    """Fraction of all positions that have ever been active."""
    dead_neurons: int
    """See `networks.connectivity`."""
    disconnected: tuple[int, int] | None
    """See `networks.connectivity`."""
    engine: str


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
    on_change: Callable[[Sequence[Positions]], None] = lambda active: None,
) -> Outcome:
    """Trains a network within a budget and predicts the evaluation rows.

    seed: >= 0; on_change: is shown the active positions of all layers at the start and after
    every change. Raises BadInput for settings and budgets that cannot work, OverBudget where other
    settings could. Divergence is an
    outcome, not an error.
    """
    if not np.isfinite(split.train_x).all() or not np.isfinite(split.eval_x).all():
        raise BadInput("the data contain values that are not finite: expected numbers only")
    random, account, layers = streams(seed), Account(budget), len(network.layers)
    empty = Setup(
        network=network,
        optimizer=replace(recipe.optimizer, dense_state=topology.dense_state),
        active=[np.zeros(0, dtype=np.int64)] * layers,
        values=[np.zeros(0, dtype=np.float32)] * layers,
        budget=0,
        train_x=split.train_x,
        train_y=split.train_y,
        seed=seed,
        device=device,
    )
    start = begin(engine_factory, empty, recipe, topology, budget, account, random)
    engine, mask, steps = start.engine, start.mask, Steps(start.engine)
    updates = MaskUpdates(
        topology.updates, network, recipe, start, account, steps, random, on_change
    )
    account.check_pays(updates.step_price(Look.NONE), topology.first_mask.name)
    learning_rate = partial(recipe.learning_rate.at, density=start.budget / network.size)
    predicted, weights, biases = None, [], []
    order = batches(len(split.train_y), recipe.batch_size, random.batches)
    try:
        _spend_budget(order, account, steps, updates, learning_rate)
        predicted = engine.logits(split.eval_x).argmax(axis=1)
        weights, biases = finite(engine.weights, layers), finite(engine.biases, layers)
    except Diverged:
        predicted, weights, biases = None, [], []
    return Outcome(
        predicted=predicted,
        active=tuple(mask.active),
        weights=tuple(weights),
        biases=tuple(biases),
        active_weights=mask.peak + network.neuron_parameters,
        final_weights=mask.count + network.neuron_parameters,
        total_weights=network.size + network.neuron_parameters,
        training_flops=account.flops,
        inference_flops=forward_flops(network, mask.counts),
        samples=account.samples,
        steps=steps.count,
        updates=updates.count,
        explored=sum(len(mask.fired(layer)) for layer in range(layers)) / network.size,
        dead_neurons=dead_neurons(network, mask.active),
        disconnected=disconnected(network, mask.active),
        engine=engine.name,
    )


def _spend_budget(
    order: Iterable[Batch],
    account: Account,
    steps: Steps,
    updates: MaskUpdates,
    learning_rate: Callable[[float], float],
) -> None:
    """Trains on batch after batch, with the updates that are due, as long as it is paid for."""
    quiet = 0
    for batch in order:
        if quiet > 0:
            quiet -= 1
            steps.add(batch.rows, learning_rate(account.progress))
            account.spend(len(batch.rows), updates.step_price(Look.NONE))
            if batch.ends_epoch:
                steps.make()
            continue
        updates.settle()
        if updates.due_before_step(batch):
            updates.on_own_batch(batch)
            if updates.replaces_step:
                continue
        update_follows = updates.due_after_step(batch)
        look = updates.look(update_follows)
        price = updates.step_price(look)
        rows = batch.rows[: account.affordable(len(batch.rows), price)]
        if len(rows) == 0:
            break
        whole = len(rows) == len(batch.rows)
        # The gradient of this step: taken before it, used after it.
        gradient = updates.gradient(rows) if look is Look.FOR_UPDATE else None
        if look is Look.GATHERED:
            updates.gather(rows)
        steps.add(rows, learning_rate(account.progress))
        account.spend(len(rows), price)
        if update_follows and whole:
            updates.make(gradient, account.progress)
        elif batch.ends_epoch and whole:
            steps.make()
        quiet = updates.quiet()
    steps.make()
    updates.settle(at_the_end=True)
