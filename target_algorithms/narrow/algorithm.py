"""Narrow: a static mask with as many active weights in a network of a quarter of the widths.

A reference: density by another name, which no configurator may buy.
"""

from typing import Literal

from sparse_training.rules.topology import Topology
from target_algorithms import Role
from target_algorithms.static.algorithm import compose as static

ROLE = Role.REFERENCE


def compose(
    *,
    layer_density_power: float,
    first_layer: Literal["sparse", "dense"],
    last_layer: Literal["sparse", "dense"],
) -> Topology:
    """The topology of a static mask; what is narrow is the network (params.pcs)."""
    return static(
        layer_density_power=layer_density_power, first_layer=first_layer, last_layer=last_layer
    )
