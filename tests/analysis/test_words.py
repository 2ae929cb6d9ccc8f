from typing import Any

import pandas as pd
import pytest

from analysis import words
from wrappers.records import AblationPath, AblationStep


def compared(*intervals: tuple[float, float, float]) -> pd.DataFrame:
    """A table of `configurability` with these improvements and their bounds."""
    rows = [
        {"variant": f"v{n}", "configurator": "model", "improvement": mean, "low": low, "high": high}
        for n, (mean, low, high) in enumerate(intervals)
    ]
    columns = ["variant", "configurator", "improvement", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


BETTER, WORSE, OPEN = (0.04, 0.01, 0.07), (-0.03, -0.05, -0.01), (0.01, -0.01, 0.03)
NO_RIVALS = compared().assign(question=[], combined=[])


def test_in_short_better_worse_and_undecided_cases_are_counted() -> None:
    assert words.in_short(compared(BETTER, WORSE, OPEN, OPEN), NO_RIVALS) == [
        "Configuration gains over the default in 1 of 4 cases (variant and configurator), loses in"
        " 1; in 2 no difference is shown. The largest mean improvement is 4.0 points (v0 with"
        " model)."
    ]
    assert words.in_short(compared(BETTER), NO_RIVALS) == [
        "Configuration gains over the default in 1 of 1 case (variant and configurator). The"
        " largest mean improvement is 4.0 points (v0 with model)."
    ]


def test_in_short_each_combination_has_a_sentence() -> None:
    against = compared(BETTER, WORSE, OPEN, BETTER).assign(
        question=["combining", "combining", "combining", "combining over selecting"],
        combined=["one", "other", "one", "one"],
    )
    short = words.in_short(compared(), against)
    assert short == [
        "What combining gains: one is better than the single variant best in training with 1 of 2"
        " configurators; with 1 no difference is shown.",
        "What combining gains: other is better than the single variant best in training with 0 of 1"
        " configurator, worse with 1.",
        "What combining over selecting gains: one is better than the selection with 1 of 1"
        " configurator.",
    ]


def test_nothing_compared_is_nothing_said() -> None:
    assert words.in_short(compared(), NO_RIVALS) == []


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        (
            BETTER,
            "model lowers the test error from 30.0 % to 26.0 %, by 4.0 points [1.0, 7.0].",
        ),
        (WORSE, "model raises the test error from 30.0 % to 33.0 %, by 3.0 points [1.0, 5.0]."),
        (
            OPEN,
            "model: no difference to the default is shown (from 30.0 % to 29.0 %; the improvement"
            " is +1.0 points [-1.0, +3.0]).",
        ),
        ((0.0, 0.0, 0.0), "model ends with the default itself (30.0 %)."),
    ],
)
def test_a_gain_is_told_as_far_as_it_is_shown(
    interval: tuple[float, float, float], sentence: str
) -> None:
    row = dict(zip(("improvement", "low", "high"), interval, strict=True))
    errors = {"default_error": 0.3, "configured_error": 0.3 - interval[0]}
    assert words.gain({"configurator": "model", **row, **errors}) == sentence


def step(name: str, cost: float, gain: float, share: float | None) -> AblationStep:
    return AblationStep(
        parameters=(name,), config={}, cost=cost, gain=gain, share=share, candidates=1, trials=0
    )


def taken(target_cost: float, *steps: AblationStep, **more: Any) -> AblationPath:
    """A path from an error of 0.3."""
    about: dict[str, Any] = {"evaluation": "surrogate", "pairs": 0, **more}
    return AblationPath(
        source={}, target={}, source_cost=0.3, target_cost=target_cost, steps=steps, **about
    )


def test_a_path_is_told_with_its_largest_gain_and_its_losses() -> None:
    steps = (step("a", 0.2, 0.1, 1.25), step("b", 0.22, -0.02, -0.25))
    assert words.path(taken(0.22, *steps)) == (
        "2 changes lead from 30.0 % to 22.0 % (predicted by the surrogate, not measured). The"
        " largest single gain is 10.0 points, 125.0 % of the whole difference, from a. 1 change"
        " made the error worse where it came."
    )
    more = (step("a", 0.2, 0.1, 1.0), step("b", 0.21, -0.01, -0.1), step("c", 0.22, -0.01, -0.1))
    assert words.path(taken(0.22, *more)).endswith(
        " 2 changes made the error worse where they came."
    )


def test_a_path_to_nothing_better_says_so() -> None:
    measured = {"evaluation": "trials", "pairs": 4}
    assert words.path(taken(0.35, step("a", 0.35, -0.05, 1.0), **measured)) == (
        "1 change leads from 30.0 % to 35.0 % (measured with trials on 4 training pairs). None of"
        " them lowers the error."
    )
    steps = (step("a", 0.2, 0.1, None), step("b", 0.3, -0.1, None))
    assert "The incumbent is not better than the default" in words.path(taken(0.3, *steps))


def test_the_ends_of_curves_are_told_best_first() -> None:
    summary = pd.DataFrame(
        {
            "configurator": ["racing", "racing", "model"],
            "trial": [10, 40, 40],
            "median": [0.1, 0.25, 0.2],
            "quartile_1": [0.1, 0.24, 0.2],
            "quartile_3": [0.1, 0.26, 0.2],
            "runs": [3, 3, 1],
        }
    )
    assert words.curves("alpha", summary) == (
        "alpha: after 40 trials the medians are 20.0 % (model, one run) and 25.0 % (racing,"
        " quartiles 24.0 % to 26.0 %)."
    )


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [words.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
