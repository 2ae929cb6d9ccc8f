"""More weights on the way: as gradual pruning, GraNet and MEST have it."""

from dataclasses import dataclass

import pytest

from sparse_training.rules.density_path import (
    Cubic,
    Cyclic,
    DensityPath,
    SoftBound,
    weights_at,
)

TOTAL = 10**9


def density_at(path: DensityPath, initial: float, final: float, progress: float) -> float:
    """The density of a billion weights when so much of the path has passed."""
    return (
        weights_at(path, round(initial * TOTAL), round(final * TOTAL), TOTAL, progress * path.end)
        / TOTAL
    )


def test_the_cubic_path_is_that_of_gradual_pruning_and_granet() -> None:
    pruned = [1 - density_at(Cubic(), 1.0, 0.1, quarter / 4) for quarter in range(5)]
    assert pruned == pytest.approx([0, 0.520313, 0.7875, 0.885938, 0.9], abs=1e-6)
    granet = [density_at(Cubic(), 0.5, 0.1, quarter / 4) for quarter in range(5)]
    assert granet == pytest.approx([0.5, 0.26875, 0.15, 0.10625, 0.1], abs=1e-6)
    # JaxPruner: to sparsity .5 over 20 steps, at its step 9, which it counts as 10.
    assert 1 - density_at(Cubic(), 1.0, 0.5, 10 / 20) == pytest.approx(0.4375)


def test_the_soft_bound_is_that_of_mests_scripts() -> None:
    """Sparsities .85, .875 from epoch 90 and .9 from epoch 120."""
    densities = [density_at(SoftBound(), 0.15, 0.1, epoch / 120) for epoch in (0, 89, 90, 119, 120)]
    assert densities == pytest.approx([0.15, 0.15, 0.125, 0.125, 0.1])


def test_the_cyclic_path_alternates_in_equal_halves_and_ends_sparse() -> None:
    densities = [density_at(Cyclic(cycles=2), 1.0, 0.1, eighth / 8) for eighth in range(9)]
    assert densities == [1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("path", [Cubic(end=0.4), SoftBound(end=0.4), Cyclic(end=0.4)], ids=repr)
def test_a_path_is_over_at_its_end_and_never_outside_its_two_numbers(path: DensityPath) -> None:
    counts = [weights_at(path, 50, 10, 100, step / 100) for step in range(101)]
    assert counts[0] == 50 and set(counts[40:]) == {10}
    assert min(counts) == 10 and max(counts) == 50


@dataclass(frozen=True)
class Wild(Cubic):
    """Begins with more than everything and goes on with less than nothing."""

    def density(self, initial: float, final: float, progress: float) -> float:
        return 2.0 if progress < 0.5 else -1.0


def test_a_path_that_asks_for_what_there_is_not_is_held_between_its_two_numbers() -> None:
    counts = [weights_at(Wild(end=0.4), 50, 10, 100, step / 10) for step in range(5)]
    assert counts == [50, 50, 10, 10, 10]


def test_the_soft_bound_drops_down_to_the_budget_and_the_others_what_they_are_told() -> None:
    assert SoftBound().dropped(0.3, budget=60, present=80) == pytest.approx(0.25)
    assert Cubic().dropped(0.3, 60, 80) == Cyclic().dropped(0.3, 60, 80) == 0.3
