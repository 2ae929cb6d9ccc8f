"""OpenML's documents for data sets of the tests: descriptions, features, ARFF, tasks, splits."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DATA = Path(__file__).with_name("data.zip")
"""As OpenML served it; its README.md says of each file where it is from and its licence."""
NAMESPACE = 'xmlns:oml="http://openml.org/openml"'
BASE = "http://server"
"""Stands for the server's address, which puts in its own."""

Files = dict[str, bytes]
"""What a server serves, by path."""


def original(name: str) -> bytes:
    """A file of `data.zip`."""
    with zipfile.ZipFile(DATA) as archive:
        return archive.read(name)


def iris() -> Files:
    """Task 59 on data set 61: OpenML's own bytes, but for the features and the task's number."""
    arff = original("iris.arff")
    frame = pd.read_csv(
        io.BytesIO(arff[arff.index(b"@DATA") + 6 :]),
        names=["sepallength", "sepalwidth", "petallength", "petalwidth", "class"],
        comment="%",
    )
    frame["class"] = frame["class"].astype("category")
    return {
        "data/61": _addressed(original("iris-description.xml"), 61),
        "data/features/61": features(frame, "class"),
        "arff/61": arff,
        "task/59": task(59, 61, "class"),
        "splits/59": original("iris-splits.arff"),
    }


def anneal() -> Files:
    """Task 2867 on data set 2, OpenML's own bytes: mixed columns, most values missing."""
    arff = original("anneal.arff")
    rows = arff[arff.index(b"@data") :].decode().splitlines()[1:]
    labels = [row.rpartition(",")[2] for row in rows if row and not row.startswith("%")]
    return {
        "data/2": _addressed(original("anneal-description.xml"), 2),
        "data/features/2": original("anneal-features.xml"),
        "arff/2": arff,
        "task/2867": task(2867, 2, "class"),
        "splits/2867": splits(labels),
    }


def kr_vs_kp() -> pd.DataFrame:
    """The columns of data set 3, all nominal, in OpenML's order of rows."""
    return pd.read_csv(io.BytesIO(original("kr-vs-kp.csv"))).astype("category")


def published(
    task_id: int,
    data_id: int,
    name: str,
    frame: pd.DataFrame,
    target: str,
    *,
    parquet: bool = False,
) -> Files:
    """A data set and a classification task on it with OpenML's splits."""
    arff_ = arff(name, frame)
    files = {
        f"data/{data_id}": description(data_id, name, target, arff_, parquet=parquet),
        f"data/features/{data_id}": features(frame, target),
        f"arff/{data_id}": arff_,
        f"task/{task_id}": task(task_id, data_id, target),
        f"splits/{task_id}": splits(frame[target].astype(str).tolist()),
    }
    if parquet:
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        files[f"bucket/{data_id}"] = buffer.getvalue()
    return files


def description(
    data_id: int, name: str, target: str, arff: bytes, *, parquet: bool = False
) -> bytes:
    """What OpenML says of a data set."""
    url = f"\n  <oml:parquet_url>{BASE}/bucket/{data_id}</oml:parquet_url>" if parquet else ""
    return f"""<oml:data_set_description {NAMESPACE}>
  <oml:id>{data_id}</oml:id>
  <oml:name>{escape(name)}</oml:name>
  <oml:version>1</oml:version>
  <oml:description>{escape(name)}</oml:description>
  <oml:format>ARFF</oml:format>
  <oml:licence>Public</oml:licence>
  <oml:url>{BASE}/arff/{data_id}</oml:url>{url}
  <oml:file_id>{data_id}</oml:file_id>
  <oml:default_target_attribute>{escape(target)}</oml:default_target_attribute>
  <oml:visibility>public</oml:visibility>
  <oml:status>active</oml:status>
  <oml:md5_checksum>{hashlib.md5(arff).hexdigest()}</oml:md5_checksum>
</oml:data_set_description>
""".encode()


def _addressed(text: bytes, data_id: int) -> bytes:
    """An original description that names this server instead of OpenML's."""
    before, _, rest = text.partition(b"<oml:url>")
    return b"%s<oml:url>%s/arff/%d%s" % (before, BASE.encode(), data_id, rest[rest.index(b"</") :])


def features(frame: pd.DataFrame, target: str) -> bytes:
    """What OpenML says of the columns of a data set."""
    entries = []
    for index, column in enumerate(frame.columns):
        nominal = isinstance(frame[column].dtype, pd.CategoricalDtype)
        values = frame[column].cat.categories if nominal else ()
        entries.append(
            f"  <oml:feature>\n    <oml:index>{index}</oml:index>\n"
            f"    <oml:name>{escape(str(column))}</oml:name>\n"
            f"    <oml:data_type>{'nominal' if nominal else 'numeric'}</oml:data_type>\n"
            + "".join(
                f"    <oml:nominal_value>{escape(str(v))}</oml:nominal_value>\n" for v in values
            )
            + f"    <oml:is_target>{str(column == target).lower()}</oml:is_target>\n"
            "    <oml:is_ignore>false</oml:is_ignore>\n"
            "    <oml:is_row_identifier>false</oml:is_row_identifier>\n"
            f"    <oml:number_of_missing_values>{frame[column].isna().sum()}"
            "</oml:number_of_missing_values>\n  </oml:feature>\n"
        )
    return f"<oml:data_features {NAMESPACE}>\n{''.join(entries)}</oml:data_features>\n".encode()


def arff(name: str, frame: pd.DataFrame) -> bytes:
    """The data themselves."""
    lines = [f"@RELATION {_quoted(name)}", ""]
    cells = []
    for column in frame.columns:
        values = frame[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            domain = "{" + ",".join(map(_quoted, values.cat.categories)) + "}"
            cells.append(["?" if pd.isna(value) else _quoted(value) for value in values])
        else:
            domain = "REAL"
            cells.append(["?" if pd.isna(value) else _number(value) for value in values])
        lines.append(f"@ATTRIBUTE {_quoted(column)} {domain}")
    lines += ["", "@DATA", *map(",".join, zip(*cells, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def task(
    number: int,
    data_id: int,
    target: str,
    *,
    kind: int = 1,
    procedure: bool = True,
) -> bytes:
    """What OpenML says of a task; kind 1 is supervised classification, 2 regression."""
    name = {1: "Supervised Classification", 2: "Supervised Regression", 5: "Clustering"}[kind]
    estimation = f"""
  <oml:input name="estimation_procedure">
    <oml:estimation_procedure>
      <oml:id>1</oml:id>
      <oml:type>crossvalidation</oml:type>
      <oml:data_splits_url>{BASE}/splits/{number}</oml:data_splits_url>
      <oml:parameter name="number_repeats">1</oml:parameter>
      <oml:parameter name="number_folds">10</oml:parameter>
    </oml:estimation_procedure>
  </oml:input>"""
    return f"""<oml:task {NAMESPACE}>
  <oml:task_id>{number}</oml:task_id>
  <oml:task_type_id>{kind}</oml:task_type_id>
  <oml:task_type>{name}</oml:task_type>
  <oml:input name="source_data">
    <oml:data_set>
      <oml:data_set_id>{data_id}</oml:data_set_id>
      <oml:target_feature>{escape(target)}</oml:target_feature>
    </oml:data_set>
  </oml:input>{estimation if procedure else ""}
</oml:task>
""".encode()


def splits(labels: Sequence[str], folds: int = 10) -> bytes:
    """The splits file of a task with OpenML's cross-validation over rows with these labels."""
    fold_of = official_folds(labels, folds)
    return splits_file(
        (kind, int(row), fold)
        for fold in range(folds)
        for kind, chosen in (("TRAIN", fold_of != fold), ("TEST", fold_of == fold))
        for row in np.flatnonzero(chosen)
    )


def splits_file(rows: Iterable[tuple[str, int, int]]) -> bytes:
    """A splits file of (TRAIN or TEST, row, fold) triples."""
    lines = [
        "@relation splits\n",
        *("@attribute type {TRAIN,TEST}", "@attribute rowid numeric"),
        *("@attribute repeat numeric", "@attribute fold numeric\n", "@data"),
        *(f"{kind},{row},0,{fold}" for kind, row, fold in rows),
    ]
    return ("\n".join(lines) + "\n").encode()


def official_folds(labels: Sequence[str], folds: int) -> NDArray[np.intp]:
    """The test fold of every row in OpenML's stratified cross-validation.

    OpenML's evaluation engine is Java: Weka shuffles the rows with java.util.Random(0), groups them
    by class in order of appearance, and deals them out. The tests compare it with a genuine split.
    """
    rows, random = list(range(len(labels))), _JavaRandom(0)
    for last in range(len(rows) - 1, 0, -1):
        other = random.below(last + 1)
        rows[last], rows[other] = rows[other], rows[last]
    start = 1
    while start < len(rows):
        label = labels[rows[start - 1]]
        for place in range(start, len(rows)):
            if labels[rows[place]] == label:
                rows[start], rows[place] = rows[place], rows[start]
                start += 1
        start += 1
    dealt = [row for first in range(folds) for row in rows[first::folds]]
    fold_of = np.empty(len(rows), dtype=np.intp)
    sizes = [len(rows) // folds + (fold < len(rows) % folds) for fold in range(folds)]
    fold_of[dealt] = np.repeat(np.arange(folds), sizes)
    return fold_of


class _JavaRandom:
    """java.util.Random, whose numbers its documentation fixes."""

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ 0x5DEECE66D) & (2**48 - 1)

    def _next(self) -> int:
        self._state = (self._state * 0x5DEECE66D + 0xB) & (2**48 - 1)
        return self._state >> 17

    def below(self, bound: int) -> int:
        if bound & -bound == bound:
            return (bound * self._next()) >> 31
        while True:
            bits = self._next()
            value = bits % bound
            if bits - value + bound - 1 < 2**31:
                return value
