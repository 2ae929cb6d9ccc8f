"""Values of grown weights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_training.rules.new_weights import (
    GradientStep,
    Grown,
    LikeInitial,
    NewWeights,
    Normal,
    State,
    Value,
    Zero,
)

COUNT = 4000
DEVIATIONS = np.where(np.arange(COUNT) < COUNT // 2, 0.5, 2.0)


def values(value: Value, seed: int = 0) -> NDArray[np.float32]:
    return value.of(
        Grown(
            positions=np.arange(COUNT),
            gradient=lambda: np.linspace(-1.0, 1.0, COUNT, dtype=np.float32),
            initial_deviation=lambda: DEVIATIONS,
            learning_rate=0.05,
            rng=np.random.default_rng(seed),
        )
    )


def test_new_weights_can_begin_at_zero_or_at_a_step_down_the_gradient() -> None:
    assert not values(Zero()).any()
    np.testing.assert_allclose(
        values(GradientStep(2.0)), -2.0 * 0.05 * np.linspace(-1.0, 1.0, COUNT), rtol=1e-5, atol=1e-9
    )


def test_new_weights_can_be_drawn_with_a_deviation_or_as_the_initial_ones() -> None:
    assert values(Normal(0.1)).std() == pytest.approx(0.1, rel=0.05)
    drawn = values(LikeInitial(3.0))
    assert drawn[: COUNT // 2].std() == pytest.approx(1.5, rel=0.05)
    assert drawn[COUNT // 2 :].std() == pytest.approx(6.0, rel=0.05)
    assert not (values(Normal(), seed=1) == values(Normal(), seed=2)).any()


def test_only_values_and_states_by_a_gradient_need_one() -> None:
    for value in (Zero(), Normal(), LikeInitial()):
        for state in (State.ZERO, State.KEPT):
            assert not NewWeights(value=value, state=state).needs.a_gradient
    assert NewWeights(value=GradientStep()).needs.a_gradient
    assert NewWeights(state=State.GRADIENT).needs.a_gradient
