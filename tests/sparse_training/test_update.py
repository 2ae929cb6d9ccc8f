"""Updates of the topology as settings put the rules together: hand-worked, then properties."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from target_algorithms.engine import DenseGradients
from target_algorithms.settings import Topology
from target_algorithms.topology import Positions, among, random_positions
from target_algorithms.training import check
from target_algorithms.updates import Seen, Update, prune, prune_neurons, update


def seen_of(
    layers: list[dict[int, float]],
    sizes: list[int],
    gradients: list[list[float]] | None = None,
    **more: Any,
) -> Seen:
    """From {position: weight} of every layer."""
    scores = None
    if gradients is not None:
        scores = DenseGradients([np.array(layer, dtype=np.float32) for layer in gradients])
    active = [np.array(sorted(layer), dtype=np.int64) for layer in layers]
    return Seen(
        sizes=sizes,
        active=active,
        weights=[np.array([layer[p] for p in sorted(layer)], dtype=np.float32) for layer in layers],
        fired=more.pop("fired", active),
        gradient=scores,
        grow_scores=scores,
        **more,
    )


def updated(
    topology: Topology,
    seen: Seen,
    fraction: float = 0.5,
    target: int | None = None,
    threshold: float = 0.0,
    seed: int = 0,
) -> Update:
    present = sum(map(len, seen.active))
    return update(
        topology,
        seen,
        fraction=fraction,
        target=present if target is None else target,
        threshold=threshold,
        rng=np.random.default_rng(seed),
    )


def active_of(done: Update) -> list[list[int]]:
    return [layer.active.tolist() for layer in done.layers]


# By hand -----------------------------------------------------------------------------------------


def test_rigl_drops_the_smallest_and_grows_the_largest_gradient() -> None:
    seen = seen_of([{0: 0.1, 1: -1.0, 2: 0.2, 3: 2.0}], [8], [[9, 0, 0, 0, 1, -5, 2, 0]])
    done = updated(Topology(), seen)
    # 0 and 2 go; among 0, 2, 4, 5, 6, 7 the gradients of 0 and 5 are the largest.
    assert active_of(done) == [[0, 1, 3, 5]]
    assert done.layers[0].dropped.tolist() == [2] and done.layers[0].new.tolist() == [5]
    anew = updated(Topology(regrown_value="new"), seen)
    assert anew.layers[0].new.tolist() == [0, 5] and anew.layers[0].dropped.tolist() == [2]


def test_just_dropped_positions_can_be_barred_while_there_are_others() -> None:
    seen = seen_of([{0: 0.1, 1: 1.0}], [3], [[9, 0, 1]])
    assert active_of(updated(Topology(regrow_dropped="no"), seen)) == [[1, 2]]
    full = seen_of([{0: 0.1, 1: 1.0}], [2], [[9, 0]])
    assert active_of(updated(Topology(regrow_dropped="no"), full)) == [[0, 1]]


def test_snfs_moves_weights_to_the_layer_with_the_larger_momentum() -> None:
    """Mean |momentum| 3 and 1, two weights of each layer dropped: three and one are grown."""
    layer = {0: 0.1, 1: 0.2, 2: 1.0, 3: 2.0}
    scores = [list(range(20)), list(range(20))]
    momenta = [np.full(4, -3.0, np.float32), np.full(4, 1.0, np.float32)]
    seen = seen_of([layer, layer], [20, 20], scores, momenta=momenta)
    done = updated(Topology(redistribution="momentum"), seen)
    assert active_of(done) == [[2, 3, 17, 18, 19], [2, 3, 19]]


def test_granet_prunes_over_all_layers_before_each_layer_regenerates() -> None:
    seen = seen_of(
        [{0: 5.0, 1: 6.0, 2: 0.3, 3: 7.0}, {0: 0.1, 1: 0.2, 2: 4.0, 3: 0.4}],
        [6, 6],
        [[0, 0, 0, 0, 3, 1], [0, 0, 0, 0, 1, 3]],
    )
    # To 5 weights: .1, .2 and .3 go. Then half of each layer, rounded down: 5 of the first, .4 of
    # the second; both grow where the gradient is largest.
    done = updated(Topology(regrown_value="new"), seen, target=5)
    assert active_of(done) == [[1, 3, 4], [2, 5]]


def test_dsr_drops_below_its_threshold_and_grows_where_weights_were() -> None:
    topology = Topology(
        drop_rule="threshold",
        grow_random_share=1.0,
        regrow_dropped="no",
        redistribution="nonzeros",
    )
    first = dict.fromkeys(range(6), 1.0) | {0: 0.01, 1: 0.02}
    seen = seen_of([first, {0: 1.0, 1: 0.03, 2: 1.0}], [60, 60])
    done = updated(topology, seen, threshold=0.1)
    assert done.replaced == 3
    # 3 weights in proportion to 6 and 3 active ones before the update.
    assert [len(layer.active) for layer in done.layers] == [6, 3]
    assert not {0, 1} & set(done.layers[0].active.tolist())
    assert 1 not in done.layers[1].active.tolist()


def test_gse_lets_all_layers_compete_for_what_is_grown() -> None:
    topology = Topology(drop_scope="global", redistribution="score", regrow_dropped="no")
    seen = seen_of(
        [{0: 0.1, 1: 0.2, 2: 3.0}, {0: 0.3, 1: 5.0, 2: 6.0}],
        [6, 6],
        [[0, 0, 0, 1, 2, 3], [0, 0, 0, 7, 8, 0]],
    )
    done = updated(topology, seen)
    # The three smallest of all layers go; the three largest gradients are 8, 7 and 3.
    assert active_of(done) == [[2, 5], [1, 2, 3, 4]]


def test_gse_looks_at_a_subset_only() -> None:
    """With half as many candidates as weights, one of the nine best free positions rarely wins."""
    weights = dict.fromkeys(range(10), 1.0) | {0: 0.1}
    gradients = [[0.0] * 10 + [float(i) for i in range(90)]]
    seen = seen_of([weights], [100], gradients)
    topology = Topology(grow_candidates=0.5, regrow_dropped="no")
    grown = [updated(topology, seen, 0.1, seed=seed).layers[0].new.item() for seed in range(300)]
    # The best of 5 out of 90 beats 81 of them with probability 1 - (81 / 90)^5 = .41.
    share = np.mean(np.array(grown) >= 91)
    assert share == pytest.approx(0.41, abs=0.1)
    everything = updated(replace(topology, grow_candidates=None), seen, 0.1)
    assert everything.layers[0].new.tolist() == [99]


def test_a_mixture_grows_the_top_scores_and_then_at_random() -> None:
    weights = {i: 0.1 if i < 4 else 1.0 for i in range(8)}
    gradients = [[0.0] * 8 + [float(i) for i in range(40)]]
    seen = seen_of([weights], [48], gradients)
    done = updated(Topology(grow_random_share=0.5), seen)
    new = done.layers[0].new.tolist()
    assert new[-2:] == [46, 47] and len(new) + len(done.layers[0].active) - len(new) == 8


def test_a_moving_average_of_magnitudes_can_save_a_weight_that_is_small_now() -> None:
    averages = [np.array([9.0, 0.5, 1.0, 1.0], dtype=np.float32)]
    seen = seen_of([{0: 0.1, 1: 5.0, 2: 1.0, 3: 1.0}], [8], [[0] * 7 + [9]], kept_scores=averages)
    done = updated(Topology(drop_rule="magnitude_ema"), seen, 0.25)
    assert 0 in done.layers[0].active and done.layers[0].dropped.tolist() == [1]


def test_the_output_layer_can_be_left_alone() -> None:
    layer = {0: 0.1, 1: 1.0}
    seen = seen_of([layer, layer], [9, 9], [[0, 0, 5] + [0] * 6] * 2)
    done = updated(Topology(evolve_last_layer="no"), seen)
    assert active_of(done) == [[1, 2], [0, 1]]


def test_pruning_keeps_the_largest_of_all_layers_and_one_in_each() -> None:
    seen = seen_of([{0: 5.0, 1: 6.0}, {0: 0.1, 3: 0.2}], [4, 4])
    assert active_of(prune(seen, 3)) == [[0, 1], [3]]


def test_importance_pruning_takes_all_inputs_of_the_weakest_neurons() -> None:
    """Three hidden neurons of two inputs each; importances 3, .5 and 2."""
    hidden = {0: 1.0, 1: -2.0, 2: 0.5, 4: 1.0, 5: 1.0}
    seen = seen_of([hidden, {0: 1.0, 1: 1.0, 2: 1.0}], [6, 3])
    done = prune_neurons(seen, [2, 3], 0.34)
    assert active_of(done) == [[0, 1, 4, 5], [0, 1, 2]]
    assert active_of(prune_neurons(seen, [2, 3], 0.99))[0] == [0, 1]  # one neuron stays


# Properties --------------------------------------------------------------------------------------

SETTINGS = st.builds(
    Topology,
    drop_rule=st.sampled_from(
        ["magnitude", "sign", "sign_nominal", "mest", "snip", "reciprocal", "threshold", "random"]
    ),
    drop_scope=st.sampled_from(["layer", "global"]),
    drop_rounding=st.sampled_from(["floor", "ceil", "nearest"]),
    grow_random_share=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
    grow_score=st.sampled_from(["gradient", "unfired_gradient"]),
    grow_candidates=st.sampled_from([None, 0.1, 1.0, 3.0]),
    regrow_dropped=st.sampled_from(["yes", "no"]),
    regrown_value=st.sampled_from(["keep", "new"]),
    unfired_bias=st.sampled_from([0.0, 0.5, 1.0]),
    redistribution=st.sampled_from(["none", "score", "gradient", "magnitude", "nonzeros"]),
    evolve_last_layer=st.sampled_from(["yes", "no"]),
)


def random_layers(seed: int, sizes: list[int]) -> Seen:
    """Whole numbers make ties."""
    rng = np.random.default_rng(seed)
    active = [random_positions(n, int(rng.integers(1, n + 1)), rng) for n in sizes]
    gradients = [rng.integers(-2, 3, n).astype(np.float32) for n in sizes]
    fired: list[Positions] = [
        np.union1d(positions, random_positions(n, n // 3, rng))
        for positions, n in zip(active, sizes, strict=True)
    ]
    return Seen(
        sizes=sizes,
        active=active,
        weights=[rng.integers(-2, 3, len(p)).astype(np.float32) for p in active],
        fired=fired,
        gradient=DenseGradients(gradients),
        grow_scores=DenseGradients(gradients),
    )


def possible(topology: Topology) -> bool:
    try:
        check(topology)
    except ValueError:
        return False
    ranked = topology.grow_random_share < 1.0
    return ranked or topology.redistribution != "score"


@given(
    SETTINGS,
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.floats(0, 0.7),
    st.integers(0, 2**32),
)
def test_an_update_keeps_the_count_and_keeps_new_and_kept_apart(
    topology: Topology, sizes: list[int], fraction: float, seed: int
) -> None:
    assume(possible(topology))
    seen = random_layers(seed, sizes)
    done = updated(topology, seen, fraction, threshold=1.0, seed=seed)
    assert sum(len(layer.active) for layer in done.layers) == sum(map(len, seen.active))
    for size, before, layer in zip(sizes, seen.active, done.layers, strict=True):
        after, new = layer.active, layer.new
        assert len(np.unique(after)) == len(after) <= size
        assert (np.sort(after) == after).all() and (after < size).all()
        assert layer.dropped.tolist() == before[~among(before, after)].tolist()
        assert among(new, after).all()
        assert among(after[~among(after, before)], new).all()  # what was not there is new
        if topology.regrown_value == "keep":
            assert not among(new, before).any()
    if topology.redistribution == "none":
        assert [len(layer.active) for layer in done.layers] == list(map(len, seen.active))
    if topology.evolve_last_layer == "no" and topology.redistribution == "none":
        assert (done.layers[-1].active == seen.active[-1]).all()


@given(SETTINGS, st.integers(0, 2**32), st.floats(-0.5, 0.5))
def test_an_update_ends_at_the_number_that_a_path_asks_for(
    topology: Topology, seed: int, change: float
) -> None:
    assume(possible(topology))
    seen = random_layers(seed, [30, 40, 12])
    present = sum(map(len, seen.active))
    target = min(82, max(3, round(present * (1 + change))))
    done = updated(topology, seen, 0.3, target=target, threshold=1.0, seed=seed)
    assert sum(len(layer.active) for layer in done.layers) == target
    assert all(len(layer.active) >= 1 for layer in done.layers)


@given(SETTINGS, st.integers(0, 2**32))
def test_a_share_of_zero_changes_nothing(topology: Topology, seed: int) -> None:
    # SET's thresholds drop the weights they are set at, whatever zeta is; DSR knows no share.
    assume(possible(topology) and topology.drop_rule not in ("sign", "threshold"))
    seen = random_layers(seed, [50, 20])
    done = updated(topology, seen, 0.0)
    for before, layer in zip(seen.active, done.layers, strict=True):
        assert (layer.active == before).all()
        assert len(layer.new) == 0 == len(layer.dropped)


@given(st.integers(0, 2**32))
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
        there = [np.flatnonzero(weights[i][o] != 0) for i, o in zip(layers, order, strict=True)]
        scores = DenseGradients([gradients[i][o] for i, o in zip(layers, order, strict=True)])
        seen = Seen(
            sizes=[sizes[i] for i in layers],
            active=there,
            weights=[weights[i][o][t] for i, o, t in zip(layers, order, there, strict=True)],
            fired=there,
            gradient=scores,
            grow_scores=scores,
        )
        done = updated(Topology(), seen, 0.4)
        found = [set(o[layer.active].tolist()) for o, layer in zip(order, done.layers, strict=True)]
        return found[::-1] if flip else found

    assert active(False) == active(True)
