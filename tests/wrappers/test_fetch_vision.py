"""Image sets: files known by their sums, OpenML's rows, subsets; small ones stand for the real."""

import fcntl
import gzip
import hashlib
import os
import pickle
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from sparse_training.data import stored
from sparse_training.data.features import features
from sparse_training.data.instances import load
from sparse_training.data.preparation import prepare
from sparse_training.data.raw import Access
from sparse_training.data.sources import source_of, vision
from sparse_training.errors import BadInput
from target_algorithms import ROOT
from tests.openml import documents, server
from tests.openml.server import Server
from wrappers.fetch import fetch

TRAIN, TEST = (30, 20, 25), (6, 4, 5)
PACKAGE = vision.DEBIAN
Parts = tuple[NDArray[Any], ...]
"""Training pixels, labels, test pixels, labels."""
SHAPES = {"grey": (1, 16, 16), "colour": (3, 8, 8)}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two data sets, `grey` and `colour`, beside the real ones, and subsets of 30 images."""
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vision, "SUBSETS", (30,))
    monkeypatch.setattr(vision, "DEBIAN", tmp_path / "no package")
    for number, (name, shape) in enumerate(SHAPES.items()):
        facts = vision.Images(name, "none", 900 + number, shape, TRAIN, TEST)
        monkeypatch.setitem(vision.DATA_SETS, name, facts)


def images(name: str, seed: int = 0) -> Parts:
    """(training pixels, labels, test pixels, labels), channels first."""
    rng = np.random.default_rng(seed)
    parts: list[NDArray[Any]] = []
    for counts in (TRAIN, TEST):
        labels = rng.permutation(np.repeat(np.arange(3), counts))
        pixels = rng.integers(0, 256, (len(labels), *SHAPES[name]), dtype=np.uint8)
        parts += [pixels // (1 + labels[:, None, None, None]).astype(np.uint8), labels]
    return tuple(parts)


def publish(monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Makes the sums of files those that are published of a data set."""
    sums = tuple((file, frozenset([_md5(content)])) for file, content in files.items())
    facts = replace(vision.DATA_SETS[name], files=(sums,))
    monkeypatch.setitem(vision.DATA_SETS, name, facts)


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def idx(parts: Parts) -> dict[str, bytes]:
    """The four files of MNIST's format."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = {}
    for name, part in zip(names, parts, strict=True):
        plain = part[:, 0] if part.ndim == 4 else part.astype(np.uint8)
        header = bytes([0, 0, 8, plain.ndim]) + np.array(plain.shape, ">u4").tobytes()
        files[f"{name}-ubyte.gz"] = gzip.compress(header + plain.tobytes(), mtime=0)
    return files


def npz(folder: Path, parts: Parts) -> dict[str, bytes]:
    """The four files of Kuzushiji-MNIST's format."""
    files = {}
    for number, part in enumerate(parts):
        np.savez_compressed(folder / "one.npz", part)
        files[f"part-{number}.npz"] = (folder / "one.npz").read_bytes()
    return files


def batches(parts: Parts) -> dict[str, bytes]:
    """The batches of CIFAR-10's format, as Python 2 wrote them."""
    train, labels, test, test_labels = parts
    cut = len(train) // 2
    return {
        name: _python_2_pickle({b"data": x.reshape(len(x), -1), b"labels": y.tolist()})
        for name, x, y in (
            ("data_batch_1", train[:cut], labels[:cut]),
            ("data_batch_2", train[cut:], labels[cut:]),
            ("test_batch", test, test_labels),
        )
    }


def _python_2_pickle(batch: dict[bytes, object]) -> bytes:
    """A dictionary of texts to arrays of bytes or lists of numbers, as Python 2's pickle has it.

    Its texts are bytes, which no pickle of Python 3 can say, and NumPy's modules have older names.
    """

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def value(content: object) -> bytes:
        if isinstance(content, list):
            return b"](" + b"".join(b"K" + bytes([number]) for number in content) + b"e"
        assert isinstance(content, np.ndarray)
        shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in content.shape) + b"t"
        dtype = (
            b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
            b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        made = (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        )
        return made + b"(K\x01" + shape + dtype + b"\x89" + text(content.tobytes()) + b"tb"

    entries = b"".join(text(key) + value(content) + b"s" for key, content in batch.items())
    return b"\x80\x02}" + entries + b"."


def check(name: str, parts: Parts) -> None:
    """What is stored is these images, standardised by channel, split as published."""
    train, labels, test, test_labels = parts
    split = load(f"vision/{name}/0")
    assert split.train_y.tolist() == labels.tolist()
    assert split.eval_y.tolist() == test_labels.tolist()
    assert split.train_rows.tolist() == list(range(len(train)))
    planes = train.reshape(len(train), train.shape[1], -1).astype(np.float64)
    mean, deviation = planes.mean(axis=(0, 2)), planes.std(axis=(0, 2))
    for stored_x, pixels in ((split.train_x, train), (split.eval_x, test)):
        raw = pixels.reshape(len(pixels), pixels.shape[1], -1)
        expected = (raw - mean[:, None]) / deviation[:, None]
        np.testing.assert_allclose(stored_x, expected.reshape(stored_x.shape), atol=1e-5)


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["idx", "npz", "batches"])
def test_published_files_are_used_as_they_are_wherever_they_lie_below_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    name = "colour" if layout == "batches" else "grey"
    parts = images(name)
    made = {"idx": idx, "npz": lambda p: npz(tmp_path, p), "batches": batches}[layout]
    files, others = made(parts), made(images(name, seed=1))
    publish(monkeypatch, name, files)
    write(tmp_path / "local" / "another set", others)  # the same names, other sums
    write(tmp_path / "local" / "z" / "the set", files)
    file = prepare("vision", name, Access(local=tmp_path / "local"))
    assert str(tmp_path / "local") in stored.read(file).about.origin
    check(name, parts)


def test_an_idx_file_may_be_unpacked_and_be_packed_by_another_gzip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = images("grey")
    files = idx(parts)
    publish(monkeypatch, "grey", {name: gzip.decompress(data) for name, data in files.items()})
    facts = vision.DATA_SETS["grey"]
    assert all(name.endswith(".gz") for name, _ in facts.files[0])
    unpacked = {
        name.removesuffix(".gz") if "labels" in name else name: gzip.decompress(data)
        if "labels" in name
        else gzip.compress(gzip.decompress(data), compresslevel=1)
        for name, data in files.items()
    }
    prepare("vision", "grey", Access(local=write(tmp_path / "local", unpacked)))
    check("grey", parts)


def test_files_with_another_sum_or_missing_ones_are_named_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = idx(images("grey"))
    publish(monkeypatch, "grey", files)
    files.pop("t10k-labels-idx1-ubyte.gz")
    files["train-labels-idx1-ubyte.gz"] += b"x"
    with pytest.raises(BadInput) as error:
        prepare("vision", "grey", Access(local=write(tmp_path / "local", files)))
    line = str(error.value)
    assert "train-labels-idx1-ubyte.gz (the one there has another md5 sum)" in line
    assert "t10k-labels-idx1-ubyte.gz (not there)" in line and "\n" not in line
    assert "train-images" not in line and not (tmp_path / "data").exists()


def test_a_damaged_file_of_debian_s_package_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision, "DEBIAN", tmp_path)
    (outcome,) = fetch(["vision/fashion_mnist"], Access())
    assert "install the package anew or remove it" in str(outcome.problem)


def test_no_damage_to_a_zipped_file_is_more_than_a_wrong_sum() -> None:
    whole = gzip.compress(bytes(range(256)) * 40, mtime=0)
    for place in range(2, len(whole)):
        vision._unzipped(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        vision._unzipped(whole[:place])


def test_a_zip_bomb_is_unzipped_so_far_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "_LARGEST", 1000)
    assert len(vision._unzipped(gzip.compress(bytes(10**6)))) == 1000


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_batch_that_is_more_than_arrays_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (Bomb(), {"data": Bomb()}, [np.float64], np.zeros(3).view(np.recarray)):
        with pytest.raises(pickle.UnpicklingError, match="is not admitted: expected arrays only"):
            vision._read_batches([pickle.dumps(content, protocol=2)])
    assert not Path("exploded").exists()


def test_parts_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, labels, test, test_labels = images("grey")
    files = idx((train, labels[::-1] * 0, test, test_labels))
    publish(monkeypatch, "grey", files)
    with pytest.raises(BadInput, match=r"training part of 75 images .* classes of \(75, 0, 0\)"):
        prepare("vision", "grey", Access(local=write(tmp_path / "local", files)))


def test_fashion_mnist_is_taken_from_debian_s_package_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = idx(images("grey"))
    monkeypatch.setitem(vision.DATA_SETS, "fashion_mnist", vision.DATA_SETS["grey"])
    publish(monkeypatch, "fashion_mnist", files)
    monkeypatch.setattr("sparse_training.data.preparation.known_sha256", lambda *name: "")
    monkeypatch.setattr(vision, "DEBIAN", write(tmp_path / "package", files))
    prepare("vision", "fashion_mnist")
    check("fashion_mnist", images("grey"))


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_package_of_debian_holds_what_was_published() -> None:
    facts = vision.DATA_SETS["fashion_mnist"]
    contents = [vision._content(PACKAGE, *file) for file in facts.files[0]]
    assert all(isinstance(content, bytes) for content in contents)


# OpenML ------------------------------------------------------------------------------------------


def published(name: str, *, channels_last: bool = False, parquet: bool = False) -> documents.Files:
    """What OpenML serves of a data set: training rows and then test rows."""
    train, labels, test, test_labels = images(name)
    pixels = np.concatenate([train, test])
    if channels_last:
        pixels = pixels.transpose(0, 2, 3, 1)
    frame = pd.DataFrame(pixels.reshape(len(pixels), -1))
    frame.columns = [f"pixel{number}" for number in range(frame.shape[1])]
    # As SVHN's: from 1, and not in the order of numbers.
    names = (np.concatenate([labels, test_labels]) + 8).astype(str)
    frame["class"] = pd.Categorical(names, categories=["10", "8", "9"])
    number = vision.DATA_SETS[name].data_id
    return documents.published(1, number, name, frame, "class", parquet=parquet)


@pytest.mark.parametrize("parquet", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_a_data_set_of_openml_is_split_as_published(name: str, parquet: bool) -> None:
    with Server(published(name, parquet=parquet)) as openml:
        file = prepare("vision", name, Access(server=openml.address, retries=1))
    about = stored.read(file).about
    assert about.origin == f"OpenML data {vision.DATA_SETS[name].data_id}"
    assert about.channels == SHAPES[name][0] and about.classes == ("0", "1", "2")
    check(name, images(name))


def test_channels_side_by_side_are_put_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(vision.DATA_SETS["colour"], channels_last=True)
    monkeypatch.setitem(vision.DATA_SETS, "colour", facts)
    with Server(published("colour", channels_last=True)) as openml:
        prepare("vision", "colour", Access(server=openml.address, retries=1))
    check("colour", images("colour"))


def test_images_of_another_size_and_values_that_are_no_bytes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = vision.DATA_SETS["grey"]
    monkeypatch.setitem(vision.DATA_SETS, "grey", replace(facts, shape=(1, 9, 9)))
    with Server(published("grey")) as openml:
        with pytest.raises(BadInput, match="75 images of 256 values, .* expected 75 of 81"):
            prepare("vision", "grey", Access(server=openml.address, retries=1))
    frame = pd.DataFrame({"x": np.linspace(0, 1, 90), "class": pd.Categorical(["1", "2"] * 45)})
    with Server(documents.published(1, 900, "grey", frame, "class")) as openml:
        with pytest.raises(BadInput, match="are no bytes: expected pixels of 0 to 255"):
            prepare("vision", "grey", Access(server=openml.address, retries=1))


# Subsets -----------------------------------------------------------------------------------------


def test_the_whole_that_a_subset_is_drawn_from_is_locked_while_it_is_downloaded() -> None:
    """Or fetches of two subsets at once would remove each other's downloads."""
    lock = stored.downloads("vision", "grey").with_name("vision-grey.lock")
    states = []

    def look(handler: server.Handler, content: bytes) -> None:
        with open(lock, "w") as file, suppress(BlockingIOError):
            states.append("locked")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            states.append("free")
        handler.reply(200, content)

    with Server(published("grey"), {"arff/900": look}) as openml:
        (outcome,) = fetch(["vision/grey_30"], Access(server=openml.address, retries=1))
    assert outcome.problem is None and states == ["locked"]
    assert stored.path("vision", "grey").exists()


def test_a_subset_is_balanced_seeded_and_part_of_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = images("grey")
    files = idx(parts)
    publish(monkeypatch, "grey", files)
    access = Access(local=write(tmp_path / "local", files))
    first = prepare("vision", "grey_30", access).read_bytes()
    assert prepare("vision", "grey_30", access).read_bytes() == first
    split = load("vision/grey_30/0")
    assert np.bincount(split.train_y).tolist() == [10, 10, 10]
    assert np.bincount(split.eval_y).tolist() == list(TEST)  # all there are, where that is fewer
    about = stored.read(stored.path("vision", "grey_30")).about
    assert about.title == "grey, 30 training images"
    pixels = stored.read(stored.path("vision", "grey_30")).numeric
    for rows, part in ((split.train_rows, parts[0]), (split.eval_rows, parts[2])):
        of_part = {image.tobytes() for image in part}
        chosen = [image.tobytes() for image in pixels[rows]]
        assert len(set(chosen)) == len(chosen) and set(chosen) <= of_part


def test_the_whole_is_downloaded_once_for_all_its_subsets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vision, "SUBSETS", (30, 60))
    with Server(published("grey")) as openml:
        access = Access(server=openml.address, retries=1)
        prepare("vision", "grey_30", access)
        prepare("vision", "grey_60", access)
        assert openml.asked.count("GET /arff/900") == 1
    assert not list((tmp_path / "data" / "downloads").rglob("*.arff"))  # stored, so not kept
    check("grey", images("grey"))


def test_names_say_data_set_and_size() -> None:
    for name in ("mnist", "fashion_mnist_30", "svhn", "cifar10_30"):
        source_of("vision", name)
    for name in ("mnist_31", "mnist_", "_30", "cifar", "fashion_mnist_2000"):
        with pytest.raises(BadInput, match="unknown data set .* alone or with _30"):
            source_of("vision", name)


def test_the_features_of_the_vision_sets_follow_from_the_published_numbers() -> None:
    lines = (ROOT / "scenarios" / "vision_conv" / "features.csv").read_text().splitlines()
    header, *rows = (line.split(",") for line in lines)
    for instance, *cells in rows:
        values = dict(zip(header[1:], map(float, cells), strict=True))
        base, size = vision._subset(instance.split("/")[1])
        facts = vision.DATA_SETS[base]
        most = size // 10 if size else 10**9
        classes = np.minimum(facts.train, most) + np.minimum(facts.test, most)
        expected = {
            "NumberOfInstances": classes.sum(),
            "NumberOfFeatures": np.prod(facts.shape) + 1,
            "MajorityClassPercentage": 100 * classes.max() / classes.sum(),
            "MinorityClassPercentage": 100 * classes.min() / classes.sum(),
            "Dimensionality": (np.prod(facts.shape) + 1) / classes.sum(),
        }
        for feature in values.keys() & expected.keys():
            assert values[feature] == round(float(expected[feature]), 6), (instance, feature)
        assert 0 < values["MeanMeansOfNumericAtts"] < 255


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_what_is_stored_of_fashion_mnist_has_the_committed_sum_and_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vision, "DEBIAN", PACKAGE)
    prepare("vision", "fashion_mnist")
    lines = (ROOT / "scenarios" / "fashion995" / "features.csv").read_text().splitlines()
    header, *rows = (line.split(",") for line in lines)
    for instance, *cells in rows:
        values = features(instance)
        assert [values[feature] for feature in header[1:]] == list(map(float, cells))


def test_an_image_set_has_features() -> None:
    with Server(published("colour")) as openml:
        prepare("vision", "colour", Access(server=openml.address, retries=1))
    values = features("vision/colour/0/3")
    assert values["NumberOfFeatures"] == 193 and values["NumberOfInstances"] == 90
    assert values["NumberOfSymbolicFeatures"] == 1 and values["MinorityClassPercentage"] < 30
    assert all(np.isfinite(value) for value in values.values())
