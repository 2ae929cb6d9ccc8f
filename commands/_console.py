"""What the commands have in common: where they print, progress bars, options."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

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

ResultsOption = Annotated[Path, typer.Option(help="Folder of the run records.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Trials evaluated at once, a core each.")]


def say(text: object) -> None:
    """Prints a line as it is, however long."""
    console.print(str(text), soft_wrap=True, markup=False, highlight=False)


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Update]:
    """A progress bar with the time left, on standard error; yields what moves it on."""
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
