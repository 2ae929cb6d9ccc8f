"""SRigL: RigL with the same fan-in for every neuron; neurons with few salient weights go.

**Source**: Lasby, Golubeva, Evci, Nica, Ioannou, "Dynamic Sparse Training with Structured
Sparsity", ICLR 2024, https://arxiv.org/abs/2305.02299, and the authors' code.
**Differs** from that code:
- the budget is met exactly: fan-ins of a layer are the same up to one; there all are rounded down;
- a neuron that stays keeps its largest weight, and one that was ablated does not come back; there
  either follows from the gradients of the update;
- of a neuron with more large weights than its fan-in the largest stay; there any;
- updates are a number in equal shares of the training budget; there every Delta T steps.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import NeuronAblation
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import EvenFanIn, Gradient, Largest
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Schedule


def compose(
    *,
    layer_density_power: float,
    first_layer: Literal["sparse", "dense"],
    salient_share: float,
    drop_fraction: float,
    drop_schedule: Literal["cosine", "constant"],
    update_count: int,
    update_end: float,
    gradient_accumulation: int,
) -> Topology:
    """SRigL with dynamic ablation."""
    schedules: dict[str, Schedule] = {"cosine": Cosine(), "constant": Constant()}
    return Topology(
        first_mask=RandomMask(
            densities=ErdosRenyi(layer_density_power),
            dense_first_layer=first_layer == "dense",
            constant_fan_in=True,
        ),
        updates=Updates(
            when=Evenly(
                count=update_count,
                at_start=True,
                end=update_end,
                place=Place.INSTEAD_OF_A_STEP,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule]),
            drop=NeuronAblation(salient_share),
            grow=EvenFanIn(Largest(Gradient(batches=gradient_accumulation))),
        ),
    )
