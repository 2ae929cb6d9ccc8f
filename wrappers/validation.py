"""Validation: every incumbent of a run on the test instances, with seeds no configurator has seen.

Outside the budget, the same (instance, seed) pairs for every run of an instance set, so that all
comparisons are paired. A configuration that another run of the scenario has validated on a pair
(the default, above all) is not evaluated again: its record is copied.
"""

import resource
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from wrappers.check import recorded
from wrappers.evaluator import LOCAL, Evaluator
from wrappers.executors import Executor
from wrappers.locks import PATIENCE, locked
from wrappers.origin import check_origin, is_of_today
from wrappers.pairs import Pair, validation_pairs
from wrappers.records import (
    RUN,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Key,
    Record,
    append_line,
    read_lines,
    read_run,
)
from wrappers.scenario import Scenario, read
from wrappers.space import Config
from wrappers.trials import Trials


def scenario_of(run: Path) -> Scenario:
    """The scenario of a recorded run; BadInput if it, its data or the code is another one today."""
    info = read_run(run)
    found = recorded(run)
    if faults := found.faults:
        more = f" (and {len(faults) - 1} more)" * (len(faults) > 1)
        raise BadInput(f"{faults[0]}{more}; 'sparse-aclib check {run}' names all")
    path = Path(info.path)
    scenario = read(path if path.is_absolute() else ROOT / path)
    trials = (*found.trials.records.values(), *found.validated.records.values())
    check_origin(run, info, scenario, trials)
    return scenario


def runs_below(folders: Sequence[Path]) -> list[Path]:
    """The folders of all runs in the folders given, sorted. Raises BadInput if one has none."""
    runs: set[Path] = set()
    for folder in folders:
        inside = {path.parent for path in folder.rglob(RUN)}
        if not inside:
            raise BadInput(f"{folder}: no run in it; 'sparse-aclib run' makes one")
        runs |= inside
    return sorted(runs)


def validate(
    runs: Sequence[Path],
    *,
    seeds: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    patience: float = PATIENCE,
    retry_failed: bool = False,
    executor: Executor = LOCAL,
) -> int:
    """Evaluates what is missing of the runs' validations; returns how many trials that took.

    progress: is told the trials done and the total; patience: seconds to wait for another process
    that works on one of the runs; retry_failed: whether trials that crashed are evaluated again;
    executor: where trials run.
    Safe to interrupt: what is evaluated is recorded, and the next call goes on. Raises Busy.
    """
    by_scenario: dict[Path, tuple[Scenario, list[Path]]] = {}
    _let_open(len(runs))
    with ExitStack() as stack:
        for run in sorted({path.resolve() for path in runs}):
            stack.enter_context(locked(run, patience=patience))
            scenario = scenario_of(run)
            by_scenario.setdefault(scenario.path, (scenario, []))[1].append(run)
        plans = [
            _plan(scenario, members, seeds, retry_failed)
            for scenario, members in by_scenario.values()
        ]
        total = sum(len(plan) for _, plan in plans)
        done = 0
        if not total:
            return 0
        progress(done, total)
        with Evaluator(workers, executor) as evaluator:
            for scenario, plan in plans:
                wanted = list(plan.values())
                asked = [(config, pair) for config, pair, _ in wanted]
                for position, record in Trials(scenario, evaluator).evaluate(asked):
                    for run in wanted[position][2]:
                        append_line(run / VALIDATION, record)
                    done += 1
                    progress(done, total)
    return total


def lacking(scenario: Scenario, run: Path, seeds: int) -> int:
    """How many trials the validation of a finished run lacks, without what siblings have."""
    have = {record.key for record in read_lines(run / VALIDATION, Record)}
    incumbents = {entry.config_id for entry in read_lines(run / TRAJECTORY, Incumbent)}
    pairs = validation_pairs(scenario, seeds)
    return len({Key(each, *pair) for each in incumbents for pair in pairs} - have)


def validated(runs: Iterable[Path]) -> list[Record]:
    """The validation trials of runs; one that several of them share counts once."""
    shared: dict[tuple[Path, Key], Record] = {}
    for run in runs:
        for record in read_lines(run / VALIDATION, Record):
            shared[run.parents[1], record.key] = record
    return list(shared.values())


def _let_open(files: int) -> None:
    """Raises the limit of open files where so many locks need it, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


Plan = dict[Key, tuple[Config, Pair, list[Path]]]


def _plan(
    scenario: Scenario, runs: Sequence[Path], seeds: int, retry_failed: bool
) -> tuple[Scenario, Plan]:
    """What must be evaluated and which runs want it; copies what sibling runs have already."""
    siblings = {path.parent for run in runs for path in run.parents[1].glob(f"*/*/{VALIDATION}")}
    validated = {
        run: read_lines(run / VALIDATION, Record, repair=run in runs)
        for run in sorted(siblings | set(runs))
    }
    at_hand: dict[Key, Record] = {}
    for run, records in validated.items():
        if run in runs or is_of_today(run, read_run(run), scenario, records):
            # What crashed may have done so for a reason of its own: it is no answer to others.
            at_hand |= {record.key: record for record in records if record.status != "CRASHED"}
    plan: Plan = {}
    for run in runs:
        newest = {record.key: record for record in validated[run]}
        have = {
            key for key, one in newest.items() if not (retry_failed and one.status == "CRASHED")
        }
        for entry in read_lines(run / TRAJECTORY, Incumbent):
            for pair in validation_pairs(scenario, seeds):
                key = Key(entry.config_id, *pair)
                if key in have:
                    continue
                have.add(key)
                if key in at_hand:
                    append_line(run / VALIDATION, at_hand[key])
                else:
                    plan.setdefault(key, (entry.config, pair, []))[2].append(run)
    return scenario, plan
