"""GSE: look for growth in a small random subset only, so that no update costs a dense gradient.

**Source**: Heddes, Srinivasa, Givargis, Nicolau, "Always-Sparse Training by Growing Connections
with Guided Stochastic Exploration", 2024, https://arxiv.org/abs/2401.06898, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(
    *,
    layer_density_power: float,
    scope: Literal["global", "layer"],
    grow_candidates: float,
    drop_fraction: float,
    update_interval_steps: int,
    update_end: float,
) -> Topology:
    """GSE with a uniform distribution of the candidates."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="magnitude",
        drop_scope=scope,
        drop_fraction=drop_fraction,
        grow_random_share=0.0,
        grow_score="gradient",
        grow_candidates=grow_candidates,
        regrow_dropped="no",
        redistribution="score" if scope == "global" else "none",
        update_unit="steps",
        update_interval=update_interval_steps,
        update_at_start="no",
        update_end=update_end,
        update_mode="before_step",
    )
