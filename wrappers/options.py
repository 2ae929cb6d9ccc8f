"""The fixed options of a target algorithm: what a scenario grants and no configurator may change.

They stand between the variant and the instance on the command line and, in a scenario, at the end
of its `algo` line. Standard library only: each trial imports this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from target_algorithms.errors import BadInput

USAGE = (
    "[--active-weights N [--peak-weights N]] (--training-samples N | --training-flops N) "
    "(--hidden N[-N...] | --network NAME) [--engine auto|masked|sparse] [--device cpu|cuda] "
    "[--memory-limit MIB]"
)

MEMORY_LIMIT = 4096

_COUNTS = ("active_weights", "peak_weights", "training_samples", "training_flops", "memory_limit")
_CHOICES = {"engine": ("auto", "masked", "sparse"), "device": ("cpu", "cuda")}
_EITHER = (("training_samples", "training_flops"), ("hidden", "network"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """The budgets and the network of a scenario."""

    active_weights: int | None = None
    """Budget of active weights; None for the dense reference."""
    peak_weights: int | None = None
    """Active weights allowed on the way there, for methods that prune during training; None: no
    more than the budget at any step."""
    training_samples: int | None = None
    """Training budget: rows presented to the network over the whole training (type P), or"""
    training_flops: int | None = None
    """its price in floating-point operations by the ledger (type F)."""
    hidden: tuple[int, ...] | None = None
    """Nominal widths of the hidden layers of a multi-layer perceptron, first to last, or"""
    network: str | None = None
    """a convolutional architecture: lenet5, wrn-16-2, wrn-22-2."""
    engine: str = "auto"
    """`masked`, `sparse` or chosen by the trial; see target_algorithms/engines.py."""
    device: str = "cpu"
    memory_limit: int = MEMORY_LIMIT
    """Memory a trial may take, MiB."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command line that `parse_options` reads back to this."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = "-".join(map(str, value)) if field.name == "hidden" else str(value)
                words += [_option(field.name), text]
        return tuple(words)

    @property
    def fixed(self) -> dict[str, str | int]:
        """Parameters that these options leave no choice of, with their values.

        Without a peak there is no way to hold more weights than the budget; a convolutional
        network has the depth that its name says.
        """
        values: dict[str, str | int] = {}
        if self.peak_weights is None:
            values["density_path"] = "constant"
        if self.network is not None:
            values["depth_change"] = 0
        return values

    @property
    def defaults(self) -> dict[str, str | int]:
        """Defaults that belong to the network, in place of those of training.pcs.

        Every convolutional network of the sparse-training literature has batch normalisation;
        without it the suite's learning rate, made for perceptrons, ends in a guess.
        """
        return {} if self.network is None else {"norm": "batch"}

    @property
    def request(self) -> dict[str, object]:
        """What a trial is told of them: JSON values, only those that are set."""
        told: dict[str, object] = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default and field.name != "memory_limit"
        }
        if self.hidden is not None:
            told["hidden"] = list(self.hidden)
        return told


def parse_options(words: Sequence[str]) -> Options:
    """The options of a command line's words, `--name value` pairs in any order.

    Raises BadInput for an unknown, repeated, missing or malformed option.
    """
    known = {_option(field.name): field.name for field in fields(Options)}
    given: dict[str, str] = {}
    for position in range(0, len(words), 2):
        word = words[position]
        if word not in known:
            raise BadInput(f"unknown option {word!r}, expected {USAGE}")
        if known[word] in given:
            raise BadInput(f"option {word} is given twice")
        if position + 1 == len(words):
            raise BadInput(f"option {word} has no value, expected {USAGE}")
        given[known[word]] = words[position + 1]
    for one, other in _EITHER:
        if one not in given and other not in given:
            raise BadInput(f"option {_option(one)} is missing, expected {USAGE}")
        if one in given and other in given:
            raise BadInput(f"option {_option(other)} does not go with {_option(one)}")
    if "peak_weights" in given and "active_weights" not in given:
        raise BadInput("option --peak-weights needs --active-weights")
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name in _COUNTS:
            values[name] = _positive(name, text)
        elif name == "hidden":
            values[name] = tuple(_positive(name, width) for width in text.split("-"))
        elif name in _CHOICES and text not in _CHOICES[name]:
            expected = " or ".join(_CHOICES[name])
            raise BadInput(f"option {_option(name)} is {text!r}, expected {expected}")
        else:
            values[name] = text
    options = Options(**values)
    if options.peak_weights is not None and options.peak_weights < (options.active_weights or 0):
        raise BadInput(
            f"option --peak-weights is {options.peak_weights}, expected at least the "
            f"{options.active_weights} of --active-weights"
        )
    return options


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _positive(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
        expected = "positive integers such as 256-256" if name == "hidden" else "a positive integer"
        raise BadInput(f"option {_option(name)} is {text!r}, expected {expected}")
    return int(text)
