from typing import Any

import pandas as pd
import pytest

from analysis import words
from wrappers.records import AblationPath, AblationStep

NAN = float("nan")


def row(
    these: tuple[float, float, float], like: tuple[float, float] = (NAN, NAN), **more: Any
) -> dict[str, Any]:
    """A row with this improvement, its bounds for these instances and those for instances like
    these; a p-value that says what the bounds say."""
    told = {"runs": 3, "instances": 1, "pairs": 10, "improvement": these[0]}
    for question, (low, high) in (("these", these[1:]), ("like", like)):
        p = NAN if low != low else 0.01 if low > 0 or high < 0 else 0.5
        told |= {f"low_{question}": low, f"high_{question}": high}
        told |= {f"p_{question}": p, f"holm_{question}": p}
    return told | more


def compared(*rows: dict[str, Any]) -> pd.DataFrame:
    """A table of `configurability` with these rows."""
    named = [{"variant": f"v{n}", "configurator": "model", **each} for n, each in enumerate(rows)]
    return pd.DataFrame(named, columns=["variant", "configurator", *row(BETTER)])


BETTER, WORSE, OPEN = (0.04, 0.01, 0.07), (-0.03, -0.05, -0.01), (0.01, -0.01, 0.03)
SINGLE = row((0.2, NAN, NAN), runs=1)
NO_RIVALS = compared().assign(question=[], combined=[])


def test_in_short_better_worse_and_undecided_cases_are_counted() -> None:
    assert words.in_short(compared(*map(row, (BETTER, WORSE, OPEN, OPEN))), NO_RIVALS) == [
        "Configuration gains over the default in 1 of 4 cases (variant and configurator) on these"
        " test instances, loses in 1; in 2 no difference is shown (3 runs each, 10 paired"
        " evaluations a run; Holm's correction).",
        "The largest mean improvement, picked among 4 and so on the bright side, is 4.0 points (v0"
        " with model).",
    ]
    assert words.in_short(compared(row(BETTER)), NO_RIVALS) == [
        "Configuration gains over the default in 1 of 1 case (variant and configurator) on these"
        " test instances (3 runs each, 10 paired evaluations a run; Holm's correction).",
        "The largest mean improvement is 4.0 points (v0 with model).",
    ]


def test_in_short_the_corrected_p_value_decides_and_not_the_interval() -> None:
    """Of 28 intervals that exclude zero by a little none may be left."""
    table = compared(*[row(BETTER, holm_these=0.3)] * 28)
    assert "gains over the default in 0 of 28 cases" in words.in_short(table, NO_RIVALS)[0]


def test_in_short_single_runs_are_not_counted() -> None:
    told = words.in_short(compared(row(BETTER), SINGLE, SINGLE), NO_RIVALS)
    assert "gains over the default in 1 of 1 case" in told[0]
    assert told[1] == "2 more have a single run and are not counted."
    assert told[2] == "The largest mean improvement is 4.0 points (v0 with model)."


def test_in_short_of_single_runs_nothing_is_claimed() -> None:
    assert words.in_short(compared(*[SINGLE] * 28), NO_RIVALS) == [
        "Nothing is counted of 28 cases (variant and configurator): each has a single run, or"
        " evaluation, which says nothing of another ('--seeds' makes more runs)."
    ]


def test_in_short_both_questions_are_answered_where_both_have_an_answer() -> None:
    table = compared(
        row(BETTER, (-0.01, 0.09), instances=6, pairs=12),
        row(BETTER, (0.01, 0.07), instances=6, pairs=12),
    )
    assert words.in_short(table, NO_RIVALS)[0] == (
        "Configuration gains over the default in 2 of 2 cases (variant and configurator) on these"
        " test instances; on instances like these in 1 of 2; in 1 no difference is shown (3 runs"
        " each, 12 paired evaluations a run on 6 instances; Holm's correction)."
    )


def test_in_short_each_combination_has_a_sentence() -> None:
    against = compared(*map(row, (BETTER, WORSE, OPEN, BETTER)), SINGLE).assign(
        question=["combining", "combining", "combining", "combining over selecting", "selecting"],
        combined=["one", "other", "one", "one", "any"],
    )
    short = words.in_short(compared(), against)
    made_from = "(3 runs each, 10 paired evaluations a run; Holm's correction)."
    assert short == [
        "What combining gains: one is better than the single variant best in training with 1 of 2"
        f" configurators on these test instances; with 1 no difference is shown {made_from}",
        "What combining gains: other is better than the single variant best in training with 0 of 1"
        f" configurator on these test instances, worse with 1 {made_from}",
        "What combining over selecting gains: one is better than the selection with 1 of 1"
        f" configurator on these test instances {made_from}",
        "What selecting gains: nothing is counted of 1 configurator: it has a single run, or"
        " evaluation, which says nothing of another ('--seeds' makes more runs).",
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
    errors = {"default_error": 0.3, "configured_error": 0.3 - interval[0]}
    assert words.gain(row(interval, configurator="model") | errors) == sentence


@pytest.mark.parametrize(
    ("of_row", "sentence"),
    [
        (SINGLE, "the improvement is +20.0 points in a single run, which says nothing of another."),
        (
            row((0.2, NAN, NAN)),
            "the improvement is +20.0 points, on a single evaluation a run: no interval is"
            " possible.",
        ),
    ],
)
def test_without_an_interval_no_gain_is_claimed(of_row: dict[str, Any], sentence: str) -> None:
    errors = {"configurator": "model", "default_error": 0.3, "configured_error": 0.1}
    assert words.gain(of_row | errors) == f"model: from 30.0 % to 10.0 %; {sentence}"


def test_where_only_instances_like_these_have_an_interval_it_is_shown_and_named() -> None:
    of_row = row((0.2, NAN, NAN), (0.1, 0.3), configurator="model")
    assert words.gain(of_row | {"default_error": 0.3, "configured_error": 0.1}) == (
        "model lowers the test error from 30.0 % to 10.0 %, by 20.0 points [10.0, 30.0] on"
        " instances like these."
    )


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
