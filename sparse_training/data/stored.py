"""The file of a prepared data set: all that a trial needs, mapped into memory.

One safetensors file (a length, a JSON header, the plain bytes) for a data set, read with numpy
alone. Its tensors, with n rows, s splits (of each outer fold: itself, then its inner folds; of
samples and halves nothing is stored):

    numeric    (n, numeric columns)     values as they are, nan where missing; pixels of images
    onehot     (n, categories)          0 or 1 for each category of each nominal column
    groups     (nominal columns + 1,)   where each nominal column's categories begin in `onehot`
    missing    (missing cells, 2)       row and nominal column of each missing nominal value
    labels     (n,)                     numbers of classes from 0
    folds      (outer folds, n)         the inner fold of a training row, or EVALUATED, or UNUSED
    mean, deviation  (s, inputs)        of each input over the split's training rows, numeric
                                        columns first; images: (s, channels)
    mode       (s, nominal columns)     the most frequent category among the training rows

Nothing in it is code, and nothing of it is trusted: a CRC-32 of its header and the sum of the
64-bit words behind it are compared at every reading, which takes a millisecond for 10 MB (a CRC-32
takes four) and notices any byte, block or end that was lost; its SHA-256 is compared by
`sparse-aclib fetch`.
"""

import hashlib
import json
import mmap
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import BadInput
from sparse_training.files import regular, write_whole
from sparse_training.machine import cache_directory

FORMAT = 3
INNER_FOLDS = 10
EVALUATED, UNUSED = 254, 255

_CONTENT = ("numeric", "onehot", "groups", "missing", "labels", "folds")
_DERIVED = ("mean", "deviation", "mode")
_TYPES = {
    "U8": np.uint8,
    "U16": np.uint16,
    "I32": np.int32,
    "F32": np.float32,
    "F64": np.float64,
}


SUM_IN_NAME = 12
"""Digits of its sum that a data set which is known by its content has behind its name."""

_WITH_SUM = re.compile(rf".*-([0-9a-f]{{{SUM_IN_NAME}}})")


class Damaged(ValueError):
    """A file that is not what was written, or not of this format."""


@dataclass(frozen=True)
class About:
    """Where the content of a file comes from."""

    sha256: str
    """Of the tensors up to `folds`: values, labels and splits."""
    title: str
    origin: str
    licence: str
    classes: tuple[str, ...]
    channels: int
    """Of an image; 0 for a table."""


@dataclass(frozen=True)
class Statistics:
    """What is known of the training rows of one split; the module's docstring has the shapes."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    mode: NDArray[np.int32]


@dataclass(frozen=True)
class Stored:
    """The content of a file; the module's docstring has the shapes."""

    about: About
    numeric: NDArray[Any]
    onehot: NDArray[np.uint8]
    groups: NDArray[np.int32]
    missing: NDArray[np.int32]
    labels: NDArray[Any]
    folds: NDArray[np.uint8]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    mode: NDArray[np.int32]

    def statistics(self, outer: int, inner: int | None) -> Statistics:
        """Of the training rows of an outer fold, or of an inner fold of it."""
        split = outer * (INNER_FOLDS + 1) + (0 if inner is None else inner + 1)
        return Statistics(self.mean[split], self.deviation[split], self.mode[split])

    @property
    def inputs(self) -> int:
        """Inputs of a network on these data."""
        return int(self.numeric.shape[1] + self.onehot.shape[1])


def data_directory() -> Path:
    """Where prepared data sets lie; it need not exist yet. Raises BadInput without a home."""
    chosen = os.environ.get("SPARSE_ACLIB_DATA")
    if chosen:
        return Path(chosen)
    try:
        return cache_directory()
    except RuntimeError:
        raise BadInput("no home directory: set SPARSE_ACLIB_DATA to one for the data") from None


def sum_in_name(dataset: str) -> str:
    """The beginning of its SHA-256 that a data set's name ends in; empty where it ends in none."""
    match = _WITH_SUM.fullmatch(dataset)
    return match[1] if match else ""


def path(source: str, dataset: str) -> Path:
    """The file of a data set, whether it is there or not."""
    return data_directory() / source / f"{dataset}.safetensors"


def downloads(source: str, dataset: str) -> Path:
    """Where what was downloaded of a data set lies until it is stored."""
    return data_directory() / "downloads" / f"{source}-{dataset}"


def read(file: Path) -> Stored:
    """Maps a file into memory. Raises OSError where that fails, Damaged for a wrong content."""
    with open(file, "rb", opener=regular) as stream:
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise Damaged("it is empty") from None
    content = np.frombuffer(mapped, np.uint8)
    try:
        header, about, start = _header(content)
        if about.pop("sum") != _sum(header, about, content[start:]):
            raise Damaged("its checksum is another one")
        about["classes"] = tuple(about["classes"])
        tensors = {name: _tensor(header[name], content[start:]) for name in header}
        return Stored(about=About(**about), **tensors)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None


def _header(content: NDArray[np.uint8]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """(entries of the tensors, what the file says of itself, where the tensors begin)."""
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    if start > len(content):
        raise Damaged("its header is cut off")
    header = json.loads(content[8:start].tobytes())
    about = json.loads(header.pop("__metadata__")["sparse-aclib"])
    if about.pop("format") != FORMAT:
        raise Damaged("it is of another version of this suite")
    return header, about, start


def _sum(header: Mapping[str, Any], about: Mapping[str, object], content: NDArray[np.uint8]) -> int:
    """Of all that a file holds but this sum: what it says, and its 64-bit words, modulo 2**64."""
    said = zlib.crc32(json.dumps([header, about], sort_keys=True).encode())
    whole = len(content) // 8 * 8
    words = content[:whole].view(np.uint64).sum(dtype=np.uint64)
    return (said + int(words) + int(content[whole:].sum())) % 2**64


def _tensor(entry: Mapping[str, Any], content: NDArray[np.uint8]) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    if last > len(content):
        raise Damaged("it is cut off")
    return content[first:last].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])


def digest(about: Mapping[str, object], tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a content: tensors with their names, types and shapes, and what classes mean."""
    sum_ = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in _CONTENT:
        tensor = tensors[name]
        sum_.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        sum_.update(np.ascontiguousarray(tensor).data)
    return sum_.hexdigest()


def digest_of(stored: Stored) -> str:
    """The SHA-256 that the content of a file really has."""
    about = {"classes": list(stored.about.classes), "channels": stored.about.channels}
    return digest(about, {name: getattr(stored, name) for name in _CONTENT})


def write(file: Path, about: About, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes a file as a whole: a reader sees the old one, the new one or none, never a part.

    So it may be written by several processes at once. Raises BadInput where it cannot be written.
    """
    from safetensors.numpy import save

    if tensors.keys() != {*_CONTENT, *_DERIVED}:
        raise ValueError(f"tensors {', '.join(tensors)}: expected those of this module's docstring")
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    bare = save(arrays)
    start = 8 + int.from_bytes(bare[:8], "little")
    said = asdict(about)
    said["sum"] = _sum(json.loads(bare[8:start]), said, np.frombuffer(bare, np.uint8)[start:])
    del bare
    # One entry: several would be written in an order that changes from run to run.
    content = save(arrays, {"sparse-aclib": json.dumps({"format": FORMAT, **said}, sort_keys=True)})
    try:
        write_whole(file, content)
    except OSError as error:
        raise BadInput(
            f"cannot write {file}, {len(content) / 1e6:,.1f} MB ({error.strerror}): make room, or "
            "set SPARSE_ACLIB_DATA to a directory that can be written"
        ) from error
