"""When an update is due, against the tests of RigL's code and the numbers of the papers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from sparse_training.rules.when import Evenly


@pytest.mark.parametrize(
    ("begin", "end", "interval", "pattern"),
    [
        (3, 7, 2, "1 1 1 0 1 1 0 1 1 0 1"),
        (1, 5, 3, "1 0 1 1 1 0 1 1 1 1 1"),
        (0, 4, 1, "0 1 0 1 0 1 0 1 0 1 1"),
    ],
)
def test_updates_replace_the_steps_that_they_replace_in_rigls_tests(
    begin: int, end: int, interval: int, pattern: str
) -> None:
    """The clock is the number of steps, of ten; RigL's last update is due at the end itself."""
    count = (end - begin) // interval + 1
    when = Evenly(count=count, start=begin / 10, end=(begin + count * interval) / 10, at_start=True)
    steps, reached, calls = 0, 0, []
    for _ in range(11):
        if when.due(steps / 10, reached):
            reached = when.reached(steps / 10)
            calls.append("0")
        else:
            steps += 1
            calls.append("1")
    assert " ".join(calls) == pattern


def test_mests_scripts_update_every_five_epochs_until_epoch_120_of_160() -> None:
    """24 updates, of which the last stands at .72 here and at .75 there."""
    when = Evenly(count=24, end=0.75)
    assert points(when, 160) == [5, 10, 15, 20, 24, 29, 34, 39, 44, 48, 53, 58, 63, 68, 72, 77, 82,
                                 87, 92, 96, 101, 106, 111, 116]  # fmt: skip


def test_rigls_paper_updates_every_hundred_steps() -> None:
    when = Evenly(count=250, end=25_000 / 32_000, at_start=True)
    assert points(when, 32_000) == list(range(0, 25_000, 100))


def test_an_update_takes_the_place_of_those_whose_time_it_spends() -> None:
    """Ten updates asked for, each dearer than the distance between two."""
    when = Evenly(count=10, at_start=True)
    spent, reached, made = 0.0, 0, 0
    while spent < 1.0:
        if when.due(spent, reached):
            spent, made = spent + 0.15, made + 1
            reached = when.reached(spent)
        else:
            spent += 0.01
    assert made == 5  # at 0, .2, .4, .6 and .8


@given(
    count=st.integers(1, 500),
    start=st.floats(0.0, 0.5),
    end=st.floats(0.55, 1.0),
    at_start=st.booleans(),
    steps=st.integers(2_000, 5_000),
)
def test_all_updates_are_made_between_start_and_end(
    count: int, start: float, end: float, at_start: bool, steps: int
) -> None:
    when = Evenly(count=count, start=start, end=end, at_start=at_start)
    made = points(when, steps)
    assert len(made) == len(set(made)) <= count
    assert count - len(made) <= (0 if (end - start) * steps > 2 * count else count)
    assert all(start - 1e-9 <= point / steps <= end for point in made)


def test_updates_that_would_never_be_due_are_refused() -> None:
    with pytest.raises(BadInput, match="from 0.8 of the budget to 0.75 of it: expected the start"):
        Evenly(count=30, start=0.8, end=0.75)
    with pytest.raises(BadInput, match="0 updates: expected at least 1"):
        Evenly(count=0)


def points(when: Evenly, steps: int) -> list[int]:
    """At which of so many steps an update is made that costs nothing."""
    reached, made = 0, []
    for step in range(steps + 1):
        if when.due(step / steps, reached):
            reached = when.reached(step / steps)
            made.append(step)
    return made
