"""What a foreign configurator left behind, as a run of ours."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from commands._console import RESULTS, ResultsOption, number, say


def command(
    folder: Annotated[Path, typer.Argument(help="What the client has written, or the record.")],
    form: Annotated[
        str,
        typer.Option(
            "--from",
            help="Whose it is: record, csv, smac3-2, smac3-1, irace, smac2, paramils or gps.",
        ),
    ],
    scenario: Annotated[str, typer.Option(help="The scenario that it ran, such as digits/rigl.")],
    seed: Annotated[int, number("Of the client's run.", least=0)],
    record: Annotated[
        Path | None,
        typer.Option(help="Folder of SPARSE_ACLIB_RECORD: trials are those recorded there."),
    ] = None,
    configurator: Annotated[
        str | None, typer.Option(help="Its name in the results; as --from if left out.")
    ] = None,
    trials: Annotated[
        int | None, number("Budget that the client had; what it used if left out.")
    ] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Make a run folder of a foreign configurator's run: to validate, ablate and report like any.

    Trials and incumbents come from the client's own files. With SPARSE_ACLIB_RECORD=FOLDER set
    while it runs, ./wrappers/target records every call there with all that is known of it; --record
    then takes the trials from there, as SMAC 2, ParamILS and GPS need. --from record takes all.
    """
    from dataclasses import replace

    from sparse_training.errors import BadInput
    from wrappers import foreign
    from wrappers.scenario import read

    chosen = read(scenario)
    left = foreign.read(form, folder, chosen)
    if record is not None:
        left = replace(left, trials=foreign.read("record", record, chosen).trials)
    if not left.trials:
        raise BadInput(
            f"{folder}: no trials in the files of {form}; run the client with"
            " SPARSE_ACLIB_RECORD=FOLDER and give that folder as --record"
        )
    run, others = foreign.make_run(
        left,
        chosen,
        form=form,
        configurator=configurator or form.replace("-", "_"),
        seed=seed,
        results=results,
        trials=trials,
    )
    if others:
        say(
            f"{others} trials are on no training instance of {chosen.name}, or had another cutoff:"
            " left out"
        )
    say(run)
    say(f"Next: sparse-aclib validate {shlex.quote(str(run))}")
