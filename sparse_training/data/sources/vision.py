"""Image data sets with a standard test part: from OpenML by data id, or from files that are here.

One outer fold: the standard training part trains, the standard test part evaluates. `mnist_2000`
and `mnist_10000` (and so for the others) are subsets of both parts: so many training images, the
same number of each class, and of the test part as many of each class, or all where there are fewer;
drawn by a fixed seed. Pixels are bytes, one channel after the other.

Files are looked for in the folder of `--local` and everything below it, and Fashion-MNIST's where
Debian's package dataset-fashion-mnist puts them. They are known by their names and told apart by
their published MD5 sums, so that the equally named files of MNIST, Fashion-MNIST and
Kuzushiji-MNIST may lie side by side; a file with another sum is not read. CIFAR-10's batches are
pickles: only after their sum has been compared they are unpickled, by a reader that knows nothing
but arrays.
"""

import gzip
import hashlib
import io
import pickle
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.data import stored
from sparse_training.data.raw import Access, DataSet
from sparse_training.data.splits import Outer
from sparse_training.errors import BadInput

INSTALLED = False
SUBSETS = (2000, 10000)
"""Training images of the subsets that there are of every data set."""
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

_SUBSET_SEED = 20261
_LARGEST = 1 << 28  # bytes; the largest file unzips to 47 MB
_Part = tuple[NDArray[np.uint8], NDArray[np.integer]]


@dataclass(frozen=True)
class Images:
    """What a data set must be like, said before it is read."""

    title: str
    licence: str
    data_id: int
    """OpenML's number of it."""
    shape: tuple[int, int, int]
    """(channels, height, width)"""
    train: tuple[int, ...]
    """Training images of each class."""
    test: tuple[int, ...]
    """Test images of each class."""
    files: tuple[tuple[tuple[str, frozenset[str]], ...], ...] = ()
    """Sets of files that hold it: names and the MD5 sums that are published of them."""
    channels_last: bool = False
    """Whether OpenML's columns have the channels of a pixel side by side."""


def _idx(*sums: tuple[str, ...]) -> tuple[tuple[str, frozenset[str]], ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple((f"{n}-ubyte.gz", frozenset(s)) for n, s in zip(names, sums, strict=True))


# MD5 sums of idx files: of the compressed file as published, then of its content.
DATA_SETS = {
    "mnist": Images(
        title="MNIST",
        licence="CC BY-SA 3.0",
        data_id=554,
        shape=(1, 28, 28),
        train=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        test=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        files=(
            _idx(
                ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
                ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
                ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
                ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
            ),
        ),
    ),
    "fashion_mnist": Images(
        title="Fashion-MNIST",
        licence="MIT",
        data_id=40996,
        shape=(1, 28, 28),
        train=(6000,) * 10,
        test=(1000,) * 10,
        files=(
            _idx(
                ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
                ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
                ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
        ),
    ),
    "kmnist": Images(
        title="Kuzushiji-MNIST",
        licence="CC BY-SA 4.0",
        data_id=41982,
        shape=(1, 28, 28),
        train=(6000,) * 10,
        test=(1000,) * 10,
        files=(
            _idx(
                ("bdb82020997e1d708af4cf47b453dcf7",),
                ("e144d726b3acfaa3e44228e80efcd344",),
                ("5c965bf0a639b31b8f53240b1b52f4d7",),
                ("7320c461ea6c1c855c0b718fb2a4b134",),
            ),
            (
                ("kmnist-train-imgs.npz", frozenset(["a183fbc01ed9a345513b145673d3d0bb"])),
                ("kmnist-train-labels.npz", frozenset(["b0e1d240e8afec72b50437fc3bc5908a"])),
                ("kmnist-test-imgs.npz", frozenset(["dace6de62ca8b90843cc45366337d02e"])),
                ("kmnist-test-labels.npz", frozenset(["3ae489a79983d0fe386152684e3b5412"])),
            ),
        ),
    ),
    "cifar10": Images(
        title="CIFAR-10",
        licence="none stated (A. Krizhevsky, 2009)",
        data_id=40927,
        shape=(3, 32, 32),
        train=(5000,) * 10,
        test=(1000,) * 10,
        files=(
            (
                ("data_batch_1", frozenset(["c99cafc152244af753f735de768cd75f"])),
                ("data_batch_2", frozenset(["d4bba439e000b95fd0a9bffe97cbabec"])),
                ("data_batch_3", frozenset(["54ebc095f3ab1f0389bbae665268c751"])),
                ("data_batch_4", frozenset(["634d18415352ddfa80567beed471001a"])),
                ("data_batch_5", frozenset(["482c414d41f54cd18b22e5b47cb7c3cb"])),
                ("test_batch", frozenset(["40351d587109b95175f43aff81a1287e"])),
            ),
        ),
    ),
    "svhn": Images(
        title="Street View House Numbers, cropped digits",
        licence="for non-commercial use only",
        data_id=41081,
        shape=(3, 32, 32),
        # The classes are 1 to 10; 10 is the digit 0.
        train=(13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659, 4948),
        test=(5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595, 1744),
        channels_last=True,
    ),
}


def expected(dataset: str) -> str | None:
    """None for a data set or a subset that there is, else what there is."""
    name, images = _subset(dataset)
    if name in DATA_SETS and images in (None, *SUBSETS):
        return None
    sizes = " or ".join(f"_{size}" for size in SUBSETS)
    return f"one of {', '.join(sorted(DATA_SETS))}, alone or with {sizes}"


def read(dataset: str, access: Access) -> DataSet:
    """A data set or a subset of one, from files where they are here, else from OpenML."""
    name, images = _subset(dataset)
    facts = DATA_SETS[name]
    if images is None:
        train, test, origin = _parts(name, access)
        title = facts.title
    else:
        train, test, origin = _whole(name, access)
        train, test = _drawn(train, images, 0), _drawn(test, images, 1)
        title = f"{facts.title}, {images:,} training images"
    count = len(train[1])
    labels = np.concatenate([train[1], test[1]])
    return DataSet(
        numeric=np.concatenate([train[0], test[0]]),
        labels=labels,
        classes=tuple(map(str, range(len(facts.train)))),
        title=title,
        origin=origin,
        licence=facts.licence,
        channels=facts.shape[0],
        folds=((np.arange(count), np.arange(count, len(labels))),),
    )


def _subset(dataset: str) -> tuple[str, int | None]:
    """(data set, training images or None for all) of a name."""
    match = re.fullmatch(r"(\w+?)_([1-9]\d*)", dataset)
    return (match[1], int(match[2])) if match else (dataset, None)


def _drawn(part: _Part, images: int, stream: int) -> _Part:
    """So many images of a part, the same number of each class, or all of a class with fewer."""
    pixels, labels = part
    rng = np.random.RandomState(_SUBSET_SEED + stream)  # its numbers are frozen in all versions
    each = images // (labels.max() + 1)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:each] for label in np.unique(labels)
    ]
    rows = np.sort(np.concatenate(chosen))
    return pixels[rows], labels[rows]


# Where the images are ----------------------------------------------------------------------------


def _parts(name: str, access: Access) -> tuple[_Part, _Part, str]:
    """(training part, test part, origin) of a data set as it was published."""
    folder = _folder(name, access)
    if folder is not None:
        access.report(f"vision/{name}: reading {folder}")
        parts = _local(name, folder)
        origin = str(folder)
    else:
        parts = _openml(name, access)
        origin = f"OpenML data {DATA_SETS[name].data_id}"
    train, test = parts
    _check_parts(name, train, test, origin)
    return train, test, origin


def _folder(name: str, access: Access) -> Path | None:
    """The folder to take the files of a data set from; None: they come from OpenML."""
    if access.local is not None and DATA_SETS[name].files:
        return access.local
    return DEBIAN if name == "fashion_mnist" and DEBIAN.is_dir() else None


def _whole(name: str, access: Access) -> tuple[_Part, _Part, str]:
    """The parts of a data set that a subset is drawn from.

    What must be downloaded is stored first, so that the other subsets need no download.
    """
    file = stored.path("vision", name)
    try:
        data = stored.read(file)
    except (OSError, stored.Damaged):
        if _folder(name, access) is not None:
            return _parts(name, access)
        data = access.prepared("vision", name)
    train, test = (
        (data.numeric[rows], data.labels[rows].astype(np.int64)) for rows in Outer().rows(data, 0)
    )
    return train, test, data.about.origin


def _check_parts(name: str, train: _Part, test: _Part, origin: str) -> None:
    facts = DATA_SETS[name]
    width = int(np.prod(facts.shape))
    for part, (pixels, labels), counts in (
        ("training", train, facts.train),
        ("test", test, facts.test),
    ):
        by_class = tuple(np.bincount(labels, minlength=len(counts)).tolist())
        if pixels.shape != (sum(counts), width) or by_class != counts:
            raise BadInput(
                f"vision/{name}: {origin} has a {part} part of {len(pixels):,} images of "
                f"{pixels.shape[1]:,} values, classes of {by_class}: expected {sum(counts):,} of "
                f"{width:,}, classes of {counts}"
            )


# OpenML ------------------------------------------------------------------------------------------


def _openml(name: str, access: Access) -> tuple[_Part, _Part]:
    """From OpenML, whose rows are the training part and then the test part."""
    from sparse_training.data.sources.openml import session

    facts = DATA_SETS[name]
    with session(f"vision/{name}", access) as openml:
        table = openml.data(facts.data_id)
        pixels = table.frame.to_numpy()
        labels = table.target.astype(int).to_numpy()
    whole = pixels.astype(np.uint8)
    if not np.array_equal(whole, pixels):
        raise BadInput(f"vision/{name}: OpenML's values are no bytes: expected pixels of 0 to 255")
    if facts.channels_last:
        channels, height, width = facts.shape
        planes = whole.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        whole = np.ascontiguousarray(planes).reshape(len(whole), -1)
    labels = labels - labels.min()
    count = sum(facts.train)
    return (whole[:count], labels[:count]), (whole[count:], labels[count:])


# Files -------------------------------------------------------------------------------------------


def _local(name: str, folder: Path) -> tuple[_Part, _Part]:
    """From the first set of files that is complete in a folder. Raises BadInput if none is."""
    problems = []
    for files in DATA_SETS[name].files:
        contents = [_content(folder, file, sums) for file, sums in files]
        missing = [
            f"{file} ({content})"
            for (file, _), content in zip(files, contents, strict=True)
            if isinstance(content, str)
        ]
        if not missing:
            suffix = files[0][0].rpartition(".")[2]
            reader = _READERS.get(suffix, _read_batches)
            return reader([content for content in contents if isinstance(content, bytes)])
        problems.append(missing)
    best = min(problems, key=len)
    instead = "install the package anew or remove it" if folder == DEBIAN else "leave --local out"
    raise BadInput(
        f"vision/{name}: {folder} lacks {', '.join(best)}; {instead} to get it from OpenML"
    )


def _content(folder: Path, name: str, sums: frozenset[str]) -> bytes | str:
    """The file with one of the sums, unzipped; if there is none, what is there instead."""
    bare = name.removesuffix(".gz")
    instead = "not there"
    for file in sorted(path for path in folder.rglob(f"{bare}*") if path.is_file()):
        if file.name not in (name, bare):
            continue
        try:
            content = file.read_bytes()
        except OSError as error:
            instead = str(error.strerror)
            continue
        plain = _unzipped(content)
        if sums & {hashlib.md5(content).hexdigest(), hashlib.md5(plain).hexdigest()}:
            return plain
        instead = "the one there has another md5 sum"
    return instead


def _unzipped(content: bytes) -> bytes:
    """What is zipped, as far as a data set could reach; else the content as it is."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LARGEST)
    except (OSError, EOFError, zlib.error):
        return content


def _read_idx(contents: Sequence[bytes]) -> tuple[_Part, _Part]:
    """The four files in the format of MNIST: a magic number, dimensions, bytes."""
    arrays = []
    for content in contents:
        dimensions = content[3]
        shape = np.frombuffer(content, ">u4", dimensions, 4)
        arrays.append(np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape))
    return _split(arrays)


def _read_npz(contents: Sequence[bytes]) -> tuple[_Part, _Part]:
    """The four files of Kuzushiji-MNIST, with one array each."""
    return _split([np.load(io.BytesIO(part), allow_pickle=False)["arr_0"] for part in contents])


def _read_batches(contents: Sequence[bytes]) -> tuple[_Part, _Part]:
    """CIFAR-10's five training batches and its test batch."""
    batches = [_ArraysOnly(io.BytesIO(content), encoding="bytes").load() for content in contents]
    pixels = [np.asarray(batch[b"data"], np.uint8) for batch in batches]
    labels = [np.asarray(batch[b"labels"], np.int64) for batch in batches]
    return _split(
        [np.concatenate(pixels[:-1]), np.concatenate(labels[:-1]), pixels[-1], labels[-1]]
    )


def _split(arrays: Sequence[NDArray[Any]]) -> tuple[_Part, _Part]:
    train, train_labels, test, test_labels = arrays
    return (
        (train.reshape(len(train), -1), train_labels.astype(np.int64)),
        (test.reshape(len(test), -1), test_labels.astype(np.int64)),
    )


_READERS: dict[str, Callable[[Sequence[bytes]], tuple[_Part, _Part]]] = {
    "gz": _read_idx,
    "npz": _read_npz,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles dictionaries, lists, numbers, texts and numpy arrays; anything else is refused.

    A pickle may name any function and have it called; these three make an array.
    """

    _ADMITTED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted: expected arrays only")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        return getattr(np, name)
