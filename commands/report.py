"""Tables, figures and one page from recorded runs."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import RESULTS, errors, say


def command(
    results: Annotated[Path, typer.Argument(help="Folder of the run records.")] = RESULTS,
) -> None:
    """Write tables, figures and report.html from recorded runs.

    Runs with a fault in their record are left out and named; 'sparse-aclib check' says more.
    """
    from analysis.report import write_report
    from wrappers import configurators

    faults: list[str] = []
    with errors.status("tables, figures, report (a minute for ten variants)"):
        path = write_report(results, missing=configurators.missing(), left_out=faults.append)
    for fault in faults:
        say(f"Left out: {fault}")
    say(f"Report: {path.resolve()}")
