"""The parameter space: reading PCS, checking, sampling and naming configurations."""

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from target_algorithms import ROOT, SHARED_PCS, Variant, roots, variant, variants
from target_algorithms.contract import Options
from tests.wrappers.cases import OWN_PCS, RECIPE_PCS, SCENARIO
from wrappers.aclib import parse, parse_options
from wrappers.formats.configspace import configspace_json
from wrappers.formats.irace_3_5 import parameters
from wrappers.formats.pcs import old_pcs
from wrappers.scenario import read
from wrappers.space import (
    Space,
    canonical,
    config_id,
    number_text,
    read_pcs,
    variant_space,
)


@pytest.fixture(scope="module")
def space() -> Space:
    return read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs")


def text_of(config: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in config.items()}


def test_the_parameters_keep_their_order_types_and_scales(space: Space) -> None:
    assert [parameter.name for parameter in space.parameters][:4] == [
        "layer_density_power",
        "grow",
        "grow_random_share",
        "grow_score",
    ]
    decay = space.by_name["weight_decay"]
    assert (decay.kind, decay.low, decay.high, decay.default, decay.log) == (
        "real",
        1e-6,
        0.1,
        0.0005,
        True,
    )
    batch = space.by_name["batch_size"]
    assert (batch.kind, batch.low, batch.high, batch.default, batch.log) == (
        "integer",
        16,
        256,
        64,
        True,
    )
    assert isinstance(batch.default, int) and isinstance(space.by_name["momentum"].default, float)


def test_the_default_holds_active_parameters_only(space: Space) -> None:
    assert "learning_rate_sgd" in space.default
    assert "learning_rate_adamw" not in space.default
    assert "both" not in space.default
    assert space.check(space.default) == space.default
    assert list(space.default) == [name for name in space.by_name if name in space.default]


def test_two_conditions_on_a_child_must_both_hold(space: Space) -> None:
    config = {"grow": "mixed", "grow_score": "gradient"}
    assert "both" in space.active(config)
    assert "both" not in space.active(config | {"grow_score": "unfired_gradient"})
    # grow_score itself is inactive here, whatever value is said to be left in it.
    assert "both" not in space.active(config | {"grow": "random"})


def test_values_are_taken_as_configurators_write_them(space: Space) -> None:
    sent = text_of(space.default) | {
        "learning_rate_sgd": "0.10000000",
        "weight_decay": "1.0E-4",
        "batch_size": "64.0",
        "rounds": "2",
    }
    typed = space.check(sent)
    assert typed["learning_rate_sgd"] == 0.1
    assert typed["weight_decay"] == 1e-4
    assert typed["batch_size"] == 64 and isinstance(typed["batch_size"], int)


def test_numpy_values_become_python_values(space: Space) -> None:
    sent = space.default | {
        "grow": np.str_("score"),
        "batch_size": np.int64(32),
        "momentum": np.float64(0.5),
    }
    typed = space.check(sent)
    assert [type(typed[name]) for name in ("grow", "batch_size", "momentum")] == [str, int, float]


def test_a_real_a_hair_outside_its_range_is_moved_to_the_bound(space: Space) -> None:
    assert (
        space.check(space.default | {"learning_rate_sgd": "1.0000000001"})["learning_rate_sgd"]
        == 1.0
    )
    assert space.check(space.default | {"weight_decay": 9.999999999e-7})["weight_decay"] == 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 1}, "unknown parameter 'speed', expected one of layer_density_power, grow"),
        ({"momentum": None}, "parameter momentum is missing, expected a number in [0, 0.99]"),
        ({"momentum": 1.5}, "parameter momentum is 1.5, expected a number in [0, 0.99]"),
        ({"momentum": 0.990001}, "expected a number in [0, 0.99]"),
        ({"momentum": -1e-12}, "expected a number in [0, 0.99]"),
        ({"momentum": "nan"}, "parameter momentum is 'nan'"),
        ({"momentum": "inf"}, "parameter momentum is 'inf'"),
        ({"momentum": True}, "parameter momentum is True"),
        ({"momentum": "fast"}, "parameter momentum is 'fast'"),
        ({"momentum": "0_1"}, "parameter momentum is '0_1'"),
        ({"batch_size": 64.5}, "parameter batch_size is 64.5, expected an integer in [16, 256]"),
        ({"batch_size": 257}, "parameter batch_size is 257, expected an integer in [16, 256]"),
        ({"optimizer": "adam"}, "parameter optimizer is 'adam', expected one of sgd, adamw"),
        (
            {"learning_rate_adamw": 0.01},
            "parameter learning_rate_adamw is given as 0.01 but inactive: it is active only where"
            " optimizer in {adamw}",
        ),
        ({"both": 0.5}, "inactive: it is active only where grow in {mixed}"),
        (
            {"grow": "random", "grow_score": None},
            "forbidden combination {grow=random, update_mode=replace_step}",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_parameter(
    space: Space, change: dict[str, object], message: str
) -> None:
    config = {k: v for k, v in (dict(space.default) | change).items() if v is not None}
    with pytest.raises(BadInput) as refusal:
        space.check(config)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.integers(0, 2**32))
def test_a_sample_is_a_configuration_that_survives_text(seed: int) -> None:
    space = read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs")
    config = space.sample(random.Random(seed))
    assert space.check(config) == config
    assert space.check(text_of(config)) == config
    assert set(config) == set(space.active(config))


def test_samples_use_the_logarithmic_scale(space: Space) -> None:
    rng = random.Random(1)
    drawn = [space.sample(rng) for _ in range(2000)]
    decays = [float(config["weight_decay"]) for config in drawn]
    # Half of the logarithmic range lies below the geometric mean of its bounds.
    assert abs(sum(decay < (1e-6 * 0.1) ** 0.5 for decay in decays) / 2000 - 0.5) < 0.05
    assert {config["update_interval_epochs"] for config in drawn} == set(range(1, 11))
    assert {config["rounds"] for config in drawn} == set(range(1, 6))


def test_the_same_generator_draws_the_same_configurations(space: Space) -> None:
    first, second = ([space.sample(random.Random(3)) for _ in range(5)] for _ in range(2))
    assert first == second


def test_a_space_that_is_all_forbidden_is_not_searched_for_ever() -> None:
    space = read_pcs("a {x, y} [x]\nb {x, y} [y]\n{a=x, b=x}\n{a=y, b=y}\n{a=y, b=x}", "t")
    one_legal = space.sample(random.Random(1))
    assert one_legal == {"a": "x", "b": "y"}
    nothing = Space(space.parameters, (), ((("a", "x"),), (("a", "y"),)))
    with pytest.raises(BadInput, match="all forbidden"):
        nothing.sample(random.Random(1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {x, y} [z]", "line 1: default 'z' of a, expected one of x, y"),
        ("a {x, y} [x]\n\na {x, y} [x]", "line 3: parameter a is defined twice"),
        ("a {x, x} [x]", "line 1: value x of a is given twice"),
        ("a {x, } [x]", "line 1: value '' of a"),
        ("a {x y} [x y]", "line 1: value 'x y' of a"),
        ("a {x, y} [x]i", "line 1: 'i' behind the categorical parameter a"),
        ("a {x, y] [x]", "line 1: found 'a {x, y] [x]'"),
        ("a [0, 1] [2]", "line 1: default 2 of a, expected it in [0, 1]"),
        ("a [0, 1]", "line 1: found 'a [0, 1]'"),
        ("a [0, 1, 2] [1]", "line 1: range of a has 3 numbers"),
        ("a [1, 1] [1]", "line 1: range [1, 1] of a, expected low < high"),
        ("a [2, 1] [1]", "expected low < high"),
        ("a [0, 1] [0.5]l", "line 1: lower bound 0 of a, expected more than 0 on a log scale"),
        ("a [-1, 1] [0.5]l", "expected more than 0"),
        ("a [1, 2.5] [1]i", "line 1: 2.5 in the range of a, expected an integer"),
        ("a [1, 5] [1.5]i", "line 1: 1.5 in the range of a, expected an integer"),
        ("a [1, x] [1]", "line 1: 'x' in the range of a, expected a number"),
        ("a [0, inf] [1]", "line 1: 'inf' in the range of a"),
        ("a [0, 1] [1]x", "line 1: 'x' behind the range of a"),
        ("a real [0, 1] [1]", "line 1: found 'a real [0, 1] [1]'"),
        ("a-b [0, 1] [1]", "line 1: parameter name 'a-b'"),
        ("Big [0, 1] [1]", "line 1: parameter name 'Big'"),
        ("seed [0, 1] [1]", "line 1: parameter name 'seed'"),
        ("next {x, y} [x]", "line 1: parameter name 'next' is a word of R, which irace reads: ren"),
        ("if [0, 1] [1]", "line 1: parameter name 'if' is a word of R"),
        ("a {x, NA} [x]", "line 1: value NA of a is no value to R, which irace is in: rename it"),
        (
            "a [0.1, 0.1000000000001] [0.1]",
            "line 1: range [0.1, 0.1000000000001] of a, expected bounds that differ in 12 decimal",
        ),
        ("a [0.00000000000004, 1] [1]l", "expected bounds that differ in 12 decimal places: scale"),
        ("a [1e-13, 2e-13] [1e-13]", "expected bounds that differ in 12 decimal places"),
        ("a {x, y} [x]\nb | a in {x}", "line 2: condition on unknown parameter 'b'"),
        ("a {x, y} [x]\na | b in {x}", "line 2: unknown parameter 'b'"),
        ("a {x, y} [x]\nb [0, 1] [1]\nb | a in {z}", "line 3: value 'z' of a, expected one of"),
        ("a {x, y} [x]\nb [0, 1] [1]\nb | a == x", "line 3: found 'b | a == x'"),
        ("a {x, y} [x]\nb [0, 1] [1]\nb | a in {x} && a in {y}", "line 3: found"),
        ("a [0, 1] [1]\nb [0, 1] [1]\nb | a in {1}", "line 3: a is numeric"),
        ("a {x} [x]\nb {x} [x]\na | b in {x}\nb | a in {x}", "line 4: conditions form a cycle"),
        ("a {x} [x]\na | a in {x}", "line 2: conditions form a cycle"),
        ("a {x, y} [x]\n{a=z}", "line 2: value 'z' of a"),
        ("a {x, y} [x]\n{c=z}", "line 2: unknown parameter 'c'"),
        ("a {x, y} [x]\n{a=y, a=x}", "line 2: parameter a is named twice"),
        ("a {x, y} [x]\n{a==y}", "line 2: found '{a==y}'"),
        ("a {x, y} [x]\n{a=y", "line 2: found '{a=y'"),
        ("a {x, y} [x]\n{a=x}", "line 2: {a=x} forbids the default configuration"),
    ],
)
def test_an_odd_line_is_refused_with_its_number(text: str, message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_pcs(text, "own.pcs")
    assert str(refusal.value).startswith("own.pcs, line ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_comments_headers_and_spaces_do_not_matter() -> None:
    tidy = read_pcs("a {x, y} [x]\nb [1, 8] [2]il\nb | a in {x, y}\n{a=y}", "t")
    untidy = read_pcs(
        "# all\n\n  a  {x,y}[x] # one\nb [1,8][2]li\nConditionals:\nb|a in {x,y}\n"
        "Forbidden:\n{ a=y }",
        "t",
    )
    assert tidy == untidy


def test_the_space_of_a_variant_is_its_own_and_then_the_shared_one(toys: Path) -> None:
    toy = Variant("toy", toys / "target_algorithms/toy")
    assert variant_space(toy) == read_pcs(OWN_PCS + SHARED_PCS.read_text(), "t")


def test_the_variants_are_those_of_the_checkout_and_of_the_roots_outside_it(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARSE_ACLIB_PATH", raising=False)
    folders = {file.parent.name for file in (ROOT / "target_algorithms").glob("*/algorithm.py")}
    assert list(variants()) == sorted(folders) and roots() == (ROOT,)
    toy = Variant("toy", toys / "target_algorithms/toy")
    assert list(variants(also=[toys])) == sorted([*folders, "toy"])
    assert variant("toy", also=[toys]) == toy
    monkeypatch.setenv("SPARSE_ACLIB_PATH", f"{toys}:{toys}:{ROOT}:")
    assert roots() == (ROOT, toys)
    assert variants(also=[toys]) == variants() and variant("toy") == toy
    for unknown in ("nosuch", "../toy", ""):
        with pytest.raises(BadInput, match="unknown variant .* expected one of .*, toy"):
            variant(unknown)


def test_a_variant_that_two_roots_have_is_refused_with_both_places(
    on_the_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    shutil.copytree(on_the_path, second)
    monkeypatch.setenv("SPARSE_ACLIB_PATH", f"{on_the_path}:{second}")
    places = f"{on_the_path}/target_algorithms/toy and {second}/target_algorithms/toy"
    with pytest.raises(BadInput, match=f"two variants are called toy: {places}; rename one"):
        variants()


def test_a_root_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE_ACLIB_PATH", "/nosuch")
    with pytest.raises(BadInput, match="no folder /nosuch, expected one by SPARSE_ACLIB_PATH"):
        roots()


# What a variant or a scenario fixes and narrows ---------------------------------------------------


def toy_with(toys: Path, lines: str) -> Variant:
    toy = Variant("toy", toys / "target_algorithms/toy")
    toy.pcs.write_text(OWN_PCS + lines)
    return toy


def fixed_in(space: Space) -> dict[str, object]:
    return {constant.name: constant.value for constant in space.constants}


@pytest.mark.parametrize(
    ("line", "value", "gone"),
    [
        ("batch_size {16} [16]", 16, set()),
        ("momentum {0.5} [0.5]", 0.5, set()),
        ("learning_rate_sgd {0.1} [0.1]", 0.1, set()),
        ("optimizer {sgd} [sgd]", "sgd", {"learning_rate_adamw", "beta2"}),
        ("norm {none} [none]", "none", {"sparse_gradient_correction"}),
        ("alone {a} [a]", "a", set()),
        ("alone {0.25} [0.25]", 0.25, set()),
        ("alone {3} [3]", 3, set()),
    ],
)
def test_a_parameter_that_a_variant_gives_one_value_is_fixed_and_reaches_the_trial(
    toys: Path, line: str, value: object, gone: set[str]
) -> None:
    space, name = variant_space(toy_with(toys, line)), line.split()[0]
    whole = variant_space(toy_with(toys, ""))
    assert set(space.by_name) == set(whole.by_name) - {name} - gone
    assert fixed_in(space) == {name: value}
    completed = space.complete(space.default)
    assert completed == {**space.default, name: value}
    assert type(completed[name]) is type(value)
    with pytest.raises(BadInput, match=f"parameter {name} is fixed at {value} here: leave it out"):
        space.check(completed)


def test_a_fixed_parameter_reaches_a_trial_only_where_it_is_active(toys: Path) -> None:
    space = variant_space(toy_with(toys, "momentum {0.5} [0.5]\n"))
    drawn = [space.sample(random.Random(seed)) for seed in range(20)]
    assert {config["optimizer"] for config in drawn} == {"sgd", "adamw"}
    for config in drawn:
        assert "momentum" not in config
        assert ("momentum" in space.complete(config)) == (config["optimizer"] == "sgd")


def test_a_shared_parameter_defined_again_is_narrowed_and_has_the_default_given(
    toys: Path,
) -> None:
    again = "activation {gelu, relu, srelu} [gelu]\nmomentum [0, 0.5] [0]\n"
    lines = f"batch_size [32, 128] [100]il\n{again}"
    space, whole = variant_space(toy_with(toys, lines)), variant_space(toy_with(toys, ""))
    batch = space.by_name["batch_size"]
    assert (batch.low, batch.high, batch.default, batch.log) == (32, 128, 100, True)
    assert space.by_name["activation"].choices == ("gelu", "relu", "srelu")
    assert (space.by_name["momentum"].high, space.default["momentum"]) == (0.5, 0)
    # all_relu is no choice any more, so what depends on it is gone.
    assert list(space.by_name) == [name for name in whole.by_name if name != "all_relu_slope"]
    assert space.constants == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("momentum {0.5} [0.5]\nmomentum {0.5} [0.5]", "momentum is defined twice"),
        ("momentum {1.5} [1.5]", "parameter momentum is '1.5', expected a number in [0, 0.99]"),
        ("momentum {fast} [fast]", "parameter momentum is 'fast', expected a number"),
        ("momentum {0.1, 0.5} [0.5]", "expected {value} or a range of it as in recipe.pcs: a num"),
        (
            "batch_size [8, 64] [16]il",
            "parameter batch_size is 8, expected an integer in [16, 512]",
        ),
        ("batch_size [16, 64] [16]i", "expected {value} or a range of it as in recipe.pcs: an int"),
        ("batch_size {16.5} [16.5]", "parameter batch_size is '16.5', expected an integer"),
        ("norm {none, group} [none]", "parameter norm is 'group', expected one of none, batch"),
        ("norm [0, 1] [0]", "expected {value} or a range of it as in recipe.pcs: one of none"),
    ],
)
def test_what_is_no_part_of_a_shared_parameter_is_refused_with_its_line(
    toys: Path, lines: str, message: str
) -> None:
    toy = toy_with(toys, lines)
    with pytest.raises(BadInput) as refusal:
        variant_space(toy)
    assert str(refusal.value).startswith(f"{toy.pcs}, line ")
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_wrong_line_of_a_variants_own_file_is_named_with_the_file(toys: Path) -> None:
    toy = Variant("toy", toys / "target_algorithms/toy")
    toy.pcs.write_text("a {x, y} [z]\n")
    with pytest.raises(BadInput, match=f"^{toy.pcs}, line 1: default 'z' of a"):
        variant_space(toy)
    toy.pcs.unlink()
    with pytest.raises(BadInput, match=rf"^{toy.pcs}: cannot be read \(No such file"):
        variant_space(toy)


def test_the_name_of_a_configuration_depends_on_its_values_only() -> None:
    assert canonical({"b": 1, "a": 0.1}) == '{"a":0.1,"b":1}'
    assert config_id({"b": 1, "a": 0.1}) == config_id({"a": 0.1, "b": 1})
    assert config_id({"a": 1}) != config_id({"a": 2})
    assert len(config_id({})) == 12


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers()))
def test_a_number_written_out_reads_back(number: float) -> None:
    text = number_text(number)
    assert float(text) == float(number) and "e" not in text


# Parameters that a scenario fixes ----------------------------------------------------------------

FIXABLE = read_pcs(
    """path {constant, cubic} [constant]
start {density, factor} [density]
density [0.1, 1.0] [0.5]
fraction [0.1, 0.9] [0.3]
mask {random, scored} [random]
depth [-1, 1] [0]i
start | path in {cubic}
density | start in {density}
fraction | path in {constant}
{mask=scored, path=cubic}
{mask=scored, start=factor}
""",
    "t",
)


def test_a_fixed_parameter_is_gone_with_what_is_never_active_then() -> None:
    constant = FIXABLE.fixed({"path": "constant", "unknown": "x"})
    assert list(constant.by_name) == ["fraction", "mask", "depth"]
    assert constant.conditions == () == constant.forbidden
    assert constant.check({"fraction": 0.5, "mask": "scored", "depth": 1})


def test_what_a_fixed_parameter_makes_active_stays_and_so_do_its_clauses() -> None:
    cubic = FIXABLE.fixed({"path": "cubic", "depth": 0})
    assert list(cubic.by_name) == ["start", "density", "mask"]
    assert [str(condition) for condition in cubic.conditions] == ["start in {density}"]
    assert cubic.forbidden == ((("mask", "scored"),), (("mask", "scored"), ("start", "factor")))


CHAIN = read_pcs(
    """outer {on, off} [on]
inner {a, b, c} [a]
leaf [0, 1] [0.5]
other {x, y} [x]
inner | outer in {on}
leaf | inner in {a, b}
{inner=a, other=y}
""",
    "t",
)


def test_what_depended_on_a_constant_depends_on_what_the_constant_depends_on() -> None:
    space = CHAIN.fixed({"inner": "a"})
    assert list(space.by_name) == ["outer", "leaf", "other"]
    assert [str(c) for c in space.conditions_of("leaf")] == ["outer in {on}"]
    assert space.forbidden == ((("other", "y"), ("outer", "on")),)
    off = space.check({"outer": "off", "other": "y"})
    assert space.complete(off) == off
    on = space.check({"outer": "on", "leaf": 0.5, "other": "x"})
    assert CHAIN.check(space.complete(on)) == space.complete(on)


@given(st.integers(0, 2**32), st.data())
def test_whatever_is_fixed_or_narrowed_a_completed_sample_is_one_of_the_whole_space(
    seed: int, data: st.DataObject
) -> None:
    """And has all its active parameters: nothing goes missing, nothing is left over."""
    wholes = [read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs"), CHAIN]
    whole = data.draw(st.sampled_from(wholes))
    changed = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(whole.by_name)), max_size=6)):
        parameter = whole.by_name[name]
        if parameter.choices:
            values = data.draw(
                st.lists(st.sampled_from(parameter.choices), min_size=1, unique=True)
            )
        else:
            values = data.draw(st.sampled_from([[parameter.low], [parameter.default]]))
        changed[name] = parameter.narrowed(values)
    try:
        space = whole.narrowed(changed)
        config = space.sample(random.Random(seed))
    except BadInput:  # nothing that is allowed is left, or not the default
        return
    completed = space.complete(config)
    assert whole.check(completed) == {
        name: completed[name] for name in whole.by_name if name in completed
    }
    assert read_pcs(old_pcs(space), "t") == space


def test_a_combination_that_leaves_no_default_is_refused() -> None:
    for changed in ({"path": "cubic", "mask": "scored"}, {"mask": "scored", "start": "factor"}):
        with pytest.raises(BadInput, match="is forbidden and the default"):
            FIXABLE.fixed(changed).fixed({"path": "cubic"})


def test_fixing_nothing_changes_nothing() -> None:
    assert FIXABLE.fixed({}) == FIXABLE


def test_a_scenario_may_have_other_defaults_but_only_ones_in_range() -> None:
    other = FIXABLE.with_defaults({"depth": 1, "mask": "scored", "unknown": "x"})
    assert other.default == FIXABLE.default | {"depth": 1, "mask": "scored"}
    assert other.conditions == FIXABLE.conditions and other.forbidden == FIXABLE.forbidden
    with pytest.raises(BadInput, match=r"depth is 2, expected an integer in \[-1, 1\]"):
        FIXABLE.with_defaults({"depth": 2})


# Files with mistakes nobody thought of ------------------------------------------------------------


bounded = settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD = (
    *"{}[]|=,#: \t\n\r\f\v\0-+._/'\"0aeilZ٣ß\u2028\ud800",
    *("NA", "nan", "inf", "1e999", "-0", "1e-320", "9" * 400, "in", "if", "{}", "[]", "{a=b}"),
    *(
        "norm {none} [none]",
        "momentum [0, 0.1] [0]",
        "batch_size {16} [16]",
        "optimizer {sgd} [sgd]",
    ),
)


def mutated(text: str) -> st.SearchStrategy[str]:
    """A text with a few characters, words and lines removed, put in, doubled and exchanged."""

    def apply(steps: list[tuple[str, int, int, str]]) -> str:
        changed = text
        for kind, first, second, word in steps:
            a, b = sorted((first % (len(changed) + 1), second % (len(changed) + 1)))
            lines = changed.splitlines(keepends=True) or [""]
            one, other = first % len(lines), second % len(lines)
            if kind == "insert":
                changed = changed[:a] + word + changed[a:]
            elif kind == "cut":
                changed = changed[:a] + changed[min(b, a + 12) :]
            elif kind == "replace":
                changed = changed[:a] + word + changed[a + 1 :]
            elif kind == "exchange":
                lines[one], lines[other] = lines[other], lines[one]
                changed = "".join(lines)
            else:
                changed = "".join([*lines, lines[one]])
        return changed

    kinds = st.sampled_from(["insert", "cut", "replace", "exchange", "double"])
    place = st.integers(0, 10_000)
    step = st.tuples(kinds, place, place, st.sampled_from(ODD))
    return st.lists(step, min_size=1, max_size=4).map(apply)


def one_line(error: BadInput) -> None:
    assert len(str(error).splitlines()) == 1, str(error)


def whole(space: Space) -> None:
    """A space that was read can be used: checked, completed, written and read again."""
    assert space.check(space.default) == space.default
    assert set(space.complete(space.default)) >= set(space.default)
    assert read_pcs(old_pcs(space), "t") == space
    if space.parameters:
        assert parameters(space) and configspace_json(space)


@bounded
@given(mutated(OWN_PCS + RECIPE_PCS))
def test_a_parameter_file_with_mistakes_is_refused_in_one_line_or_is_a_space(text: str) -> None:
    try:
        space = read_pcs(text, "own.pcs")
    except BadInput as error:
        one_line(error)
        assert str(error).startswith("own.pcs, line ")
    else:
        whole(space)


@bounded
@given(text=mutated(OWN_PCS + "momentum {0.5} [0.5]\nbatch_size [32, 64] [32]il\n"))
def test_a_variant_s_file_with_mistakes_is_refused_in_one_line_or_is_a_space(
    text: str, toys: Path
) -> None:
    toy = Variant("toy", toys / "target_algorithms" / "toy")
    toy.pcs.write_bytes(text.encode(errors="surrogatepass"))
    try:
        space = variant_space(toy)
    except BadInput as error:
        one_line(error)
        assert str(toy.pcs) in str(error)
    else:
        whole(space)


@bounded
@given(text=mutated(SCENARIO.replace("256-256", "256-256 --only norm:none,momentum:0.1/0.9")))
def test_a_scenario_with_mistakes_is_refused_in_one_line_or_is_one(text: str, toys: Path) -> None:
    file = toys / "scenarios" / "toys" / "toy" / "scenario.txt"
    file.write_bytes(text.encode(errors="surrogatepass"))
    try:
        scenario = read(file.parent, check_paramfile=False)
    except BadInput as error:
        one_line(error)
    else:
        whole(scenario.space)
        assert parse_options(scenario.options.words) == scenario.options


CALL = "toy --active-weights 9 --training-samples 9 --hidden 9-9 --instance i --cutoff 6 --seed 1"


@bounded
@given(mutated(f"{CALL} --config -norm none -momentum 0.5"))
def test_a_call_with_mistakes_is_refused_in_one_line_or_is_one(text: str) -> None:
    try:
        options = parse_options(parse(text.split(" ")).options)
    except BadInput as error:
        one_line(error)
    else:
        assert isinstance(options, Options)


def test_the_mutations_leave_some_files_valid_and_spoil_others() -> None:
    """Else the tests above would see one side only."""
    outcomes = set()

    @bounded
    @given(mutated(OWN_PCS))
    def look(text: str) -> None:
        try:
            read_pcs(text, "t")
            outcomes.add("valid")
        except BadInput:
            outcomes.add("refused")

    look()
    assert outcomes == {"valid", "refused"}


@pytest.mark.parametrize("text", ["", "\n", "#"])
def test_a_file_that_says_nothing_is_a_space_of_nothing(text: str) -> None:
    assert read_pcs(text, "t") == Space(())
