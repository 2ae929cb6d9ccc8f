"""SNFS, sparse momentum: drop the smallest, grow where the momentum is largest, layer by momentum.

**Source**: Dettmers & Zettlemoyer, "Sparse Networks from Scratch: Faster Training without Losing
Performance", 2019, https://arxiv.org/abs/1907.04840, and the authors' code.
**Differs** from that code:
- updates are a number in equal shares of the run; there one follows every epoch;
- counts are exact; there masks are Bernoulli draws and the total follows only by a feedback;
- without redistribution every layer gets its own weights back; there in proportion to its size;
- layers below sparsity .2 keep the common rate.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction, Rounding
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import Magnitude, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Largest, Momentum
from sparse_training.rules.new_weights import NewWeights, State
from sparse_training.rules.redistribution import (
    ActiveWeights,
    InProportion,
    MeanMagnitude,
    MeanMomentum,
    Redistribution,
    ToItsLayer,
)
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Cosine, Linear, Schedule


def compose(
    *,
    layer_density_power: float,
    drop_fraction: float,
    drop_schedule: Literal["cosine", "linear"],
    drop_final: float,
    redistribution: Literal["momentum", "magnitude", "nonzeros", "none"],
    update_count: int,
    update_end: float,
) -> Topology:
    """Sparse momentum; the dense optimiser state costs a dense gradient in every step."""
    schedules: dict[str, Schedule] = {"cosine": Cosine(), "linear": Linear()}
    redistributions: dict[str, Redistribution] = {
        "momentum": InProportion(MeanMomentum(), excess_evenly=True),
        "magnitude": InProportion(MeanMagnitude(), excess_evenly=True),
        "nonzeros": InProportion(ActiveWeights(), excess_evenly=True),
        "none": ToItsLayer(),
    }
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule], final=drop_final),
            drop=Smallest(Magnitude(), rounding=Rounding.CEIL),
            grow=Largest(Momentum()),
            redistribution=redistributions[redistribution],
            new_weights=NewWeights(state=State.KEPT, regrown_keep=False),
            dense_state=True,
        ),
    )
