"""Scores of `saliency` for perceptrons, in numpy and double precision: GraSP and SynFlow.

GraSP's second derivative is taken by the complex step: with the weights w + i h v, the gradient's
imaginary part is h H v, exact but for rounding where h^2 vanishes beside 1. So the gradient is
written once, for real and for complex weights.

**Source**: W. Squire, G. Trapp, SIAM Review 40(1), 1998.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Setup
from sparse_training.networks.activations import GELU, SRELU_START, Linear, SReLU
from sparse_training.networks.dropout import dropout_keep
from sparse_training.networks.network import NORM_EPSILON, Network, Norm

Numbers = NDArray[Any]
"""Real numbers, or complex ones whose imaginary part is a derivative times `_STEP`."""

_STEP = 1e-30
"""Small beside any gradient, so that its square is nothing; far above the least double."""


def grasp(setup: Setup, rows: NDArray[np.int64], temperature: float) -> list[NDArray[np.float32]]:
    """w (H g) for every weight of every layer, with the logits divided by the temperature."""
    network = setup.network
    weights = [
        values.astype(np.float64).reshape(shape)
        for values, shape in zip(setup.values, network.shapes, strict=True)
    ]
    x, y = setup.train_x[rows].astype(np.float64), setup.train_y[rows]

    def gradients(at: Sequence[Numbers]) -> list[Numbers]:
        return _gradients(network, at, x, y, temperature, setup.seed)

    moved = [w + 1j * _STEP * g for w, g in zip(weights, gradients(weights), strict=True)]
    with np.errstate(over="ignore"):  # what is too large is refused as not finite
        return [
            (weight * (gradient.imag / _STEP)).astype(np.float32).reshape(-1)
            for weight, gradient in zip(weights, gradients(moved), strict=True)
        ]


def flow(network: Network, weights: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """SynFlow's w dR/dw / R of every layer, flat; weights: absolute values, flat."""
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


# The gradient ------------------------------------------------------------------------------------

Backward = Callable[[Numbers], Numbers]
"""From the gradient by what a site puts out to that by what it takes in."""


def _gradients(
    network: Network,
    weights: Sequence[Numbers],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    temperature: float,
    seed: int,
) -> list[Numbers]:
    """The gradient of the mean loss by every weight, at the first step and without biases."""
    inputs, sites, values = [], [], x
    for layer, weight in enumerate(weights):
        inputs.append(values)
        values = values @ weight.T
        if layer < len(weights) - 1:
            values, back = _site(network, values, layer, seed)
            sites.append(back)
    logits = values / temperature
    odds = np.exp(logits - logits.real.max(axis=1, keepdims=True))
    classes = logits.shape[1]
    wanted = np.full(logits.shape, network.label_smoothing / classes)
    wanted[np.arange(len(y)), y] += 1.0 - network.label_smoothing
    delta = (odds / odds.sum(axis=1, keepdims=True) - wanted) / (len(y) * temperature)
    gradients = [delta.T @ inputs[-1]]
    for layer in range(len(weights) - 2, -1, -1):
        delta = sites[layer](delta @ weights[layer + 1])
        gradients.insert(0, delta.T @ inputs[layer])
    return gradients


def _site(network: Network, values: Numbers, site: int, seed: int) -> tuple[Numbers, Backward]:
    """Normalisation, activation and dropout behind a layer, and the way back through them."""
    normed, denormalise = _normalise(network.norm, values)
    active, slope = _activate(network, normed, site)
    kept: float | Numbers = 1.0
    if network.dropout > 0.0:
        rows, neurons = values.shape
        keep = dropout_keep(seed, 0, site, neurons, rows, network.dropout)
        kept = keep.T / (1.0 - network.dropout)

    def back(delta: Numbers) -> Numbers:
        return denormalise(delta * kept * slope)

    return active * kept, back


def _normalise(norm: Norm, values: Numbers) -> tuple[Numbers, Backward]:
    if norm is Norm.NONE:
        return values, lambda delta: delta
    axis = 0 if norm is Norm.BATCH else 1
    centred = values - values.mean(axis=axis, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=axis, keepdims=True) + NORM_EPSILON)
    normed = centred / deviation

    def back(delta: Numbers) -> Numbers:
        level = delta.mean(axis=axis, keepdims=True)
        along = (delta * normed).mean(axis=axis, keepdims=True)
        onto: Numbers = (delta - level - normed * along) / deviation
        return onto

    return normed, back


def _activate(network: Network, values: Numbers, site: int) -> tuple[Numbers, Numbers]:
    """The activation of `values` and its slope there."""
    activation, real = network.activation, values.real
    if isinstance(activation, Linear):
        return values, np.ones(values.shape)
    if isinstance(activation, GELU):
        below = 0.5 + 0.5 * np.vectorize(math.erf, otypes=[float])(real * math.sqrt(0.5))
        density = np.exp(-0.5 * real * real) / math.sqrt(2.0 * math.pi)
        slope, bend = below + real * density, density * (2.0 - real * real)
        # Both to first order in the imaginary part, which is all that there is.
        change = values - real
        return real * below + slope * change, slope + bend * change
    if isinstance(activation, SReLU):
        left, left_slope, right, right_slope = SRELU_START
        low = left + left_slope * (values - left)
        high = right + right_slope * (values - right)
        conditions = [real <= left, real >= right]
        return (
            np.select(conditions, [low, high], values),
            np.select(conditions, [left_slope, right_slope], 1.0),
        )
    slopes = np.where(real > 0.0, 1.0, activation.slope(site))
    return values * slopes, slopes
