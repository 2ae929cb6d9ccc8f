"""The two dialects: calls in, result lines out; the options of a scenario."""

import json
import re
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from target_algorithms.contract import Details, Options, Result, Trained, failure
from wrappers.aclib import Call, answer, parse, parse_options


def trained(misc: Details) -> Trained:
    return Trained(
        cost=0.125,
        active_weights=500,
        weights=3392,
        density=0.25,
        training_flops=6e6,
        inference_flops=1000.0,
        engine="sparse",
        misc=misc,
    )


RESULT = Result(status="SUCCESS", runtime=1.5, trained=trained(Details()))
FIXED = ["--active-weights", "1000", "--hidden", "256-256"]


def expected(named: bool, cutoff: float = 10.0, seed: int = 17) -> Call:
    config = {"lr": "1.0E-4", "kind": "a"}
    return Call("mine", tuple(FIXED), "sklearn/digits/0/3", cutoff, seed, config, named)


def test_config_dialect_is_read_with_its_options_in_any_order() -> None:
    words = ["--seed", "17", "--instance", "sklearn/digits/0/3", "--cutoff", "10"]
    pairs = ["--config", "-lr", "1.0E-4", "--kind", "a"]
    assert parse(["mine", *FIXED, *words, *pairs]) == expected(named=True)
    assert parse(["mine", *words, *FIXED, "--overwrite_cost_runtime", *pairs]) == expected(True)


@pytest.mark.parametrize("specifics", ["", "0", "empty", "some-text"])
@pytest.mark.parametrize("cutoff", ["10", "10.0"])
@pytest.mark.parametrize("length", ["0", "2147483647", "92233720"])
def test_positional_dialect_is_read_as_every_known_client_writes_it(
    specifics: str, cutoff: str, length: str
) -> None:
    words = ["sklearn/digits/0/3", specifics, cutoff, length, "17", "-lr", "1.0E-4", "-kind", "'a'"]
    assert parse(["mine", *FIXED, *words]) == expected(named=False)


@pytest.mark.parametrize("named", [True, False])
def test_a_share_of_the_training_budget_is_asked_for_beside_the_options(named: bool) -> None:
    call = ["--instance", "i", "--seed", "1", "--config"] if named else ["i", "0", "9", "0", "1"]
    assert parse(["mine", *FIXED, *call]).fidelity == 1.0
    asked = parse(["mine", *FIXED[:2], "--fidelity", "0.25", *FIXED[2:], *call, "-lr", "1"])
    assert asked.fidelity == 0.25 and asked.options == tuple(FIXED) and asked.config == {"lr": "1"}
    for wrong in ("0", "-0.5", "1.01", "nan", "half", "inf", ""):
        with pytest.raises(BadInput, match=f"the fidelity must be a number .* found '{wrong}'"):
            parse(["mine", *FIXED, "--fidelity", wrong, *call])


def test_a_missing_cutoff_is_no_limit_and_a_second_one_replaces_the_first() -> None:
    words = ["mine", "--instance", "i", "--seed", "-1"]
    assert parse([*words, "--config"]).cutoff == float("inf")
    assert parse([*words, "--cutoff", "60", "--cutoff", "5", "--config"]).cutoff == 5.0
    assert parse([*words, "--config"]).seed == -1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "first word must be a variant"),
        (["--seed", "1"], "first word must be a variant"),
        (["mine", "--config"], "--instance VALUE is missing"),
        (["mine", "--instance", "i", "--config"], "--seed VALUE is missing"),
        *(
            (
                ["mine", "--instance", "i", "--seed", seed, "--config"],
                "seed must be an integer from",
            )
            for seed in ("x", "1_0", "١", " 1\n", "1.0", "-2", "+1", "", str(2**32), "9" * 5000)
        ),
        *((["mine", "i", "0", "10", "0", seed], "seed must be an int") for seed in ("1_0", "-7")),
        *(
            (["mine", name, "1", "--seed", "1", name, "1", "--config"], f"{name} is given twice")
            for name in ("--instance", "--hidden", "--active-weights")
        ),
        (
            ["mine", "--instance", "i", "--seed", "1", "--seed", "2", "--config"],
            "option --seed is given twice",
        ),
        (["mine", "--instance", "i", "--seed", "1", "--cutoff", "1_0", "--config"], "the cutoff"),
        (["mine", "i", "0", "ten", "0", "1"], "cutoff must be a positive number"),
        (["mine", "i", "0", "-3", "0", "1"], "cutoff must be a positive number"),
        (["mine", "i", "0", "nan", "0", "1"], "cutoff must be a positive number"),
        (["mine", "i", "0", "10"], "five words are expected"),
        (["mine", "i", "0", "10", "0", "1", "lr", "2"], "pairs of -name value, found 'lr'"),
        (["mine", "i", "0", "10", "0", "1", "-lr"], "parameter 'lr' has no value"),
        (["mine", "i", "0", "10", "0", "1", "-lr", "1", "--lr", "2"], "lr is given twice"),
    ],
)
def test_a_malformed_call_is_one_line_that_names_the_word(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)) as raised:
        parse(words)
    assert "\n" not in str(raised.value)


MORE = "active_weights=500 density=0.25 training_flops=6e+06 inference_flops=1000 engine=sparse"


def test_positional_answer_has_the_quality_twice_and_more_in_its_last_field() -> None:
    line = answer(False, 17, RESULT)
    assert line == f"Result for ParamILS: SUCCESS, 1.5000, 0.125, 0.125, 17, {MORE}"


def test_config_answer_is_one_json_line_and_a_line_after_it_as_irace_needs() -> None:
    result = replace(RESULT, trained=trained(Details(diverged=True, explored=0.125)))
    first, second = answer(True, 17, result).splitlines()
    # irace's own pattern (R/race-wrapper.R): greedy braces, then a newline.
    match = re.search(r"Result of this algorithm run:\s*\{(.+)\}\s*\n", f"{first}\n{second}\n")
    assert match and '"cost":' not in match[1].split('"misc"')[1]
    record = json.loads(first.removeprefix("Result of this algorithm run: "))
    assert record == {
        "status": "SUCCESS",
        "cost": 0.125,
        "runtime": 1.5,
        "misc": "active_weights=500 density=0.25 training_flops=6e+06 inference_flops=1000 "
        "engine=sparse diverged=True explored=0.125",
    }
    fields = second.split(", ")
    assert fields[:5] == ["Result for ParamILS: SUCCESS", "1.5000", "0.125", "0.125", "17"]
    assert fields[5:] == [record["misc"]]


def test_a_trial_without_a_result_has_the_worst_cost_and_says_why() -> None:
    first, second = answer(True, 3, failure("TIMEOUT", "stopped at its cutoff of 2 s")).splitlines()
    record = json.loads(first.removeprefix("Result of this algorithm run: "))
    assert record["misc"] == "stopped at its cutoff of 2 s"
    assert second == ("Result for ParamILS: TIMEOUT, 0.0005, 1, 1, 3, stopped at its cutoff of 2 s")


def test_what_went_wrong_is_one_field_of_one_line() -> None:
    line = answer(False, 3, failure("ABORT", "expected a, b or c,\nfound d"))
    assert line == "Result for ParamILS: ABORT, 0.0005, 1, 1, 3, expected a; b or c; found d"


def test_a_runtime_of_zero_is_reported_as_positive_because_smac_refuses_zero() -> None:
    assert answer(False, 1, replace(RESULT, runtime=0.0)).split(", ")[1] == "0.0005"


names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9_.+-]{1,9}", fullmatch=True)


@given(st.dictionaries(names, values), st.integers(-1, 2**31 - 1), st.booleans())
def test_both_dialects_carry_any_configuration(
    config: dict[str, str], seed: int, named: bool
) -> None:
    pairs = [word for name, value in config.items() for word in (f"-{name}", value)]
    positional = ["i", "0", "3", "0", str(seed), *pairs]
    options = ["--instance", "i", "--cutoff", "3", "--seed", str(seed), "--config", *pairs]
    call = parse(["mine", *(options if named else positional)])
    assert (call.config, call.seed, call.cutoff, call.named) == (config, seed, 3.0, named)


# Options of a scenario ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        Options(training_samples=1, hidden=(7,)),
        Options(training_samples=20000, hidden=(300, 100), active_weights=5),
        Options(training_samples=2, hidden=(1, 2, 3), active_weights=5, memory_limit=512),
        Options(training_flops=10**12, hidden=(8,), active_weights=5, peak_weights=9),
        Options(training_samples=2, network="lenet5", engine="masked", device="cuda"),
        Options(static_samples=60_000, hidden=(8,), density=0.01, peak=2.5),
        Options(static_samples=10**17, hidden=(8,), density=5e-324, peak=9.9e17),
        Options(training_flops=9, hidden=(8,), active_weights=5, peak=4.0),
    ],
)
def test_options_survive_the_command_line(options: Options) -> None:
    assert parse_options(options.words) == options


@given(st.floats(0.0, 1.0, exclude_min=True), st.floats(1.0, 1e18, exclude_max=True))
def test_shares_and_factors_survive_the_command_line_to_the_last_bit(
    density: float, peak: float
) -> None:
    options = Options(hidden=(8,), training_samples=9, density=density, peak=peak)
    assert parse_options(options.words) == options
    assert "e" not in options.words[1] + options.words[3]


@pytest.mark.parametrize("peak", ["1", "4", "10", "2.5", "1000000"])
@pytest.mark.parametrize("density", ["0.01", "0.00001", "1", "0.3", "0.123456789"])
def test_a_share_comes_out_as_it_went_in(density: str, peak: str) -> None:
    words = ("--density", density, "--peak", peak, "--static-samples", "9", "--hidden", "8")
    assert parse_options(words).words == words


def test_a_trial_of_a_reference_is_told_of_no_budget() -> None:
    options = parse_options(["--hidden", "8-4", "--training-samples", "9"])
    assert options.words == ("--training-samples", "9", "--hidden", "8-4")
    told = msgspec.json.decode(msgspec.json.encode(options), type=Options)
    assert told == options == Options(training_samples=9, hidden=(8, 4))
    assert told.active_weights is None and told.peak_weights is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--hidden 8", "option --training-samples is missing"),
        ("--training-samples 9", "option --hidden is missing"),
        (
            "--hidden 8 --training-samples 9 --training-flops 9",
            "--training-flops does not go with --training-samples",
        ),
        ("--hidden 8 --network lenet5 --training-samples 9", "does not go with --hidden"),
        ("--hidden 8 --training-samples 9 --engine fast", "'fast', expected auto or masked"),
        ("--hidden 8 --training-samples 9 --device tpu", "is 'tpu', expected cpu or cuda"),
        ("--hidden 8 --training-samples 9 --peak-weights 9", "needs --active-weights"),
        (
            "--hidden 8 --training-samples 9 --active-weights 9 --peak-weights 8",
            "--peak-weights is 8, expected at least the 9",
        ),
        *(
            (
                f"--hidden 8 --training-samples 9 --density {text}",
                f"option --density is {shown}, expected a share of all weights, above 0 and at "
                "most 1, such as 0.01",
            )
            for text, shown in {
                **{"0": "0.0", "0.000": "0.0", "1.01": "1.01", "9" * 400: "inf"},
                **{word: f"'{word}'" for word in ("nan", "inf", "-0.1", "1e-3", "1_0", "1.", "x")},
            }.items()
        ),
        *(
            (
                f"--hidden 8 --training-samples 9 --density 0.1 --peak {text}",
                f"option --peak is {shown}, expected a multiple of the active weights, at least 1",
            )
            for text, shown in {
                **{"0": "0.0", "0.99": "0.99", "9" * 400: "inf", "1" + "0" * 18: "1e+18"},
                **{word: f"'{word}'" for word in ("nan", "inf", "-4", "1e3")},
            }.items()
        ),
        (
            "--hidden 8 --training-samples 9 --active-weights 9 --density 0.1",
            "option --density does not go with --active-weights",
        ),
        (
            "--hidden 8 --training-samples 9 --active-weights 9 --peak 2 --peak-weights 9",
            "option --peak does not go with --peak-weights",
        ),
        (
            "--hidden 8 --training-flops 9 --active-weights 9 --static-samples 9",
            "option --static-samples does not go with --training-flops",
        ),
        (
            "--hidden 8 --density 0.1",
            "option --training-samples is missing, or --training-flops, or --static-samples",
        ),
        (
            "--hidden 8 --static-samples 9",
            "option --static-samples needs --active-weights, or --density",
        ),
        (
            "--hidden 8 --training-samples 9 --peak 2",
            "option --peak needs --active-weights, or --density",
        ),
        (
            "--hidden 8 --density 0.1 --static-samples 0.5",
            "option --static-samples is '0.5', expected a positive integer",
        ),
        ("--hidden 8 --training-flops 1e9", "--training-flops is '1e9', expected a positive"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(words: str, message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        parse_options(words.split())
