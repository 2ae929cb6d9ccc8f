"""Data of a user's own: stored as those of all sources, or refused in one line, never run."""

import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet
from sklearn import datasets

from sparse_training.data import stored
from sparse_training.data.features import features
from sparse_training.data.instances import load
from sparse_training.data.raw import Access
from sparse_training.data.sources import file as source
from sparse_training.data.sources import known_sha256
from sparse_training.errors import BadInput
from target_algorithms import ROOT
from wrappers.fetch import OwnData, fetch, fetch_own

ROWS = 60
CLASSES = ["b", "a", "c"] * 20
NUMBERS = [row / 2 for row in range(ROWS)]
SAID = 'target = "class"\nlicence = "none"\n'


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def csv(columns: dict[str, Any] | None = None, **more: Any) -> str:
    frame = pd.DataFrame(({"x": NUMBERS} if columns is None else columns) | more)
    if "class" not in frame:
        frame["class"] = CLASSES
    return frame.to_csv(index=False)


def pq(table: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


class Trap:
    """Whoever unpickles it makes a folder called `run`."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, ("run",)


def folder(tmp_path: Path, files: dict[str, str | bytes], said: str | None = SAID) -> Path:
    place = tmp_path / "own"
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        content = content.encode() if isinstance(content, str) else content
        (place / name).write_bytes(content)
    if said is not None:
        (place / source.DESCRIPTION).write_text(said)
    return place


def stored_of(made: OwnData) -> stored.Stored:
    return stored.read(stored.path(*made.name.split("/")))


# What is read ------------------------------------------------------------------------------------


IRIS: Any = datasets.load_iris(as_frame=True)
IRIS_FRAME = IRIS.data.assign(species=IRIS.target_names[IRIS.target])
AS_FILES: dict[str, bytes] = {
    "iris.csv": IRIS_FRAME.to_csv(index=False).encode(),
    "iris.tsv": IRIS_FRAME.to_csv(index=False, sep="\t").encode(),
    "iris.parquet": pq(pa.Table.from_pandas(IRIS_FRAME)),
    "iris.npz": npz(x=IRIS.data.to_numpy(), species=IRIS.target_names[IRIS.target]),
}


@pytest.mark.parametrize("name", AS_FILES)
def test_iris_from_a_file_is_iris_from_a_package_to_the_bit(tmp_path: Path, name: str) -> None:
    place = folder(tmp_path, {name: AS_FILES[name]}, SAID.replace("class", "species"))
    (made,) = fetch_own(place)
    assert made.about.sha256 == known_sha256("sklearn", "iris")
    assert made.name == f"file/iris-{made.about.sha256[:12]}"
    own, packaged = load(f"{made.name}/1/3"), load("sklearn/iris/1/3")
    for part in ("train_x", "train_y", "eval_x", "eval_y"):
        assert (getattr(own, part) == getattr(packaged, part)).all()
    assert features(f"{made.name}/0/halves/1") == features("sklearn/iris/0/halves/1")


@dataclass(frozen=True)
class Table:
    """A table that can be read, and what becomes of it."""

    content: str | bytes
    said: str = ""
    numeric: tuple[float, ...] = ()
    """Of row 2."""
    levels: tuple[int, ...] = ()
    """Categories that occur in each categorical column."""
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("a", "b", "c")
    missing: int = 0
    name: str = "t.csv"


ODD_CLASS = {"x": NUMBERS, "class": [10, 9] * 30}
TABLES: dict[str, Table] = {
    "numbers": Table(csv(), numeric=(1.0,)),
    "line ends of Windows": Table(csv().replace("\n", "\r\n"), numeric=(1.0,)),
    "a byte order mark": Table(b"\xef\xbb\xbf" + csv().encode(), numeric=(1.0,)),
    "names in quotes, as R writes them": Table(
        csv().replace("x,class", '"x","class"'), numeric=(1.0,)
    ),
    "semicolons": Table(csv().replace(",", ";"), numeric=(1.0,), notes=("separated by ';'",)),
    "a separator of its own": Table(
        csv().replace(",", "~"), 'separator = "~"', numeric=(1.0,), notes=("separated by '~'",)
    ),
    "blanks behind commas": Table(csv().replace(",", ", "), numeric=(1.0,)),
    "commas, quotes and lines in a value": Table(
        csv(c=['a, "b"', "a\nb"] * 30),
        numeric=(1.0,),
        levels=(2,),
        notes=("taken as categorical: 'c'",),
    ),
    "letters of all the world": Table(
        csv({"größe": NUMBERS}, 日本=["ä", "🙂"] * 30), numeric=(1.0,), levels=(2,)
    ),
    "texts are categories": Table(csv({"c": ["u", "v", "w"] * 20}), levels=(3,)),
    "numbers with a zero before are codes": Table(csv({"c": ["01", "1", "11"] * 20}), levels=(3,)),
    "few whole numbers are numbers, and told": Table(
        csv({"x": [1, 2, 3] * 20}),
        numeric=(3.0,),
        notes=("taken as numeric, though at most 12 whole numbers: 'x' (codes belong under",),
    ),
    "numbers said to be codes": Table(csv({"x": [7, 2, 3] * 20}), 'categorical = ["x"]', (), (3,)),
    "a column is left out": Table(csv(id=range(ROWS)), 'ignore = ["id"]', (1.0,)),
    "a number of the row is kept": Table(csv(id=range(ROWS)), 'numeric = ["id"]', (1.0, 2.0)),
    "dates are left out": Table(csv(d=["2020-01-01"] * ROWS), 'ignore = ["d"]', (1.0,)),
    "texts are kept": Table(
        csv(c=[f"u{row}" for row in range(ROWS)]), 'categorical = ["c"]', (1.0,), (ROWS,)
    ),
    "gaps": Table(
        csv(c=["u", "v", "?"] * 20, y=["1", "", "NA"] * 20), "", (1.0, np.nan), (2,), missing=60
    ),
    "what is missing is said": Table(
        csv(c=["u", "v", "?"] * 20, y=[-9, 2, -9] * 20),
        'missing = ["-9"]',
        (1.0, np.nan),
        (3,),
        missing=40,
    ),
    "classes that are numbers": Table(csv(ODD_CLASS), "", (1.0,), classes=("9", "10")),
    "types of Parquet": Table(
        pq(
            pa.table(
                {
                    "small": pa.array([1, None, 3] * 20, pa.int8()),
                    "half": pa.array(np.array(NUMBERS, np.float16)),
                    "exact": pa.array(NUMBERS).cast(pa.decimal128(6, 2)),
                    "truth": pa.array([True, False, None] * 20),
                    "text": pa.array(["u", "v", None] * 20, pa.large_string()),
                    "coded": pa.array(["7", "2", "5"] * 20).dictionary_encode(),
                    "codes": pa.array([7, 2, 5] * 20).dictionary_encode(),
                    "when": pa.array([1] * ROWS, pa.timestamp("s")),
                    "class": pa.array([3, 1, 2] * 20, pa.uint16()),
                }
            )
        ),
        'ignore = ["when"]',
        (3.0, 1.0, 1.0, 5.0),
        (2, 2, 3),
        classes=("1", "2", "3"),
        missing=60,
        name="t.parquet",
    ),
    "rows of an npz file": Table(
        npz(x=np.array([NUMBERS, [np.nan, 2, 3] * 20]).T, **{"class": np.array(CLASSES, "S")}),
        numeric=(1.0, 3.0),
        missing=20,
        name="t.npz",
    ),
    "one array of several": Table(
        npz(x=np.zeros((3, 3)), y=np.array([NUMBERS]).T, **{"class": np.array(CLASSES)[:, None]}),
        'inputs = "y"',
        (1.0,),
        name="t.npz",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_is_stored_as_it_is_and_what_was_inferred_is_told(
    tmp_path: Path, case: str
) -> None:
    table = TABLES[case]
    (made,) = fetch_own(folder(tmp_path, {table.name: table.content}, SAID + table.said))
    data = stored_of(made)
    np.testing.assert_array_equal(data.numeric[2], np.array(table.numeric))
    assert tuple(np.diff(data.groups)) == table.levels
    assert data.about.classes == table.classes and data.about.channels == 0
    for note in table.notes:
        assert any(told.startswith(note) for told in made.notes), made.notes
    assert not table.numeric or features(f"{made.name}/0")["NumberOfMissingValues"] == table.missing
    assert load(f"{made.name}/0/halves/0").train_x.shape == (20, data.inputs)


def test_labels_follow_their_rows(tmp_path: Path) -> None:
    (made,) = fetch_own(folder(tmp_path, {"t.csv": csv()}))
    data = stored_of(made)
    assert [data.about.classes[label] for label in data.labels] == CLASSES


@pytest.mark.parametrize("values", ["bytes", "single", "double"])
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((ROWS, 5, 7), ""),
        ((ROWS, 3, 5, 7), ""),
        ((ROWS, 5, 7, 3), ""),
        ((ROWS, 3, 7, 3), 'channels = "last"'),
        ((ROWS, 3, 7, 3), 'channels = "first"'),
    ],
)
def test_images_are_standardised_by_channel_whatever_their_values(
    tmp_path: Path, values: str, shape: tuple[int, ...], said: str
) -> None:
    rng = np.random.default_rng(7)
    pixels: NDArray[Any] = rng.integers(0, 256, shape).astype(np.uint8)
    if values != "bytes":
        pixels = (pixels / 127.5 - 1 + 100).astype("f4" if values == "single" else "f8")
    place = folder(tmp_path, {"i.npz": npz(x=pixels, **{"class": np.array(CLASSES)})}, SAID + said)
    (made,) = fetch_own(place)
    first = len(shape) == 3 or shape[1] == 3 and "last" not in said
    planes = pixels if first else pixels.transpose(0, 3, 1, 2)
    channels = 1 if len(shape) == 3 else planes.shape[1]
    assert stored_of(made).about.channels == channels
    assert stored_of(made).numeric.dtype == pixels.dtype
    planes = planes.reshape(ROWS, channels, -1).astype(np.float64)
    for instance in (f"{made.name}/0", f"{made.name}/0/3", f"{made.name}/0/halves/3"):
        split = load(instance)
        trained = planes[split.train_rows]
        mean, deviation = trained.mean(axis=(0, 2)), trained.std(axis=(0, 2))
        wanted = (planes[split.eval_rows] - mean[:, None]) / deviation[:, None]
        np.testing.assert_allclose(split.eval_x, wanted.reshape(len(wanted), -1), atol=2e-5)


def test_a_channel_without_deviation_among_the_training_images_is_zero(tmp_path: Path) -> None:
    """In all splits but those that train on the one image in which it has other values."""
    pixels = np.random.default_rng(3).normal(size=(ROWS, 2, 5, 7))
    pixels[:, 1] = 2 / 7 + 0.1  # whose squares are rounded
    (made,) = fetch_own(folder(tmp_path, {"i.npz": npz(x=pixels, **{"class": np.array(CLASSES)})}))
    other = int(load(f"{made.name}/0").train_rows[0])
    pixels[other, 1] = 1e3 / 7
    (made,) = fetch_own(folder(tmp_path, {"i.npz": npz(x=pixels, **{"class": np.array(CLASSES)})}))
    constant = 0
    for number in range(10):
        split = load(f"{made.name}/0/{number}")
        assert np.isfinite(split.train_x).all() and split.train_x[:, :35].std() > 0.9
        if other in split.eval_rows:
            constant += 1
            assert (split.train_x[:, 35:] == 0).all() and (split.eval_x[:, 35:] == 0).all()
        else:
            assert split.train_x[:, 35:].std() > 0.9
    assert constant == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_an_official_test_part_is_the_only_outer_fold(tmp_path: Path, suffix: str) -> None:
    def content(rows: int) -> str | bytes:
        frame = pd.DataFrame({"x": NUMBERS, "c": ["u", "v"] * 30, "class": CLASSES})[:rows]
        if suffix == "csv":
            return frame.to_csv(index=False)
        if suffix == "parquet":
            return pq(pa.Table.from_pandas(frame))
        return npz(x=np.array(frame[["x"]]), **{"class": np.array(CLASSES)[:rows]})

    said = SAID + f'[t]\ntest = "held.{suffix}"\n'
    place = folder(tmp_path, {f"t.{suffix}": content(60), f"held.{suffix}": content(7)}, said)
    (made,) = fetch_own(place)
    split = load(f"{made.name}/0")
    assert split.train_rows.tolist() == list(range(60))
    assert split.eval_rows.tolist() == list(range(60, 67))
    with pytest.raises(BadInput, match="fold 1 of instance .* is out of range"):
        load(f"{made.name}/1")


def test_several_data_sets_lie_in_a_folder_and_tables_choose_among_its_files(
    tmp_path: Path,
) -> None:
    files: dict[str, str | bytes] = {
        "one.csv": csv(),
        "two.csv": csv({"y": NUMBERS[::-1], "kind": CLASSES[::-1]}, **{"class": CLASSES}),
        "README.md": "of no use",
        ".hidden.csv": "of no use",
    }
    both = fetch_own(folder(tmp_path, files))
    assert [made.said.name for made in both] == ["one", "two"]
    said = (
        SAID + '[a-2]\nfile = "two.csv"\ntarget = "kind"\ntitle = "The second"\norigin = "here"\n'
    )
    (chosen,) = fetch_own(folder(tmp_path, files, said))
    assert chosen.about.title == "The second" and chosen.about.origin.startswith("here; two.csv, ")
    assert chosen.name.startswith("file/a-2-") and stored_of(chosen).about == chosen.about


# What is refused ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """Files that cannot be a data set, and what is said of them."""

    content: str | bytes
    refused: str
    said: str = SAID
    name: str = "t.csv"
    more: dict[str, str | bytes] = field(default_factory=dict)


def bad_npz(refused: str, said: str = "", labels: Any = CLASSES, **arrays: Any) -> Bad:
    return Bad(npz(**{"class": np.array(labels)}, **arrays), refused, SAID + said, "t.npz")


def bad_pq(refused: str, **columns: Any) -> Bad:
    return Bad(pq(pa.table({"class": pa.array(CLASSES), **columns})), refused, SAID, "t.parquet")


X = np.array([NUMBERS]).T
UNIQUE = [f"word {row}" for row in range(ROWS)]
BAD: dict[str, Bad] = {
    # CSV
    "an empty file": Bad("", "t.csv is empty: expected a line of names"),
    "a file of blanks": Bad(" \n \n", "t.csv is empty"),
    "no row": Bad("x,class\n", "has no row below the line of names"),
    "no such column": Bad(
        csv(),
        "no column 'kind' for the target: expected one of 'x', 'class'",
        SAID.replace("class", "kind"),
    ),
    "no line of names": Bad(
        csv().partition("\n")[2], "no column 'class' .* its first line must name the columns"
    ),
    "a wrong separator": Bad(
        csv(),
        r"no column 'class' .* expected one of 'x,class' \(separated by ';'\)",
        SAID + 'separator = ";"',
    ),
    "a separator of two": Bad(
        csv(), "separator is ', ', expected one char", SAID + 'separator = ", "'
    ),
    "one column": Bad(
        "class\n" + "\n".join(CLASSES), "has one column only, 'class': expected others"
    ),
    "a row too short": Bad(
        csv() + "3\n", "t.csv, line 62: 1 values, expected 2 as in the first line"
    ),
    "a row too long": Bad(csv() + "3,a,4\n", "t.csv, line 62: 3 values, expected 2"),
    "a comma at every end": Bad(csv().replace("a\n", "a,\n"), "line 3: 3 values, expected 2"),
    "no UTF-8": Bad(
        csv(c=["ä", "b"] * 30).encode("latin-1"), r"line 2: is not UTF-8 text \(byte 0xe4"
    ),
    "UTF-16": Bad(csv().encode("utf-16"), "t.csv, line 1: is not UTF-8 text"),
    "a quote that is not closed": Bad(csv() + '"3,a\n', "t.csv, line 62: .*; expected CSV"),
    "a quote within": Bad(csv() + '"3"4,a\n', "t.csv, line 62: .*; expected CSV"),
    "a name twice": Bad(csv().replace("x,", "class,"), "has a column 'class' twice"),
    # columns
    "no value": Bad(
        csv(c=["", "NA", "?"] * 20), "column 'c' has no value at all; name it under ign"
    ),
    "infinite values": Bad(csv(y=["1", "2", "-inf"] * 20), "column 'y' has infinite values"),
    "numbers beyond all": Bad(csv(y=["1", "2", "1e999"] * 20), "column 'y' has infinite values"),
    "commas in numbers": Bad(
        csv(y=["1,5", "2", "3"] * 20),
        r"column 'y' has numbers with a comma \('1,5'\): expected a p",
    ),
    "numbers and a text": Bad(
        csv(y=[*NUMBERS[1:], "n.a."]),
        "column 'y' has numbers, but 'n.a.' in row 60: name the column",
    ),
    "texts said to be numbers": Bad(
        csv(y=["1", "two"] * 30),
        "column 'y' has 'two' in row 2: expected a number",
        SAID + 'numeric = ["y"]',
    ),
    "dates": Bad(csv(y=["2020-01-01", "2020-02-01"] * 30), "holds dates or times .* name it under"),
    "dates of elsewhere": Bad(
        csv(y=["1.2.20", "13/4/2021"] * 30), "column 'y' holds dates or times"
    ),
    "times": Bad(csv(y=["12:30", "1:15:10.5"] * 30), "column 'y' holds dates or times"),
    "an ID": Bad(
        csv(plant_id=[row**2 for row in range(ROWS)]), "column 'plant_id' numbers the rows"
    ),
    "a number of the row": Bad(csv(n=range(5, 65)), r"column 'n' numbers the rows \(5, 6, ...\)"),
    "an index of pandas": Bad(
        pd.DataFrame({"x": NUMBERS, "class": CLASSES}).to_csv(), "column '' numbers the rows"
    ),
    "free texts": Bad(csv(c=UNIQUE), "column 'c' has 60 different texts in 60 rows, an identifier"),
    "thousands of categories": Bad(
        csv({"c": [f"u{row % 1100}" for row in range(2400)]}, **{"class": CLASSES * 40}),
        "column 'c' has 1,100 different texts in 2,400 rows",
    ),
    "a column that is not there": Bad(
        csv(),
        "no column 'y', which is said to be ignore: expected some of 'x', 'class'",
        SAID + 'ignore = ["y"]',
    ),
    "nothing but the target": Bad(csv(), "has no features", SAID + 'ignore = ["x"]'),
    # target
    "one class": Bad(
        csv({"x": NUMBERS, "class": "a"}), "target 'class' has one class, 'a': expected"
    ),
    "rows without a class": Bad(
        csv({"x": NUMBERS, "class": ["a", "b", ""] * 20}), "'class' is missing in 20 of 60 rows"
    ),
    "a class with fewer rows than folds": Bad(
        csv({"x": NUMBERS, "class": ["a"] * 29 + ["b"] * 29 + ["c"] * 2}),
        "class 'c' of target 'class' has 2 rows: expected at least 3, one for each outer fold",
    ),
    "regression": Bad(
        csv({"x": NUMBERS, "class": NUMBERS}),
        r"different numbers with fractions \(0.5\): that is reg",
    ),
    "regression of whole numbers": Bad(
        csv({"x": range(0, 6000, 2), "class": range(3000)}),
        "has 3,000 different numbers: that is re",
    ),
    "too many classes": Bad(
        csv({"x": range(0, 6000, 2), "class": [f"u{row}" for row in range(3000)]}),
        "has 3,000 classes",
    ),
    "few rows": Bad(
        csv({"x": NUMBERS[:20], "class": ["a", "b"] * 10}), "has 20 rows: expected at least 30"
    ),
    # Parquet
    "no Parquet": Bad("PAR1 and no more", "t.parquet cannot be read", SAID, "t.parquet"),
    "lists": bad_pq(
        r"column 'x' holds nested values \(list<.*name it under", x=pa.array([[1]] * ROWS)
    ),
    "records": bad_pq("column 'x' holds nested values", x=pa.array([{"a": 1}] * ROWS)),
    "dates of Parquet": bad_pq(
        "column 'x' holds dates or times", x=pa.array([1] * ROWS, pa.date32())
    ),
    "bytes": bad_pq("column 'x' holds values of another type", x=pa.array([b"a"] * ROWS)),
    "no value in Parquet": bad_pq("column 'x' holds no value at all", x=pa.nulls(ROWS)),
    "only nan": bad_pq("column 'x' has no value at all", x=pa.array([np.nan] * ROWS)),
    "beyond all doubles": bad_pq("t.parquet cannot be read", x=pa.array([2**60 + 1] * ROWS)),
    # npz
    "no npz": Bad(csv(), "t.npz cannot be read as npz: File is not a zip file", SAID, "t.npz"),
    "a pickle": Bad(pickle.dumps(Trap()), "t.npz cannot be read as npz", SAID, "t.npz"),
    "pickled objects": bad_npz(
        "array 'x' holds pickled objects, which are not read",
        x=np.array([[Trap()]] * ROWS, dtype=object),
    ),
    "pickled labels": bad_npz(
        "array 'class' holds pickled objects",
        x=X,
        labels=np.array([Trap()] * ROWS, dtype=object),
    ),
    "no such array": bad_npz(
        "no array 'kind' for the target: expected one of 'class', 'x'",
        x=X,
        said='[t]\ntarget = "kind"',
    ),
    "several arrays": bad_npz(
        "has the arrays 'x', 'y' beside the target: expected inputs =", x=X, y=X
    ),
    "another array": bad_npz("has no array 'z' for inputs: expected 'x'", 'inputs = "z"', x=X),
    "numbers in a row": bad_npz(r"array 'x' has the shape \(60,\) and holds float64", x=X[:, 0]),
    "complex numbers": bad_npz("holds complex128: expected numbers", x=X * 1j),
    "texts for inputs": bad_npz("holds <U1: expected numbers", x=np.array([CLASSES]).T),
    "labels too few": bad_npz(r"array 'class' has the shape \(60,\): expected \(59,\)", x=X[1:]),
    "labels of two columns": bad_npz(
        r"has the shape \(60, 2\): expected \(60,\)", x=X, labels=np.zeros((60, 2))
    ),
    "labels that are times": bad_npz(
        "has labels of type datetime64", x=X, labels=np.zeros(60, "M8[s]")
    ),
    "nan in images": bad_npz(
        "has images with nan or infinite values", x=np.full((60, 4, 4), np.nan)
    ),
    "inf in images": bad_npz(
        "has images with nan or infinite values", x=np.full((60, 4, 4), np.inf)
    ),
    "inf in rows": bad_npz("t.npz has infinite values: expected none", x=X + np.inf),
    "nan labels": bad_npz("is missing in 60 of 60 rows", x=X, labels=np.full(60, np.nan)),
    "inf labels": bad_npz("'class' has infinite values", x=X, labels=np.full(60, np.inf)),
    "no value in a column": bad_npz("no value at all in column 0", x=X * np.nan),
    "channels that are not plain": bad_npz(
        r"images of the shape \(60, 3, 4, 3\): expected channels = \"first\"",
        x=np.zeros((60, 3, 4, 3)),
    ),
    "five dimensions": bad_npz("has images of the shape", x=np.zeros((60, 3, 4, 3, 1))),
    "kinds of an array": bad_npz(
        "without names of columns, but numeric is said", 'numeric = ["x"]', x=X
    ),
    # the description
    "no TOML": Bad(csv(), r"dataset.toml: .*; expected TOML", "target: class"),
    "deep TOML": Bad(csv(), r"dataset.toml: .*; expected TOML", "a = " + "[" * 5000),
    "no target": Bad(csv(), "says no target of t: expected target = ", 'licence = "none"'),
    "no licence": Bad(csv(), "says no licence of t: expected licence = ", 'target = "class"'),
    "an unknown key": Bad(
        csv(), "unknown key 'targets', expected file, target, lic", SAID + "targets=1"
    ),
    "a number for a text": Bad(csv(), "target is 3, expected a text", SAID.replace('"class"', "3")),
    "a text for a list": Bad(
        csv(), "ignore is 'x', expected a list of texts", SAID + 'ignore = "x"'
    ),
    "a column in two kinds": Bad(
        csv(), "column 'x' is named in two", SAID + 'ignore = ["x"]\nnumeric = ["x"]'
    ),
    "a table without a file": Bad(csv(), "expected one file u.csv or .*, found none", SAID + "[u]"),
    "two files for a table": Bad(
        csv(), "found 't.csv', 't.npz'", SAID + "[t]", more={"t.npz": npz(x=X)}
    ),
    "a path for a file": Bad(
        csv(),
        "file is '../own/t.csv', expected a file in this folder",
        SAID + '[t]\nfile="../own/t.csv"',
    ),
    "a NUL in a file's name": Bad(
        csv(), "file is .*, expected a file in", SAID + '[t]\nfile="a\\u0000.csv"'
    ),
    "a path for a name": Bad(csv(), "'../x'|../x. is no name", SAID + '["../x"]\nfile = "t.csv"'),
    "a line in a name": Bad(
        csv(), "is no name: expected letters", SAID + '["a\\nb"]\nfile = "t.csv"'
    ),
    "a name like a sum": Bad(csv(), "is no name", SAID + '[a-012345678901]\nfile = "t.csv"'),
    "a file for all": Bad(
        csv(), "file is said of all, expected it below a", SAID + 'file = "t.csv"'
    ),
    "channels of no kind": Bad(
        csv(), 'channels is \'middle\', expected "first" or "last"', SAID + 'channels = "middle"'
    ),
    "a hostile file's name": Bad(
        csv(), r"'a\\nb \\u202e.csv' gives no name for a", name="a\nb \u202e.csv"
    ),
    "a test part that is not there": Bad(
        csv(), "u.csv cannot be read", SAID + '[t]\ntest = "u.csv"'
    ),
    "a test part of another kind": Bad(
        csv(), "u.npz is no test part of t.csv", SAID + '[t]\ntest = "u.npz"'
    ),
    "a test part with other columns": Bad(
        csv(),
        "u.csv has other columns than t.csv",
        SAID + '[t]\ntest = "u.csv"',
        more={"u.csv": csv(y=1)},
    ),
    "a class in the test part only": Bad(
        csv({"x": NUMBERS, "class": ["a", "b"] * 30}),
        "class 'c' .* has 0 rows in the training part",
        SAID + '[t]\ntest = "u.csv"',
        more={"u.csv": csv()},
    ),
    "the same twice": Bad(csv(), "t and u are the same data: expected one", more={"u.csv": csv()}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_data_set_is_one_line_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    bad = BAD[case]
    place = folder(tmp_path, {bad.name: bad.content, **bad.more}, bad.said)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=bad.refused) as error:
        fetch_own(place)
    said = str(error.value)
    assert said.isprintable() and len(said) < 600
    assert "t." in said or source.DESCRIPTION in said or "own" in said or "no features" in said
    assert not (tmp_path / "run").exists()


def test_an_array_is_refused_by_its_header_before_memory_is_asked_for(tmp_path: Path) -> None:
    """A few bytes that claim to be a terabyte, and a zip file that claims to hold one."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 37, 1)}
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("class.npy", b"")
    with pytest.raises(BadInput, match="array 'x' is cut off"):
        fetch_own(folder(tmp_path, {"t.npz": buffer.getvalue()}))


def test_a_file_larger_than_a_tenth_of_the_memory_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path, {"t.csv": csv(), "u.parquet": pq(pa.table({"class": CLASSES * 999}))})
    monkeypatch.setattr("sparse_training.data.sources._file_contents.memory", lambda: 2000)
    with pytest.raises(BadInput, match="a tenth of this machine's memory"):
        fetch_own(place)
    monkeypatch.setattr("sparse_training.data.sources._file_contents.memory", lambda: 1 << 20)
    (place / "t.csv").unlink()
    with pytest.raises(BadInput, match=r"u.parquet has .* a tenth of this machine's memory"):
        fetch_own(place)  # a few kB on disk, 60,000 rows


def test_what_is_no_file_of_the_folder_is_not_waited_for_and_not_followed(tmp_path: Path) -> None:
    place = folder(tmp_path, {})
    with pytest.raises(BadInput, match=r"has no data: expected files \*.csv, \*.tsv"):
        fetch_own(place)
    os.mkfifo(place / "t.csv")
    with pytest.raises(BadInput, match=r"t.csv cannot be read \(no regular file\)"):
        fetch_own(place)
    (place / "t.csv").unlink()
    (tmp_path / "secret").write_text(csv())
    (place / "t.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="t.csv is a link that leads out of its folder"):
        fetch_own(place)
    (place / "t.csv").unlink()
    (place / "t.csv").mkdir()
    with pytest.raises(BadInput, match="t.csv cannot be read"):
        fetch_own(place)
    with pytest.raises(BadInput, match="no folder .*own/t.txt, expected one with files"):
        fetch_own(place / "t.txt")
    (place / source.DESCRIPTION).unlink()
    with pytest.raises(BadInput, match="is not there: 'sparse-aclib new set NAME --data"):
        fetch_own(place)


# What an id means --------------------------------------------------------------------------------


def test_an_id_names_its_content_and_another_content_is_refused(tmp_path: Path, data: Path) -> None:
    place = folder(tmp_path, {"t.csv": csv()})
    (made,) = fetch_own(place)
    file = stored.path(*made.name.split("/"))
    wanted = load(f"{made.name}/0/halves/2").train_x
    file.unlink()
    with pytest.raises(BadInput, match=f"fetch it with 'sparse-aclib fetch {made.name} --local FO"):
        load(f"{made.name}/0")
    (outcome,) = fetch([made.name], Access())
    assert f"{made.name} is data of a user's own: expected --local FOLDER" in str(outcome.problem)
    (outcome,) = fetch([made.name], Access(local=place))
    assert outcome.state == "fetched"
    assert (load(f"{made.name}/0/halves/2").train_x == wanted).all()

    whole = file.read_bytes()
    (place / "t.csv").write_text(csv().replace("0.5,", "0.7,"))
    (outcome,) = fetch([made.name], Access(local=place, refresh=True))
    sum_ = made.name.rpartition("-")[2]
    assert re.search(
        rf"has sha256 \w{{64}}: expected {sum_}, as its name says", str(outcome.problem)
    )
    assert file.read_bytes() == whole
    (changed,) = fetch_own(place)
    assert changed.name != made.name and load(f"{made.name}/0").train_x.size
    file.write_bytes(stored.path(*changed.name.split("/")).read_bytes())
    with pytest.raises(BadInput, match=r"is other data in .* fetch it with"):
        load(f"{made.name}/0")


def test_kinds_of_columns_are_part_of_what_an_id_names(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"t.csv": csv({"x": [1, 2, 3] * 20})}
    (numeric,) = fetch_own(folder(tmp_path, files))
    (nominal,) = fetch_own(folder(tmp_path, files, SAID + 'categorical = ["x"]'))
    assert numeric.name != nominal.name and numeric.sums == nominal.sums


@pytest.mark.parametrize("name", ["t", "t-0123", "t-0123456789ag", "-012345678901", "0123456789ab"])
def test_a_name_without_a_sum_is_no_data_set(name: str) -> None:
    with pytest.raises(BadInput, match="a name and the first digits of its sum|malformed"):
        load(f"file/{name}/0")


def test_a_description_says_again_what_it_was_told(tmp_path: Path) -> None:
    hostile = 'a "b" \\ \n\t\x7f ü 🙂'
    said = source.text_of(
        {"target": hostile, "licence": "none", "ignore": (hostile, "c"), "title": ""}
    )
    place = folder(tmp_path, {"t.csv": csv()})
    told = source.for_all(place, said)
    assert told == {"target": hostile, "licence": "none", "ignore": [hostile, "c"]}


def test_a_trial_on_own_data_imports_nothing_that_read_them(tmp_path: Path) -> None:
    (made,) = fetch_own(folder(tmp_path, {"t.csv": csv()}))
    code = (
        "import sys; from sparse_training.data.instances import load\n"
        f"load({made.name + '/0/halves/1'!r})\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}"
        " & {'pandas', 'pyarrow', 'sklearn', 'scipy', 'tomllib', 'csv', 'zipfile'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
