"""Instances: which rows train and which evaluate, ready in memory within milliseconds.

An id says how a data set is split: `source/dataset/fold` trains on the outer training part and is
evaluated on the outer test part. The other forms split the training part again and see no row of
the test part, but for the third, which is validated on it:

    .../fold/inner              nine of its ten inner folds train, one evaluates
    .../fold/3000+5000/number   3,000 rows train; 5,000 others, the same for all numbers, evaluate
    .../fold/3000/number        3,000 rows train, the test part evaluates
    .../fold/halves/number      one half trains, the other one evaluates

Where a data set has official splits (an OpenML task's first repeat, the standard test part of an
image data set), the outer folds are those; others have three stratified folds of a fixed seed.
Everything else is stratified and of fixed seeds, too (`preparation.py`, `splits.py`). No statistic
of an evaluation row reaches training.

A data set is prepared once (`preparation.py`, by `sparse-aclib fetch`; what comes with an installed
package at its first use), into one file of the data directory: SPARSE_ACLIB_DATA, by default
`sparse-aclib` in the user's cache directory. A trial maps it and imports nothing but numpy.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.data import sources, stored
from sparse_training.data.preparation import prepare, statistics
from sparse_training.data.raw import check_memory
from sparse_training.data.splits import Form, Half, Inner, Outer, Sample
from sparse_training.data.stored import (
    EVALUATED,
    INNER_FOLDS,
    UNUSED,
    Statistics,
    Stored,
    data_directory,
)
from sparse_training.errors import BadInput

_ID = re.compile(
    r"""(?P<source>\w+) / (?P<dataset>[\w-]+) / (?P<fold>0|[1-9]\d{0,8})
    (?: / (?P<inner>\d)
      | / (?: (?P<train>[1-9]\d{0,8}) (?:\+(?P<judge>[1-9]\d{0,8}))? | halves )
        / (?P<number>0|[1-9]\d{0,8})
    )?""",
    re.ASCII | re.VERBOSE,
)
_BLOCK = 1 << 18  # values encoded at a time: what is read and written stays in the cache


@dataclass(frozen=True)
class Id:
    """What an instance's id says."""

    source: str
    dataset: str
    fold: int
    form: Form

    @property
    def data_set(self) -> str:
        """`source/dataset`"""
        return f"{self.source}/{self.dataset}"


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
    data, said = opened(instance)
    train_rows, eval_rows = said.form.rows(data, said.fold)
    rows, trained = np.concatenate([train_rows, eval_rows]), len(train_rows)
    check_memory(instance, len(rows), data.inputs)
    inputs = _inputs(data, rows, _statistics(data, said, train_rows))
    return Split(
        train_x=inputs[:trained],
        train_y=data.labels[train_rows].astype(np.int64),
        eval_x=inputs[trained:],
        eval_y=data.labels[eval_rows].astype(np.int64),
        n_classes=len(data.about.classes),
        train_rows=train_rows,
        eval_rows=eval_rows,
    )


def parse(instance: str) -> Id:
    """What an id says. Raises BadInput for one that is malformed.

    What there is, is not looked at.
    """
    match = _ID.fullmatch(instance)
    if match is None:
        raise BadInput(
            f"malformed instance {instance!r}: expected source/dataset/fold, alone or with /3 "
            f"(an inner fold of 0 to {INNER_FOLDS - 1}), /3000+5000/number (rows that train and "
            "others that evaluate), /3000/number or /halves/number, for example sklearn/digits/0/3"
        )
    inner, train, judge, number = (
        None if text is None else int(text)
        for text in match.group("inner", "train", "judge", "number")
    )
    form: Form = Outer()
    if inner is not None:
        form = Inner(inner)
    elif number is not None:
        form = Half(number) if train is None else Sample(train, judge, number)
    return Id(match["source"], match["dataset"], int(match["fold"]), form)


def at_hand(instance: str) -> bool:
    """Whether `load` can load an instance: its data are here, or come with an installed package.

    Raises BadInput for an id that is malformed or names something unknown.
    """
    said = parse(instance)
    return sources.source_of(said.source, said.dataset).INSTALLED or prepared(instance)


def prepared(instance: str) -> bool:
    """Whether the file of an instance's data is there. Raises BadInput for a malformed id."""
    said = parse(instance)
    return stored.path(said.source, said.dataset).is_file()


def sha256(source: str, dataset: str) -> str:
    """SHA-256 of the prepared data, as stored in their file; prepares them first if needed."""
    return _ready(source, dataset).about.sha256


# Reading -----------------------------------------------------------------------------------------


def opened(instance: str) -> tuple[Stored, Id]:
    """The data set of an instance, which has the fold and the rows that its id asks for."""
    said = parse(instance)
    data = _ready(said.source, said.dataset)
    if said.fold >= len(data.folds):
        raise BadInput(
            f"fold {said.fold} of instance {instance!r} is out of range: expected 0 to "
            f"{len(data.folds) - 1}"
        )
    if isinstance(said.form, Sample):
        there = np.count_nonzero(data.folds[said.fold] < EVALUATED)
        if said.form.drawn > there:
            raise BadInput(
                f"instance {instance!r} asks for {said.form.drawn:,} rows of the training part of "
                f"fold {said.fold}: expected at most {there:,}, all that it has"
            )
    return data, said


def _ready(source: str, dataset: str) -> Stored:
    """The content of a data set's file, prepared first if a package here brings the data."""
    file, name = stored.path(source, dataset), f"{source}/{dataset}"
    for attempt in (1, 2):
        try:
            data = stored.read(file)
            if data.about.sha256.startswith(stored.sum_in_name(dataset)):
                return data
            state = f"other data in {data_directory()} (sha256 {data.about.sha256})"
        except (FileNotFoundError, NotADirectoryError):
            state = f"not in {data_directory()}"
        except stored.Damaged as error:
            state = f"damaged in {data_directory()} ({error})"
        except OSError as error:
            raise BadInput(
                f"cannot read {file} ({error.strerror}): make it readable, or remove it and fetch "
                f"it with '{sources.command(name, [name])}'"
            ) from error
        if not sources.source_of(source, dataset).INSTALLED or attempt == 2:
            break
        prepare(source, dataset)
    raise BadInput(f"{name} is {state}: fetch it with '{sources.command(name, [name])}'")


def _statistics(data: Stored, said: Id, train_rows: NDArray[np.int64]) -> Statistics:
    """What is known of the training rows of an instance: stored for folds, else computed."""
    match said.form:
        case Outer():
            return data.statistics(said.fold, None)
        case Inner(number):
            return data.statistics(said.fold, number)
    part = np.full(len(data.labels), UNUSED, dtype=np.uint8)
    part[train_rows] = 0
    computed = statistics(vars(data), data.about.channels, part, np.ones((1, 1), dtype=np.int64))
    return Statistics(**{name: of_splits[0] for name, of_splits in computed.items()})


def _inputs(data: Stored, rows: NDArray[np.int64], known: Statistics) -> NDArray[np.float32]:
    """(rows, inputs): what a network sees of some rows, by the statistics of training rows."""
    mean, deviation = known.mean, known.deviation
    if data.about.channels:
        # Bytes are exact in single precision; other values have it only if they are stored so.
        type_ = np.float64 if data.numeric.dtype == np.float64 else np.float32
        scaled: NDArray[Any] = data.numeric[rows].astype(type_)
        planes = scaled.reshape(len(rows), data.about.channels, -1)
        planes -= mean.astype(type_)[:, None]
        planes /= deviation.astype(type_)[:, None]
        return scaled.astype(np.float32, copy=False)
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
    _fill_missing(inputs[:, width:], data, rows, known.mode, high)
    return inputs


def _fill_missing(
    categories: NDArray[np.float32],
    data: Stored,
    rows: NDArray[np.int64],
    mode: NDArray[np.int32],
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
    chosen = data.groups[column] + mode[column]
    categories[row, chosen] += high[chosen]
