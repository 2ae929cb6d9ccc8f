"""Which weights a rule drops, by hand and against what the authors' codes keep."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_training.errors import BadInput
from sparse_training.ranking import keep_largest
from sparse_training.rules.amount import Rounding
from sparse_training.rules.drop import (
    BelowThreshold,
    DropRule,
    DropScore,
    Magnitude,
    MagnitudeAndGradient,
    MagnitudeAverage,
    NeuronAblation,
    RelativeImportance,
    Sensitivity,
    SignCounts,
    SignThresholds,
    Smallest,
    Within,
    WithStranded,
    keep_even,
)
from tests.sparse_training.cases import layer_of, one_layer, view_of

RNG = np.random.default_rng(0)


def kept(
    rule: DropRule, weights: Sequence[float] | NDArray[np.float32], fraction: float
) -> NDArray[np.bool_]:
    """Which weights of a layer stay."""
    keep, _ = rule.keep(one_layer([float(weight) for weight in weights]), fraction, None, RNG)
    return keep[0]


def scores(
    score: DropScore, weights: Sequence[float], gradient: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Of the weights of a layer, for the first time."""
    return score.of(one_layer(weights, gradient).layers[0], None, RNG)[0]


# Scores ------------------------------------------------------------------------------------------


def test_the_rules_weigh_magnitude_and_gradient_as_published() -> None:
    weights, gradient = [0.5, -2.0, 1.0], [-4.0, 0.5, 0.0]
    assert scores(Magnitude(), weights).tolist() == [0.5, 2.0, 1.0]
    assert scores(MagnitudeAndGradient(0.5), weights, gradient).tolist() == [2.5, 2.25, 1.0]
    assert scores(Sensitivity(), weights, gradient).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize("score", [MagnitudeAndGradient(100.0), Sensitivity()], ids=repr)
def test_scores_too_large_for_a_number_can_still_be_compared(score: DropScore) -> None:
    """Gradients about to diverge."""
    importance = scores(score, [50.0, 0.1, 60.0, 70.0], [1e38, 1.0, 1e38, 1e38])
    assert keep_largest(importance, 2).sum() == 2
    assert not keep_largest(importance, 3)[1]


def test_a_gradient_that_cancels_but_for_rounding_counts_as_zero() -> None:
    """Below a millionth of the layer's largest."""
    importance = scores(Sensitivity(), [1.0, 1.0, 1.0], [8.0, 7e-6, 9e-6])
    assert importance[1] == 0.0 and importance[2] > 0.0


def test_a_moving_average_of_magnitudes_can_save_a_weight_that_is_small_now() -> None:
    """Averages .9 past + .1 now: 9, .5, 1 and 1."""
    view = one_layer([0.1, 5.0, 1.0, 1.0])
    past = np.array([(9.0 - 0.01) / 0.9, 0.0, 1.0, 1.0], dtype=np.float32)
    rule = Smallest(MagnitudeAverage(0.9))
    keep, memory = rule.keep(view, 0.25, [(np.arange(4), past)], RNG)
    assert keep[0].tolist() == [True, False, True, True]
    positions, averages = memory[0]
    assert positions.tolist() == [0, 1, 2, 3]
    assert averages == pytest.approx([9.0, 0.5, 1.0, 1.0], abs=1e-6)


def test_a_new_weight_begins_its_average_at_its_first_magnitude() -> None:
    """3 has just been grown, and 4 dropped and grown again; 1, which had an average, is gone."""
    layer = layer_of({0: 2.0, 2: -4.0, 3: 0.5, 4: 0.25}, (1, 6), new=[3, 4])
    past = np.array([0, 1, 2, 4]), np.array([4.0, 8.0, 0.0, 9.0], dtype=np.float32)
    averages, _ = MagnitudeAverage(0.5).of(layer, past, RNG)
    assert averages.tolist() == [3.0, 2.0, 0.5, 0.25]


# Rules over scores -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounding", "stay"), [(Rounding.FLOOR, 4), (Rounding.CEIL, 3), (Rounding.NEAREST, 3)]
)
def test_the_smallest_of_every_layer_go_in_numbers_rounded_as_asked(
    rounding: Rounding, stay: int
) -> None:
    weights = [3.0, -1.0, 2.0, -5.0, 4.0]
    keep = kept(Smallest(rounding=rounding), weights, 0.3)
    assert keep.tolist() == [True, False, stay == 4, True, True]


@pytest.mark.parametrize("rounding", Rounding)
def test_the_last_weight_of_a_layer_stays(rounding: Rounding) -> None:
    assert kept(Smallest(rounding=rounding), [0.1, -0.2], 0.99).tolist() == [False, True]
    assert kept(Smallest(rounding=rounding), [0.1], 0.99).tolist() == [True]
    assert kept(Smallest(rounding=rounding), [], 0.99).tolist() == []


def test_the_global_drop_ranks_all_layers_together_and_empties_none() -> None:
    layers = [{0: 9.0, 1: 8.0, 2: 7.0}, {0: 1.0, 1: -2.0}, {0: 6.0}]
    view = view_of(layers, [(1, 3), (1, 2), (1, 1)])
    keep, _ = Smallest(within=Within.ALL_LAYERS).keep(view, 0.34, None, RNG)
    assert [mask.tolist() for mask in keep] == [[True, True, False], [False, True], [True]]
    keep, _ = Smallest(within=Within.ALL_LAYERS).keep(view, 0.99, None, RNG)
    assert [mask.sum() for mask in keep] == [1, 1, 1]


def test_zero_valued_active_weights_are_not_mistaken_for_inactive_ones() -> None:
    """RigL's code ranks all positions by |m w| with noise and keeps inactive ones among zeros."""
    weights = np.where(np.arange(100) < 50, 0.0, 1.0).astype(np.float32)
    keep = kept(Smallest(), weights, 0.3)  # ranks active weights only
    assert keep.sum() == 70 and keep[50:].all()


# SET ---------------------------------------------------------------------------------------------

TOY = np.array([3, -1, 5, -4, 2, -5, 1, -3, 4, -2], dtype=np.float32)


def test_sets_thresholds_keep_what_the_authors_code_keeps() -> None:
    assert set(TOY[kept(SignThresholds(), TOY, 0.3)]) == {-5, -4, 4, 5}


def test_the_nominal_counts_of_either_sign_keep_all_but_the_smallest() -> None:
    assert set(TOY[kept(SignCounts(), TOY, 0.3)]) == set(TOY) - {-1, 1}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sets_thresholds_work_where_all_weights_have_one_sign(sign: float) -> None:
    weights = np.float32(sign) * np.random.default_rng(0).random(1000, dtype=np.float32)
    keep = kept(SignThresholds(), weights, 0.3)
    assert (~keep).sum() == 301
    assert np.abs(weights[keep]).min() > np.abs(weights[~keep]).max()


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]) | st.floats(-3, 3, width=32)),
    st.floats(0.02, 0.7),
    st.sampled_from([SignThresholds(), SignCounts()]),
)
def test_no_sign_rule_empties_a_layer(
    weights: list[float], fraction: float, rule: DropRule
) -> None:
    keep = kept(rule, weights, fraction)
    assert keep.shape == (len(weights),)
    assert keep.any() or not weights


# Bugs of other codes, written out, so that nobody brings them back -------------------------------


def test_the_drop_of_sparse_learning_is_not_sets() -> None:
    """Its fix of issue 19 drops idx[ceil(k/2):] of the ascending sort: 156 stay, all negative."""
    weights = np.random.default_rng(0).standard_normal(1035).astype(np.float32)
    order = np.argsort(weights)
    wrong = np.ones(1035, dtype=np.bool_)
    wrong[order[math.ceil(0.3 * 1035 / 2) :]] = False
    assert wrong.sum() == 156 and (weights[wrong] < 0).all()
    keep = kept(SignThresholds(), weights, 0.3)
    for sign in (weights > 0, weights < 0):
        assert keep[sign].mean() == pytest.approx(0.7, abs=0.01)


def test_the_drop_of_itop_keeps_the_most_negative_and_ours_the_largest_of_either_sign() -> None:
    weights = np.random.default_rng(0).standard_normal(1035).astype(np.float32)
    keep = kept(SignCounts(), weights, 0.3)
    stay, gone = np.abs(weights[keep & (weights < 0)]), np.abs(weights[~keep & (weights < 0)])
    assert stay.min() >= gone.max()


# DSR ---------------------------------------------------------------------------------------------


def test_the_threshold_rule_keeps_what_is_at_or_above_it_and_one_in_any_case() -> None:
    weights = [0.001, -0.002, 0.0005]
    assert kept(BelowThreshold(0.001), weights, 0.1).tolist() == [True, True, False]
    assert kept(BelowThreshold(1.0), weights, 0.1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("below", "following"), [(111, 0.0005), (89, 0.002), (110, 0.001), (90, 0.001)]
)
def test_the_threshold_adapts_to_the_number_dropped_as_in_dsr(below: int, following: float) -> None:
    """100 of 1000 weights are to go, and the threshold is .001."""
    view = one_layer([0.0001] * below + [0.1] * (1000 - below))
    keep, threshold = BelowThreshold(0.001).keep(view, 0.1, None, RNG)
    assert (~keep[0]).sum() == below and threshold == following
    # The next update goes on from there, whatever the first threshold was.
    _, again = BelowThreshold(5.0).keep(view, below / 1000, threshold, RNG)
    assert again == threshold


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_a_threshold_that_is_not_above_zero_is_refused(threshold: float) -> None:
    with pytest.raises(BadInput, match="expected more than 0"):
        BelowThreshold(threshold)


# All rules ---------------------------------------------------------------------------------------

RULES: list[DropRule] = [
    *(Smallest(score) for score in (Magnitude(), MagnitudeAverage(), MagnitudeAndGradient())),
    Smallest(Sensitivity(), Within.ALL_LAYERS),
    *(SignThresholds(), SignCounts(), BelowThreshold(1.0)),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rule_decides_about_movable_weights_only(rule: DropRule) -> None:
    """In a layer that is not updated there are none; the first layer loses as much as alone."""
    layers, slopes = [{0: 0.1, 1: 0.2, 3: -3.0}, {0: 0.01, 2: 0.02}], [[1.0] * 4, [1.0] * 3]
    view = view_of(layers, [(1, 4), (1, 3)], gradients=slopes, last_layer=False)
    keep, _ = rule.keep(view, 0.5, None, RNG)
    assert [len(mask) for mask in keep] == [3, 0]
    assert keep[0].any() and not keep[0].all()


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rule_looks_at_a_gradient_only_if_its_needs_name_one(rule: DropRule) -> None:
    weights = [0.1, 0.2, 0.3]
    if rule.needs.a_gradient:
        with pytest.raises(ValueError, match="gradients that its needs do not name"):
            rule.keep(one_layer(weights), 0.5, None, RNG)
    else:
        rule.keep(one_layer(weights), 0.5, None, RNG)


def test_relative_importance_is_the_share_of_a_neuron_and_that_of_an_input() -> None:
    """|w| of 1, 3 and 1; neurons sum to 4 and 1, inputs to 2 and 3."""
    layer = view_of([{0: 1.0, 1: -3.0, 2: 1.0}], [(2, 2)]).layers[0]
    assert RelativeImportance().of(layer, None, RNG)[0].tolist() == [0.75, 1.75, 1.5]
    assert scores(RelativeImportance(), [0.0, 0.0]).tolist() == [0.0, 0.0]


# Stranded weights --------------------------------------------------------------------------------


def both_kept(
    first: dict[int, float], second: dict[int, float], fraction: float, *, chain: bool = True
) -> list[list[int]]:
    """Positions that stay of two hidden neurons with two inputs and of one output."""
    view = replace(view_of([first, second], [(2, 2), (1, 2)]), chain=chain)
    keep, _ = WithStranded().keep(view, fraction, None, RNG)
    return [layer.active[own].tolist() for layer, own in zip(view.layers, keep, strict=True)]


def test_a_neuron_without_a_way_out_loses_its_ways_in() -> None:
    """The output drops its weight from neuron 0, whose other input weight is 5."""
    first, second = {0: 5.0, 1: 4.0, 2: 6.0}, {0: 0.1, 1: 3.0}
    assert both_kept(first, second, 0.5) == [[2], [1]]
    assert both_kept(first, second, 0.5, chain=False) == [[0, 2], [1]]
    assert both_kept(first, second, 0.0) == [[0, 1, 2], [0, 1]]


def test_a_neuron_without_a_way_in_loses_its_ways_out() -> None:
    assert both_kept({0: 0.1, 2: 5.0, 3: 4.0}, {0: 3.0, 1: 2.0}, 0.4) == [[2, 3], [1]]


def test_a_layer_that_would_lose_everything_loses_nothing_more() -> None:
    """Neuron 0 is fed and leads nowhere any more; the output listens to neuron 1, which is not."""
    assert both_kept({0: 1.0}, {0: 0.1, 1: 1.0}, 0.5) == [[0], [1]]


# Ablation of neurons -----------------------------------------------------------------------------

NEURONS = {0: 0.9, 1: 0.8, 4: 0.7, 5: 0.1, 8: 0.2, 9: 0.3}
"""Three hidden neurons of four inputs, two weights each."""
SLOPES = [0, 0, 0, 0, 0, 0, 5.0, 0, 0, 0, 0, 0]


def ablated(share: float, slopes: list[float] = SLOPES, fraction: float = 0.34) -> list[int]:
    """Hidden positions that stay of six weights, of which magnitude would drop two."""
    view = view_of([NEURONS, {0: 1.0}], [(3, 4), (1, 3)], gradients=[slopes, [0.0] * 3])
    keep, _ = NeuronAblation(share).keep(view, fraction, None, RNG)
    assert keep[1].tolist() == [True]
    positions: list[int] = view.layers[0].active[keep[0]].tolist()
    return positions


def test_a_neuron_with_too_few_salient_weights_goes_and_the_others_keep_more() -> None:
    """Salient: .9, .8, .7, .3 and the gradients of positions 6 and (lowest of equal ones) 0. The
    neurons have 2, 2 and 1 of them; with gamma 1 they need 2, with .3 one."""
    assert ablated(1.0) == [0, 1, 4, 5]
    assert ablated(0.3) == [0, 1, 4, 9]
    assert ablated(1.0, [0.0] * 11 + [5.0]) == [0, 1, 8, 9]  # now it is the second that has one


def test_neurons_that_stay_have_room_for_all_weights() -> None:
    """Six weights need two neurons of four inputs, however few are salient."""
    none = [9.0, 9.0, *[0.0] * 10]  # gradients of weights that are salient already
    assert {position // 4 for position in ablated(1.0, none)} == {0, 1}


def test_the_output_layer_loses_no_neuron() -> None:
    view = view_of([NEURONS], [(3, 4)], gradients=[SLOPES])
    keep, _ = NeuronAblation(1.0).keep(view, 0.34, None, RNG)
    assert view.layers[0].active[keep[0]].tolist() == [0, 1, 4, 9]


def test_no_neuron_keeps_more_than_an_even_share_nor_less_than_one_weight() -> None:
    """Seven weights of three neurons: two each, and a third for the one whose next is largest."""
    of_neuron = np.array([0, 0, 0, 0, 1, 1, 2])
    size = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 1.0, 0.5], dtype=np.float32)
    keep = keep_even(of_neuron, size, np.ones(3, dtype=np.bool_), 5)
    assert keep.tolist() == [True, True, True, False, True, False, True]


def test_a_share_of_salient_weights_beyond_all_is_refused() -> None:
    with pytest.raises(BadInput, match=r"share of 1.5: expected one in \[0, 1\]"):
        NeuronAblation(1.5)
