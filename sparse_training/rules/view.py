"""What an update sees of the network: the layers, their active weights, and what rules need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines.interface import Gradients
from sparse_training.networks.network import Layer
from sparse_training.positions import Positions


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """One layer before an update; arrays without another shape are in the order of `active`."""

    number: int
    """From 0, in forward order."""
    layer: Layer
    """Its shape, and so its neurons."""
    active: Positions
    weights: NDArray[np.float32]
    ever_active: Callable[[], Positions]
    """What `fired` is; a function, since few rules look at it."""
    new: Positions
    """Active positions whose weights the last update grew: they have no history."""
    movable: NDArray[np.bool_]
    """Active weights that a drop rule decides about. What a density path has just taken away is
    none of them, nor is anything in a layer that is not updated."""
    gradients: Gradients | None = None
    """Of the loss by the effective weights; None if no rule needs one."""
    momenta: NDArray[np.float32] | None = None
    """See `engines.interface.momentum`; None if no rule needs it."""

    @property
    def size(self) -> int:
        """Number of positions."""
        return self.layer.size

    @property
    def fired(self) -> Positions:
        """Positions that have ever been active, ascending."""
        return self.ever_active()

    @property
    def gradient(self) -> NDArray[np.float32]:
        """The gradient at the active positions. Raises ValueError if nobody asked for one."""
        return self.gradient_at(self.active)

    def gradient_at(self, positions: Positions) -> NDArray[np.float32]:
        """The gradient at ascending positions, active or not."""
        if self.gradients is None:
            raise ValueError("a rule looks at gradients that its needs do not name")
        return self.gradients.at(self.number, positions)

    @property
    def momentum(self) -> NDArray[np.float32]:
        """The momentum at the active positions. Raises ValueError if nobody asked for it."""
        if self.momenta is None:
            raise ValueError("a rule looks at momenta that its needs do not name")
        return self.momenta


@dataclass(frozen=True)
class View:
    """All layers before an update."""

    layers: Sequence[LayerView]
    chain: bool = True
    """Whether every layer feeds only the next."""

    @property
    def count(self) -> int:
        """Number of active weights."""
        return sum(len(layer.active) for layer in self.layers)

    def movable(self, of_layers: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Of values at the active weights of every layer, those of the movable ones."""
        return [values[layer.movable] for layer, values in zip(self.layers, of_layers, strict=True)]
