"""MEST: drop by weight and gradient, grow at random; with a soft memory bound if granted.

**Source**: Yuan et al., "MEST: Accurate and Fast Memory-Economic Sparse Training Framework on the
Edge", NeurIPS 2021, https://arxiv.org/abs/2110.14032, and the authors' code.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(
    *,
    layer_density_power: float,
    mest_lambda: float,
    drop_fraction: float = 0.2,
    drop_schedule: Literal["step", "cosine", "constant"] = "step",
    update_interval_epochs: int,
    update_end: float,
    density_path: Literal["constant", "soft_bound"] = "constant",
    initial_factor: float | None = None,
) -> Topology:
    """Elastic mutation (EM), or with a soft bound (EM&S), whose path ends with the updates."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="mest",
        mest_lambda=mest_lambda,
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        grow_random_share=1.0,
        regrown_value="new",
        update_unit="epochs",
        update_interval=update_interval_epochs,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
        density_path=density_path,
        initial_factor=initial_factor,
        path_end=0.5 if density_path == "constant" else min(update_end, 0.9),
    )
