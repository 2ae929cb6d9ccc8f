"""The mask before training: random, by saliency, or everything.

**Source**: random Erdos-Renyi masks: SET (Mocanu et al. 2018), RigL (Evci et al. 2020); saliency:
see `saliency`; the same fan-in for every neuron: SRigL (Lasby et al., ICLR 2024,
https://arxiv.org/abs/2305.02299).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Diverged, EngineFactory, Needs, Setup
from sparse_training.errors import BadInput
from sparse_training.networks.initial_weights import InitialWeights, Scaling
from sparse_training.networks.network import Layer, Network
from sparse_training.positions import Positions, random_positions
from sparse_training.ranking import keep_largest_of_all
from sparse_training.rules.densities import ErdosRenyi, layer_counts
from sparse_training.rules.saliency import Saliency, Snip


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """A network before training, as a first mask sees it."""

    empty: Setup
    """Of the network and its data, without a weight."""
    engine_factory: EngineFactory
    initial_weights: InitialWeights
    batch_size: int
    masks: np.random.Generator
    weights: np.random.Generator

    @property
    def network(self) -> Network:
        """Its layers."""
        return self.empty.network


@dataclass(frozen=True)
class Chosen:
    """A first mask with its weights, and what choosing it took of the training budget."""

    active: Sequence[Positions]
    """Per layer."""
    values: Sequence[NDArray[np.float32]]
    samples: int = 0
    """Training rows looked at."""
    passes: float = 0.0
    """Forward passes of one row through the dense network."""


class FirstMask(Protocol):
    """Chooses the first active weights and draws their values."""

    @property
    def name(self) -> str:
        """In messages."""

    @property
    def needs(self) -> Needs:
        """What it asks of an engine."""

    @property
    def starts_dense(self) -> bool:
        """Whether it looks at the dense network."""

    @property
    def within_budget(self) -> bool:
        """Whether the budget of active weights binds it."""

    def choose(self, untrained: Untrained, count: int) -> Chosen:
        """`count` active weights, at least one a layer. Raises BadInput where that cannot be."""


@dataclass(frozen=True, kw_only=True)
class RandomMask:
    """Uniformly random positions, in numbers that a distribution over the layers gives."""

    densities: ErdosRenyi = ErdosRenyi()
    dense_first_layer: bool = False
    """Pays for the whole input layer from the budget, up to half of it: a layer that is larger gets
    half of the budget."""
    dense_last_layer: bool = False
    """The same for the output layer."""
    constant_fan_in: bool = False
    """Whether all neurons of a layer have the same number of weights, or one more (SRigL)."""

    name = "random"
    needs = Needs()
    starts_dense = False
    within_budget = True

    def choose(self, untrained: Untrained, count: int) -> Chosen:
        network = untrained.network
        ends = {0: self.dense_first_layer, len(network.layers) - 1: self.dense_last_layer}
        dense = [layer for layer, whole in ends.items() if whole]
        drawn = random_with_constant_fan_in if self.constant_fan_in else random_in_layer
        active = [
            drawn(layer, own, untrained.masks)
            for layer, own in zip(
                network.layers, self.densities.counts(network.shapes, count, dense), strict=True
            )
        ]
        return Chosen(active, untrained.initial_weights.draw(network, active, untrained.weights))


def random_in_layer(layer: Layer, count: int, rng: np.random.Generator) -> Positions:
    """`count` positions of a layer, uniformly."""
    return random_positions(layer.size, count, rng)


def random_with_constant_fan_in(layer: Layer, count: int, rng: np.random.Generator) -> Positions:
    """`count` positions of a layer, as many of every neuron; which have one more is random."""
    fan_ins = np.full(layer.neurons, count // layer.neurons)
    fan_ins[random_positions(layer.neurons, count % layer.neurons, rng)] += 1
    return np.concatenate(
        [
            neuron * layer.fan_in + random_positions(layer.fan_in, int(own), rng)
            for neuron, own in enumerate(fan_ins)
        ]
    )


@dataclass(frozen=True)
class MostSalient:
    """The largest saliencies of the dense initial network over all layers, at least one a layer.

    The weights stay as the saliency saw them: their variance is not scaled by the density.
    """

    saliency: Saliency = Snip()

    starts_dense = True
    within_budget = True

    @property
    def name(self) -> str:
        return type(self.saliency).__name__.lower()

    @property
    def needs(self) -> Needs:
        return self.saliency.needs

    def choose(self, untrained: Untrained, count: int) -> Chosen:
        network, empty = untrained.network, untrained.empty
        everything = [np.arange(size, dtype=np.int64) for size in network.sizes]
        initial = replace(untrained.initial_weights, scaling=Scaling.NONE)
        dense = initial.draw(network, everything, untrained.weights)
        rows = untrained.masks.permutation(len(empty.train_y))[: untrained.batch_size]
        setup = replace(empty, active=everything, values=dense, budget=network.size)
        if count < len(network.layers):
            layer_counts(network.shapes, count, 1.0)  # raises OverBudget
        keep = keep_largest_of_all(self._scores(untrained, setup, rows, count), count)
        active = [np.flatnonzero(mask).astype(np.int64) for mask in keep]
        return Chosen(
            active,
            [drawn[positions] for drawn, positions in zip(dense, active, strict=True)],
            samples=len(rows) if self.saliency.looks_at_data else 0,
            passes=self.saliency.passes(len(rows)),
        )

    def _scores(
        self, untrained: Untrained, setup: Setup, rows: NDArray[np.int64], count: int
    ) -> list[NDArray[np.float32]]:
        scores: list[NDArray[np.float32]] | None
        try:
            scores = self.saliency.scores(untrained.engine_factory, setup, rows, count)
        except Diverged:
            scores = None
        if scores is None or not all(np.isfinite(layer).all() for layer in scores):
            raise BadInput(
                f"a first mask by {self.name} finds gradients that are not finite: expected "
                "features of a moderate size"
            )
        return scores


@dataclass(frozen=True)
class AllWeights:
    """Everything: a dense network, outside any budget."""

    name = "dense"
    needs = Needs()
    starts_dense = True
    within_budget = False

    def choose(self, untrained: Untrained, count: int) -> Chosen:
        network = untrained.network
        active = [np.arange(size, dtype=np.int64) for size in network.sizes]
        return Chosen(active, untrained.initial_weights.draw(network, active, untrained.weights))
