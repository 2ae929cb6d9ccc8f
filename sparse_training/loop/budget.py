"""What a scenario grants, what things cost in floating-point operations, and what is spent.

**Source**: Evci et al. (RigL), ICML 2020, appendix on FLOPs: a step costs one forward pass and
twice that for the backward pass; an update with gradient growth costs the forward pass and the
gradient by the activations at the sparse price, the gradient by the weights at the dense one; an
optimiser state that follows the dense gradient (SNFS) makes every step cost that. A multiplication
with its addition counts as two; biases, normalisation and activation functions are left out.
An update that uses the gradient of a step shares the step's pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sparse_training.engines.interface import Extent, Needs
from sparse_training.errors import BadInput, OverBudget
from sparse_training.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a scenario grants."""

    active_weights: int | None
    """Active weights at the end, and at any step unless `peak_weights` says otherwise, parameters
    of normalisation and activation among them; None for a dense network."""
    training_samples: int | None = None
    """Rows presented over the whole training, those of update batches included (type P); or"""
    training_flops: float | None = None
    """the price of training by this module (type F)."""
    peak_weights: int | None = None
    """Active weights at any step; at least `active_weights`."""

    def __post_init__(self) -> None:
        if (self.training_samples is None) == (self.training_flops is None):
            raise BadInput("a training budget is either in samples or in FLOPs: expected one")

    def part(self, share: float) -> "Budget":
        """The same with a share, in (0, 1], of the training budget."""
        samples, flops = self.training_samples, self.training_flops
        return replace(
            self,
            training_samples=None if samples is None else round(share * samples),
            training_flops=None if flops is None else share * flops,
        )


# Prices ------------------------------------------------------------------------------------------


def forward_flops(network: Network, counts: Sequence[int]) -> float:
    """FLOPs of one forward pass for one sample; counts: active weights of every layer.

    f_S in the literature, f_D with all weights active.
    """
    return 2.0 * sum(
        layer.uses * count for layer, count in zip(network.layers, counts, strict=True)
    )


def pass_flops(sparse: float, dense: float, gradient: Extent, candidates: float = 0.0) -> float:
    """A forward and backward pass for one sample: 2 f_S and the gradient of the weights looked at.

    gradient: of the active weights f_S (an optimiser step costs 3 f_S), of all f_D. candidates:
    inactive weights that are looked at besides, as a multiple of the active ones.
    """
    weights = {Extent.NOTHING: 0.0, Extent.ACTIVE: sparse, Extent.ALL: dense}[gradient]
    more = 0.0 if gradient is Extent.ALL else candidates * sparse
    return 2.0 * sparse + weights + min(dense - sparse, more)


def static_price(network: Network, active: int) -> float:
    """FLOPs of a step for one row under a mask of so many weights that never changes.

    Where a weight's price depends on its layer, as in convolutions, it is the mean one.
    """
    dense = forward_flops(network, network.sizes)
    return pass_flops(dense * min(active, network.size) / network.size, dense, Extent.ACTIVE)


@dataclass(frozen=True)
class Prices:
    """FLOPs a row, under the mask of the moment."""

    step: float
    """An optimiser step."""
    dense_step: float
    """A step whose gradient is taken of all weights, to be averaged."""
    update: float
    """An update on a batch of its own; 0 if it looks at no gradient."""
    step_with_update: float
    """A step whose gradient an update uses as well; 0 if it looks at none."""


def prices(network: Network, counts: Sequence[int], needs: Needs, dense_state: bool) -> Prices:
    """What things cost; counts: active weights of every layer."""
    sparse = forward_flops(network, counts)
    dense = forward_flops(network, network.sizes)
    step = Extent.ALL if dense_state else Extent.ACTIVE
    update = shared = 0.0
    if needs.a_gradient:
        update = pass_flops(sparse, dense, needs.gradient, needs.candidates)
        shared = pass_flops(sparse, dense, max(step, needs.gradient), needs.candidates)
    return Prices(
        step=pass_flops(sparse, dense, step),
        dense_step=pass_flops(sparse, dense, Extent.ALL),
        update=update,
        step_with_update=shared,
    )


# Spending ----------------------------------------------------------------------------------------


class Account:
    """What is spent of a training budget."""

    def __init__(self, budget: Budget) -> None:
        self.samples = 0
        """Rows presented."""
        self.flops = 0.0
        self._samples, self._flops = budget.training_samples, budget.training_flops or 0.0

    @property
    def progress(self) -> float:
        """The fraction of the budget that is spent."""
        return self.progress_after(0, 0.0)

    def progress_after(self, rows: int, price: float) -> float:
        """The fraction that is spent when so many rows more are, at a price in FLOPs each."""
        if self._samples is not None:
            return min(1.0, (self.samples + rows) / self._samples)
        return min(1.0, (self.flops + rows * price) / self._flops)

    def affordable(self, wanted: int, price: float) -> int:
        """How many of the rows wanted the budget still pays; price: FLOPs a row."""
        if self._samples is not None:
            left = self._samples - self.samples
        else:
            # The difference of large sums: a row is not lost to rounding.
            left = math.floor((self._flops - self.flops) / price + 1e-6)
        return max(0, min(wanted, left))

    def batches_until(self, progress: float, rows: int, price: float, last: float) -> int:
        """How many batches of so many rows, at a price in FLOPs a row, can surely be paid before
        that fraction of the budget is spent, and one more at the price `last`."""
        if self._samples is not None:
            left = progress * self._samples - self.samples - rows
            batch: float = rows
        else:
            left = progress * self._flops - self.flops - rows * last
            batch = rows * max(price, 1.0)
        return max(0, math.floor(left / batch - 1e-6))

    def spend(self, rows: int, price: float) -> None:
        """Pays for rows; price: FLOPs each."""
        self.samples += rows
        self.flops += rows * price

    def check_pays(self, price: float, after: str) -> None:
        """Raises OverBudget if the budget pays for no row; after: what was spent on."""
        if self.affordable(1, price):
            return
        if self._samples is not None:
            name, granted, least = "training_samples", self._samples, self.samples + 1
        else:
            name, granted = "training_flops", math.floor(self._flops)
            least = math.ceil(self.flops + price)
        spent = f" after a first mask by {after}" if self.flops else ""
        raise OverBudget(
            f"{name} = {granted} do not pay for one row{spent}: expected at least {least}"
        )
