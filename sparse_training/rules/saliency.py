"""Which weights of a dense initial network matter: the scores that SNIP, GraSP and SynFlow keep by.

**Source**: SNIP: Lee, Ajanthan, Torr, ICLR 2019, https://arxiv.org/abs/1810.02340, equation 6;
GraSP: Wang, Zhang, Grosse, ICLR 2020, https://arxiv.org/abs/2002.07376, algorithm 1 and the
authors' code (temperature 200); SynFlow: Tanaka, Kunin, Yamins, Ganguli, NeurIPS 2020,
https://arxiv.org/abs/2006.05467, algorithm 1 (100 rounds).
**Differs**: the data of SNIP and GraSP are one training batch (GraSP's code takes 10 rows of each
class); SynFlow's network is linear: activations, normalisation, dropout and biases are left out,
which for ReLU and zero biases is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import EngineFactory, Needs, Setup
from sparse_training.networks.network import Network, Perceptron
from sparse_training.ranking import keep_largest_of_all
from sparse_training.rules import saliency_perceptron


class Saliency(Protocol):
    """A score for every weight of a dense network; the largest are kept."""

    @property
    def needs(self) -> Needs:
        """What it asks of an engine beside gradients."""

    @property
    def looks_at_data(self) -> bool:
        """Whether it spends the batch that it is given."""

    def scores(
        self, engine_factory: EngineFactory, setup: Setup, rows: NDArray[np.int64], keep: int
    ) -> list[NDArray[np.float32]]:
        """One score a weight, per layer.

        setup: the dense network; rows: a training batch; keep: the number of weights that will be
        kept. Raises Diverged.
        """

    def passes(self, rows: int) -> float:
        """What the scores cost in forward passes of one row through the dense network.

        A backward pass counts as two forward passes.
        """


@dataclass(frozen=True)
class Snip:
    """|w g|, the gradient by an engine."""

    needs = Needs()
    looks_at_data = True

    def scores(
        self, engine_factory: EngineFactory, setup: Setup, rows: NDArray[np.int64], keep: int
    ) -> list[NDArray[np.float32]]:
        gradients = engine_factory(setup).gradients(rows)
        return [
            np.abs(values * gradients.dense(layer)) for layer, values in enumerate(setup.values)
        ]

    def passes(self, rows: int) -> float:
        return 3.0 * rows


@dataclass(frozen=True)
class Grasp:
    """w (H g), signed: weights whose removal would most reduce the flow of gradients are kept."""

    temperature: float = 200.0
    """By which the logits are divided."""

    needs = Needs()
    looks_at_data = True

    def scores(
        self, engine_factory: EngineFactory, setup: Setup, rows: NDArray[np.int64], keep: int
    ) -> list[NDArray[np.float32]]:
        if isinstance(setup.network.architecture, Perceptron):
            return saliency_perceptron.grasp(setup, rows, self.temperature)
        from sparse_training.rules import saliency_autograd

        return saliency_autograd.grasp(setup, rows, self.temperature)

    def passes(self, rows: int) -> float:
        # It differentiates a gradient, which costs twice what the gradient did.
        return 9.0 * rows


@dataclass(frozen=True)
class SynFlow:
    """|w dR/dw| with R the sum of the outputs for an input of ones through |w|, in rounds.

    Each round prunes, to density^(round / rounds).
    """

    rounds: int = 100

    needs = Needs()
    looks_at_data = False

    def scores(
        self, engine_factory: EngineFactory, setup: Setup, rows: NDArray[np.int64], keep: int
    ) -> list[NDArray[np.float32]]:
        # In double precision, for the products.
        left = [np.abs(values.astype(np.float64)) for values in setup.values]
        ranked = alive = [np.arange(len(values)) for values in left]
        scores = left
        total = sum(map(len, left))
        for number in range(1, self.rounds + 1):
            ranked = alive
            scores = [
                layer[own] for layer, own in zip(flow(setup.network, left), ranked, strict=True)
            ]
            density = (keep / total) ** (number / self.rounds)
            target = min(max(keep, round(density * total)), sum(map(len, ranked)))
            stays = keep_largest_of_all(scores, target)
            alive = [own[stay] for own, stay in zip(ranked, stays, strict=True)]
            for layer, own, stay in zip(left, ranked, stays, strict=True):
                layer[own[~stay]] = 0.0
        # What earlier rounds have pruned is worth less than anything that was left.
        final = [np.full(len(layer), -1.0, dtype=np.float32) for layer in left]
        for layer, own, values in zip(final, ranked, scores, strict=True):
            layer[own] = values
        return final

    def passes(self, rows: int) -> float:
        return 3.0 * self.rounds


def flow(network: Network, weights: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Each weight's part of what flows from inputs of one to the sum of the outputs, flat."""
    if isinstance(network.architecture, Perceptron):
        return saliency_perceptron.flow(network, weights)
    from sparse_training.rules import saliency_autograd

    return saliency_autograd.flow(network, weights)
