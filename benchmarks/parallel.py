"""How busy configurators keep several workers.

    python -m benchmarks.parallel [--scenario digits/rigl] [--trials 300] [--seeds 3] [--out FILE]

Each configurator does its runs at every width on workers that exist on paper only: every trial is
evaluated once, for real, and its time is then that of the trial wherever it comes again; trials
start in the order in which they are asked for, on the worker that is free first (list scheduling).
So what is measured is what a configurator asks when, and nothing of how busy this machine is. Two
numbers: `trials` as if a configurator needed no time of its own, `all` with the time that it took
here between two requests. Busy is the time in trials over that of all workers until the last trial
ends; the peer is one worker, whose trials wait for nothing, in the same run.
"""

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Annotated

import pandas as pd
import typer

from target_algorithms.contract import Result, Trial
from wrappers.configurators import Configurator, configurators
from wrappers.evaluator import Evaluator
from wrappers.records import Key, RunInfo, write_run
from wrappers.run import BudgetExhausted, Run
from wrappers.scenario import Scenario, read
from wrappers.space import Config

WIDTHS = (1, 2, 4, 8)

Ended = Future[Result]


@dataclass
class Once:
    """Evaluates each trial once and knows it from then on."""

    evaluator: Evaluator
    known: dict[str, Result] = field(default_factory=dict)

    def result(self, trial: Trial) -> Result:
        """What became of the trial."""
        name = repr(trial)
        if name not in self.known:
            self.known[name] = self.evaluator.submit(trial).result()
        return self.known[name]


@dataclass
class ListScheduled:
    """Workers on paper: stands for `Evaluator`, and knows when trials would have ended."""

    once: Once
    workers: int
    counts_own_time: bool
    now: float = 0.0
    """Seconds since the start of the run, of the clock on paper."""
    busy: float = 0.0
    """Seconds in trials."""
    end_of_last: float = 0.0
    """When the trial submitted last ends."""
    _free: list[float] = field(default_factory=list)
    _left: float = 0.0

    def __post_init__(self) -> None:
        self._free = [0.0] * self.workers
        self._left = time.perf_counter()

    def ask(self) -> None:
        """The configurator asks something: its own time is over."""
        if self.counts_own_time:
            self.now += time.perf_counter() - self._left

    def answer(self) -> None:
        """The configurator goes on."""
        self._left = time.perf_counter()

    def submit(self, trial: Trial) -> Future[Result]:
        """The trial on the worker that is free first."""
        self.ask()
        result = self.once.result(trial)
        self.answer()
        worker = min(range(self.workers), key=self._free.__getitem__)
        self._free[worker] = max(self.now, self._free[worker]) + result.runtime
        self.busy += result.runtime
        future: Future[Result] = Future()
        future.set_result(result)
        self.end_of_last = self._free[worker]
        return future


class OnPaper(Run):
    """A run whose clock is that of its workers."""

    def __init__(self, folder: Path, scenario: Scenario, info: RunInfo, workers: ListScheduled):
        self._workers = workers
        self._ends: dict[Future[float], float] = {}
        super().__init__(folder, scenario, info, workers, lambda done: None)

    def _note(self, number: int, config: Config, trial: Trial, key: Key, result: Ended) -> None:
        super()._note(number, config, trial, key, result)
        self._ends[self._costs[key]] = self._workers.end_of_last

    def costs(self, under_way: Sequence[Future[float]]) -> list[float]:
        """The costs of trials, when all have ended on paper."""
        self._workers.ask()
        ends = (self._ends.get(future, 0.0) for future in under_way)
        self._workers.now = max(self._workers.now, *ends, 0.0)
        try:
            return super().costs(under_way)
        finally:
            self._workers.answer()

    @property
    def end(self) -> float:
        """When its last trial has ended and its configurator is done."""
        return max([self._workers.now, *self._ends.values()])


def busy(
    chosen: Configurator,
    scenario: Scenario,
    once: Once,
    *,
    seed: int,
    trials: int,
    workers: int,
    own_time: bool,
) -> tuple[float, float]:
    """The share of its workers' time that a run spends in trials, and how long it takes, in s."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        info = chosen.describe(scenario, seed=seed, trials=trials, workers=workers)
        write_run(folder, info)
        paper = ListScheduled(once, workers, own_time)
        run = OnPaper(folder, scenario, info, paper)
        with contextlib.suppress(BudgetExhausted):
            chosen.module.configure(scenario, run, seed=seed)
        return paper.busy / (workers * run.end), run.end


def main(
    scenario: Annotated[str, typer.Option(help="A scenario.")] = "digits/rigl",
    trials: Annotated[int, typer.Option(help="Of a run.")] = 300,
    seeds: Annotated[int, typer.Option(help="Runs of each configurator at each width.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Configurators; all if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the table as CSV.")] = None,
) -> None:
    """Measure how busy configurators keep their workers."""
    chosen = read(scenario)
    rows: list[dict[str, object]] = []
    with Evaluator(1) as evaluator:
        once = Once(evaluator)
        for name, by in configurators().items():
            if not by.configures or by.missing or (only and name not in only):
                continue
            for workers in WIDTHS:
                row: dict[str, object] = {"configurator": name, "workers": workers}
                for column, own_time in (("trials", False), ("all", True)):
                    measured = [
                        busy(
                            by,
                            chosen,
                            once,
                            seed=seed,
                            trials=trials,
                            workers=workers,
                            own_time=own_time,
                        )
                        for seed in range(1, seeds + 1)
                    ]
                    row[f"busy, {column}"] = round(fmean(share for share, _ in measured), 2)
                    row[f"seconds, {column}"] = round(fmean(end for _, end in measured), 1)
                rows.append(row)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if out is not None:
        table.to_csv(out, index=False)


if __name__ == "__main__":
    typer.run(main)
