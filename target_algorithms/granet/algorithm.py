"""GraNet: prune gradually from a denser network, and regenerate by gradient after each pruning.

**Source**: Liu et al., "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration",
NeurIPS 2021, https://arxiv.org/abs/2106.10404, and the authors' code.
**Differs**: see README.md.
"""

from target_algorithms.settings import Topology


def topology(
    *,
    layer_density_power: float,
    initial_density: float,
    path_end: float,
    drop_fraction: float,
    drop_final: float,
    update_interval_steps: int,
    update_end: float,
) -> Topology:
    """GraNet; its budget must grant more weights during training than at the end."""
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule="magnitude",
        drop_rounding="ceil",
        drop_fraction=drop_fraction,
        drop_final=drop_final,
        grow_random_share=0.0,
        grow_score="gradient",
        regrown_value="new",
        update_unit="steps",
        update_interval=update_interval_steps,
        update_at_start="no",
        update_end=update_end,
        update_mode="after_step",
        density_path="cubic",
        initial_density=initial_density,
        path_end=path_end,
    )
