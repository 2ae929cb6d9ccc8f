"""SET: drop the weights closest to zero of either sign, grow as many at random.

**Source**: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
connectivity inspired by network science", Nature Communications 9 (2018),
https://arxiv.org/abs/1707.04780, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology, YesNo


def topology(
    *,
    drop_rule: Literal["sign", "sign_nominal", "magnitude"],
    drop_fraction: float,
    drop_schedule: Literal["constant", "cosine"],
    grown_init: Literal["zero", "normal"],
    grown_scale: float = 1.0,
    update_interval_epochs: int,
    update_end: float,
    evolve_last_layer: YesNo,
) -> Topology:
    """SET; `grown_scale` is for normal grown weights only."""
    return Topology(
        drop_rule=drop_rule,
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        grow_random_share=1.0,
        grown_init=grown_init,
        grown_scale=grown_scale,
        regrown_value="new",
        update_unit="epochs",
        update_interval=update_interval_epochs,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
        evolve_last_layer=evolve_last_layer,
    )
