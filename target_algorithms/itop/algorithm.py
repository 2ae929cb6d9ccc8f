"""ITOP: SET or RigL with exploration to the very end, so that in time many positions are tried.

**Source**: Liu et al., "Do We Actually Need Dense Over-Parameterization? In-Time
Over-Parameterization in Sparse Training", ICML 2021, https://arxiv.org/abs/2102.02887, and the
authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(
    *,
    growth: Literal["random", "random_unfired", "gradient"],
    drop_rule: Literal["magnitude", "sign_nominal", "snip"],
    drop_fraction: float,
    drop_final: float,
    update_interval_steps: int,
    update_end: float,
) -> Topology:
    """SET-ITOP or RigL-ITOP."""
    return Topology(
        drop_rule=drop_rule,
        drop_rounding="ceil",
        drop_fraction=drop_fraction,
        drop_final=drop_final,
        grow_random_share=0.0 if growth == "gradient" else 1.0,
        unfired_bias=1.0 if growth == "random_unfired" else 0.0,
        regrown_value="new",
        update_unit="steps",
        update_interval=update_interval_steps,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
    )
