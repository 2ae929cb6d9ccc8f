"""Configure a scenario's target algorithm."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from commands._console import RESULTS, ExecutorOption, ResultsOption, bar, number, say


def command(
    scenario: Annotated[str, typer.Argument(help="Scenario folder, e.g. scenarios/mnist5k/rigl.")],
    configurator: Annotated[
        str | None, typer.Option(help="One of 'sparse-aclib list'; random search if left out.")
    ] = None,
    seed: Annotated[int, number("Seed of the configurator.", least=0, most=2**31 - 2)] = 1,
    trials: Annotated[
        int | None,
        number("Budget; the scenario's runcount_limit if left out."),
    ] = None,
    workers: Annotated[
        int,
        number("Trials evaluated at once; part of what a run is."),
    ] = 1,
    executor: ExecutorOption = "local",
    results: ResultsOption = RESULTS,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on where the default configuration fails.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Configure a scenario's target algorithm.

    Writes runhistory, trajectory and run.json to RESULTS/<set>/<variant>/<configurator>/seed-<n>.
    The same command goes on with a run that was interrupted. The budget is the number of trials;
    wallclock_limit of the scenario is for other configurators, which count seconds.
    """
    from wrappers import configurators
    from wrappers.executors import executor as executor_of
    from wrappers.health import health
    from wrappers.processes import die_with
    from wrappers.records import RUNHISTORY, Numbered, read_lines
    from wrappers.scenario import read

    if parent is not None:  # started by a benchmark: end with it
        die_with(parent)
    chosen = read(scenario)
    by = configurators.configurator(configurator or configurators.TEMPLATE.stem)
    where = executor_of(executor)
    budget = trials or chosen.runcount_limit

    def execute(progress: Callable[[int], None]) -> Path:
        return configurators.execute(
            chosen,
            by,
            seed=seed,
            trials=budget,
            workers=workers,
            results=results,
            progress=progress,
            anyway=anyway,
            executor=where,
        )

    if quiet:
        folder = execute(lambda done: None)
    else:
        with bar(f"{chosen.name} {by.name} seed {seed}", budget) as update:
            folder = execute(update)
    say(health(read_lines(folder / RUNHISTORY, Numbered)))
    say(f"{folder} is finished. Next: sparse-aclib validate {shlex.quote(str(folder))}")
