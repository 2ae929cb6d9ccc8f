"""A table with a line a trial, for any client whose own form is not here.

Columns `instance`, `seed`, `cost`, one for every parameter (empty where it is inactive), and where
they are known `status`, `runtime` (seconds) and `fidelity` (the share of the training budget, 1 if
there is none); lines in the order in which trials were asked for.
"""

import csv
import io
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left, Recorded, text_of, the_one, trial
from wrappers.formats._text import cell
from wrappers.scenario import Scenario

_OURS = ("instance", "seed", "cost", "status", "runtime", "fidelity")


def read(place: Path, scenario: Scenario) -> Left:
    """place: the file, or a folder with the only one."""
    file = the_one(place, "*.csv")
    reader = csv.DictReader(io.StringIO(text_of(file), newline=""), strict=True)
    trials = []
    try:
        columns = list(reader.fieldnames or ())
        missing = [name for name in _OURS[:3] if name not in columns]
        if missing:
            raise BadInput(f"{file}: no column {missing[0]}, expected {', '.join(_OURS[:3])}")
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise BadInput(f"{file}: column {twice[0][:60]!r} twice, expected each once")
        for row in reader:
            where = f"{file}:{reader.line_num}"
            if None in row or None in row.values():
                raise BadInput(f"{where}: expected {len(columns)} columns, as in the first line")
            config = {name: text for name, text in row.items() if name not in _OURS and text != ""}
            trials.append(
                trial(
                    *(scenario, config, row["instance"], row["seed"], row["cost"]),
                    status=row.get("status") or "SUCCESS",
                    runtime=row.get("runtime") or None,
                    fidelity=row.get("fidelity") or 1.0,
                    where=where,
                )
            )
    except csv.Error as error:
        raise BadInput(f"{file}: {error}, expected comma-separated values") from error
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
