"""The largest scores: one rule for ties, whoever ranks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_training.positions import no_positions
from sparse_training.ranking import (
    keep_largest,
    keep_largest_of_all,
    keep_largest_of_rows,
    largest_free,
)
from tests.sparse_training.cases import positions_of


def positions_of_largest(scores: NDArray[np.floating], count: int) -> list[int]:
    positions: list[int] = np.flatnonzero(keep_largest(scores, count)).tolist()
    return positions


def test_equal_scores_are_won_by_the_lowest_positions() -> None:
    assert positions_of_largest(np.array([1.0, 2, 1, 2, 1]), 3) == [0, 1, 3]


def test_scores_that_differ_in_the_last_digits_are_equal() -> None:
    scores = np.array([1.0, 3.0, 1.000001, 1.000002, 0.9], dtype=np.float32)
    assert largest_free(scores, no_positions(), 2).tolist() == [0, 1]
    larger = scores * np.array([1, 1, 1.001, 1, 1])
    assert largest_free(larger, no_positions(), 2).tolist() == [1, 2]
    assert positions_of_largest(scores, 2) == [0, 1]
    assert positions_of_largest(scores, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="must be finite"):
        keep_largest(np.array([1.0, value, value, 2.0]), 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("digits", [0, 1, 7])
def test_rows_are_ranked_as_each_alone(digits: int) -> None:
    """With few digits most are equal; a row may have nothing to give and nothing asked of it."""
    rng = np.random.default_rng(1)
    scores = np.abs(rng.normal(size=(200, 12))).round(digits).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[0] = -np.inf
    counts = rng.integers(0, np.count_nonzero(scores > -np.inf, axis=1), endpoint=True)
    expected = [keep_largest(row, count) for row, count in zip(scores, counts, strict=True)]
    np.testing.assert_array_equal(keep_largest_of_rows(scores, counts), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_with_scores_that_are_not_finite_are_refused(value: float) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="must be finite"):
        keep_largest_of_rows(np.array([[1.0, value, value, 2.0]]), np.array([1]))


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("lowest", [-1.0, 0.0])
def test_many_equal_lowest_scores_do_not_change_what_is_kept(count: int, lowest: float) -> None:
    """Five are above them; some of the equal ones are wanted from six on."""
    scores = np.full(12, lowest)
    scores[[1, 3, 4, 8, 11]] = [2.0, 5.0, 2.0, 1.0, 4.0]
    order = np.lexsort((np.arange(12), -scores))
    assert positions_of_largest(scores, count) == sorted(order[:count].tolist())


def test_a_taken_position_never_beats_a_free_one_whose_score_is_zero() -> None:
    scores = np.array([9.0, 0, 8, 0, 7])
    assert largest_free(scores, positions_of([0, 2, 4]), 2).tolist() == [1, 3]


def test_positions_never_active_come_first_then_the_others_by_score() -> None:
    scores, taken = np.array([5.0, 1, 4, 2, 3]), positions_of([3])
    fired = positions_of([0, 2, 3])
    assert largest_free(scores, taken, 2, fired).tolist() == [1, 4]
    assert largest_free(scores, taken, 3, fired).tolist() == [0, 1, 4]


def test_all_layers_are_ranked_together_and_none_is_emptied() -> None:
    scores = [np.array([9.0, 8, 7]), np.array([1.0, 2]), np.array([6.0])]
    keep = keep_largest_of_all(scores, 4)
    assert [mask.tolist() for mask in keep] == [[True, True, False], [False, True], [True]]
