"""SET: drop the weights closest to zero of either sign, grow as many at random.

**Source**: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
connectivity inspired by network science", Nature Communications 9 (2018),
https://arxiv.org/abs/1707.04780, and the authors' code (the SciPy version).
**Differs** from that code:
- zeta falls to zero by a cosine until three quarters of the training, and grown weights begin at
  zero, as RigL's paper and ITOP run SET; the authors' settings are in the space, and end below a
  static mask under a learning rate that falls to zero (README.md);
- updates are a number in equal shares of the run; there one follows every epoch, of hundreds;
- the number of weights is a budget met exactly; the code draws positions with replacement;
- where the code would drop all weights of a tiny layer, the largest |w| stays;
- a weight whose value is exactly zero stays a connection; there it vanishes.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.drop import DropRule, Magnitude, SignCounts, SignThresholds, Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import AtRandom
from sparse_training.rules.new_weights import NewWeights, Normal, Value, Zero
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Schedule


def compose(
    *,
    drop_rule: Literal["sign", "sign_nominal", "magnitude"],
    drop_fraction: float,
    drop_schedule: Literal["constant", "cosine"],
    grown_init: Literal["zero", "normal"],
    grown_scale: float = 1.0,
    update_count: int,
    update_end: float,
    evolve_last_layer: Literal["yes", "no"],
) -> Topology:
    """SET; `grown_scale` is for normal grown weights only."""
    schedules: dict[str, Schedule] = {"constant": Constant(), "cosine": Cosine()}
    drops: dict[str, DropRule] = {
        "sign": SignThresholds(),
        "sign_nominal": SignCounts(),
        "magnitude": Smallest(Magnitude()),
    }
    values: dict[str, Value] = {"zero": Zero(), "normal": Normal(grown_scale)}
    return Topology(
        first_mask=RandomMask(),
        updates=Updates(
            when=Evenly(
                count=update_count,
                end=update_end,
                place=Place.AFTER_A_STEP,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule]),
            drop=drops[drop_rule],
            grow=AtRandom(),
            new_weights=NewWeights(value=values[grown_init], regrown_keep=False),
            last_layer=evolve_last_layer == "yes",
        ),
    )
