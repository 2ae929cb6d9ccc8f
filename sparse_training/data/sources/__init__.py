"""Where data sets come from: every file in this folder is a source, called as in instance ids.

(A file whose name begins with `_` is a part of one.)

A source is a module with three names:

- `read(dataset, access) -> DataSet` gives the values as they are: nothing imputed, encoded, scaled;
- `expected(dataset) -> str | None`: None for a data set that it has, else what it has;
- `INSTALLED`: whether reading takes nothing but installed packages, so that no one need fetch it.

Its libraries are imported inside its functions, so that naming a source costs nothing. The sums of
known contents are in `sha256.txt`.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sparse_training.data.raw import Access, DataSet
from sparse_training.data.stored import sum_in_name
from sparse_training.errors import BadInput

FOLDER = Path(__file__).resolve().parent


class Source(Protocol):
    """What a module in this folder is."""

    INSTALLED: bool

    def read(self, dataset: str, access: Access) -> DataSet:
        """The data set. Raises BadInput where it cannot be had."""

    def expected(self, dataset: str) -> str | None:
        """None for a data set that there is, else what there is."""


def sources() -> tuple[str, ...]:
    """The names of all sources, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


def source(name: str) -> Source:
    """A source by its name. Raises BadInput for an unknown one."""
    if name not in sources():
        raise BadInput(f"unknown source {name!r}: expected one of {', '.join(sources())}")
    module: Source = importlib.import_module(f"sparse_training.data.sources.{name}")
    return module


def source_of(name: str, dataset: str) -> Source:
    """The source of a data set that there is. Raises BadInput for one that there is not."""
    module = source(name)
    expected = module.expected(dataset)
    if expected is not None:
        raise BadInput(f"unknown data set {dataset!r} of source {name!r}: expected {expected}")
    return module


def known_sha256(name: str, dataset: str) -> str:
    """What the sum of a data set's content begins with on all machines, as far as that is known.

    All of it for those in sha256.txt, the digits that it is called by for those of a user's own.
    """
    for line in (FOLDER / "sha256.txt").read_text(encoding="utf-8").splitlines():
        digest, _, named = line.partition("  ")
        if named == f"{name}/{dataset}":
            return digest
    return sum_in_name(dataset)


def command(what: str, data_sets: Iterable[str]) -> str:
    """The command line that fetches something, which needs some data sets (`source/dataset`)."""
    own = " --local FOLDER" if any(map(sum_in_name, data_sets)) else ""
    return f"sparse-aclib fetch {what}{own}"
