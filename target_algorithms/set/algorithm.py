"""SET: drop the weights closest to zero of either sign, grow as many at random.

**Source**: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
connectivity inspired by network science", Nature Communications 9 (2018),
https://arxiv.org/abs/1707.04780, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.topology import Topology


def topology(
    *,
    drop_fraction: float,
    drop_schedule: Literal["constant", "cosine"],
    grown_init: Literal["zero", "normal"],
    grown_scale: float | None = None,
    update_interval_epochs: int,
    update_end: float,
) -> Topology:
    """SET; `grown_scale` is for normal grown weights only."""
    scale = 0.0 if grown_init == "zero" else grown_scale
    if scale is None:
        raise TypeError("grown_scale is missing")
    return Topology(
        drop_rule="sign",
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        grow_random_share=1.0,
        grown_scale=scale,
        regrown_value="new",
        update_unit="epochs",
        update_interval=update_interval_epochs,
        update_end=update_end,
        update_mode="after_step",
    )
