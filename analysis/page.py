"""What the page of a report is made of, and how it becomes HTML (`page.html.j2`)."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis import words
from analysis.configurability import BOUNDS, QUESTIONS
from analysis.frames import rows

TEMPLATE = "page.html.j2"

PERCENTS = frozenset(
    {
        *("default_error", "configured_error", "single_error", "combined_error", "test_error"),
        *("training_error", "importance", "least", "most", "share", "cost"),
    }
)
"""Columns that tables show in per cent."""

POINTS = frozenset({"improvement", "gain", *BOUNDS})
"""Columns that tables show in percentage points, with their sign."""


P_VALUES = frozenset(f"holm_{question}" for question in QUESTIONS)
"""Columns that tables show with three decimals."""


@dataclass(frozen=True)
class Heading:
    """The heading of a part of a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; what is not a `Markup` is escaped."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table: text only, numbers right-aligned."""

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    file: str
    """The CSV that has all of it."""


@dataclass(frozen=True)
class Picture:
    """A figure."""

    kind: ClassVar[str] = "picture"
    file: str
    png: bytes
    text: str
    """What it shows, for who cannot see it."""

    @property
    def base64(self) -> str:
        """The PNG as HTML holds it."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Folded:
    """A table that is shown when it is asked for."""

    kind: ClassVar[str] = "folded"
    summary: str
    table: Table


Block = Heading | Text | Items | Table | Picture | Folded


@dataclass(frozen=True)
class Section:
    """A section of the page on one instance set."""

    title: str
    """What stands behind the name of the set."""
    blocks: Sequence[Block]
    anchor: str
    link: str
    """The text of the link at the top of the page that leads here."""


@dataclass(frozen=True)
class Part:
    """What the page says of one instance set."""

    name: str
    short: Sequence[str]
    """The answers in a sentence each."""
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """All of its figures."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [block for block in blocks if isinstance(block, Picture)]


def picture(file: str, figure: Figure, text: str) -> Picture:
    """The figure, which is closed; `text` says what it shows."""
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    plt.close(figure)
    return Picture(file, png.getvalue(), text)


def table(frame: pd.DataFrame, name: str) -> Table:
    """The frame as the page shows it, where `tables/<name>.csv` has all columns and rows.

    Columns of `PERCENTS` are in per cent, those of `POINTS` in points, `P_VALUES` are
    rounded, the rest is as it is.
    """
    columns = [str(column) for column in frame.columns]
    return Table(
        header=[
            column.replace("_", " ") + (" (points)" if column in POINTS else "")
            for column in columns
        ],
        rows=[[_cell(column, row[column]) for column in columns] for row in rows(frame)],
        numeric=[pd.api.types.is_numeric_dtype(frame[column]) for column in columns],
        file=f"tables/{name}.csv",
    )


def render(**values: object) -> str:
    """The page; the template names the values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(**values)


def _cell(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if column in PERCENTS:
        return words.percent(value)
    if column in POINTS:
        return f"{100 * value:+.1f}"
    if column in P_VALUES:
        return f"{value:.3f}" if value >= 0.0005 else "< 0.001"
    if isinstance(value, float):
        return f"{int(value)}" if value == int(value) else f"{value:.3g}"
    return str(value)
