"""Updates of the mask during training: when one is due, what it looks at, what it changes."""

import enum
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import (
    Diverged,
    Extent,
    Gradients,
    LayerChange,
    Needs,
)
from sparse_training.loop.budget import Account, prices
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.start import Start
from sparse_training.loop.steps import Steps
from sparse_training.loop.streams import Batch, Streams
from sparse_training.networks.network import Network
from sparse_training.rules.density_path import weights_at
from sparse_training.rules.grow import Sources
from sparse_training.rules.new_weights import Grown, State
from sparse_training.rules.paths import walk_flops
from sparse_training.rules.topology import Updates
from sparse_training.rules.update import LayerUpdate, Memory, prune, update, without_growth
from sparse_training.rules.view import LayerView, View
from sparse_training.rules.when import Place


class Look(enum.Enum):
    """What is done with the gradient of a step's batch, beside the step."""

    NONE = enum.auto()
    GATHERED = enum.auto()
    """It is one of several that the next update averages."""
    FOR_UPDATE = enum.auto()
    """The update that follows the step uses it."""


class MaskUpdates:
    """The changes of one run's mask; without rules there are none."""

    def __init__(
        self,
        rules: Updates | None,
        network: Network,
        recipe: Recipe,
        start: Start,
        account: Account,
        steps: Steps,
        random: Streams,
        on_change: Callable[[Sequence[NDArray[np.int64]]], None],
    ) -> None:
        self.count = 0
        """Updates so far."""
        self._rules, self._network, self._recipe = rules, network, recipe
        self._mask, self._engine, self._steps = start.mask, start.engine, steps
        self._account, self._random, self._on_change = account, random, on_change
        self._first, self._final = start.weights, start.budget
        self._density = start.budget / network.size
        self._needs = Needs() if rules is None else rules.needs
        self._dense_state = rules is not None and rules.dense_state
        self._price()
        self._reached = 0  # updates that were due when the last one had been paid
        self._pruned = 0  # prunings of neurons that were due at the last one
        self._gathered: list[Gradients] = []
        self._memory = Memory()
        on_change(start.mask.active)

    # When ----------------------------------------------------------------------------------------

    def due_before_step(self, batch: Batch) -> bool:
        """Whether an update spends this batch, before a step on it or in place of one."""
        rules = self._rules
        if rules is None or rules.when.place is Place.AFTER_A_STEP:
            return False
        rows = len(batch.rows)
        price = self._prices.update + self._walks / rows
        if not self._trained_afterwards(rows, max(price, 1.0)):
            return False
        return self._due(self._account.progress)

    def quiet(self) -> int:
        """How many steps on whole batches can be made before anything but a step may be due.

        So that it need not be asked of each: an update is due at few of thousands of steps.
        """
        rules, rows = self._rules, self._recipe.batch_size
        prices, until = self._prices, 1.0
        if rules is not None:
            until = min(until, rules.when.next(self._reached))
            if rules.path is not None and self._mask.count > self._final:
                until = min(until, rules.path.end)
        dearest = max(prices.step, prices.step_with_update, prices.update) + self._walks / rows
        return self._account.batches_until(until, rows, prices.step, dearest)

    @property
    def replaces_step(self) -> bool:
        """Whether an update stands in place of a step."""
        return self._rules is not None and self._rules.when.place is Place.INSTEAD_OF_A_STEP

    def due_after_step(self, batch: Batch) -> bool:
        """Whether an update follows the step on this batch, if the batch is paid as a whole."""
        rules, rows = self._rules, len(batch.rows)
        if rules is None or rules.when.place is not Place.AFTER_A_STEP:
            return False
        price = max(self._prices.step, self._prices.step_with_update) + self._walks / rows
        if not self._trained_afterwards(rows, max(price, 1.0)):
            return False
        return self._due(self._account.progress_after(rows, price))

    def _due(self, progress: float) -> bool:
        """Whether an update is due, and the gradients that it averages are there but its own."""
        rules = self._rules
        return (
            rules is not None and rules.when.due(progress, self._reached) and not self._lacks(rules)
        )

    def _trained_afterwards(self, rows: int, price: float) -> bool:
        """Whether the budget pays for more than these rows: a step must train what is grown."""
        return self._account.affordable(rows + 1, price) > rows

    # What is looked at ---------------------------------------------------------------------------

    def look(self, update_follows: bool) -> Look:
        """What the gradient of the next step's batch is needed for beside the step."""
        if update_follows and self._needs.a_gradient:
            return Look.FOR_UPDATE
        return Look.GATHERED if self._gathers() else Look.NONE

    def step_price(self, look: Look) -> float:
        """FLOPs a row of a step."""
        if look is Look.FOR_UPDATE:
            return self._prices.step_with_update
        return self._prices.step if look is Look.NONE else self._prices.dense_step

    def gradient(self, rows: NDArray[np.int64]) -> Gradients | None:
        """What an update looks at: the rows' gradient, averaged with those gathered before."""
        if not self._needs.a_gradient:
            return None
        self._steps.make()
        gradients = self._engine.gradients(rows)
        return gradients.averaged(self._gathered) if self._gathered else gradients

    def gather(self, rows: NDArray[np.int64]) -> None:
        """Keeps the rows' gradient for the next update."""
        self._steps.make()
        self._gathered.append(self._engine.gradients(rows))

    def _gathers(self) -> bool:
        """Whether an update is due that averages more gradients than are there."""
        rules = self._rules
        return (
            rules is not None
            and self._lacks(rules)
            and rules.when.due(self._account.progress, self._reached)
        )

    def _lacks(self, rules: Updates) -> bool:
        """Whether an update averages more gradients than its own and those gathered."""
        return len(self._gathered) < rules.batches - 1

    # What is changed -----------------------------------------------------------------------------

    def on_own_batch(self, batch: Batch) -> None:
        """Makes an update that spends the batch."""
        progress, price = self._account.progress, self._prices.update
        rows = batch.rows[: self._account.affordable(len(batch.rows), max(price, 1.0))]
        gradient = self.gradient(rows)
        self._account.spend(len(rows), price)
        self.make(gradient, progress)

    def make(self, gradient: Gradients | None, progress: float) -> None:
        """Drops and grows; gradient, progress: as the update sees them. The gradient is paid."""
        rules, mask = self._rules, self._mask
        if rules is None:
            raise ValueError("a mask without rules is never updated")
        self._steps.make()
        self._account.flops += self._walks
        factor = self._recipe.learning_rate.factor(progress)
        fraction = rules.amount.at(progress / rules.when.end, factor)
        if rules.path is not None:
            fraction = rules.path.dropped(fraction, self._final, mask.count)
        changes, self._memory = update(
            rules,
            View(self._layers(gradient), self._network.architecture.chain),
            Sources(len(mask.active), gradient, self._dense_momenta()),
            fraction=fraction,
            target=self._target(),
            memory=self._memory,
            rng=self._random.growth,
        )
        self._apply(changes, gradient, by_an_update=True)
        self.count += 1
        self._reached = rules.when.reached(self._account.progress)
        self._gathered = []
        if rules.neurons is not None and rules.neurons.when.due(progress, self._pruned):
            self._pruned = rules.neurons.when.reached(progress)
            layers = self._layers(None)
            self._apply(without_growth(layers, rules.neurons.keep(layers)), None)
            self._final = min(self._final, mask.count)

    def settle(self, *, at_the_end: bool = False) -> None:
        """Prunes to the budget when a density path is over and no update has done it."""
        if self._mask.count <= self._final:
            return
        path = None if self._rules is None else self._rules.path
        if at_the_end or path is None or self._account.progress >= path.end:
            self._steps.make()
            self._apply(prune(self._layers(None), self._final), None)

    def _target(self) -> int:
        """The number of active weights wanted now."""
        path = None if self._rules is None else self._rules.path
        if path is None:
            return self._final
        progress = self._account.progress
        return weights_at(path, self._first, self._final, self._network.size, progress)

    def _dense_momenta(self) -> Gradients | None:
        return self._engine.dense_momenta() if self._needs.momentum is Extent.ALL else None

    def _layers(self, gradient: Gradients | None) -> list[LayerView]:
        """The network as rules see it. Raises Diverged for what is not finite."""
        layers, mask = self._network.layers, self._mask
        weights = finite(self._engine.weights, len(layers))
        momenta: Sequence[NDArray[np.float32] | None] = [None] * len(layers)
        if self._needs.momentum > Extent.NOTHING:
            momenta = finite(self._engine.momenta, len(layers))
        last = len(layers) if self._rules is None or self._rules.last_layer else len(layers) - 1
        return [
            LayerView(
                number=i,
                layer=layer,
                active=mask.active[i],
                weights=weights[i],
                ever_active=partial(mask.fired, i),
                new=mask.new[i],
                movable=np.full(len(weights[i]), i < last),
                gradients=gradient,
                momenta=momenta[i],
            )
            for i, layer in enumerate(layers)
        ]

    def _apply(
        self,
        changes: Sequence[LayerUpdate],
        gradient: Gradients | None,
        *,
        by_an_update: bool = False,
    ) -> None:
        self._engine.apply(
            [self._layer_change(i, change, gradient) for i, change in enumerate(changes)]
        )
        self._mask.change(changes, by_an_update=by_an_update)
        self._price()
        self._on_change(self._mask.active)

    def _price(self) -> None:
        """What things cost under the mask of the moment."""
        network, mask = self._network, self._mask
        self._prices = prices(network, mask.counts, self._needs, self._dense_state)
        self._walks = walk_flops(network.layers, mask.active) if self._needs.paths else 0.0

    def _layer_change(self, i: int, change: LayerUpdate, gradient: Gradients | None) -> LayerChange:
        """With the values and the optimiser state of what is new."""
        values = state = np.zeros(len(change.new), dtype=np.float32)
        if len(change.new) == 0 or self._rules is None:
            return LayerChange(change.active, change.dropped, change.new, values, state)
        layer, new_weights = self._network.layers[i], self._rules.new_weights

        def gradient_of_new() -> NDArray[np.float32]:
            if gradient is None:
                raise ValueError("new weights look at gradients that their needs do not name")
            return gradient.at(i, change.new)

        def initial_deviation() -> NDArray[np.float64]:
            everywhere = self._recipe.initial_weights.deviation(layer, change.active)
            return everywhere[np.searchsorted(change.active, change.new)]

        values = new_weights.value.of(
            Grown(
                positions=change.new,
                gradient=gradient_of_new,
                initial_deviation=initial_deviation,
                learning_rate=self._recipe.learning_rate.at(self._account.progress, self._density),
                rng=self._random.grown_values,
            )
        )
        kept = new_weights.state is State.KEPT
        if new_weights.state is State.GRADIENT:
            state = gradient_of_new()
        return LayerChange(
            change.active, change.dropped, change.new, values, None if kept else state
        )


def finite(of: Callable[[int], NDArray[np.float32]], layers: int) -> list[NDArray[np.float32]]:
    """Values of so many layers. Raises Diverged: the step before may have been the one."""
    values = [of(layer) for layer in range(layers)]
    if not all(np.isfinite(layer).all() for layer in values):
        raise Diverged
    return values
