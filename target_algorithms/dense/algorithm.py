"""Dense: all weights are active; a reference outside the budget, not a competitor."""

from target_algorithms.settings import Topology


def topology() -> Topology:
    """A network with all its weights."""
    return Topology(kind="dense")
