"""Evaluate incumbents on data that no configurator saw."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import CORES, WorkersOption, bar, say
from sparse_training.errors import BadInput


def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or folders above them.")],
    seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds a test instance.")] = 10,
    workers: WorkersOption = CORES,
) -> None:
    """Evaluate every incumbent of finished runs on the test instances, with fresh seeds."""
    from wrappers.validation import runs_below, validate

    folders = runs_below(runs)
    if not folders:
        raise BadInput(f"no run in {', '.join(map(str, runs))}; 'sparse-aclib run' makes one")
    with bar(f"validating {len(folders)} run{'s' * (len(folders) > 1)}", None) as update:
        validate(folders, seeds=seeds, workers=workers, progress=update)
    for results in dict.fromkeys(folder.parents[3] for folder in folders):
        say(f"Next: sparse-aclib report {results}")
