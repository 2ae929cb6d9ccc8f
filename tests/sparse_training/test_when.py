"""When an update is due, against the tests of RigL's code."""

import pytest

from sparse_training.errors import BadInput
from sparse_training.rules.when import Every, Unit


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
    """The clock is the number of steps, of ten."""
    when = Every(interval=interval, start=begin / 10, end=end / 10)
    count, last, calls = 0, None, []
    for _ in range(11):
        if when.due(count, last, count / 10):
            last = count
            calls.append("0")
        else:
            count += 1
            calls.append("1")
    assert " ".join(calls) == pattern


def test_updates_after_steps_come_at_the_calls_of_rigls_set_test() -> None:
    when = Every(interval=2, start=0.1, end=0.4)
    last, calls = None, []
    for call in range(1, 8):
        if when.due(call, last, call / 10):
            last = call
            calls.append(call)
    assert calls == [1, 3]


def test_an_interval_counts_steps_or_epochs() -> None:
    assert Every(interval=3).counts(steps=40, epochs=5) == 40
    assert Every(interval=3, unit=Unit.EPOCHS).counts(steps=40, epochs=5) == 5


def test_updates_that_would_never_be_due_are_refused() -> None:
    with pytest.raises(BadInput, match="from 0.8 of the budget to 0.75 of it: expected the start"):
        Every(interval=100, start=0.8, end=0.75)
    with pytest.raises(BadInput, match="an interval of 0 between updates: expected at least 1"):
        Every(interval=0)
