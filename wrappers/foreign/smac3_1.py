"""SMAC3 1.x (up to 1.4): runhistory.json and traj.json of its output folder (`run_<seed>/`).

Written from its source at 1.4: trials are pairs of lists, statuses say `StatusType.SUCCESS`, and
the trajectory has a line of JSON an incumbent, with the evaluations by then.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparse_training.errors import BadInput
from wrappers.foreign import Change, Left, as_written, json_of, text_of, trial, whole
from wrappers.foreign._smac3 import runhistory
from wrappers.scenario import Scenario

_STATUSES = {"SUCCESS": "SUCCESS", "CRASHED": "CRASHED", "TIMEOUT": "TIMEOUT", "MEMOUT": "TIMEOUT"}
_UNDER_WAY = ("RUNNING", "STOP", "CAPPED", "DONOTADVANCE", "ABORT")
"""No trials, or stopped by SMAC."""

_BY = "SMAC3 1.x"


def read(place: Path, scenario: Scenario) -> Left:
    """place: SMAC's output folder, or one above it."""
    history, configs, data = runhistory(place, _BY)
    trials = []
    for number, each in enumerate(data, 1):
        where = f"{history}, trial {number}"
        with as_written(where, _BY):
            (config, instance, seed, *_), (cost, runtime, status, *_) = each
            if told := _status(status, where):
                trials.append(
                    trial(
                        *(scenario, configs[str(config)], instance, seed, cost),
                        status=told,
                        runtime=runtime,
                        where=where,
                    )
                )
    trajectory = history.with_name("traj.json")
    changes = []
    lines = text_of(trajectory).split("\n") if os.path.lexists(trajectory) else []
    for number, line in enumerate(lines, 1):
        where = f"{trajectory}:{number}"
        if not line.strip():
            continue
        with as_written(where, _BY):
            each = json_of(line, where)
            config, at = each["incumbent"], each["evaluations"]
            consumed = whole(at, "evaluations", where, most=len(data))
            changes.append(Change(config=config, trial=consumed, where=where))
    return Left(trials, changes)


def _status(said: str | Mapping[str, Any], where: str) -> str | None:
    """Ours, of `StatusType.SUCCESS` or an object that says so; None for what is no trial."""
    name = str(said["__enum__"] if isinstance(said, Mapping) else said).rpartition(".")[2]
    if name in _UNDER_WAY:
        return None
    if name not in _STATUSES:
        raise BadInput(f"{where}: status {name[:60]!r}, expected one of {', '.join(_STATUSES)}")
    return _STATUSES[name]
