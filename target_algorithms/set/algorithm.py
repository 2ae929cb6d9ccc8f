"""SET: drop the weights closest to zero of either sign, grow as many at random.

**Source**: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
connectivity inspired by network science", Nature Communications 9 (2018),
https://arxiv.org/abs/1707.04780, and the authors' code.
**Differs**: see README.md.
"""

from target_algorithms.topology import Topology


def topology(*, drop_fraction: float, update_interval_epochs: int) -> Topology:
    """SET with the share of weights to replace (zeta) and the epochs between two updates."""
    return Topology(
        drop_rule="sign",
        drop_fraction=drop_fraction,
        drop_schedule="constant",
        grow_random_share=1.0,
        grown_scale=0.1,
        regrown_value="new",
        update_unit="epochs",
        update_interval=update_interval_epochs,
        update_end=1.0,
        update_mode="after_step",
    )
