"""One update of a variant at its default on eight positions, small enough to work out by hand.

Positions 0 to 3 are active with the weights .1, -.2, 3 and -4; the gradients (or momenta) of the
free positions 4 to 7 are 1, -6, 2 and 5.
"""

from typing import Any

import numpy as np

from sparse_training.engines.interface import DenseGradients
from sparse_training.networks.network import Layer
from sparse_training.rules.grow import Sources
from sparse_training.rules.topology import Topology
from sparse_training.rules.update import LayerUpdate, Memory, update
from sparse_training.rules.view import LayerView, View
from target_algorithms import variant
from tests.examples import topology_at

WEIGHTS = (0.1, -0.2, 3.0, -4.0)
GRADIENT = (0.0, 0.0, 0.0, 0.0, 1.0, -6.0, 2.0, 5.0)


def one_update(
    topology: Topology,
    fraction: float | None = None,
    *,
    target: int = 4,
    gradient: tuple[float, ...] = GRADIENT,
    memory: Memory | None = None,
    seed: int = 0,
) -> LayerUpdate:
    """What an update does; fraction: to drop, that of the first update if left out."""
    rules = topology.updates
    assert rules is not None
    scores = DenseGradients([np.array(gradient, dtype=np.float32)])
    active = np.arange(len(WEIGHTS))
    layer = LayerView(
        number=0,
        layer=Layer((2, 4)),
        active=active,
        weights=np.array(WEIGHTS, dtype=np.float32),
        ever_active=lambda: active,
        new=np.zeros(0, dtype=np.int64),
        movable=np.ones(len(WEIGHTS), dtype=np.bool_),
        gradients=scores,
        momenta=np.ones(len(WEIGHTS), dtype=np.float32),
    )
    changes, _ = update(
        rules,
        View([layer]),
        Sources(1, scores, scores),
        fraction=rules.amount.initial if fraction is None else fraction,
        target=target,
        memory=memory or Memory(),
        rng=np.random.default_rng(seed),
    )
    return changes[0]


def updated(name: str, fraction: float | None = None, target: int = 4, **changes: Any) -> list[int]:
    """The positions that are active after an update of a variant; changes: of its default."""
    topology = topology_at(variant(name), **changes)
    return [int(position) for position in one_update(topology, fraction, target=target).active]


def never_updates(name: str) -> bool:
    """Whether a variant's mask stays as it is."""
    return topology_at(variant(name)).updates is None
