"""Importance pruning: hidden neurons that lose all their incoming weights."""

import pytest

from sparse_training.errors import BadInput
from sparse_training.rules.neurons import ImportancePruning
from tests.sparse_training.cases import view_of

HIDDEN = {0: 1.0, 1: -2.0, 2: 0.5, 4: 1.0, 5: 1.0}
OUTPUT = {0: 1.0, 1: 1.0, 2: 1.0}


def left(fraction: float, hidden: dict[int, float] = HIDDEN) -> list[list[int]]:
    """The positions that stay in a layer of three neurons with two inputs, and in the output."""
    layers = view_of([hidden, OUTPUT], [(3, 2), (1, 3)]).layers
    keep = ImportancePruning(fraction=fraction).keep(layers)
    return [layer.active[own].tolist() for layer, own in zip(layers, keep, strict=True)]


def test_importance_pruning_takes_all_inputs_of_the_weakest_neurons() -> None:
    """Importances 3, .5 and 2."""
    assert left(0.34) == [[0, 1, 4, 5], [0, 1, 2]]
    assert left(0.99)[0] == [0, 1]  # one neuron stays


def test_neurons_without_weights_are_none_of_those_that_go() -> None:
    """A half of the two that are alive, not of three."""
    assert left(0.5, {0: 1.0, 1: -2.0, 2: 0.5})[0] == [0, 1]


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_pruning_of_nothing_or_of_everything_is_refused(fraction: float) -> None:
    with pytest.raises(BadInput, match="expected one between 0 and 1"):
        ImportancePruning(fraction=fraction)
