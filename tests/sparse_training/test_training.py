"""The training loop: what is consumed and charged, what an update changes, which runs are equal."""

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from target_algorithms.errors import BadInput
from target_algorithms.settings import Recipe, Topology
from target_algorithms.training import Budget, Outcome, batches, check, learning_rate_at
from target_algorithms.variants import topology_of
from tests.target_algorithms.cases import ENGINES, same, topology_at, toy_run, toy_split

SET_2018: dict[str, Any] = {
    "drop_schedule": "constant",
    "grown_init": "normal",
    "grown_scale": 0.1,
    "update_end": 1.0,
}
SET = topology_at("set", **SET_2018)
ANNEALED = topology_at("set")
RIGL = topology_at("rigl", update_interval_steps=10)
STATIC = topology_at("static")
ADAMW = Recipe(
    optimizer="adamw",
    learning_rate_sgd=None,
    momentum=None,
    momentum_kind=None,
    decay_kind=None,
    learning_rate_adamw=0.01,
    batch_size=16,
    activation="gelu",
    weight_decay=0.01,
)
RECIPES = [
    Recipe(batch_size=16),
    Recipe(
        batch_size=16,
        momentum_kind="heavy_ball",
        activation="all_relu",
        width_factor=1.5,
        norm="layer",
        dropout=0.1,
    ),
    ADAMW,
]


# Budgets of samples ------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50))
def test_batches_are_permutations_epoch_after_epoch(rows: int, batch_size: int) -> None:
    stream = batches(rows, batch_size, np.random.default_rng(0))
    orders = set()
    for epoch in range(3):
        handed = [next(stream) for _ in range(math.ceil(rows / batch_size))]
        assert {number for number, _, _ in handed} == {epoch}
        assert [last for _, _, last in handed] == [False] * (len(handed) - 1) + [True]
        assert all(1 <= len(batch) <= batch_size for _, batch, _ in handed)
        order = np.concatenate([batch for _, batch, _ in handed])
        assert sorted(order.tolist()) == list(range(rows))
        orders.add(tuple(order.tolist()))
    assert rows < 5 or len(orders) > 1


@pytest.mark.parametrize("topology", [SET, RIGL, STATIC], ids=["set", "rigl", "static"])
@pytest.mark.parametrize("training_samples", [1, 16, 59, 60, 61, 777])
def test_training_consumes_the_budget_exactly(topology: Topology, training_samples: int) -> None:
    outcome, _, watched = toy_run(topology, training_samples=training_samples)
    assert outcome.samples == training_samples
    # None of these takes a gradient and a step on the same batch.
    assert sum(len(rows) for rows in watched.rows) == training_samples


def test_the_learning_rate_follows_its_schedule() -> None:
    def at(schedule: str, warmup: float = 0.0) -> list[float]:
        return [learning_rate_at(schedule, 0.2, p, warmup) for p in (0, 0.25, 0.5, 0.75, 1)]

    assert at("constant") == [0.2] * 5
    assert at("linear") == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.0])
    assert at("cosine") == pytest.approx([0.2, 0.170711, 0.1, 0.029289, 0.0], abs=1e-6)
    assert at("step") == pytest.approx([0.2, 0.2, 0.02, 0.002, 0.002])
    assert learning_rate_at("cosine", 0.2, 0.05, warmup=0.1) == pytest.approx(0.1)
    assert learning_rate_at("cosine", 0.2, 0.55, warmup=0.1) == pytest.approx(0.1)


def test_sparser_networks_can_be_given_larger_learning_rates() -> None:
    plain, _, _ = toy_run(STATIC, Recipe(batch_size=16, learning_rate_sgd=0.2))
    total = plain.total_weights
    scaled = Recipe(
        batch_size=16,
        learning_rate_sgd=0.2 * (60 / total) ** 0.5,
        learning_rate_density_power=0.5,
    )
    for one, other in zip(plain.weights, toy_run(STATIC, scaled)[0].weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


# Budgets of FLOPs --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["static", "set", "rigl", "gse", "mest", "itop"])
def test_a_budget_of_flops_is_spent_to_the_last_row_it_pays(variant: str) -> None:
    topology = topology_at(variant)
    granted = 5e5
    outcome, _, watched = toy_run(topology, training_flops=granted)
    assert outcome.training_flops <= granted * (1 + 1e-9)
    assert outcome.training_flops > granted - 3 * 2 * 60 * 2 - 2 * outcome.total_weights
    assert sum(len(rows) for rows in watched.rows) >= outcome.samples
    assert outcome.judged is not None


def test_what_costs_more_sees_fewer_rows_of_the_same_budget() -> None:
    seen = {
        name: toy_run(topology, training_flops=2e6)[0].samples
        for name, topology in {
            "static": STATIC,
            "rigl": RIGL,
            "snfs": topology_at("snfs"),
            "dense": Topology(kind="dense"),
        }.items()
    }
    assert seen["static"] > seen["rigl"] > seen["snfs"] > seen["dense"]


def test_a_dense_state_is_charged_at_every_step() -> None:
    outcome, _, _ = toy_run(topology_at("snfs"))
    assert outcome.training_flops == (2 * 2 * 60 + 2 * outcome.total_weights) * 1000


def test_accumulated_gradients_are_charged_as_dense_ones() -> None:
    """Every update looks at its own batch and at the three before it."""
    accumulating = replace(RIGL, gradient_accumulation=4)
    outcome, _, watched = toy_run(accumulating, training_samples=945)
    assert "".join(watched.calls).startswith("gu" + "1" * 7 + "g1g1g1gu" + "1" * 7 + "g1g1g1gu")
    sparse, dense = 2 * 60, 2 * outcome.total_weights
    gradients = "".join(watched.asked).count("g")
    looked_at = sum(len(r) for c, r in zip(watched.asked, watched.rows, strict=True) if c == "g")
    assert gradients == 1 + 4 * (outcome.updates - 1)
    expected = 3 * sparse * (945 - looked_at) + (2 * sparse + dense) * looked_at
    assert outcome.training_flops == expected


def test_an_accumulated_gradient_is_the_mean_over_its_batches() -> None:
    topology = replace(RIGL, gradient_accumulation=2, update_interval=3, update_at_start="no")
    one, seen, watched = toy_run(topology, training_samples=300)
    calls = "".join(watched.calls)
    assert calls.startswith("11g1gu")
    # The third batch and the one of the update: growth is by the mean of their gradients, which a
    # plain RigL on the update's batch alone would not have found.
    plain, others, _ = toy_run(replace(topology, gradient_accumulation=1), training_samples=300)
    assert not all(np.array_equal(a, b) for a, b in zip(seen[1], others[1], strict=True))


def test_the_batch_of_the_step_before_an_update_is_one_of_those_accumulated() -> None:
    topology = replace(
        RIGL, gradient_accumulation=3, update_at_start="no", update_mode="after_step"
    )
    _, _, watched = toy_run(topology, training_samples=945)
    assert "".join(watched.calls).startswith("1" * 7 + "g1g1g1u" + "1" * 7 + "g1g1g1u")


def test_nothing_is_accumulated_long_before_the_first_update() -> None:
    """Epochs before `update_start` the network is another one, and each gradient is charged."""
    topology = replace(RIGL, gradient_accumulation=3, update_start=0.5)
    _, _, watched = toy_run(topology, training_samples=1600)
    before, _ = "".join(watched.calls).split("u", 1)
    assert before == "1" * 54 + "g"


def test_candidates_cost_their_share_only() -> None:
    gse = topology_at("gse", scope="layer", update_interval_steps=10)
    outcome, _, watched = toy_run(gse, training_samples=945)
    sparse = 2 * 60
    looked_at = sum(len(r) for c, r in zip(watched.asked, watched.rows, strict=True) if c == "g")
    assert looked_at > 0
    expected = 3 * sparse * (945 - looked_at) + (2 * sparse + 1.0 * sparse) * looked_at
    assert outcome.training_flops == expected


def test_a_budget_that_pays_for_no_row_is_refused() -> None:
    with pytest.raises(BadInput, match="training_flops = 100 do not pay for one row: expected at"):
        toy_run(STATIC, training_flops=100.0)


@pytest.mark.parametrize("rule", ["snip", "grasp", "synflow"])
def test_a_budget_that_the_first_mask_uses_up_is_refused(rule: Any) -> None:
    """Not overdrawn in silence, and no network is judged that has never made a step."""
    topology = replace(STATIC, init_mask=rule)
    with pytest.raises(BadInput, match=f"do not pay for one row after init_mask = {rule}: expect"):
        toy_run(topology, training_flops=3000.0)
    if rule != "synflow":  # which looks at no data
        with pytest.raises(BadInput, match="training_samples = 16 do not pay .* at least 17"):
            toy_run(topology, training_samples=16)


# Paths of the density ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cubic", "soft_bound", "cyclic"])
@pytest.mark.parametrize("engine", ["masked", "sparse"])
def test_a_path_starts_at_its_density_and_ends_at_the_budget(path: Any, engine: str) -> None:
    topology = replace(RIGL, density_path=path, initial_density=0.5, path_end=0.6, update_end=0.9)
    outcome, seen, _ = toy_run(topology, engine=engine, training_samples=2000, peak_weights=10**6)
    counts = [sum(map(len, active)) for active in seen]
    assert counts[0] == outcome.active_weights == round(0.5 * outcome.total_weights)
    assert counts[-1] == outcome.final_weights == 60 and min(counts) == 60
    if path == "cubic":
        assert counts == sorted(counts, reverse=True) and len(set(counts)) > 3
    if path == "cyclic":
        assert 60 in counts[:-1] and counts.count(counts[0]) > 1


def test_a_path_never_exceeds_the_peak_that_is_granted() -> None:
    topology = topology_at("granet", update_interval_steps=5)
    outcome, _, _ = toy_run(topology, peak_weights=100)
    assert outcome.active_weights == 100 and outcome.final_weights == 60
    with pytest.raises(BadInput, match="density_path = cubic .* expected --peak-weights"):
        toy_run(topology)


def test_a_path_can_start_at_a_multiple_of_the_budget() -> None:
    topology = topology_at("mest", density_path="soft_bound", initial_factor=2.0)
    outcome, _, _ = toy_run(topology, peak_weights=10**6)
    assert outcome.active_weights == 120 and outcome.final_weights == 60


def test_a_network_is_pruned_to_the_budget_even_if_no_update_is_due() -> None:
    topology = topology_at("granet", update_interval_steps=500)
    outcome, seen, _ = toy_run(topology, peak_weights=10**6)
    assert outcome.updates == 0 and outcome.final_weights == 60 and len(seen) == 2


def test_importance_pruning_loses_weights_for_good() -> None:
    topology = replace(RIGL, importance_share=0.3, importance_start=0.3, importance_interval=1)
    outcome, seen, _ = toy_run(topology)
    counts = [sum(map(len, active)) for active in seen]
    assert counts == sorted(counts, reverse=True) and counts[0] == 60
    assert outcome.final_weights == counts[-1] < 60


# Updates -----------------------------------------------------------------------------------------


def test_rigl_spends_a_batch_on_every_update_and_stops_at_its_end() -> None:
    # 63 batches of at most 16 of 60 rows: 16, 16, 16, 12.
    outcome, seen, watched = toy_run(RIGL, training_samples=945)
    pattern = "".join(watched.calls).replace("gu", "0")
    assert pattern == "0" + ("1" * 10 + "0") * 4 + "1" * (63 - 45)
    assert (outcome.steps, outcome.updates) == (58, 5)
    assert len(seen) == 6


def test_rigl_drops_by_the_share_of_the_budget_consumed_before_the_update() -> None:
    quick = Topology(update_interval=4, regrown_value="new", drop_fraction=0.7)
    _, _, watched = toy_run(quick, training_samples=945, active_weights=150)
    consumed, expected = 0, []
    for call, rows in zip(watched.asked, watched.rows, strict=True):
        if call == "g":
            alpha = 0.35 * (1 + math.cos(math.pi * consumed / 945 / 0.75))
            expected.append([int(alpha * len(c.active)) for c in watched.changes[0][0]])
        consumed += len(rows)
    # All grown weights count as new here, so their number is that of the dropped.
    assert [[len(c.new) for c in changes] for changes, _, _ in watched.changes] == expected
    assert len(expected) > 8


def test_set_updates_after_every_epoch_but_not_after_the_last() -> None:
    outcome, _, watched = toy_run(SET, training_samples=300)
    assert "".join(watched.calls) == "1111u1111u1111u1111u1111"
    assert outcome.updates == 4


def test_set_updates_after_the_last_whole_epoch_if_training_goes_on() -> None:
    _, _, watched = toy_run(SET, training_samples=140)
    assert "".join(watched.calls) == "1111u1111u11"


def test_an_interval_of_epochs_counts_epochs() -> None:
    every_second = topology_at("set", **SET_2018, update_interval_epochs=2)
    _, _, watched = toy_run(every_second, training_samples=360)
    assert "".join(watched.calls) == "11111111u11111111u11111111"


def test_an_update_after_a_step_uses_the_gradient_of_that_steps_batch() -> None:
    outcome, _, watched = toy_run(
        Topology(update_mode="after_step", update_interval=10, update_end=0.5),
        training_samples=480,
    )
    # 32 steps; updates after steps 1 and 11, and not after 21, which is past the half.
    assert "".join(watched.calls) == "g1u" + "1" * 9 + "g1u" + "1" * 21
    assert outcome.steps == 32 and outcome.samples == 480
    asked = list(zip(watched.asked, watched.rows, strict=True))
    for (call, rows), (_, following) in zip(asked, asked[1:], strict=False):
        if call == "g":
            assert (rows == following[: len(rows)]).all()


def test_the_topology_never_changes_without_a_dynamic_variant() -> None:
    outcome, seen, watched = toy_run(STATIC)
    assert outcome.updates == 0 and len(seen) == 1
    assert "u" not in "".join(watched.calls)
    assert all((a == b).all() for a, b in zip(seen[0], outcome.active, strict=True))


DYNAMIC = st.builds(
    Topology,
    drop_rule=st.sampled_from(["magnitude", "sign", "mest", "reciprocal", "threshold", "random"]),
    drop_scope=st.sampled_from(["layer", "global"]),
    drop_fraction=st.sampled_from([0.02, 0.3, 0.7]),
    drop_schedule=st.sampled_from(["constant", "linear", "cosine", "learning_rate"]),
    grow_random_share=st.sampled_from([0.0, 0.5]),
    grow_score=st.sampled_from(["gradient", "gradient_ema", "momentum", "unfired_gradient"]),
    regrow_dropped=st.sampled_from(["yes", "no"]),
    regrown_value=st.sampled_from(["keep", "new"]),
    grown_init=st.sampled_from(["zero", "normal", "layer_init", "gradient_step"]),
    grown_scale=st.sampled_from([0.1, 1.0]),
    grown_state=st.sampled_from(["zero", "gradient"]),
    inactive_state=st.sampled_from(["masked", "dense"]),
    redistribution=st.sampled_from(["none", "score", "momentum", "nonzeros"]),
    update_unit=st.sampled_from(["steps", "epochs"]),
    update_interval=st.integers(1, 9),
    update_at_start=st.sampled_from(["yes", "no"]),
    update_start=st.sampled_from([0.0, 0.1]),
    update_end=st.sampled_from([0.2, 0.75, 1.0]),
    update_mode=st.sampled_from(["replace_step", "before_step", "after_step"]),
)


def possible(topology: Topology) -> bool:
    try:
        check(topology)
    except BadInput:
        return False
    return topology.needs_gradient or topology.update_mode == "after_step"


@settings(max_examples=60, deadline=None)
@given(
    DYNAMIC, st.sampled_from(RECIPES), st.integers(0, 2**32), st.sampled_from(["masked", "sparse"])
)
def test_an_update_changes_dropped_and_new_weights_and_nothing_else(
    topology: Topology, recipe: Recipe, seed: int, engine: str
) -> None:
    assume(possible(topology))
    assume(engine == "masked" or not topology.needs_masked_engine)
    outcome, seen, watched = toy_run(
        topology, recipe, seed=seed, engine=engine, training_samples=400
    )
    assert outcome.samples == 400
    assert outcome.updates == len(watched.changes) == len(seen) - 1
    for before, after in zip(seen, seen[1:], strict=False):
        assert sum(map(len, before)) == sum(map(len, after)) == 60
        if topology.redistribution == "none":
            assert [len(layer) for layer in before] == [len(layer) for layer in after]
    for changes, before, after in watched.changes:
        touched = np.zeros(len(before[0]), dtype=np.bool_)
        for layer, change in enumerate(changes):
            start = watched.start(layer)
            touched[start + change.dropped] = touched[start + change.new] = True
            assert (after[0][start + change.new] == change.values).all()
            assert (change.values == 0).all() or topology.grown_init != "zero"
            assert not after[0][start + change.dropped].any()
            if topology.grown_state == "gradient":
                assert change.state is not None
                assert (after[1][start + change.new] == change.state).all()
            elif topology.inactive_state == "masked":
                assert not after[1][start + change.new].any()
        for values_before, values_after in zip(before, after, strict=True):
            assert (values_before[~touched] == values_after[~touched]).all()


def test_a_batch_before_a_step_is_spent_twice() -> None:
    topology = Topology(update_mode="before_step", update_interval=10, update_end=0.5)
    outcome, _, watched = toy_run(topology, training_samples=480)
    assert "".join(watched.calls).startswith("gu" + "1" * 10 + "gu" + "1" * 10)
    assert watched.rows[0].tolist() == watched.rows[1][:16].tolist()
    assert outcome.samples == 480 == sum(len(rows) for rows in watched.rows)


def test_moving_averages_follow_magnitudes_and_gradients_over_the_updates() -> None:
    plain, masks, _ = toy_run(RIGL)
    for changed in (
        replace(RIGL, drop_rule="magnitude_ema", drop_ema_beta=0.0),
        replace(RIGL, grow_score="gradient_ema", grow_ema_beta=0.0),
    ):
        # An average without memory is the value itself.
        again, same_masks, _ = toy_run(changed)
        assert same(plain, again)
    remembering, _, _ = toy_run(replace(RIGL, grow_score="gradient_ema", grow_ema_beta=0.9))
    assert not same(plain, remembering)


def test_the_share_explored_counts_positions_ever_active() -> None:
    outcome, seen, _ = toy_run(SET)
    total = ever = 0
    for layer, size in enumerate((84, 96, 24)):
        total += size
        ever += len(set(np.concatenate([active[layer] for active in seen]).tolist()))
    assert outcome.explored == ever / total
    assert 60 / total < outcome.explored < 1


# Equal runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES, ids=["nesterov", "heavy_ball", "adamw"])
def test_density_one_is_the_dense_run_bit_for_bit(recipe: Recipe) -> None:
    dense, _, _ = toy_run(topology_of("dense")(), recipe, active_weights=None)
    full, _, _ = toy_run(STATIC, recipe, active_weights=10**6)
    assert dense.active_weights == dense.total_weights == full.active_weights
    assert same(dense, full)


def test_seeds_differ_and_repeat() -> None:
    first, second, again = (toy_run(RIGL, seed=seed)[0] for seed in (1, 2, 1))
    assert same(first, again)
    assert not same(first, second)


def test_variants_share_masks_weights_and_batches_of_a_seed() -> None:
    """Streams are separate: what growth draws does not move the batches."""
    _, set_masks, set_watched = toy_run(SET)
    _, static_masks, static_watched = toy_run(STATIC)
    assert all(np.array_equal(a, b) for a, b in zip(set_masks[0], static_masks[0], strict=True))
    assert (np.concatenate(set_watched.rows) == np.concatenate(static_watched.rows)).all()


def digest(outcome: Outcome) -> str:
    parts = [array.tobytes() for array in (*outcome.active, *outcome.weights, *outcome.biases)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_seed_gives_the_same_network_in_a_new_process() -> None:
    code = (
        "from tests.target_algorithms.test_training import RIGL, digest, toy_run\n"
        "print(digest(toy_run(RIGL, seed=3)[0]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest(toy_run(RIGL, seed=3)[0])}


def test_a_run_that_diverges_is_an_outcome() -> None:
    wild = Recipe(batch_size=16, learning_rate_sgd=1e12)
    for topology in (STATIC, SET, RIGL):
        outcome, _, _ = toy_run(topology, wild)
        assert outcome.judged is None
        assert 0 < outcome.training_flops


@pytest.mark.parametrize("engine", ["masked", "sparse"])
def test_a_step_that_diverges_just_before_an_update_is_divergence(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No gradient, whose loss would tell, is taken in between."""
    monkeypatch.setattr(
        ENGINES[engine],
        "weights",
        lambda self, layer: np.full(len(self._active[layer]), np.inf, dtype=np.float32),
    )
    topology = replace(SET, drop_rule="magnitude")
    assert toy_run(topology, engine=engine)[0].judged is None


def test_a_budget_below_one_weight_a_layer_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one weight a layer"):
        toy_run(STATIC, active_weights=2)


# Costs and networks ------------------------------------------------------------------------------


def test_training_flops_count_steps_and_dense_gradients() -> None:
    outcome, _, watched = toy_run(RIGL, training_samples=945)
    sparse, dense = 2 * 60, 2 * outcome.total_weights
    spent_on_updates = sum(
        len(rows) for call, rows in zip(watched.asked, watched.rows, strict=True) if call == "g"
    )
    expected = 3 * sparse * (945 - spent_on_updates) + (2 * sparse + dense) * spent_on_updates
    assert outcome.training_flops == expected
    free, _, _ = toy_run(SET, training_samples=945)
    assert free.training_flops == 3 * sparse * 945


def test_wider_and_deeper_networks_do_not_raise_the_budget() -> None:
    for factor in (0.25, 1.0, 4.0):
        for change in (-1, 0, 1):
            recipe = Recipe(batch_size=16, width_factor=factor, depth_change=change)
            outcome, _, _ = toy_run(RIGL, recipe)
            assert outcome.active_weights <= 60
            assert sum(map(len, outcome.active)) == outcome.active_weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_fraction": 1.0}, "drop_fraction = 1 would empty a layer: expected .* below 1"),
        ({"update_start": 0.8}, "update_start = 0.8 is not before update_end = 0.75"),
        ({"grow_score": "momentum"}, "grow_score = momentum needs inactive_state = dense"),
        ({"drop_scope": "global"}, "dropping over all layers needs a redistribution"),
        ({"drop_rule": "threshold"}, "dropping over all layers needs a redistribution"),
        ({"gradient_accumulation": 101}, "gradient_accumulation = 101 is longer than"),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        toy_run(Topology(**changes))


@pytest.mark.parametrize("part", ["train_x", "judge_x"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_no_numbers_are_refused(part: str, value: float) -> None:
    split = toy_split()
    values = getattr(split, part).copy()
    values[3, 2] = value
    with pytest.raises(BadInput, match="values that are not finite"):
        toy_run(STATIC, split=replace(split, **{part: values}))


@pytest.mark.parametrize("rule", ["snip", "grasp"])
def test_features_too_large_for_a_first_mask_by_gradients_are_refused(rule: Any) -> None:
    """Without a mask there is no network that could diverge."""
    split = toy_split()
    huge = replace(split, train_x=np.sign(split.train_x) * np.float32(3e38))
    with pytest.raises(BadInput, match=f"init_mask = {rule} finds gradients that are not finite"):
        toy_run(replace(STATIC, init_mask=rule), split=huge)
    assert toy_run(STATIC, split=huge)[0].judged is None


def test_a_budget_is_of_samples_or_of_flops() -> None:
    for both in ({}, {"training_samples": 1, "training_flops": 1.0}):
        with pytest.raises(AssertionError):
            Budget(active_weights=1, **both)
