"""DSR: drop below an adaptive threshold, grow at random where weights survive.

**Source**: Mostafa & Wang, "Parameter Efficient Training of Deep Convolutional Neural Networks by
Dynamic Sparse Reparameterization", ICML 2019, https://arxiv.org/abs/1902.05967, algorithm 1, and
the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(
    *,
    layer_density_power: float,
    drop_fraction: float,
    drop_threshold: float,
    grown_init: Literal["zero", "normal"],
    grown_scale: float = 1.0,
    update_interval_steps: int,
    update_end: float,
) -> Topology:
    """Dynamic sparse reparameterization; `grown_scale` is for normal grown weights only."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="threshold",
        drop_threshold=drop_threshold,
        drop_fraction=drop_fraction,
        drop_schedule="constant",
        grow_random_share=1.0,
        regrow_dropped="no",
        grown_init=grown_init,
        grown_scale=grown_scale,
        redistribution="nonzeros",
        update_unit="steps",
        update_interval=update_interval_steps,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
    )
