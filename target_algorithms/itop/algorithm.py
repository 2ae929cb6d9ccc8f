"""ITOP: SET or RigL with exploration to the very end, so that in time many positions are tried.

**Source**: Liu et al., "Do We Actually Need Dense Over-Parameterization? In-Time
Over-Parameterization in Sparse Training", ICML 2021, https://arxiv.org/abs/2102.02887, and the
authors' code.
**Differs** from that code:
- updates are a number in equal shares of the run; there an interval in steps, the same number;
- counts are exact, not Bernoulli, and ties at the threshold are not all dropped;
- its drop by sign keeps the most negative weights whatever their size; here the smallest of either
  sign go.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction, Rounding
from sparse_training.rules.drop import DropRule, Magnitude, Sensitivity, SignCounts, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import AtRandom, Gradient, GrowRule, Largest
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Cosine


def compose(
    *,
    growth: Literal["random", "random_unfired", "gradient"],
    drop_rule: Literal["magnitude", "sign_nominal", "snip"],
    drop_fraction: float,
    drop_final: float,
    update_count: int,
    update_end: float,
) -> Topology:
    """SET-ITOP or RigL-ITOP."""
    drops: dict[str, DropRule] = {
        "magnitude": Smallest(Magnitude(), rounding=Rounding.CEIL),
        "sign_nominal": SignCounts(),
        "snip": Smallest(Sensitivity(), rounding=Rounding.CEIL),
    }
    grows: dict[str, GrowRule] = {
        "random": AtRandom(),
        "random_unfired": AtRandom(never_active=1.0),
        "gradient": Largest(Gradient()),
    }
    return Topology(
        first_mask=RandomMask(),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, Cosine(), final=drop_final),
            drop=drops[drop_rule],
            grow=grows[growth],
            new_weights=NewWeights(regrown_keep=False),
        ),
    )
