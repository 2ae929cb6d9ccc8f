"""A whole benchmark: runs side by side, then validation, ablation and the report.

Every run is a process of its own (`sparse-aclib run --workers 1`), so that configurators do not
wait for each other and one that fails takes nothing along; it ends with this process, however that
ends. What is finished is skipped: the same call goes on after an interruption.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from target_algorithms.errors import BadInput
from wrappers import configurators
from wrappers.ablation import Method, ablate
from wrappers.evaluator import ROOT, environment
from wrappers.files import read_lines
from wrappers.run import about, check_fetched, check_same, describe, run_folder
from wrappers.scenario import Scenario, read, scenarios
from wrappers.validation import validate

Bar = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]
"""Opens a progress bar: label and total in, what moves it on out (`cli.bar`)."""

Report = Callable[[Path, dict[str, str]], Path]
"""Writes the report of a results folder, given the configurators that are missing and why."""

BASELINES = ("static", "dense")
"""Variants that enter with their default configuration only, beside what is configured."""

_BASELINE = "default"  # the configurator of baselines
_LOOK = 0.2  # seconds between two looks at the runs under way


@dataclass(frozen=True)
class Job:
    """One run of a configurator."""

    scenario: Scenario
    configurator: str
    seed: int
    trials: int
    results: Path

    @property
    def folder(self) -> Path:
        """Where it is recorded."""
        return run_folder(self.results, self.scenario, self.configurator, self.seed)

    @property
    def finished(self) -> bool:
        """Whether it needs no process any more. Raises BadInput for another run in its folder."""
        if not (self.folder / "run.json").exists():
            return False
        wanted = describe(self.scenario, self.configurator, self.seed, self.trials, workers=1)
        return bool(
            check_same(self.folder, wanted | {"versions": about(self.folder)["versions"]})["state"]
            == "finished"
        )

    @property
    def done(self) -> int:
        """Trials recorded so far."""
        try:
            with open(self.folder / "runhistory.jsonl", "rb") as lines:
                return min(sum(1 for _ in lines), self.trials)
        except OSError:
            return 0

    @property
    def command(self) -> list[str]:
        """The command line that does it, or what is left of it."""
        return [
            *(sys.executable, "-m", "wrappers.cli", "run", str(self.scenario.folder), "--quiet"),
            *("--configurator", self.configurator, "--seed", str(self.seed)),
            *("--trials", str(self.trials), "--results", str(self.results.resolve())),
            *("--parent", str(os.getpid())),
        ]


@dataclass(frozen=True)
class Benchmark:
    """What to run; None means all of them."""

    sets: tuple[str, ...]
    variants: tuple[str, ...] | None
    trials: int | None
    seeds: int
    validation_seeds: int
    workers: int
    results: Path

    def jobs(self) -> list[Job]:
        """All runs, seed by seed, so that an interrupted benchmark has whole replications."""
        available = [
            name
            for name in configurators.names()
            if name not in configurators.missing() and name != _BASELINE
        ]
        found = [read(folder) for folder in scenarios()]
        known = {scenario.set for scenario in found}
        for name in self.sets:
            if name not in known:
                raise BadInput(f"no instance set {name!r}, expected one of {', '.join(known)}")
        chosen = [s for s in found if s.set in (self.sets or known)]
        for name in self.variants or ():
            if name not in {s.variant for s in chosen}:
                raise BadInput(
                    f"no scenario of variant {name!r} in {', '.join(self.sets or sorted(known))}; "
                    "'sparse-aclib list' shows what there is"
                )
        configured = [
            s
            for s in chosen
            if (s.variant in self.variants if self.variants else s.variant != "dense")
        ]
        baselines = [s for s in chosen if s.variant in BASELINES]
        jobs = [Job(s, _BASELINE, 1, len(s.training), self.results) for s in baselines]
        for seed in range(1, self.seeds + 1):
            # The slow ones first, or the last of them is waited for alone.
            for name in sorted(available, key=lambda name: name != "smac"):
                for s in configured:
                    jobs.append(Job(s, name, seed, self.trials or s.runcount_limit, self.results))
        return jobs

    def do(self, bar: Bar, ablation: Method, write_report: Report) -> Path:
        """Do what is left of everything; returns the report's path.

        `ablation` and `write_report` are analysis's. Raises BadInput at once where data sets have
        not been fetched, and at the end, with the report made, if a run failed.
        """
        jobs = self.jobs()
        for scenario in {job.scenario.set: job.scenario for job in jobs}.values():
            check_fetched(scenario)
        failed: dict[Path, str] = {}
        total = sum(job.trials for job in jobs)
        with bar(f"{len(jobs)} runs, {self.workers} at once", total) as update:
            for done in run_jobs(jobs, self.workers, failed):
                update(done)
        jobs = [job for job in jobs if job.folder not in failed]
        if not jobs:
            folder, words = next(iter(failed.items()))
            raise BadInput(f"all {len(failed)} runs failed; the first is {folder}: {words}")
        with bar(f"validation of {len(jobs)} runs", None) as update:
            validate(
                [job.folder for job in jobs],
                seeds=self.validation_seeds,
                workers=self.workers,
                progress=update,
            )
        for job in ablated(jobs):
            with bar(f"ablation of {job.scenario.name} {job.configurator}", None) as update:
                ablate(job.folder, ablation, workers=self.workers, progress=update)
        report = write_report(self.results, configurators.missing())
        if failed:
            folder, words = next(iter(failed.items()))
            raise BadInput(
                f"{report} is without {len(failed)} runs that failed; the first is {folder}: "
                f"{words}"
            )
        return report


def ablated(jobs: Sequence[Job]) -> list[Job]:
    """The run of each scenario whose incumbent has the best *training* estimate.

    Only scenarios of the widest space, `meta`, where there is one: an ablation costs as much as a
    run. A run that ended with the default has nothing to ablate.
    """
    candidates = [job for job in jobs if job.configurator != _BASELINE and _moved(job)]
    candidates = [job for job in candidates if job.scenario.variant == "meta"] or candidates
    best: dict[str, Job] = {}
    for job in sorted(candidates, key=_estimate):
        best.setdefault(job.scenario.name, job)
    return list(best.values())


def _moved(job: Job) -> bool:
    trajectory = read_lines(job.folder / "trajectory.jsonl")
    return bool(trajectory) and trajectory[0]["config_id"] != trajectory[-1]["config_id"]


def _estimate(job: Job) -> float:
    """The configurator's last estimate; it may have none."""
    estimate = read_lines(job.folder / "trajectory.jsonl")[-1]["estimate"]
    return float("inf") if estimate is None else float(estimate)


def run_jobs(jobs: Sequence[Job], at_once: int, failed: dict[Path, str]) -> Iterator[int]:
    """Do the jobs, `at_once` side by side; yields the number of trials done so far.

    A run that fails is put into `failed` with its last words; the others go on.
    """
    waiting = [job for job in jobs if not job.finished]
    under_way: list[tuple[Job, subprocess.Popen[str]]] = []
    finished = sum(job.trials for job in jobs if job not in waiting)
    with ExitStack() as stack:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                job = waiting.pop(0)
                under_way.append((job, stack.enter_context(_process(job))))
            for job, process in list(under_way):
                if process.poll() is None:
                    continue
                under_way.remove((job, process))
                finished += job.trials
                if process.returncode:
                    failed[job.folder] = _last_words(job)
            yield finished + sum(job.done for job, _ in under_way)
            time.sleep(_LOOK)
    yield finished


@contextmanager
def _process(job: Job) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, its output in the run's folder, ended with the block."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / "output.txt", "a") as output:
        process = subprocess.Popen(
            job.command, cwd=ROOT, env=environment(), stdout=output, stderr=output, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _last_words(job: Job) -> str:
    lines = (job.folder / "output.txt").read_text().strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
