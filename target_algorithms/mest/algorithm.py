"""MEST: drop by weight and gradient, grow at random; with a soft memory bound if granted.

**Source**: Yuan et al., "MEST: Accurate and Fast Memory-Economic Sparse Training Framework on the
Edge", NeurIPS 2021, https://arxiv.org/abs/2110.14032, and the authors' code.
**Differs** from that code:
- densities are Erdos-Renyi by default, there uniform, which at high sparsity leaves the output
  layer ten weights;
- updates are a number in equal shares of the run; there an interval in epochs, the same number;
- the importance is that of active weights only; there an inactive position's gradient can win;
- counts are exact, ties go to the lowest position.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.density_path import SoftBound
from sparse_training.rules.drop import MagnitudeAndGradient, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import AtRandom
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Halved, Schedule


def compose(
    *,
    layer_density_power: float,
    mest_lambda: float,
    drop_fraction: float = 0.2,
    drop_schedule: Literal["step", "cosine", "constant"] = "step",
    update_count: int,
    update_end: float,
    density_path: Literal["constant", "soft_bound"] = "constant",
    initial_factor: float = 1.5,
) -> Topology:
    """Elastic mutation (EM), or with a soft bound (EM&S), whose path ends with the updates."""
    schedules: dict[str, Schedule] = {
        "step": Halved(),
        "cosine": Cosine(),
        "constant": Constant(),
    }
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule]),
            drop=Smallest(MagnitudeAndGradient(mest_lambda)),
            grow=AtRandom(),
            new_weights=NewWeights(regrown_keep=False),
            path={
                "constant": None,
                "soft_bound": SoftBound(initial_factor, end=min(update_end, 0.9)),
            }[density_path],
        ),
    )
