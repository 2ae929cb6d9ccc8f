"""Which positions a rule grows: hand-worked, then properties of random growth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.engines.interface import DenseGradients
from sparse_training.errors import BadInput
from sparse_training.positions import Positions, among
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.grow import (
    AtRandom,
    EvenFanIn,
    Gradient,
    GradientAverage,
    GrowRule,
    Largest,
    Mixed,
    Momentum,
    Sampled,
    Sources,
    evened,
)
from tests.sparse_training.cases import layer_of, positions_of, scores_of


def grown(
    rule: GrowRule,
    weights: dict[int, float],
    gradient: list[float],
    count: int,
    seed: int = 0,
    fired: list[int] | None = None,
) -> list[int]:
    """What a rule grows in a layer of which these weights stay."""
    scores = scores_of([gradient])
    layer = layer_of(weights, (1, len(gradient)), fired=fired)
    rng = np.random.default_rng(seed)
    ranked = rule.ranked
    candidates = None
    if ranked is not None:
        candidates = ranked.candidates(layer, layer.active, count, rng)
    positions: list[int] = rule.grow(layer, layer.active, count, scores, candidates, rng).tolist()
    return positions


# By score ----------------------------------------------------------------------------------------


def test_the_largest_gradients_of_free_positions_are_grown_whatever_their_sign() -> None:
    assert grown(Largest(), {0: 1.0, 3: 1.0}, [99, 3, -7, 99, 0, 5], 2) == [2, 5]


def test_positions_that_were_never_active_can_come_first() -> None:
    slopes, fired = [9.0, 1, 8, 99, 3], [0, 2, 3]
    assert grown(Largest(never_active_first=True), {3: 1.0}, slopes, 2, fired=fired) == [1, 4]
    assert grown(Largest(never_active_first=True), {3: 1.0}, slopes, 3, fired=fired) == [0, 1, 4]
    assert grown(Largest(), {3: 1.0}, slopes, 2, fired=fired) == [0, 2]


def test_candidates_are_free_as_many_as_asked_for_and_enough_in_any_case() -> None:
    layer = layer_of({0: 1.0, 5: 1.0, 7: 1.0, 8: 1.0}, (1, 40))
    taken, rng = positions_of([0, 5]), np.random.default_rng(0)
    rule = Largest(candidates_per_weight=2.5)
    for least, expected in ((1, 10), (14, 14), (99, 38)):
        candidates = rule.candidates(layer, taken, least, rng)
        assert candidates is not None and len(candidates) == expected
        assert not among(candidates, taken).any()
    assert Largest().candidates(layer, taken, 1, rng) is None


def test_only_candidates_are_grown_and_the_best_of_them() -> None:
    layer, scores = layer_of({0: 1.0}, (1, 8)), scores_of([[0, 1, 2, 3, 4, 5, 6, 7]])
    candidates = positions_of([1, 2, 4])
    rng = np.random.default_rng(0)
    rule = Largest(candidates_per_weight=3.0)
    assert rule.grow(layer, layer.active, 2, scores, candidates, rng).tolist() == [2, 4]
    fresh = Largest(candidates_per_weight=3.0, never_active_first=True)
    fired = layer_of({0: 1.0}, (1, 8), fired=[0, 4])
    assert fresh.grow(fired, layer.active, 2, scores, candidates, rng).tolist() == [1, 2]


def test_an_average_of_gradients_remembers_and_begins_with_the_first() -> None:
    first, second = scores_of([[4.0, 0.0]]), scores_of([[0.0, 1.0]])
    score = GradientAverage(0.75)
    averages, memory = score.of(Sources(1, first, None), None)
    assert averages.dense(0).tolist() == [4.0, 0.0]
    averages, memory = score.of(Sources(1, second, None), memory)
    assert averages.dense(0).tolist() == [3.0, 0.25]
    assert [layer.tolist() for layer in memory] == [[3.0, 0.25]]


def test_a_score_looks_at_what_it_says_it_needs_and_at_nothing_else() -> None:
    nothing = Sources(1, None, None)
    scores = scores_of([[1.0]])
    assert Momentum().of(Sources(1, None, scores), None)[0] is scores
    assert Gradient().of(Sources(1, scores, None), None)[0] is scores
    for score in (Gradient(), GradientAverage(), Momentum()):
        with pytest.raises(ValueError, match="that its needs do not name"):
            score.of(nothing, None)


# Drawn by score ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("power", "share"), [(1.0, 0.75), (2.0, 0.9)])
def test_positions_are_drawn_in_proportion_to_a_power_of_the_score(
    power: float, share: float
) -> None:
    """Scores of 1 and -3, to the power: one in four, one in ten (2000 draws, 4 deviations)."""
    rule = Sampled(power=power)
    drawn = [grown(rule, {0: 1.0}, [9, 1, -3, 0, 0], 1, seed)[0] for seed in range(2000)]
    assert set(drawn) == {1, 2}
    assert drawn.count(2) / 2000 == pytest.approx(share, abs=0.04)


def test_positions_without_a_score_are_drawn_only_where_the_others_are_too_few() -> None:
    drawn = [grown(Sampled(), {0: 1.0}, [9, 0, 2, 0, 0, 1], 3, seed) for seed in range(40)]
    assert all({2, 5} < set(positions) for positions in drawn)
    assert set().union(*drawn) == {1, 2, 3, 4, 5}


def test_only_candidates_are_drawn_and_those_never_active_first_if_asked_for() -> None:
    subset = Sampled(Largest(candidates_per_weight=2.0))
    assert len({tuple(grown(subset, {0: 1.0}, [9] * 8, 2, seed)) for seed in range(40)}) > 5
    fresh = Sampled(Largest(never_active_first=True))
    for seed in range(20):
        assert 3 in grown(fresh, {0: 1.0}, [9, 99, 99, 1], 2, seed, fired=[0, 1, 2])


def test_drawing_by_a_score_to_the_power_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="to the power 0: expected more than 0"):
        Sampled(power=0.0)


# Even fan-ins ------------------------------------------------------------------------------------


def even(gradient: list[float], survivors: list[int], count: int) -> list[int]:
    """What three neurons of four inputs grow, of which these weights stay."""
    layer = layer_of(dict.fromkeys(survivors, 1.0), (3, 4))
    rng = np.random.default_rng(0)
    rule, scores = EvenFanIn(), scores_of([gradient])
    positions: list[int] = rule.grow(layer, layer.active, count, scores, None, rng).tolist()
    return positions


def test_neurons_grow_their_own_largest_until_their_fan_ins_are_even() -> None:
    """The first has one weight, the second two: three more make three each. The third has none."""
    gradient = [0.0, 1, -3, 2, 0, 0, 5, 6, 99, 99, 99, 99]
    assert even(gradient, [0, 4, 5], 3) == [2, 3, 7]
    assert even(gradient, [0, 4, 5], 2) == [2, 3]  # the lowest first
    assert even(gradient, [0, 4, 5], 4) == [1, 2, 3, 7]  # of equal ones the first neuron
    assert even(gradient, [0, 4, 5], 6) == [1, 2, 3, 6, 7, 8]  # what they have no room for


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.data())
def test_fan_ins_end_even_up_to_one_wherever_they_are_raised(
    fan_ins: list[int], data: st.DataObject
) -> None:
    own = np.array(fan_ins)
    count = data.draw(st.integers(0, int((6 - own).sum())))
    share = evened(own, 6, count)
    assert share.sum() == count and (share >= 0).all() and (own + share <= 6).all()
    for group in (own > 0, own == 0):
        raised = (own + share)[group & (share > 0)]
        lowest = (own + share)[group].min(initial=6)
        assert raised.max(initial=lowest) <= lowest + 1 or (own == 0).all() and lowest == 0
    assert not (share[own == 0].any() and (own + share < 6)[own > 0].any())


def test_an_even_fan_in_of_a_subset_of_candidates_is_refused() -> None:
    with pytest.raises(BadInput, match="looks at all positions: found a subset"):
        EvenFanIn(Largest(candidates_per_weight=1.0))


# At random ---------------------------------------------------------------------------------------


@given(st.integers(1, 80), st.data())
def test_random_growth_takes_free_positions_only(size: int, data: st.DataObject) -> None:
    taken = positions_of(list(data.draw(st.sets(st.integers(0, size - 1)))))
    count = data.draw(st.integers(0, size - len(taken)))
    layer, rng = layer_of({}, (1, size)), np.random.default_rng(count)
    positions = AtRandom().grow(layer, taken, count, None, None, rng)
    assert len(set(positions.tolist())) == count
    assert not set(positions.tolist()) & set(taken.tolist())
    assert all(0 <= position < size for position in positions)


def test_random_growth_reaches_every_free_position_equally_often() -> None:
    rng = np.random.default_rng(0)
    layer, taken = layer_of({}, (1, 10)), positions_of([0, 3, 4, 9])
    drawn = [AtRandom().grow(layer, taken, 2, None, None, rng) for _ in range(3000)]
    hits = np.bincount(np.concatenate(drawn), minlength=10)
    assert (hits[taken] == 0).all()
    # 6 free positions share 6000 draws; 5 standard deviations are about 130.
    assert np.abs(np.delete(hits, taken) - 1000).max() < 140


@given(st.integers(1, 60), st.floats(0, 1), st.data())
def test_biased_random_growth_takes_its_fraction_of_positions_never_active(
    size: int, bias: float, data: st.DataObject
) -> None:
    fired = positions_of(list(data.draw(st.sets(st.integers(0, size - 1)))))
    among_fired = st.sets(st.sampled_from(fired.tolist())) if len(fired) else st.just(set())
    taken = positions_of(list(data.draw(among_fired)))
    count = data.draw(st.integers(0, size - len(taken)))
    layer = layer_of({}, (1, size), fired=fired.tolist())
    rule, rng = AtRandom(never_active=bias), np.random.default_rng(count)
    positions = rule.grow(layer, taken, count, None, None, rng)
    assert len(set(positions.tolist())) == count and not among(positions, taken).any()
    fresh = count - int(among(positions, fired).sum())
    assert fresh >= min(rounded(bias, count, Rounding.NEAREST), size - len(fired))


def test_random_growth_without_a_bias_does_not_ask_what_was_active() -> None:
    fired: Positions = positions_of(list(range(10)))
    layer, taken = layer_of({}, (1, 20), fired=fired.tolist()), positions_of([])
    rng = np.random.default_rng(0)
    drawn = np.concatenate([AtRandom().grow(layer, taken, 5, None, None, rng) for _ in range(400)])
    assert among(drawn, fired).mean() == pytest.approx(0.5, abs=0.05)


# A mixture of both -------------------------------------------------------------------------------


def test_a_mixture_grows_the_top_scores_and_then_at_random() -> None:
    """Of four, two are the top scores, and two are any of the other 38 free positions."""
    weights, slopes = dict.fromkeys(range(8), 1.0), [0.0] * 8 + [float(i) for i in range(40)]
    drawn: list[int] = []
    for seed in range(200):
        positions = grown(Mixed(0.5), weights, slopes, 4, seed)
        assert len(positions) == 4 and positions[-2:] == [46, 47]
        drawn += positions[:2]
    assert set(drawn) == set(range(8, 46))
    # 38 positions share 400 draws; the next-best two would be in all 200 if growth were by score.
    assert max(np.bincount(drawn)) < 30


@pytest.mark.parametrize(
    ("random", "count", "by_score"), [(0.5, 5, 3), (0.05, 10, 10), (0.95, 10, 1), (0.3, 10, 7)]
)
def test_the_random_part_of_a_mixture_is_rounded_down(
    random: float, count: int, by_score: int
) -> None:
    """The rest is the top scores, exactly so many: at random none of so many is among them."""
    size = 10**5
    slopes = np.zeros(size, dtype=np.float32)
    slopes[-count:] = np.arange(count) + 1.0
    scores = DenseGradients([slopes])
    layer, rng = layer_of({}, (1, size)), np.random.default_rng(0)
    positions = Mixed(random).grow(layer, layer.active, count, scores, None, rng)
    assert len(positions) == count
    assert int((positions >= size - count).sum()) == by_score


def test_the_random_part_of_a_mixture_can_prefer_positions_never_active() -> None:
    rule = Mixed(0.5, at_random=AtRandom(never_active=1.0))
    for seed in range(20):
        fired = list(range(6))
        positions = grown(rule, {0: 1.0}, [0.0, 5, 4, 3, 2, 1, 0, 0], 4, seed, fired)
        assert positions == [1, 2, 6, 7]


@pytest.mark.parametrize("random", [0.0, 1.0, -0.5])
def test_a_mixture_of_one_part_is_refused(random: float) -> None:
    with pytest.raises(BadInput, match="expected between 0 and 1"):
        Mixed(random)


@pytest.mark.parametrize("score", [Gradient, GradientAverage])
def test_a_mean_over_no_batch_is_refused(score: type[Gradient] | type[GradientAverage]) -> None:
    with pytest.raises(BadInput, match="a mean over 0 batches: expected at least 1"):
        score(batches=0)
