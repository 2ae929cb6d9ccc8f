"""Validation: every incumbent of a run on the test instances, with seeds no configurator has seen.

Outside the budget, the same (instance, seed) pairs for every run of an instance set, so that all
comparisons are paired. A configuration that another run of the scenario has validated on a pair
(the default, above all) is not evaluated again: its record is copied.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from target_algorithms.errors import BadInput
from wrappers import scenario as scenarios
from wrappers.evaluator import Workers
from wrappers.run import Pair, Trials, append_line, read_lines, validation_pairs
from wrappers.scenario import Scenario
from wrappers.space import Config

FILE = "validation.jsonl"


def about(run: Path) -> dict[str, Any]:
    """run.json of a run's folder; BadInput where there is none."""
    try:
        found: dict[str, Any] = json.loads((run / "run.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(
            f"{run}: no readable run.json ({error}); expected a run's folder such as "
            "results/digits/rigl/smac/seed-1"
        ) from None
    return found


def runs_below(folders: Iterable[Path]) -> list[Path]:
    """The folders of all runs in the folders given, sorted."""
    return sorted({path.parent for folder in folders for path in folder.rglob("run.json")})


def validate(
    runs: Sequence[Path],
    *,
    seeds: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Evaluate what is missing of the runs' validations; returns how many trials that took.

    `progress` is told the trials done and the total. Safe to interrupt: what is evaluated is
    recorded, and the next call goes on.
    """
    by_scenario: dict[str, list[Path]] = {}
    for run in runs:
        by_scenario.setdefault(about(run)["scenario"], []).append(run)
    plans = [_plan(scenarios.read(name), folders, seeds) for name, folders in by_scenario.items()]
    total = sum(len(plan) for _, plan in plans)
    done = 0
    progress(done, total)
    if not total:
        return 0
    with Workers(workers) as pool:
        for scenario, plan in plans:
            wanted = list(plan.values())
            trials = Trials(scenario, pool).evaluate([(c, pair) for c, pair, _ in wanted])
            for position, record in trials:
                for run in wanted[position][2]:
                    append_line(run / FILE, record)
                done += 1
                progress(done, total)
    return total


Key = tuple[str, str, int]
Plan = dict[Key, tuple[Config, Pair, list[Path]]]


def _plan(scenario: Scenario, runs: Sequence[Path], seeds: int) -> tuple[Scenario, Plan]:
    """What must be evaluated and which runs want it; copies what sibling runs have already."""
    known: dict[Key, dict[str, Any]] = {}
    siblings = {path.parent for run in runs for path in run.parents[1].glob(f"*/*/{FILE}")}
    mine = {run: read_lines(run / FILE) for run in sorted(siblings | set(runs))}
    tested = _tested(runs[0])
    for run, records in mine.items():
        if _tested(run) == tested:
            known |= {(r["config_id"], r["instance"], r["seed"]): r for r in records}
    plan: Plan = {}
    for run in runs:
        have = {(r["config_id"], r["instance"], r["seed"]) for r in mine[run]}
        for entry in read_lines(run / "trajectory.jsonl"):
            for pair in validation_pairs(scenario, seeds):
                key = (entry["config_id"], *pair)
                if key in have:
                    continue
                have.add(key)
                if key in known:
                    append_line(run / FILE, known[key])
                else:
                    plan.setdefault(key, (entry["config"], pair, []))[2].append(run)
    return scenario, plan


def _tested(run: Path) -> dict[str, Any]:
    """What the result of a trial depends on beside configuration, instance and seed."""
    hashes: dict[str, Any] = about(run)["hashes"]
    return {key: value for key, value in hashes.items() if key != "configurator"}
