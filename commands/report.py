"""Tables, figures and one page from recorded runs."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import RESULTS, errors, say


def command(
    results: Annotated[Path, typer.Argument(help="Folder of the run records.")] = RESULTS,
) -> None:
    """Write tables, figures and report.html from recorded runs."""
    from analysis.report import write_report
    from wrappers import configurators

    with errors.status("tables, figures, report (a minute for ten variants)"):
        path = write_report(results, missing=configurators.missing())
    say(f"Report: {path.resolve()}")
