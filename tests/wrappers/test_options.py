"""Options of a scenario: words in, words out, and what cannot be meant."""

import re

import msgspec
import pytest

from sparse_training.errors import BadInput
from target_algorithms.contract import Options
from wrappers.aclib import parse_options


@pytest.mark.parametrize(
    "options",
    [
        Options(training_samples=1, hidden=(7,)),
        Options(training_samples=20000, hidden=(300, 100), active_weights=5),
        Options(training_samples=2, hidden=(1, 2, 3), active_weights=5, memory_limit=512),
        Options(training_flops=10**12, hidden=(8,), active_weights=5, peak_weights=9),
        Options(training_samples=2, network="lenet5", engine="masked", device="cuda"),
    ],
)
def test_options_survive_the_command_line(options: Options) -> None:
    assert parse_options(options.words) == options


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
        ("--hidden 8 --training-flops 1e9", "--training-flops is '1e9', expected a positive"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(words: str, message: str) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        parse_options(words.split())
