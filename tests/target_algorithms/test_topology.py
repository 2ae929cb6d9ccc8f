"""Rules of sparse training against hand-worked cases and the published test vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_algorithms.errors import BadInput
from target_algorithms.topology import (
    Topology,
    drop_fraction_at,
    grow_at_random,
    grow_by_score,
    keep_by_sign_counts,
    keep_by_sign_thresholds,
    keep_largest,
    kept,
    largest,
    layer_counts,
    published_count,
    published_densities,
    random_positions,
    union,
    update_due,
    update_layer,
)

LENET_300_100 = ((300, 784), (100, 300), (10, 100))
LENET_5 = ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500))
CIFAR_MLP = ((1024, 3072), (512, 1024), (10, 512))


def bits(text: str) -> np.ndarray:
    return np.flatnonzero(np.array(list(text)) == "1")


# Densities ---------------------------------------------------------------------------------------


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
    found = published_densities(shapes, 1.0 - sparsity, power, kernel=kernel)
    assert [1.0 - density for density in found] == pytest.approx(expected, abs=5e-5)


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
    found = published_densities(LENET_300_100, 1.0 - sparsity)
    assert found == pytest.approx(densities, abs=1e-6)
    assert sum(map(published_count, LENET_300_100, found)) == count


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
    counts = layer_counts(LENET_300_100, budget, power)
    assert sum(counts) == min(budget, 266_200)


def test_counts_at_a_published_budget_are_the_published_ones() -> None:
    assert layer_counts(LENET_300_100, 26621, 1.0) == (18715, 6906, 1000)


def test_power_zero_gives_all_layers_the_same_density() -> None:
    assert layer_counts(((100, 10), (50, 100), (10, 50)), 650, 0.0) == (100, 500, 50)


def test_every_layer_gets_one_weight_even_when_its_share_is_less() -> None:
    assert layer_counts(((1000, 1000), (2, 2)), 100, 0.0) == (99, 1)
    assert layer_counts(((1000, 1000), (2, 2)), 2, 1.0) == (1, 1)


def test_a_budget_below_one_weight_a_layer_is_refused() -> None:
    with pytest.raises(BadInput, match="2 active weights for 3 layers"):
        layer_counts(LENET_300_100, 2, 1.0)


shapes_strategy = st.lists(
    st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6
)


@given(shapes_strategy, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_counts_sum_to_any_budget_and_fit_every_layer(
    shapes: list[tuple[int, int]], share: float, power: float
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    budget = len(shapes) + int(share * (sum(sizes) - len(shapes)))
    counts = layer_counts(shapes, budget, power)
    assert sum(counts) == budget
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


@given(shapes_strategy, st.floats(0.2, 0.95))
def test_counts_follow_the_published_densities_but_for_rounding(
    shapes: list[tuple[int, int]], density: float
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    wanted = published_densities(shapes, density)
    budget = sum(published_count(shape, density) for shape in shapes)
    counts = layer_counts(shapes, budget, 1.0)
    for count, size, share in zip(counts, sizes, wanted, strict=True):
        assert abs(count - max(1.0, share * size)) < 1.0 + len(shapes)


# Dropping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.0, "01010110"),
        (0.25, "11010100"),
        (0.5, "11001100"),
        (0.75, "10101100"),
        (1.0, "10101100"),
    ],
)
def test_a_mask_update_is_that_of_jaxpruners_test(fraction: float, expected: str) -> None:
    scores = np.array([-9.0, 1, 4, -1, 5, 8, -2, 3])
    active = bits("01010110")
    drop = int(fraction * len(active))
    survivors = active[keep_largest(scores[active], len(active) - drop)]
    after = union(survivors, grow_by_score(np.abs(scores), survivors, drop))
    assert after.tolist() == bits(expected).tolist()


def test_magnitude_drops_the_floor_of_the_share() -> None:
    weights = np.array([0.5, -0.1, 0.3, -0.2, 0.4], dtype=np.float32)
    assert kept(weights, "magnitude", 0.59).tolist() == [True, False, True, False, True]
    assert kept(weights, "magnitude", 0.19).all()


TOY = np.array([3, -1, 5, -4, 2, -5, 1, -3, 4, -2], dtype=np.float32)


def test_sets_thresholds_keep_what_the_authors_code_keeps() -> None:
    assert set(TOY[keep_by_sign_thresholds(TOY, 0.3)]) == {-5, -4, 4, 5}


def test_the_nominal_counts_of_either_sign_keep_all_but_the_smallest() -> None:
    assert set(TOY[keep_by_sign_counts(TOY, 0.3)]) == set(TOY) - {-1, 1}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sets_thresholds_work_where_all_weights_have_one_sign(sign: float) -> None:
    weights = np.float32(sign) * np.random.default_rng(0).random(1000, dtype=np.float32)
    keep = keep_by_sign_thresholds(weights, 0.3)
    assert (~keep).sum() == 301
    assert np.abs(weights[keep]).min() > np.abs(weights[~keep]).max()


def test_sets_thresholds_drop_both_signs_alike() -> None:
    """The SET of sparse_learning kept 156 weights here, all of them negative."""
    weights = np.random.default_rng(0).standard_normal(1035).astype(np.float32)
    keep = keep_by_sign_thresholds(weights, 0.3)
    for sign in (weights > 0, weights < 0):
        assert keep[sign].mean() == pytest.approx(0.7, abs=0.01)


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]) | st.floats(-3, 3, width=32)),
    st.floats(0.02, 0.7),
    st.sampled_from(["magnitude", "sign", "sign_nominal"]),
)
def test_no_drop_rule_empties_a_layer(values: list[float], fraction: float, rule: str) -> None:
    weights = np.array(values, dtype=np.float32)
    keep = kept(weights, rule, fraction)
    assert keep.shape == weights.shape
    assert keep.any() or not values


# Growing -----------------------------------------------------------------------------------------


def test_equal_scores_are_won_by_the_lowest_positions() -> None:
    assert largest(np.array([1.0, 2, 1, 2, 1]), 3).tolist() == [0, 1, 3]


def test_a_taken_position_never_beats_a_free_one_whose_score_is_zero() -> None:
    scores = np.array([9.0, 0, 8, 0, 7])
    assert grow_by_score(scores, np.array([0, 2, 4]), 2).tolist() == [1, 3]


def test_active_weights_of_value_zero_are_not_mistaken_for_inactive_ones() -> None:
    """RigL's code keeps inactive positions where active weights are exactly zero."""
    rng = np.random.default_rng(0)
    active = random_positions(1000, 100, rng)
    weights = np.where(np.arange(100) < 50, 0.0, 1.0).astype(np.float32)
    update = update_layer(
        Topology(),
        size=1000,
        active=active,
        weights=weights,
        fraction=0.3,
        gradient=np.zeros(1000, dtype=np.float32),
        fired=np.zeros(1000, dtype=np.bool_),
        rng=rng,
    )
    assert len(update.active) == 100
    assert len(np.intersect1d(update.active, active)) >= 70


def test_positions_never_active_come_first_then_the_others_by_score() -> None:
    scores = np.array([5.0, 1, 4, 2, 3])
    fired = np.array([True, False, True, True, False])
    assert grow_by_score(scores, np.array([3]), 2, fired).tolist() == [1, 4]
    assert grow_by_score(scores, np.array([3]), 3, fired).tolist() == [0, 1, 4]


@given(st.integers(1, 80), st.data())
def test_random_growth_takes_free_positions_only(size: int, data: st.DataObject) -> None:
    taken = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1)))), dtype=np.int64)
    count = data.draw(st.integers(0, size - len(taken)))
    grown = grow_at_random(size, taken, count, np.random.default_rng(count))
    assert len(set(grown.tolist())) == count
    assert not set(grown.tolist()) & set(taken.tolist())
    assert all(0 <= position < size for position in grown)


def test_random_growth_reaches_every_free_position_equally_often() -> None:
    rng = np.random.default_rng(0)
    taken = np.array([0, 3, 4, 9])
    hits = np.bincount(
        np.concatenate([grow_at_random(10, taken, 2, rng) for _ in range(3000)]), minlength=10
    )
    assert (hits[taken] == 0).all()
    # 6 free positions share 6000 draws; 5 standard deviations are about 130.
    assert np.abs(np.delete(hits, taken) - 1000).max() < 140


# Updates -----------------------------------------------------------------------------------------

settings = st.builds(
    Topology,
    drop_rule=st.sampled_from(["magnitude", "sign", "sign_nominal"]),
    grow_random_share=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
    grow_score=st.sampled_from(["gradient", "unfired_gradient"]),
    regrown_value=st.sampled_from(["keep", "new"]),
)


@given(settings, st.integers(1, 60), st.floats(0, 0.7), st.integers(0, 2**32))
def test_an_update_keeps_the_count_and_keeps_new_and_kept_apart(
    topology: Topology, size: int, fraction: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    active = random_positions(size, int(rng.integers(1, size + 1)), rng)
    # Whole numbers make ties.
    weights = rng.integers(-2, 3, len(active)).astype(np.float32)
    gradient = rng.integers(-2, 3, size).astype(np.float32)
    update = update_layer(
        topology,
        size=size,
        active=active,
        weights=weights,
        fraction=fraction,
        gradient=gradient,
        fired=np.isin(np.arange(size), active),
        rng=rng,
    )
    survivors = active[kept(weights, topology.drop_rule, fraction)]
    before, after = set(active.tolist()), set(update.active.tolist())
    assert len(after) == len(before) == len(update.active)
    assert set(survivors.tolist()) <= after
    assert set(update.dropped.tolist()) == before - after
    assert not set(update.new.tolist()) & set(survivors.tolist())
    assert after - before <= set(update.new.tolist()) <= after
    if topology.regrown_value == "keep":
        assert set(update.new.tolist()) == after - before
    else:
        assert set(update.new.tolist()) == after - set(survivors.tolist())


@given(settings, st.integers(0, 2**32))
def test_a_share_of_zero_changes_nothing(topology: Topology, seed: int) -> None:
    if topology.drop_rule == "sign":
        return  # SET's thresholds drop the weights that they are set at, whatever zeta is.
    rng = np.random.default_rng(seed)
    active = random_positions(50, 20, rng)
    update = update_layer(
        topology,
        size=50,
        active=active,
        weights=rng.standard_normal(20).astype(np.float32),
        fraction=0.0,
        gradient=rng.standard_normal(50).astype(np.float32),
        fired=np.zeros(50, dtype=np.bool_),
        rng=rng,
    )
    assert (update.active == active).all() and len(update.new) == 0 == len(update.dropped)


def test_just_dropped_positions_may_be_grown_again() -> None:
    gradient = np.array([9.0, 0, 0, 0], dtype=np.float32)
    settings = {"size": 4, "active": np.array([0, 1]), "fraction": 0.5, "gradient": gradient}
    weights = np.array([0.1, 1.0], dtype=np.float32)
    unused = {"fired": np.zeros(4, dtype=np.bool_), "rng": np.random.default_rng(0)}
    for regrown, new in (("keep", []), ("new", [0])):
        update = update_layer(
            Topology(regrown_value=regrown),  # type: ignore[arg-type]
            weights=weights,
            **settings,  # type: ignore[arg-type]
            **unused,  # type: ignore[arg-type]
        )
        assert update.active.tolist() == [0, 1]
        assert update.new.tolist() == new
        assert update.dropped.tolist() == []


@given(st.integers(0, 2**32))
def test_update_by_score_does_not_depend_on_how_positions_are_numbered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    active = random_positions(40, 15, rng)
    weights = np.zeros(40, dtype=np.float32)
    weights[active] = rng.permutation(15) + 1.0  # distinct, so that there are no ties
    gradient = rng.permutation(40).astype(np.float32)
    relabelled = rng.permutation(40)

    def updated(order: np.ndarray) -> set[int]:
        there = np.flatnonzero(weights[order] != 0)
        update = update_layer(
            Topology(),
            size=40,
            active=there,
            weights=weights[order][there],
            fraction=0.4,
            gradient=gradient[order],
            fired=np.zeros(40, dtype=np.bool_),
            rng=rng,
        )
        return set(order[update.active].tolist())

    assert updated(np.arange(40)) == updated(relabelled)


# Timing ------------------------------------------------------------------------------------------


def test_the_cosine_schedule_has_the_published_values() -> None:
    found = [drop_fraction_at("cosine", 0.3, quarter / 4) for quarter in range(5)]
    assert found == pytest.approx([0.3, 0.256066, 0.15, 0.043934, 0.0], abs=1e-6)


def test_the_linear_and_constant_schedules_end_at_zero_and_at_the_start() -> None:
    quarters = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [drop_fraction_at("linear", 0.4, p) for p in quarters] == pytest.approx(
        [0.4, 0.3, 0.2, 0.1, 0.0]
    )
    assert {drop_fraction_at("constant", 0.4, p) for p in quarters} == {0.4}


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
    count, last, found = 0, None, []
    for _ in range(11):
        if update_due(count, last, interval, now=count, begin=begin, end=end):
            last = count
            found.append("0")
        else:
            count += 1
            found.append("1")
    assert " ".join(found) == pattern


def test_updates_after_steps_come_at_the_calls_of_rigls_set_test() -> None:
    last, found = None, []
    for call in range(1, 8):
        if update_due(call, last, 2, now=call, begin=1, end=4):
            last = call
            found.append(call)
    assert found == [1, 3]
