"""What is in a file of the user's own: CSV and Parquet as tables, npz as arrays, kinds of columns.

Nothing in a file is trusted: no pickle is read, sizes are looked at before memory is asked for, and
what does not fit is one line that says where. What a column is, is inferred where that is safe and
told in a note; where it is not safe the user is asked to say so in the description.
"""

import csv
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.sources._openml_tables import line
from sparse_training.errors import BadInput
from sparse_training.machine import memory

SEPARATORS = (",", ";", "\t", "|")
MOST_CATEGORIES = 1000
"""Of a column that nobody called categorical, and of the target."""
FEW_VALUES = 12
"""Of a column of whole numbers that may be codes."""

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PADDED = r"[+-]?0[0-9]+"
_COMMA = r"[+-]?[0-9]+,[0-9]+"
_INFINITE = r"[+-]?(?:inf|infinity)"
_DATE = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2}))"
    r"(?:[T ].*)?|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}.*)?"
)
_NAMES_OF_IDS = r"|(.*[_ .-])?(id|index|uuid|guid)|row|row[_ ]?(number|no|nr)|unnamed: [0-9]+"
_SHARE = 10  # of the memory that a file's content may take: reading 144 MB of CSV takes 1.3 GB


@dataclass(frozen=True)
class Kinds:
    """What the user says of the columns of a table."""

    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Texts that stand for a missing value."""


@dataclass(frozen=True)
class Inputs:
    """What a table's columns are as inputs."""

    numeric: NDArray[np.float64]
    """(rows, numeric columns), nan where missing"""
    nominal: NDArray[np.int32] | None
    """(rows, categorical columns), -1 where missing"""
    notes: tuple[str, ...]
    """What was inferred, a line each."""


# CSV ---------------------------------------------------------------------------------------------


def read_csv(
    where: str, content: bytes, target: str, kinds: Kinds, separator: str | None
) -> tuple[Any, str]:
    """(pandas.DataFrame of texts, the separator) of a CSV file whose first line names its columns.

    Columns to be ignored are not in it.

    Raises BadInput for what is no UTF-8, for lines of another length than the first, for names that
    are there twice, and where no separator gives a column of the target.
    """
    import pandas as pd

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise BadInput(
            f"{where}, line {number}: is not UTF-8 text (byte {content[error.start]:#04x}); save "
            "it as UTF-8"
        ) from None
    if not text.strip():
        raise BadInput(f"{where} is empty: expected a line of names and a row a line")
    names, chosen = _header(where, text, target, separator)
    _check_said(where, names, kinds)
    rows = 0
    for number, row in _rows(where, text, chosen):
        rows += 1
        if len(row) != len(names):
            raise BadInput(
                f"{where}, line {number}: {len(row)} values, expected {len(names)} as in the first "
                f"line (separated by {chosen!r})"
            )
    if rows < 2:
        raise BadInput(f"{where} has no row below the line of names")
    try:
        frame = pd.read_csv(
            io.BytesIO(content),
            sep=chosen,
            header=None,
            dtype=str,
            na_filter=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise BadInput(f"{where} cannot be read: {line(error)}") from None
    if frame.shape != (rows, len(names)):
        raise BadInput(
            f"{where} has {rows:,} rows of {len(names)} by one reading, {len(frame):,} of "
            f"{frame.shape[1]} by another: expected quotes in pairs"
        )
    frame = frame.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(names, dtype=object)
    return frame.drop(columns=list(kinds.ignore)), chosen


def _header(where: str, text: str, target: str, separator: str | None) -> tuple[list[str], str]:
    """(names, separator): the one given, or that with which the first line names the target."""
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise BadInput(f"{where}: separator is {line(repr(separator))}, expected one character")
    found, torn = [], list[BadInput]()
    for each in SEPARATORS if separator is None else (separator,):
        try:
            _, names = next(_rows(where, text, each), (1, []))
        except BadInput as error:  # names in quotes, say, between other separators
            torn.append(error)
            continue
        names = [name.strip() for name in names]
        found.append((target in names, len(names), names, each))
    if not found:
        raise torn[0]
    is_target, count, names, chosen = max(found, key=lambda one: one[:2])
    if not is_target:
        hint = "; its first line must name the columns" if _unnamed(names) else ""
        raise BadInput(
            f"{where} has no column {target!r} for the target: expected one of {some(names)} "
            f"(separated by {chosen!r}){hint}"
        )
    if count == 1:
        raise BadInput(
            f"{where} has one column only, {target!r}: expected others beside the target, "
            f"separated by one of {' '.join(map(repr, SEPARATORS))}"
        )
    _check_names(where, names)
    return names, chosen


def _rows(where: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line it ends in, values) of each row but blank ones."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"{where}, line {reader.line_num}: {line(error)}; expected CSV") from None


def _unnamed(names: Sequence[str]) -> bool:
    return any(re.fullmatch(_NUMBER, name) for name in names)


def _check_names(where: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(f"{where} has a column {_quoted(twice[0])} twice: expected different names")


def _check_said(where: str, names: Sequence[str], kinds: Kinds) -> None:
    for kind in ("categorical", "numeric", "ignore"):
        for name in getattr(kinds, kind):
            if name not in names:
                raise BadInput(
                    f"{where} has no column {_quoted(name)}, which is said to be {kind}: expected "
                    f"some of {some(names)}"
                )


# Parquet -----------------------------------------------------------------------------------------


def read_parquet(where: str, content: bytes, target: str, kinds: Kinds) -> tuple[Any, Kinds]:
    """(the columns of a Parquet file that are not to be ignored, their kinds).

    A pandas.DataFrame of float64 for numbers, and texts; what the file has a dictionary of is
    categorical, unless it is said to be numeric. Raises BadInput for columns of other types, before
    they are read.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadInput(
            f"{where}: pyarrow, which reads Parquet, is not installed: run './run_all.sh setup', "
            "or save the table as CSV"
        ) from None
    import pandas as pd

    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        schema, about = file.schema_arrow, file.metadata
        _check_names(where, schema.names)
        if target not in schema.names:
            raise BadInput(
                f"{where} has no column {target!r} for the target: expected one of "
                f"{some(schema.names)}"
            )
        _check_said(where, schema.names, kinds)
        wanted = [field for field in schema if field.name not in kinds.ignore]
        for field in wanted:
            if (problem := _unusable(field.type)) is not None:
                raise BadInput(
                    f"{where}: column {field.name!r} holds {problem} ({line(field.type, 60)}): "
                    "expected numbers or texts; name it under ignore to leave it out"
                )
        groups = [about.row_group(number).total_byte_size for number in range(about.num_row_groups)]
        check_size(where, max(sum(groups), 16 * about.num_rows * len(wanted)))
        # What pandas wrote into the file about its index and types is not looked at.
        table = file.read(columns=[field.name for field in wanted], use_pandas_metadata=False)
        columns = {name: _from_arrow(table.column(name)) for name in table.column_names}
        coded = [field.name for field in wanted if pyarrow.types.is_dictionary(field.type)]
        added = set(coded) - {target, *kinds.numeric, *kinds.categorical}
        categorical = (*kinds.categorical, *(name for name in coded if name in added))
        return pd.DataFrame(columns), replace(kinds, categorical=categorical)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{where} cannot be read: {line(error)}") from None


def _unusable(kind: Any) -> str | None:
    """What a column of this type holds that is neither numbers nor texts."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind):
        return "nested values"
    if types.is_temporal(kind):
        return "dates or times"
    if types.is_null(kind):
        return "no value at all"
    if (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
    ):
        return None
    return "values of another type"


def _from_arrow(column: Any) -> Any:
    """A column as float64 with nan, or as texts with None."""
    import pandas as pd
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):  # of categories, numbers too
        column = column.cast(kind.value_type).cast(pyarrow.string())
    elif types.is_boolean(kind):
        column = column.cast(pyarrow.string())
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = column.cast(pyarrow.float64(), safe=not types.is_decimal(kind))
        return pd.Series(numbers.to_numpy(), dtype=np.float64)
    else:
        column = column.cast(pyarrow.string())
    return pd.Series(column.to_pylist(), dtype=object)


# npz ---------------------------------------------------------------------------------------------


def read_npz(
    where: str, content: bytes, target: str, inputs: str | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(inputs, labels): two arrays of an npz file; inputs by its name or as the only other one.

    Raises BadInput for arrays of objects, which are pickles and never read, and for what is no
    array of numbers and one of labels of the same length.
    """
    with _reading(where), zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        if target not in members:
            raise BadInput(
                f"{where} has no array {target!r} for the target: expected one of {some(members)}"
            )
        others = [name for name in members if name != target]
        if inputs is None and len(others) != 1:
            raise BadInput(
                f"{where} has the arrays {some(others)} beside the target: expected inputs = the "
                "name of one"
            )
        chosen = others[0] if inputs is None else inputs
        if chosen not in others:
            raise BadInput(f"{where} has no array {chosen!r} for inputs: expected {some(others)}")
        values, labels = (_array(where, archive, members[name]) for name in (chosen, target))
    if values.ndim < 2 or values.dtype.kind not in "biuf" or not values.size:
        raise BadInput(
            f"{where}: array {chosen!r} has the shape {values.shape} and holds {values.dtype}: "
            "expected numbers, (rows, columns) or images as (rows, height, width) with channels "
            "before or behind these two"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(values),):
        raise BadInput(
            f"{where}: array {target!r} has the shape {labels.shape}: expected ({len(values)},), a "
            f"label for each row of {chosen!r}"
        )
    return values, labels


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Has what is no npz file end in one line."""
    try:
        yield
    except BadInput:
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, SyntaxError),
        *(ValueError, TypeError, KeyError, RuntimeError),  # encrypted; methods that Python lacks
    ) as error:
        raise BadInput(f"{where} cannot be read as npz: {line(error)}") from None


def _array(where: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """An array of an archive, once its header has said that it can be had."""
    from numpy.lib import format as npy

    check_size(where, info.file_size)
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, _, kind = npy.read_array_header_1_0(file)
        else:
            shape, _, kind = npy.read_array_header_2_0(file)
    if kind.hasobject:
        raise BadInput(
            f"{where}: array {name!r} holds pickled objects, which are not read: expected numbers "
            "or texts"
        )
    if int(np.prod([kind.itemsize, *shape], dtype=object)) > info.file_size:
        raise BadInput(f"{where}: array {name!r} is cut off: expected the shape {shape}")
    with archive.open(info) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def images(where: str, values: NDArray[Any], order: str | None) -> tuple[NDArray[Any], int]:
    """(values with one channel after the other, channels) of images; 0 channels for rows."""
    if values.ndim == 2:
        return values, 0
    if not np.isfinite(values).all():
        raise BadInput(
            f"{where} has images with nan or infinite values: expected numbers in every pixel"
        )
    if values.ndim == 3:
        return values.reshape(len(values), -1), 1
    first, last = (1 <= values.shape[axis] <= 4 for axis in (1, 3))
    if values.ndim != 4 or (order is None and first == last):
        raise BadInput(
            f'{where} has images of the shape {values.shape}: expected channels = "first" for '
            '(rows, channels, height, width), or "last"'
        )
    if order == "last" or (order is None and last):
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values).reshape(len(values), -1), values.shape[1]


def check_rows(where: str, values: NDArray[Any]) -> None:
    """Raises BadInput for rows with infinite values, and for a column without any value."""
    if values.dtype.kind != "f":
        return
    if np.isinf(values).any():
        raise BadInput(f"{where} has infinite values: expected none")
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty):
        raise BadInput(f"{where} has no value at all in column {empty[0]}: expected it left out")


def texts(where: str, labels: NDArray[Any]) -> NDArray[Any]:
    """Labels of an array as `labels_of` takes a column: numbers as float64, or texts."""
    if labels.dtype.kind in "biuf":
        return labels.astype(np.float64)
    try:
        if labels.dtype.kind == "S":
            labels = np.char.decode(labels, "utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{where} has labels that are not UTF-8 text: expected that") from None
    if labels.dtype.kind != "U":
        raise BadInput(f"{where} has labels of type {labels.dtype}: expected numbers or texts")
    return labels.astype(object)


# Kinds of columns --------------------------------------------------------------------------------


def inputs_of(where: str, frame: Any, kinds: Kinds) -> Inputs:
    """The columns of a table without its target as inputs: what is said of each, or is plain.

    Raises BadInput for a column that is not plain, with what to say of it.
    """
    numeric, nominal, notes = [], [], []
    inferred: dict[str, list[str]] = {"categorical": [], "numeric": []}
    for name in frame.columns:
        place = f"{where}: column {_quoted(name)}"
        asked = next((kind for kind in inferred if name in getattr(kinds, kind)), None)
        column = _Column.of(frame[name], kinds.missing)
        if not len(column.names) and column.numbers is None:
            raise BadInput(f"{place} has no value at all; name it under ignore to leave it out")
        kind = asked or column.kind(place)
        if kind == "numeric":
            numbers = column.as_numbers(place)
            if asked is None:
                _check_no_id(place, name, numbers)
                if _few_whole(numbers):
                    inferred["numeric"].append(name)
            numeric.append(numbers)
        else:
            codes, names = column.as_codes()
            if asked is None:
                _check_categories(place, len(names), len(frame))
                inferred["categorical"].append(name)
            nominal.append(codes)
    rows = len(frame)
    if inferred["categorical"]:
        notes.append(f"taken as categorical: {some(inferred['categorical'])}")
    if inferred["numeric"]:
        notes.append(
            f"taken as numeric, though at most {FEW_VALUES} whole numbers: "
            f"{some(inferred['numeric'])} (codes belong under categorical)"
        )
    return Inputs(
        numeric=np.stack(numeric, axis=1) if numeric else np.zeros((rows, 0)),
        nominal=np.stack(nominal, axis=1) if nominal else None,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Column:
    """A column as it is stored: numbers, or codes of the texts that occur, -1 where missing."""

    numbers: NDArray[np.float64] | None
    codes: NDArray[np.int64]
    names: NDArray[Any]

    @staticmethod
    def of(values: Any, missing: Collection[str]) -> "_Column":
        import pandas as pd

        if values.dtype == np.float64:
            numbers = values.to_numpy()
            none = np.full(len(numbers), -1), np.zeros(0, object)
            return _Column(None if np.isnan(numbers).all() else numbers, *none)
        codes, names = pd.factorize(values)
        names = np.asarray(names, dtype=object)
        there = ~np.isin(names, list(missing)) if len(names) else np.zeros(0, bool)
        kept = np.where(there, np.cumsum(there) - 1, -1)
        codes = np.append(kept, -1)[codes]
        return _Column(None, codes, names[there])

    def kind(self, place: str) -> str:
        """numeric or categorical, where that is plain; else raises BadInput."""
        if self.numbers is not None:
            return "numeric"
        like_numbers = _alike(self.names, _NUMBER)
        if like_numbers.all():
            # 01 is not 1: the codes of places, say.
            return "categorical" if _alike(self.names, _PADDED).any() else "numeric"
        if _alike(self.names, f"{_NUMBER}|{_INFINITE}", re.IGNORECASE).all():
            raise BadInput(f"{place} has infinite values: expected none")
        if _alike(self.names, f"{_NUMBER}|{_COMMA}").all():
            raise BadInput(
                f"{place} has numbers with a comma ({self._shown(_COMMA)}): expected a point"
            )
        if _alike(self.names, _DATE).all():
            raise BadInput(
                f"{place} holds dates or times ({_quoted(self.names[0])}): expected numbers or "
                "categories; name it under ignore, or under categorical if it is meant so"
            )
        if 2 * like_numbers.sum() > len(self.names):
            row = np.argmax(np.isin(self.codes, np.flatnonzero(~like_numbers)))
            raise BadInput(
                f"{place} has numbers, but {_quoted(self.names[self.codes[row]])} in row "
                f"{row + 1}: name the column under categorical, or that text under missing"
            )
        return "categorical"

    def _shown(self, pattern: str) -> str:
        return _quoted(self.names[np.argmax(_alike(self.names, pattern))])

    def as_numbers(self, place: str) -> NDArray[np.float64]:
        """(rows,), nan where missing. Raises BadInput for what is no number, or infinite."""
        numbers = self.numbers
        if numbers is None:
            wrong = ~_alike(self.names, _NUMBER)
            if wrong.any():
                row = np.argmax(np.isin(self.codes, np.flatnonzero(wrong)))
                raise BadInput(
                    f"{place} has {_quoted(self.names[self.codes[row]])} in row {row + 1}: expected"
                    " a number, as it is to be numeric"
                )
            numbers = np.append(self.names.astype(np.float64), np.nan)[self.codes]
        if np.isinf(numbers).any():
            raise BadInput(f"{place} has infinite values: expected none")
        return numbers

    def as_codes(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """(rows,) numbers of categories in the order of their names; and these."""
        if self.numbers is not None:
            values = np.unique(self.numbers[~np.isnan(self.numbers)])
            codes = np.searchsorted(values, self.numbers).astype(np.int32)
            codes[np.isnan(self.numbers)] = -1
            return codes, tuple(_written(value) for value in values.tolist())
        names = [str(name) for name in self.names]
        order = sorted(range(len(names)), key=lambda place: _by_size(names[place]))
        rank = np.full(len(order) + 1, -1, dtype=np.int32)
        rank[order] = np.arange(len(order))
        return rank[self.codes], tuple(names[place] for place in order)


def labels_of(
    where: str, values: Any, target: str, missing: Collection[str]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(classes of the rows by number, their names) of a target column.

    Raises BadInput for rows without a class and for what is a number to predict, not a class.
    """
    place = f"{where}: target {target!r}"
    if values.dtype == np.float64 and np.isinf(values.to_numpy()).any():
        raise BadInput(f"{place} has infinite values: expected classes")
    column = _Column.of(values, missing)
    codes, names = column.as_codes()
    absent = int((codes < 0).sum())
    if absent:
        raise BadInput(
            f"{place} is missing in {absent:,} of {len(codes):,} rows: expected a class in each; "
            "remove these rows"
        )
    numbers = [float(name) for name in names if re.fullmatch(_NUMBER, name)]
    broken = next((number for number in numbers if not number.is_integer()), None)
    if len(numbers) == len(names) and (broken is not None or len(names) > MOST_CATEGORIES):
        raise BadInput(
            f"{place} has {len(names):,} different numbers"
            + (f" with fractions ({broken:g})" if broken is not None else "")
            + ": that is regression; expected classes, whole numbers or texts"
        )
    if len(names) > MOST_CATEGORIES:
        raise BadInput(f"{place} has {len(names):,} classes: expected at most {MOST_CATEGORIES:,}")
    return codes, names


def _check_no_id(place: str, name: str, numbers: NDArray[np.float64]) -> None:
    """Refuses what numbers the rows; nobody would guess that it is an input."""
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    if not whole or len(np.unique(numbers)) < len(numbers):
        return
    consecutive = numbers.max() - numbers.min() + 1 == len(numbers)
    if consecutive or re.fullmatch(_NAMES_OF_IDS, name.strip(), re.IGNORECASE):
        raise BadInput(
            f"{place} numbers the rows ({numbers[0]:.15g}, {numbers[1]:.15g}, ...): name it under "
            "ignore to leave it out, or under numeric if it is an input"
        )


def _check_categories(place: str, categories: int, rows: int) -> None:
    if categories > MOST_CATEGORIES or 2 * categories > rows:
        raise BadInput(
            f"{place} has {categories:,} different texts in {rows:,} rows, an identifier or free "
            "text perhaps: name it under ignore to leave it out, or under categorical"
        )


def _few_whole(numbers: NDArray[np.float64]) -> bool:
    values = np.unique(numbers[~np.isnan(numbers)])
    return 2 < len(values) <= FEW_VALUES and bool((values == np.floor(values)).all())


def _alike(names: NDArray[Any], pattern: str, flags: int = 0) -> NDArray[np.bool_]:
    matches = re.compile(pattern, flags).fullmatch
    return np.fromiter((matches(name) is not None for name in names), bool, len(names))


def _by_size(text: str) -> tuple[float, str]:
    return (float(text) if re.fullmatch(_NUMBER, text) else np.inf), text


def _written(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def _quoted(text: object) -> str:
    return line(repr(text), 40)


def check_size(where: str, size: int) -> None:
    """Raises BadInput for a content that this machine should not try to hold."""
    if size > memory() // _SHARE:
        raise BadInput(
            f"{where} has {size / 2**30:,.1f} GiB: expected at most "
            f"{memory() / _SHARE / 2**30:,.1f}, a tenth of this machine's memory"
        )


def some(names: Collection[str] | Mapping[str, object]) -> str:
    """Names in one line, cut if they are many."""
    return line(", ".join(map(repr, names)))
