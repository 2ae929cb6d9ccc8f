"""In which layers an update grows: as SNFS, DSR and GSE share out."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_training.positions import no_positions
from sparse_training.rules.redistribution import (
    ActiveWeights,
    InProportion,
    MeanGradient,
    MeanMagnitude,
    MeanMomentum,
    Merit,
    Redistribution,
    Survivors,
    ToItsLayer,
    ToLargestScores,
    allocate,
)
from sparse_training.rules.update import LayerUpdate
from tests.sparse_training.cases import (
    BY_GRADIENT,
    layer_of,
    positions_of,
    scores_of,
    updated,
    view_of,
)


def test_redistribution_is_that_of_snfs() -> None:
    """Importances .75 and .25, 10 and 10 removed: 15 and 5 are grown; what is full goes on."""
    assert allocate(20, [0.75, 0.25], [1000, 1000], excess_evenly=True) == (15, 5)
    assert allocate(20, [0.75, 0.25], [int(0.99 * 12), 1000], excess_evenly=True) == (11, 9)


def test_what_a_full_layer_cannot_take_goes_on_in_equal_parts_or_by_the_same_rule() -> None:
    """180, 105 and 15 are due; the first has room for 99 of its 180, so 81 go to the others."""
    importances, room = [0.6, 0.35, 0.05], [99, 990, 4950]
    # 145.5 and 55.5, of which the first layer's half is rounded up; SNFS's code has 145 and 55.
    assert allocate(300, importances, room, excess_evenly=True) == (99, 146, 55)
    # 105 and 15 of what is seven to one: 175.9 and 25.1.
    assert allocate(300, importances, room) == (99, 176, 25)


def test_a_layer_that_the_excess_fills_passes_the_rest_on() -> None:
    """6, 3, 1 and 0 are due; 5 are left over: 5/3 each, but the second takes 1 of them."""
    assert allocate(10, [6.0, 3.0, 1.0, 0.0], [1, 4, 9, 9], excess_evenly=True) == (1, 4, 3, 2)


def test_what_a_layer_without_room_would_have_had_goes_to_the_others_in_equal_parts() -> None:
    """2.6 for each of the first three and 5.2: the 5.2 of the full ones are 2.6 for each other."""
    assert allocate(13, [1, 1, 1, 2], [0, 0, 6, 20], excess_evenly=True) == (0, 0, 5, 8)
    assert allocate(13, [1, 1, 1, 2], [0, 0, 6, 20]) == (0, 0, 4, 9)


def loop_of_the_authors(
    total: int, importances: Sequence[float], zeros: Sequence[int]
) -> list[float]:
    """As SNFS's code has it: the residual is spread evenly over all layers, full ones too."""
    regrowth = [total * importance / sum(importances) for importance in importances]
    residual = 1.0
    while residual > 1e-9:
        residual = sum(max(0.0, have - most) for have, most in zip(regrowth, zeros, strict=True))
        regrowth = [
            min(have, most) + residual / len(zeros)
            for have, most in zip(regrowth, zeros, strict=True)
        ]
    return regrowth


@settings(max_examples=2000)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=5),
    st.floats(0, 0.9),
)
def test_equal_parts_are_what_the_authors_loop_comes_to(
    layers: Sequence[tuple[int, int]], fraction: float
) -> None:
    importances, room = [merit for merit, _ in layers], [most for _, most in layers]
    total = int(fraction * sum(room))
    ours = allocate(total, importances, room, excess_evenly=True)
    for got, due in zip(ours, loop_of_the_authors(total, importances, room), strict=True):
        assert abs(got - due) < 1.0 + 1e-6


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40)), min_size=1, max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_an_allocation_gives_everything_away_and_overfills_nobody(
    layers: Sequence[tuple[float, int]], fraction: float, evenly: bool
) -> None:
    merits, room = [merit for merit, _ in layers], [most for _, most in layers]
    total = int(fraction * sum(room))
    given_away = allocate(total, merits, room, excess_evenly=evenly)
    assert sum(given_away) == total
    assert all(0 <= got <= most for got, most in zip(given_away, room, strict=True))


def test_more_than_there_is_room_for_is_a_fault() -> None:
    with pytest.raises(ValueError, match="9 weights to share among layers that take 8"):
        allocate(9, [1.0, 1.0], [5, 3])


@pytest.mark.parametrize(
    ("merit", "expected"),
    [
        *[(MeanMomentum(), 4.0), (MeanGradient(), 1.5), (MeanMagnitude(), 2.0)],
        *[(ActiveWeights(), 2.0), (Survivors(), 1.0)],
    ],
    ids=repr,
)
def test_a_merit_is_a_mean_over_the_active_weights_or_their_number(
    merit: Merit, expected: float
) -> None:
    """Sizes count, not signs, and inactive positions do not. Of two weights one is left."""
    layer = layer_of(
        {0: -1.0, 2: 3.0},
        (1, 4),
        gradients=scores_of([[-1.0, 9.0, 2.0, 9.0]]),
        momenta=[-3.0, 5.0],
    )
    assert merit.of(layer, positions_of([2])) == expected


@pytest.mark.parametrize(
    "merit",
    [MeanMomentum(), MeanGradient(), MeanMagnitude(), ActiveWeights(), Survivors()],
    ids=repr,
)
def test_a_layer_without_weights_has_no_merit(merit: Merit) -> None:
    empty = layer_of({}, (1, 4), gradients=scores_of([[9.0] * 4]), momenta=[])
    assert merit.of(empty, no_positions()) == 0.0


# Updates -----------------------------------------------------------------------------------------


def counts_of(changes: Sequence[LayerUpdate]) -> list[int]:
    return [len(change.active) for change in changes]


def test_what_a_path_adds_goes_where_there_is_room() -> None:
    """Nothing is dropped, six come: in proportion to 4 and 8 free positions."""
    view = view_of([{0: 1.0}, {0: 1.0, 1: 1.0}], [(1, 5), (1, 10)], gradients=[[1] * 5, [1] * 10])
    assert counts_of(updated(BY_GRADIENT, view, 0.0, target=9)) == [3, 6]


def test_no_layer_is_filled_to_the_last_position_while_others_have_room() -> None:
    """Of 15 weights nearly all are due to the first layer: it takes 99 % of its 10 free ones."""
    view = view_of(
        [{0: 1000.0}, dict.fromkeys(range(30), 1.0)],
        [(1, 11), (1, 60)],
        gradients=[[1] * 11, [1] * 60],
    )
    rules = replace(BY_GRADIENT, redistribution=InProportion(MeanMagnitude()))
    assert counts_of(updated(rules, view)) == [1 + 9, 15 + 6]


@pytest.mark.parametrize(
    "redistribution",
    [
        *[ToItsLayer(), InProportion(ActiveWeights()), ToLargestScores()],
        InProportion(Survivors(), excess_evenly=True),
    ],
    ids=repr,
)
def test_an_output_layer_that_is_left_alone_gets_only_what_the_others_have_no_room_for(
    redistribution: Redistribution,
) -> None:
    """Though its gradients are the largest, and it has most of the weights."""
    rules = replace(BY_GRADIENT, last_layer=False, redistribution=redistribution)
    view = view_of(
        [{0: 1.0, 1: 2.0}, dict.fromkeys(range(8), 1.0)],
        [(1, 4), (1, 30)],
        gradients=[[1] * 4, [9] * 30],
        last_layer=False,
    )
    # One of the first layer's is dropped: three positions are free there.
    assert counts_of(updated(rules, view)) == [2, 8]
    assert counts_of(updated(rules, view, target=12)) == [4, 8]
    after = counts_of(updated(rules, view, target=20))
    assert sum(after) == 20 and after[1] >= 16
