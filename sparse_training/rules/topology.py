"""The rules put together: what a sparse-training algorithm is.

A published algorithm is a value of `Topology`. Two equal values are two equal algorithms.
"""

from dataclasses import dataclass

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput
from sparse_training.rules.amount import Fraction
from sparse_training.rules.density_path import DensityPath
from sparse_training.rules.drop import DropRule
from sparse_training.rules.first_mask import FirstMask
from sparse_training.rules.grow import GrowRule
from sparse_training.rules.neurons import ImportancePruning
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.redistribution import Redistribution, ToItsLayer, ToLargestScores
from sparse_training.rules.when import Evenly, Place


@dataclass(frozen=True, kw_only=True)
class Updates:
    """How the mask is changed during training."""

    when: Evenly
    amount: Fraction
    """What fraction of the active weights is dropped."""
    drop: DropRule
    grow: GrowRule
    regrow_dropped: bool = True
    """Whether an update may grow what it has just dropped (not in DSR and GSE; where a layer has
    too few other free positions it may there, too)."""
    redistribution: Redistribution = ToItsLayer()
    new_weights: NewWeights = NewWeights()
    dense_state: bool = False
    """Whether the optimiser's state follows the dense gradient at inactive positions (SNFS); costs
    a dense gradient every step."""
    last_layer: bool = True
    """Whether the output layer is updated too (SET 2018: yes; Curci et al. 2021: no)."""
    path: DensityPath | None = None
    """More active weights on the way; None: the budget all the time."""
    neurons: ImportancePruning | None = None
    """Neurons that go after some updates."""

    def __post_init__(self) -> None:
        ranked = self.grow.ranked
        if self.needs.momentum is Extent.ALL and not self.dense_state:
            raise BadInput("growth by momentum needs a dense optimiser state")
        if self.drop.over_all_layers and isinstance(self.redistribution, ToItsLayer):
            raise BadInput("dropping over all layers needs a redistribution: found none")
        if ranked is None and isinstance(self.redistribution, ToLargestScores):
            raise BadInput("layers can only compete for growth by scores: found growth at random")
        if not self.needs.a_gradient and self.when.place is not Place.AFTER_A_STEP:
            raise BadInput(
                "an update that looks at no gradient would spend a batch on nothing: expected it "
                "after a step"
            )

    @property
    def batches(self) -> int:
        """Batches that the growth gradient is a mean over; 1 where growth is at random.

        The first is taken when the update is due, the last when it is made.
        """
        ranked = self.grow.ranked
        return 1 if ranked is None else ranked.score.batches

    @property
    def needs(self) -> Needs:
        """What an update looks at, for all rules together."""
        ranked = self.grow.ranked
        return (
            self.drop.needs
            | (Needs() if ranked is None else ranked.needs)
            | self.redistribution.needs
            | self.new_weights.needs
            | Needs(every_position=self.dense_state)
        )


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How the mask, the set of active weights, is chosen and changed."""

    first_mask: FirstMask
    updates: Updates | None = None
    """None: the first mask stays."""

    @property
    def needs(self) -> Needs:
        """What the rules ask of an engine."""
        return self.first_mask.needs | (Needs() if self.updates is None else self.updates.needs)

    @property
    def dense_state(self) -> bool:
        """Whether the optimiser's state follows the dense gradient at inactive positions."""
        return self.updates is not None and self.updates.dense_state
