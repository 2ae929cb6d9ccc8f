"""OpenML's documents and files as tables: which columns count, of which kind, what they hold.

openml-python (0.15.1) downloads them; it does not read them, because it drops the class where that
is a column to ignore, takes no notice of what only features.xml ignores, and ends in an IndexError
or a TypeError at a level '', a tab in a header or a column without levels.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from sparse_training.errors import BadInput

_NUMERIC = ("numeric", "real", "integer")
_ATTRIBUTE = re.compile(
    r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{]+)\s*(.+)""", re.IGNORECASE
)


@dataclass(frozen=True)
class Feature:
    """A column as features.xml describes it."""

    name: str
    kind: str
    """nominal, numeric, string or date."""
    categories: tuple[str, ...]
    """Of a nominal one, in their order."""
    ignored: bool
    """Whether it is a row's identifier, or to be ignored for another reason."""


@dataclass(frozen=True)
class Table:
    """A data set of OpenML as its file holds it."""

    frame: Any
    """pandas.DataFrame (rows, features)"""
    features: tuple[Feature, ...]
    """What is said of each."""
    target: Any
    """pandas.Series (rows,)"""
    classes: tuple[str, ...]
    """The declared ones, in their order."""
    title: str
    origin: str
    licence: str


# Documents ---------------------------------------------------------------------------------------


def described(name: str, file: Path) -> tuple[Feature, ...]:
    """The features of a data set, in the order of its columns, by features.xml."""
    found = []
    for element in ElementTree.parse(file).getroot().findall("{*}feature"):

        def said(tag: str, element: ElementTree.Element = element) -> str:
            return element.findtext(f"{{*}}{tag}") or ""

        flags = (said("is_ignore"), said("is_row_identifier"))
        found.append(
            Feature(
                name=said("name"),
                kind=said("data_type").strip().lower(),
                categories=tuple(value.text or "" for value in element.findall("{*}nominal_value")),
                ignored=any(flag.strip().lower() in ("true", "1") for flag in flags),
            )
        )
    if not found:
        raise BadInput(f"{name}: OpenML describes no feature of it: expected at least one")
    return tuple(found)


def target_of(name: str, target: str, features: Sequence[Feature]) -> Feature:
    """The feature that holds the classes. Raises BadInput for a target that is none."""
    for feature in features:
        if feature.name == target or feature.name.strip() == target.strip():
            return feature
    raise BadInput(
        f"{name}: its target {target!r} is no column of the data: expected one of "
        f"{_some(feature.name for feature in features)}"
    )


def inputs_of(
    name: str, description: Path, features: Sequence[Feature], target: Feature
) -> tuple[Feature, ...]:
    """The features that may be inputs: neither the target nor what either document says to ignore.

    Raises BadInput for a name to ignore that is no feature.
    """
    root = ElementTree.parse(description).getroot()
    names = {feature.name for feature in features}
    ignored = {feature.name for feature in features if feature.ignored}
    for tag in ("ignore_attribute", "row_id_attribute"):
        for element in root.findall(f"{{*}}{tag}"):
            for word in _words(element.text or "", names):
                if word not in names:
                    raise BadInput(
                        f"{name}: its description says to ignore {word!r}, which is no column of "
                        f"the data: expected some of {_some(names)}"
                    )
                ignored.add(word)
    return tuple(one for one in features if one is not target and one.name not in ignored)


def _words(text: str, names: Collection[str]) -> Iterator[str]:
    """The names in a text: one, or several between commas, perhaps quoted or in brackets.

    A name may hold commas itself: the longest that is a column counts.
    """
    parts = text.split(",")
    most = 1 + max(name.count(",") for name in names)
    while parts:
        for size in range(min(most, len(parts)), 0, -1):
            raw = ",".join(parts[:size])
            forms = (raw, raw.strip(), raw.strip().strip("'\"[]{} \t\n"))
            word = next((form for form in forms if form in names), None)
            if word is not None:
                break
        parts = parts[size:]
        if word is not None or forms[-1]:
            yield word if word is not None else forms[-1]


def _some(names: Iterable[str]) -> str:
    return line(", ".join(map(repr, sorted(names))))


# Files -------------------------------------------------------------------------------------------


def read_arff(name: str, file: Path) -> Any:
    """The pandas.DataFrame that an ARFF file holds; nominal columns are categories."""
    import arff
    import pandas as pd

    class Decoder(arff.ArffDecoder):  # type: ignore[misc]
        """Also reads tabs, escapes and dates in a header."""

        def _decode_relation(self, s: str) -> str:
            return ""  # of no use, and written in many ways

        def _decode_attribute(self, s: str) -> tuple[str, Any]:
            match = _ATTRIBUTE.fullmatch(s)
            if match is None:
                raise arff.BadAttributeFormat()
            kind = match[2].strip()
            if kind.startswith("{"):
                return arff._unquote(match[1]), arff._parse_values(kind.strip("{} \t"))
            kind = kind.split()[0].upper()  # what a date looks like may follow
            numeric = kind.lower() in _NUMERIC
            return arff._unquote(match[1]), kind if numeric else "STRING"

    try:
        with open(file, encoding="utf-8-sig") as lines:
            # Some files end in a NUL, which is no row.
            content = Decoder().decode(text.strip("\0\x1a") for text in lines)
        columns = {}
        for place, (column, kind) in enumerate(content["attributes"]):
            values = [row[place] for row in content["data"]]
            if isinstance(kind, list):
                levels = list(dict.fromkeys(level for level in kind if level is not None))
                columns[column] = pd.Series(pd.Categorical(values, categories=levels))
            else:
                type_ = "object" if kind == "STRING" else "float64"
                columns[column] = pd.Series(values, dtype=type_)
    except (arff.ArffException, ValueError, ArithmeticError, LookupError) as error:
        raise BadInput(f"{name}: its ARFF file cannot be read: {line(error)}") from None
    return pd.DataFrame(columns)


def read_parquet(name: str, file: Path) -> Any:
    """The pandas.DataFrame that a Parquet file holds."""
    import pandas as pd
    import pyarrow

    try:
        return pd.read_parquet(file)
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{name}: its Parquet file cannot be read: {line(error)}") from None


def table(
    name: str,
    frame: Any,
    features: Sequence[Feature],
    inputs: Sequence[Feature],
    target: Feature,
    **about: str,
) -> Table:
    """The columns of a file that are inputs, and its classes, with what is said of them."""
    columns = [str(column) for column in frame.columns]
    of_name, there = {feature.name: feature for feature in features}, set(columns)
    if len(columns) == len(features):  # a name that is spelled differently is known by its place
        for column, feature in zip(columns, features, strict=True):
            if feature.name not in there:
                of_name.setdefault(column, feature)
    for column in columns:
        if column not in of_name:
            raise BadInput(
                f"{name}: its file has a column {column!r}, of which OpenML does not say whether "
                f"it may be an input: expected {_some(of_name)}"
            )
    of_column = [of_name[column] for column in columns]
    if target not in of_column:
        raise BadInput(
            f"{name}: its file has no column {target.name!r} for the classes: expected it among "
            f"{_some(columns)}"
        )
    names = {feature.name for feature in inputs}
    chosen = [place for place, feature in enumerate(of_column) if feature.name in names]
    return Table(
        frame=frame.iloc[:, chosen],
        features=tuple(of_column[place] for place in chosen),
        target=frame.iloc[:, of_column.index(target)],
        classes=target.categories,
        **about,
    )


# Values ------------------------------------------------------------------------------------------


def columns(name: str, data: Table) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
    """Numeric columns with nan, and codes of nominal columns with -1, where a value is missing."""
    import pandas as pd

    rows = len(data.frame)
    numeric, nominal = [], []
    for place, feature in enumerate(data.features):
        values, kind = data.frame.iloc[:, place], feature.kind
        if isinstance(values.dtype, pd.SparseDtype):
            values = values.sparse.to_dense()
        if kind == "nominal" or values.dtype.name in ("category", "bool", "boolean"):
            nominal.append(coded(values, feature.categories)[0])
        elif kind in _NUMERIC or pd.api.types.is_numeric_dtype(values):
            numeric.append(_numbers(name, values))
        else:
            raise BadInput(
                f"{name}: feature {values.name!r} is {line(kind)}: expected numbers or categories"
            )
    wide = np.stack(numeric, axis=1) if numeric else np.zeros((rows, 0))
    return wide, np.stack(nominal, axis=1) if nominal else None


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    """A numeric column, perhaps written as texts. Raises BadInput for anything but numbers."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        numbers: NDArray[np.float64] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        numbers = np.full(len(values), np.nan)
        for row, value in enumerate(values):
            try:
                if np.ndim(value):
                    raise TypeError
                if not (pd.isna(value) or value == ""):
                    numbers[row] = float(value)
            except (TypeError, ValueError):
                raise BadInput(
                    f"{name}: numeric feature {values.name!r} has {line(repr(value), 40)} in row "
                    f"{row}: expected a number"
                ) from None
    if np.isinf(numbers).any():
        raise BadInput(f"{name}: feature {values.name!r} has infinite values: expected none")
    return numbers


def coded(values: Any, declared: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(codes, names): the place of each value among those that occur, in their declared order.

    ARFF and Parquet files may spell a value differently (True for TRUE, 1.0 for 1); what is not
    declared in any spelling comes last, numbers by size. Values that occur side by side are
    different values, however alike.
    """
    there = values.notna().to_numpy()
    text = [_text(value) for value in values[there]]
    spelled = _spellings(set(text), declared)
    text = [spelled.get(value, value) for value in text]
    occurring = set(text)
    names = [name for name in dict.fromkeys(declared) if name in occurring]
    names += sorted(occurring - set(names), key=_by_size)
    place = {name: number for number, name in enumerate(names)}
    codes = np.full(len(there), -1, dtype=np.int32)
    codes[there] = [place[value] for value in text]
    return codes, tuple(names)


def _text(value: object) -> str:
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


def _spellings(occurring: Collection[str], declared: Sequence[str]) -> dict[str, str]:
    """How values that are not declared are declared, if that is plain."""
    values = Counter(map(_alike, occurring))
    names: dict[str, list[str]] = {}
    for name in dict.fromkeys(declared):
        names.setdefault(_alike(name), []).append(name)
    return {
        value: names[alike][0]
        for value in set(occurring) - set(declared)
        if values[alike := _alike(value)] == 1 and len(names.get(alike, ())) == 1
    }


def _alike(text: str) -> str:
    """The same for two spellings of a value."""
    number, _ = _by_size(text)
    return repr(number) if np.isfinite(number) else text.casefold()


def _by_size(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def line(error: object, most: int = 160) -> str:
    """A text in one line, cut if it is long, without what a terminal would act on."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."
