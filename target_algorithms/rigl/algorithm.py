"""RigL: drop the smallest weights, grow where the dense gradient is largest.

**Source**: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
https://arxiv.org/abs/1911.11134, algorithm 1, and the authors' code.
**Differs** from that code:
- updates are a number in equal shares of the training budget, the clock of t and T_end; there every
  Delta T optimiser steps;
- the number of weights is a budget met exactly; there every layer rounds by itself;
- no noise on the drop score, and an inactive position never counts as a small active weight;
- the growth gradient is on a training batch, as in the paper (the TF2 code takes validation data).
"""

from typing import Literal

from sparse_training.rules.amount import Fraction, Rounding
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import Magnitude, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Gradient, Largest
from sparse_training.rules.new_weights import (
    GradientStep,
    LikeInitial,
    NewWeights,
    State,
    Value,
    Zero,
)
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Polynomial, Schedule


def compose(
    *,
    layer_density_power: float,
    first_layer: Literal["sparse", "dense"],
    drop_fraction: float,
    drop_schedule: Literal["cosine", "constant", "polynomial"],
    drop_power: float = 3.0,
    update_count: int,
    update_end: float,
    grown_init: Literal["zero", "layer_init", "gradient_step"],
    grown_scale: float = 1.0,
    grown_state: Literal["zero", "gradient"],
    gradient_accumulation: int,
) -> Topology:
    """RigL; the parameters with a default are conditional."""
    schedules: dict[str, Schedule] = {
        "cosine": Cosine(),
        "constant": Constant(),
        "polynomial": Polynomial(drop_power),
    }
    values: dict[str, Value] = {
        "zero": Zero(),
        "layer_init": LikeInitial(grown_scale),
        "gradient_step": GradientStep(grown_scale),
    }
    states = {"zero": State.ZERO, "gradient": State.GRADIENT}
    return Topology(
        first_mask=RandomMask(
            densities=ErdosRenyi(layer_density_power), dense_first_layer=first_layer == "dense"
        ),
        updates=Updates(
            when=Evenly(
                count=update_count,
                at_start=True,
                end=update_end,
                place=Place.INSTEAD_OF_A_STEP,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule]),
            drop=Smallest(Magnitude(), rounding=Rounding.FLOOR),
            grow=Largest(Gradient(batches=gradient_accumulation)),
            new_weights=NewWeights(
                value=values[grown_init], state=states[grown_state], regrown_keep=True
            ),
        ),
    )
