"""What the commands have in common: where they print, progress bars, options."""

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
errors = Console(stderr=True)

Update = Callable[..., None]
"""Moves a progress bar on: done, and the total where it was not known before."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
RESULTS = Path("results")
LINE_EVERY = 30.0  # seconds between two lines of progress where there is no terminal
LINE_AFTER = 2.0  # seconds to the first of them


def number(help: str, *, least: int = 1, most: int = 1_000_000) -> Any:
    """An option that takes a whole number in plain digits: no `1_0`, blank or other script."""

    def parse(value: object) -> int:
        text = str(value)
        if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise typer.BadParameter(f"{text!r}, expected a number from {least} to {most}")
        return int(text)

    return typer.Option(parser=parse, metavar="N", help=help)


def _folder(text: str) -> Path:
    if not text:
        raise typer.BadParameter("expected the name of a folder, found nothing")
    return Path(text)


ResultsOption = Annotated[
    Path, typer.Option(parser=_folder, metavar="FOLDER", help="Folder of the run records.")
]
WorkersOption = Annotated[int, number("Trials evaluated at once, a core each.")]
ExecutorOption = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="Where trials run: local, srun, ssh:HOST,HOST or dask:tls://HOST:PORT.",
    ),
]


def say(text: object) -> None:
    """Prints a line as it is, however long."""
    console.print(str(text), soft_wrap=True, markup=False, highlight=False)


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Update]:
    """Progress with the time left, on standard error; yields what moves it on.

    A bar on a terminal, else a line now and then. Nothing is shown before there is progress.
    """
    if not errors.is_terminal:
        yield Lines(label, total)
        return
    columns = (
        TextColumn("{task.description:34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=errors)
    task = shown.add_task(label, total=total)

    def update(
        done: int | None = None, total: int | None = total, description: str | None = None
    ) -> None:
        if not shown.live.is_started:
            # Not before: where there is nothing to do, or all is wrong, no bar. What an earlier
            # process has done says nothing about the speed of this one.
            shown.start()
            shown.reset(task, completed=done or 0, total=total)
        shown.update(task, completed=done, total=total, description=description)

    try:
        yield update
        if total is None:  # it was a guess: a race that ends early needs less
            shown.update(task, total=shown.tasks[0].completed)
    finally:
        if shown.live.is_started:
            shown.stop()


class Lines:
    """Progress where there is no terminal: a line every `LINE_EVERY` seconds, and at the end.

    Each says what is done, of how many, the time left at the speed so far, and the last event.
    The first one comes soon, but what is done at once is not worth a line.
    """

    def __init__(
        self, label: str, total: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._total, self._clock = label, total, clock
        self._began: tuple[float, int] | None = None
        self._shown = False
        self._next = clock() + LINE_AFTER

    def __call__(
        self, done: int | None = None, total: int | None = None, description: str | None = None
    ) -> None:
        """Tells of progress; see `bar`."""
        total, done, now = total or self._total, done or 0, self._clock()
        self._began = self._began or (now, done)
        ended = done == total and self._shown and self._next < math.inf
        if now < self._next and not ended:
            return
        self._next = math.inf if ended else now + LINE_EVERY
        self._shown = True
        began, before = self._began
        words = f"{done:,} of {total:,}" if total else f"{done:,}"
        words += f", {_minutes(now - began)}"
        if total and before < done < total:
            words += f", {_minutes((now - began) * (total - done) / (done - before))} left"
        event = f" ({description})" if description else ""
        errors.print(f"{self._label}: {words}{event}", soft_wrap=True, markup=False)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
