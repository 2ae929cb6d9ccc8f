"""`sparse-aclib`: run scenarios with any configurator, validate, analyse, show.

Each command is a thin layer over one function; what takes seconds to import is imported in the
command that needs it.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from target_algorithms.errors import BadInput
from target_algorithms.stored import data_directory
from wrappers.evaluator import environment
from wrappers.options import Options

if TYPE_CHECKING:
    from wrappers.scenario import Scenario

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Algorithm configuration of sparse neural-network training: an AClib-style benchmark.\n\n"
    "Start with 'sparse-aclib list', then 'sparse-aclib run scenarios/digits/rigl'.",
)
console = Console()
errors = Console(stderr=True)

Update = Callable[..., None]
"""Moves a progress bar on: done, and the total where it was not known before."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
RESULTS = Path("results")

ResultsOption = Annotated[Path, typer.Option(help="Folder of the run records.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Trials evaluated at once, a core each.")]


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Update]:
    """A progress bar with the time left, on standard error; yields what moves it on."""
    columns = (
        TextColumn("{task.description:34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as shown:
        task = shown.add_task(label, total=total)

        def update(
            done: int | None = None, total: int | None = total, description: str | None = None
        ) -> None:
            shown.update(task, completed=done, total=total, description=description)

        yield update
        if total is None:  # it was a guess: a race that ends early needs less
            shown.update(task, total=shown.tasks[0].completed)


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="Scenario folder, e.g. scenarios/digits/rigl.")],
    configurator: Annotated[
        str, typer.Option(help="One of 'sparse-aclib list'.")
    ] = "random_search",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 2, help="Seed of the configurator.")] = 1,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Budget; the scenario's runcount_limit if left out.")
    ] = None,
    workers: WorkersOption = 1,
    results: ResultsOption = RESULTS,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Configure a scenario's target algorithm.

    Writes runhistory, trajectory and run.json to RESULTS/<set>/<variant>/<configurator>/seed-<n>.
    The same command goes on with a run that was interrupted. The budget is the number of trials;
    wallclock_limit of the scenario is for configurators that count seconds.
    """
    from wrappers import configurators
    from wrappers.scenario import read
    from wrappers.worker import die_with

    if parent is not None:  # started by a benchmark: end with it
        die_with(parent)
    chosen = read(scenario)
    budget = trials or chosen.runcount_limit

    def execute(progress: Callable[[int], None]) -> Path:
        return configurators.execute(chosen, configurator, seed, budget, workers, results, progress)

    if quiet:
        execute(lambda done: None)
        return
    with bar(f"{chosen.name} {configurator} seed {seed}", budget) as update:
        folder = execute(update)
    console.print(
        f"{folder} is finished. Next: sparse-aclib validate {folder}", soft_wrap=True, markup=False
    )


@app.command()
def validate(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or folders above them.")],
    seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds a test instance.")] = 10,
    workers: WorkersOption = CORES,
) -> None:
    """Evaluate every incumbent of finished runs on the test instances, with fresh seeds."""
    from wrappers.validation import runs_below
    from wrappers.validation import validate as evaluate

    found = runs_below(runs)
    if not found:
        raise BadInput(f"no run in {', '.join(map(str, runs))}; 'sparse-aclib run' makes one")
    with bar(f"validating {len(found)} runs", None) as update:
        evaluate(found, seeds=seeds, workers=workers, progress=update)
    console.print("Next: sparse-aclib report RESULTS")


@app.command()
def ablate(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    workers: WorkersOption = CORES,
) -> None:
    """Find the path from the default to a run's final incumbent, with real trials and racing."""
    from analysis import ablation
    from wrappers.ablation import ablate as find

    for folder in runs:
        with bar(f"ablation of {folder.name}", None) as update:
            find(folder, ablation, workers=workers, progress=update)
        console.print(str(folder / "ablation.json"), soft_wrap=True, markup=False)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder of the run records.")] = RESULTS,
) -> None:
    """Write tables, figures and report.html from recorded runs."""
    from analysis.report import write_report
    from wrappers import configurators

    with errors.status("tables, figures, report"):
        path = write_report(results, missing=configurators.missing())
    console.print(f"Report: {path.resolve()}", soft_wrap=True, markup=False)


@app.command()
def benchmark(
    sets: Annotated[
        list[str] | None, typer.Argument(help="Instance sets; all if left out.")
    ] = None,
    variants: Annotated[str, typer.Option(help="Comma-separated; 'all'.")] = "all",
    trials: Annotated[int, typer.Option(min=1, help="Budget of every run.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every configurator.")] = 3,
    validation_seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds of validation.")] = 10,
    workers: WorkersOption = CORES,
    results: ResultsOption = RESULTS,
    full: Annotated[bool, typer.Option("--full", help="Each scenario's own budget.")] = False,
) -> None:
    """Run, validate and analyse a whole benchmark: every variant with every configurator.

    Runs stand side by side, one worker each. Interrupted, the same command goes on.
    """
    from analysis import ablation
    from analysis.report import write_report
    from wrappers.benchmark import Benchmark

    def reported(folder: Path, missing: dict[str, str]) -> Path:
        with errors.status("tables, figures, report (a minute for ten variants)"):
            return write_report(folder, missing=missing)

    path = Benchmark(
        sets=tuple(sets or ()),
        variants=None if variants == "all" else tuple(variants.split(",")),
        trials=None if full else trials,
        seeds=seeds,
        validation_seeds=validation_seeds,
        workers=workers,
        results=results,
    ).do(bar, ablation, reported)
    console.print(f"Report: {path.resolve()}", soft_wrap=True, markup=False)


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the scenarios, the configurators and whether they can run here."""
    from wrappers import configurators
    from wrappers.scenario import read, scenarios

    found = [read(folder) for folder in scenarios()]
    missing = configurators.missing()
    if as_json:
        print(
            json.dumps(
                {
                    "scenarios": [
                        {
                            "name": s.name,
                            "path": os.path.relpath(s.folder),
                            "parameters": len(s.space.parameters),
                            "training_instances": len(s.training),
                            "test_instances": len(s.test),
                            "trials": s.runcount_limit,
                            "cutoff": s.cutoff,
                            "options": s.options.request,
                        }
                        for s in found
                    ],
                    "configurators": {
                        name: missing.get(name, "available") for name in configurators.names()
                    },
                },
                indent=1,
            )
        )
        return
    for set_, of_set in itertools.groupby(found, key=lambda s: s.set):
        members = list(of_set)
        console.print(f"[bold]{set_}[/bold]: {_terms(members)}")
        named = (f"{s.variant} [dim]{len(s.space.parameters)}[/dim]" for s in members)
        console.print(Padding(Columns(named, padding=(0, 3)), (0, 0, 1, 2)))
    console.print(
        "[dim]Behind a variant: how many parameters it has. A scenario is a set and a variant, "
        "digits/rigl.[/dim]\n"
    )
    for name in configurators.names():
        console.print(f"configurator {name:15} {missing.get(name, 'available')}", soft_wrap=True)


def _terms(members: "Sequence[Scenario]") -> str:
    """What the scenarios of a set have in common, in words."""
    shown = max(members, key=lambda s: s.options.active_weights or 0)
    options = shown.options
    weights = f"{options.active_weights:,}" if options.active_weights else "all"
    peak = f" (at most {options.peak_weights:,} on the way)" if options.peak_weights else ""
    network = options.network or "network " + "-".join(map(str, options.hidden or ()))
    return (
        f"{len(shown.training)} training and {len(shown.test)} test instances, "
        f"{shown.runcount_limit} trials of {_training_budget(options)} each, "
        f"{weights} active weights{peak}, {network}"
    )


def _training_budget(options: Options) -> str:
    if options.training_flops is None:
        return f"{options.training_samples:,} samples"
    return f"{options.training_flops / 1e6:,.6g} MFLOPs"


@app.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Instance sets, scenarios or instances: openml/31/0.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what is there, and end.")] = False,
    local: Annotated[
        Path | None,
        typer.Option(help="Folder with files of vision data sets: idx, npz, CIFAR-10's batches."),
    ] = None,
    openml_server: Annotated[
        str | None, typer.Option(help="Address of an OpenML server; OpenML's own if left out.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="OPENML_APIKEY", help="OpenML key; the variable keeps it out of process lists."
        ),
    ] = None,
    openml_cache: Annotated[
        Path | None,
        typer.Option(help="An openml cache to copy from; OpenML's settings if left out."),
    ] = None,
    retries: Annotated[int, typer.Option(min=1, help="Attempts at every request.")] = 5,
    again: Annotated[
        bool, typer.Option("--again", help="Also what is there; nothing from caches.")
    ] = False,
) -> None:
    """Fetch the data of instance sets into the data directory, once, before the first run.

    What is there and whole stays. Interrupted, the same command goes on.
    """
    from target_algorithms.sources import Access
    from wrappers import fetch as fetching

    if show:
        _show_data()
        return
    if not names:
        raise BadInput(
            f"nothing to fetch, expected sets ({', '.join(fetching.sets())}) or instances such as "
            "openml/31/0"
        )
    wanted = fetching.named(names)
    with bar("fetching", len(wanted)) as update:
        outcomes = fetching.fetch(
            wanted,
            Access(
                server=openml_server,
                api_key=api_key,
                cache=openml_cache,
                local=local,
                retries=retries,
                refresh=again,
                report=lambda step: update(description=step),
            ),
            progress=lambda done: update(done),
        )
    states = [outcome.state for outcome in outcomes]
    fetched, untried = states.count("fetched"), states.count("untried")
    here = f"{states.count('here') + fetched} of {len(outcomes)} data sets are in"
    console.print(f"{here} {data_directory()}, {fetched} fetched now", soft_wrap=True, markup=False)
    problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    for problem in problems[:-1]:
        errors.print(f"sparse-aclib: error: {problem}", soft_wrap=True, markup=False)
    if problems:
        others = f" ({untried} other data sets were not tried)" if untried else ""
        raise BadInput(problems[-1] + others)


def _show_data() -> None:
    """The data sets that are there, and what the sets lack."""
    from wrappers import fetch as fetching

    found = fetching.entries()
    console.print(f"{data_directory()}: {len(found)} data sets", soft_wrap=True, markup=False)
    width = max((len(entry.name) for entry in found), default=0)
    for entry in found:
        line = f"{entry.name:{width}} {entry.size / 1e6:8.2f} MB  "
        if entry.about is None:
            line += "damaged: fetch it again"
        else:
            about = entry.about
            line += f"{about.sha256[:12]}  {about.title}; {about.licence}; {about.origin}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    there = {entry.name for entry in found if entry.about is not None}
    for name, data_sets in fetching.sets().items():
        lacking = [data_set for data_set in data_sets if data_set not in there]
        state = f"{len(data_sets) - len(lacking)} of {len(data_sets)} data sets are here"
        if lacking:
            state += f"; 'sparse-aclib fetch {name}' gets the others"
        console.print(f"set {name:18} {state}", soft_wrap=True)


@app.command()
def engines() -> None:
    """Build the truly sparse engine and measure from which density on it is the faster one.

    Both engines train the same networks; trials use the faster one that can do what a configuration
    asks for. Once per machine; 'run_all.sh setup' does it. Takes about 20 seconds.
    """
    command = [sys.executable, "-m", "target_algorithms.crossover"]
    raise typer.Exit(subprocess.run(command, env=environment(), check=False).returncode)


@app.command(
    name="eval",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def eval_(context: typer.Context) -> None:
    """Evaluate one configuration; the words of ./wrappers/target, a readable answer."""
    from wrappers import aclib, call

    if not context.args or {"-h", "--help"} & set(context.args[:2]):
        print(call.help_text(context.args).replace("./wrappers/target", "sparse-aclib eval"))
        return
    asked = aclib.parse(context.args)
    result = call.evaluate(asked)
    colour = "green" if result["status"] == "SUCCESS" else "red"
    table = Table(box=None, show_header=False)
    table.add_row("status", f"[{colour}]{result['status']}")
    table.add_row("cost", f"{result['cost']:.6g}  (1 - balanced accuracy on {asked.instance})")
    memory = result.get("peak_memory", 0.0)
    table.add_row("runtime", f"{result['runtime']:.3f} s, peak memory {memory:.0f} MiB")
    if result["status"] == "SUCCESS":
        table.add_row(
            "active weights",
            f"{result['active_weights']} of {result['weights']} (density {result['density']:.4f})",
        )
        table.add_row(
            "FLOPs",
            f"training {result['training_flops']:.4g}, "
            f"inference {result['inference_flops']:.4g} a row",
        )
        table.add_row("engine", result["engine"])
        for name, value in result["misc"].items():
            table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    console.print(table)
    if result["error"]:
        raise BadInput(f"{result['status']}: {result['error']}")


@app.command()
def export(
    scenarios: Annotated[
        list[Path] | None, typer.Argument(help="Scenario folders; all if left out.")
    ] = None,
) -> None:
    """Write the generated files of scenarios: parameter files of every format, features.csv."""
    from wrappers import formats
    from wrappers import scenario as reader

    folders = [reader.locate(folder).parent for folder in scenarios or reader.scenarios()]
    for set_folder in dict.fromkeys(folder.parent for folder in folders):
        for path in formats.write_features(set_folder):
            console.print(os.path.relpath(path))
        if kept := len(formats.unfetched(set_folder)):
            name = set_folder.name
            console.print(
                f"{kept} rows of {name}'s features.csv stay as they are: their data are not here; "
                f"'sparse-aclib fetch {name}' gets them",
                soft_wrap=True,
            )
    for folder in folders:
        for path in formats.write(folder):
            console.print(os.path.relpath(path))


def main() -> None:
    """Run the command line; whatever the user can mend ends in one line and status 2."""
    if sys.argv[1:2] == ["run"] and os.environ.get("PYTHONHASHSEED") != "0":
        # A run must make the same choices in any process, or it can't go on where it was killed.
        words = [sys.executable, "-m", "wrappers.cli", *sys.argv[1:]]
        os.execve(sys.executable, words, environment())
    # Ended from outside, the processes that this one has started are ended too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        app()
    except BadInput as error:
        print(f"sparse-aclib: error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"sparse-aclib: error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # what Typer makes of Ctrl-C
            print("sparse-aclib: interrupted; the same command goes on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
