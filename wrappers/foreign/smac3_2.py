"""SMAC3 2.x: runhistory.json and intensifier.json of its output folder (`<name>/<seed>/`).

Written from what 2.4.1 writes: trials with a number for their status, configurations by their
numbers, and a trajectory of incumbents that says at which trial each came.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparse_training.errors import BadInput
from wrappers.foreign import Change, Left, text_of, the_one, trial
from wrappers.scenario import Scenario

_STATUSES = {1: "SUCCESS", 2: "CRASHED", 3: "TIMEOUT", 4: "TIMEOUT"}
"""0 is a trial under way, 4 one over its memory."""


def read(place: Path, scenario: Scenario) -> Left:
    """place: SMAC's output folder, or one above it."""
    history = the_one(place, "runhistory.json")
    said = _json(history)
    try:
        configs = {int(number): config for number, config in said["configs"].items()}
        ended = [each for each in said["data"] if each["status"] in _STATUSES]
        trials = [
            trial(
                *(scenario, configs[each["config_id"]], each["instance"], int(each["seed"])),
                float(each["cost"]),
                status=_STATUSES[each["status"]],
                runtime=float(each["time"]),
                where=f"{history}, trial {number}",
            )
            for number, each in enumerate(ended, 1)
        ]
        intensifier = history.with_name("intensifier.json")
        changes = [
            Change(config=configs[each["config_ids"][0]], trial=int(each["trial"]))
            for each in (_json(intensifier)["trajectory"] if intensifier.exists() else ())
            if each["config_ids"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{history}: not as SMAC3 2.x writes it ({error!r})") from error
    return Left(trials, changes)


def _json(file: Path) -> Mapping[str, Any]:
    try:
        said: Mapping[str, Any] = json.loads(text_of(file))
    except ValueError as error:
        raise BadInput(f"{file}: {error}, expected JSON") from error
    return said
