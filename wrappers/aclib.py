"""The two AClib dialects: how a configurator calls a target algorithm, and how it is answered.

Source: the calls and result lines that SMAC 2.08/2.10, SMAC3 <= 1.4, ParamILS 2.3, GPS, irace
(`aclib = 1`), GenericWrapper4AC and AClib 2 send and read.

    VARIANT [--option value]... --instance I --cutoff S --seed N --config -name value ...
    VARIANT [--option value]... I specifics cutoff length seed -name value ...

In both, `--fidelity S` among the options asks for a share of the training budget. They are told
apart by the literal `--config`. The answer to the first is a line of JSON, and then what is the
only line of the other, as GenericWrapper4AC has it; irace needs a line there:

    Result of this algorithm run: {"status": ..., "cost": ..., "runtime": ..., "misc": ...}
    Result for ParamILS: STATUS, runtime, quality, quality, seed, more

Under this name ParamILS and GPS find their answer, and SMAC 2 and SMAC3 1.4 as well. The quality is
in the field of the run length too, because GPS looks for it there. The last field has no comma: the
active weights and the FLOPs of a trial, or what went wrong.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import Field, asdict, dataclass, fields
from typing import Any

from sparse_training.errors import BadInput
from target_algorithms.contract import Options, Result, Trained, check_fidelity, option
from wrappers.space import finite

_NAMED, _POSITIONAL = "Result of this algorithm run: ", "Result for ParamILS: "
_FLAGS = {"--overwrite_cost_runtime"}  # AClib 2 sends it with irace; it changes nothing here


@dataclass(frozen=True)
class Call:
    """What a configurator asks of a target algorithm; nothing is checked against a space yet."""

    variant: str
    options: tuple[str, ...]
    """Words of the fixed options, as the scenario's `algo` line gives them."""
    instance: str
    cutoff: float
    """Wall-clock seconds for the training; infinite when the caller set none."""
    seed: int
    config: dict[str, str]
    named: bool
    """Whether the call used `--config` (and the answer is JSON)."""
    fidelity: float = 1.0
    """Share of the training budget; 1 when the caller says nothing."""


def parse(words: Sequence[str]) -> Call:
    """The call that the words after the program's name make.

    Raises BadInput that names the word in question.
    """
    if not words or words[0].startswith("-"):
        found = repr(words[0]) if words else "nothing"
        raise BadInput(f"the first word must be a variant such as rigl, found {found}")
    variant, rest = words[0], list(words[1:])
    if "--config" in rest:
        at = rest.index("--config")
        options, pairs = _options(rest[:at]), rest[at + 1 :]
        missing = [name for name in ("--instance", "--seed") if name not in options]
        if missing:
            raise BadInput(f"{missing[0]} VALUE is missing before --config")
        instance, seed = options.pop("--instance"), options.pop("--seed")
        cutoff = options.pop("--cutoff", "inf")
    else:
        # Every fixed option takes one value; the first other word is the instance.
        start = 0
        while start < len(rest) and rest[start].startswith("--"):
            start += 2
        options, positional = _options(rest[:start]), rest[start : start + 5]
        if len(positional) < 5:
            raise BadInput(
                "without --config, five words are expected after the fixed options: "
                f"instance specifics cutoff length seed; found {' '.join(positional) or 'none'}"
            )
        instance, _, cutoff, _, seed = positional
        pairs = rest[start + 5 :]
    fidelity = _fidelity(options.pop("--fidelity", "1"))
    return Call(
        variant=variant,
        options=tuple(word for option in options.items() for word in option),
        instance=instance,
        cutoff=_cutoff(cutoff),
        seed=_seed(seed),
        config=_pairs(pairs),
        named="--config" in rest,
        fidelity=fidelity,
    )


def _options(words: Sequence[str]) -> dict[str, str]:
    """`--name value` words as a dictionary.

    A second cutoff replaces the first: irace's own comes behind the one of its scenario.
    """
    words = [word for word in words if word not in _FLAGS]
    options = {}
    for name, value in zip(words[::2], words[1::2], strict=False):
        if not re.fullmatch(r"--\S+", name):
            raise BadInput(f"expected --option VALUE before the configuration, found {name!r}")
        if name in options and name != "--cutoff":
            raise BadInput(f"option {name} is given twice")
        options[name] = value
    if len(words) % 2:
        raise BadInput(f"{words[-1]!r} has no value")
    return options


def _pairs(words: Sequence[str]) -> dict[str, str]:
    config: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=False):
        if not re.fullmatch(r"-+\S+", name):
            raise BadInput(f"the configuration must be pairs of -name value, found {name!r}")
        name = name.lstrip("-")
        if name in config:
            raise BadInput(f"parameter {name} is given twice")
        config[name] = value.strip("'")  # older SMAC quotes values
    if len(words) % 2:
        raise BadInput(f"parameter {words[-1].lstrip('-')!r} has no value")
    return config


def _cutoff(word: str) -> float:
    try:
        cutoff = math.inf if word == "inf" else finite(word)
    except ValueError:
        cutoff = math.nan
    if not cutoff > 0:
        raise BadInput(f"the cutoff must be a positive number of seconds, found {word!r}")
    return cutoff


def _fidelity(word: str) -> float:
    try:
        return check_fidelity(finite(word))
    except ValueError:
        raise BadInput(
            f"the fidelity must be a number above 0 and at most 1, found {word!r}"
        ) from None


def _seed(word: str) -> int:
    if not re.fullmatch(r"-1|[0-9]{1,10}", word) or int(word) >= 2**32:
        raise BadInput(f"the seed must be an integer from 0 to {2**32 - 1}, found {word!r}")
    return int(word)


def answer(named: bool, seed: int, result: Result) -> str:
    """The result lines for a call; always finite numbers, the runtime positive."""
    status, cost = result.status, result.cost
    runtime = max(result.runtime, 0.0005)  # SMAC refuses a runtime of zero
    misc = result.error or _misc(result.trained)
    more = " ".join(misc.replace(",", ";").split())
    fields = [status, f"{runtime:.4f}", f"{cost:.10g}", f"{cost:.10g}", str(seed), more]
    positional = _POSITIONAL + ", ".join(field for field in fields if field)
    if not named:
        return positional
    line = {"status": status, "cost": cost, "runtime": round(runtime, 4), "misc": misc}
    return f"{_NAMED}{json.dumps(line)}\n{positional}"


def _misc(trained: Trained | None) -> str:
    """What else is known of a trial, in one string without quotes or commas."""
    if trained is None:
        return ""
    shown = {
        "active_weights": trained.active_weights,
        "density": trained.density,
        "training_flops": trained.training_flops,
        "inference_flops": trained.inference_flops,
        "engine": trained.engine,
        **asdict(trained.misc),
    }
    return " ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in shown.items()
        if value is not None
    )


# The options of a scenario -----------------------------------------------------------------------

USAGE = (
    "[(--active-weights N | --density SHARE) [--peak-weights N | --peak FACTOR]] "
    "(--training-samples N | --training-flops N | --static-samples N) "
    "(--hidden N[-N...] | --network NAME) [--engine auto|masked|sparse] [--device cpu|cuda] "
    "[--memory-limit MIB] [--only NAME:VALUE[/VALUE...][,NAME:...]]"
)


def parse_options(words: Sequence[str]) -> Options:
    """The options of a command line's words, `--name value` pairs in any order.

    Raises BadInput for an unknown, repeated, missing or malformed option.
    """
    names = {option(field.name): field for field in fields(Options)}
    values: dict[str, Any] = {}
    for position in range(0, len(words), 2):
        word = words[position]
        if word not in names:
            raise BadInput(f"unknown option {word!r}, expected {USAGE}")
        field = names[word]
        if field.name in values:
            raise BadInput(f"option {word} is given twice")
        if position + 1 == len(words):
            raise BadInput(f"option {word} has no value, expected {USAGE}")
        values[field.name] = _option_value(field, words[position + 1])
    return Options(**values)


def _option_value(field: Field[Any], text: str) -> Any:
    """An option's value as its type says; Options checks what it is."""
    if field.name == "hidden":
        return tuple(map(_whole, text.split("-")))
    if field.type == float | None:
        return _decimal(text)
    return _whole(text) if field.type in (int, int | None) else text


def _decimal(text: str) -> float | str:
    """A number written out, or the text as it is where it is none, for Options to refuse."""
    return float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+", text, re.ASCII) else text


def _whole(text: str) -> int | str:
    """A number, or the text as it is where it is none, for Options to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text
