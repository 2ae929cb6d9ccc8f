"""Contracts of every variant folder, new ones too, and of meta, which contains them."""

import inspect
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from target_algorithms.engine import DenseGradients
from target_algorithms.errors import BadInput
from target_algorithms.settings import Recipe, Topology
from target_algorithms.trial import CONDITIONAL, configured, run
from target_algorithms.updates import Seen, update
from target_algorithms.variants import FOLDER, topology_of, variant_pcs, variants
from tests.target_algorithms.cases import (
    SPARSE_VARIANTS,
    config_of,
    request,
    same,
    topology_at,
    toy_run,
)
from wrappers.space import read_pcs, variant_space

SHARED = read_pcs((FOLDER / "training.pcs").read_text(), "training.pcs")


def own_names(variant: str) -> list[str]:
    """Names of the parameters that a variant has to itself."""
    return [name for name in variant_space(variant).by_name if name not in SHARED.by_name]


# Contracts ---------------------------------------------------------------------------------------


def test_the_variants_are_there() -> None:
    assert set(variants()) >= {
        *("set", "rigl", "snfs", "itop", "mest", "granet", "dsr", "gse", "snip"),
        *("static", "dense", "meta"),
    }


@pytest.mark.parametrize("variant", variants())
def test_a_variant_takes_the_parameters_that_its_file_declares(variant: str) -> None:
    signature = inspect.signature(topology_of(variant))
    assert sorted(signature.parameters) == sorted(own_names(variant))
    assert all(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values())
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert signature.return_annotation is Topology


@pytest.mark.parametrize("variant", variants())
def test_parameters_that_can_be_absent_have_a_default_and_the_others_none(variant: str) -> None:
    space = variant_space(variant)
    absent = {condition.child for condition in space.conditions} | {"density_path"}
    for name, parameter in inspect.signature(topology_of(variant)).parameters.items():
        assert (parameter.default is not parameter.empty) == (name in absent), name


def test_the_shared_file_declares_the_fields_of_the_recipe() -> None:
    assert list(SHARED.by_name) == [field.name for field in fields(Recipe)]
    inactive = {name: None for name in SHARED.by_name if name not in SHARED.default}
    assert set(inactive) <= set(CONDITIONAL)
    assert set(CONDITIONAL) == {condition.child for condition in SHARED.conditions}
    for name, value in SHARED.default.items():
        assert getattr(Recipe(), name) == value, name


@pytest.mark.parametrize("variant", variants())
def test_no_parameter_is_named_like_a_word_of_the_call(variant: str) -> None:
    assert not {*variant_space(variant).by_name} & {"instance", "seed", "cutoff", "config", "help"}


@pytest.mark.parametrize("variant", variants())
def test_shared_parameters_are_the_same_for_all_but_for_what_means_nothing(variant: str) -> None:
    space = variant_space(variant)
    shared = [parameter for parameter in space.parameters if parameter.name in SHARED.by_name]
    meaningless = {
        "dense": {"init_scaling", "learning_rate_density_power", "sparse_gradient_correction"},
        "snip": {"init_scaling"},
    }.get(variant, set())
    assert shared == [p for p in SHARED.parameters if p.name not in meaningless]


@pytest.mark.parametrize(
    "change",
    [
        {"init_scaling": "neuron"},
        {"learning_rate_density_power": 0.7},
        {"norm": "batch", "sparse_gradient_correction": "yes"},
    ],
    ids=str,
)
def test_what_the_dense_reference_leaves_out_would_change_nothing(change: dict[str, Any]) -> None:
    asked = request("dense")
    plain = {"norm": change.get("norm", "none")}
    without = run({**asked, "config": {**asked["config"], **plain}})
    assert run({**asked, "config": {**asked["config"], **change}}) == without


@pytest.mark.parametrize("variant", variants())
def test_a_variant_at_its_defaults_runs_within_its_budget_and_repeats(variant: str) -> None:
    asked = request(variant)
    result = run(asked)
    assert result["misc"]["diverged"] is False  # type: ignore[index]
    if variant != "dense":
        assert result["misc"]["final_weights"] == 300  # type: ignore[index]
        most = asked["options"].get("peak_weights", 300)
        assert 300 <= result["active_weights"] <= most  # type: ignore[operator]
    assert 0.0 <= result["cost"] < 0.95  # type: ignore[operator]
    assert run(asked) == result


@pytest.mark.parametrize("variant", variants())
def test_a_variant_has_a_page_that_names_its_source_and_every_parameter(variant: str) -> None:
    page = (FOLDER / variant / "README.md").read_text()
    assert "Source" in page
    for parameter in own_names(variant):
        assert f"`{parameter}`" in page, parameter


def test_every_field_of_the_settings_says_what_it_means() -> None:
    for kind in (Topology, Recipe):
        source = inspect.getsource(kind)
        for field in fields(kind):
            assert re.search(rf'^    {field.name}: [^\n]+\n    """', source, re.M), field.name


@pytest.mark.parametrize("function", [topology_of, variant_pcs])
def test_an_unknown_variant_is_named_with_the_known_ones(function: Any) -> None:
    with pytest.raises(BadInput, match="unknown variant 'deepr': expected one of dense, dsr, gra"):
        function("deepr")


# Meta contains them ------------------------------------------------------------------------------

STEPS = {"update_unit": "steps", "update_at_start": "no"}
EPOCHS = {"update_unit": "epochs"}
META_AS: dict[str, dict[str, Any]] = {
    "rigl": {},
    "static": {"topology": "static"},
    "snip": {"topology": "static", "init_mask": "snip"},
    "set": {
        **EPOCHS,
        "drop_rule": "sign",
        "grow": "random",
        "regrown_value": "new",
        "update_mode": "after_step",
    },
    "snfs": {
        **EPOCHS,
        "layer_density_power": 0.0,
        "drop_rounding": "ceil",
        "drop_fraction": 0.5,
        "drop_final": 0.005,
        "grow_score": "momentum",
        "regrown_value": "new",
        "grown_state": "keep",
        "inactive_state": "dense",
        "redistribution": "momentum",
        "update_end": 1.0,
        "update_mode": "after_step",
    },
    "itop": {
        **STEPS,
        "drop_rounding": "ceil",
        "drop_fraction": 0.5,
        "drop_final": 0.005,
        "grow": "random",
        "regrown_value": "new",
        "update_end": 1.0,
        "update_mode": "after_step",
    },
    "mest": {
        **EPOCHS,
        "layer_density_power": 0.0,
        "drop_rule": "mest",
        "mest_lambda": 0.001,
        "drop_fraction": 0.2,
        "drop_schedule": "step",
        "grow": "random",
        "regrown_value": "new",
        "update_interval_epochs": 5,
        "update_mode": "after_step",
    },
    "granet": {
        **STEPS,
        "drop_rounding": "ceil",
        "drop_fraction": 0.5,
        "drop_final": 0.005,
        "regrown_value": "new",
        "update_end": 1.0,
        "update_mode": "after_step",
        "density_path": "cubic",
        "path_end": 0.7,
    },
    "dsr": {
        **STEPS,
        "drop_rule": "threshold",
        "drop_fraction": 0.01,
        "drop_schedule": "constant",
        "grow": "random",
        "regrow_dropped": "no",
        "redistribution": "nonzeros",
        "update_end": 1.0,
        "update_mode": "after_step",
    },
    "gse": {
        **STEPS,
        "drop_scope": "global",
        "drop_fraction": 0.2,
        "candidates": "subset",
        "regrow_dropped": "no",
        "redistribution": "score",
        "update_end": 0.6,
        "update_mode": "before_step",
    },
}


def meta_config(changes: dict[str, Any]) -> dict[str, Any]:
    """Meta's default with these changes, checked against its space."""
    space = variant_space("meta")
    values = {p.name: p.default for p in space.parameters} | changes
    return dict(space.check({name: values[name] for name in space.active(values)}))


def test_meta_can_be_every_other_variant() -> None:
    assert set(META_AS) == set(SPARSE_VARIANTS) - {"meta"}


@pytest.mark.parametrize("variant", sorted(META_AS))
@pytest.mark.parametrize("seed", [0, 1])
def test_meta_at_a_variants_settings_is_that_variant_bit_for_bit(variant: str, seed: int) -> None:
    combined, _ = configured("meta", meta_config(META_AS[variant]))
    own = topology_at(variant)
    interval = 10 if own.update_unit == "steps" else 1  # many updates, not two
    own, combined = (replace(t, update_interval=interval) for t in (own, combined))
    first, masks, _ = toy_run(own, seed=seed, peak_weights=150)
    second, again, _ = toy_run(combined, seed=seed, peak_weights=150)
    assert own.kind == "static" or len(masks) > 3
    for one, other in zip(masks, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert same(first, second)
    assert first.training_flops == second.training_flops


def test_meta_at_its_defaults_is_rigl_at_its_defaults() -> None:
    assert topology_at("meta") == topology_at("rigl") == Topology()


def test_variants_take_their_rows_and_first_masks_from_the_same_streams() -> None:
    """At one seed all with the same layer densities begin alike, so that comparisons are paired."""
    starts = {
        variant: toy_run(topology_at(variant))[1][0]
        for variant in SPARSE_VARIANTS
        if topology_at(variant).density_path == "constant"
        and topology_at(variant).init_mask == "random"
        and topology_at(variant).layer_density_power == 1.0
    }
    assert len(starts) >= 5
    for start in starts.values():
        assert all(np.array_equal(a, b) for a, b in zip(start, starts["static"], strict=True))


# By hand: one update of each variant at its defaults on eight positions --------------------------

WEIGHTS = {0: 0.1, 1: -0.2, 2: 3.0, 3: -4.0}
GRADIENT = [0.0, 0.0, 0.0, 0.0, 1.0, -6.0, 2.0, 5.0]


def one_update(topology: Topology, fraction: float | None = None, **more: Any) -> list[int]:
    scores = DenseGradients([np.array(GRADIENT, dtype=np.float32)])
    active = [np.arange(4)]
    seen = Seen(
        sizes=[8],
        active=active,
        weights=[np.array(list(WEIGHTS.values()), dtype=np.float32)],
        fired=active,
        gradient=scores,
        grow_scores=scores,
        momenta=[np.ones(4, dtype=np.float32)],
    )
    done = update(
        topology,
        seen,
        fraction=topology.drop_fraction if fraction is None else fraction,
        target=more.pop("target", 4),
        threshold=topology.drop_threshold,
        rng=np.random.default_rng(0),
    )
    return done.layers[0].active.tolist()


def test_rigl_by_hand() -> None:
    """floor(.3 * 4) = 1: the weight .1 goes, the position of gradient -6 comes."""
    assert one_update(topology_at("rigl")) == [1, 2, 3, 5]


def test_set_by_hand() -> None:
    """Thresholds at zeta .3: of the sorted -4, -.2, .1, 3 the second and the last, which go too."""
    found = one_update(topology_at("set"))
    assert 3 in found and len(found) == 4
    nominal = one_update(topology_at("set", drop_rule="sign_nominal"), 0.5)
    assert {2, 3} <= set(nominal)  # one of either sign goes


def test_snfs_by_hand() -> None:
    """ceil(.5 * 4) = 2 of the smallest go, the two largest momenta come."""
    assert one_update(topology_at("snfs")) == [2, 3, 5, 7]


def test_itop_by_hand() -> None:
    """RigL-ITOP at .3: ceil(1.2) = 2; SET-ITOP's unfired growth takes positions 4 to 7 only."""
    gradient = topology_at("itop", growth="gradient")
    assert one_update(gradient, 0.3) == [2, 3, 5, 7]
    unfired = one_update(topology_at("itop", growth="random_unfired"))
    assert unfired[:2] == [2, 3] and set(unfired[2:]) <= {4, 5, 6, 7}


def test_mest_by_hand() -> None:
    """|w| + lambda |g| with gradients 0 but at position 0: lambda decides what goes."""
    strong = topology_at("mest", mest_lambda=1000.0)
    scores = DenseGradients([np.array([9.0, *GRADIENT[1:]], dtype=np.float32)])
    active = [np.arange(4)]
    for topology, gone in ((topology_at("mest"), 0), (strong, 1)):
        seen = Seen(
            sizes=[8],
            active=active,
            weights=[np.array(list(WEIGHTS.values()), dtype=np.float32)],
            fired=active,
            gradient=scores,
        )
        rng = np.random.default_rng(3)
        done = update(topology, seen, fraction=0.25, target=4, threshold=0.0, rng=rng)
        assert done.replaced == 1
        assert gone in {*done.layers[0].dropped.tolist(), *done.layers[0].new.tolist()}


def test_granet_by_hand() -> None:
    """To three weights: .1 goes; ceil(.5 * 3) = 2 go, -.2 and 3; -6 and 5 come."""
    assert one_update(topology_at("granet"), target=3) == [3, 5, 7]


def test_dsr_by_hand() -> None:
    """Threshold .15: .1 goes; one of the four free positions comes."""
    found = one_update(replace(topology_at("dsr"), drop_threshold=0.15))
    assert found[:3] == [1, 2, 3] and found[3] in (4, 5, 6, 7)


def test_gse_by_hand() -> None:
    """gamma 1: all four free positions are candidates; floor(.25 * 4) = 1 moves, to -6."""
    assert one_update(topology_at("gse"), 0.25) == [1, 2, 3, 5]


def test_snip_and_static_never_update() -> None:
    for variant in ("snip", "static", "dense"):
        budget = {} if variant == "dense" else {"active_weights": 60}
        assert toy_run(topology_at(variant), **budget)[0].updates == 0


def test_a_default_configuration_has_what_its_space_says_it_has() -> None:
    for variant in variants():
        assert set(config_of(variant)) <= set(variant_space(variant).by_name)
