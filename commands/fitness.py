"""Whether instance sets measure sparse training, or their noise and their recipe."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import (
    CORES,
    RESULTS,
    ExecutorOption,
    ResultsOption,
    WorkersOption,
    bar,
    console,
    number,
    say,
)


def command(
    sets: Annotated[list[str], typer.Argument(help="Instance sets, their data here.")],
    configurations: Annotated[
        int,
        number("Random settings of the rules that are compared.", least=4),
    ] = 40,
    seeds: Annotated[int, number("Seeds a training instance.")] = 2,
    workers: WorkersOption = CORES,
    executor: ExecutorOption = "local",
    results: ResultsOption = RESULTS,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a document.")] = False,
) -> None:
    """Measure whether a set's training instances tell rules of sparse training apart.

    Random settings of the combination's rules, with the recipe at its default, and the defaults of
    all variants are evaluated on all training instances. How far do rules move the cost (spread),
    how far does chance (noise); do instances agree (rank correlation); is a static mask as good
    (baseline's best against the best default); how many settings fail, need the masked engine; how
    often another value of a parameter gives the same trial (inert). Trials are kept in
    RESULTS/fitness: the same command goes on.
    """
    from analysis.fitness import fitness, table
    from sparse_training.data.instances import load
    from sparse_training.errors import BadInput
    from wrappers.executors import executor as executor_of
    from wrappers.fitness import measure
    from wrappers.scenario import read, scenarios

    where = executor_of(executor)
    every = [read(folder) for folder in scenarios()]
    judged = []
    for name in sets:
        members = [each for each in every if each.set == name]
        if not members:
            known = ", ".join(dict.fromkeys(each.set for each in every))
            raise BadInput(f"no instance set {name!r}, expected one of {known}")
        with bar(f"fitness of {name}", None) as update:
            sample = measure(
                members,
                Path(results) / "fitness" / name,
                configurations=configurations,
                seeds=seeds,
                workers=workers,
                progress=update,
                executor=where,
            )
        classes = {instance: load(instance).n_classes for instance in members[0].training}
        judged.append(fitness(sample, classes))
    frame = table(judged)
    if markdown:
        rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
        say("\n".join(f"| {' | '.join(map(str, row))} |" for row in rows))
        return
    for figures, (_, row) in zip(judged, frame.iterrows(), strict=True):
        for column, value in row.items():
            say(f"{column}:".ljust(18) + str(value))
        means = sorted(figures.defaults.items(), key=lambda each: each[1])
        say("defaults:         " + ", ".join(f"{name} {cost:.3f}" for name, cost in means))
        idle = ", ".join(
            f"{name} {idle} of {changed}" for name, (idle, changed) in figures.inert.items() if idle
        )
        say("inert:            " + (idle or "no parameter in any setting"))
        console.print()
