"""How many weights each layer gets: against the published densities, and a budget met exactly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from sparse_training.positions import random_positions
from sparse_training.rules.densities import ErdosRenyi, published_count, published_densities

LENET_300_100 = ((300, 784), (100, 300), (10, 100))
LENET_5 = ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500))
CIFAR_MLP = ((1024, 3072), (512, 1024), (10, 512))


@pytest.mark.parametrize(
    ("shapes", "sparsity", "power", "kernel", "expected"),
    [
        (((2, 4), (3, 6), (2, 4, 6)), 0.5, 1.0, True, (0.0, 0.3095, 0.6548)),
        (((2, 4), (3, 6), (2, 4, 6)), 0.5, 1.0, False, (0.2071, 0.4714, 0.5595)),
        (((2, 4), (3, 6), (2, 4, 6)), 0.8, 1.0, True, (0.5556, 0.7037, 0.8519)),
        (((2, 4), (3, 6), (2, 4, 6)), 0.5, 2.0, True, (0.0, 0.0333, 0.7583)),
        (((2, 4), (3, 6, 7), (7, 4)), 0.5, 1.0, True, (0.0, 0.6429, 0.0)),
        (((2, 4), (3, 6, 7)), 0.5, 1.0, True, (0.0, 0.5317)),
    ],
)
def test_erdos_renyi_densities_are_those_of_jaxpruners_tests(
    shapes: tuple[tuple[int, ...], ...],
    sparsity: float,
    power: float,
    kernel: bool,
    expected: tuple[float, ...],
) -> None:
    densities = published_densities(shapes, 1.0 - sparsity, power, kernel=kernel)
    assert [1.0 - density for density in densities] == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0.5, (0.4236506, 0.9532138, 1.0)),
        (0.2, (0.1687502, 0.3796879, 1.0)),
        (0.1, (0.0837832, 0.1885123, 1.0)),
        (0.05, (0.0413000, 0.0929250, 1.0)),
        (0.01, (0.0077763, 0.0174967, 0.6088858)),
        (0.005, (0.0038883, 0.0087486, 0.3044512)),
        (0.001, (0.0007780, 0.0017505, 0.0609167)),
    ],
)
def test_densities_of_the_cifar_perceptron_are_those_of_nervas_logs(
    density: float, expected: tuple[float, ...]
) -> None:
    assert published_densities(CIFAR_MLP, density) == pytest.approx(expected, abs=6e-8)


@pytest.mark.parametrize(
    ("sparsity", "densities", "count"),
    [
        (0.8, (0.162241, 0.469362, 1.0), 38160 + 14081 + 1000),
        (0.9, (0.079568, 0.230189, 1.0), 26621),
        (0.95, (0.038484, 0.111334, 0.918507), 13312),
        (0.98, (0.015394, 0.044534, 0.367403), 5326),
        (0.99, (0.007697, 0.022267, 0.183701), 2664),
    ],
)
def test_lenet_300_100_has_the_densities_and_counts_of_rigls_code(
    sparsity: float, densities: tuple[float, ...], count: int
) -> None:
    ours = published_densities(LENET_300_100, 1.0 - sparsity)
    assert ours == pytest.approx(densities, abs=1e-6)
    assert sum(map(published_count, LENET_300_100, ours)) == count


@pytest.mark.parametrize(
    ("sparsity", "densities"),
    [
        (0.9, (1.0, 0.087072, 0.088433, 1.0)),
        (0.95, (0.726116, 0.037477, 0.038063, 1.0)),
        (0.99, (0.138943, 0.007171, 0.007283, 0.228584)),
    ],
)
def test_lenet_5_has_the_densities_of_rigls_code(
    sparsity: float, densities: tuple[float, ...]
) -> None:
    assert published_densities(LENET_5, 1.0 - sparsity) == pytest.approx(densities, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "sparsity", "count"), [((30, 4), 0.5, 60), ((1, 2, 1, 4), 0.8, 2), ((30,), 0.1, 27)]
)
def test_masks_have_the_counts_of_rigls_tests(
    shape: tuple[int, ...], sparsity: float, count: int
) -> None:
    assert published_count(shape, 1.0 - sparsity) == count
    positions = random_positions(math.prod(shape), count, np.random.default_rng(0))
    assert len(set(positions.tolist())) == count


@pytest.mark.parametrize("budget", [3, 5, 2664, 13312, 26621, 100_000, 266_200, 10**9])
@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_counts_of_lenet_sum_to_the_budget(budget: int, power: float) -> None:
    counts = ErdosRenyi(power).counts(LENET_300_100, budget)
    assert sum(counts) == min(budget, 266_200)


def test_counts_at_a_published_budget_are_the_published_ones() -> None:
    assert ErdosRenyi().counts(LENET_300_100, 26621) == (18715, 6906, 1000)


def test_power_zero_gives_all_layers_the_same_density() -> None:
    assert ErdosRenyi(0.0).counts(((100, 10), (50, 100), (10, 50)), 650) == (100, 500, 50)


def test_every_layer_gets_one_weight_even_when_its_part_is_less() -> None:
    assert ErdosRenyi(0.0).counts(((1000, 1000), (2, 2)), 100) == (99, 1)
    assert ErdosRenyi().counts(((1000, 1000), (2, 2)), 2) == (1, 1)


def test_a_budget_below_one_weight_a_layer_is_refused() -> None:
    with pytest.raises(BadInput, match="2 active weights for 3 layers"):
        ErdosRenyi().counts(LENET_300_100, 2)


SHAPES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6)


@given(SHAPES, st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.booleans(), st.booleans())
def test_counts_sum_to_any_budget_and_fit_every_layer(
    shapes: list[tuple[int, int]], fraction: float, power: float, first: bool, last: bool
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    budget = len(shapes) + int(fraction * (sum(sizes) - len(shapes)))
    dense = [layer for layer, asked in ((0, first), (len(shapes) - 1, last)) if asked]
    counts = ErdosRenyi(power).counts(shapes, budget, sorted(set(dense)))
    assert sum(counts) == budget
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


@given(SHAPES, st.floats(0.2, 0.95))
def test_counts_follow_the_published_densities_but_for_rounding(
    shapes: list[tuple[int, int]], density: float
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    wanted = published_densities(shapes, density)
    budget = sum(published_count(shape, density) for shape in shapes)
    counts = ErdosRenyi().counts(shapes, budget)
    for count, size, of_layer in zip(counts, sizes, wanted, strict=True):
        assert abs(count - max(1.0, of_layer * size)) < 1.0 + len(shapes)


def test_dense_layers_are_paid_from_the_budget() -> None:
    shapes = ((10, 10), (100, 10), (10, 100))
    assert ErdosRenyi(0.0).counts(shapes, 500, dense=[0]) == (100, 200, 200)


def test_a_dense_layer_gets_no_more_than_half_of_the_budget() -> None:
    counts = ErdosRenyi().counts(LENET_300_100, 2002, dense=[0])
    assert counts[0] == 1000 and sum(counts) == 2002
    both = ErdosRenyi().counts(LENET_300_100, 1001, dense=[0, 2])
    assert both[0] == both[2] == 333 and sum(both) == 1001
