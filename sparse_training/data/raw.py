"""What a source of data is told and what it reads: values as they are, before any preparation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.stored import Stored
from sparse_training.errors import BadInput
from sparse_training.machine import memory

Rows = NDArray[np.int64]


def _nothing_prepared(source: str, dataset: str) -> Stored:
    raise BadInput(f"{source}/{dataset} is not prepared: 'sparse-aclib fetch {source}/{dataset}'")


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
    """A folder with files of vision data sets, or of data sets of the user's own."""
    retries: int = 5
    """Attempts at every request."""
    patience: float = 60.0
    """Seconds for which a server may be silent."""
    refresh: bool = False
    """Whether to download what caches hold anew."""
    report: Callable[[str], None] = field(default=lambda step: None, repr=False)
    """Told what is being done, a few words at a time."""
    prepared: Callable[[str, str], Stored] = field(default=_nothing_prepared, repr=False)
    """Another data set (source, name) that this one is a part of, prepared first if it must be."""

    def __post_init__(self) -> None:
        for folder, expected in (
            (self.cache, "an openml cache"),
            (self.local, "one with files of data sets"),
        ):
            if folder is not None and not folder.is_dir():
                raise BadInput(f"no folder {folder}, expected {expected}")


@dataclass(frozen=True)
class DataSet:
    """What a source reads: values as they are, and how the rows are split if that is official."""

    numeric: NDArray[np.generic]
    """(rows, numeric columns), nan where missing. Images: one channel after the other, no nan."""
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


def check_memory(name: str, rows: int, inputs: int) -> None:
    """Raises BadInput for a data set that this machine cannot hold ready for training."""
    needed = 4 * rows * inputs  # in single precision
    if needed > memory():
        raise BadInput(
            f"{name} has {rows:,} rows of {inputs:,} inputs, {needed / 2**30:,.1f} GiB when it is "
            f"ready for training: this machine has {memory() / 2**30:,.1f} GiB; expected fewer"
        )
