"""RigL: drop the smallest weights, grow where the dense gradient is largest.

**Source**: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
https://arxiv.org/abs/1911.11134, Algorithm 1, and the authors' code.
**Differs**: see README.md.
"""

from target_algorithms.topology import Topology


def topology(
    *,
    layer_density_power: float,
    drop_fraction: float,
    update_interval_steps: int,
    update_end: float,
) -> Topology:
    """RigL with its layer densities, alpha, Delta T and T_end; see `Topology`."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="magnitude",
        drop_fraction=drop_fraction,
        drop_schedule="cosine",
        grow_random_share=0.0,
        grow_score="gradient",
        grown_scale=0.0,
        regrown_value="keep",
        update_unit="steps",
        update_interval=update_interval_steps,
        update_end=update_end,
        update_mode="replace_step",
    )
