"""Read the records of a results folder into tidy frames; nothing is executed or changed.

**Source**: the files of `results/README.md`, one folder `<set>/<variant>/<configurator>/seed-<n>`
a run. Every frame begins with the columns `set`, `variant`, `configurator`, `run_seed`; `run_seed`
is the configurator's seed, `seed` that of a single trial.
"""

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from target_algorithms.errors import BadInput

RUN = ["set", "variant", "configurator", "run_seed"]
"""The columns that name a run, first in every frame."""

NEXT_COMMAND = "sparse-aclib run scenarios/digits/rigl --configurator random_search --seed 1"
"""What makes a first run, for messages about results that are not there."""

RUN_FIELDS = [
    *("scenario", "set", "variant", "configurator", "seed", "trials", "trials_used", "workers"),
    *("state", "settings", "versions", "hashes", "hardware", "command", "started", "finished"),
]
"""The fields of run.json."""

EVALUATION_FIELDS = [
    *("config_id", "config", "instance", "seed", "cutoff", "status", "cost", "runtime"),
    *("cpu_time", "active_weights", "weights", "density", "training_flops", "inference_flops"),
    *("peak_memory", "engine", "started", "worker", "misc"),
]
"""The fields of a line of validation.jsonl; runhistory.jsonl has `trial` before them."""

TRIAL_FIELDS = ["trial", *EVALUATION_FIELDS]
"""The fields of a line of runhistory.jsonl."""

TRAJECTORY_FIELDS = ["trial", "config_id", "config", "estimate"]
"""The fields of a line of trajectory.jsonl."""


class TornLine(UserWarning):
    """The last line of a .jsonl file was cut off while it was written; it is ignored."""


@dataclass(frozen=True)
class _Folder:
    """A run's folder and what run.json says of it."""

    path: Path
    about: dict[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """The columns of `RUN`."""
        names = {name: self.about[name] for name in RUN[:3]}
        return names | {"run_seed": self.about["seed"]}


def runs(results: Path) -> pd.DataFrame:
    """One row a run, with the fields of run.json and its `folder`; empty where there is none.

    Runs that are under way are in it (`state` says so). Raises BadInput for a record that cannot
    be read or that lies in a folder of another name.
    """
    return _frame(
        RUN + [f for f in RUN_FIELDS if f not in RUN and f != "seed"] + ["folder"],
        (
            folder.key
            | {name: value for name, value in folder.about.items() if name != "seed"}
            | {"folder": str(folder.path)}
            for folder in _folders(results)
        ),
    )


def trials(results: Path) -> pd.DataFrame:
    """One row a trial of a runhistory, in the order of the file."""
    return _lines(results, "runhistory.jsonl", TRIAL_FIELDS)


def trajectories(results: Path) -> pd.DataFrame:
    """One row an incumbent, in the order in which they came; the first is the default."""
    return _lines(results, "trajectory.jsonl", TRAJECTORY_FIELDS)


def validations(results: Path) -> pd.DataFrame:
    """One row a validated (configuration, instance, seed) of a run; of repeated ones the first."""
    frame = _lines(results, "validation.jsonl", EVALUATION_FIELDS)
    keys = [*RUN, "config_id", "instance", "seed"]
    return frame.drop_duplicates(keys, keep="first", ignore_index=True)


def run_record(folder: Path) -> dict[str, Any]:
    """run.json of one run's folder. Raises BadInput that names what is missing."""
    path = folder / "run.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file, expected the record of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise BadInput(f"{path}: not a JSON object, expected the record of a run") from None
    _check(about, RUN_FIELDS, str(path))
    for name in ("settings", "versions", "hashes", "hardware"):
        if not isinstance(about[name], dict):
            raise BadInput(f"{path}: {name} is {about[name]!r}, expected an object")
    return dict(about)


def read_jsonl(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The records of one file; [] where there is no file.

    A last line that is no JSON is ignored with a TornLine warning. Raises BadInput with file and
    line for any other line that is no JSON object or lacks one of `fields`.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            # Only the text behind the last end of line can be a write that was cut off.
            if number == len(lines):
                warnings.warn(TornLine(f"{path}:{number}: torn last line ignored"), stacklevel=2)
                continue
            raise BadInput(f"{path}:{number}: not a JSON record") from None
        _check(record, fields, f"{path}:{number}")
        found.append(record)
    return found


def _folders(results: Path) -> Iterator[_Folder]:
    """The runs of a results folder, by set, variant, configurator and number of the seed."""
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder, expected results; make some: {NEXT_COMMAND}")
    found = []
    for path in results.glob("*/*/*/seed-*/run.json"):
        about = run_record(path.parent)
        folder = _Folder(path.parent, about)
        named = [*(about[name] for name in RUN[:3]), f"seed-{about['seed']}"]
        if list(path.parent.relative_to(results).parts) != named:
            raise BadInput(
                f"{path}: record of {'/'.join(map(str, named))}, expected it in a folder so called"
            )
        found.append(folder)
    yield from sorted(found, key=lambda folder: tuple(folder.key.values()))


def _lines(results: Path, file: str, fields: Sequence[str]) -> pd.DataFrame:
    return _frame(
        RUN + list(fields),
        (
            folder.key | record
            for folder in _folders(results)
            for record in read_jsonl(folder.path / file, fields)
        ),
    )


def _frame(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """A frame with these columns first and whatever else the records hold behind them."""
    frame = pd.DataFrame.from_records(list(rows))
    extra = [name for name in frame.columns if name not in columns]
    frame = frame.reindex(columns=[*columns, *extra])
    # Without rows nothing says what a column holds, and frames must still merge.
    types = dict.fromkeys(RUN[:3], "str") | {"run_seed": "int64", "cost": "float64"}
    return frame.astype({name: kind for name, kind in types.items() if name in frame.columns})


def _check(record: object, fields: Sequence[str], where: str) -> None:
    if not isinstance(record, dict):
        raise BadInput(f"{where}: {type(record).__name__}, expected a JSON object")
    missing = [name for name in fields if name not in record]
    if missing:
        raise BadInput(f"{where}: field {', '.join(missing)} is missing, expected by the record")
    for name in ("cost", "trial", "seed"):
        value = record.get(name, 0)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise BadInput(f"{where}: {name} is {value!r}, expected a finite number")
