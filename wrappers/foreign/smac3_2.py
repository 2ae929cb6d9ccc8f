"""SMAC3 2.x: runhistory.json and intensifier.json of its output folder (`<name>/<seed>/`).

Written from what 2.4.1 writes: trials with a number for their status, configurations by their
numbers, and a trajectory of incumbents that says at which trial each came.
"""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from target_algorithms.contract import WORST_COST
from wrappers.foreign import (
    Change,
    Left,
    Recorded,
    as_written,
    json_of,
    text_of,
    trial,
    whole,
)
from wrappers.foreign._smac3 import runhistory
from wrappers.formats.configspace import configspace_json
from wrappers.scenario import Scenario

_STATUSES = {1: "SUCCESS", 2: "CRASHED", 3: "TIMEOUT", 4: "TIMEOUT"}
"""0 is a trial under way, 4 one over its memory."""

_BY = "SMAC3 2.x"


def read(place: Path, scenario: Scenario) -> Left:
    """place: SMAC's output folder, or one above it."""
    history, configs, data = runhistory(place, _BY)
    trials = []
    for number, each in enumerate(data, 1):
        where = f"{history}, trial {number}"
        with as_written(where, _BY):
            told = whole(each["status"], "status", where, most=max(_STATUSES))
            if told in _STATUSES:
                trials.append(
                    trial(
                        *(scenario, configs[str(each["config_id"])], each["instance"]),
                        *(each["seed"], each["cost"]),
                        status=_STATUSES[told],
                        runtime=each["time"],
                        fidelity=each["budget"] or 1.0,
                        where=where,
                    )
                )
    intensifier = history.with_name("intensifier.json")
    changes = []
    if os.path.lexists(intensifier):
        state = json_of(text_of(intensifier), str(intensifier))
        with as_written(str(intensifier), _BY):
            trajectory = list(state["trajectory"])
        for number, each in enumerate(trajectory, 1):
            where = f"{intensifier}, incumbent {number}"
            with as_written(where, _BY):
                consumed = whole(each["trial"], "trial", where, most=len(data))
                if each["config_ids"]:
                    config = configs[str(each["config_ids"][0])]
                    changes.append(Change(config=config, trial=consumed, where=where))
    return Left(trials, changes)


def written(run: Recorded) -> dict[str, str]:
    """The folder that SMAC 2.4.1 would have written."""
    numbers, shares = numbered(run), has_shares(run)
    data = [
        line(numbers[each.config_id], each.cost, each.status, each.seed)
        | {
            "instance": each.instance,
            "budget": each.fidelity if shares else None,
            "time": each.runtime or 0.0,
            "cpu_time": each.cpu_time or 0.0,
            "starttime": seconds(each.started),
            "endtime": seconds(each.started) + (each.runtime or 0.0),
        }
        for each in run.trials
    ]
    return files(run, data, numbers)


def files(
    run: Recorded, data: Sequence[Mapping[str, Any]], numbers: Mapping[str, int]
) -> dict[str, str]:
    """With these lines of the runhistory; numbers: of every configuration."""
    info, shares = run.info, has_shares(run)
    charged = list(itertools.accumulate(each.fidelity for each in run.trials))
    configs = {str(numbers[each.config_id]): dict(each.config) for each in run.trials}
    trajectory = [
        {
            "config_ids": [numbers[each.config_id]],
            "costs": [each.estimate],
            "trial": sum(used <= each.trial + 1e-6 for used in charged),
            "walltime": 0.0,
        }
        for each in run.incumbents
        if each.config_id in numbers
    ]
    scenario = {
        "name": info.configurator,
        "output_directory": ".",
        "deterministic": False,
        "objectives": "cost",
        "crash_cost": WORST_COST,
        "n_trials": info.trials,
        "instances": sorted({each["instance"] for each in data if each["instance"]}) or None,
        "min_budget": min((each.fidelity for each in run.trials), default=1.0) if shares else None,
        "max_budget": 1.0 if shares else None,
        "seed": info.seed,
        "n_workers": info.workers,
        "scenario": info.scenario,
    }
    history = {
        "stats": {"submitted": len(data), "finished": len(data), "running": 0},
        "data": data,
        "configs": configs,
        "config_origins": dict.fromkeys(configs),
    }
    intensifier: dict[str, object] = {
        "incumbent_ids": trajectory[-1]["config_ids"] if trajectory else [],
        "rejected_config_ids": [],
        "incumbents_changed": len(trajectory),
        "trajectory": trajectory,
        "state": {},
    }
    texts = {"scenario": scenario, "runhistory": history, "intensifier": intensifier}
    return {
        "configspace.json": configspace_json(run.space),
        **{f"{name}.json": json.dumps(each, indent=2) + "\n" for name, each in texts.items()},
    }


def line(config: int, cost: float, status: str, seed: int) -> dict[str, Any]:
    """What SMAC writes of a trial, in its order, on which readers depend."""
    return {
        "config_id": config,
        "instance": None,
        "seed": seed,
        "budget": None,
        "cost": cost,
        "time": 0.0,
        "cpu_time": 0.0,
        "status": next(number for number, name in _STATUSES.items() if name == status),
        "starttime": 0.0,
        "endtime": 0.0,
        "additional_info": {},
    }


def numbered(run: Recorded) -> dict[str, int]:
    """SMAC's number of every configuration, in the order in which they were tried."""
    identities = dict.fromkeys(each.config_id for each in run.trials)
    return {identity: number for number, identity in enumerate(identities, 1)}


def has_shares(run: Recorded) -> bool:
    """Whether some of its trials had a share of the training budget: SMAC's budgets."""
    return any(each.fidelity < 1 for each in run.trials)


def seconds(started: str | None) -> float:
    """A time as seconds since 1970; 0 if it is not known."""
    return datetime.fromisoformat(started).timestamp() if started else 0.0
