"""Files for other programs, generated from scenarios and spaces."""

import os
from pathlib import Path
from typing import Annotated

import typer

from commands._console import say
from sparse_training.errors import BadInput


def command(
    scenarios: Annotated[
        list[Path] | None, typer.Argument(help="Scenario folders; all if left out.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Format to write: carps, configspace, crace, gps, irace-3.5, irace-4, paramils,"
            " pcs, pcs-new, smac-script."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for --to; one scenario only.")] = None,
) -> None:
    """Write the generated files of scenarios: their spaces and features.csv.

    Each distinct space stands once, in the folder of the paramfile that scenarios name. With --to
    and --out a scenario is written in a configurator's own form instead.
    """
    from sparse_training.data.instances import parse
    from sparse_training.data.sources import command as command_for
    from wrappers import features, formats
    from wrappers import scenario as reader

    if (to is None) != (out is None):
        raise BadInput("--to and --out go together: a format and a folder for its files")
    if to is not None and out is not None:
        if scenarios is None or len(scenarios) != 1:
            raise BadInput("--to writes one scenario: expected its name, such as mnist5k/rigl")
        _say(formats.write(formats.files(to, reader.read(scenarios[0]), out.absolute())))
        return
    folders = [reader.locate(folder).parent for folder in scenarios or reader.scenarios()]
    for set_folder in dict.fromkeys(folder.parent for folder in folders):
        text = features.features_csv(set_folder)
        _say(formats.write({set_folder / "features.csv": text}))
        if kept := features.unfetched(set_folder):
            name = set_folder.name
            needed = [parse(instance).data_set for instance in kept]
            say(
                f"{len(kept)} rows of {name}'s features.csv stay as they are: their data are not "
                f"here; '{command_for(name, needed)}' gets them"
            )
    texts: dict[Path, str] = {}
    for folder in folders:
        scenario = reader.read(folder, check_paramfile=False)
        for path, text in formats.committed(scenario).items():
            if texts.setdefault(path, text) != text:
                raise BadInput(
                    f"{scenario.name}: its space is not that of other scenarios that name "
                    f"{scenario.paramfile}; give it a paramfile of its own"
                )
    _say(formats.write(texts))


def _say(paths: tuple[Path, ...]) -> None:
    for path in paths:
        say(os.path.relpath(path))
