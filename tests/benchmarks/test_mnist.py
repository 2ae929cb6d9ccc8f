"""The recipe of the published numbers on MNIST, and their table."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from benchmarks.mnist import METHODS, PUBLISHED, RECIPE, first_rows, published, rules_of, table
from sparse_training.data.instances import Split


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (24_999, 0.1), (25_000, 0.01), (49_999, 0.01), (50_000, 0.001), (53_999, 0.001)],
)
def test_the_learning_rate_falls_to_a_tenth_after_every_25_000_of_54_000_steps(
    step: int, rate: float
) -> None:
    assert RECIPE.learning_rate.at(step / 54_000, 0.01) == pytest.approx(rate)


def test_the_first_rows_train_and_all_others_still_evaluate() -> None:
    split = Split(
        train_x=np.arange(10, dtype=np.float32).reshape(5, 2),
        train_y=np.arange(5),
        eval_x=np.ones((3, 2), dtype=np.float32),
        eval_y=np.zeros(3, dtype=np.int64),
        n_classes=5,
        train_rows=np.arange(5),
        eval_rows=np.arange(5, 8),
    )
    cut = first_rows(split, 2)
    assert cut.train_x.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert cut.train_y.tolist() == cut.train_rows.tolist() == [0, 1]
    assert cut.eval_x is split.eval_x and cut.eval_y is split.eval_y


def test_published_numbers_are_accuracies_of_methods_here_and_fall_with_sparsity() -> None:
    for (method, density), number in PUBLISHED.items():
        assert method in METHODS and 0.0 < density <= 1.0
        assert 0.9 < number.accuracy < 1.0
        assert number.standard_error is None or 0.0 < number.standard_error < 0.002
    for method in METHODS:
        by_density = sorted(
            (d, each.accuracy) for (name, d), each in PUBLISHED.items() if name == method
        )
        assert by_density == sorted(by_density, key=lambda pair: pair[1])


def test_a_line_has_the_difference_to_the_published_mean_with_the_errors_of_both() -> None:
    """.97 ± .02484 less .958 ± 1.96 x .00045: the root of the sum of squares is .02486."""
    runs = pd.DataFrame(
        {"method": "set", "density": 0.01, "accuracy": [0.96, 0.97, 0.98], "cpu_seconds": [4, 5, 9]}
    )
    assert table(runs).splitlines()[2:] == [
        "| 0.99 | set | 3 | 0.9700 ± 0.0248 | 0.9580 ± 0.0009 | +0.0120 ± 0.0249 | 5 |"
    ]


def test_what_has_no_published_number_stands_without_a_difference() -> None:
    runs = pd.DataFrame(
        {"method": "static", "density": 0.05, "accuracy": [0.97], "cpu_seconds": [4.0]}
    )
    assert table(runs).splitlines()[2:] == ["| 0.95 | static | 1 | 0.9700 |  |  | 4 |"]


def test_variations_of_a_method_are_compared_with_the_method_itself() -> None:
    assert published("set_uniform", 0.01) is published("set", 0.01) is not None
    assert published("static", 0.01) is None


@pytest.mark.parametrize("method", [name for name in METHODS if name.endswith("_often")])
def test_what_updates_often_does_so_every_100_steps(method: str) -> None:
    """Up to its end, at which none is due."""
    updates = rules_of(method).updates
    assert updates is not None
    when, progress = updates.when, [step / 54_000 for step in range(54_001)]
    reached = [when.reached(each) for each in progress if each < when.end]
    steps = [step for step, (one, two) in enumerate(pairwise([0, *reached])) if two > one]
    first = 0 if when.at_start else 100
    assert steps == list(range(first, round(when.end * 54_000), 100))
