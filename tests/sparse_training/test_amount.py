"""What fraction of the weights is dropped: as published, and rounded as asked."""

import pytest

from sparse_training.errors import BadInput
from sparse_training.rules.amount import Fraction, LikeLearningRate, Rounding, rounded
from sparse_training.schedules import Constant, Cosine, Halved, Linear, Polynomial, Schedule


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.FLOOR, [0, 1, 2, 3, 4]),
        (Rounding.CEIL, [0, 2, 3, 3, 4]),
        (Rounding.NEAREST, [0, 2, 3, 3, 4]),
    ],
)
def test_the_number_to_drop_is_rounded_as_asked(rounding: Rounding, expected: list[int]) -> None:
    # 5 weights: 0, 1.5, 2.5, 3 and 4; binary fractions must not turn .3 * 10 = 3 into 4 or 2.
    fractions = [0.0, 0.3, 0.5, 0.6, 0.8]
    assert [rounded(fraction, 5, rounding) for fraction in fractions] == expected
    assert rounded(0.3, 10, rounding) == 3
    assert rounded(0.1, 3, rounding) == (1 if rounding is Rounding.CEIL else 0)


@pytest.mark.parametrize(
    ("schedule", "initial", "final", "expected"),
    [
        (Cosine(), 0.3, 0.0, [0.3, 0.256066, 0.15, 0.043934, 0.0]),
        (Cosine(), 0.5, 0.005, [0.5, 0.427509, 0.2525, 0.077491, 0.005]),
        (Polynomial(3.0), 0.3, 0.0, [0.3, 0.126562, 0.0375, 0.004687, 0.0]),
        (Linear(), 0.4, 0.0, [0.4, 0.3, 0.2, 0.1, 0.0]),
        (Constant(), 0.4, 0.0, [0.4, 0.4, 0.4, 0.4, 0.4]),
        (Halved(), 0.2, 0.0, [0.2, 0.2, 0.2, 0.1, 0.1]),
    ],
)
def test_the_drop_fraction_falls_as_published(
    schedule: Schedule, initial: float, final: float, expected: list[float]
) -> None:
    amount = Fraction(initial, schedule, final)
    at_quarters = [amount.at(quarter / 4, learning_rate=1.0) for quarter in range(5)]
    assert at_quarters == pytest.approx(expected, abs=1e-6)
    assert amount.at(1.5, learning_rate=1.0) == pytest.approx(expected[-1], abs=1e-6)


def test_the_drop_fraction_can_follow_the_learning_rate() -> None:
    amount = Fraction(0.3, LikeLearningRate())
    fractions = [amount.at(0.5, learning_rate=rate) for rate in (1.0, 0.5, 0.0)]
    assert fractions == pytest.approx([0.3, 0.15, 0.0])


@pytest.mark.parametrize("initial", [1.0, -0.1])
def test_a_fraction_that_would_empty_a_layer_is_refused(initial: float) -> None:
    with pytest.raises(BadInput, match="would empty a layer: expected at least 0 and below 1"):
        Fraction(initial)
