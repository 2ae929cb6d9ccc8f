"""How many weights each layer gets: Erdos-Renyi(-Kernel) densities that meet a budget exactly.

**Source**: ER: Mocanu et al. (SET), Nature Communications 2018, https://arxiv.org/abs/1707.04780;
ERK and the exponent: Evci et al. (RigL), ICML 2020, https://arxiv.org/abs/1911.11134, and the
authors' code.
**Differs** from RigL's code: the largest-remainder rule meets the budget exactly; there every layer
rounds by itself (`published_densities`, `published_count`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import OverBudget
from sparse_training.positions import Shape, distinct


@dataclass(frozen=True)
class ErdosRenyi:
    """A layer's density is proportional to ((n_in + n_out) / (n_in n_out)) ** power."""

    power: float = 1.0
    """In [0, 1]: 1 is ER/ERK, 0 the same density everywhere."""

    def counts(
        self, shapes: Sequence[Shape], budget: int, dense: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """The number of active weights of every layer; see `layer_counts`."""
        return layer_counts(shapes, budget, self.power, dense)


def raw_densities(
    shapes: Sequence[Shape], power: float, *, kernel: bool = True
) -> NDArray[np.float64]:
    """Erdos-Renyi densities before scaling: (sum of dimensions / product of dimensions) ** power.

    With `kernel` (ERK) every dimension of a convolution's weight counts, otherwise (ER) the last
    two, the channels, as in RigL's code.
    """
    dimensions = [shape if kernel else shape[-2:] for shape in shapes]
    return np.array([(sum(dims) / math.prod(dims)) ** power for dims in dimensions])


def layer_counts(
    shapes: Sequence[Shape], budget: int, power: float, dense: Sequence[int] = ()
) -> tuple[int, ...]:
    """The number of active weights of every layer; they sum to min(budget, all weights).

    A layer's part follows `raw_densities`; a layer that would overflow becomes dense, one that
    would be empty gets one weight, and the scale is solved again for the others. What rounding
    leaves goes to the largest remainders. Raises OverBudget for one below a weight a layer.

    dense: layers that get all their weights, or half of the budget where that is less (the budget
    over the number of such layers plus one, if there are several), before the others get theirs.
    """
    if budget < len(shapes):
        raise OverBudget(
            f"a budget of {budget} active weights for {len(shapes)} layers: "
            "expected at least one weight a layer"
        )
    if dense and len(dense) < len(shapes):
        others = [layer for layer in range(len(shapes)) if layer not in dense]
        most = max(1, (budget - len(others)) // (len(dense) + 1))
        fixed = {layer: min(math.prod(shapes[layer]), most) for layer in dense}
        # What the others have no room for is theirs after all.
        spare = budget - sum(fixed.values()) - sum(math.prod(shapes[i]) for i in others)
        for layer in dense:
            more = min(max(0, spare), math.prod(shapes[layer]) - fixed[layer])
            fixed[layer] += more
            spare -= more
        rest = layer_counts([shapes[i] for i in others], budget - sum(fixed.values()), power)
        free = dict(zip(others, rest, strict=True))
        return tuple(fixed.get(layer, free.get(layer, 0)) for layer in range(len(shapes)))
    sizes = np.array([math.prod(shape) for shape in shapes], dtype=np.float64)
    if budget >= sizes.sum():
        return tuple(int(size) for size in sizes)
    wanted = raw_densities(shapes, power) * sizes
    # sum(clip(scale * wanted, 1, size)) grows with the scale and is linear between the scales at
    # which a layer leaves its lower or reaches its upper limit: find the piece, solve inside it.
    breaks = distinct(np.concatenate([1.0 / wanted, sizes / wanted]))
    totals = np.clip(np.outer(breaks, wanted), 1.0, sizes).sum(axis=1)
    piece = int(np.clip(np.searchsorted(totals, budget), 1, len(breaks) - 1))
    fraction = (budget - totals[piece - 1]) / (totals[piece] - totals[piece - 1])
    scale = breaks[piece - 1] + fraction * (breaks[piece] - breaks[piece - 1])
    exact = np.clip(scale * wanted, 1.0, sizes)
    # The solution is exact but for rounding errors; they must not make floor() lose a weight.
    counts = np.floor(exact + 1e-12 * sizes.sum()).astype(np.int64)
    remainders = np.where(counts < sizes, exact - counts, -np.inf)
    order = np.lexsort((np.arange(len(sizes)), -remainders))
    counts[order[: budget - int(counts.sum())]] += 1
    return tuple(int(count) for count in counts)


def published_densities(
    shapes: Sequence[Shape], density: float, power: float = 1.0, *, kernel: bool = True
) -> tuple[float, ...]:
    """The densities of RigL's code for a density wanted on average.

    Rounds every layer's number of zeros down before it solves for the scale, as the code does.
    This suite trains with `layer_counts`; the published numbers are in this form.
    """
    sizes = [math.prod(shape) for shape in shapes]
    zeros = [_published_zeros(size, density) for size in sizes]
    raw = raw_densities(shapes, power, kernel=kernel)
    dense: set[int] = set()
    while True:
        rest = [layer for layer in range(len(shapes)) if layer not in dense]
        if not rest:
            return (1.0,) * len(shapes)
        room = sum(sizes[i] - zeros[i] for i in rest) - sum(zeros[i] for i in dense)
        scale = room / sum(raw[i] * sizes[i] for i in rest)
        if max(raw[i] for i in rest) * scale <= 1.0:
            return tuple(1.0 if i in dense else float(scale * raw[i]) for i in range(len(shapes)))
        largest = max(raw[i] for i in rest)
        dense.update(i for i in rest if raw[i] == largest)


def published_count(shape: Shape, density: float) -> int:
    """The number of active weights that RigL's code gives a layer: n - floor((1 - density) n)."""
    size = math.prod(shape)
    return size - _published_zeros(size, density)


def _published_zeros(size: int, density: float) -> int:
    # The code is given the sparsity: 1 - (1 - 0.1) must not lose a weight to rounding.
    return math.floor((1.0 - density) * size + 1e-9)
