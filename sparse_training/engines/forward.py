"""The forward pass of a network in PyTorch: what autograd differentiates for the masked engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_training.networks.activations import GELU, SRELU_START, Linear, SReLU
from sparse_training.networks.convolutional import LeNet5, WideResNet, has_shortcut
from sparse_training.networks.dropout import dropout_keep
from sparse_training.networks.network import NORM_EPSILON, NORM_MOMENTUM, Network, Norm, Perceptron


@dataclass(frozen=True)
class Parameters:
    """All tensors that a forward pass reads; those of a list in forward order."""

    weights: Sequence[Tensor]
    """Masked weights in the shape of their layer."""
    biases: Sequence[Tensor]
    norms: Sequence[tuple[Tensor, Tensor]]
    """(scale, shift) of every site, empty without normalisation."""
    running: Sequence[tuple[Tensor, Tensor]]
    """(mean, variance) of every site, for batch normalisation."""
    srelus: Sequence[Tensor]
    """(4, channels): left threshold and slope, right threshold and slope, of every site."""


def fresh(network: Network, weights: Sequence[Tensor]) -> Parameters:
    """The parameters of a network before training, around these weights, in their precision."""
    channels = network.sites

    def full(value: float, *shape: int) -> Tensor:
        return weights[0].new_full(shape, value, requires_grad=False)

    norms = channels if network.norm is not Norm.NONE else ()
    srelus = channels if isinstance(network.activation, SReLU) else ()
    return Parameters(
        weights=weights,
        biases=[full(0.0, layer.neurons) for layer in network.layers],
        norms=[(full(1.0, count), full(0.0, count)) for count in norms],
        running=[(full(0.0, count), full(1.0, count)) for count in norms],
        srelus=[weights[0].new_tensor(SRELU_START).view(4, 1).repeat(1, n) for n in srelus],
    )


@dataclass(frozen=True)
class Mode:
    """What distinguishes training from evaluation."""

    training: bool
    step: int = 0
    """Optimiser steps made before this one: which dropout masks."""
    track: bool = False
    """Whether the batch enters the running statistics."""


def logits(
    network: Network, parameters: Parameters, features: Tensor, mode: Mode, seed: int
) -> Tensor:
    """Outputs before the softmax, (rows, classes); features: (rows, inputs)."""
    through = _Through(network, parameters, mode, seed)
    architecture = network.architecture
    if isinstance(architecture, Perceptron):
        return _perceptron(through, features)
    # Channels next to each other: a step of a residual network takes 0.84 of the time.
    images = features.view(-1, *(network.image or ())).contiguous(memory_format=torch.channels_last)
    if isinstance(architecture, WideResNet):
        return _wide_resnet(through, images, architecture.blocks)
    return _lenet5(through, images)


@dataclass(frozen=True)
class _Through:
    network: Network
    parameters: Parameters
    mode: Mode
    seed: int

    def linear(self, values: Tensor, layer: int) -> Tensor:
        return F.linear(values, self.parameters.weights[layer], self.parameters.biases[layer])

    def convolution(self, values: Tensor, layer: int, stride: int = 1) -> Tensor:
        weight = self.parameters.weights[layer]
        # Residual networks keep the size of their images, LeNet-5 does not pad.
        padding = 0 if isinstance(self.network.architecture, LeNet5) else weight.shape[2] // 2
        return F.conv2d(values, weight, self.parameters.biases[layer], stride, padding)

    def site(self, values: Tensor, number: int, *, drops: bool = True) -> Tensor:
        """Normalisation, activation and dropout at one site."""
        if self.network.norm is not Norm.NONE:
            values = self._normalise(values, number)
        values = self._activate(values, number)
        if drops and self.network.dropout > 0.0 and self.mode.training:
            values = self._drop(values, number)
        return values

    def _normalise(self, values: Tensor, number: int) -> Tensor:
        scale, shift = self.parameters.norms[number]
        if self.network.norm is Norm.LAYER:
            if values.dim() == 4:
                return F.group_norm(values, 1, scale, shift, NORM_EPSILON)
            return F.layer_norm(values, values.shape[1:], scale, shift, NORM_EPSILON)
        mean, variance = self.parameters.running[number]
        if not self.mode.training:
            return F.batch_norm(
                values, mean, variance, scale, shift, training=False, eps=NORM_EPSILON
            )
        if values.numel() == values.shape[1]:
            # One value a channel, which torch refuses: it is its own mean, with variance zero.
            if self.mode.track:
                mean.lerp_(values.detach().flatten(), NORM_MOMENTUM)
                variance.mul_(1.0 - NORM_MOMENTUM)
            return (values - values) * scale.view(_channels(values)) + shift.view(_channels(values))
        track = self.mode.track
        return F.batch_norm(
            values,
            mean if track else None,
            variance if track else None,
            scale,
            shift,
            training=True,
            momentum=NORM_MOMENTUM,
            eps=NORM_EPSILON,
        )

    def _activate(self, values: Tensor, number: int) -> Tensor:
        activation = self.network.activation
        if isinstance(activation, Linear):
            return values
        if isinstance(activation, GELU):
            return F.gelu(values)
        if isinstance(activation, SReLU):
            shape = _channels(values)
            left, left_slope, right, right_slope = (
                row.view(shape) for row in self.parameters.srelus[number]
            )
            low = left + left_slope * (values - left)
            high = right + right_slope * (values - right)
            return torch.where(values <= left, low, torch.where(values >= right, high, values))
        slope = activation.slope(number)
        return F.leaky_relu(values, slope) if slope else torch.relu(values)

    def _drop(self, values: Tensor, number: int) -> Tensor:
        rate, rows = self.network.dropout, values.shape[0]
        keep = dropout_keep(self.seed, self.mode.step, number, values[0].numel(), rows, rate)
        mask = torch.from_numpy(keep.T.copy()).to(values.device).view_as(values)
        return values * mask * (1.0 / (1.0 - rate))


def _channels(values: Tensor) -> tuple[int, ...]:
    return (1, values.shape[1], *(1,) * (values.dim() - 2))


def _perceptron(through: _Through, values: Tensor) -> Tensor:
    last = len(through.network.layers) - 1
    for layer in range(last):
        values = through.site(through.linear(values, layer), layer)
    return through.linear(values, last)


def _lenet5(through: _Through, values: Tensor) -> Tensor:
    for layer in range(2):
        values = F.max_pool2d(through.site(through.convolution(values, layer), layer), 2)
    values = through.site(through.linear(values.flatten(1), 2), 2)
    return through.linear(values, 3)


def _wide_resnet(through: _Through, values: Tensor, count: int) -> Tensor:
    network = through.network
    values = through.convolution(values, 0)
    layer, site = 1, 0
    for block in range(3 * count):
        stride = 2 if block >= count and block % count == 0 else 1
        ready = through.site(values, site, drops=False)
        inner = through.site(through.convolution(ready, layer, stride), site + 1)
        added = through.convolution(inner, layer + 1)
        if has_shortcut(network.layers, layer):
            values = through.convolution(ready, layer + 2, stride) + added
            layer += 3
        else:
            values = values + added
            layer += 2
        site += 2
    values = through.site(values, site, drops=False).mean(dim=(2, 3))
    return through.linear(values, layer)
