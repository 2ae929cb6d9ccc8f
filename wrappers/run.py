"""One run of a configurator on a scenario: its budget, its trials, its record.

Recording happens here, where trials are evaluated, so that every configurator gets a runhistory for
nothing. A run that was killed goes on by *replay*: the configurator starts again with the same seed
and the trials in the record answer at once; only what is missing is evaluated. That asks one thing
of a configurator: given its seed and the answers, it always asks the same trials.

`results/README.md` documents the files.
"""

import itertools
import math
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sparse_training.errors import BadInput
from target_algorithms.contract import Result, Trial, check_fidelity
from wrappers.evaluator import LOCAL, Evaluator
from wrappers.executors import Executor
from wrappers.locks import locked
from wrappers.origin import check_code
from wrappers.pairs import derived_seed, training_pairs
from wrappers.records import (
    FILES,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Key,
    Numbered,
    Record,
    RunInfo,
    append_line,
    now,
    numbered,
    plain,
    read_lines,
    read_run,
    write_run,
)
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, config_id
from wrappers.trials import Evaluates, Trials

Progress = Callable[[int], None]
"""Told the number of whole trials' worth done so far."""

_ASKED_AGAIN = (
    50  # a configurator that asks this many times its budget for recorded trials is stuck
)
_ROUNDING = 1e-9  # of sums of shares


class BudgetExhausted(BaseException):
    """The run's budget of trials is used up; a configurator lets it through.

    No Exception, so that a configurator that takes those of a trial for its failure ends as well.
    """


class Ask(NamedTuple):
    """A trial that a configurator wants."""

    config: Config
    pair: int
    """Where in `Run.pairs`."""
    fidelity: float = 1.0
    """The share of the training budget that it is given, and that it is charged."""


class Run:
    """What a configurator sees of its run. Made by `open_run`."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        info: RunInfo,
        evaluator: Evaluates,
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
        self.random = random.Random(derived_seed("sample", info.configurator, info.seed))
        """What a configurator draws from: of its own, so that no two draw the same ones."""
        self._info = info
        self._trials = Trials(scenario, evaluator)
        records = read_lines(folder / RUNHISTORY, Numbered, repair=True)
        check_code(folder, scenario.variant, records)
        self._costs: dict[Key, Future[float]] = {}
        """Of all trials that are recorded or under way."""
        self._failed: dict[Key, str] = {}
        self._waiting: dict[Key, int] = {}
        """Numbers of trials that have been granted and not begun."""
        self._took: dict[str, float] = {}
        """Seconds that a whole trial of a configuration took, the last one."""
        self._done = Fraction(0)
        for record in records:
            self._costs[record.key] = Future()
            self._tell(record, self._costs[record.key])
        self._look_at_default = not anyway
        recorded = {record.trial for record in records}
        self._free = (n for n in itertools.count(1) if n not in recorded)
        self._trajectory = read_lines(folder / TRAJECTORY, Incumbent, repair=True)
        self._asked: set[Key] = set()
        self._charged, self._taken = Fraction(0), self._done
        self._asks = 0
        self._incumbents: list[str] = []
        self._progress = progress
        self._recording = threading.Lock()
        self._closed = False

    @property
    def used(self) -> float:
        """What the different trials that the configurator has asked for so far are charged: each
        its share of the training budget, an integer where all are whole."""
        return plain(self._charged)

    @property
    def remaining(self) -> float:
        """What is left of the budget."""
        return self.budget - self.used

    def sample(self) -> Config:
        """A configuration drawn uniformly from the space, another one at every call."""
        return self.space.sample(self.random)

    def evaluate(self, config: Config, pair: int, fidelity: float = 1.0) -> float:
        """Cost of a configuration on `pairs[pair]`. Raises BudgetExhausted."""
        return self.evaluate_many([Ask(config, pair, fidelity)])[0]

    def evaluate_many(self, asked: Sequence[Ask]) -> list[float]:
        """Costs of several trials in the order asked, evaluated side by side on the workers.

        What is left of the budget is evaluated and recorded before BudgetExhausted is raised.
        """
        return self.costs(self.submit_many(asked))

    def submit(self, ask: Ask) -> Future[float]:
        """The cost of a trial, to be had as soon as it is evaluated and recorded.

        A trial that the run has evaluated before is answered from the record and costs nothing.
        A configurator must wait for costs in an order that does not hang on which comes first
        (`costs` does, and `races.side_by_side`). Raises BudgetExhausted.
        """
        return self.submit_many([ask])[0]

    def submit_many(self, asked: Sequence[Ask]) -> list[Future[float]]:
        """The costs of several trials, as `submit` gives that of one; all begin, or as many as the
        budget pays for are evaluated and recorded before BudgetExhausted is raised."""
        keys: list[Key] = []
        try:
            for ask in asked:
                keys.append(self._granted(ask))
        except BudgetExhausted:
            self.costs(self._begun(asked, keys))
            raise
        return self._begun(asked, keys)

    def _granted(self, ask: Ask) -> Key:
        """What a trial is called that the budget pays for. Raises BudgetExhausted."""
        self._asks += 1
        if self._asks > _ASKED_AGAIN * self.budget:
            raise BudgetExhausted
        share = check_fidelity(ask.fidelity)
        if not 0 <= ask.pair < len(self.pairs):
            raise BadInput(
                f"{self.folder}: the configurator asked for pair {ask.pair}, expected one from 0 "
                f"to {len(self.pairs) - 1}"
            )
        key = Key(config_id(ask.config), *self.pairs[ask.pair], share)
        if key not in self._asked:
            room = self.budget + _ROUNDING - share
            new = key not in self._costs
            if new:
                self._check(ask.config)
            if self._charged > room or (new and self._taken > room):
                raise BudgetExhausted
            self._asked.add(key)
            self._charged += Fraction(share)
            if new:
                self._taken += Fraction(share)
                self._costs[key] = Future()
                # The lowest free number: a resumed run fills the gaps of a killed one.
                self._waiting[key] = next(self._free)
        return key

    def _check(self, config: Config) -> None:
        """Raises BadInput for a configuration that is not of the space: of no trial of it."""
        try:
            self.space.check(config)
        except BadInput as error:
            raise BadInput(
                f"{self.folder}: the configurator asked for a configuration that is not of the "
                f"space: {error}"
            ) from error

    def _begun(self, asked: Sequence[Ask], keys: Sequence[Key]) -> list[Future[float]]:
        """The costs of trials, of which those that are new begin.

        Where several workers share them, the longest first, as far as their configurations are
        known (Graham 1969): what waits for all of them waits least.
        """
        new = [(key, ask.config) for key, ask in zip(keys, asked, strict=False)]
        if self.workers > 1:
            new.sort(key=lambda one: self._took.get(one[0].config_id, math.inf), reverse=True)
        for key, config in new:
            number = self._waiting.pop(key, None)
            if number is not None:
                trial, result = self._trials.submit(config, (key.instance, key.seed), key.fidelity)
                result.add_done_callback(partial(self._note, number, config, trial, key))
        return [self._costs[key] for key in keys]

    def costs(self, under_way: Sequence[Future[float]]) -> list[float]:
        """The costs of trials, when all are evaluated."""
        costs = [future.result() for future in under_way]
        self._progress(int(self.used))
        self._check_default()
        return costs

    def _note(
        self, number: int, config: Config, trial: Trial, key: Key, result: Future[Result]
    ) -> None:
        """Records a trial as soon as it is done, in the thread of its worker."""
        cost = self._costs[key]
        try:
            with self._recording:
                record = self._trials.record_of(config, trial, result.result())
                if self._closed:
                    raise CancelledError
                append_line(self.folder / RUNHISTORY, numbered(number, record))
                self._progress(math.floor(plain(self._done + Fraction(trial.fidelity))))
                self._tell(record, cost)
        except BaseException as error:  # for who waits for the cost
            cost.set_exception(error)

    def _tell(self, record: Record, cost: Future[float]) -> None:
        """Makes the cost known that is in the record."""
        self._done += Fraction(record.fidelity)
        self._took[record.config_id] = (record.runtime or 0.0) / record.fidelity
        if why := _why(record):
            self._failed[record.key] = why
        cost.set_result(record.cost)

    def close(self) -> None:
        """Records nothing more: what is under way is given up."""
        with self._recording:
            self._closed = True

    def _check_default(self) -> None:
        """Raises BadInput where the default configuration fails on its first two pairs.

        Then nothing is likely to work, and a configurator would spend its budget on telling apart
        costs of 1. The second pair is looked at outside the budget, once the first has failed.
        """
        if not self._look_at_default:
            return
        default, identity = self.space.default, config_id(self.space.default)
        first, second = self.pairs[0], self.pairs[min(1, len(self.pairs) - 1)]
        one, other = Key(identity, *first), Key(identity, *second)
        if one not in self._costs or not self._costs[one].done():
            return
        self._look_at_default = False
        if one not in self._failed:
            return
        why = self._failed.get(other, "")
        if other not in self._costs or not self._costs[other].done():
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
        if not self._incumbents and identity != config_id(self.space.default):
            raise BadInput(
                f"{self.folder}: the configurator's first incumbent is configuration {identity}, "
                f"expected the default, {config_id(self.space.default)}"
            )
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
        """
        every = self.space.configurations(self.budget)
        if every is None or self.remaining < 1:
            return
        self._asks = 0
        self.settings({"configurations": len(every), "configurator_ended_after": self.used})
        whole = [key.config_id for key in self._asked if key.fidelity == 1]
        most = max(Counter(whole).values(), default=0)
        totals = [0.0] * len(every)
        for pair in range(len(self.pairs)):
            try:
                costs = self.evaluate_many([Ask(config, pair) for config in every])
            except BudgetExhausted:
                return
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

        Raises BadInput if the record holds trials that the configurator did not ask for again, or
        if it named no incumbent.
        """
        if strange := len(self._costs.keys() - self._asked):
            raise BadInput(
                f"{self.folder}: the replay did not ask for {strange} of the recorded trials; "
                "begin anew in another --results folder"
            )
        if not self._incumbents:
            raise BadInput(
                f"{self.folder}: the configurator named no incumbent, expected at least the default"
            )
        self.costs(list(self._costs.values()))
        self._progress(math.ceil(self.used))
        used = {"trials_used": len(self._costs), "budget_used": plain(self._taken)}
        self._write(state="finished", finished=now(), **used)


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
    executor: Executor = LOCAL,
) -> Iterator[Run]:
    """A new run, or the interrupted one in the same folder if it is the same in everything.

    info: what run.json says of it at its start (`origin.describe`); anyway: whether to go on where
    the default configuration fails; executor: where its trials run. Raises BadInput that names the
    difference otherwise.
    """
    folder = run_folder(results, scenario, info.configurator, info.seed)
    with locked(folder):
        # A run that never came to a trial (its budget was refused, say) binds nobody; what else is
        # there would be taken for this run's.
        if any((folder / name).exists() for name in FILES if name != RUN) or _ended(folder):
            info = check_same(folder, info)
        else:
            write_run(folder, info)
        with Evaluator(info.workers, executor) as evaluator:
            run = Run(folder, scenario, info, evaluator, progress, anyway=anyway)
            try:
                yield run
            finally:
                run.close()


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
