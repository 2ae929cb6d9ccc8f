"""Static: a random mask at the start that never changes; the baseline of dynamic training.

**Source**: as in Evci et al. (RigL), ICML 2020, https://arxiv.org/abs/1911.11134, section 4.
"""

from typing import Literal

from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.topology import Topology
from target_algorithms import Role

ROLE = Role.BASELINE


def compose(
    *,
    layer_density_power: float,
    first_layer: Literal["sparse", "dense"],
    last_layer: Literal["sparse", "dense"],
) -> Topology:
    """A fixed random mask with the given densities of the layers."""
    return Topology(
        first_mask=RandomMask(
            densities=ErdosRenyi(layer_density_power),
            dense_first_layer=first_layer == "dense",
            dense_last_layer=last_layer == "dense",
        )
    )
