"""A table with a line a trial, for any client whose own form is not here.

Columns `instance`, `seed`, `cost`, one for every parameter (empty where it is inactive), and where
they are known `status` and `runtime` (seconds); lines in the order in which trials were asked for.
"""

import csv
import io
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left, Recorded, text_of, the_one, trial
from wrappers.formats._text import cell
from wrappers.scenario import Scenario

_OURS = ("instance", "seed", "cost", "status", "runtime")


def read(place: Path, scenario: Scenario) -> Left:
    """place: the file, or a folder with the only one."""
    file = the_one(place, "*.csv")
    reader = csv.DictReader(text_of(file).splitlines())
    try:
        rows, columns = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise BadInput(f"{file}: {error}, expected comma-separated values") from error
    missing = [name for name in _OURS[:3] if name not in columns]
    if missing:
        raise BadInput(f"{file}: no column {missing[0]}, expected {', '.join(_OURS[:3])}")
    trials = []
    for number, row in enumerate(rows, 2):
        where = f"{file}:{number}"
        if None in row or None in row.values():
            raise BadInput(f"{where}: expected {len(columns)} columns, as in the first line")
        config = {name: text for name, text in row.items() if name not in _OURS and text != ""}
        try:
            seed, cost = int(row["seed"]), float(row["cost"])
            runtime = float(row["runtime"]) if row.get("runtime") else None
        except ValueError as error:
            raise BadInput(f"{where}: {str(error)[:60]}, expected a number") from error
        status = row.get("status") or "SUCCESS"
        trials.append(
            trial(
                *(scenario, config, row["instance"], seed, cost),
                status=status,
                runtime=runtime,
                where=where,
            )
        )
    return Left(trials)


def written(run: Recorded) -> dict[str, str]:
    """trials.csv."""
    names = [parameter.name for parameter in run.space.parameters]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_OURS, *names], lineterminator="\n")
    writer.writeheader()
    for each in run.trials:
        ours = {name: getattr(each, name) for name in _OURS}
        writer.writerow(ours | {name: cell(v) for name, v in each.config.items()})
    return {"trials.csv": text.getvalue()}
