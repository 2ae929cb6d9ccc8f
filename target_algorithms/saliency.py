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

import numpy as np
from numpy.typing import NDArray

from target_algorithms.engine import EngineFactory, Setup
from target_algorithms.networks import Network
from target_algorithms.topology import keep_globally

GRASP_TEMPERATURE = 200.0
SYNFLOW_ROUNDS = 100


def scores(
    rule: str,
    engine_factory: EngineFactory,
    setup: Setup,
    rows: NDArray[np.int64],
    *,
    keep: int,
) -> list[NDArray[np.float32]]:
    """One score a weight, per layer; the weights with the largest are to be kept.

    setup: the dense network; rows: the batch that snip and grasp look at; keep: the number of
    weights that synflow's rounds lead to. snip |w g|, the gradient by an engine; grasp w (H g),
    signed: weights whose removal would most reduce the flow of gradients are kept; synflow
    |w dR/dw| with R the sum of the outputs for an input of ones through |w|.
    """
    if rule == "snip":
        gradients = engine_factory(setup).gradients(rows)
        return [
            np.abs(values * gradients.dense(layer)) for layer, values in enumerate(setup.values)
        ]
    if rule == "grasp":
        from target_algorithms import autograd_saliency

        return autograd_saliency.grasp(setup, rows, GRASP_TEMPERATURE)
    assert rule == "synflow", rule
    return _synflow(setup.network, setup.values, keep)


def passes(rule: str, rows: int) -> float:
    """What the scores cost in forward passes of one row through the dense network.

    A backward pass counts as two forward passes; GraSP differentiates a gradient, which costs twice
    what the gradient did.
    """
    return {"snip": 3.0 * rows, "grasp": 9.0 * rows, "synflow": 3.0 * SYNFLOW_ROUNDS}[rule]


def _synflow(
    network: Network, weights: Sequence[NDArray[np.float32]], keep: int
) -> list[NDArray[np.float32]]:
    """In rounds that prune to density^(round / rounds); in double precision, for the products."""
    sizes = [len(values) for values in weights]
    left = [np.abs(values.astype(np.float64)) for values in weights]
    masks = [np.ones(size, dtype=np.bool_) for size in sizes]
    found: list[NDArray[np.float64]] = []
    for number in range(1, SYNFLOW_ROUNDS + 1):
        # What earlier rounds have pruned is worth less than anything that is left.
        found = [
            np.where(mask, layer, -1.0)
            for layer, mask in zip(_flow(network, left), masks, strict=True)
        ]
        density = (keep / sum(sizes)) ** (number / SYNFLOW_ROUNDS)
        target = max(keep, round(density * sum(sizes)))
        masks = keep_globally(found, min(target, sum(int(mask.sum()) for mask in masks)))
        left = [values * mask for values, mask in zip(left, masks, strict=True)]
    return [part.astype(np.float32) for part in found]


def _flow(network: Network, weights: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Each weight's share of what flows from inputs of one to the sum of the outputs, flat."""
    if network.architecture != "mlp":
        from target_algorithms import autograd_saliency

        return autograd_saliency.flow(network, weights)
    matrices = [w.reshape(shape) for w, shape in zip(weights, network.shapes, strict=True)]
    into = [np.ones(matrices[0].shape[1])]
    for matrix in matrices:
        into.append(matrix @ into[-1])
    onward = [np.ones(len(matrices[-1]))]
    for matrix in reversed(matrices[1:]):
        onward.insert(0, onward[0] @ matrix)
    whole = into[-1].sum()
    return [
        (matrix * np.outer(out / whole, source)).reshape(-1)
        for matrix, out, source in zip(matrices, onward, into[:-1], strict=True)
    ]
