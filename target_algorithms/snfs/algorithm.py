"""SNFS, sparse momentum: drop the smallest, grow where the momentum is largest, layer by momentum.

**Source**: Dettmers & Zettlemoyer, "Sparse Networks from Scratch: Faster Training without Losing
Performance", 2019, https://arxiv.org/abs/1907.04840, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(
    *,
    layer_density_power: float,
    drop_fraction: float,
    drop_schedule: Literal["cosine", "linear"],
    drop_final: float,
    redistribution: Literal["momentum", "magnitude", "nonzeros", "none"],
    update_interval_epochs: int,
    update_end: float,
) -> Topology:
    """Sparse momentum."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="magnitude",
        drop_rounding="ceil",
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        drop_final=drop_final,
        grow_random_share=0.0,
        grow_score="momentum",
        regrown_value="new",
        grown_state="keep",
        inactive_state="dense",
        redistribution=redistribution,
        update_unit="epochs",
        update_interval=update_interval_epochs,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
    )
