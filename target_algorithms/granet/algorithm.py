"""GraNet: prune gradually from a denser network, and regenerate by gradient after each pruning.

**Source**: Liu et al., "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration",
NeurIPS 2021, https://arxiv.org/abs/2106.10404, and the authors' code.
**Differs** from that code:
- the schedule's clock is the training budget, not the number of the update;
- counts are exact, and every layer keeps at least one weight.
"""

from sparse_training.rules.amount import Fraction, Rounding
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.density_path import AtDensity, Cubic
from sparse_training.rules.drop import Magnitude, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Gradient, Largest
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Every, Place, Unit
from sparse_training.schedules import Cosine

REQUIRES = ("peak_weights",)


def compose(
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
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Every(
                interval=update_interval_steps,
                unit=Unit.STEPS,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, Cosine(), final=drop_final),
            drop=Smallest(Magnitude(), rounding=Rounding.CEIL),
            grow=Largest(Gradient()),
            new_weights=NewWeights(regrown_keep=False),
            path=Cubic(AtDensity(initial_density), end=path_end),
        ),
    )
