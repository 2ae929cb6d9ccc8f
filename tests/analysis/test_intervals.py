"""Intervals worked out on paper, and how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis import intervals
from benchmarks.coverage import Case, coverage

ONE = ["i"] * 3
"""Three seeds of one instance."""


def table(*rows: list[float]) -> intervals.Array:
    return np.array(rows, dtype=float)


def test_a_crossed_interval_is_that_worked_out_on_paper() -> None:
    """Means of runs 3, 5 and of seeds 2, 3, 7 around 4: A = 3 (1 + 1) / 1 = 6, B = 2 (4 + 1 + 9)
    / 2 = 14; rests 0, 1, -1, 0, -1, 1: E = 4 / 2 = 2. The variance of the mean is (6 + 14 - 2) / 6
    = 3 with 18² / (6² / 1 + 14² / 2) = 324 / 134 degrees of freedom; the quantile lies between
    those of 2 and 3 in a table of t, 4.303 and 3.182."""
    made = intervals.these(table([1, 3, 5], [3, 3, 9]), ONE)
    assert made.mean == 4
    quantile = (made.high - made.mean) / math.sqrt(3)
    assert 3.182 < quantile < 4.303
    assert quantile == pytest.approx(stats.t.ppf(0.975, 324 / 134))
    assert made.mean - made.low == pytest.approx(made.high - made.mean)
    assert made.p > 0.05 and made.covers_zero


def test_runs_that_agree_leave_the_variance_of_the_seeds() -> None:
    """A = E = 0, B = 2 (1 + 0 + 1) / 2 = 2: a variance of 2 / 6 with 2 degrees of freedom."""
    made = intervals.these(table([1, 2, 3], [1, 2, 3]), ONE)
    assert made.high - made.mean == pytest.approx(4.3027 * math.sqrt(1 / 3), rel=1e-4)


def test_the_variance_is_no_less_than_that_of_the_rest() -> None:
    """A = B = 0, E = 4 (1 / 2)² = 1: a variance of 1 / 4, not of 0, with 2 degrees of freedom."""
    made = intervals.these(table([0, 1], [1, 0]), ["i"] * 2)
    assert made.high - made.mean == pytest.approx(4.3027 / 2, rel=1e-4)


def test_instances_are_fixed_for_these_and_clusters_for_others_like_them() -> None:
    """Instance j has seeds around 0, instance k around 10; runs agree.

    These: within instances the seeds are 1 from their means, B = 2 (4) / (4 - 2) = 4, a variance of
    4 / 8 with 2 degrees of freedom. Like: the means 0 and 10, B = 2 (25 + 25) / 1 = 100, a variance
    of 100 / 4 with 1.
    """
    costs = [-1.0, 1.0, 9.0, 11.0]
    names = ["j", "j", "k", "k"]
    fixed, sampled = (
        intervals.these(table(costs, costs), names),
        intervals.like(table(costs, costs), names),
    )
    assert fixed.mean == sampled.mean == 5
    assert fixed.high - 5 == pytest.approx(4.3027 * math.sqrt(1 / 2), rel=1e-4)
    assert sampled.high - 5 == pytest.approx(12.706 * 5, rel=1e-4)


def test_a_run_that_is_good_on_one_instance_is_no_noise_within_instances() -> None:
    """Each run is even within an instance: nothing is left of E, and B is that of equal seeds."""
    made = intervals.these(table([0, 0, 6, 6], [0, 0, 2, 2]), ["j", "j", "k", "k"])
    # A = 4 (1 + 1) = 8, B = E = 0: a variance of 1 with 1 degree of freedom.
    assert made.high - made.mean == pytest.approx(12.706, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "names"), [([[1.0, 2.0]], ["j", "j"]), ([[1.0, 2.0], [3.0, 5.0]], ["j", "k"])]
)
def test_where_no_interval_is_possible_it_is_empty(
    values: list[list[float]], names: list[str]
) -> None:
    """A single run; no instance with two seeds."""
    made = intervals.these(table(*values), names)
    assert made.empty and made.covers_zero
    assert math.isnan(made.high) and math.isnan(made.p)
    assert intervals.like(table([1, 2], [3, 5]), ["j", "j"]).empty
    assert not intervals.like(table([1, 2], [3, 5]), ["j", "k"]).empty


def test_one_configuration_varies_by_seeds_and_instances_only() -> None:
    costs = np.array([1.0, 2.0, 3.0])
    half = 4.3027 / math.sqrt(3)
    assert intervals.these_of_one(costs, ONE).high == pytest.approx(2 + half, rel=1e-4)
    assert intervals.like_of_one(costs, list("jkl")).high == pytest.approx(2 + half, rel=1e-4)
    assert intervals.these_of_one(costs, list("jkl")).empty
    assert intervals.like_of_one(costs, ONE).empty


def test_no_difference_at_all_is_none_with_certainty() -> None:
    made = intervals.these(np.zeros((3, 4)), ["i"] * 4)
    assert (made.low, made.high, made.p) == (0, 0, 1)


def test_holm_is_that_worked_out_on_paper() -> None:
    """.01 x 4, .02 x 3, .03 x 2 = .06, no less than the one before, and .9 x 1; one is unknown."""
    adjusted = intervals.holm([0.03, math.nan, 0.01, 0.9, 0.02])
    assert adjusted == pytest.approx([0.06, math.nan, 0.04, 0.9, 0.06], nan_ok=True)
    assert intervals.holm([0.6, 0.7]) == pytest.approx([1, 1])


@given(st.integers(2, 5), st.integers(2, 6), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_an_interval_moves_and_stretches_with_the_values(
    runs: int, seeds: int, shift: float, seed: int
) -> None:
    values, names = np.random.default_rng(seed).normal(size=(runs, seeds)), ["i"] * seeds
    made, moved = intervals.these(values, names), intervals.these(2 * values + shift, names)
    assert made.low < made.mean < made.high
    assert (moved.low, moved.high) == pytest.approx((2 * made.low + shift, 2 * made.high + shift))
    assert (made.p < 0.05) == (not made.covers_zero)


@pytest.mark.parametrize(
    "case",
    [
        Case(3, 1, 10, run=1, instance=0, both=0, seed=0.5, rest=1),
        Case(3, 1, 10, run=1, instance=0, both=0, seed=0, rest=0.5),
        Case(3, 1, 10, run=0, instance=0, both=0, seed=1, rest=0.5),
        Case(3, 6, 10, run=0.5, instance=1, both=0.5, seed=0.5, rest=0.5),
    ],
    ids=str,
)
def test_intervals_hold_the_truth_as_often_as_they_say(case: Case) -> None:
    """In 1,000 seeded tables; the standard error is .007. A bootstrap of runs and pairs has .75 to
    .83, and of the six instances' population .6 to .7."""
    these = coverage(case, lambda v: intervals.these(v, case.names), like=False, repeats=1000)
    assert 0.92 < these.share <= 0.98
    if case.instances > 1:
        like = coverage(case, lambda v: intervals.like(v, case.names), like=True, repeats=1000)
        assert 0.93 < like.share <= 0.99


def test_what_no_error_can_be_is_cut_off() -> None:
    """Two runs on two pairs, errors .1 and .9: 12.7 standard errors of .4 reach far below 0."""
    wide = intervals.these(np.array([[0.1, 0.1], [0.9, 0.9]]), ["a", "a"])
    assert wide.low < -4 and wide.high > 5
    cut = wide.within(0.0, 1.0)
    assert (cut.low, cut.high, cut.mean, cut.p) == (0.0, 1.0, wide.mean, wide.p)
    narrow = intervals.Interval(0.5, 0.4, 0.6, 0.1)
    assert narrow.within(0.0, 1.0) == narrow
    assert intervals.Interval(0.5).within(0.0, 1.0).empty
