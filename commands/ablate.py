"""Which changes made a run's incumbent better than the default: real trials, and racing."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from commands._console import CORES, WorkersOption, bar, say
from sparse_training.errors import BadInput


def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    workers: WorkersOption = CORES,
) -> None:
    """Find the path from the default to a run's final incumbent, with real trials and racing."""
    for folder in runs:
        with bar(f"ablation of {folder.name}", None) as update:
            path = ablate(folder, workers=workers, progress=update)
        say(path)


def ablate(
    run: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> Path:
    """Writes the ablation path of a finished run to its folder; returns the file.

    `progress` is told the trials done and the most there can be; racing makes them fewer. Raises
    BadInput for a run without a trajectory, one under way, and one whose incumbent is the default.
    """
    from analysis import ablation
    from sparse_training.files import write_whole
    from wrappers.ablation import recorded_costs
    from wrappers.pairs import ablation_pairs
    from wrappers.records import (
        ABLATION,
        TRAJECTORY,
        Incumbent,
        locked,
        read_lines,
        read_run,
        to_json,
    )
    from wrappers.validation import scenario_of

    target = run / ABLATION
    if target.exists():
        return target
    state = read_run(run).state
    if state != "finished":
        raise BadInput(f"{run}: the run is {state}, expected a finished one")
    trajectory = read_lines(run / TRAJECTORY, Incumbent)
    if not trajectory:
        raise BadInput(f"{run / TRAJECTORY}: no incumbent, expected the default")
    default, incumbent = trajectory[0], trajectory[-1]
    if default.config_id == incumbent.config_id:
        raise BadInput(f"{run}: the incumbent is the default, expected a path between two")
    scenario = scenario_of(run)
    space, pairs = scenario.space, ablation_pairs(scenario)
    most = ablation.most_trials(space, default.config, incumbent.config, len(pairs))
    with (
        locked(run),
        recorded_costs(run, scenario, workers, lambda done: progress(done, most)) as costs,
    ):
        path = ablation.race(space, default.config, incumbent.config, costs, pairs)
    write_whole(target, to_json(path, indent=1) + "\n")
    return target
