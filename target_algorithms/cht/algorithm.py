"""CHT and CHTs: grow where the paths of the layer's own graph lead; no gradient is looked at.

**Source**: Zhang et al., "Epitopological learning and Cannistraci-Hebb network shape intelligence
brain-inspired theory for ultra-sparse advantage in deep learning", ICLR 2024 (CHT); Zhang et al.,
"Brain network science modelling of sparse neural networks enables Transformers and LLMs to perform
as fully connected", NeurIPS 2025, https://arxiv.org/abs/2501.19107 (CHTs), and the authors' code.
**Differs** from that code:
- path scores are by nodes (CH2-L3n, CH3-L3n), as CHTs introduces them; CHT's are by paths;
- zeta falls to zero by a cosine until three quarters of the training; CHTs' is constant, beside a
  number of weights that falls (EM_S);
- the output layer is sparse and evolves like the others, and densities are Erdos-Renyi; there it is
  dense, and the others have one density;
- the first mask is random; there it may follow correlations of the inputs;
- weights are not dropped by chance, and layers do not stop early;
- where fewer positions have a score than are grown, the lowest of the others come (deterministic);
- updates are a number in equal shares of the run; there one follows every epoch.
"""

from typing import Literal

from sparse_training.rules.amount import Fraction
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.drop import (
    DropRule,
    DropScore,
    Magnitude,
    RelativeImportance,
    Smallest,
    WithStranded,
)
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import GrowRule, Largest, Paths, Sampled
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Schedule


def compose(
    *,
    layer_density_power: float,
    drop_rule: Literal["magnitude", "relative"],
    drop_fraction: float,
    drop_schedule: Literal["cosine", "constant"],
    drop_stranded: Literal["yes", "no"],
    path_score: Literal["ch2", "ch3"],
    growth: Literal["sampled", "deterministic"],
    grow_power: float = 1.0,
    update_count: int,
    update_end: float,
) -> Topology:
    """CHTs, or CHT with deterministic growth; `grow_power` is for sampled growth only."""
    schedules: dict[str, Schedule] = {"cosine": Cosine(), "constant": Constant()}
    scores: dict[str, DropScore] = {"magnitude": Magnitude(), "relative": RelativeImportance()}
    drop: DropRule = Smallest(scores[drop_rule])
    best = Largest(Paths(internal=path_score == "ch2"))
    grows: dict[str, GrowRule] = {"sampled": Sampled(best, grow_power), "deterministic": best}
    return Topology(
        first_mask=RandomMask(densities=ErdosRenyi(layer_density_power)),
        updates=Updates(
            when=Evenly(count=update_count, end=update_end, place=Place.AFTER_A_STEP),
            amount=Fraction(drop_fraction, schedules[drop_schedule]),
            drop=WithStranded(drop) if drop_stranded == "yes" else drop,
            grow=grows[growth],
        ),
    )
