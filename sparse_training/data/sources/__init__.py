"""Where data sets come from: every file in this folder is a source, called as in instance ids.

A source is a module with three names:

- `read(dataset, access) -> DataSet` gives the values as they are: nothing imputed, encoded, scaled;
- `expected(dataset) -> str | None`: None for a data set that it has, else what it has;
- `INSTALLED`: whether reading takes nothing but installed packages, so that no one need fetch it.

Its libraries are imported inside its functions, so that naming a source costs nothing. The sums of
known contents are in `sha256.txt`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import BadInput

FOLDER = Path(__file__).resolve().parent

Rows = NDArray[np.int64]


class Unreachable(BadInput):
    """OpenML cannot be had at all: asking it for the next data set is in vain too."""


@dataclass(frozen=True)
class Access:
    """How to come by data that are not on this machine: what a command line was told.

    Raises BadInput for a folder that is not there.
    """

    server: str | None = None
    """Address of an OpenML server's XML interface; None: what OpenML's own settings say."""
    api_key: str | None = field(default=None, repr=False)
    """OpenML's key of a user. It goes to the server's hosts and nowhere else."""
    cache: Path | None = None
    """An openml cache to read from (never written to); None: the one of OpenML's settings."""
    local: Path | None = None
    """A folder with files of vision data sets."""
    retries: int = 5
    """Attempts at every request."""
    patience: float = 60.0
    """Seconds for which a server may be silent."""
    refresh: bool = False
    """Whether to download what caches hold anew."""
    report: Callable[[str], None] = field(default=lambda step: None, repr=False)
    """Told what is being done, a few words at a time."""

    def __post_init__(self) -> None:
        for folder, expected in (
            (self.cache, "an openml cache"),
            (self.local, "one with files of vision data sets"),
        ):
            if folder is not None and not folder.is_dir():
                raise BadInput(f"no folder {folder}, expected {expected}")


@dataclass(frozen=True)
class DataSet:
    """What a source reads: values as they are, and how the rows are split if that is official."""

    numeric: NDArray[np.generic]
    """(rows, numeric columns), nan where missing. Images: bytes, one channel after the other."""
    labels: NDArray[np.integer]
    """(rows,), numbers of classes from 0 in a stable order."""
    classes: tuple[str, ...]
    """The names of the classes."""
    title: str
    origin: str
    """Where the values come from."""
    licence: str
    nominal: NDArray[np.integer] | None = None
    """(rows, nominal columns), numbers of categories from 0, -1 where missing."""
    channels: int = 0
    """Of an image; 0 for a table."""
    folds: tuple[tuple[Rows, Rows], ...] | None = None
    """Official (training, evaluation) rows of each outer fold; None: the suite's own folds."""


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


def known(name: str, dataset: str) -> Source:
    """The source of a data set that there is. Raises BadInput for one that there is not."""
    found = source(name)
    expected = found.expected(dataset)
    if expected is not None:
        raise BadInput(f"unknown data set {dataset!r} of source {name!r}: expected {expected}")
    return found


def committed_sha256(name: str, dataset: str) -> str | None:
    """The sum that a data set's content has on all machines, None where the suite knows none."""
    for line in (FOLDER / "sha256.txt").read_text(encoding="utf-8").splitlines():
        digest, _, found = line.partition("  ")
        if found == f"{name}/{dataset}":
            return digest
    return None
