"""Whether recorded runs are whole, and what is wrong with them."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import RESULTS, say


def command(
    results: Annotated[Path, typer.Argument(help="Folder of the run records, or one in it.")] = (
        RESULTS
    ),
) -> None:
    """Name everything in recorded runs that is missing, doubled, edited, torn or mixed.

    A line each: the place, what was found, what was expected; status 1 if there is any.
    """
    from wrappers.check import check

    runs, found = check(results)
    for line in found:
        say(line)
    if found:
        raise typer.Exit(1)
    records = sum(len(lines.records) for run in runs for _, lines in run.files)
    say(f"{len(runs)} run{'s' * (len(runs) != 1)}, {records} records: all whole")
