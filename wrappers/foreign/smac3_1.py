"""SMAC3 1.x (up to 1.4): runhistory.json and traj.json of its output folder (`run_<seed>/`).

Written from its source at 1.4: trials are pairs of lists, statuses say `StatusType.SUCCESS`, and
the trajectory has a line of JSON an incumbent, with the evaluations by then.
"""

import json
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Change, Left, text_of, the_one, trial
from wrappers.scenario import Scenario

_STATUSES = {"SUCCESS": "SUCCESS", "CRASHED": "CRASHED", "TIMEOUT": "TIMEOUT", "MEMOUT": "TIMEOUT"}


def read(place: Path, scenario: Scenario) -> Left:
    """place: SMAC's output folder, or one above it."""
    history = the_one(place, "runhistory.json")
    try:
        said = json.loads(text_of(history))
        configs = {int(number): config for number, config in said["configs"].items()}
        trials = []
        for number, (key, value) in enumerate(said["data"], 1):
            config, instance, seed, *_ = key
            cost, runtime, status, *_ = value
            name = status["__enum__"] if isinstance(status, dict) else str(status)
            told = _STATUSES.get(name.rpartition(".")[2])
            if told is None:
                continue  # under way, or stopped by SMAC
            trials.append(
                trial(
                    *(scenario, configs[int(config)], instance, int(seed), float(cost)),
                    status=told,
                    runtime=float(runtime),
                    where=f"{history}, trial {number}",
                )
            )
        trajectory = history.with_name("traj.json")
        lines = text_of(trajectory).splitlines() if trajectory.exists() else []
        changes = [
            Change(config=each["incumbent"], trial=int(each["evaluations"]))
            for each in map(json.loads, lines)
            if isinstance(each["incumbent"], dict)
        ]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{history}: not as SMAC3 1.x writes it ({error!r})") from error
    return Left(trials, changes)
