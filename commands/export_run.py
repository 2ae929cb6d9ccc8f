"""A recorded run in the form of another program."""

import os
from pathlib import Path
from typing import Annotated

import typer

from commands._console import say
from sparse_training.errors import BadInput


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option(help="Whose form: deepcave, smac3-2 or csv.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; a new or an empty one.")],
) -> None:
    """Write a finished run in another program's form: to look at in DeepCAVE, to go on with.

    deepcave has a line a configuration, its mean cost over all pairs, since DeepCAVE knows no
    instances; smac3-2 is what SMAC3 2.x itself would have written; csv a table of trials.
    """
    from sparse_training.files import write_whole
    from wrappers import foreign

    texts = foreign.written(to, run)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: there is something already, expected a new or an empty folder")
    for name, text in texts.items():
        write_whole(out / name, text)
        say(os.path.relpath(out / name))
