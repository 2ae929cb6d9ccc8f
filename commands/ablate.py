"""Which changes made a run's incumbent better than the default: real trials, and racing."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from commands._console import CORES, ExecutorOption, WorkersOption, bar, number, say
from sparse_training.errors import BadInput
from wrappers.evaluator import LOCAL, Lost
from wrappers.executors import Executor
from wrappers.locks import PATIENCE


def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or folders above them.")],
    trials: Annotated[
        int | None,
        number("Most trials of each; as many as its run if left out."),
    ] = None,
    workers: WorkersOption = CORES,
    executor: ExecutorOption = "local",
) -> None:
    """Find the path from the default to a run's final incumbent, with real trials and racing.

    Where the trials do not suffice for the whole path, its last step is all the rest together.
    """
    from wrappers.executors import executor as executor_of
    from wrappers.health import health
    from wrappers.records import ABLATION_TRIALS, Record, read_lines
    from wrappers.validation import runs_below

    where = executor_of(executor)
    folders = runs_below(runs)
    refused: list[BadInput] = []
    for folder in folders:
        try:
            with bar(f"ablation of {folder}", None) as update:
                path = ablate(
                    folder, trials=trials, workers=workers, progress=update, executor=where
                )
        except Lost:  # of the machines, not of the run
            raise
        except BadInput as error:  # the others may have one
            refused.append(error)
            if len(folders) > 1:
                print(error, file=sys.stderr)
            continue
        say(health(read_lines(folder / ABLATION_TRIALS, Record)))
        say(path)
    if len(refused) == len(folders):
        raise refused[0]


def ablate(
    run: Path,
    *,
    workers: int,
    trials: int | None = None,
    progress: Callable[[int, int], None] = lambda done, most: None,
    patience: float = PATIENCE,
    executor: Executor = LOCAL,
) -> Path:
    """Writes the ablation path of a finished run to its folder; returns the file.

    trials: that it may take, None for as many as the run; progress: is told the trials done and
    the most there can be, which racing makes fewer; patience: seconds to wait for another process
    that works on the run; executor: where trials run. Raises BadInput for a run without
    a trajectory, one under way, one whose incumbent is the default, and too few trials.
    """
    from analysis import ablation
    from sparse_training.files import write_whole
    from wrappers.ablation import recorded_costs
    from wrappers.locks import locked
    from wrappers.pairs import ablation_pairs
    from wrappers.records import (
        ABLATION,
        TRAJECTORY,
        Incumbent,
        read_lines,
        read_run,
        to_json,
    )
    from wrappers.validation import scenario_of

    target = run / ABLATION
    if target.exists():
        return target
    info = read_run(run)
    if info.state != "finished":
        raise BadInput(f"{run}: the run is {info.state}, expected a finished one")
    granted = int(info.used) if trials is None else trials
    trajectory = read_lines(run / TRAJECTORY, Incumbent)
    if not trajectory:
        raise BadInput(f"{run / TRAJECTORY}: no incumbent, expected the default")
    default, incumbent = trajectory[0], trajectory[-1]
    if default.config_id == incumbent.config_id:
        raise BadInput(f"{run}: the incumbent is the default, expected a path between two")
    scenario = scenario_of(run)
    space, pairs = scenario.space, ablation_pairs(scenario)
    least, most = ablation.trials_needed(space, default.config, incumbent.config, len(pairs))
    if granted < least:
        raise BadInput(
            f"{run}: an ablation takes {least} to {most} trials, more than the {granted} granted; "
            f"'sparse-aclib ablate {shlex.quote(str(run))} --trials {most}' grants them"
        )
    most = min(most, granted)
    with locked(run, patience=patience):
        if target.exists():  # by then
            return target
        with recorded_costs(
            run, scenario, workers, lambda done: progress(done, most), executor
        ) as costs:
            path = ablation.race(
                space, default.config, incumbent.config, costs, pairs, granted=granted
            )
        write_whole(target, to_json(path, indent=1) + "\n")
    return target
