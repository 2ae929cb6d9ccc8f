"""Convolutional networks as data: LeNet-5 and wide residual networks, for the masked engine.

**Source**: LeNet-5 as in Caffe's example (20 and 50 filters of 5x5, 500 hidden units), the network
of SNIP's and SNFS's MNIST runs; wide residual networks: Zagoruyko & Komodakis, BMVC 2016,
https://arxiv.org/abs/1605.07146, in RigL's and ITOP's CIFAR runs with depth 16 or 22, width 2.
**Differs**: activation, normalisation and dropout are those of the recipe: LeNet-5 has them after
both convolutions and the hidden layer, a residual block where its batch normalisations and ReLUs
stand (dropout between the two convolutions).
"""

import math
import re

from target_algorithms.errors import BadInput
from target_algorithms.networks import Layer, Network

NAMES = ("lenet5", "wrn-16-2", "wrn-22-2")


def network(
    architecture: str, features: int, classes: int, width_factor: float, **settings: object
) -> Network:
    """The network for images of so many values; settings: further keywords of `Network`.

    width_factor multiplies channels and hidden neurons, at least one stays. Raises BadInput for
    an unknown architecture and for features that are no square image or one too small.
    """
    if architecture not in NAMES:
        raise BadInput(f"unknown network {architecture!r}: expected one of {', '.join(NAMES)}")
    image = image_shape(features)
    build = _lenet5 if architecture == "lenet5" else _wide_resnet
    return Network(
        architecture=architecture,
        image=image,
        layers=build(architecture, image, classes, width_factor),
        **settings,  # type: ignore[arg-type]
    )


def image_shape(features: int) -> tuple[int, int, int]:
    """(channels, height, width) of a square image with one or three channels. Raises BadInput."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return channels, side, side
    raise BadInput(
        f"{features} features are no image: a convolutional network expects a square one with "
        "1 or 3 channels"
    )


def blocks(architecture: str) -> int:
    """Residual blocks in each of the three groups: (depth - 4) / 6."""
    found = re.fullmatch(r"wrn-(\d+)-(\d+)", architecture)
    assert found is not None, architecture
    return (int(found[1]) - 4) // 6


def sites(network: Network) -> tuple[int, ...]:
    """Channels (neurons) at every place with normalisation and activation, in forward order."""
    if not network.architecture.startswith("wrn"):
        return tuple(layer.neurons for layer in network.layers[:-1])
    found, number = [network.layers[0].neurons], 1
    for _ in range(3 * blocks(network.architecture)):
        first, second = network.layers[number], network.layers[number + 1]
        found += [first.neurons, second.neurons]
        number += 2 + has_shortcut(network, number)
    return tuple(found)


def has_shortcut(network: Network, number: int) -> bool:
    """Does the block that begins with this layer have a convolution in its shortcut?"""
    following = network.layers[number + 2].shape
    return len(following) == 4 and following[2:] == (1, 1)


def _scaled(channels: int, factor: float) -> int:
    return max(1, round(channels * factor))


def _lenet5(
    name: str, image: tuple[int, int, int], classes: int, factor: float
) -> tuple[Layer, ...]:
    channels, side, _ = image
    first, second = side - 4, (side - 4) // 2 - 4
    pooled = second // 2
    if pooled < 1:
        raise BadInput(f"{name} needs images of at least 16x16 pixels: found {side}x{side}")
    one, two, hidden = (_scaled(number, factor) for number in (20, 50, 500))
    return (
        Layer((one, channels, 5, 5), first * first, 25),
        Layer((two, one, 5, 5), second * second, 25),
        Layer((hidden, two * pooled * pooled), 1, pooled * pooled),
        Layer((classes, hidden)),
    )


def _wide_resnet(
    name: str, image: tuple[int, int, int], classes: int, factor: float
) -> tuple[Layer, ...]:
    channels, side, _ = image
    if side < 8:
        raise BadInput(f"{name} needs images of at least 8x8 pixels: found {side}x{side}")
    widen = int(name.rsplit("-", 1)[1])
    width = _scaled(16, factor)
    layers = [Layer((width, channels, 3, 3), side * side, 9)]
    for group in range(3):
        out = _scaled(16 * 2**group * widen, factor)
        for block in range(blocks(name)):
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
