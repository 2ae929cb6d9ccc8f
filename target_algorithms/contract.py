"""What a trial is asked and what it answers, as typed records.

`Options` are what a scenario fixes and no configurator may change: they stand between the variant
and the instance on the command line and, in a scenario, at the end of its `algo` line. Standard
library only: each call imports this module.
"""

import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from sparse_training.errors import BadInput

Value = str | int | float
"""Of a parameter."""

MEMORY_LIMIT = 4096

_COUNTS = (
    *("active_weights", "peak_weights", "training_samples", "training_flops", "static_samples"),
    "memory_limit",
)
_CHOICES = {"engine": ("auto", "masked", "sparse"), "device": ("cpu", "cuda")}
_EITHER = (
    ("active_weights", "density"),
    ("peak_weights", "peak"),
    ("training_samples", "training_flops", "static_samples"),
    ("hidden", "network"),
)
"""Options that stand in each other's place: one of them at most."""
_REQUIRED = _EITHER[2:]
_MOST = 10**18
_WORD = "[a-z][a-z0-9_]*:[A-Za-z0-9_.+/-]+"
_ONLY = re.compile(f"{_WORD}(,{_WORD})*")


def option(name: str) -> str:
    """The word of a command line for a field of `Options`."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The budgets and the network of a scenario. Raises BadInput for what cannot work.

    Budgets are numbers, or relative to the network that the data of an instance make.
    """

    active_weights: int | None = None
    """Budget of active weights, or"""
    density: float | None = None
    """the same as a share of all weights of the network before any change of width and depth, at
    least one a layer; neither for a reference that no budget binds."""
    peak_weights: int | None = None
    """Active weights allowed on the way there, for methods that prune during training, or"""
    peak: float | None = None
    """the same as a multiple of the budget; neither: no more than the budget at any step."""
    training_samples: int | None = None
    """Training budget: rows presented to the network over the whole training (type P), or"""
    training_flops: int | None = None
    """its price in floating-point operations by the ledger (type F), or"""
    static_samples: int | None = None
    """the rows that this price would pay for under a mask of the active weights that never changes
    (type F as well). A reference may name active weights for it alone."""
    hidden: tuple[int, ...] | None = None
    """Nominal widths of the hidden layers of a multi-layer perceptron, first to last, or"""
    network: str | None = None
    """a convolutional architecture: lenet5, wrn-16-2, wrn-22-2."""
    engine: str = "auto"
    """`masked`, `sparse` or chosen by the trial; see `sparse_training.engines.choice`."""
    device: str = "cpu"
    memory_limit: int = MEMORY_LIMIT
    """Memory a trial may take, MiB."""
    only: str | None = None
    """Parameters that have fewer values here, `name:value,name:low/default/high,name:first/second`:
    one value fixes it; several are a range of a number, its default between the bounds or as it
    was, or choices, the first of them the default."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and not _is_count(value):
                raise BadInput(
                    f"option {option(name)} is {reprlib.repr(value)}, expected a positive integer "
                    "below 10^18"
                )
        if self.hidden is not None and not (self.hidden and all(map(_is_count, self.hidden))):
            raise BadInput(
                f"option --hidden is {spelled(self.hidden)!r}, expected positive integers such as "
                "256-256"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadInput(
                    f"option {option(name)} is {getattr(self, name)!r}, expected "
                    f"{' or '.join(choices)}"
                )
        if self.density is not None and not (_is_number(self.density) and 0 < self.density <= 1):
            raise BadInput(
                f"option --density is {reprlib.repr(self.density)}, expected a share of all "
                "weights, above 0 and at most 1, such as 0.01"
            )
        if self.peak is not None and not (_is_number(self.peak) and 1 <= self.peak < _MOST):
            raise BadInput(
                f"option --peak is {reprlib.repr(self.peak)}, expected a multiple of the active "
                "weights, at least 1, such as 4"
            )
        for group in _EITHER:
            given = [option(name) for name in group if getattr(self, name) is not None]
            if len(given) > 1:
                raise BadInput(f"option {given[1]} does not go with {given[0]}")
            if not given and group in _REQUIRED:
                first, *others = map(option, group)
                raise BadInput(f"option {first} is missing, or {', or '.join(others)}")
        for name in ("peak_weights", "peak", "static_samples"):
            if getattr(self, name) is not None and not self.grants("active_weights"):
                raise BadInput(f"option {option(name)} needs --active-weights, or --density")
        least = self.active_weights
        if least is not None and self.peak_weights is not None and self.peak_weights < least:
            raise BadInput(
                f"option --peak-weights is {self.peak_weights}, expected at least the {least} of "
                "--active-weights"
            )
        if self.only is not None:
            names = [word.partition(":")[0] for word in self.only.split(",")]
            if not _ONLY.fullmatch(self.only) or len(set(names)) < len(names):
                raise BadInput(
                    f"option --only is {self.only!r}, expected each parameter once, such as "
                    "norm:none,batch_size:32/128"
                )

    def grants(self, name: str) -> bool:
        """Whether an option is given, or one that stands in its place."""
        group = next((group for group in _EITHER if name in group), (name,))
        return any(getattr(self, each) is not None for each in group)

    def without(self, names: Collection[str]) -> "Options":
        """These options, with nothing said of some parameters by `only`."""
        words = (self.only or "").split(",")
        left = ",".join(word for word in words if word.partition(":")[0] not in names)
        return replace(self, only=left or None)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of a command line that say this."""
        words: list[str] = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                words += [option(each.name), spelled(value)]
        return tuple(words)

    @property
    def fixed(self) -> dict[str, Value]:
        """Parameters that these options leave no choice of, with their values.

        Without a peak there is no way to hold more weights than the budget; a convolutional
        network has the depth that its name says.
        """
        values: dict[str, Value] = {}
        if not self.grants("peak_weights"):
            values["density_path"] = "constant"
        if self.network is not None:
            values["depth_change"] = 0
        return values

    @property
    def narrowed(self) -> dict[str, tuple[str, ...]]:
        """The values that `only` leaves of parameters."""
        pairs = (word.partition(":") for word in (self.only or "").split(",") if word)
        return {name: tuple(values.split("/")) for name, _, values in pairs}

    @property
    def defaults(self) -> dict[str, Value]:
        """Defaults that belong to the network, in place of those of recipe.pcs.

        Every convolutional network of the sparse-training literature has batch normalisation;
        without it the suite's learning rate, made for perceptrons, ends in a guess.
        """
        return {} if self.network is None else {"norm": "batch"}


def spelled(value: object) -> str:
    """A value as a command line says it: widths with dashes between them, no 1e-05, no 4.0."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{Decimal(repr(value)).normalize():f}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One evaluation of a configuration."""

    variant: str
    folder: str
    """Where the variant's algorithm.py lies."""
    options: Options
    instance: str
    """Its id, of any form that `sparse_training.data.instances` has."""
    seed: int
    """>= 0."""
    config: Mapping[str, Value]
    """The active parameters, typed and checked against the variant's space."""
    cutoff: float | None = None
    """Wall-clock seconds it may take; None: as long as it wants. Enforced from outside."""
    fidelity: float = 1.0
    """Share of the scenario's training budget that it is given, above 0 and at most 1. Schedules
    are those of the shorter run: whatever goes by a share of the training budget still does."""

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)


def check_fidelity(share: float) -> float:
    """The share as it is. Raises BadInput for none."""
    if not 0.0 < share <= 1.0:
        raise BadInput(
            f"the fidelity is {share!r}, expected a share of the training budget, above 0 and at"
            " most 1"
        )
    return share


def column(doc: str, *, unit: str = "", **default: Any) -> Any:
    """A field of a record that results/README.md documents; `default` as of `dataclasses.field`."""
    return field(metadata={"doc": doc, "unit": unit}, **default)


@dataclass(frozen=True, kw_only=True)
class Details:
    """What else is known of a trial; None where it did not get so far or means nothing."""

    diverged: bool | None = column("whether training diverged", default=None)
    samples: int | None = column("training rows consumed", default=None)
    steps: int | None = column("optimiser steps", default=None)
    updates: int | None = column("updates of the mask", default=None)
    final_weights: int | None = column("weights active in the trained network", default=None)
    explored: float | None = column("fraction of the positions ever active", default=None)
    dead_neurons: int | None = column(
        "hidden neurons without an active weight in or out", default=None
    )
    disconnected_neurons: int | None = column(
        "hidden neurons on no path from an input to an output", default=None
    )
    disconnected_outputs: int | None = column("outputs that no input reaches", default=None)
    test_rows: int | None = column("rows that the cost is over", default=None)
    error: str | None = column("why the trial has no cost of its own", default=None)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trial answers when it has come to its end."""

    cost: float
    active_weights: int
    weights: int
    density: float
    training_flops: float
    inference_flops: float
    engine: str
    misc: Details


WORST_COST = 1.0
"""Cost of a trial without a result: every prediction wrong."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a trial: what the evaluator hands back."""

    status: str
    """SUCCESS, TIMEOUT, CRASHED or ABORT."""
    runtime: float = 0.0
    cpu_time: float = 0.0
    peak_memory: float = 0.0
    error: str | None = None
    """One line, where nothing was trained: the status is not SUCCESS, or it is and the scenario's
    budget does not pay for the configuration, which has the worst cost as one that diverges."""
    trained: Trained | None = None
    """Where something was."""
    started: str = ""
    worker: str = ""

    @property
    def cost(self) -> float:
        """What a configurator minimises."""
        return WORST_COST if self.trained is None else self.trained.cost


def failure(status: str, reason: str) -> Result:
    """The result of a trial that has no cost of its own."""
    return Result(status=status, error=reason)
