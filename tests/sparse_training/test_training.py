"""The training loop: what is consumed and charged, what an update changes, which runs are equal."""

import functools
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sparse_training.engines.interface import (
    SGD,
    AdamW,
    DenseGradients,
    Gradients,
    Optimizer,
    momentum,
)
from sparse_training.errors import BadInput, OverBudget
from sparse_training.loop.mask_updates import MaskUpdates
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.loop.streams import batches
from sparse_training.loop.training import Outcome
from sparse_training.networks.activations import GELU, AllReLU, SReLU
from sparse_training.networks.network import Norm
from sparse_training.rules.amount import Fraction
from sparse_training.rules.density_path import (
    Cubic,
    Cyclic,
    DensityPath,
    SoftBound,
)
from sparse_training.rules.drop import MagnitudeAverage, Smallest
from sparse_training.rules.first_mask import MostSalient
from sparse_training.rules.grow import Gradient, GradientAverage, Largest
from sparse_training.rules.neurons import ImportancePruning
from sparse_training.rules.new_weights import GradientStep, NewWeights, State, Zero
from sparse_training.rules.redistribution import ToItsLayer
from sparse_training.rules.saliency import Grasp, Saliency, Snip, SynFlow
from sparse_training.rules.topology import Topology
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Linear
from target_algorithms import Variant, variants
from tests.examples import topology_at
from tests.sparse_training.cases import (
    AFTER_STEPS,
    DENSE,
    ENGINES,
    IN_PLACE_OF_STEPS,
    PLAIN,
    RIGL,
    SET,
    SNFS,
    STATIC,
    composable,
    digest,
    drawn,
    parts,
    same,
    toy_network,
    toy_run,
    toy_split,
    with_updates,
)

ADAMW = Recipe(
    optimizer=Optimizer(rule=AdamW(), weight_decay=0.01),
    learning_rate=LearningRate(initial=0.01),
    batch_size=16,
    activation=GELU(),
)
HEAVY_BALL = Recipe(
    optimizer=Optimizer(rule=SGD(nesterov=False)),
    batch_size=16,
    activation=AllReLU(),
    width_factor=1.5,
    norm=Norm.LAYER,
    dropout=0.1,
)


def with_rate(initial: float, **changes: Any) -> Recipe:
    """The plain recipe with another learning rate."""
    return replace(PLAIN, learning_rate=LearningRate(initial=initial, **changes))


# Budgets of samples ------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50))
def test_batches_are_permutations_epoch_after_epoch(rows: int, batch_size: int) -> None:
    stream = batches(rows, batch_size, np.random.default_rng(0))
    orders = set()
    for epoch in range(3):
        handed = [next(stream) for _ in range(math.ceil(rows / batch_size))]
        assert {batch.epoch for batch in handed} == {epoch}
        assert [batch.ends_epoch for batch in handed] == [False] * (len(handed) - 1) + [True]
        assert all(1 <= len(batch.rows) <= batch_size for batch in handed)
        order = np.concatenate([batch.rows for batch in handed])
        assert sorted(order.tolist()) == list(range(rows))
        orders.add(tuple(order.tolist()))
    assert rows < 5 or len(orders) > 1


@pytest.mark.parametrize("topology", [SET, RIGL, STATIC], ids=["by_sign", "by_gradient", "fixed"])
@pytest.mark.parametrize("training_samples", [1, 16, 59, 60, 61, 777])
def test_training_consumes_the_budget_exactly(topology: Topology, training_samples: int) -> None:
    outcome, _, watched = toy_run(topology, training_samples=training_samples)
    assert outcome.samples == training_samples
    # None of these takes a gradient and a step on the same batch.
    assert sum(len(rows) for rows in watched.rows) == training_samples


def test_sparser_networks_can_be_given_larger_learning_rates() -> None:
    plain, _, _ = toy_run(STATIC, with_rate(0.2))
    scaled = with_rate(0.2 * (60 / plain.total_weights) ** 0.5, density_power=0.5)
    for one, other in zip(plain.weights, toy_run(STATIC, scaled)[0].weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


# Budgets of FLOPs --------------------------------------------------------------------------------

SPARSE_FROM_THE_START = [
    variant
    for variant in variants().values()
    if not topology_at(variant).first_mask.starts_dense and not variant.requires
]


@pytest.mark.parametrize("variant", SPARSE_FROM_THE_START, ids=lambda variant: variant.name)
def test_a_budget_of_flops_is_spent_to_the_last_row_it_pays(variant: Variant) -> None:
    granted = 5e5
    outcome, _, watched = toy_run(topology_at(variant), training_flops=granted)
    assert outcome.training_flops <= granted * (1 + 1e-9)
    assert outcome.training_flops > granted - 3 * 2 * 60 * 2 - 2 * outcome.total_weights
    assert sum(len(rows) for rows in watched.rows) >= outcome.samples
    assert outcome.predicted is not None


def test_what_costs_more_sees_fewer_rows_of_the_same_budget() -> None:
    static, rigl, snfs, dense = (
        toy_run(topology, training_flops=2e6)[0].samples for topology in (STATIC, RIGL, SNFS, DENSE)
    )
    assert static > rigl > snfs > dense


def test_a_dense_state_is_charged_at_every_step() -> None:
    outcome, _, _ = toy_run(SNFS)
    assert outcome.training_flops == (2 * 2 * 60 + 2 * outcome.total_weights) * 1000


def accumulating(number: int, **when: Any) -> Topology:
    """Growth by a mean over so many batches; when: of the updates."""
    return with_updates(
        RIGL, grow=Largest(Gradient(number)), when=replace(IN_PLACE_OF_STEPS, **when)
    )


def test_accumulated_gradients_are_charged_as_dense_ones() -> None:
    """Every update looks at its own batch and at the three before it; 9.45 batches lie between."""
    outcome, _, watched = toy_run(accumulating(4), training_samples=945)
    assert watched.pattern.startswith("g1g1g1gu" + "1" * 6 + "g1g1g1gu" + "1" * 5 + "g1g1g1gu")
    sparse, dense = 2 * 60, 2 * outcome.total_weights
    gradients = "".join(watched.asked).count("g")
    assert gradients == 4 * outcome.updates == 20
    expected = 3 * sparse * (945 - watched.looked_at) + (2 * sparse + dense) * watched.looked_at
    assert outcome.training_flops == expected


def test_an_accumulated_gradient_is_the_mean_over_its_batches() -> None:
    often: dict[str, Any] = {"count": 5, "at_start": False}
    _, seen, watched = toy_run(accumulating(2, **often), training_samples=300)
    # Due after 37.5 of 300 rows: the fourth batch and the one of the update. Growth is by the mean
    # of their gradients, which a plain RigL on the update's batch alone would not have found.
    assert watched.pattern.startswith("111g1gu")
    _, others, _ = toy_run(accumulating(1, **often), training_samples=300)
    assert not all(np.array_equal(a, b) for a, b in zip(seen[1], others[1], strict=True))


def test_every_update_averages_its_own_batches_and_none_of_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    averaged_with: list[int] = []
    average = DenseGradients.averaged

    def noted(self: DenseGradients, earlier: Sequence[Gradients]) -> DenseGradients:
        averaged_with.append(len(earlier))
        return average(self, earlier)

    monkeypatch.setattr(DenseGradients, "averaged", noted)
    outcome, _, _ = toy_run(accumulating(4), training_samples=945)
    assert averaged_with == [3] * outcome.updates and len(averaged_with) > 2


def test_the_batch_of_the_step_before_an_update_is_one_of_those_accumulated() -> None:
    topology = accumulating(3, at_start=False, place=Place.AFTER_A_STEP)
    _, _, watched = toy_run(topology, training_samples=945)
    assert watched.pattern.startswith("1" * 8 + "g1g1g1u" + "1" * 5 + "g1g1g1u")


def test_nothing_is_accumulated_long_before_the_first_update() -> None:
    """Epochs before the first one the network is another one, and each gradient is charged."""
    _, _, watched = toy_run(accumulating(3, start=0.5), training_samples=1600)
    before, _ = watched.pattern.split("u", 1)
    assert before == "1" * 54 + "g1g1g"  # 54 batches of 60 rows in four, to 800 of 1600


def test_candidates_cost_their_fraction_only() -> None:
    topology = with_updates(
        RIGL,
        when=Evenly(count=5, place=Place.BEFORE_A_STEP, end=0.6),
        grow=Largest(candidates_per_weight=1.0),
        regrow_dropped=False,
    )
    outcome, _, watched = toy_run(topology, training_samples=945)
    sparse, looked_at = 2 * 60, watched.looked_at
    assert looked_at > 0
    expected = 3 * sparse * (945 - looked_at) + (2 * sparse + 1.0 * sparse) * looked_at
    assert outcome.training_flops == expected


def test_a_budget_that_pays_for_no_row_is_refused() -> None:
    with pytest.raises(BadInput, match="training_flops = 100 do not pay for one row: expected at"):
        toy_run(STATIC, training_flops=100.0)


@pytest.mark.parametrize("saliency", [Snip(), Grasp(), SynFlow()], ids=repr)
def test_a_budget_that_the_first_mask_uses_up_is_refused(saliency: Saliency) -> None:
    """Not overdrawn in silence, and no network is evaluated that has never made a step."""
    topology = Topology(first_mask=MostSalient(saliency))
    name = type(saliency).__name__.lower()
    message = f"do not pay for one row after a first mask by {name}: expect"
    with pytest.raises(BadInput, match=message):
        toy_run(topology, training_flops=3000.0)
    if saliency.looks_at_data:
        with pytest.raises(BadInput, match="training_samples = 16 do not pay .* at least 17"):
            toy_run(topology, training_samples=16)


# Paths of the density ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [Cubic(1.7, 0.6), SoftBound(1.7, 0.6), Cyclic(1.7, 0.6)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("engine", ["masked", "sparse"])
def test_a_path_starts_at_its_density_and_ends_at_the_budget(
    path: DensityPath, engine: str
) -> None:
    topology = with_updates(RIGL, when=replace(IN_PLACE_OF_STEPS, end=0.9), path=path)
    outcome, seen, _ = toy_run(topology, engine=engine, training_samples=2000, peak_weights=10**6)
    counts = [sum(map(len, active)) for active in seen]
    assert counts[0] == outcome.active_weights == round(0.5 * outcome.total_weights)
    assert counts[-1] == outcome.final_weights == 60 and min(counts) == 60
    if isinstance(path, Cubic):
        assert counts == sorted(counts, reverse=True) and len(set(counts)) > 3
    if isinstance(path, Cyclic):
        assert 60 in counts[:-1] and counts.count(counts[0]) > 1


def pruned_gradually(count: int, **when: Any) -> Topology:
    """Growth by gradient after steps, on a cubic path."""
    return with_updates(
        RIGL,
        when=Evenly(count=count, **when),
        amount=Fraction(0.5, final=0.005),
        new_weights=NewWeights(regrown_keep=False),
        path=Cubic(end=0.7),
    )


def test_a_path_never_exceeds_the_peak_that_is_granted() -> None:
    topology = pruned_gradually(12)
    outcome, _, _ = toy_run(topology, peak_weights=100)
    assert outcome.active_weights == 100 and outcome.final_weights == 60
    with pytest.raises(BadInput, match=r"a density path \(cubic\) .* expected --peak-weights"):
        toy_run(topology)


def test_a_path_can_start_at_a_multiple_of_the_budget() -> None:
    path = SoftBound(2.0, end=0.75)
    topology = with_updates(SET, when=replace(AFTER_STEPS, end=0.75), path=path)
    outcome, _, _ = toy_run(topology, peak_weights=10**6)
    assert outcome.active_weights == 120 and outcome.final_weights == 60


@pytest.mark.parametrize("kind", [Cubic, SoftBound, Cyclic], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("engine", ["masked", "sparse"])
@pytest.mark.parametrize("active_weights", [10**6, 204, 100])
def test_a_path_that_asks_for_more_weights_than_there_are_gets_them_all(
    kind: type[Cubic] | type[SoftBound] | type[Cyclic], engine: str, active_weights: int
) -> None:
    """The network has 204 weights; three times the budget is more, up to all of them."""
    topology = with_updates(RIGL, path=kind(3.0))
    outcome, seen, _ = toy_run(
        topology, engine=engine, active_weights=active_weights, peak_weights=10**7
    )
    assert outcome.total_weights == 204 == outcome.active_weights == sum(map(len, seen[0]))
    assert outcome.final_weights == min(204, active_weights)
    assert outcome.updates > 3


def test_a_network_is_pruned_to_the_budget_even_if_no_update_is_due() -> None:
    outcome, seen, _ = toy_run(pruned_gradually(1, start=0.999), peak_weights=10**6)
    assert outcome.updates == 0 and outcome.final_weights == 60 and len(seen) == 2


def test_the_soft_bound_drops_down_to_the_budget_and_grows_up_again() -> None:
    """Of 102 weights 42 go at every update of the path but for what layers round down."""
    path = SoftBound(1.7, end=0.6)
    anew = NewWeights(regrown_keep=False)
    topology = with_updates(RIGL, amount=Fraction(0.1), new_weights=anew, path=path)
    _, seen, watched = toy_run(topology, training_samples=2000, peak_weights=10**6)
    assert [sum(map(len, active)) for active in seen[:4]] == [102] * 4
    for changes, _, _ in watched.changes[:3]:
        assert 42 - 3 < sum(len(change.new) for change in changes) <= 42


def test_importance_pruning_loses_weights_for_good() -> None:
    pruning = ImportancePruning(fraction=0.3, when=Evenly(count=2, start=0.3))
    outcome, seen, _ = toy_run(with_updates(RIGL, neurons=pruning))
    counts = [sum(map(len, active)) for active in seen]
    assert counts == sorted(counts, reverse=True) and counts[0] == 60
    assert outcome.final_weights == counts[-1] < 60


# Updates -----------------------------------------------------------------------------------------


def test_rigl_spends_a_batch_on_every_update_and_stops_at_its_end() -> None:
    # 32 batches of at most 16 of 60 rows: 16, 16, 16, 12; an update every .15 of 480 rows.
    outcome, seen, watched = toy_run(RIGL, training_samples=480)
    pattern = watched.pattern.replace("gu", "0")
    assert pattern == "0" + "11110" * 3 + "1110" + "1" * 12
    assert (outcome.steps, outcome.updates) == (27, 5)
    assert len(seen) == 6


def test_rigl_drops_by_the_fraction_of_the_budget_consumed_before_the_update() -> None:
    quick = with_updates(
        RIGL,
        when=replace(IN_PLACE_OF_STEPS, count=12),
        amount=Fraction(0.7),
        new_weights=NewWeights(regrown_keep=False),
    )
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


def test_four_updates_of_five_epochs_follow_all_epochs_but_the_last() -> None:
    outcome, _, watched = toy_run(after_steps(4), training_samples=300)
    assert watched.pattern == "1111u1111u1111u1111u1111"
    assert outcome.updates == 4


def test_the_same_number_of_updates_is_made_in_runs_of_any_length() -> None:
    short, long = (toy_run(after_steps(6), training_samples=n)[2].pattern for n in (140, 1400))
    assert short.count("u") == long.count("u") == 6
    # The last at 1200 of 1400 rows, an epoch of four batches' end.
    assert long.endswith("u" + "1" * 14) and short.endswith("u11")


def test_no_update_is_made_where_steps_are_too_few() -> None:
    """Every update follows a step and is followed by one."""
    outcome, _, watched = toy_run(after_steps(100), training_samples=60)
    assert watched.pattern == "1u1u1u1" and outcome.updates == 3


def after_steps(count: int) -> Topology:
    """Growth at random, so many times."""
    return with_updates(SET, when=replace(AFTER_STEPS, count=count))


def test_an_update_after_a_step_uses_the_gradient_of_that_steps_batch() -> None:
    when = replace(IN_PLACE_OF_STEPS, place=Place.AFTER_A_STEP, end=0.5, count=2)
    outcome, _, watched = toy_run(with_updates(RIGL, when=when), training_samples=480)
    # 32 steps; updates after step 1 and after step 8, a quarter of the way.
    assert watched.pattern == "g1u" + "1" * 6 + "g1u" + "1" * 24
    assert outcome.steps == 32 and outcome.samples == 480
    asked = list(zip(watched.asked, watched.rows, strict=True))
    for (call, rows), (_, following) in zip(asked, asked[1:], strict=False):
        if call == "g":
            assert (rows == following[: len(rows)]).all()


def test_the_mask_never_changes_without_rules_of_updates() -> None:
    outcome, seen, watched = toy_run(STATIC)
    assert outcome.updates == 0 and len(seen) == 1
    assert "u" not in watched.pattern
    assert all((a == b).all() for a, b in zip(seen[0], outcome.active, strict=True))


def test_the_output_layer_can_be_left_alone() -> None:
    outcome, seen, _ = toy_run(with_updates(RIGL, last_layer=False))
    assert outcome.updates > 3
    for layer, stays in enumerate((False, False, True)):
        masks = [active[layer] for active in seen]
        assert all(np.array_equal(masks[0], mask) for mask in masks) is stays


def test_grown_weights_can_begin_with_the_gradient_as_state_and_a_step_down_it() -> None:
    """The step is of the learning rate when the batch of the update has been spent."""
    begin = NewWeights(value=GradientStep(0.5), state=State.GRADIENT)
    recipe = with_rate(0.05, density_power=0.3, schedule=Linear())
    topology = with_updates(RIGL, new_weights=begin)
    outcome, _, watched = toy_run(topology, recipe, training_samples=945)
    spent, gradients, updates = 0, iter(watched.taken), iter(watched.changes)
    for call, rows in zip(watched.asked, watched.rows, strict=True):
        spent += len(rows)
        if call == "1":
            continue
        gradient, (changes, _, _) = next(gradients), next(updates)
        rate = 0.05 * (60 / outcome.total_weights) ** -0.3 * (1 - spent / 945)
        for layer, change in enumerate(changes):
            slope = gradient.at(layer, change.new)
            assert change.state is not None and (change.state == slope).all()
            np.testing.assert_allclose(change.values, -0.5 * rate * slope, rtol=1e-5)
    assert sum(len(change.new) for changes, _, _ in watched.changes for change in changes) > 20


def is_dynamic(topology: Topology, recipe: Recipe) -> bool:
    return topology.updates is not None


EXAMPLES = 100


@functools.cache
def swept() -> Counter[str]:
    """How often each part was in an algorithm whose updates have been looked at."""
    looked_at: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**32), st.sampled_from(["masked", "sparse"]))
    def sweep(seed: int, engine: str) -> None:
        topology, recipe = drawn(seed, is_dynamic)
        outcome = assert_changes_are_those_of_updates(topology, recipe, seed, engine)
        assume(outcome.updates > 0)
        looked_at.update(parts(topology) | parts(recipe))

    sweep()
    return looked_at


def assert_changes_are_those_of_updates(
    topology: Topology, recipe: Recipe, seed: int, engine: str
) -> Outcome:
    rules = topology.updates
    assert rules is not None
    network = toy_network(recipe)
    own = network.neuron_parameters
    outcome, seen, watched = toy_run(
        topology,
        recipe,
        seed=seed,
        engine=engine,
        training_samples=400,
        active_weights=own + 60,
        peak_weights=None if rules.path is None else own + 150,
    )
    assert outcome.predicted is not None and outcome.samples == 400
    assert len(watched.changes) == len(seen) - 1 >= outcome.updates
    counts = [sum(map(len, active)) for active in seen]
    reported = outcome.active_weights, outcome.final_weights, outcome.total_weights
    assert reported == (own + max(counts), own + counts[-1], own + network.size)
    if rules.path is None:
        assert max(counts) == min(60, network.size)
    if rules.neurons is None:
        assert min(counts) == counts[-1] == min(60, network.size)
    if rules.path is None and rules.neurons is None:
        assert outcome.updates == len(watched.changes)
        if rules.redistribution == ToItsLayer():
            assert len({tuple(map(len, active)) for active in seen}) == 1
    for changes, before, after in watched.changes:
        touched = np.zeros(len(before[0]), dtype=np.bool_)
        for layer, change in enumerate(changes):
            start = watched.start(layer)
            touched[start + change.dropped] = touched[start + change.new] = True
            assert (after[0][start + change.new] == change.values).all()
            assert (change.values == 0).all() or rules.new_weights.value != Zero()
            assert not after[0][start + change.dropped].any()
            if rules.new_weights.state is State.GRADIENT:
                assert change.state is not None
                state = (change.state, change.state**2)
                moments = state[: 1 + isinstance(recipe.optimizer.rule, AdamW)]
                assert (after[1][start + change.new] == momentum(moments)).all()
            elif not rules.dense_state:
                assert not after[1][start + change.new].any()
        for values_before, values_after in zip(before, after, strict=True):
            assert (values_before[~touched] == values_after[~touched]).all()
    return outcome


def test_an_update_changes_dropped_and_new_weights_and_nothing_else() -> None:
    """Of a hundred algorithms that the combination composes."""
    assert swept()["Updates"] >= EXAMPLES


def test_every_rule_that_the_combination_can_compose_has_made_updates() -> None:
    """If a new one is missing by chance, more `EXAMPLES` reach it."""
    assert composable(is_dynamic) - swept().keys() == set()


def test_what_is_due_is_the_same_asked_of_every_batch_or_only_where_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def runs() -> list[tuple[str, int, float, int]]:
        found = []
        for seed in range(60):
            topology, recipe = drawn(seed, is_dynamic)
            own = toy_network(recipe).neuron_parameters
            weights: dict[str, Any] = {"active_weights": own + 60, "peak_weights": own + 150}
            saliency = 1e6 if topology.first_mask.starts_dense else 0.0
            budgets: list[dict[str, Any]] = [
                {"training_samples": 2000},
                {"training_flops": 9e5 + saliency},
            ]
            for budget in budgets:
                try:
                    outcome, _, watched = toy_run(
                        topology, recipe, seed=seed, engine="sparse", **weights, **budget
                    )
                except OverBudget:
                    continue
                spent = outcome.samples, outcome.training_flops, outcome.updates
                found.append((watched.pattern, *spent))
        return found

    asked_where_it_may_be = runs()
    assert sum(updates > 0 for *_, updates in asked_where_it_may_be) > 80
    monkeypatch.setattr(MaskUpdates, "quiet", lambda self: 0)
    assert runs() == asked_where_it_may_be


def test_a_batch_before_a_step_is_spent_twice() -> None:
    when = replace(IN_PLACE_OF_STEPS, place=Place.BEFORE_A_STEP, end=0.5, count=2)
    outcome, _, watched = toy_run(with_updates(RIGL, when=when), training_samples=480)
    assert watched.pattern.startswith("gu" + "1" * 7 + "gu" + "1" * 10)
    assert watched.rows[0].tolist() == watched.rows[1][:16].tolist()
    assert outcome.samples == 480 == sum(len(rows) for rows in watched.rows)


def test_moving_averages_follow_magnitudes_and_gradients_over_the_updates() -> None:
    plain, _, _ = toy_run(RIGL)
    for changed in (
        with_updates(RIGL, drop=Smallest(MagnitudeAverage(0.0))),
        with_updates(RIGL, grow=Largest(GradientAverage(0.0))),
    ):
        # An average without memory is the value itself.
        again, _, _ = toy_run(changed)
        assert same(plain, again)
    for changed in (
        with_updates(RIGL, drop=Smallest(MagnitudeAverage(0.9))),
        with_updates(RIGL, grow=Largest(GradientAverage(0.9))),
    ):
        remembering, _, _ = toy_run(changed)
        assert not same(plain, remembering)


def test_the_fraction_explored_counts_positions_ever_active() -> None:
    outcome, seen, _ = toy_run(SET)
    total = ever = 0
    for layer, size in enumerate((84, 96, 24)):
        total += size
        ever += len(set(np.concatenate([active[layer] for active in seen]).tolist()))
    assert outcome.explored == ever / total
    assert 60 / total < outcome.explored < 1


# Equal runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe", [PLAIN, HEAVY_BALL, ADAMW], ids=["nesterov", "heavy_ball", "adamw"]
)
def test_density_one_is_the_dense_run_bit_for_bit(recipe: Recipe) -> None:
    dense, _, _ = toy_run(DENSE, recipe)
    full, _, _ = toy_run(STATIC, recipe, active_weights=10**6)
    assert dense.active_weights == dense.total_weights == full.active_weights
    assert same(dense, full)


def test_seeds_differ_and_repeat() -> None:
    first, second, again = (toy_run(RIGL, seed=seed)[0] for seed in (1, 2, 1))
    assert same(first, again)
    assert not same(first, second)


def test_algorithms_share_masks_weights_and_batches_of_a_seed() -> None:
    """Streams are separate: what growth draws does not move the batches."""
    _, set_masks, set_watched = toy_run(SET)
    _, static_masks, static_watched = toy_run(STATIC)
    assert all(np.array_equal(a, b) for a, b in zip(set_masks[0], static_masks[0], strict=True))
    assert (np.concatenate(set_watched.rows) == np.concatenate(static_watched.rows)).all()


def test_a_seed_gives_the_same_network_in_a_new_process() -> None:
    code = (
        "from tests.sparse_training.cases import RIGL, digest, toy_run\n"
        "print(digest(toy_run(RIGL, seed=3)[0]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONHASHSEED": hash_seed},
        )
        for hash_seed in ("1", "2")
    ]
    digests = {process.communicate()[0].strip() for process in started}
    assert digests == {digest(toy_run(RIGL, seed=3)[0])}


def test_a_run_that_diverges_is_an_outcome() -> None:
    for topology in (STATIC, SET, RIGL):
        outcome, _, _ = toy_run(topology, with_rate(1e12))
        assert outcome.predicted is None
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
    topology = with_updates(SET, drop=Smallest())
    assert toy_run(topology, engine=engine)[0].predicted is None


def test_a_budget_below_one_weight_a_layer_is_refused() -> None:
    with pytest.raises(OverBudget, match="at least one weight a layer"):
        toy_run(STATIC, active_weights=2)


COUNTED = replace(PLAIN, norm=Norm.BATCH, activation=SReLU())
"""6 parameters a neuron beside the weights: 120 of the 20 hidden neurons of the toy."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("recipe", "own"),
    [
        (PLAIN, 0),
        (replace(PLAIN, norm=Norm.LAYER), 2 * 20),
        (replace(PLAIN, activation=SReLU()), 4 * 20),
        (COUNTED, 6 * 20),
        (replace(COUNTED, width_factor=0.5), 6 * 10),
    ],
)
def test_norm_and_srelu_are_paid_from_the_budget_of_active_weights(
    engine: str, recipe: Recipe, own: int
) -> None:
    outcome, seen, _ = toy_run(RIGL, recipe, engine=engine, active_weights=150)
    size = toy_network(recipe).size
    under_masks = min(150 - own, size)
    assert {sum(map(len, active)) for active in seen} == {under_masks}
    assert outcome.active_weights == outcome.final_weights == own + under_masks
    assert outcome.total_weights == own + size
    assert outcome.inference_flops == 2 * under_masks  # the ledger leaves them out


def test_norm_and_srelu_are_paid_from_the_peak_too() -> None:
    """120 of their own: 30 weights at the end, 60 at the peak of 180."""
    outcome, seen, _ = toy_run(
        pruned_gradually(2), COUNTED, active_weights=150, peak_weights=180, training_samples=2000
    )
    assert sum(map(len, seen[0])) == 60 and sum(map(len, seen[-1])) == 30
    assert (outcome.active_weights, outcome.final_weights) == (180, 150)


@pytest.mark.parametrize(
    ("recipe", "active_weights", "message"),
    [
        (COUNTED, 60, "norm batch and srelu take 120 of 60 active weights: expected at least 3"),
        (COUNTED, 122, "norm batch and srelu take 120 of 122 active weights: expected at least 3"),
        (replace(PLAIN, norm=Norm.LAYER), 40, "norm layer takes 40 of 40 active weights"),
        (replace(PLAIN, activation=SReLU()), 1, "^srelu takes 80 of 1 active weights"),
    ],
)
def test_a_budget_that_norm_and_srelu_exhaust_is_refused(
    recipe: Recipe, active_weights: int, message: str
) -> None:
    with pytest.raises(OverBudget, match=message):
        toy_run(STATIC, recipe, active_weights=active_weights)
    assert toy_run(STATIC, COUNTED, active_weights=123)[0].active_weights == 123


def test_the_dense_reference_reports_what_normalisation_trains_and_is_bound_by_no_budget() -> None:
    outcome, _, _ = toy_run(DENSE, COUNTED)
    assert outcome.active_weights == outcome.total_weights == 204 + 120


def test_a_sparse_network_without_a_budget_of_weights_is_refused() -> None:
    with pytest.raises(BadInput, match="needs a budget of active weights: found none"):
        toy_run(STATIC, active_weights=None)


# Costs and networks ------------------------------------------------------------------------------


def test_training_flops_count_steps_and_dense_gradients() -> None:
    outcome, _, watched = toy_run(RIGL, training_samples=945)
    sparse, dense = 2 * 60, 2 * outcome.total_weights
    expected = 3 * sparse * (945 - watched.looked_at) + (2 * sparse + dense) * watched.looked_at
    assert outcome.training_flops == expected
    free, _, _ = toy_run(SET, training_samples=945)
    assert free.training_flops == 3 * sparse * 945


def test_wider_and_deeper_networks_do_not_raise_the_budget() -> None:
    for factor in (0.25, 1.0, 4.0):
        for change in (-1, 0, 1):
            recipe = replace(PLAIN, width_factor=factor, depth_change=change)
            outcome, _, _ = toy_run(RIGL, recipe)
            assert outcome.active_weights <= 60
            assert sum(map(len, outcome.active)) == outcome.active_weights


@pytest.mark.parametrize("part", ["train_x", "eval_x"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_no_numbers_are_refused(part: str, value: float) -> None:
    split = toy_split()
    values = getattr(split, part).copy()
    values[3, 2] = value
    changes: dict[str, Any] = {part: values}
    with pytest.raises(BadInput, match="values that are not finite"):
        toy_run(STATIC, split=replace(split, **changes))


@pytest.mark.parametrize("saliency", [Snip(), Grasp()], ids=repr)
def test_features_too_large_for_a_first_mask_by_gradients_are_refused(saliency: Saliency) -> None:
    """Without a mask there is no network that could diverge."""
    split = toy_split()
    huge = replace(split, train_x=np.sign(split.train_x) * np.float32(3e38))
    name = type(saliency).__name__.lower()
    message = f"a first mask by {name} finds gradients that are not finite"
    with pytest.raises(BadInput, match=message):
        toy_run(Topology(first_mask=MostSalient(saliency)), split=huge)
    assert toy_run(STATIC, split=huge)[0].predicted is None
