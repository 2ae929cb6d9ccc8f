"""Shapes that fall over time, and the learning rate that follows one."""

import pytest

from sparse_training.loop.recipe import LearningRate
from sparse_training.schedules import Constant, Cosine, Linear, Schedule, Tenths

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def rates(schedule: Schedule) -> list[float]:
    rate = LearningRate(initial=0.2, schedule=schedule)
    return [rate.at(progress, density=0.1) for progress in QUARTERS]


def test_the_learning_rate_follows_its_schedule() -> None:
    assert rates(Constant()) == [0.2] * 5
    assert rates(Linear()) == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.0])
    assert rates(Cosine()) == pytest.approx([0.2, 0.170711, 0.1, 0.029289, 0.0], abs=1e-6)
    assert rates(Tenths()) == pytest.approx([0.2, 0.2, 0.02, 0.002, 0.002])


def test_the_learning_rate_rises_first_and_the_schedule_follows_over_the_rest() -> None:
    rate = LearningRate(initial=0.2, schedule=Cosine(), warmup=0.1)
    assert rate.at(0.05, density=0.1) == pytest.approx(0.1)
    assert rate.at(0.55, density=0.1) == pytest.approx(0.1)


def test_the_learning_rate_as_a_fraction_knows_no_density() -> None:
    rate = LearningRate(initial=0.2, schedule=Linear(), density_power=0.5)
    assert rate.at(0.25, density=0.01) == pytest.approx(1.5)
    assert rate.factor(0.25) == pytest.approx(0.75)
