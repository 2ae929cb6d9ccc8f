"""One run of a configurator on a scenario: its budget, its trials, its record.

Recording happens here, where trials are evaluated, so that every configurator gets a runhistory for
nothing. A run that was killed goes on by *replay*: the configurator starts again with the same seed
and the trials in the record answer at once; only what is missing is evaluated. That asks one thing
of a configurator: given its seed and the answers, it always asks the same trials.

`results/README.md` documents the files.
"""

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparse_training.errors import BadInput
from wrappers.evaluator import Evaluator
from wrappers.origin import check_code
from wrappers.pairs import Pair, training_pairs
from wrappers.records import (
    FILES,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Numbered,
    Record,
    RunInfo,
    append_line,
    locked,
    now,
    numbered,
    read_lines,
    read_run,
    write_run,
)
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, config_id
from wrappers.trials import Trials

Progress = Callable[[int], None]
"""Told the number of trials done so far."""

_ASKED_AGAIN = (
    50  # a configurator that asks this many times its budget for recorded trials is stuck
)


class BudgetExhausted(Exception):
    """The run's budget of trials is used up; a configurator lets it through."""


class Run:
    """What a configurator sees of its run. Made by `open_run`."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        info: RunInfo,
        evaluator: Evaluator,
        progress: Progress,
        *,
        anyway: bool = False,
    ) -> None:
        self.folder = folder
        self.scenario = scenario
        self.space: Space = scenario.space
        self.budget = info.trials
        """Trials that the run may use."""
        self.workers = info.workers
        """Trials that can be evaluated at once."""
        self.pairs = training_pairs(scenario, info.seed, self.budget)
        self._info = info
        self._trials = Trials(scenario, evaluator)
        records = read_lines(folder / RUNHISTORY, Numbered, repair=True)
        check_code(folder, scenario.variant, records)
        self._costs = {record.key: record.cost for record in records}
        self._failed = {record.key: why for record in records if (why := _why(record))}
        self._look_at_default = not anyway
        recorded = {record.trial for record in records}
        self._free = (n for n in itertools.count(1) if n not in recorded)
        self._trajectory = read_lines(folder / TRAJECTORY, Incumbent, repair=True)
        self._asked: set[tuple[str, str, int]] = set()
        self._asks = 0
        self._incumbents: list[str] = []
        self._progress = progress

    @property
    def used(self) -> int:
        """Different trials that the configurator has asked for so far."""
        return len(self._asked)

    @property
    def remaining(self) -> int:
        """Trials that are left of the budget."""
        return self.budget - self.used

    def evaluate(self, config: Config, pair: int) -> float:
        """Cost of a configuration on `pairs[pair]`. Raises BudgetExhausted."""
        return self.evaluate_many([(config, pair)])[0]

    def evaluate_many(self, asked: Sequence[tuple[Config, int]]) -> list[float]:
        """Costs of several trials in the order asked, evaluated side by side on the workers.

        A trial that the run has evaluated before is answered from the record and costs nothing.
        What is left of the budget is evaluated and recorded before BudgetExhausted is raised.
        """
        self._asks += len(asked)
        if self._asks > _ASKED_AGAIN * self.budget:
            raise BudgetExhausted
        triples = [(config, self.pairs[pair]) for config, pair in asked]
        keys = [(config_id(config), *pair) for config, pair in triples]
        missing: dict[tuple[str, str, int], tuple[Config, Pair]] = {}
        exhausted = False
        for key, triple in zip(keys, triples, strict=True):
            new = key not in self._costs and key not in missing
            full = len(self._costs) + len(missing) >= self.budget
            if key not in self._asked and (self.remaining == 0 or (new and full)):
                exhausted = True
                break
            self._asked.add(key)
            if new:
                missing[key] = triple
        # The lowest free numbers, in the order asked: a resumed run fills the gaps of a killed one.
        numbers = list(itertools.islice(self._free, len(missing)))
        self._progress(len(self._costs))
        for position, record in self._trials.evaluate(list(missing.values())):
            append_line(self.folder / RUNHISTORY, numbered(numbers[position], record))
            self._costs[record.key] = record.cost
            if why := _why(record):
                self._failed[record.key] = why
            self._progress(len(self._costs))
        self._progress(self.used)
        self._check_default()
        if exhausted:
            raise BudgetExhausted
        return [self._costs[key] for key in keys]

    def _check_default(self) -> None:
        """Raises BadInput where the default configuration fails on its first two pairs.

        Then nothing is likely to work, and a configurator would spend its budget on telling apart
        costs of 1. The second pair is looked at outside the budget, once the first has failed.
        """
        if not self._look_at_default:
            return
        default, identity = self.space.default, config_id(self.space.default)
        first, second = self.pairs[0], self.pairs[min(1, len(self.pairs) - 1)]
        if (identity, *first) not in self._costs:
            return
        self._look_at_default = False
        if (identity, *first) not in self._failed:
            return
        why = self._failed.get((identity, *second), "")
        if (identity, *second) not in self._costs:
            _, record = next(self._trials.evaluate([(default, second)]))
            why = _why(record)
        if why:
            raise BadInput(
                f"{self.folder}: the default configuration fails on {first[0]} and {second[0]} "
                f"({why}); '--anyway' goes on all the same"
            )

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder for a configurator's own files, gone at the end.

        What a process that was killed left in it goes when the run goes on.
        """
        place = self.folder / ".scratch"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def new_incumbent(self, config: Config, estimate: float | None) -> None:
        """Puts a configuration on the trajectory, with the configurator's estimate of its cost."""
        identity = config_id(config)
        if self._incumbents and self._incumbents[-1] == identity:
            return
        self._incumbents.append(identity)
        at = len(self._incumbents) - 1
        path = self.folder / TRAJECTORY
        if at < len(self._trajectory):
            if self._trajectory[at].config_id == identity:
                return
            raise BadInput(
                f"{path}:{at + 1}: the replay came to another incumbent than the record holds "
                "(has a library changed since?); begin anew in another --results folder"
            )
        entry = Incumbent(
            trial=self.used,
            config_id=identity,
            config=config,
            estimate=None if estimate is None else round(estimate, 10),
        )
        append_line(path, entry)
        self._trajectory.append(entry)

    def try_all(self) -> None:
        """Gives what is left of the budget to all configurations, if the space has that few.

        Pair after pair; the best is the incumbent as soon as all have as many pairs as any had.
        Raises BudgetExhausted.
        """
        every = self.space.configurations(self.budget)
        if every is None or self.remaining == 0:
            return
        self.settings({"configurations": len(every), "configurator_ended_after": self.used})
        most = max(Counter(identity for identity, *_ in self._asked).values(), default=0)
        totals = [0.0] * len(every)
        for pair in range(len(self.pairs)):
            costs = self.evaluate_many([(config, pair) for config in every])
            totals = [total + cost for total, cost in zip(totals, costs, strict=True)]
            if pair + 1 >= most:
                best = totals.index(min(totals))
                self.new_incumbent(every[best], totals[best] / (pair + 1))

    def settings(self, changed: Mapping[str, Any]) -> None:
        """Notes in run.json what the configurator set differently from its defaults, and why."""
        self._write(settings={**self._info.settings, **changed})

    def _write(self, **changes: Any) -> None:
        self._info = replace(self._info, **changes)
        write_run(self.folder, self._info)

    @property
    def finished(self) -> bool:
        """Whether the configurator has come to its end, now or in an earlier process."""
        return self._info.state == "finished"

    def finish(self) -> None:
        """Marks the run as finished.

        Raises BadInput if the record holds trials that the configurator did not ask for again.
        """
        if strange := len(self._costs.keys() - self._asked):
            raise BadInput(
                f"{self.folder}: the replay did not ask for {strange} of the recorded trials; "
                "begin anew in another --results folder"
            )
        self._write(state="finished", finished=now(), trials_used=len(self._costs))


def run_folder(results: Path, scenario: Scenario, configurator: str, seed: int) -> Path:
    """Where a run is recorded."""
    return results / scenario.set / scenario.variant.name / configurator / f"seed-{seed}"


def check_same(folder: Path, wanted: RunInfo) -> RunInfo:
    """run.json of a folder that holds the run wanted; BadInput that names what differs."""
    before = read_run(folder)
    names = ["scenario", "trials", "workers", "hashes"]
    if before.state != "finished":  # what is left of it would come from other libraries
        names.append("versions")
    for name in names:
        old, new = getattr(before, name), getattr(wanted, name)
        if old != new:
            raise BadInput(
                f"{folder}: the run there has {_difference(name, old, new)}; repeat its command to"
                " go on with it, or give another --results folder"
            )
    return before


@contextmanager
def open_run(
    results: Path,
    scenario: Scenario,
    info: RunInfo,
    progress: Progress = lambda done: None,
    *,
    anyway: bool = False,
) -> Iterator[Run]:
    """A new run, or the interrupted one in the same folder if it is the same in everything.

    info: what run.json says of it at its start (`origin.describe`); anyway: whether to go on where
    the default configuration fails. Raises BadInput that names the difference otherwise.
    """
    folder = run_folder(results, scenario, info.configurator, info.seed)
    with locked(folder):
        # A run that never came to a trial (its budget was refused, say) binds nobody; what else is
        # there would be taken for this run's.
        if any((folder / name).exists() for name in FILES if name != RUN) or _ended(folder):
            info = check_same(folder, info)
        else:
            write_run(folder, info)
        with Evaluator(info.workers) as evaluator:
            yield Run(folder, scenario, info, evaluator, progress, anyway=anyway)


def _ended(folder: Path) -> bool:
    return (folder / RUN).exists() and read_run(folder).state == "finished"


def _why(record: Record) -> str:
    """Why a trial failed; empty if it did not."""
    if record.over_budget or record.misc.error is None:
        return record.misc.error or ""
    return f"{record.status}: {record.misc.error}"


def _difference(name: str, before: Any, wanted: Any) -> str:
    if name == "hashes":
        parts = vars(before)
        name = next(part for part in parts if parts[part] != vars(wanted)[part])
        return f"another version of {name}"
    if isinstance(before, dict):
        name = next(k for k in before | wanted if before.get(k) != wanted.get(k))
        return f"another version of {name}"
    return f"{name} {before}, asked for was {wanted}"
