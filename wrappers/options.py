"""The fixed options of a target algorithm: what a scenario grants and no configurator may change.

They stand between the variant and the instance on the command line and, in a scenario, at the end
of its `algo` line. Standard library only: each trial imports this module.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from target_algorithms.errors import BadInput

USAGE = "--active-weights N --training-samples N --hidden N[-N...] [--memory-limit MIB]"

_NAMES = ("--active-weights", "--training-samples", "--hidden", "--memory-limit")


@dataclass(frozen=True)
class Options:
    """The budgets and the network of a scenario."""

    training_samples: int
    """Training budget: rows presented to the network over the whole training."""
    hidden: tuple[int, ...]
    """Nominal widths of the hidden layers, first to last."""
    active_weights: int | None = None
    """Budget of active weights at any step; None for the dense reference."""
    memory_limit: int = 4096
    """Memory a trial may take, MiB."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command line that `parse_options` reads back to this."""
        budget = () if self.active_weights is None else ("--active-weights", self.active_weights)
        hidden = "-".join(map(str, self.hidden))
        memory = () if self.memory_limit == 4096 else ("--memory-limit", self.memory_limit)
        return tuple(
            map(
                str,
                (*budget, "--training-samples", self.training_samples, "--hidden", hidden, *memory),
            )
        )

    @property
    def request(self) -> dict[str, object]:
        """What a trial is told of them: JSON values, `active_weights` absent for dense."""
        told: dict[str, object] = {
            "training_samples": self.training_samples,
            "hidden": list(self.hidden),
        }
        if self.active_weights is not None:
            told["active_weights"] = self.active_weights
        return told


def parse_options(words: Sequence[str]) -> Options:
    """The options of a command line's words, `--name value` pairs in any order.

    Raises BadInput for an unknown, repeated, missing or malformed option.
    """
    given: dict[str, str] = {}
    for position in range(0, len(words), 2):
        name = words[position]
        if name not in _NAMES:
            raise BadInput(f"unknown option {name!r}, expected {USAGE}")
        if name in given:
            raise BadInput(f"option {name} is given twice")
        if position + 1 == len(words):
            raise BadInput(f"option {name} has no value, expected {USAGE}")
        given[name] = words[position + 1]
    for name in ("--training-samples", "--hidden"):
        if name not in given:
            raise BadInput(f"option {name} is missing, expected {USAGE}")
    budget = given.get("--active-weights")
    return Options(
        training_samples=_positive("--training-samples", given["--training-samples"]),
        hidden=tuple(_positive("--hidden", width) for width in given["--hidden"].split("-")),
        active_weights=None if budget is None else _positive("--active-weights", budget),
        memory_limit=_positive("--memory-limit", given.get("--memory-limit", "4096")),
    )


def _positive(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and int(text) > 0):
        expected = (
            "positive integers such as 256-256" if name == "--hidden" else "a positive integer"
        )
        raise BadInput(f"option {name} is {text!r}, expected {expected}")
    return int(text)
