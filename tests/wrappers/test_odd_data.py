"""Data sets as people upload them: each is stored right or refused in one line, and stops none."""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparse_training.data import stored
from sparse_training.data.features import features
from sparse_training.data.raw import Access
from tests.openml import documents
from tests.openml.server import Server
from wrappers.fetch import Outcome, fetch

ROWS = 40
NUMBERS = np.arange(ROWS) / 4
LABELS = ["a", "b"] * (ROWS // 2)


@dataclass(frozen=True)
class Odd:
    """A data set, and what must become of it."""

    columns: dict[str, Any]
    """By name; what is nominal is a pandas.Categorical."""
    classes: tuple[str, ...] = ("a", "b")
    """Those that are stored."""
    labels: list[str] = field(default_factory=lambda: LABELS)
    """The class of each row, as it is stored."""
    row: tuple[float, ...] = (0.5,)
    """The numeric inputs of row 2."""
    levels: tuple[int, ...] = ()
    """Stored categories of each nominal input."""
    missing: int = 0
    """Cells without a value."""
    refused: str | None = None
    """What the one line says instead."""
    changes: tuple[tuple[str, str, str], ...] = ()
    """(document, text, other text): what people have made of it."""
    parquet: dict[str, Any] | None = None
    """Columns that a Parquet file holds instead of `columns`."""


def levels(*values: object, of: tuple[object, ...] | None = None) -> pd.Categorical:
    """A nominal column of values that take turns."""
    column = [values[row % len(values)] for row in range(ROWS)]
    declared = of if of is not None else dict.fromkeys(v for v in values if v is not None)
    return pd.Categorical(column, categories=list(declared))


X = {"x": NUMBERS}
C = {"class": levels("a", "b")}
PLAIN = Odd({**X, **C})
IGNORE = ("data", "</oml:default_target_attribute>", "</oml:default_target_attribute>{}")


def ignoring(*texts: str, tag: str = "ignore_attribute") -> tuple[tuple[str, str, str], ...]:
    """A description with an element for each text."""
    elements = "".join(f"<oml:{tag}>{text}</oml:{tag}>" for text in texts)
    return ((IGNORE[0], IGNORE[1], IGNORE[2].format(elements)),)


def flagged(name: str, tag: str = "is_ignore") -> tuple[tuple[str, str, str], ...]:
    """A features.xml in which a column has a flag."""
    pattern = rf"(<oml:name>{re.escape(name)}</oml:name>.*?<oml:{tag}>)false"
    return (("data/features", pattern, r"\1true"),)


def nominal(*values: object, **changes: Any) -> Odd:
    """A nominal input of some values."""
    n = len({value for value in values if value is not None})
    return replace(PLAIN, columns={**X, "c": levels(*values), **C}, levels=(n,), **changes)


def held(column: object, of: pd.Categorical | None = None, **changes: Any) -> Odd:
    """An input that a Parquet file holds in another way than its description has it."""
    base = {**X, "c": of if of is not None else NUMBERS, **C}
    return replace(PLAIN, columns=base, parquet={**base, "c": column}, **changes)


def target(values: pd.Categorical, **changes: Any) -> Odd:
    return replace(PLAIN, columns={**X, "class": values}, **changes)


KIND = "<oml:data_type>numeric"
TWO = replace(PLAIN, columns={**X, "copy": C["class"], "id": np.arange(ROWS) + 0.5, **C})
"""A copy of the class and a number of the row, which must not be inputs."""

CASES: dict[str, Odd] = {
    "nothing odd": PLAIN,
    # levels
    "an empty level": nominal("", "u"),
    "an empty level in Parquet": replace(nominal("", "u"), parquet=nominal("", "u").columns),
    "an empty level that is not declared": held(["", "u"] * 20, levels("u", "w"), levels=(2,)),
    "an empty class": target(levels("", "b"), classes=("", "b"), labels=["", "b"] * 20),
    "an empty class in Parquet": target(
        levels("", "b"),
        classes=("", "b"),
        labels=["", "b"] * 20,
        parquet={**X, "class": levels("", "b")},
    ),
    "quotes in a level": nominal("it's", 'say "so"'),
    "backslashes in a level": nominal("a\\b", "a\\\\b", "\\"),
    "blanks in a level": nominal("a b", " a", "b "),
    "commas in a level": nominal("a,b", ",", "a"),
    "percent signs in a level": nominal("50%", "%", "%d"),
    "braces in a level": nominal("{a", "b}", "{}"),
    "a quoted question mark": nominal("?", "!"),
    "markup in a level": nominal("<a>", "&amp;", "&"),
    "letters of all the world": nominal("ä", "日本", "🙂"),
    "a comment's sign first": nominal("%a", "b"),
    "one level": nominal("only"),
    "a level for each row": nominal(*(f"level {row}" for row in range(ROWS))),
    "thousands of levels": replace(
        nominal("u0", "u7"),
        columns={**X, "c": levels("u0", "u7", of=tuple(f"u{n}" for n in range(5000))), **C},
    ),
    "levels that differ by case": nominal("u", "U", "w"),
    "levels that differ by case, one not declared": held(
        ["u", "U", "w", "W"] * 10, levels("u", "U", "w"), levels=(4,)
    ),
    "numbers that differ by a zero": held(["1", "01"] * 20, levels("1", "2"), levels=(2,)),
    "numbers as levels": held(np.arange(ROWS) % 3, levels("0", "1", "2"), levels=(3,)),
    "floats as levels": held(np.arange(ROWS) % 3.0, levels("0", "1", "2"), levels=(3,)),
    "no level is declared": replace(
        nominal("u", "w"),
        changes=(("data/features", r"\s*<oml:nominal_value>(u|w)</oml:nominal_value>", ""),),
    ),
    # missing values
    "gaps": replace(nominal("u", None, "w"), missing=13),
    "gaps in numbers": replace(
        PLAIN, columns={"x": [np.nan, 1.0, 3.0, 9.0] * 10, **C}, row=(3.0,), missing=10
    ),
    "no number at all": replace(
        PLAIN, columns={**X, "y": [np.nan] * ROWS, **C}, row=(0.5, np.nan), missing=ROWS
    ),
    "no level at all": replace(
        PLAIN,
        columns={**X, "c": levels(None, of=("u", "w")), **C},
        levels=(0,),
        missing=ROWS,
    ),
    "a row without a class": target(levels("a", "b", None), refused="13 rows without a class"),
    # truths and dates
    "truths": nominal("True", "False"),
    "truths in Parquet": held([True, False] * 20, levels("TRUE", "FALSE"), levels=(2,)),
    "truths declared as numbers": held([True, False] * 20, levels=(2,)),
    "truths with gaps": held(
        pd.array([True, False, None, True] * 10, dtype="boolean"),
        levels("true", "false"),
        levels=(2,),
        missing=10,
    ),
    "dates": replace(
        PLAIN,
        columns={**X, "y": NUMBERS, **C},
        changes=(
            ("data/features", rf"(y</oml:name>\s*){KIND}", r"\1<oml:data_type>date"),
            ("arff", "'y' REAL", '@y DATE "yyyy-MM-dd, HH:mm"'.replace("@y", "'y'")),
        ),
        refused="feature 'y' is date: expected numbers or categories",
    ),
    "dates to ignore": replace(
        PLAIN,
        columns={**X, "y": NUMBERS, **C},
        changes=(*ignoring("y"), ("arff", "'y' REAL", "'y' date 'yyyy-MM-dd'")),
    ),
    "dates declared as numbers": held(
        pd.date_range("2020-01-01", periods=ROWS),
        refused="numeric feature 'c' has Timestamp.* in row 0: expected a number",
    ),
    "texts": replace(
        PLAIN,
        changes=(("data/features", KIND, "<oml:data_type>string"), ("arff", "REAL", "STRING")),
        refused="feature 'x' is string: expected numbers or categories",
    ),
    "texts to ignore": replace(
        PLAIN,
        columns={**X, "y": NUMBERS, **C},
        changes=(*flagged("y"), ("arff", "'y' REAL", "'y' STRING")),
    ),
    # numbers
    "numbers stored as texts": held([str(n) for n in NUMBERS], row=(0.5, 0.5)),
    "numbers stored as texts with gaps": held(
        ["1", "", "2e3", None] * 10, row=(0.5, 2000.0), missing=20
    ),
    "decimals": held([Decimal(row) for row in range(ROWS)], row=(0.5, 2.0)),
    "whole numbers with gaps": held(
        pd.array([1, None, 3, 4] * 10, dtype="Int64"), row=(0.5, 3.0), missing=10
    ),
    "texts declared as numbers": held(
        ["1", "two"] * 20, refused="numeric feature 'c' has 'two' in row 1: expected a number"
    ),
    "lists declared as numbers": held(
        [[1, 2]] * ROWS, refused=r"numeric feature 'c' has array\(.* in row 0: expected a number"
    ),
    "short lists declared as numbers": held(
        [[1]] * ROWS, refused=r"numeric feature 'c' has array\(.* in row 0: expected a number"
    ),
    "infinite numbers": replace(
        PLAIN,
        columns={"x": [np.inf, 1.0] * 20, **C},
        refused="feature 'x' has infinite values: expected none",
    ),
    "numbers as large as there are": replace(
        PLAIN, columns={"x": [1.7e308, -1.7e308, 1.7e308, 1.0] * 10, **C}, row=(1.7e308,)
    ),
    "whole numbers beyond four bytes": replace(
        PLAIN,
        columns={"x": [2**40, 0, 2**40 + 1, 1] * 10, **C},
        changes=(("arff", "REAL", "INTEGER"),),
        row=(2.0**40 + 1,),
    ),
    "a word among the numbers": replace(
        PLAIN, changes=(("arff", "\n0.5,", "\nhalf,"),), refused="its ARFF file cannot be read"
    ),
    # what is no input
    "a row's number by the description": replace(
        TWO, changes=(*ignoring("copy"), *ignoring("id", tag="row_id_attribute"))
    ),
    "a row's number by the features": replace(
        TWO, changes=(*flagged("copy"), *flagged("id", "is_row_identifier"))
    ),
    "one document ignores this and the other that": replace(
        TWO, changes=(*ignoring("copy"), *flagged("id"))
    ),
    "ignored in one element": replace(TWO, changes=ignoring("copy,id")),
    "ignored in one element with blanks": replace(TWO, changes=ignoring(" copy ,\n id, ")),
    "ignored in quotes and brackets": replace(TWO, changes=ignoring("['copy', &quot;id&quot;]")),
    "ignored in two elements": replace(TWO, changes=ignoring("copy", "id")),
    "ignored names with commas": replace(
        PLAIN,
        columns={**X, "a,b": C["class"], "c": C["class"], **C},
        changes=ignoring("c,a,b"),
    ),
    "ignored and no column": replace(
        TWO, changes=ignoring("copy,ID"), refused="says to ignore 'ID', which is no column of the"
    ),
    "a row's number that is no column": replace(
        PLAIN, changes=ignoring("id", tag="row_id_attribute"), refused="to ignore 'id', which is no"
    ),
    "the class is to be ignored": replace(PLAIN, changes=(*ignoring("class"), *flagged("class"))),
    "everything is to be ignored": replace(
        PLAIN, changes=ignoring("x"), refused="has no features: expected at least one"
    ),
    # headers
    "quotes in a name": replace(PLAIN, columns={"it's": NUMBERS, **C}),
    "blanks in a name": replace(PLAIN, columns={" my x ": NUMBERS, **C}),
    "commas and braces in a name": replace(PLAIN, columns={"x, {y}": NUMBERS, **C}),
    "a tab in a name": replace(PLAIN, columns={"x\ty": NUMBERS, **C}),
    "tabs between the words of a header": replace(
        PLAIN, changes=(("arff", "@ATTRIBUTE 'x' REAL", "@attribute\tx\t\treal\t"),)
    ),
    "no blank before the levels": replace(
        nominal("u", "w"), changes=(("arff", r"'c' \{'u','w'\}", "c{u , 'w'}"),)
    ),
    "line ends of Windows": replace(nominal("u", "w"), changes=(("arff", "\n", "\r\n"),)),
    "a byte order mark": replace(PLAIN, changes=(("arff", "^@RELATION", "\ufeff@RELATION"),)),
    "a NUL at the end": replace(PLAIN, changes=(("arff", r"\Z", "%\n\0"),)),
    "a name twice": replace(
        PLAIN,
        columns={**X, "y": NUMBERS, **C},
        changes=(("arff", "'y'", "'x'"),),
        refused="its ARFF file cannot be read: Bad @ATTRIBUTE name x",
    ),
    "names that differ from those described": replace(
        nominal("u", "w"), changes=(("data/features", "<oml:name>c<", "<oml:name>C 1<"),)
    ),
    "a column that nobody described": replace(
        PLAIN, parquet={**X, "leak": NUMBERS, **C}, refused="its file has a column 'leak', of which"
    ),
    "an index of pandas": held(pd.Series(NUMBERS, index=np.arange(ROWS) * 2), row=(0.5, 0.5)),
    # files
    "no rows": replace(PLAIN, changes=(("arff", "@DATA\n(.|\n)*", "@DATA\n"),), refused="0 rows"),
    "a row too short": replace(
        PLAIN, changes=(("arff", "\n0.5,'a'", "\n0.5"),), refused="its ARFF file cannot be read"
    ),
    "a level that is not declared": replace(
        PLAIN,
        changes=(("arff", "\n0.5,'a'", "\n0.5,'c'"),),
        refused="ARFF file cannot be read: Data value c not found in nominal declaration, at line",
    ),
    "rows of a sparse file": replace(
        PLAIN, changes=(("data", ">ARFF<", ">Sparse_ARFF<"),), refused="a sparse ARFF file"
    ),
    "no Parquet file": replace(
        PLAIN,
        parquet=PLAIN.columns,
        changes=(("bucket", "(.|\n)+", "none"),),
        refused="its Parquet file cannot be read",
    ),
    "a Parquet file without the class": replace(
        PLAIN, parquet=X, refused="its file has no column 'class' for the classes"
    ),
    "no feature is described": replace(
        PLAIN,
        changes=(("data/features", "<oml:feature>(.|\n)*</oml:feature>", ""),),
        refused="OpenML describes no feature of it",
    ),
    # classes
    "classes that differ by case": target(
        levels("Y", "y", "n"),
        parquet={**X, "class": ["Y", "y", "n", "y"] * 10},
        changes=(("data/features", r"\s*<oml:nominal_value>n</oml:nominal_value>", ""),),
        classes=("Y", "y", "n"),
        labels=["Y", "y", "n", "y"] * 10,
    ),
    "classes stored as floats": target(
        levels("2", "1"),
        parquet={**X, "class": [2.0, 1.0] * 20},
        classes=("2", "1"),
        labels=["2", "1"] * 20,
    ),
    "classes stored as whole numbers": target(
        levels("2.0", "1.0"),
        parquet={**X, "class": [2, 1] * 20},
        classes=("2.0", "1.0"),
        labels=["2.0", "1.0"] * 20,
    ),
    "classes stored as truths": target(
        levels("TRUE", "FALSE"),
        parquet={**X, "class": [True, False] * 20},
        classes=("TRUE", "FALSE"),
        labels=["TRUE", "FALSE"] * 20,
    ),
    "classes that nobody declared": target(
        levels("10", "9"),
        changes=(("data/features", r"\s*<oml:nominal_value>.*</oml:nominal_value>", ""),),
        classes=("9", "10"),
        labels=["10", "9"] * 20,
    ),
    "the class is described as a number": replace(
        PLAIN,
        columns={**X, "class": np.arange(ROWS) % 2.0},
        classes=("0", "1"),
        labels=["0", "1"] * 20,
    ),
    "nothing odd at the end": PLAIN,
}

NAMES = {case: f"openml/{number}" for number, case in enumerate(CASES, 1)}


def published(number: int, odd: Odd) -> documents.Files:
    """What a server has of a data set and of the task on it, with the same number."""
    frame = pd.DataFrame(odd.columns)
    files = documents.published(
        number, number, "odd", frame, "class", parquet=odd.parquet is not None
    )
    if odd.parquet is not None:
        buffer = io.BytesIO()
        pd.DataFrame(odd.parquet).to_parquet(buffer)
        files[f"bucket/{number}"] = buffer.getvalue()
    for document, old, new in odd.changes:
        path = f"{document}/{number}"
        content = files[path].decode("latin-1" if document == "bucket" else "utf-8")
        changed = re.sub(old, new, content, count=0, flags=re.DOTALL if "(<" in old else 0)
        assert changed != content, (document, old)
        md5 = hashlib.md5(files[path]).hexdigest().encode()
        files[path] = changed.encode()
        if document == "arff":
            sum_ = hashlib.md5(files[path]).hexdigest().encode()
            files[f"data/{number}"] = files[f"data/{number}"].replace(md5, sum_)
    return files


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """What became of each, fetched by one command."""
    folder = tmp_path_factory.mktemp("odd")
    files: documents.Files = {}
    for number, odd in enumerate(CASES.values(), 1):
        files |= published(number, odd)
    with pytest.MonkeyPatch.context() as patch, Server(files) as server:
        for variable in ("OPENML_APIKEY", "OPENML_CACHE_DIR", "OPENML_SKIP_PARQUET"):
            patch.delenv(variable, raising=False)
        for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SPARSE_ACLIB_DATA"):
            patch.setenv(variable, str(folder / variable))
        made = fetch(list(NAMES.values()), Access(server=server.address, retries=1))
        yield {outcome.name: outcome for outcome in made}


@pytest.mark.parametrize("case", CASES)
def test_an_odd_data_set_is_stored_right_or_refused_in_one_line(
    outcomes: dict[str, Outcome], case: str
) -> None:
    odd, name = CASES[case], NAMES[case]
    outcome = outcomes[name]
    if odd.refused is not None:
        assert outcome.state == "failed" and re.search(odd.refused, str(outcome.problem))
        assert "\n" not in str(outcome.problem) and str(outcome.problem).startswith(name)
        return
    assert (outcome.state, outcome.problem) == ("fetched", None)
    data = stored.read(stored.path(*name.split("/")))
    assert data.about.classes == odd.classes
    assert [data.about.classes[label] for label in data.labels] == odd.labels
    assert tuple(np.diff(data.groups)) == odd.levels
    np.testing.assert_array_equal(data.numeric[2], np.array(odd.row))
    counted = features(f"{name}/0")
    assert counted["NumberOfMissingValues"] == odd.missing
    assert all(np.isfinite(value) for value in counted.values())


def test_all_the_odd_ones_were_asked_for_at_once(
    outcomes: dict[str, Outcome],
) -> None:
    assert list(outcomes) == list(NAMES.values()) and len(outcomes) > 60
    states = {outcome.state for outcome in outcomes.values()}
    assert states == {"fetched", "failed"}
