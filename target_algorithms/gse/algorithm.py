"""GSE: look for growth in a small random subset only, so that no update costs a dense gradient.

**Source**: Heddes, Srinivasa, Givargis, Nicolau, "Always-Sparse Training by Growing Connections
with Guided Stochastic Exploration", 2024, https://arxiv.org/abs/2401.06898, and the authors' code.
**Differs** from that code:
- candidates are drawn without replacement, and free ones only; there with replacement from all, so
  that some are wasted; layers denser than one half are drawn from like the others;
- updates are a number in equal shares of the run; there an interval in steps, the same number;
- one batch an update, there 10 rows of each class; every layer keeps at least one weight;
- the gradient is computed where it is looked at; the code masks a dense one;
- the guided distributions of the paper (GraBo, GraEst) are left out.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import Magnitude, Smallest, Within
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Gradient, Largest
from sparse_training.rules.redistribution import Redistribution, ToItsLayer, ToLargestScores
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Cosine


def compose(
    *,
    layer_density_power: float,
    scope: Literal["global", "layer"],
    grow_candidates: float,
    drop_fraction: float,
    update_count: int,
    update_end: float,
) -> Topology:
    """GSE with a uniform distribution of the candidates."""
    scopes = {"global": Within.ALL_LAYERS, "layer": Within.A_LAYER}
    redistributions: dict[str, Redistribution] = {
        "global": ToLargestScores(),
        "layer": ToItsLayer(),
    }
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.BEFORE_A_STEP,
            ),
            amount=Fraction(drop_fraction, Cosine()),
            drop=Smallest(Magnitude(), within=scopes[scope]),
            grow=Largest(Gradient(), candidates_per_weight=grow_candidates),
            regrow_dropped=False,
            redistribution=redistributions[scope],
        ),
    )
