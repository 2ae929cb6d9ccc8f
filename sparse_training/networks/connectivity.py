"""Which neurons the active weights leave without a way in or out."""

from collections.abc import Sequence

import numpy as np

from sparse_training.networks.network import Layer, Network
from sparse_training.positions import Positions, distinct


def dead_neurons(network: Network, active: Sequence[Positions]) -> int:
    """Hidden neurons (channels) without an active incoming or without an active outgoing weight.

    In a residual network a channel has several ways in and out: there only those without an
    active incoming weight count.
    """
    dead = 0
    for layer in range(len(active) - 1):
        alive = distinct(active[layer] // network.layers[layer].fan_in)
        if network.architecture.chain:
            outgoing = distinct(input_neurons(network.layers[layer + 1], active[layer + 1]))
            alive = np.intersect1d(alive, outgoing, assume_unique=True)
        dead += network.layers[layer].neurons - len(alive)
    return dead


def disconnected(network: Network, active: Sequence[Positions]) -> tuple[int, int] | None:
    """(hidden neurons on no path from an input to an output, outputs that no input reaches).

    None for residual networks, whose skip connections are paths of their own.
    """
    if not network.architecture.chain:
        return None
    first = network.layers[0]
    reached = np.ones(first.fan_in // first.inputs_per_neuron, dtype=np.bool_)
    forward = []
    for layer, positions in zip(network.layers, active, strict=True):
        live = positions[reached[input_neurons(layer, positions)]]
        reached = np.zeros(layer.neurons, dtype=np.bool_)
        reached[live // layer.fan_in] = True
        forward.append(reached)
    useful = np.ones(network.classes, dtype=np.bool_)
    lost = 0
    for number in range(len(network.layers) - 1, 0, -1):
        layer, positions = network.layers[number], active[number]
        live = positions[useful[positions // layer.fan_in]]
        useful = np.zeros(network.layers[number - 1].neurons, dtype=np.bool_)
        useful[input_neurons(layer, live)] = True
        lost += int(np.count_nonzero(~(useful & forward[number - 1])))
    return lost, int(np.count_nonzero(~forward[-1]))


def input_neurons(layer: Layer, positions: Positions) -> Positions:
    """The neuron of the layer before that every position of a layer comes from."""
    return positions % layer.fan_in // layer.inputs_per_neuron
