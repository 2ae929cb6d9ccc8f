"""Data sets of a user's own: files in a folder, and a dataset.toml that says what they are.

`file/iris-0d9f3b6f1c2a/0` is fold 0 of what `iris.csv` held: the digits are the beginning of the
SHA-256 of its content as it is stored (values, classes, splits), so an id names the same data on
every machine, and other data are refused. dataset.toml, for a folder of several:

    licence = "CC BY 4.0"       # what is said first is said of all data sets
    target = "class"            # the column, in an npz file the array, that holds the classes

    [iris]                      # iris.csv, iris.tsv, iris.parquet or iris.npz
    target = "species"          # what is said here is said of this one
    ignore = ["plant_id"]

Without a table every file of the folder is a data set; with one, those that have one. `KEYS` has
what may be said. Nothing in it or in the files is code, and nothing of them is run.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sparse_training.data.raw import Access, DataSet
from sparse_training.data.sources import _file_contents as contents
from sparse_training.data.sources._openml_tables import line
from sparse_training.data.stored import INNER_FOLDS, sum_in_name
from sparse_training.errors import BadInput
from sparse_training.files import content

INSTALLED = False
DESCRIPTION = "dataset.toml"
SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_LARGEST_DESCRIPTION = 1 << 20  # bytes
_LEAST_ROWS = 30
_LEAST_OF_A_CLASS = 3  # one for each outer fold
_MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL")


@dataclass(frozen=True)
class Said:
    """What dataset.toml says of one data set; every field but the name is a key of it."""

    name: str
    file: str
    """In the same folder."""
    target: str
    """The column, or the array of an npz file, that holds the classes."""
    licence: str
    title: str = ""
    origin: str = ""
    """Where the data come from; the file's name if nothing is said."""
    test: str = ""
    """A file of the official test part; outer folds are drawn if there is none."""
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] = _MISSING
    """Texts that stand for a missing value."""
    separator: str = ""
    """Of a CSV file, if the one that gives a column of the target is not it."""
    inputs: str = ""
    """The array of an npz file that holds the inputs, if there is more than one other."""
    channels: str = ""
    """first or last: where an array of images has its channels, if that is not plain."""


KEYS = tuple(each.name for each in fields(Said) if each.name != "name")
"""What may be said of a data set; `target` and `licence` must be."""
_LISTS = ("categorical", "numeric", "ignore", "missing")
_OF_ONE = ("file", "test", "title")  # to be said of one data set, not of all


@dataclass(frozen=True)
class Own:
    """A data set of the user's own, read."""

    data: DataSet
    sums: tuple[tuple[str, str], ...]
    """(name, SHA-256) of its file and of the test part's."""
    notes: tuple[str, ...]
    """What was found and inferred, a line each."""


def expected(dataset: str) -> str | None:
    """None for what can be a data set's name and sum, else what is expected."""
    digits = sum_in_name(dataset)
    if digits and _NAME.fullmatch(dataset[: -len(digits) - 1]):
        return None
    return (
        "a name and the first digits of its sum, such as iris-0d9f3b6f1c2a, as 'sparse-aclib fetch "
        "file --local FOLDER' shows them"
    )


def read(dataset: str, access: Access) -> DataSet:
    """A data set from the folder that the user names. Raises BadInput if it is not in there."""
    name = dataset[: -len(sum_in_name(dataset)) - 1]
    if access.local is None:
        raise BadInput(
            f"file/{dataset} is data of a user's own: expected --local FOLDER with its file (such "
            f"as {name}.csv) and {DESCRIPTION}"
        )
    there = described(access.local)
    if name not in there:
        raise BadInput(
            f"file/{dataset}: {access.local} has no data set {name}: expected one of "
            f"{contents.some(there)}"
        )
    access.report(f"file/{dataset}: reading {access.local / there[name].file}")
    return read_own(access.local, there[name]).data


# The description ---------------------------------------------------------------------------------


def described(folder: Path, text: str | None = None) -> dict[str, Said]:
    """The data sets of a folder by name, sorted, as its dataset.toml or `text` describes them.

    Raises BadInput for a folder without data, for whatever cannot be in a description, and where it
    does not say target and licence.
    """
    where = str(folder / DESCRIPTION)
    if not folder.is_dir():
        raise BadInput(f"no folder {line(folder)}, expected one with files of data sets")
    said = description(folder) if text is None else text
    if said is None:
        raise BadInput(
            f"{where} is not there: 'sparse-aclib new set NAME --data {line(folder)} --target "
            "COLUMN --licence TEXT' writes it"
        )
    tables = _tables(where, said)
    for_all = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    of_one = {name: value for name, value in tables.items() if isinstance(value, dict)}
    for key in _OF_ONE:
        if key in for_all:
            raise BadInput(f"{where}: {key} is said of all, expected it below a [name]")
    if not of_one:
        of_one = {_name_of(file): {"file": file} for file in _files(folder)}
    if not of_one:
        raise BadInput(f"{folder} has no data: expected files *{', *'.join(SUFFIXES)}")
    return {name: _said(folder, name, for_all | table) for name, table in sorted(of_one.items())}


def description(folder: Path) -> str | None:
    """The text of a folder's dataset.toml; None where there is none. Raises BadInput."""
    file = folder / DESCRIPTION
    if not file.is_symlink() and not file.exists():
        return None
    try:
        if file.stat().st_size > _LARGEST_DESCRIPTION:
            raise BadInput(f"{file} has more than a MiB: expected a short description")
        return content(file).decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{file} is not UTF-8 text") from None


def for_all(folder: Path, text: str) -> dict[str, Any]:
    """What a folder's description says of all its data sets. Raises BadInput for what is none."""
    tables = _tables(str(folder / DESCRIPTION), text)
    return {key: value for key, value in tables.items() if not isinstance(value, dict)}


def text_of(said: Mapping[str, str | Sequence[str]]) -> str:
    """A description that says this of all data sets; what is empty is left out."""
    told = {key: value for key, value in said.items() if value}
    lines = [f"{key} = {_toml(value)}\n" for key, value in told.items()]
    return "".join(["# What the data in this folder are, for sparse-aclib.\n", *lines])


def _toml(value: str | Sequence[str]) -> str:
    if not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tables(where: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{where}: {line(error)}; expected TOML") from None


def _files(folder: Path) -> list[str]:
    """The files in a folder that can be data, by name."""
    try:
        names = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise BadInput(f"{folder} cannot be read ({error.strerror})") from None
    return [
        name for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
    ]


def _name_of(file: str) -> str:
    name = Path(file).stem
    if not _is_name(name):
        raise BadInput(
            f"{line(repr(file), 80)} gives no name for a data set: expected letters, digits, _ and "
            f"-, or in {DESCRIPTION} a [name] and below it file = the file"
        )
    return name


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not sum_in_name(name)


def _said(folder: Path, name: str, table: Mapping[str, Any]) -> Said:
    """What is said of one data set, checked."""
    where = f"{folder / DESCRIPTION}: [{line(name, 40)}]"
    if not _is_name(name):
        raise BadInput(f"{where} is no name: expected letters, digits, _ and -")
    for key, value in table.items():
        if key not in KEYS:
            raise BadInput(f"{where}: unknown key {line(repr(key))}, expected {', '.join(KEYS)}")
        if key in _LISTS:
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise BadInput(f"{where}: {key} is {_shown(value)}, expected a list of texts")
        elif not isinstance(value, str) or not value.strip():
            raise BadInput(f"{where}: {key} is {_shown(value)}, expected a text")
    if "file" not in table:
        files = [file for file in _files(folder) if Path(file).stem == name]
        if len(files) != 1:
            found = f"found {contents.some(files)}" if files else "found none"
            raise BadInput(
                f"{where}: expected one file {name}{f' or {name}'.join(SUFFIXES)}, {found}; "
                "file = the file names it"
            )
        table = {**table, "file": files[0]}
    for key in ("file", "test"):
        named = str(table.get(key, "x.csv"))
        if Path(named).name != named or "\0" in named or Path(named).suffix.lower() not in SUFFIXES:
            raise BadInput(
                f"{where}: {key} is {_shown(named)}, expected a file in this folder, "
                f"*{', *'.join(SUFFIXES)}"
            )
    for key, example in (("target", "class"), ("licence", "CC BY 4.0")):
        if key not in table:
            raise BadInput(
                f"{folder / DESCRIPTION} says no {key} of {name}: expected {key} = "
                f'"{example}" or the like'
            )
    if table.get("channels", "last") not in ("first", "last"):
        raise BadInput(
            f'{where}: channels is {_shown(table["channels"])}, expected "first" or "last"'
        )
    named_twice = [
        column
        for kind in ("categorical", "numeric", "ignore")
        for column in dict.fromkeys(table.get(kind, ()))
    ] + [table["target"]]
    for column in named_twice:
        if named_twice.count(column) > 1:
            raise BadInput(
                f"{where}: column {_shown(column)} is named in two of categorical, numeric, ignore "
                "and target, expected one"
            )
    given: dict[str, Any] = {
        key: tuple(value) if key in _LISTS else value for key, value in table.items()
    }
    return Said(name=name, **given)


def _shown(value: object) -> str:
    return line(repr(value), 60)


# Reading -----------------------------------------------------------------------------------------


def read_own(folder: Path, said: Said) -> Own:
    """A data set of a folder. Raises BadInput, one line that says where, for whatever is wrong."""
    files = [said.file, *([said.test] if said.test else [])]
    if len({Path(file).suffix.lower() for file in files}) > 1:
        raise BadInput(
            f"file/{said.name}: {said.test} is no test part of {said.file}: expected "
            "files of the same kind"
        )
    held = [_bytes_of(folder, said, file) for file in files]
    sums = tuple(
        (file, hashlib.sha256(each).hexdigest()) for file, each in zip(files, held, strict=True)
    )
    reader = _from_arrays if Path(said.file).suffix.lower() == ".npz" else _from_tables
    made, sizes, notes = reader(said, [f"file/{said.name}: {file}" for file in files], held)
    folds = None
    if said.test:
        rows = np.arange(sum(sizes))
        folds = ((rows[: sizes[0]], rows[sizes[0] :]),)
    _check_classes(f"file/{said.name}: {said.file}", made["labels"], made["classes"], folds, said)
    data = DataSet(
        **made,
        title=line(said.title or said.name),
        origin=line(said.origin or "a file of the user's own", 120)
        + "".join(f"; {line(file, 60)}, sha256 {sum_}" for file, sum_ in sums),
        licence=line(said.licence),
        folds=folds,
    )
    return Own(data, sums, (_summary(data), *notes))


_Read = tuple[dict[str, Any], list[int], tuple[str, ...]]
"""(values, labels and so on of a DataSet; rows of each file; notes)."""


def _bytes_of(folder: Path, said: Said, name: str) -> bytes:
    file = folder / name
    where = f"file/{said.name}: {file}"
    try:
        if os.path.dirname(os.path.realpath(file)) != os.path.realpath(folder):
            raise BadInput(f"{where} is a link that leads out of its folder: expected the file")
        contents.check_size(where, file.stat().st_size)
        return content(file)
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror})") from None


def _from_tables(said: Said, wheres: Sequence[str], held: Sequence[bytes]) -> _Read:
    import pandas as pd

    kinds = contents.Kinds(said.categorical, said.numeric, said.ignore, said.missing)
    frames, notes = [], []
    for where, each in zip(wheres, held, strict=True):
        if said.file.lower().endswith(".parquet"):
            frame, kinds = contents.read_parquet(where, each, said.target, kinds)
        else:
            frame, separator = contents.read_csv(
                where, each, said.target, kinds, said.separator or None
            )
            if separator != ",":
                notes.append(f"separated by {separator!r}")
        frames.append(frame)
    where, sizes = wheres[0], [len(frame) for frame in frames]
    for other, frame in zip(wheres[1:], frames[1:], strict=True):
        if list(frame.columns) != list(frames[0].columns):
            raise BadInput(f"{other} has other columns than {said.file}: expected the same")
        if list(frame.dtypes) != list(frames[0].dtypes):
            raise BadInput(
                f"{other} has columns of other types than {said.file}: expected the same"
            )
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    labels, classes = contents.labels_of(where, whole[said.target], said.target, said.missing)
    made = contents.inputs_of(where, whole.drop(columns=said.target), kinds)
    values = {"numeric": made.numeric, "nominal": made.nominal}
    return values | {"labels": labels, "classes": classes}, sizes, (*notes, *made.notes)


def _from_arrays(said: Said, wheres: Sequence[str], held: Sequence[bytes]) -> _Read:
    import pandas as pd

    for key in ("categorical", "numeric", "ignore", "separator"):
        if getattr(said, key):
            raise BadInput(f"{wheres[0]} has arrays without names of columns, but {key} is said")
    parts = [
        contents.read_npz(where, each, said.target, said.inputs or None)
        for where, each in zip(wheres, held, strict=True)
    ]
    (first, _), where = parts[0], wheres[0]
    for other, (values, _) in zip(wheres[1:], parts[1:], strict=True):
        if values.shape[1:] != first.shape[1:]:
            raise BadInput(
                f"{other} has rows of the shape {values.shape[1:]}: expected {first.shape[1:]} as "
                f"in {said.file}"
            )
    values = np.concatenate([each for each, _ in parts]) if len(parts) > 1 else first
    pixels, channels = contents.images(where, values, said.channels or None)
    if not channels:
        contents.check_rows(where, pixels)
    labelled = [contents.texts(where, labels) for _, labels in parts]
    if len({each.dtype for each in labelled}) > 1:
        raise BadInput(f"{where} has labels of another type than {said.test}: expected the same")
    named = pd.Series(np.concatenate(labelled))
    labels, classes = contents.labels_of(where, named, said.target, said.missing)
    made = {"numeric": pixels, "labels": labels, "classes": classes, "channels": channels}
    return made, [len(each) for each, _ in parts], ()


def _check_classes(where: str, labels: Any, classes: Sequence[str], folds: Any, said: Said) -> None:
    """Refuses classes that some fold would have no row of, and too few rows to be split."""
    trained = labels if folds is None else labels[folds[0][0]]
    if len(trained) < _LEAST_ROWS:
        raise BadInput(
            f"{where} has {len(trained)} rows: expected at least {_LEAST_ROWS}, to be split into "
            f"folds and each training part into {INNER_FOLDS} more"
        )
    if len(classes) < 2:
        raise BadInput(
            f"{where}: target {said.target!r} has one class, {classes[0]!r}: expected at least two"
        )
    counts = np.bincount(trained, minlength=len(classes))
    least = int(counts.argmin())
    if counts[least] < _LEAST_OF_A_CLASS:
        few = int((counts < _LEAST_OF_A_CLASS).sum())
        others = f", and {few - 1:,} other classes as few" if few > 1 else ""
        part = "rows" if folds is None else "rows in the training part"
        raise BadInput(
            f"{where}: class {line(repr(classes[least]), 40)} of target {said.target!r} has "
            f"{counts[least]} {part}{others}: expected at least {_LEAST_OF_A_CLASS}, one for each "
            "outer fold; remove or join such classes"
        )


def _summary(data: DataSet) -> str:
    counts = np.bincount(data.labels)
    missing = 0 if data.nominal is None else int((data.nominal < 0).sum())
    missing += int(np.isnan(data.numeric).sum()) if data.numeric.dtype.kind == "f" else 0
    if data.channels:
        shape = f"images of {data.numeric.shape[1]:,} values in {data.channels} channels"
    else:
        nominal = 0 if data.nominal is None else data.nominal.shape[1]
        shape = f"{data.numeric.shape[1]:,} numeric and {nominal:,} categorical columns"
    return (
        f"{len(data.labels):,} rows, {shape}, {missing:,} missing values; "
        f"{len(counts):,} classes of {counts.min():,} to {counts.max():,} rows"
    )
