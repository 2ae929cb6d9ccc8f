"""Scores of `saliency` for convolutions, by automatic differentiation: GraSP and SynFlow."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sparse_training.engines import forward
from sparse_training.engines.interface import Setup
from sparse_training.networks.activations import Linear
from sparse_training.networks.network import Network, Norm


def grasp(setup: Setup, rows: NDArray[np.int64], temperature: float) -> list[NDArray[np.float32]]:
    """w (H g) for every weight of every layer, with the logits divided by the temperature."""
    network = setup.network
    leaves = [
        torch.from_numpy(values).view(shape).clone().requires_grad_()
        for values, shape in zip(setup.values, network.shapes, strict=True)
    ]
    parameters = forward.fresh(network, leaves)
    x, y = torch.from_numpy(setup.train_x[rows]), torch.from_numpy(setup.train_y[rows])
    mode = forward.Mode(training=True)
    logits = forward.logits(network, parameters, x, mode, setup.seed)
    smoothing = network.label_smoothing
    loss = F.cross_entropy(logits / temperature, y, label_smoothing=smoothing)
    gradient = torch.autograd.grad(loss, leaves, create_graph=True)
    flow = torch.stack([(part * part.detach()).sum() for part in gradient]).sum()
    curvature = torch.autograd.grad(flow, leaves)
    return [
        (weight.detach() * part).numpy().reshape(-1)
        for weight, part in zip(leaves, curvature, strict=True)
    ]


def flow(network: Network, weights: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """SynFlow's w dR/dw / R of every layer, flat; weights: absolute values, flat."""
    linear = replace(network, activation=Linear(), norm=Norm.NONE, dropout=0.0)
    leaves = [
        torch.from_numpy(values).view(shape).requires_grad_()
        for values, shape in zip(weights, network.shapes, strict=True)
    ]
    inputs = network.layers[0].shape[1] if network.image is None else int(np.prod(network.image))
    ones = torch.ones(1, inputs, dtype=torch.float64)
    parameters = forward.fresh(linear, leaves)
    total = forward.logits(linear, parameters, ones, forward.Mode(training=False), 0).sum()
    # Scaled to one, as in the authors' code, or it overflows in deep networks; the ranking stays.
    gradient = torch.autograd.grad(total / total.detach(), leaves)
    return [
        (leaf * part).detach().numpy().reshape(-1)
        for leaf, part in zip(leaves, gradient, strict=True)
    ]
