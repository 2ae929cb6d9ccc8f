"""What must be right of every variant, wherever it lies; a new one is found here."""

import inspect
import random
from dataclasses import replace
from typing import Any, get_type_hints

import numpy as np
import pytest

from sparse_training.errors import BadInput, OverBudget
from sparse_training.loop.budget import Budget
from sparse_training.loop.recipe import Recipe
from sparse_training.rules.topology import Topology
from target_algorithms import CHOSEN, SHARED_PCS, Role, Variant, recipe, variant, variants
from target_algorithms.contract import Options, Trained, Trial, Value
from target_algorithms.trial import configured, run
from tests.examples import (
    PEAK,
    config_of,
    options_for,
    space_of,
    topology_at,
    whole,
    within_budget,
)
from tests.sparse_training.cases import Case, assert_agreement, same, toy_run
from wrappers.space import RESERVED, read_pcs, resolved, variant_space

SHARED = read_pcs(SHARED_PCS.read_text(), SHARED_PCS.name)
VARIANTS = tuple(variants().values())
ALGORITHMS = tuple(each for each in VARIANTS if not each.is_selection)
SPARSE = tuple(each for each in VARIANTS if within_budget(each))
COMBINED = [
    (each, preset) for each in VARIANTS for preset in sorted(each.presets) if preset in variants()
]

every_variant = pytest.mark.parametrize("chosen", VARIANTS, ids=[each.name for each in VARIANTS])
every_algorithm = pytest.mark.parametrize(
    "chosen", ALGORITHMS, ids=[each.name for each in ALGORITHMS]
)
every_sparse = pytest.mark.parametrize("chosen", SPARSE, ids=[each.name for each in SPARSE])


def own_names(chosen: Variant) -> list[str]:
    """Names of the parameters that a variant has to itself, those with one value among them."""
    space = variant_space(chosen)
    names = [*space.by_name, *(constant.name for constant in space.constants)]
    return [name for name in names if name not in SHARED.by_name]


def trial(chosen: Variant, config: dict[str, Value], **changes: Any) -> Trial:
    """A short trial on digits."""
    ran, config = resolved(chosen, whole(chosen, config))
    return Trial(
        variant=ran.name,
        folder=str(ran.folder),
        options=options_for(chosen, **changes),
        instance="sklearn/digits/0/3",
        seed=17,
        config=config,
    )


def grants_peak(chosen: Variant) -> bool:
    return "peak_weights" in chosen.requires


# Parameters --------------------------------------------------------------------------------------


@every_algorithm
def test_a_variant_takes_the_parameters_that_its_file_declares(chosen: Variant) -> None:
    signature = inspect.signature(chosen.compose)
    assert sorted(signature.parameters) == sorted(own_names(chosen))
    assert all(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values())
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert get_type_hints(chosen.compose)["return"] is Topology


@every_algorithm
def test_parameters_that_can_be_absent_have_a_default_and_the_others_none(chosen: Variant) -> None:
    space = variant_space(chosen)
    absent = {condition.child for condition in space.conditions} | {"density_path"}
    absent |= {constant.name for constant in space.constants if constant.conditions}
    for name, parameter in inspect.signature(chosen.compose).parameters.items():
        assert (parameter.default is not parameter.empty) == (name in absent), name


@every_variant
def test_no_parameter_is_named_like_a_word_of_the_call(chosen: Variant) -> None:
    assert not {*variant_space(chosen).by_name} & RESERVED


@every_variant
def test_every_choice_of_a_parameter_means_something(chosen: Variant) -> None:
    """Each value of each categorical parameter composes, in some configuration that has it."""
    space, rng = variant_space(chosen), random.Random(0)
    left = {
        (parameter.name, choice)
        for parameter in space.parameters
        for choice in parameter.choices
        if parameter.name not in SHARED.by_name
    }
    for _ in range(3000):
        if not left:
            return
        config = space.sample(rng)
        new = left & set(config.items())
        if new:
            configured(*resolved(chosen, whole(chosen, config)))
            left -= new
    assert not left


def test_the_shared_file_declares_what_a_recipe_is_composed_of() -> None:
    signature = inspect.signature(recipe.compose)
    assert list(SHARED.by_name) == list(signature.parameters)
    conditional = {condition.child for condition in SHARED.conditions}
    assert conditional <= {n for n, p in signature.parameters.items() if p.default is not p.empty}


# Trials ------------------------------------------------------------------------------------------


@every_variant
def test_a_variant_at_its_defaults_runs_within_its_budget_and_repeats(chosen: Variant) -> None:
    asked = trial(chosen, config_of(chosen, peak=grants_peak(chosen)))
    result = run(asked)
    assert result.misc.diverged is False
    if within_budget(chosen):
        assert result.misc.final_weights == 300
        most = asked.options.peak_weights or 300
        assert 300 <= result.active_weights <= most
    assert 0.0 <= result.cost < 0.95
    assert run(asked) == result


@every_variant
@pytest.mark.parametrize("by_flops", [False, True], ids=["samples", "flops"])
def test_random_configurations_of_a_variant_keep_to_their_budgets(
    chosen: Variant, by_flops: bool
) -> None:
    peak = grants_peak(chosen)
    budget = {"training_samples": None, "training_flops": 40_000_000} if by_flops else {}
    space, rng = space_of(chosen, peak=peak), random.Random(5)
    for _ in range(6):
        asked = trial(chosen, space.sample(rng), **budget)
        try:
            result = run(asked)
        except OverBudget:  # by its first mask, its normalisation
            continue
        assert_within(result, asked.options)


def assert_within(result: Trained, options: Options) -> None:
    """The budgets of a scenario are kept."""
    if options.active_weights is not None:
        most = options.peak_weights or options.active_weights
        assert result.active_weights <= most
        assert (result.misc.final_weights or 0) <= options.active_weights
    if options.training_samples is not None:
        assert result.misc.samples == options.training_samples
    if options.training_flops is not None:
        assert result.training_flops <= options.training_flops * (1 + 1e-9)


@every_sparse
@pytest.mark.parametrize("seed", [0, 1])
def test_engines_agree_on_a_variant_at_its_defaults(chosen: Variant, seed: int) -> None:
    topology = often(topology_at(chosen))
    budget = Budget(active_weights=150, peak_weights=PEAK // 4, training_samples=3000)
    assert_agreement(Case(Recipe(batch_size=16), topology, budget, seed), 2e-2)


@every_sparse
def test_variants_take_their_rows_and_first_masks_from_the_same_streams(chosen: Variant) -> None:
    """At one seed all with the same first mask begin alike, so that comparisons are paired."""
    topology = topology_at(chosen)
    path = topology.updates and topology.updates.path
    bare = Topology(first_mask=topology.first_mask)
    if path is not None:
        pytest.skip("its first mask is larger, on a path")
    first, again = (toy_run(each)[1][0] for each in (topology, bare))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def often(topology: Topology) -> Topology:
    """The same with an update every few steps, for short runs."""
    updates = topology.updates
    if updates is None:
        return topology
    when = replace(updates.when, count=min(updates.when.count, 15))
    return replace(topology, updates=replace(updates, when=when))


# Combinations ------------------------------------------------------------------------------------


def preset_config(combined: Variant, preset: str) -> dict[str, Value]:
    """A combination's configuration at which it is another variant."""
    space = variant_space(combined)
    values = {p.name: p.default for p in space.parameters} | dict(combined.presets[preset])
    return space.complete(space.check({name: values[name] for name in space.active(values)}))


every_preset = pytest.mark.parametrize(
    ("combined", "preset"), COMBINED, ids=[f"{each.name}-{preset}" for each, preset in COMBINED]
)


@every_preset
def test_a_combination_at_a_variants_settings_is_that_variant(
    combined: Variant, preset: str
) -> None:
    topology, _ = configured(combined, preset_config(combined, preset))
    assert topology == topology_at(variant(preset))


@every_preset
@pytest.mark.parametrize("seed", [0, 1])
def test_and_trains_the_same_network_bit_for_bit(combined: Variant, preset: str, seed: int) -> None:
    topology, _ = configured(combined, preset_config(combined, preset))
    runs = [
        toy_run(often(each), seed=seed, peak_weights=PEAK // 4)
        for each in (topology, topology_at(variant(preset)))
    ]
    (first, masks, _), (second, again, _) = runs
    assert topology.updates is None or len(masks) > 3
    for one, other in zip(masks, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert same(first, second)
    assert first.training_flops == second.training_flops


# Selections --------------------------------------------------------------------------------------

CHOICES = [(each, name) for each in VARIANTS if each.is_selection for name in each.choices]
every_choice = pytest.mark.parametrize(
    ("selection", "name"), CHOICES, ids=[f"{each.name}-{name}" for each, name in CHOICES]
)


def asked(chosen: Variant, config: dict[str, Value]) -> tuple[Variant, dict[str, Value]]:
    """Whose trial a configuration asks for, and what it gets."""
    return resolved(chosen, variant_space(chosen).complete(config))


def test_a_selection_chooses_among_all_that_is_configured_and_contains_no_others() -> None:
    single = [v.name for v in VARIANTS if v.role in (Role.COMPETITOR, Role.BASELINE)]
    for selection in (each for each in VARIANTS if each.is_selection):
        of_root = {v.name for v in VARIANTS if v.folder.parent == selection.folder.parent}
        assert {name for name in single if name in of_root} <= set(selection.choices) <= {*single}
        root = variant_space(selection).by_name[CHOSEN]
        assert root.choices == tuple(selection.choices) and root.default == selection.begins_with


@every_choice
def test_changing_the_root_alone_gives_a_variant_at_its_default(
    selection: Variant, name: str
) -> None:
    config = variant_space(selection).changed({CHOSEN: name})
    assert asked(selection, config) == asked(selection.choices[name], config_of_whole(name))


def config_of_whole(name: str) -> dict[str, Value]:
    """A variant's default in its whole space."""
    return variant_space(variant(name)).default


@every_choice
def test_a_selection_has_the_configurations_of_a_variant_and_no_others(
    selection: Variant, name: str
) -> None:
    """There and back, at random; a trial of either is then the same trial."""
    whole_space, rng = variant_space(selection), random.Random(3)
    own_space = variant_space(selection.choices[name])
    of_one = whole_space.narrowed(
        {CHOSEN: replace(whole_space.by_name[CHOSEN], choices=(name,), default=name)}
    )
    for _ in range(40):
        config = own_space.sample(rng)
        named = {n if n in whole_space.by_name else f"{name}__{n}": v for n, v in config.items()}
        assert asked(selection, whole_space.check({CHOSEN: name, **named})) == (
            selection.choices[name],
            own_space.complete(config),
        )
        drawn = {CHOSEN: name, **of_one.sample(rng)}
        ran, got = asked(selection, whole_space.check(drawn))
        fixed = {constant.name for constant in own_space.constants}
        back = own_space.check({n: v for n, v in got.items() if n not in fixed})
        assert (ran.name, own_space.complete(back)) == (name, got)


@every_choice
def test_what_is_a_variants_own_is_active_where_it_is_chosen_only(
    selection: Variant, name: str
) -> None:
    space = variant_space(selection)
    for parameter in space.parameters:
        if parameter.name.startswith(f"{name}__"):
            first, *_ = space.conditions_of(parameter.name)
            assert (first.parent, first.values) == (CHOSEN, (name,))


def test_an_unknown_variant_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BadInput, match="unknown variant 'deepr': expected one of .*, "):
        variant("deepr")
