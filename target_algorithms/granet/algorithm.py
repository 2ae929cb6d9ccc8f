"""GraNet: prune gradually from a denser network, and regenerate by gradient after each pruning.

**Source**: Liu et al., "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration",
NeurIPS 2021, https://arxiv.org/abs/2106.10404, and the authors' code.
**Differs** from that code:
- updates are a number in equal shares of the training budget, the clock of both schedules; there an
  interval in steps, and the number of the update;
- training begins with a multiple of the budget of active weights; there at a density;
- counts are exact, and every layer keeps at least one weight.
"""

from sparse_training.rules.amount import Fraction, Rounding
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.density_path import Cubic
from sparse_training.rules.drop import Magnitude, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Gradient, Largest
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Cosine

REQUIRES = ("peak_weights",)


def compose(
    *,
    layer_density_power: float,
    initial_factor: float,
    path_end: float,
    drop_fraction: float,
    drop_final: float,
    update_count: int,
    update_end: float,
) -> Topology:
    """GraNet; its budget must grant more weights during training than at the end."""
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, Cosine(), final=drop_final),
            drop=Smallest(Magnitude(), rounding=Rounding.CEIL),
            grow=Largest(Gradient()),
            new_weights=NewWeights(regrown_keep=False),
            path=Cubic(initial_factor, end=path_end),
        ),
    )
