"""Static: a random mask at the start that never changes; the baseline of dynamic training.

**Source**: as in Evci et al. (RigL), ICML 2020, https://arxiv.org/abs/1911.11134, section 4.
"""

from target_algorithms.settings import LayerKind, Topology


def topology(
    *, layer_density_power: float, first_layer: LayerKind, last_layer: LayerKind
) -> Topology:
    """A fixed random mask with the given densities of the layers; see `Topology`."""
    return Topology(
        kind="static",
        layer_density_power=layer_density_power,
        first_layer=first_layer,
        last_layer=last_layer,
    )
