"""Meta: every component of SET and RigL, and what lies between them, as a parameter.

**Source**: SET: Mocanu et al., 2018, https://arxiv.org/abs/1707.04780; RigL: Evci et al., 2020,
https://arxiv.org/abs/1911.11134; never-active weights first: Liu et al. (ITOP), 2021,
https://arxiv.org/abs/2102.02887. At SET's and at RigL's settings it is the same algorithm.
**Differs**: see README.md.
"""

from typing import Literal

from target_algorithms.topology import Topology


def topology(
    *,
    layer_density_power: float,
    drop_rule: Literal["magnitude", "sign", "sign_nominal"],
    drop_fraction: float,
    drop_schedule: Literal["constant", "linear", "cosine"],
    grow: Literal["random", "score", "mixed"],
    grow_random_share: float | None = None,
    grow_score: Literal["gradient", "unfired_gradient"] | None = None,
    grown_init: Literal["zero", "normal"],
    grown_scale: float | None = None,
    regrown_value: Literal["keep", "new"],
    update_unit: Literal["steps", "epochs"],
    update_interval_steps: int | None = None,
    update_interval_epochs: int | None = None,
    update_end: float,
    update_mode: Literal["replace_step", "after_step"],
) -> Topology:
    """The combination that the parameters name; those that can be None are conditional."""
    interval = update_interval_steps if update_unit == "steps" else update_interval_epochs
    share = {"random": 1.0, "score": 0.0, "mixed": grow_random_share}[grow]
    scale = 0.0 if grown_init == "zero" else grown_scale
    if interval is None or share is None or scale is None:
        raise TypeError("a parameter is missing that is active")
    return Topology(
        layer_density_power=layer_density_power,
        drop_rule=drop_rule,
        drop_fraction=drop_fraction,
        drop_schedule=drop_schedule,
        grow_random_share=share,
        grow_score=grow_score or "gradient",
        grown_scale=scale,
        regrown_value=regrown_value,
        update_unit=update_unit,
        update_interval=interval,
        update_end=update_end,
        update_mode=update_mode,
    )
