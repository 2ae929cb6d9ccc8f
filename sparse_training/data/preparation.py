"""From what a source reads to what a trial maps: encoding, splits, statistics of every split.

What a trial does with it is what scikit-learn's transformers do when they are fitted on the
training rows of its split, and on nothing else: `SimpleImputer` (the mean; the most frequent
category, the first of several), `OneHotEncoder(handle_unknown="ignore")`, `StandardScaler`. Images
are standardised by the mean and deviation of each channel.

**Differs** from them: an input that is constant among the training rows, a category that none of
them has included, is zero in all rows. Weights on it are never trained, so it must not reach a
evaluation row either; the inputs are the same in every split of a data set.

The statistics of folds are computed here, once, because a trial has no time for them: the 60,000
rows and 126 inputs of connect-4 are ready in 10 ms instead of 40. Those of samples and halves, of
which there is no end, are computed by the same function when a trial loads its rows. They are
numpy's, not scikit-learn's, because a data set has up to 1,100 folds, and counts need but one pass
for all inner folds; the tests compare them.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.raw import Access, DataSet, check_memory
from sparse_training.data.sources import known_sha256, source_of
from sparse_training.data.stored import (
    EVALUATED,
    INNER_FOLDS,
    SUM_IN_NAME,
    UNUSED,
    About,
    Damaged,
    Stored,
    data_directory,
    digest,
    digest_of,
    downloads,
    path,
    read,
    sum_in_name,
    write,
)
from sparse_training.errors import BadInput
from sparse_training.files import flocked, regular

OUTER_FOLDS = 3
"""Outer folds of a data set without official ones."""
MOST_FOLDS = 100
"""Outer folds a task may have; every further one would be a data set of its own in size."""
_SPLIT_SEED = 20260


def prepare(source: str, dataset: str, access: Access | None = None) -> Path:
    """Reads a data set from its source, writes its file and returns it; replaces a present one.

    Atomic, so it may run several times at once. Raises BadInput for an unknown data set, one that
    cannot be had or used, one whose content is not what the suite knows, and a directory that
    cannot be written; whatever was there is there still.
    """
    name = f"{source}/{dataset}"
    access = access or Access()
    with _enough_memory(name):
        raw = source_of(source, dataset).read(dataset, replace(access, prepared=_prepared(access)))
        access.report(f"{name}: preparing")
        about, tensors = _content(raw, name)
    wanted = known_sha256(source, dataset)
    if not about.sha256.startswith(wanted):
        meant = "as its name says" if sum_in_name(dataset) else "this suite's data"
        raise BadInput(
            f"{name} from {raw.origin} has sha256 {about.sha256}: expected {wanted}, {meant}"
        )
    file = path(source, dataset)
    write(file, about, tensors)
    shutil.rmtree(downloads(source, dataset), ignore_errors=True)
    return file


def prepare_own(source: str, name: str, raw: DataSet) -> tuple[str, About]:
    """Writes the file of a data set that is called by its content: (`name-sum`, what it says).

    Atomic, as `prepare` is; a file of the same content that is there and whole is left alone.
    Raises BadInput as `prepare` does.
    """
    with _enough_memory(f"{source}/{name}"):
        about, tensors = _content(raw, f"{source}/{name}")
    dataset = f"{name}-{about.sha256[:SUM_IN_NAME]}"
    file = path(source, dataset)
    try:
        there = read(file)
        if there.about == about and digest_of(there) == about.sha256:
            return dataset, about
    except (OSError, Damaged):
        pass
    write(file, about, tensors)
    return dataset, about


@contextmanager
def _enough_memory(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise BadInput(
            f"{name} needs more memory than there is here: expected fewer rows"
        ) from None


def _content(raw: DataSet, name: str) -> tuple[About, dict[str, NDArray[Any]]]:
    """What the file of a data set says of itself, and its tensors."""
    _check(raw, name)
    tensors = _tensors(raw)
    sha256 = digest({"classes": list(raw.classes), "channels": raw.channels}, tensors)
    return About(sha256, raw.title, raw.origin, raw.licence, raw.classes, raw.channels), tensors


def _prepared(access: Access) -> Callable[[str, str], Stored]:
    """What gives another data set, read if it is there and prepared first if it is not."""

    def prepared(source: str, dataset: str) -> Stored:
        with alone(source, dataset, access):
            try:
                return read(path(source, dataset))
            except (OSError, Damaged):
                return read(prepare(source, dataset, access))

    return prepared


@contextmanager
def alone(source: str, dataset: str, access: Access) -> Iterator[None]:
    """Keeps other fetches of a data set waiting; the lock goes with the process.

    What one that was killed has left half-done is removed. Raises BadInput where no lock can be.
    """
    place = downloads(source, dataset)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = open(place.with_name(f"{place.name}.lock"), "a", opener=regular)
    except OSError as error:
        raise BadInput(
            f"cannot write in {data_directory()} ({error.strerror}: {error.filename}): set "
            "SPARSE_ACLIB_DATA to a directory that can be written"
        ) from None
    with lock:
        if not flocked(lock):
            access.report(f"{source}/{dataset}: another fetch is at it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for work in place.glob("work-*"):
            shutil.rmtree(work, ignore_errors=True)
        if not source_of(source, dataset).INSTALLED:  # trials prepare what is, and take no lock
            for part in path(source, dataset).parent.glob(f".{dataset}-*"):
                part.unlink(missing_ok=True)
        yield


def stratified_folds(labels: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of every row, shape as labels; each class is spread as evenly as its size allows.

    The rows of one class are shuffled and dealt to the folds in turn, each class going on where
    the last one stopped. RandomState because its numbers are frozen across numpy's versions.
    """
    rng = np.random.RandomState(seed)
    assigned = np.empty(len(labels), dtype=np.int64)
    dealt = 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        assigned[members] = (dealt + np.arange(len(members))) % folds
        dealt += len(members)
    return assigned


# Checking ----------------------------------------------------------------------------------------


def _check(raw: DataSet, name: str) -> None:
    rows = len(raw.labels)
    if not rows or len(raw.classes) < 2 or len(np.unique(raw.labels)) < 2:
        raise BadInput(
            f"{name} has {len(np.unique(raw.labels))} class in {rows:,} rows: expected at least two"
        )
    categories = 0 if raw.nominal is None else sum(map(_categories, raw.nominal.T))
    inputs = raw.numeric.shape[1] + categories
    if not inputs:
        raise BadInput(f"{name} has no features: expected at least one")
    check_memory(name, rows, inputs)
    if raw.channels and raw.numeric.shape[1] % raw.channels:
        raise BadInput(
            f"{name} has images of {raw.numeric.shape[1]:,} values in {raw.channels} channels: "
            "expected as many in each channel"
        )
    if raw.channels and not np.isfinite(raw.numeric).all():
        raise BadInput(f"{name} has images with values that are no numbers: expected finite ones")
    if raw.folds is None:
        return
    if len(raw.folds) > MOST_FOLDS:
        raise BadInput(f"{name} has {len(raw.folds):,} folds: expected at most {MOST_FOLDS}")
    for number, (train, evaluate) in enumerate(raw.folds):
        if len(train) < INNER_FOLDS or not len(evaluate):
            raise BadInput(
                f"{name}: fold {number} has {len(train)} training and {len(evaluate)} test rows: "
                f"expected at least {INNER_FOLDS}, one for each inner fold, and 1"
            )
        if min(train.min(), evaluate.min()) < 0 or max(train.max(), evaluate.max()) >= rows:
            raise BadInput(f"{name}: fold {number} has rows beyond the {rows:,} of the data")
        both = np.concatenate([train, evaluate])
        if len(np.unique(both)) < len(both):
            raise BadInput(
                f"{name}: fold {number} has a row twice, or in training and in test: expected "
                "cross-validation or a hold-out"
            )
        if len(np.unique(raw.labels[train])) < 2:
            raise BadInput(f"{name}: fold {number} trains on one class: expected at least two")


def _categories(codes: NDArray[np.integer]) -> int:
    return len(np.unique(codes[codes >= 0]))


# Encoding ----------------------------------------------------------------------------------------


def _tensors(raw: DataSet) -> dict[str, NDArray[Any]]:
    """The tensors of `sparse_training.data.stored`."""
    labels = _narrow(raw.labels)
    folds = _folds(raw)
    content = {
        "numeric": _exact(raw.numeric),
        "labels": labels,
        "folds": folds,
        **_encode(raw.nominal, len(labels)),
    }
    every = np.ones((1, INNER_FOLDS), dtype=np.int64)
    trained = np.concatenate([every, every - np.eye(INNER_FOLDS, dtype=np.int64)])
    splits = [statistics(content, raw.channels, fold, trained) for fold in folds]
    derived = {name: np.concatenate([split[name] for split in splits]) for name in splits[0]}
    return content | derived


def _narrow(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    types = (np.uint8, np.uint16, np.int32)
    return labels.astype(next(each for each in types if labels.max() <= np.iinfo(each).max))


def _exact(values: NDArray[Any]) -> NDArray[Any]:
    """Values in the smallest type that holds them exactly."""
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    wide = values.astype(np.float64)
    whole = np.nan_to_num(wide, nan=0.5)
    if (whole >= 0).all() and (whole <= 255).all() and (whole == np.floor(whole)).all():
        return wide.astype(np.uint8)
    with np.errstate(over="ignore"):  # then it does not hold them
        single = wide.astype(np.float32)
    return single if np.array_equal(single, wide, equal_nan=True) else wide


def _folds(raw: DataSet) -> NDArray[np.uint8]:
    """(outer folds, rows): the inner fold of a training row, or EVALUATED, or UNUSED."""
    official = raw.folds
    if official is None:
        assigned = stratified_folds(raw.labels, OUTER_FOLDS, _SPLIT_SEED)
        official = tuple(
            (np.flatnonzero(assigned != outer), np.flatnonzero(assigned == outer))
            for outer in range(OUTER_FOLDS)
        )
    folds = np.full((len(official), len(raw.labels)), UNUSED, dtype=np.uint8)
    for outer, (train, evaluate) in enumerate(official):
        train = np.sort(train)
        folds[outer, train] = stratified_folds(
            raw.labels[train], INNER_FOLDS, _SPLIT_SEED + 1 + outer
        )
        folds[outer, evaluate] = EVALUATED
    return folds


def _encode(nominal: NDArray[np.integer] | None, rows: int) -> dict[str, NDArray[Any]]:
    """Nominal columns as one input a category; categories that no row has get none."""
    columns = () if nominal is None else tuple(nominal.T)
    groups, parts, missing = [0], [np.zeros((rows, 0), np.uint8)], [np.zeros((0, 2), np.int32)]
    for number, codes in enumerate(columns):
        categories = np.unique(codes[codes >= 0])
        parts.append((codes[:, None] == categories).astype(np.uint8))
        absent = np.flatnonzero(codes < 0)
        missing.append(np.stack([absent, np.full_like(absent, number)], axis=1).astype(np.int32))
        groups.append(groups[-1] + len(categories))
    return {
        "onehot": np.concatenate(parts, axis=1),
        "groups": np.array(groups, dtype=np.int32),
        "missing": np.concatenate(missing),
    }


# Statistics --------------------------------------------------------------------------------------


def statistics(
    content: Mapping[str, NDArray[Any]],
    channels: int,
    part: NDArray[np.uint8],
    trained: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """`mean`, `deviation`, `mode` of splits by their training rows, as `stored.py` has them.

    Args:
        content: the tensors of a data set.
        channels: of an image; 0 for a table.
        part: (rows,), in which part a row is; rows of EVALUATED and UNUSED are in none.
        trained: (splits, parts), 1 where a split trains on a part, else 0.
    """
    if channels:
        return _channel_statistics(content["numeric"], channels, part, trained)
    return _column_statistics(content, part, trained)


def _column_statistics(
    content: Mapping[str, NDArray[Any]], part: NDArray[np.uint8], trained: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    numeric = [
        _numeric_statistics(content["numeric"][np.isin(part, np.flatnonzero(parts))])
        for parts in trained
    ]
    counts, rows, mode = _category_counts(content, part, trained)
    frequency = counts / rows[:, None]
    deviation = np.sqrt(frequency * (1 - frequency))
    deviation[(counts == 0) | (counts == rows[:, None])] = np.inf
    return {
        "mean": np.concatenate([np.stack([mean for mean, _ in numeric]), frequency], axis=1),
        "deviation": np.concatenate([np.stack([dev for _, dev in numeric]), deviation], axis=1),
        "mode": mode,
    }


def _numeric_statistics(
    values: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of columns whose missing values are replaced by their mean."""
    wide = values.astype(np.float64)
    there = ~np.isnan(wide)
    # Values too far apart have no deviation: they are no input.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(there, wide, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        mean[~np.isfinite(mean)] = 0.0
        centred = np.where(there, wide - mean, 0.0)
        deviation = np.sqrt((centred**2).mean(axis=0))
    low = np.where(there, wide, np.inf).min(axis=0, initial=np.inf)
    high = np.where(there, wide, -np.inf).max(axis=0, initial=-np.inf)
    return mean, np.where((low < high) & (deviation > 0), deviation, np.inf)


def _category_counts(
    content: Mapping[str, NDArray[Any]], part: NDArray[np.uint8], trained: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """How many training rows have each category once missing ones are the most frequent one.

    Returns counts (splits, categories), the number of rows (splits,), and that most frequent
    category (splits, nominal columns), numbered within its column.
    """
    onehot, groups, missing = content["onehot"], content["groups"], content["missing"]
    columns, parts = len(groups) - 1, trained.shape[1]
    of_part = np.stack([onehot[part == each].sum(axis=0, dtype=np.int64) for each in range(parts)])
    size = np.bincount(part, minlength=256)[:parts]
    absent = np.zeros((256, columns), dtype=np.int64)
    np.add.at(absent, (part[missing[:, 0]], missing[:, 1]), 1)
    counts, rows, gaps = trained @ of_part, trained @ size, trained @ absent[:parts]
    mode = np.zeros((len(trained), columns), dtype=np.int32)
    for column in range(columns):
        first, last = groups[column], groups[column + 1]
        if last > first:
            mode[:, column] = counts[:, first:last].argmax(axis=1)
            counts[np.arange(len(trained)), first + mode[:, column]] += gaps[:, column]
    return counts, rows, mode


def _channel_statistics(
    pixels: NDArray[Any], channels: int, part: NDArray[np.uint8], trained: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Over the pixels of each channel of training images."""
    if pixels.dtype != np.uint8:
        return _wide_channel_statistics(pixels, channels, part, trained)
    parts = range(trained.shape[1])
    of_part = np.stack([_levels(pixels[part == each], channels) for each in parts])
    counts = np.tensordot(trained, of_part, axes=1)
    levels = np.arange(256, dtype=np.float64)
    total = counts.sum(axis=2)
    mean = (counts * levels).sum(axis=2) / total
    variance = (counts * (levels - mean[:, :, None]) ** 2).sum(axis=2) / total
    deviation = np.where(variance > 0, np.sqrt(variance), np.inf)
    return {"mean": mean, "deviation": deviation, "mode": np.zeros((len(mean), 0), np.int32)}


def _wide_channel_statistics(
    pixels: NDArray[Any], channels: int, part: NDArray[np.uint8], trained: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The same of pixels that are no bytes, by sums of each part: one pass for all splits."""
    shape = (channels, trained.shape[1])
    level = np.zeros((channels, 1))  # near the values, so that their squares lose no digits
    total, squares, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    width = pixels.shape[1] // channels
    for channel in range(channels):
        plane = pixels[:, channel * width : (channel + 1) * width]
        level[channel] = plane[np.argmax(part < EVALUATED)].mean(dtype=np.float64)
        for each in range(trained.shape[1]):
            values = plane[part == each].astype(np.float64) - level[channel]
            of_part = channel, each
            with np.errstate(over="ignore", invalid="ignore"):  # too far apart: no deviation
                total[of_part], squares[of_part] = values.sum(), (values**2).sum()
            count[of_part] = values.size
            low[of_part], high[of_part] = values.min(initial=np.inf), values.max(initial=-np.inf)
    counted = trained @ count.T
    away = (trained @ total.T) / counted
    with np.errstate(over="ignore", invalid="ignore"):
        variance = (trained @ squares.T) / counted - away**2
    # A channel without deviation has exactly none, as one of bytes.
    used = trained[:, None, :] > 0
    lowest = np.where(used, low, np.inf).min(axis=2)
    varied = (lowest < np.where(used, high, -np.inf).max(axis=2)) & (variance > 0)
    return {
        "mean": level[:, 0] + away,
        "deviation": np.sqrt(variance, out=np.full(variance.shape, np.inf), where=varied),
        "mode": np.zeros((len(trained), 0), np.int32),
    }


def _levels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.int64]:
    """(channels, 256): how often each level occurs. Sums of integers are exact on any machine."""
    planes = pixels.reshape(len(pixels), channels, -1)
    return np.stack([np.bincount(planes[:, c].reshape(-1), minlength=256) for c in range(channels)])
