"""What progress looks like where there is no terminal, and what trials came to."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from commands._console import LINE_AFTER, LINE_EVERY, Lines, bar
from target_algorithms.contract import Details, failure
from wrappers.health import health
from wrappers.records import record


class Clock:
    """Time that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines_say_what_is_done_the_time_left_and_the_last_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    tell = Lines("12 runs", 1200, clock)
    tell(200)  # done by an earlier process
    clock.now += LINE_AFTER
    tell(220)
    clock.now += LINE_EVERY - 1
    tell(250, description="too soon")
    clock.now += 1
    tell(300, description="digits/one finished")
    clock.now += 60
    tell(1200, description="all finished")
    tell(1200)
    assert capsys.readouterr().err.splitlines() == [
        "12 runs: 220 of 1,200, 0:02, 1:38 left",
        "12 runs: 300 of 1,200, 0:32, 4:48 left (digits/one finished)",
        "12 runs: 1,200 of 1,200, 1:32 (all finished)",
    ]


def test_lines_without_a_total_say_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    tell = Lines("a race", None, clock)
    tell(5)
    clock.now += 65
    tell(7)
    assert capsys.readouterr().err == "a race: 7, 1:05\n"


def test_without_a_terminal_progress_is_lines_and_none_for_what_is_done_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in bar_of_five("quick"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("commands._console.LINE_AFTER", 0.0)
    for _ in bar_of_five("[/slow]"):
        pass
    first, last = capsys.readouterr().err.splitlines()
    assert first == "[/slow]: 0 of 5, 0:00" and last.startswith("[/slow]: 5 of 5, 0:0")


def bar_of_five(label: str) -> Iterator[int]:
    with bar(label, 5) as update:
        for done in range(6):
            update(done)
            yield done


def test_health_counts_statuses_divergence_and_the_worst_overshoot() -> None:
    failed = record({}, "sklearn/digits/0", 1, 60.0, failure("SUCCESS", ""), None)
    one = replace(failed, misc=Details())
    assert health([]) == "0 trials"
    assert health([one]) == "1 trial: 1 SUCCESS"
    late = replace(one, status="TIMEOUT", runtime=one.cutoff + 0.14)
    later = replace(one, runtime=one.cutoff + 0.02, misc=Details(diverged=True))
    assert health([one, late, later]) == (
        "3 trials: 2 SUCCESS, 1 TIMEOUT; 1 diverged; at most 0.14 s over the cutoff"
    )
