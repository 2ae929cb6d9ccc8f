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
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from target_algorithms import forward
from target_algorithms.engine import Setup
from target_algorithms.masked import MaskedEngine
from target_algorithms.networks import Network
from target_algorithms.topology import keep_globally

GRASP_TEMPERATURE = 200.0
SYNFLOW_ROUNDS = 100


def scores(
    rule: str, setup: Setup, rows: NDArray[np.int64], *, keep: int
) -> list[NDArray[np.float32]]:
    """One score a weight, per layer; the weights with the largest are to be kept.

    setup: the dense network; rows: the batch that snip and grasp look at; keep: the number of
    weights that synflow's rounds lead to. snip |w g|; grasp w (H g), signed: weights whose removal
    would most reduce the flow of gradients are kept; synflow |w dR/dw| with R the sum of the
    outputs for an input of ones through |w|.
    """
    engine = MaskedEngine(setup)
    weights = [
        torch.from_numpy(engine.weights(layer)).view(shape)
        for layer, shape in enumerate(setup.network.shapes)
    ]
    if rule == "snip":
        gradients = engine.gradients(rows)
        return [
            np.abs(weight.numpy().reshape(-1) * gradients.dense(layer))
            for layer, weight in enumerate(weights)
        ]
    if rule == "grasp":
        return _grasp(setup, weights, rows)
    assert rule == "synflow", rule
    return _synflow(setup.network, weights, keep)


def passes(rule: str, rows: int) -> float:
    """What the scores cost in forward passes of one row through the dense network.

    A backward pass counts as two forward passes; GraSP differentiates a gradient, which costs twice
    what the gradient did.
    """
    return {"snip": 3.0 * rows, "grasp": 9.0 * rows, "synflow": 3.0 * SYNFLOW_ROUNDS}[rule]


def _grasp(
    setup: Setup, weights: Sequence[Tensor], rows: NDArray[np.int64]
) -> list[NDArray[np.float32]]:
    leaves = [weight.clone().requires_grad_() for weight in weights]
    parameters = forward.fresh(setup.network, leaves)
    x, y = torch.from_numpy(setup.train_x[rows]), torch.from_numpy(setup.train_y[rows])
    mode = forward.Mode(training=True)
    logits = forward.logits(setup.network, parameters, x, mode, setup.seed)
    smoothing = setup.network.label_smoothing
    loss = F.cross_entropy(logits / GRASP_TEMPERATURE, y, label_smoothing=smoothing)
    gradient = torch.autograd.grad(loss, leaves, create_graph=True)
    flow = torch.stack([(part * part.detach()).sum() for part in gradient]).sum()
    curvature = torch.autograd.grad(flow, leaves)
    return [
        (weight * part).numpy().reshape(-1) for weight, part in zip(weights, curvature, strict=True)
    ]


def _synflow(network: Network, weights: Sequence[Tensor], keep: int) -> list[NDArray[np.float32]]:
    """In rounds that prune to density^(round / rounds); in double precision, for the products."""
    linear = replace(network, activation="linear", norm="none", dropout=0.0)
    sizes = [weight.numel() for weight in weights]
    masks = [np.ones(size, dtype=np.bool_) for size in sizes]
    found: list[NDArray[np.float64]] = []
    inputs = network.layers[0].shape[1] if network.image is None else int(np.prod(network.image))
    ones = torch.ones(1, inputs, dtype=torch.float64)
    for number in range(1, SYNFLOW_ROUNDS + 1):
        leaves = [
            (weight.abs().double() * torch.from_numpy(mask).view(weight.shape)).requires_grad_()
            for weight, mask in zip(weights, masks, strict=True)
        ]
        parameters = forward.fresh(linear, leaves)
        flow = forward.logits(linear, parameters, ones, forward.Mode(training=False), 0).sum()
        # Scaled to one, as in the code, or it overflows in deep networks; the ranking stays.
        gradient = torch.autograd.grad(flow / flow.detach(), leaves)
        # What earlier rounds have pruned is worth less than anything that is left.
        found = [
            np.where(mask, (leaf * part).detach().numpy().reshape(-1), -1.0)
            for leaf, part, mask in zip(leaves, gradient, masks, strict=True)
        ]
        density = (keep / sum(sizes)) ** (number / SYNFLOW_ROUNDS)
        target = max(keep, round(density * sum(sizes)))
        masks = keep_globally(found, min(target, sum(int(mask.sum()) for mask in masks)))
    return [part.astype(np.float32) for part in found]
