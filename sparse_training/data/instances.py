"""Instances: which rows train and which evaluate, ready in memory within milliseconds.

An id says how a data set is split: `source/dataset/fold` trains on the outer training part and is
evaluated on the outer test part; `source/dataset/fold/inner` splits the outer training part again.
Where a data set has official splits (an OpenML task's first repeat, the standard test part of an
image data set), the outer folds are those; others have three stratified folds of a fixed seed.
Inner folds are ten, stratified, of a fixed seed. No statistic of an evaluation row reaches
training.

A data set is prepared once (`preparation.py`, by `sparse-aclib fetch`; what comes with an installed
package at its first use), into one file of the data directory: SPARSE_ACLIB_DATA, by default
`sparse-aclib` in the user's cache directory. A trial maps it and imports nothing but numpy.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.data import sources, stored
from sparse_training.data.preparation import prepare
from sparse_training.data.raw import check_memory
from sparse_training.data.stored import INNER_FOLDS, Stored, data_directory, split_number
from sparse_training.errors import BadInput

_ID = re.compile(r"(\w+)/([\w-]+)/(0|[1-9]\d{0,8})(?:/(\d))?", re.ASCII)
_BLOCK = 1 << 18  # values encoded at a time: what is read and written stays in the cache


@dataclass(frozen=True)
class Split:
    """The rows of one instance; features are standardised by the training part."""

    train_x: NDArray[np.float32]
    """(training rows, features)"""
    train_y: NDArray[np.int64]
    """Classes from 0, (training rows,)"""
    eval_x: NDArray[np.float32]
    eval_y: NDArray[np.int64]
    n_classes: int
    train_rows: NDArray[np.int64]
    """Rows of the data set that train, ascending."""
    eval_rows: NDArray[np.int64]


def load(instance: str) -> Split:
    """The training and the evaluation part of an instance: imputed, encoded, standardised.

    Raises BadInput for an id that is malformed or names something unknown, for a data set that has
    not been fetched (with the command that does it) and for a file that is damaged.
    """
    data, outer, inner = opened(instance)
    train_rows, eval_rows = data.rows(outer, inner)
    rows, trained = np.concatenate([train_rows, eval_rows]), len(train_rows)
    check_memory(instance, len(rows), data.inputs)
    inputs = _inputs(data, rows, split_number(outer, inner))
    return Split(
        train_x=inputs[:trained],
        train_y=data.labels[train_rows].astype(np.int64),
        eval_x=inputs[trained:],
        eval_y=data.labels[eval_rows].astype(np.int64),
        n_classes=len(data.about.classes),
        train_rows=train_rows,
        eval_rows=eval_rows,
    )


def parse(instance: str) -> tuple[str, str, int, int | None]:
    """(source, data set, outer fold, inner fold or None) of an id.

    Raises BadInput for one that is malformed. What there is, is not looked at.
    """
    match = _ID.fullmatch(instance)
    if match is None:
        raise BadInput(
            f"malformed instance {instance!r}: expected source/dataset/fold or source/dataset/fold/"
            f"inner with an inner fold of 0 to {INNER_FOLDS - 1}, for example sklearn/digits/0/3"
        )
    source, dataset, outer, inner = match.groups()
    return source, dataset, int(outer), None if inner is None else int(inner)


def at_hand(instance: str) -> bool:
    """Whether `load` can load an instance: its data are here, or come with an installed package.

    Raises BadInput for an id that is malformed or names something unknown.
    """
    source, dataset, *_ = parse(instance)
    return sources.source_of(source, dataset).INSTALLED or prepared(instance)


def prepared(instance: str) -> bool:
    """Whether the file of an instance's data is there. Raises BadInput for a malformed id."""
    source, dataset, *_ = parse(instance)
    return stored.path(source, dataset).is_file()


def sha256(source: str, dataset: str) -> str:
    """SHA-256 of the prepared data, as stored in their file; prepares them first if needed."""
    return _ready(source, dataset).about.sha256


# Reading -----------------------------------------------------------------------------------------


def opened(instance: str) -> tuple[Stored, int, int | None]:
    """(data set, outer fold, inner fold or None) of an instance."""
    source, dataset, outer, inner = parse(instance)
    data = _ready(source, dataset)
    if outer >= len(data.folds):
        raise BadInput(
            f"fold {outer} of instance {instance!r} is out of range: expected 0 to "
            f"{len(data.folds) - 1}"
        )
    return data, outer, inner


def _ready(source: str, dataset: str) -> Stored:
    """The content of a data set's file, prepared first if a package here brings the data."""
    file, name = stored.path(source, dataset), f"{source}/{dataset}"
    for attempt in (1, 2):
        try:
            return stored.read(file)
        except (FileNotFoundError, NotADirectoryError):
            state = f"not in {data_directory()}"
        except stored.Damaged as error:
            state = f"damaged in {data_directory()} ({error})"
        except OSError as error:
            raise BadInput(
                f"cannot read {file} ({error.strerror}): make it readable, or remove it and fetch "
                f"it with 'sparse-aclib fetch {name}'"
            ) from error
        if not sources.source_of(source, dataset).INSTALLED or attempt == 2:
            break
        prepare(source, dataset)
    raise BadInput(f"{name} is {state}: fetch it with 'sparse-aclib fetch {name}'")


def _inputs(data: Stored, rows: NDArray[np.int64], split: int) -> NDArray[np.float32]:
    """(rows, inputs): what a network sees of some rows, by the statistics of a split."""
    mean, deviation = data.mean[split], data.deviation[split]
    if data.about.channels:
        scaled = data.numeric[rows].astype(np.float32)
        planes = scaled.reshape(len(rows), data.about.channels, -1)
        planes -= mean.astype(np.float32)[:, None]
        planes /= deviation.astype(np.float32)[:, None]
        return scaled
    inputs = np.empty((len(rows), data.inputs), dtype=np.float32)
    width = data.numeric.shape[1]
    high = (1 / deviation[width:]).astype(np.float32)
    low = (mean[width:] / deviation[width:]).astype(np.float32)
    step = max(1, _BLOCK // data.inputs)
    for first in range(0, len(rows), step):
        chosen, block = rows[first : first + step], inputs[first : first + step]
        if width:
            # In double precision: a large offset would swallow the differences.
            wide = data.numeric[chosen].astype(np.float64)
            wide -= mean[:width]
            wide /= deviation[:width]
            block[:, :width] = wide
        if len(high):
            categories = block[:, width:]
            categories[...] = data.onehot[chosen]
            categories *= high
            categories -= low
    if data.numeric.dtype != np.uint8:
        numeric = inputs[:, :width]
        numeric[np.isnan(numeric)] = 0.0  # the mean is 0 by now
    _fill_missing(inputs[:, width:], data, rows, split, high)
    return inputs


def _fill_missing(
    categories: NDArray[np.float32],
    data: Stored,
    rows: NDArray[np.int64],
    split: int,
    high: NDArray[np.float32],
) -> None:
    """Gives rows that miss a nominal value the most frequent category of the training rows."""
    if not len(data.missing):
        return
    place = np.full(len(data.labels), -1)
    place[rows] = np.arange(len(rows))
    row, column = place[data.missing[:, 0]], data.missing[:, 1]
    # A column in which every value is missing has no category to give.
    wanted = (row >= 0) & (np.diff(data.groups) > 0)[column]
    row, column = row[wanted], column[wanted]
    chosen = data.groups[column] + data.mode[split, column]
    categories[row, chosen] += high[chosen]
