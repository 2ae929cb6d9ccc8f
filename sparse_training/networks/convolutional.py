"""Convolutional networks: LeNet-5 and wide residual networks, for the masked engine.

**Source**: LeNet-5 as in Caffe's example (20 and 50 filters of 5x5, 500 hidden units), the network
of SNIP's and SNFS's MNIST runs; wide residual networks: Zagoruyko & Komodakis, BMVC 2016,
https://arxiv.org/abs/1605.07146, in RigL's and ITOP's CIFAR runs with depth 16 or 22, width 2.
**Differs**: activation, normalisation and dropout are those of the recipe: LeNet-5 has them after
both convolutions and the hidden layer, a residual block where its batch normalisations and ReLUs
stand (dropout between the two convolutions).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparse_training.errors import BadInput
from sparse_training.networks.network import Layer, Network, hidden

Image = tuple[int, int, int]
"""(channels, height, width)."""


@dataclass(frozen=True)
class LeNet5:
    """Two convolutions with pooling, a hidden layer, an output layer."""

    name = "lenet5"
    chain = True

    def sites(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        return hidden(layers)

    def layers(self, image: Image, classes: int, width_factor: float) -> tuple[Layer, ...]:
        """Raises BadInput for an image that its pooling leaves nothing of."""
        channels, side, _ = image
        first, second = side - 4, (side - 4) // 2 - 4
        pooled = second // 2
        if pooled < 1:
            raise BadInput(f"{self.name} needs images of at least 16x16 pixels: {side}x{side}")
        one, two, hidden = (_scaled(number, width_factor) for number in (20, 50, 500))
        return (
            Layer((one, channels, 5, 5), first * first, 25),
            Layer((two, one, 5, 5), second * second, 25),
            Layer((hidden, two * pooled * pooled), 1, pooled * pooled),
            Layer((classes, hidden)),
        )


@dataclass(frozen=True)
class WideResNet:
    """Three groups of residual blocks of two convolutions."""

    depth: int
    """6 n + 4 for n blocks a group."""
    widen: int
    """Channels, as a multiple of 16, 32 and 64."""

    chain = False

    @property
    def name(self) -> str:
        """`wrn-depth-widen`."""
        return f"wrn-{self.depth}-{self.widen}"

    @property
    def blocks(self) -> int:
        """Residual blocks in each of the three groups."""
        return (self.depth - 4) // 6

    def sites(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        channels, number = [layers[0].neurons], 1
        for _ in range(3 * self.blocks):
            channels += [layers[number].neurons, layers[number + 1].neurons]
            number += 2 + has_shortcut(layers, number)
        return tuple(channels)

    def layers(self, image: Image, classes: int, width_factor: float) -> tuple[Layer, ...]:
        """Raises BadInput for an image that its strides leave nothing of."""
        channels, side, _ = image
        if side < 8:
            raise BadInput(f"{self.name} needs images of at least 8x8 pixels: {side}x{side}")
        width = _scaled(16, width_factor)
        layers = [Layer((width, channels, 3, 3), side * side, 9)]
        for group in range(3):
            out = _scaled(16 * 2**group * self.widen, width_factor)
            for block in range(self.blocks):
                stride = 2 if group > 0 and block == 0 else 1
                side = (side + stride - 1) // stride
                layers += [
                    Layer((out, width, 3, 3), side * side, 9),
                    Layer((out, out, 3, 3), side * side, 9),
                ]
                if stride > 1 or out != width:
                    layers.append(Layer((out, width, 1, 1), side * side))
                width = out
        return (*layers, Layer((classes, width)))


ARCHITECTURES = {each.name: each for each in (LeNet5(), WideResNet(16, 2), WideResNet(22, 2))}
"""What command lines can ask for."""


def convolutional(
    architecture: str, features: int, classes: int, width_factor: float, **settings: object
) -> Network:
    """The network for images of so many values; settings: further keywords of `Network`.

    width_factor multiplies channels and hidden neurons, at least one stays. Raises BadInput for
    an unknown architecture and for features that are no square image or one too small.
    """
    if architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise BadInput(f"unknown network {architecture!r}: expected one of {expected}")
    image = image_shape(features)
    chosen = ARCHITECTURES[architecture]
    return Network(
        architecture=chosen,
        image=image,
        layers=chosen.layers(image, classes, width_factor),
        **settings,  # type: ignore[arg-type]
    )


def image_shape(features: int) -> Image:
    """(channels, height, width) of a square image with one or three channels. Raises BadInput."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return channels, side, side
    raise BadInput(
        f"{features} features are no image: a convolutional network expects a square one with "
        "1 or 3 channels"
    )


def has_shortcut(layers: Sequence[Layer], number: int) -> bool:
    """Whether the block that begins with this layer has a convolution in its shortcut."""
    following = layers[number + 2].shape
    return len(following) == 4 and following[2:] == (1, 1)


def _scaled(channels: int, factor: float) -> int:
    return max(1, round(channels * factor))
