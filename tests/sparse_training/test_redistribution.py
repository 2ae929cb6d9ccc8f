"""In which layers an update grows: as SNFS, DSR and GSE share out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.rules.redistribution import (
    ActiveWeights,
    MeanGradient,
    MeanMagnitude,
    MeanMomentum,
    Merit,
    allocate,
)
from tests.sparse_training.cases import layer_of, scores_of


def test_redistribution_is_that_of_snfs() -> None:
    """Importances .75 and .25, 10 and 10 removed: 15 and 5 are grown; what is full goes on."""
    assert allocate(20, [0.75, 0.25], [1000, 1000]) == (15, 5)
    assert allocate(20, [0.75, 0.25], [int(0.99 * 12), 1000]) == (11, 9)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_an_allocation_gives_everything_away_and_overfills_nobody(
    layers: Sequence[tuple[float, int]], fraction: float
) -> None:
    merits, room = [merit for merit, _ in layers], [most for _, most in layers]
    total = int(fraction * sum(room))
    given_away = allocate(total, merits, room)
    assert sum(given_away) == total
    assert all(0 <= got <= most for got, most in zip(given_away, room, strict=True))


def test_more_than_there_is_room_for_is_a_fault() -> None:
    with pytest.raises(ValueError, match="9 weights to share among layers that take 8"):
        allocate(9, [1.0, 1.0], [5, 3])


@pytest.mark.parametrize(
    ("merit", "expected"),
    [(MeanMomentum(), 4.0), (MeanGradient(), 1.5), (MeanMagnitude(), 2.0), (ActiveWeights(), 2.0)],
    ids=repr,
)
def test_a_merit_is_a_mean_over_the_active_weights_or_their_number(
    merit: Merit, expected: float
) -> None:
    """Sizes count, not signs, and inactive positions do not."""
    layer = layer_of(
        {0: -1.0, 2: 3.0},
        (1, 4),
        gradients=scores_of([[-1.0, 9.0, 2.0, 9.0]]),
        momenta=[-3.0, 5.0],
    )
    assert merit.of(layer) == expected


@pytest.mark.parametrize(
    "merit", [MeanMomentum(), MeanGradient(), MeanMagnitude(), ActiveWeights()], ids=repr
)
def test_a_layer_without_weights_has_no_merit(merit: Merit) -> None:
    empty = layer_of({}, (1, 4), gradients=scores_of([[9.0] * 4]), momenta=[])
    assert merit.of(empty) == 0.0
