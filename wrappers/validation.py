"""Validation: every incumbent of a run on the test instances, with seeds no configurator has seen.

Outside the budget, the same (instance, seed) pairs for every run of an instance set, so that all
comparisons are paired. A configuration that another run of the scenario has validated on a pair
(the default, above all) is not evaluated again: its record is copied.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from target_algorithms.errors import BadInput
from wrappers import scenario as scenarios
from wrappers.evaluator import ROOT, Workers
from wrappers.files import append_line, read_lines
from wrappers.run import Pair, Trials, about, tested, validation_pairs
from wrappers.scenario import Scenario
from wrappers.space import Config

FILE = "validation.jsonl"


def scenario_of(run: Path) -> Scenario:
    """The scenario of a recorded run; BadInput if it, its data or the code is another one today."""
    recorded = about(run)
    path = Path(recorded["path"])
    scenario = scenarios.read(path if path.is_absolute() else ROOT / path)
    today = tested(scenario)
    for key, value in today.items():
        if recorded["hashes"].get(key) != value:
            raise BadInput(
                f"{run}: made with another version of {key} than this checkout has; new trials "
                "would not belong to it; make it anew in another --results folder"
            )
    return scenario


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
    by_scenario: dict[Path, tuple[Scenario, list[Path]]] = {}
    for run in map(Path.resolve, runs):
        scenario = scenario_of(run)
        by_scenario.setdefault(scenario.path, (scenario, []))[1].append(run)
    plans = [_plan(scenario, found, seeds) for scenario, found in by_scenario.values()]
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
    same = tested(scenario)
    for run, records in mine.items():
        if {key: about(run)["hashes"].get(key) for key in same} == same:
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
