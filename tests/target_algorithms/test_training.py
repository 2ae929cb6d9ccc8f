"""The training loop: what is consumed, what an update changes, and which runs are equal."""

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_algorithms.errors import BadInput
from target_algorithms.networks import Network, dead_neurons, initial_weights, scaled_widths
from target_algorithms.topology import Topology
from target_algorithms.training import Outcome, Recipe, batches, learning_rate_at
from target_algorithms.variants import topology_of
from tests.target_algorithms.cases import same, toy_run

SET_2018: dict[str, object] = {
    "drop_fraction": 0.3,
    "drop_schedule": "constant",
    "grown_init": "normal",
    "grown_scale": 0.1,
    "update_interval_epochs": 1,
    "update_end": 1.0,
}
SET = topology_of("set")(**SET_2018)
ANNEALED = topology_of("set")(
    drop_fraction=0.3,
    drop_schedule="cosine",
    grown_init="zero",
    update_interval_epochs=1,
    update_end=0.75,
)
RIGL = topology_of("rigl")(
    layer_density_power=1.0, drop_fraction=0.3, update_interval_steps=10, update_end=0.75
)
STATIC = topology_of("static")(layer_density_power=1.0)
ADAMW = Recipe(
    optimizer="adamw",
    learning_rate_sgd=None,
    momentum=None,
    momentum_kind=None,
    learning_rate_adamw=0.01,
    batch_size=16,
    activation="gelu",
    weight_decay=0.01,
)
RECIPES = [
    Recipe(batch_size=16),
    Recipe(batch_size=16, momentum_kind="heavy_ball", activation="all_relu", width_factor=1.5),
    ADAMW,
]


# Budgets of samples ------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 200))
def test_batches_hand_out_the_budget_exactly_in_permutations(
    rows: int, batch_size: int, budget: int
) -> None:
    handed = list(batches(rows, batch_size, budget, np.random.default_rng(0)))
    assert sum(len(batch) for _, batch, _ in handed) == budget
    assert all(1 <= len(batch) <= batch_size for _, batch, _ in handed)
    for epoch in range(handed[-1][0] + 1):
        seen = np.concatenate([batch for number, batch, _ in handed if number == epoch])
        ends = [last for number, _, last in handed if number == epoch]
        assert len(set(seen.tolist())) == len(seen)
        complete = len(seen) == rows
        assert complete or epoch == handed[-1][0]
        assert ends == [False] * (len(ends) - 1) + [complete]


@pytest.mark.parametrize("topology", [SET, RIGL, STATIC], ids=["set", "rigl", "static"])
@pytest.mark.parametrize("training_samples", [1, 16, 59, 60, 61, 777])
def test_training_consumes_the_budget_exactly(topology: Topology, training_samples: int) -> None:
    outcome, _, engine = toy_run(topology, training_samples=training_samples)
    assert outcome.samples == training_samples
    # None of these takes a gradient and a step on the same batch.
    assert sum(len(rows) for rows in engine.rows) == training_samples


def test_the_learning_rate_schedules_start_at_the_rate_and_end_at_zero() -> None:
    assert learning_rate_at("constant", 0.2, 0.7) == 0.2
    assert learning_rate_at("linear", 0.2, 0.75) == pytest.approx(0.05)
    assert [learning_rate_at("cosine", 0.2, p) for p in (0, 0.5, 1)] == pytest.approx([0.2, 0.1, 0])


# Updates -----------------------------------------------------------------------------------------


def test_rigl_spends_a_batch_on_every_update_and_stops_at_its_end() -> None:
    # 63 batches of at most 16 of 60 rows: 16, 16, 16, 12.
    outcome, seen, engine = toy_run(RIGL, training_samples=945)
    pattern = "".join(engine.calls).replace("gu", "0")
    assert pattern == "0" + ("1" * 10 + "0") * 4 + "1" * (63 - 45)
    assert (outcome.steps, outcome.updates) == (58, 5)
    assert len(seen) == 6


def test_rigl_drops_by_the_share_of_the_budget_consumed_before_the_update() -> None:
    quick = Topology(update_interval=4, regrown_value="new", drop_fraction=0.7)
    _, _, engine = toy_run(quick, training_samples=945, active_weights=150)
    consumed, expected = 0, []
    for call, rows in zip(engine.asked, engine.rows, strict=True):
        if call == "g":
            alpha = 0.35 * (1 + math.cos(math.pi * consumed / 945 / 0.75))
            expected.append([int(alpha * len(c.active)) for c in engine.changes[0][0]])
        consumed += len(rows)
    # All grown weights count as new here, so their number is that of the dropped.
    assert [[len(c.new) for c in changes] for changes, _, _ in engine.changes] == expected
    assert len(expected) > 8


def test_set_updates_after_every_epoch_but_not_after_the_last() -> None:
    outcome, _, engine = toy_run(SET, training_samples=300)
    assert "".join(engine.calls) == "1111u1111u1111u1111u1111"
    assert outcome.updates == 4


def test_set_updates_after_the_last_whole_epoch_if_training_goes_on() -> None:
    _, _, engine = toy_run(SET, training_samples=140)
    assert "".join(engine.calls) == "1111u1111u11"


def test_an_interval_of_epochs_counts_epochs() -> None:
    every_second = topology_of("set")(**SET_2018 | {"update_interval_epochs": 2})
    _, _, engine = toy_run(every_second, training_samples=360)
    assert "".join(engine.calls) == "11111111u11111111u11111111"


def test_an_update_after_a_step_uses_the_gradient_of_that_steps_batch() -> None:
    outcome, _, engine = toy_run(
        Topology(update_mode="after_step", update_interval=10, update_end=0.5),
        training_samples=480,
    )
    # 32 steps; updates after steps 1 and 11, and not after 21, which is past the half.
    assert "".join(engine.calls) == "g1u" + "1" * 9 + "g1u" + "1" * 21
    assert outcome.steps == 32 and outcome.samples == 480
    asked = list(zip(engine.asked, engine.rows, strict=True))
    for (call, rows), (_, following) in zip(asked, asked[1:], strict=False):
        if call == "g":
            assert (rows == following[: len(rows)]).all()


def test_the_topology_never_changes_without_a_dynamic_variant() -> None:
    outcome, seen, engine = toy_run(STATIC)
    assert outcome.updates == 0 and len(seen) == 1
    assert "u" not in "".join(engine.calls)
    assert all((a == b).all() for a, b in zip(seen[0], outcome.active, strict=True))


DYNAMIC = st.builds(
    Topology,
    drop_rule=st.sampled_from(["magnitude", "sign", "sign_nominal"]),
    drop_fraction=st.sampled_from([0.02, 0.3, 0.7]),
    drop_schedule=st.sampled_from(["constant", "linear", "cosine"]),
    grow_random_share=st.sampled_from([0.0, 0.5]),
    grow_score=st.sampled_from(["gradient", "unfired_gradient"]),
    grown_scale=st.sampled_from([0.0, 0.1]),
    regrown_value=st.sampled_from(["keep", "new"]),
    update_unit=st.sampled_from(["steps", "epochs"]),
    update_interval=st.integers(1, 9),
    update_end=st.sampled_from([0.2, 0.75, 1.0]),
    update_mode=st.sampled_from(["replace_step", "after_step"]),
)


@settings(max_examples=40, deadline=None)
@given(DYNAMIC, st.sampled_from(RECIPES), st.integers(0, 2**32))
def test_an_update_changes_dropped_and_new_weights_and_nothing_else(
    topology: Topology, recipe: Recipe, seed: int
) -> None:
    outcome, seen, engine = toy_run(topology, recipe, seed=seed, training_samples=400)
    assert outcome.samples == 400
    assert outcome.updates == len(engine.changes) == len(seen) - 1
    for before, after in zip(seen, seen[1:], strict=False):
        assert [len(layer) for layer in before] == [len(layer) for layer in after]
    for changes, before, after in engine.changes:
        touched = np.zeros(len(before[0]), dtype=np.bool_)
        for layer, change in enumerate(changes):
            start = engine.start(layer)
            touched[start + change.dropped] = touched[start + change.new] = True
            assert (after[0][start + change.new] == change.values).all()
            assert (change.values == 0).all() or topology.grown_scale > 0
            assert not after[0][start + change.dropped].any()
        for values_before, values_after in zip(before, after, strict=True):
            assert (values_before[~touched] == values_after[~touched]).all()
        for state in after[1:]:
            assert not state[touched].any()


def test_the_share_explored_counts_positions_ever_active() -> None:
    outcome, seen, _ = toy_run(SET)
    total = ever = 0
    for layer, size in enumerate((84, 96, 24)):
        total += size
        ever += len(set(np.concatenate([active[layer] for active in seen]).tolist()))
    assert outcome.explored == ever / total
    assert 60 / total < outcome.explored < 1


# Equal runs --------------------------------------------------------------------------------------


def meta(**settings: object) -> Topology:
    return topology_of("meta")(layer_density_power=1.0, drop_fraction=0.3, **settings)


META_AS_SET = meta(
    drop_rule="sign",
    drop_schedule="constant",
    grow="random",
    grown_init="normal",
    grown_scale=0.1,
    regrown_value="new",
    update_unit="epochs",
    update_interval_epochs=1,
    update_end=1.0,
    update_mode="after_step",
)
META_AS_ANNEALED = meta(
    drop_rule="sign",
    drop_schedule="cosine",
    grow="random",
    grown_init="zero",
    regrown_value="new",
    update_unit="epochs",
    update_interval_epochs=1,
    update_end=0.75,
    update_mode="after_step",
)
META_AS_RIGL = meta(
    drop_rule="magnitude",
    drop_schedule="cosine",
    grow="score",
    grow_score="gradient",
    grown_init="zero",
    regrown_value="keep",
    update_unit="steps",
    update_interval_steps=10,
    update_end=0.75,
    update_mode="replace_step",
)


@pytest.mark.parametrize("recipe", RECIPES, ids=["nesterov", "heavy_ball", "adamw"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("variant", "as_meta"),
    [(SET, META_AS_SET), (ANNEALED, META_AS_ANNEALED), (RIGL, META_AS_RIGL)],
    ids=["set_2018", "set", "rigl"],
)
def test_meta_at_a_variants_settings_is_that_variant_bit_for_bit(
    variant: Topology, as_meta: Topology, seed: int, recipe: Recipe
) -> None:
    own, own_masks, _ = toy_run(variant, recipe, seed=seed)
    combined, masks, _ = toy_run(as_meta, recipe, seed=seed)
    assert len(own_masks) > 3
    for one, other in zip(own_masks, masks, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert same(own, combined)
    assert own.training_flops == combined.training_flops


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
    _, set_masks, set_engine = toy_run(SET)
    _, static_masks, static_engine = toy_run(STATIC)
    assert all(np.array_equal(a, b) for a, b in zip(set_masks[0], static_masks[0], strict=True))
    assert (np.concatenate(set_engine.rows) == np.concatenate(static_engine.rows)).all()


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


def test_a_budget_below_one_weight_a_layer_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one weight a layer"):
        toy_run(STATIC, active_weights=2)


# Costs and networks ------------------------------------------------------------------------------


def test_training_flops_count_steps_and_dense_gradients() -> None:
    outcome, _, engine = toy_run(RIGL, training_samples=945)
    sparse, dense = 2 * 60, 2 * outcome.total_weights
    spent_on_updates = sum(
        len(rows) for call, rows in zip(engine.asked, engine.rows, strict=True) if call == "g"
    )
    expected = 3 * sparse * (945 - spent_on_updates) + (2 * sparse + dense) * spent_on_updates
    assert outcome.training_flops == expected
    free, _, _ = toy_run(SET, training_samples=945)
    assert free.training_flops == 3 * sparse * 945


def test_wider_layers_do_not_raise_the_budget() -> None:
    for factor in (0.25, 1.0, 4.0):
        outcome, _, _ = toy_run(RIGL, Recipe(batch_size=16, width_factor=factor))
        assert outcome.active_weights <= 60
        assert sum(map(len, outcome.active)) == outcome.active_weights
    assert scaled_widths((256, 10), 0.25) == (64, 2)
    assert scaled_widths((1, 3), 0.25) == (1, 1)


def test_initial_weights_keep_the_variance_of_a_layers_mean_fan_in() -> None:
    network = Network((200, 100, 10), "relu")
    rng = np.random.default_rng(0)
    active = [np.arange(0, size, 4) for size in network.sizes]
    sparse = initial_weights(network, active, "layer", rng)
    plain = initial_weights(network, active, "none", rng)
    assert sparse[0].std() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert plain[0].std() == pytest.approx((2 / 200) ** 0.5, rel=0.05)


def test_a_neuron_is_dead_without_an_input_or_without_an_output() -> None:
    network = Network((2, 4, 2), "relu")
    # Inputs reach neurons 0, 1 and 2; neurons 0 and 3 reach the outputs: only 0 does both.
    assert dead_neurons(network, [np.array([0, 3, 5]), np.array([0, 3, 4])]) == 3
