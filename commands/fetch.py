"""Data sets into the data directory, once, before the first run."""

from pathlib import Path
from typing import Annotated

import typer

from commands._console import bar, errors, number, say
from sparse_training.data.stored import data_directory
from sparse_training.errors import BadInput


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Instance sets, scenarios or instances: openml/31/0.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show what is there, and end.")] = False,
    local: Annotated[
        Path | None,
        typer.Option(
            help="Folder with files of vision data sets (idx, npz, CIFAR-10's batches), or with"
            " data of your own and their dataset.toml; 'fetch file' takes all of these."
        ),
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
    retries: Annotated[int, number("Attempts at every request.")] = 5,
    again: Annotated[
        bool, typer.Option("--again", help="Also what is there; nothing from caches.")
    ] = False,
) -> None:
    """Fetch the data of instance sets into the data directory, once, before the first run.

    What is there and whole stays. Interrupted, the same command goes on.
    """
    from sparse_training.data.raw import Access
    from wrappers import fetch as fetching

    if show:
        _show()
        return
    if not names:
        raise BadInput(
            f"nothing to fetch, expected sets ({', '.join(fetching.sets())}) or instances such as "
            "openml/31/0"
        )
    if "file" in names:
        if local is None:
            raise BadInput("file is data of a user's own: expected --local FOLDER, where they are")
        _fetch_own(local)
        names = [name for name in names if name != "file"]
        if not names:
            return
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
    say(f"{here} {data_directory()}, {fetched} fetched now")
    problems = list(dict.fromkeys(one.problem for one in outcomes if one.problem is not None))
    for problem in problems[:-1]:
        errors.print(f"sparse-aclib: error: {problem}", soft_wrap=True, markup=False)
    if problems:
        others = f" ({untried} other data sets were not tried)" if untried else ""
        raise BadInput(problems[-1] + others)


def _fetch_own(folder: Path) -> None:
    """All data sets of a folder of the user's own; how instances call each."""
    from wrappers import fetch as fetching

    with bar("fetching", None) as update:
        made = fetching.fetch_own(folder, report=lambda step: update(description=step))
    for each in made:
        say(f"{each.name}: {'; '.join(each.notes)}")


def _show() -> None:
    """The data sets that are there, and what the sets lack."""
    from wrappers import fetch as fetching

    entries = fetching.entries()
    say(f"{data_directory()}: {len(entries)} data sets")
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        line = f"{entry.name:{width}} {entry.size / 1e6:8.2f} MB  "
        if entry.about is None:
            line += "damaged: fetch it again"
        else:
            about = entry.about
            line += f"{about.sha256[:12]}  {about.title}; {about.licence}; {about.origin}"
        say(line)
    there = {entry.name for entry in entries if entry.about is not None}
    for name, data_sets in fetching.sets().items():
        lacking = [data_set for data_set in data_sets if data_set not in there]
        state = f"{len(data_sets) - len(lacking)} of {len(data_sets)} data sets are here"
        if lacking:
            state += f"; 'sparse-aclib fetch {name}' gets the others"
        say(f"set {name:18} {state}")
