"""How far runs are, and who works on them."""

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands._console import RESULTS, say

if TYPE_CHECKING:
    from wrappers.locks import Owner
    from wrappers.progress import Progress


def command(
    results: Annotated[Path, typer.Argument(help="Folder of the run records.")] = RESULTS,
) -> None:
    """Show how far the runs in a results folder are, and who works on them since when.

    Nothing is changed, and nobody is waited for.
    """
    from wrappers.progress import State, progress

    runs = progress(results)
    rows = [("run", "state", "trials", "validated", "who works on it")]
    rows += [(r.name, r.state, _trials(r), str(r.validated), _who(r)) for r in runs]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        left = f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}"
        say(f"{left}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip())
    count = Counter(each.state for each in runs)
    states = ", ".join(f"{count[state]} {state}" for state in State if count[state])
    done, total = sum(each.done for each in runs), sum(each.trials or 0 for each in runs)
    say(f"\n{len(runs)} runs: {states}; {done:,.0f} of {total:,} trials")


def _trials(run: "Progress") -> str:
    return f"{run.done:g}/{'?' if run.trials is None else run.trials}"


def _who(run: "Progress") -> str:
    if run.words:
        return run.words
    if run.owner is None:
        return ""
    return f"{run.owner.shown}, {_since(run.owner)}" if run.works else f"nobody ({run.owner.shown})"


def _since(owner: "Owner") -> str:
    """For how long, by this machine's clock."""
    try:
        seconds = time.time() - datetime.fromisoformat(owner.since).timestamp()
    except ValueError:
        return f"since {owner.since}"
    minutes = max(0, int(seconds)) // 60
    return f"for {minutes // 60}:{minutes % 60:02} h"
