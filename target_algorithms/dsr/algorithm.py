"""DSR: drop below an adaptive threshold, grow at random where weights survive.

**Source**: Mostafa & Wang, "Parameter Efficient Training of Deep Convolutional Neural Networks by
Dynamic Sparse Reparameterization", ICML 2019, https://arxiv.org/abs/1902.05967, algorithm 1, and
the authors' code.
**Differs** from that code:
- the number of weights that an update aims to move is a fraction of the active ones; there a count
  for each network, and the default is that of its smallest;
- where a layer would lose all its weights the largest stays; there the first;
- updates are a number at equal distances; there their interval doubles three times during a run;
- a layer is filled up to 99 % of its free positions only; the rest goes to the others by the same
  rule;
- if a layer has too few positions that were free before the update, just dropped ones are eligible.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import BelowThreshold
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import AtRandom
from sparse_training.rules.new_weights import NewWeights, Normal, Value, Zero
from sparse_training.rules.redistribution import InProportion, Survivors
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant


def compose(
    *,
    layer_density_power: float,
    drop_fraction: float,
    drop_threshold: float,
    grown_init: Literal["zero", "normal"],
    grown_scale: float = 1.0,
    update_count: int,
    update_end: float,
) -> Topology:
    """Dynamic sparse reparameterization; `grown_scale` is for normal grown weights only."""
    values: dict[str, Value] = {"zero": Zero(), "normal": Normal(grown_scale)}
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, Constant()),
            drop=BelowThreshold(drop_threshold),
            grow=AtRandom(),
            regrow_dropped=False,
            redistribution=InProportion(Survivors()),
            new_weights=NewWeights(value=values[grown_init]),
        ),
    )
