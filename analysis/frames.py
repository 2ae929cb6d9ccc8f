"""Data frames by runs, by text and by rows, with types.

What a column of a frame holds is known only when the code runs, so to a type checker the keys of
groups and the values of rows are anything at all. Here they get the types that the frames of
`analysis/records.py` have: text, and an integer for `run_seed`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd


class RunKey(NamedTuple):
    """What names a run: the columns that begin every frame of the record."""

    set: str
    variant: str
    configurator: str
    run_seed: int


RUN: list[str] = list(RunKey._fields)
"""The columns that name a run."""

CASE: list[str] = RUN[:3]
"""The columns that runs have in common that differ in their seed only."""


def by_text(frame: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each text of a column with its rows, in the order in which they first come."""
    for value, own in frame.groupby(column, sort=False):
        yield str(value), own


def by_texts(
    frame: pd.DataFrame, columns: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Each combination of texts of several columns with its rows, in the order of the rows.

    Rows that have no value in one of the columns are left out.
    """
    for values, own in frame.groupby(list(columns), sort=False):
        yield tuple(str(value) for value in values), own


def by_run(frame: pd.DataFrame) -> Iterator[tuple[RunKey, pd.DataFrame]]:
    """Each run with its rows, in the order of the rows."""
    for (set_, variant, configurator, seed), own in frame.groupby(RUN, sort=False):
        yield RunKey(str(set_), str(variant), str(configurator), int(str(seed))), own


def run_keys(frame: pd.DataFrame) -> list[RunKey]:
    """The run of each row."""
    seeds = frame["run_seed"].astype(int)
    columns = (frame["set"], frame["variant"], frame["configurator"], seeds)
    return [RunKey(*row) for row in zip(*columns, strict=True)]


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows by the names of the columns."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def joined(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of all frames in these columns; without frames an empty one that has them."""
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True)[list(columns)]
