"""Static: a random mask at the start that never changes; the baseline of dynamic training.

**Source**: as in Evci et al. (RigL), ICML 2020, https://arxiv.org/abs/1911.11134, section 4.
"""

from target_algorithms.topology import Topology


def topology(*, layer_density_power: float) -> Topology:
    """A fixed random mask with the given power of the layer densities; see `Topology`."""
    return Topology(kind="static", layer_density_power=layer_density_power)
