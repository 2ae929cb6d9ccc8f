"""RigL: drop the smallest weights, grow where the dense gradient is largest.

**Source**: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
https://arxiv.org/abs/1911.11134, algorithm 1, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import LayerKind, Topology


def topology(
    *,
    layer_density_power: float,
    first_layer: LayerKind,
    drop_fraction: float,
    drop_schedule: Literal["cosine", "constant", "polynomial"],
    drop_power: float = 3.0,
    update_interval_steps: int,
    update_end: float,
    grown_init: Literal["zero", "layer_init", "gradient_step"],
    grown_scale: float = 1.0,
    grown_state: Literal["zero", "gradient"],
    gradient_accumulation: int,
) -> Topology:
    """RigL; the parameters with a default are conditional."""
    return Topology(
        layer_density_power=layer_density_power,
        first_layer=first_layer,
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        drop_power=drop_power,
        grow_random_share=0.0,
        grow_score="gradient",
        gradient_accumulation=gradient_accumulation,
        regrown_value="keep",
        grown_init=grown_init,
        grown_scale=grown_scale,
        grown_state=grown_state,
        update_unit="steps",
        update_interval=update_interval_steps,
        update_end=update_end,
        update_mode="replace_step",
    )
