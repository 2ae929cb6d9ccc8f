"""Narrow: a static mask with as many active weights in a network of a quarter of the widths.

A reference: density by another name, which no configurator may buy. What is narrow is the network
(params.pcs); the topology is that of a static mask.
"""

from target_algorithms import Role
from target_algorithms.static.algorithm import compose as compose

ROLE = Role.REFERENCE
