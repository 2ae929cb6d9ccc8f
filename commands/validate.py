"""Evaluate incumbents on data that no configurator saw."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from commands._console import CORES, ExecutorOption, WorkersOption, bar, number, say


def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or folders above them.")],
    seeds: Annotated[int, number("Fresh seeds a test instance.")] = 10,
    workers: WorkersOption = CORES,
    executor: ExecutorOption = "local",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Evaluate again what crashed.")
    ] = False,
) -> None:
    """Evaluate every incumbent of finished runs on the test instances, with fresh seeds."""
    from wrappers.executors import executor as executor_of
    from wrappers.health import health
    from wrappers.validation import runs_below, validate, validated

    where = executor_of(executor)
    folders = runs_below(runs)
    with bar(f"validating {len(folders)} run{'s' * (len(folders) > 1)}", None) as update:
        validate(
            folders,
            seeds=seeds,
            workers=workers,
            retry_failed=retry_failed,
            progress=update,
            executor=where,
        )
    say(health(validated(folders)))
    for results in dict.fromkeys(folder.parents[3] for folder in folders):
        say(f"Next: sparse-aclib report {shlex.quote(str(results))}")
