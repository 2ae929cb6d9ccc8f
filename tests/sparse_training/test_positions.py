"""Sets of positions: drawn without collisions, and like sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.positions import (
    among,
    merged,
    random_free_positions,
    random_positions,
    union,
    without,
)
from tests.sparse_training.cases import positions_of

SETS = st.sets(st.integers(0, 30))


@given(SETS, SETS)
def test_sets_of_positions_behave_like_sets(one: set[int], other: set[int]) -> None:
    first, second = positions_of(list(one)), positions_of(list(other))
    assert without(first, second).tolist() == sorted(one - other)
    assert merged(first, second).tolist() == sorted(one | other)
    assert first[among(first, second)].tolist() == sorted(one & other)


def test_a_position_in_both_of_two_disjoint_sets_is_a_fault() -> None:
    assert union(positions_of([1, 4]), positions_of([0, 2])).tolist() == [0, 1, 2, 4]
    with pytest.raises(ValueError, match="a position is in both"):
        union(positions_of([1, 4]), positions_of([0, 4]))


def test_positions_are_drawn_without_collisions() -> None:
    """SET's SciPy code draws with replacement: 13 (1000 + 10) draws of 10,000 hit only 73 %."""
    drawn = np.random.default_rng(0).integers(10_000, size=13 * 1010)
    assert len(np.unique(drawn)) == pytest.approx(7310, abs=60)
    assert len(np.unique(random_positions(10_000, 9_999, np.random.default_rng(0)))) == 9_999


@given(st.integers(1, 80), st.data())
def test_random_free_positions_are_free_ones_only(size: int, data: st.DataObject) -> None:
    taken = positions_of(list(data.draw(st.sets(st.integers(0, size - 1)))))
    count = data.draw(st.integers(0, size - len(taken)))
    free = random_free_positions(size, taken, count, np.random.default_rng(count))
    assert len(set(free.tolist())) == count
    assert not set(free.tolist()) & set(taken.tolist())
    assert all(0 <= position < size for position in free)


def test_random_free_positions_reach_every_free_position_equally_often() -> None:
    rng = np.random.default_rng(0)
    taken = positions_of([0, 3, 4, 9])
    drawn = [random_free_positions(10, taken, 2, rng) for _ in range(3000)]
    hits = np.bincount(np.concatenate(drawn), minlength=10)
    assert (hits[taken] == 0).all()
    # 6 free positions share 6000 draws; 5 standard deviations are about 130.
    assert np.abs(np.delete(hits, taken) - 1000).max() < 140
