"""One update of the mask, as rules put together make it: hand-worked, then properties."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_training.engines.interface import DenseGradients, Needs
from sparse_training.loop.mask import Mask
from sparse_training.networks.network import Layer
from sparse_training.positions import among, no_positions, random_positions
from sparse_training.ranking import keep_largest, largest_free
from sparse_training.rules.amount import Rounding, rounded
from sparse_training.rules.drop import (
    BelowThreshold,
    MagnitudeAverage,
    SignThresholds,
    Smallest,
    Within,
    WithStranded,
)
from sparse_training.rules.grow import AtRandom, Gradient, Largest, Mixed
from sparse_training.rules.new_weights import NewWeights
from sparse_training.rules.redistribution import (
    InProportion,
    MeanMomentum,
    Survivors,
    ToItsLayer,
    ToLargestScores,
)
from sparse_training.rules.topology import Updates
from sparse_training.rules.update import LayerUpdate, Memory, prune
from sparse_training.rules.view import LayerView, View
from sparse_training.rules.when import Evenly
from tests.sparse_training.cases import (
    BY_GRADIENT,
    SET,
    active_of,
    first_draws,
    positions_of,
    updated,
    view_of,
)

NEW = NewWeights(regrown_keep=False)


# By hand -----------------------------------------------------------------------------------------


def test_rigl_drops_the_smallest_and_grows_the_largest_gradient() -> None:
    view = view_of(
        [{0: 0.1, 1: -1.0, 2: 0.2, 3: 2.0}], [(1, 8)], gradients=[[9, 0, 0, 0, 1, -5, 2, 0]]
    )
    changes = updated(BY_GRADIENT, view)
    # 0 and 2 go; among 0, 2, 4, 5, 6, 7 the gradients of 0 and 5 are the largest.
    assert active_of(changes) == [[0, 1, 3, 5]]
    assert changes[0].dropped.tolist() == [2] and changes[0].new.tolist() == [5]
    anew = updated(replace(BY_GRADIENT, new_weights=NEW), view)
    assert anew[0].new.tolist() == [0, 5] and anew[0].dropped.tolist() == [2]


def test_just_dropped_positions_can_be_barred_while_there_are_others() -> None:
    rules = replace(BY_GRADIENT, regrow_dropped=False)
    view = view_of([{0: 0.1, 1: 1.0}], [(1, 3)], gradients=[[9, 0, 1]])
    assert active_of(updated(rules, view)) == [[1, 2]]
    full = view_of([{0: 0.1, 1: 1.0}], [(1, 2)], gradients=[[9, 0]])
    assert active_of(updated(rules, full)) == [[0, 1]]


def test_a_layer_without_free_positions_keeps_its_mask_and_starts_what_it_dropped_anew() -> None:
    """Growth may take any position that was not kept: there are none but those just dropped.

    -.2 and 3 are the thresholds of their signs, which go too.
    """
    rules = SET.updates
    assert rules is not None
    view = view_of([{0: 0.1, 1: -0.2, 2: 3.0, 3: -4.0, 4: 5.0, 5: -6.0}], [(2, 3)])
    (change,) = updated(rules, view, 0.3)
    assert change.active.tolist() == [0, 1, 2, 3, 4, 5] and change.dropped.tolist() == []
    assert change.new.tolist() == [0, 1, 2]
    kept = updated(rules, view_of([{0: 0.1, 1: -0.2}], [(1, 2)], last_layer=False), 0.3)
    assert kept[0].new.tolist() == []


def test_snfs_moves_weights_to_the_layer_with_the_larger_momentum() -> None:
    """Mean |momentum| 3 and 1, two weights of each layer dropped: three and one are grown."""
    layer = {0: 0.1, 1: 0.2, 2: 1.0, 3: 2.0}
    view = view_of(
        [layer, layer],
        [(1, 20), (1, 20)],
        gradients=[list(range(20)), list(range(20))],
        momenta=[[-3.0] * 4, [1.0] * 4],
    )
    changes = updated(replace(BY_GRADIENT, redistribution=InProportion(MeanMomentum())), view)
    assert active_of(changes) == [[2, 3, 17, 18, 19], [2, 3, 19]]


def test_granet_prunes_over_all_layers_before_each_layer_regenerates() -> None:
    view = view_of(
        [{0: 5.0, 1: 6.0, 2: 0.3, 3: 7.0}, {0: 0.1, 1: 0.2, 2: 4.0, 3: 0.4}],
        [(1, 6), (1, 6)],
        gradients=[[0, 0, 0, 0, 3, 1], [0, 0, 0, 0, 1, 3]],
    )
    # To 5 weights: .1, .2 and .3 go. Then half of each layer, rounded down: 5 of the first, .4 of
    # the second; both grow where the gradient is largest.
    changes = updated(replace(BY_GRADIENT, new_weights=NEW), view, target=5)
    assert active_of(changes) == [[1, 3, 4], [2, 5]]


def test_dsr_drops_below_its_threshold_and_grows_where_weights_were() -> None:
    rules = replace(
        BY_GRADIENT,
        when=Evenly(count=10),
        drop=BelowThreshold(0.1),
        grow=AtRandom(),
        regrow_dropped=False,
        redistribution=InProportion(Survivors()),
    )
    first = dict.fromkeys(range(6), 1.0) | {0: 0.01, 1: 0.02, 2: -0.03, 3: 0.04}
    view = view_of([first, {0: 1.0, 1: 0.03, 2: 1.0}], [(1, 60), (1, 60)])
    changes = updated(rules, view)
    # 5 weights in proportion to 2 and 2 that are left; the odd one goes to the first layer.
    assert [len(change.active) for change in changes] == [2 + 3, 2 + 2]
    assert not {0, 1, 2, 3} & set(changes[0].active.tolist())
    assert 1 not in changes[1].active.tolist()
    assert sum(len(change.dropped) for change in changes) == 5


def test_gse_lets_all_layers_compete_for_what_is_grown() -> None:
    rules = replace(
        BY_GRADIENT,
        drop=Smallest(within=Within.ALL_LAYERS),
        redistribution=ToLargestScores(),
        regrow_dropped=False,
    )
    view = view_of(
        [{0: 0.1, 1: 0.2, 2: 3.0}, {0: 0.3, 1: 5.0, 2: 6.0}],
        [(1, 6), (1, 6)],
        gradients=[[0, 0, 0, 1, 2, 3], [0, 0, 0, 7, 8, 0]],
    )
    # The three smallest of all layers go; the three largest gradients are 8, 7 and 3.
    assert active_of(updated(rules, view)) == [[2, 5], [1, 2, 3, 4]]


def test_gse_looks_at_a_subset_only() -> None:
    """With half as many candidates as weights, one of the nine best free positions rarely wins."""
    weights = dict.fromkeys(range(10), 1.0) | {0: 0.1}
    slopes = [0.0] * 10 + [float(i) for i in range(90)]
    view = view_of([weights], [(1, 100)], gradients=[slopes])
    everything = replace(BY_GRADIENT, regrow_dropped=False)
    subset = replace(everything, grow=Largest(Gradient(), candidates_per_weight=0.5))
    grown = [updated(subset, view, 0.1, seed=seed)[0].new.item() for seed in range(300)]
    # The best of 5 out of 90 beats 81 of them with probability 1 - (81 / 90)^5 = .41.
    assert np.mean(np.array(grown) >= 91) == pytest.approx(0.41, abs=0.1)
    assert updated(everything, view, 0.1)[0].new.tolist() == [99]


def test_a_mixture_grows_the_top_scores_and_then_at_random() -> None:
    """Four go; two of the four that come have the top scores, and two are any others."""
    weights = {i: 0.1 if i < 4 else 1.0 for i in range(8)}
    view = view_of([weights], [(1, 48)], gradients=[[0.0] * 8 + [float(i) for i in range(40)]])
    at_random = set()
    for seed in range(60):
        active = active_of(updated(replace(BY_GRADIENT, grow=Mixed(0.5)), view, seed=seed))[0]
        came = sorted(set(active) - {4, 5, 6, 7})
        assert len(active) == 8 and len(came) == 4 and came[-2:] == [46, 47]
        at_random.update(came[:2])
    assert len(at_random) > 30 and at_random & {0, 1, 2, 3}


def test_a_moving_average_of_magnitudes_can_save_a_weight_that_is_small_now() -> None:
    """Averages .9 past + .1 now: 9, .5, 1 and 1; the second goes."""
    view = view_of([{0: 0.1, 1: 5.0, 2: 1.0, 3: 1.0}], [(1, 8)], gradients=[[0] * 7 + [9]])
    past = np.array([(9.0 - 0.01) / 0.9, 0.0, 1.0, 1.0], dtype=np.float32)
    rules = replace(BY_GRADIENT, drop=Smallest(MagnitudeAverage(0.9)))
    changes = updated(rules, view, 0.25, memory=Memory(drop=[(np.arange(4), past)]))
    assert 0 in changes[0].active and changes[0].dropped.tolist() == [1]


def test_the_output_layer_can_be_left_alone() -> None:
    layer = {0: 0.1, 1: 1.0}
    slopes = [[0.0, 0, 5] + [0.0] * 6] * 2
    view = view_of([layer, layer], [(1, 9), (1, 9)], gradients=slopes, last_layer=False)
    assert active_of(updated(replace(BY_GRADIENT, last_layer=False), view)) == [[1, 2], [0, 1]]


def test_pruning_keeps_the_largest_of_all_layers_and_one_in_each() -> None:
    view = view_of([{0: 5.0, 1: 6.0}, {0: 0.1, 3: 0.2}], [(1, 4), (1, 4)])
    assert active_of(prune(view.layers, 3)) == [[0, 1], [3]]


@dataclass(frozen=True)
class Signed:
    """The weight itself, negative ones first to go: a score of the tests, which is all it takes."""

    needs = Needs()

    def of(
        self, layer: LayerView, memory: Any, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], Any]:
        return layer.weights, None


def bits(text: str) -> list[int]:
    return [position for position, bit in enumerate(text) if bit == "1"]


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
def test_an_update_is_that_of_jaxpruners_test(fraction: float, expected: str) -> None:
    scores = [-9.0, 1, 4, -1, 5, 8, -2, 3]
    active = bits("01010110")
    view = view_of([{p: scores[p] for p in active}], [(1, 8)], gradients=[scores])
    changes = updated(replace(BY_GRADIENT, drop=Smallest(Signed())), view, fraction)
    assert active_of(changes) == [bits(expected)]


def test_the_density_does_not_grow_as_in_fastsparse() -> None:
    """There int((1 - s) * N * 1 - pct) drops nothing of 100 weights and grows 29 more."""
    assert int((1 - 0.9) * 1000 * 1 - 0.3) == 99
    active = random_positions(1000, 100, np.random.default_rng(0))
    drop = rounded(0.3, 100, Rounding.FLOOR)
    scores = np.random.default_rng(1).random(100)
    survivors = active[keep_largest(scores, 100 - drop)]
    grown = largest_free(np.random.default_rng(2).random(1000), survivors, drop)
    assert (drop, len(survivors), len(np.union1d(survivors, grown))) == (30, 70, 100)
    weights = dict(zip(active.tolist(), scores.tolist(), strict=True))
    slopes = np.random.default_rng(2).random(1000).tolist()
    changes = updated(BY_GRADIENT, view_of([weights], [(1, 1000)], gradients=[slopes]), 0.3)
    assert changes[0].active.tolist() == np.union1d(survivors, grown).tolist()


# Properties, of whatever the combination composes ------------------------------------------------

SEEDS = st.integers(0, 2**32)


def rules_of(seed: int) -> Updates:
    """Some of hundreds drawn at random from all that can be put together."""
    rules = [topology.updates for topology, _ in first_draws() if topology.updates is not None]
    return rules[seed % len(rules)]


def random_view(seed: int, sizes: list[int], last_layer: bool) -> View:
    """Everything that a rule can look at; whole numbers make ties."""
    rng = np.random.default_rng(seed)
    active = [random_positions(n, int(rng.integers(1, n + 1)), rng) for n in sizes]
    gradients = DenseGradients([rng.integers(-2, 3, n).astype(np.float32) for n in sizes])
    return View(
        [
            LayerView(
                number=number,
                layer=Layer((1, n)),
                active=positions,
                weights=rng.integers(-2, 3, len(positions)).astype(np.float32),
                ever_active=partial(np.union1d, positions, random_positions(n, n // 3, rng)),
                new=no_positions(),
                movable=np.full(len(positions), last_layer or number < len(sizes) - 1),
                gradients=gradients,
                momenta=rng.integers(-2, 3, len(positions)).astype(np.float32),
            )
            for number, (n, positions) in enumerate(zip(sizes, active, strict=True))
        ]
    )


@given(SEEDS, st.lists(st.integers(1, 40), min_size=1, max_size=3), st.floats(0, 0.7))
def test_an_update_keeps_the_count_and_keeps_new_and_kept_apart(
    seed: int, sizes: list[int], fraction: float
) -> None:
    rules = rules_of(seed)
    view = random_view(seed, sizes, rules.last_layer)
    changes = updated(rules, view, fraction, seed=seed)
    assert sum(len(change.active) for change in changes) == view.count
    for size, layer, change in zip(sizes, view.layers, changes, strict=True):
        before, after, new = layer.active, change.active, change.new
        assert len(np.unique(after)) == len(after) <= size
        assert (np.sort(after) == after).all() and (after < size).all()
        assert change.dropped.tolist() == before[~among(before, after)].tolist()
        assert among(new, after).all()
        assert among(after[~among(after, before)], new).all()  # what was not there is new
        if rules.new_weights.regrown_keep:
            assert not among(new, before).any()
    if rules.redistribution == ToItsLayer():
        assert [len(c.active) for c in changes] == [len(layer.active) for layer in view.layers]
        if not rules.last_layer:
            assert (changes[-1].active == view.layers[-1].active).all()


@given(SEEDS, st.floats(-0.5, 0.5))
def test_an_update_ends_at_the_number_that_a_path_asks_for(seed: int, change: float) -> None:
    rules = rules_of(seed)
    view = random_view(seed, [30, 40, 12], rules.last_layer)
    target = min(82, max(3, round(view.count * (1 + change))))
    changes = updated(rules, view, 0.3, target=target, seed=seed)
    assert sum(len(change.active) for change in changes) == target
    assert all(len(change.active) >= 1 for change in changes)


@given(SEEDS)
def test_a_fraction_of_zero_changes_nothing(seed: int) -> None:
    rules = rules_of(seed)
    # SET's thresholds drop the weights they are set at, whatever zeta is; DSR knows no fraction.
    drop = rules.drop.rule if isinstance(rules.drop, WithStranded) else rules.drop
    assume(not isinstance(drop, SignThresholds | BelowThreshold))
    view = random_view(seed, [50, 20], rules.last_layer)
    for layer, change in zip(view.layers, updated(rules, view, 0.0, seed=seed), strict=True):
        assert (change.active == layer.active).all()
        assert len(change.new) == 0 == len(change.dropped)


@given(SEEDS)
def test_an_update_does_not_depend_on_how_positions_and_layers_are_numbered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [40, 25]
    weights, gradients = [], []
    for size in sizes:
        dense = np.zeros(size, dtype=np.float32)
        dense[random_positions(size, 15, rng)] = rng.permutation(15) + 1.0  # no ties
        weights.append(dense)
        gradients.append(rng.permutation(size).astype(np.float32) + 1.0)
    orders = [rng.permutation(size) for size in sizes]

    def active(flip: bool) -> list[set[int]]:
        layers = [1, 0] if flip else [0, 1]
        order = [orders[i] if flip else np.arange(sizes[i]) for i in layers]
        renumbered = [weights[i][own].tolist() for i, own in zip(layers, order, strict=True)]
        view = view_of(
            [{p: weight for p, weight in enumerate(dense) if weight != 0} for dense in renumbered],
            [(1, sizes[i]) for i in layers],
            gradients=[gradients[i][own].tolist() for i, own in zip(layers, order, strict=True)],
        )
        changes = updated(BY_GRADIENT, view, 0.4)
        after = [set(own[c.active].tolist()) for own, c in zip(order, changes, strict=True)]
        return after[::-1] if flip else after

    assert active(False) == active(True)


# The mask: what is active, what ever was, what the last update grew -------------------------------


def change(active: list[int], new: list[int]) -> list[LayerUpdate]:
    return [LayerUpdate(positions_of(active), positions_of([]), positions_of(new))]


def test_a_mask_remembers_all_that_was_active_and_the_most_at_a_time() -> None:
    mask = Mask([positions_of([0, 4])])
    mask.change(change([0, 2, 7], new=[2, 7]), by_an_update=True)
    mask.change(change([4], new=[4]), by_an_update=True)
    assert mask.active[0].tolist() == [4] and mask.fired(0).tolist() == [0, 2, 4, 7]
    assert (mask.count, mask.counts, mask.peak) == (1, [1], 3)


def test_what_the_last_update_grew_is_new_until_the_next_one_whatever_is_pruned() -> None:
    mask = Mask([positions_of([0, 4])])
    assert mask.new[0].tolist() == []
    mask.change(change([0, 2, 7], new=[2, 7]), by_an_update=True)
    mask.change(change([0, 2], new=[]), by_an_update=False)
    assert mask.new[0].tolist() == [2, 7] and mask.active[0].tolist() == [0, 2]
