"""The target algorithms: a folder each, found by existing.

    <variant>/algorithm.py      its rules put together: parameters in, a `Topology` out
              params.pcs        its own parameters, their ranges and defaults (a selection: none)
              README.md         source, exact rule, defaults, differences
    recipe.pcs, recipe.py       the parameters that all variants share, and what they mean
    contract.py                 what a trial is asked and answers: options, Trial, Result
    trial.py                    one trial: a configuration trained on an instance and evaluated

A variant outside this checkout lies in a folder laid out like it,
`ROOT/target_algorithms/<variant>/`, whose ROOT is in the environment variable SPARSE_ACLIB_PATH
(separated by colons), or above the scenario that names it. This module is of the standard library
only: command lines read parameter spaces without importing numpy.
"""

import enum
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sparse_training.errors import BadInput

if TYPE_CHECKING:
    from sparse_training.rules.topology import Topology

ROOT = Path(__file__).resolve().parents[1]
"""The checkout this code runs from."""

SHARED_PCS = ROOT / "target_algorithms" / "recipe.pcs"
"""The parameters that all variants share."""

CHOSEN = "variant"
"""The parameter of a selection that says which variant is chosen."""


class Role(enum.StrEnum):
    """How a variant takes part in a comparison; its algorithm.py says so as `ROLE`."""

    COMPETITOR = "competitor"
    """It is configured; what a variant is that says nothing."""
    BASELINE = "baseline"
    """It is configured, and its default stands beside every comparison."""
    REFERENCE = "reference"
    """Its default stands beside every comparison, and it is no rival: it has what no configurator
    may buy, such as other widths, or all weights. Whether the budget of active weights binds it
    says its first mask (`within_budget`)."""
    SELECTION = "selection"
    """It is one of the configured variants at a time, whichever its parameter `CHOSEN` names, and
    is compared with the best of them: what selecting gains, and not combining. It has no rules."""
    COMBINATION = "combination"
    """It contains the others as settings (`PRESETS`), and is compared with the best of them."""


@dataclass(frozen=True)
class Variant:
    """A sparse-training algorithm as configurators see it."""

    name: str
    folder: Path

    @property
    def pcs(self) -> Path:
        """Its own parameters."""
        return self.folder / "params.pcs"

    @property
    def algorithm(self) -> ModuleType:
        """Its algorithm.py. Imports numpy, not torch. Raises BadInput if it cannot be imported."""
        return _algorithm(self.name, self.folder)

    @property
    def compose(self) -> "Callable[..., Topology]":
        """Its own parameters in, its topology out."""
        function: Callable[..., Topology] = self.algorithm.compose
        return function

    @property
    def role(self) -> Role:
        """How it takes part in a comparison."""
        return Role(getattr(self.algorithm, "ROLE", Role.COMPETITOR))

    @property
    def requires(self) -> tuple[str, ...]:
        """What a scenario must grant for it, such as `peak_weights` (see `Options.grants`)."""
        return tuple(getattr(self.algorithm, "REQUIRES", ()))

    @property
    def is_selection(self) -> bool:
        """Whether it is a selection; imports nothing to say no."""
        return not self.pcs.is_file() and self.role is Role.SELECTION

    @property
    def choices(self) -> Mapping[str, "Variant"]:
        """Of a selection: what it chooses among, by name, sorted: the variants of this checkout and
        those beside it that are configured and contain no others."""
        single = (Role.COMPETITOR, Role.BASELINE)
        return {name: v for name, v in _found(self._places).items() if v.role in single}

    def choice(self, name: str) -> "Variant":
        """Of a selection: one of them. Raises BadInput for one that there is not any more."""
        for place in self._places:
            folder = place / "target_algorithms" / name
            if (folder / "algorithm.py").is_file():
                return Variant(name, folder)
        raise BadInput(f"{self.name} chose {name!r}, expected one of {', '.join(self.choices)}")

    @property
    def _places(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys([ROOT, self.folder.parents[1]]))

    @property
    def begins_with(self) -> str:
        """Of a selection: the one that its default configuration is, which it says as `DEFAULT`."""
        return str(self.algorithm.DEFAULT)

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Of a combination: changes of its default at which it is another variant, by name."""
        return dict(getattr(self.algorithm, "PRESETS", {}))


@functools.cache
def _algorithm(name: str, folder: Path) -> ModuleType:
    if folder == ROOT / "target_algorithms" / name:
        return importlib.import_module(f"target_algorithms.{name}.algorithm")
    file = folder / "algorithm.py"
    spec = importlib.util.spec_from_file_location(f"private_{name}", file)
    if spec is None or spec.loader is None:
        raise BadInput(f"{file} cannot be imported: expected the algorithm of variant {name}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # somebody else's code: whatever it raises
        cause = f"{type(error).__name__}: {error}"
        raise BadInput(f"{file} cannot be imported ({cause})") from error
    return module


def roots(also: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The folders that hold variants and scenarios: this checkout and those outside it, each once.

    Raises BadInput for a folder of SPARSE_ACLIB_PATH that is not there.
    """
    named = [Path(word) for word in os.environ.get("SPARSE_ACLIB_PATH", "").split(":") if word]
    for folder in named:
        if not folder.is_dir():
            raise BadInput(f"no folder {folder}, expected one by SPARSE_ACLIB_PATH")
    return tuple(dict.fromkeys([ROOT, *(folder.resolve() for folder in (*named, *also))]))


def variants(also: Iterable[Path] = ()) -> dict[str, Variant]:
    """All variants by their names, sorted; those of the roots `also`, too.

    Raises BadInput for a name that two folders have.
    """
    return _found(roots(also))


def _found(places: Iterable[Path]) -> dict[str, Variant]:
    by_name: dict[str, Variant] = {}
    for root in places:
        for file in sorted((root / "target_algorithms").glob("*/algorithm.py")):
            variant = Variant(file.parent.name, file.parent)
            other = by_name.setdefault(variant.name, variant)
            if other != variant:
                raise BadInput(
                    f"two variants are called {variant.name}: {other.folder} and {variant.folder}; "
                    "rename one"
                )
    return dict(sorted(by_name.items()))


def variant(name: str, also: Iterable[Path] = ()) -> Variant:
    """A variant by its name. Raises BadInput for an unknown one, and says which there are."""
    existing = variants(also)
    if name not in existing:
        raise BadInput(f"unknown variant {name!r}: expected one of {', '.join(existing)}")
    return existing[name]
