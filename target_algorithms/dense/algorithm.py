"""Dense: all weights are active; a reference outside the budget, not a competitor."""

from sparse_training.rules.first_mask import AllWeights
from sparse_training.rules.topology import Topology
from target_algorithms import Role

ROLE = Role.REFERENCE


def compose() -> Topology:
    """A network with all its weights."""
    return Topology(first_mask=AllWeights())
