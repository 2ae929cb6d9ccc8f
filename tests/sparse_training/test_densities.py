"""Rules of sparse training against hand-worked cases and the published test vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_algorithms.errors import BadInput
from target_algorithms.topology import (
    allocate,
    among,
    density_at,
    drop_fraction_at,
    grow_at_random,
    grow_by_score,
    grow_fresh_at_random,
    keep_above,
    keep_by_sign_counts,
    keep_by_sign_thresholds,
    keep_globally,
    keep_largest,
    keep_scores,
    layer_counts,
    merged,
    next_threshold,
    number_to_drop,
    published_count,
    published_densities,
    random_positions,
    union,
    update_due,
    without,
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


@given(shapes_strategy, st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.booleans(), st.booleans())
def test_counts_sum_to_any_budget_and_fit_every_layer(
    shapes: list[tuple[int, int]], share: float, power: float, first: bool, last: bool
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    budget = len(shapes) + int(share * (sum(sizes) - len(shapes)))
    dense = [layer for layer, asked in ((0, first), (len(shapes) - 1, last)) if asked]
    counts = layer_counts(shapes, budget, power, dense=sorted(set(dense)))
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


def test_dense_layers_are_paid_from_the_budget() -> None:
    assert layer_counts(((10, 10), (100, 10), (10, 100)), 500, 0.0, dense=[0]) == (100, 200, 200)


def test_a_dense_layer_gets_no_more_than_half_of_the_budget() -> None:
    counts = layer_counts(LENET_300_100, 2002, 1.0, dense=[0])
    assert counts[0] == 1000 and sum(counts) == 2002
    both = layer_counts(LENET_300_100, 1001, 1.0, dense=[0, 2])
    assert both[0] == both[2] == 333 and sum(both) == 1001


# Dropping ----------------------------------------------------------------------------------------


def positions_of_largest(scores: np.ndarray, count: int) -> list[int]:
    return np.flatnonzero(keep_largest(scores, count)).tolist()


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
    drop = number_to_drop(fraction, len(active), "floor")
    survivors = active[keep_largest(scores[active], len(active) - drop)]
    after = union(survivors, grow_by_score(np.abs(scores), survivors, drop))
    assert after.tolist() == bits(expected).tolist()


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [("floor", [0, 1, 2, 3, 4]), ("ceil", [0, 2, 3, 3, 4]), ("nearest", [0, 2, 3, 3, 4])],
)
def test_the_number_to_drop_is_rounded_as_asked(rounding: str, expected: list[int]) -> None:
    # 5 weights: 0, 1.5, 2.5, 3 and 4; binary fractions must not turn .3 * 10 = 3 into 4 or 2.
    shares = [0.0, 0.3, 0.5, 0.6, 0.8]
    assert [number_to_drop(share, 5, rounding) for share in shares] == expected
    assert number_to_drop(0.3, 10, rounding) == 3
    assert number_to_drop(0.1, 3, rounding) == (1 if rounding == "ceil" else 0)


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


def test_the_rules_weigh_magnitude_and_gradient_as_published() -> None:
    weights = np.array([0.5, -2.0, 1.0], dtype=np.float32)
    gradient = np.array([-4.0, 0.5, 0.0], dtype=np.float32)
    assert keep_scores("magnitude", weights, None, 1.0).tolist() == [0.5, 2.0, 1.0]
    assert keep_scores("mest", weights, gradient, 0.5).tolist() == [2.5, 2.25, 1.0]
    assert keep_scores("snip", weights, gradient, 1.0).tolist() == [2.0, 1.0, 0.0]
    reciprocal = keep_scores("reciprocal", weights, gradient, 1.0)
    assert reciprocal[:2].tolist() == [0.125, 4.0]
    assert reciprocal[2] > 1e30  # never moved by the loss: kept longest


@pytest.mark.parametrize("rule", ["mest", "snip", "reciprocal"])
def test_scores_too_large_for_a_number_can_still_be_compared(rule: str) -> None:
    """Large weights without a gradient, as dead neurons have, and gradients about to diverge."""
    slope = 0.0 if rule == "reciprocal" else 1e38
    weights = np.array([50.0, 0.1, 60.0, 70.0], dtype=np.float32)
    gradient = np.array([slope, 1.0, slope, slope], dtype=np.float32)
    scores = keep_scores(rule, weights, gradient, 100.0)
    assert keep_largest(scores, 2).sum() == 2
    assert not keep_largest(scores, 3)[1]


def test_the_global_drop_ranks_all_layers_together_and_empties_none() -> None:
    scores = [np.array([9.0, 8, 7]), np.array([1.0, 2]), np.array([6.0])]
    keep = keep_globally(scores, 4)
    assert [mask.tolist() for mask in keep] == [[True, True, False], [False, True], [True]]


def test_the_threshold_rule_keeps_what_is_at_or_above_it_and_one_in_any_case() -> None:
    weights = np.array([0.001, -0.002, 0.0005], dtype=np.float32)
    assert keep_above(weights, 0.001).tolist() == [True, True, False]
    assert keep_above(weights, 1.0).tolist() == [False, True, False]


def test_the_threshold_adapts_to_the_number_dropped_as_in_dsr() -> None:
    assert next_threshold(0.001, 111, 100.0) == 0.0005
    assert next_threshold(0.001, 89, 100.0) == 0.002
    assert next_threshold(0.001, 110, 100.0) == next_threshold(0.001, 90, 100.0) == 0.001


RULES = {
    "sign": keep_by_sign_thresholds,
    "sign_nominal": keep_by_sign_counts,
}


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]) | st.floats(-3, 3, width=32)),
    st.floats(0.02, 0.7),
    st.sampled_from(sorted(RULES)),
)
def test_no_sign_rule_empties_a_layer(values: list[float], fraction: float, rule: str) -> None:
    weights = np.array(values, dtype=np.float32)
    keep = RULES[rule](weights, fraction)
    assert keep.shape == weights.shape
    assert keep.any() or not values


# Known bugs of other codes, written out, so that nobody brings them back -------------------------


def test_the_drop_of_sparse_learning_is_not_sets() -> None:
    """Its fix of issue 19 drops idx[ceil(k/2):] of the ascending sort: 156 stay, all negative."""
    weights = np.random.default_rng(0).standard_normal(1035).astype(np.float32)
    order = np.argsort(weights)
    wrong = np.ones(1035, dtype=np.bool_)
    wrong[order[math.ceil(0.3 * 1035 / 2) :]] = False
    assert wrong.sum() == 156 and (weights[wrong] < 0).all()
    keep = keep_by_sign_thresholds(weights, 0.3)
    for sign in (weights > 0, weights < 0):
        assert keep[sign].mean() == pytest.approx(0.7, abs=0.01)


def test_the_drop_of_itop_keeps_the_most_negative_and_ours_the_largest_of_either_sign() -> None:
    weights = np.random.default_rng(0).standard_normal(1035).astype(np.float32)
    keep = keep_by_sign_counts(weights, 0.3)
    kept, gone = np.abs(weights[keep & (weights < 0)]), np.abs(weights[~keep & (weights < 0)])
    assert kept.min() >= gone.max()


def test_the_density_does_not_grow_as_in_fastsparse() -> None:
    """There int((1 - s) * N * 1 - pct) drops nothing of 100 weights and grows 29 more."""
    assert int((1 - 0.9) * 1000 * 1 - 0.3) == 99
    active = random_positions(1000, 100, np.random.default_rng(0))
    drop = number_to_drop(0.3, 100, "floor")
    scores = np.random.default_rng(1).random(100)
    survivors = active[keep_largest(scores, 100 - drop)]
    grown = grow_by_score(np.random.default_rng(2).random(1000), survivors, drop)
    assert (drop, len(survivors), len(union(survivors, grown))) == (30, 70, 100)


def test_positions_are_drawn_without_collisions() -> None:
    """SET's SciPy code draws with replacement: 13 (1000 + 10) draws of 10,000 hit only 73 %."""
    drawn = np.random.default_rng(0).integers(10_000, size=13 * 1010)
    assert len(np.unique(drawn)) == pytest.approx(7310, abs=60)
    assert len(np.unique(random_positions(10_000, 9_999, np.random.default_rng(0)))) == 9_999


def test_zero_valued_active_weights_are_not_mistaken_for_inactive_ones() -> None:
    """RigL's code ranks all positions by |m w| with noise and keeps inactive ones among zeros."""
    weights = np.where(np.arange(100) < 50, 0.0, 1.0).astype(np.float32)
    keep = keep_largest(np.abs(weights), 70)  # ranks active weights only
    assert keep.sum() == 70 and keep[50:].all()


# Growing -----------------------------------------------------------------------------------------


def test_equal_scores_are_won_by_the_lowest_positions() -> None:
    assert positions_of_largest(np.array([1.0, 2, 1, 2, 1]), 3) == [0, 1, 3]


def test_scores_that_differ_in_the_last_digits_are_equal() -> None:
    scores = np.array([1.0, 3.0, 1.000001, 1.000002, 0.9], dtype=np.float32)
    nothing = np.zeros(0, dtype=np.int64)
    assert grow_by_score(scores, nothing, 2).tolist() == [0, 1]
    assert grow_by_score(scores * [1, 1, 1.001, 1, 1], nothing, 2).tolist() == [1, 2]
    assert positions_of_largest(scores, 2) == [0, 1]
    assert positions_of_largest(scores, 4) == [0, 1, 2, 3]


def test_a_taken_position_never_beats_a_free_one_whose_score_is_zero() -> None:
    scores = np.array([9.0, 0, 8, 0, 7])
    assert grow_by_score(scores, np.array([0, 2, 4]), 2).tolist() == [1, 3]


def test_positions_never_active_come_first_then_the_others_by_score() -> None:
    scores = np.array([5.0, 1, 4, 2, 3])
    fired = np.array([0, 2, 3])
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


@given(st.integers(1, 60), st.floats(0, 1), st.data())
def test_biased_random_growth_takes_its_share_of_positions_never_active(
    size: int, bias: float, data: st.DataObject
) -> None:
    fired = np.array(sorted(data.draw(st.sets(st.integers(0, size - 1)))), dtype=np.int64)
    taken = np.array(
        sorted(data.draw(st.sets(st.sampled_from(fired.tolist())))) if len(fired) else []
    )
    taken = taken.astype(np.int64)
    count = data.draw(st.integers(0, size - len(taken)))
    rng = np.random.default_rng(count)
    grown = grow_fresh_at_random(size, taken, fired, count, bias, rng)
    assert len(set(grown.tolist())) == count and not among(grown, taken).any()
    fresh = count - int(among(grown, fired).sum())
    assert fresh >= min(number_to_drop(bias, count, "nearest"), size - len(fired))


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_sets_of_positions_behave_like_sets(one: set[int], other: set[int]) -> None:
    first, second = (np.array(sorted(s), dtype=np.int64) for s in (one, other))
    assert without(first, second).tolist() == sorted(one - other)
    assert merged(first, second).tolist() == sorted(one | other)
    assert first[among(first, second)].tolist() == sorted(one & other)


# Between layers ----------------------------------------------------------------------------------


def test_redistribution_is_that_of_snfs() -> None:
    """Importances .75 and .25, 10 and 10 removed: 15 and 5 are grown; what is full goes on."""
    assert allocate(20, [0.75, 0.25], [1000, 1000]) == (15, 5)
    assert allocate(20, [0.75, 0.25], [int(0.99 * 12), 1000]) == (11, 9)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_an_allocation_gives_everything_away_and_overfills_nobody(
    layers: list[tuple[float, int]], share: float
) -> None:
    shares, room = zip(*layers, strict=True)
    total = int(share * sum(room))
    given_away = allocate(total, shares, room)
    assert sum(given_away) == total
    assert all(0 <= got <= most for got, most in zip(given_away, room, strict=True))


# Timing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "initial", "final", "expected"),
    [
        ("cosine", 0.3, 0.0, [0.3, 0.256066, 0.15, 0.043934, 0.0]),
        ("cosine", 0.5, 0.005, [0.5, 0.427509, 0.2525, 0.077491, 0.005]),
        ("polynomial", 0.3, 0.0, [0.3, 0.126562, 0.0375, 0.004687, 0.0]),
        ("linear", 0.4, 0.0, [0.4, 0.3, 0.2, 0.1, 0.0]),
        ("constant", 0.4, 0.0, [0.4, 0.4, 0.4, 0.4, 0.4]),
        ("step", 0.2, 0.0, [0.2, 0.2, 0.2, 0.1, 0.1]),
    ],
)
def test_the_drop_fraction_falls_as_published(
    schedule: str, initial: float, final: float, expected: list[float]
) -> None:
    found = [drop_fraction_at(schedule, initial, q / 4, final=final) for q in range(5)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_drop_fraction_can_follow_the_learning_rate() -> None:
    found = [drop_fraction_at("learning_rate", 0.3, 0.5, learning_rate=r) for r in (1.0, 0.5, 0.0)]
    assert found == pytest.approx([0.3, 0.15, 0.0])


def test_the_cubic_path_is_that_of_gradual_pruning_and_granet() -> None:
    pruned = [1 - density_at("cubic", 1.0, 0.1, q / 4, 1) for q in range(5)]
    assert pruned == pytest.approx([0, 0.520313, 0.7875, 0.885938, 0.9], abs=1e-6)
    granet = [density_at("cubic", 0.5, 0.1, q / 4, 1) for q in range(5)]
    assert granet == pytest.approx([0.5, 0.26875, 0.15, 0.10625, 0.1], abs=1e-6)
    # JaxPruner: to sparsity .5 over 20 steps, at its step 9, which it counts as 10.
    assert 1 - density_at("cubic", 1.0, 0.5, 10 / 20, 1) == pytest.approx(0.4375)


def test_the_soft_bound_is_that_of_mests_scripts() -> None:
    """Sparsities .85, .875 from epoch 90 and .9 from epoch 120."""
    found = [density_at("soft_bound", 0.15, 0.1, epoch / 120, 1) for epoch in (0, 89, 90, 119, 120)]
    assert found == pytest.approx([0.15, 0.15, 0.125, 0.125, 0.1])


def test_the_cyclic_path_alternates_in_equal_halves_and_ends_sparse() -> None:
    found = [density_at("cyclic", 1.0, 0.1, eighth / 8, 2) for eighth in range(9)]
    assert found == [1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 0.1, 0.1, 0.1]


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
