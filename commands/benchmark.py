"""A whole benchmark: runs side by side, then validation, ablation and the report.

Every run is a process of its own (`sparse-aclib run --workers 1`), so that configurators do not
wait for each other and one that fails takes nothing along; it ends with this process, however that
ends. What is finished is skipped: the same call goes on after an interruption.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from commands._console import CORES, RESULTS, ResultsOption, WorkersOption, bar, errors, number, say
from commands.ablate import ablate
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Role
from wrappers.configurators import Configurator, configurator, configurators, missing
from wrappers.evaluator import Lost
from wrappers.health import health
from wrappers.origin import check_fetched
from wrappers.processes import environment
from wrappers.records import (
    ABLATION_TRIALS,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Numbered,
    Record,
    read_lines,
    read_run,
)
from wrappers.run import check_same, run_folder
from wrappers.scenario import Scenario, read, scenarios
from wrappers.validation import validate, validated

_LOOK = 0.2  # seconds between two looks at the runs under way


def command(
    sets: Annotated[
        list[str] | None, typer.Argument(help="Instance sets; all if left out.")
    ] = None,
    variants: Annotated[str, typer.Option(help="Comma-separated; 'all'.")] = "all",
    by: Annotated[
        str, typer.Option("--configurators", help="Comma-separated; 'all' that can run here.")
    ] = "all",
    trials: Annotated[int, number("Budget of every run.")] = 100,
    seeds: Annotated[int, number("Runs of every configurator.")] = 3,
    validation_seeds: Annotated[int, number("Fresh seeds of validation.")] = 10,
    workers: WorkersOption = CORES,
    results: ResultsOption = RESULTS,
    full: Annotated[bool, typer.Option("--full", help="Each scenario's own budget.")] = False,
) -> None:
    """Run, validate and analyse a whole benchmark: every variant with every configurator.

    Runs stand side by side, one worker each. Interrupted, the same command goes on.
    """
    path = Benchmark(
        sets=tuple(sets or ()),
        variants=None if variants == "all" else tuple(variants.split(",")),
        configurators=None if by == "all" else tuple(by.split(",")),
        trials=None if full else trials,
        seeds=seeds,
        validation_seeds=validation_seeds,
        workers=workers,
        results=results,
    ).do()
    say(f"Report: {path.resolve()}")


@dataclass(frozen=True)
class Job:
    """One run of a configurator."""

    scenario: Scenario
    configurator: Configurator
    seed: int
    trials: int
    results: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.scenario.name} {self.configurator.name} {self.seed}"

    @property
    def folder(self) -> Path:
        """Where it is recorded."""
        return run_folder(self.results, self.scenario, self.configurator.name, self.seed)

    @property
    def finished(self) -> bool:
        """Whether it needs no process any more. Raises BadInput for another run in its folder."""
        if not (self.folder / RUN).exists():
            return False
        wanted = self.configurator.describe(
            self.scenario, seed=self.seed, trials=self.trials, workers=1
        )
        # Libraries may have changed since a run was finished.
        wanted = replace(wanted, versions=read_run(self.folder).versions)
        return check_same(self.folder, wanted).state == "finished"

    @property
    def done(self) -> int:
        """Trials recorded so far."""
        try:
            with open(self.folder / RUNHISTORY, "rb") as lines:
                return min(sum(1 for _ in lines), self.trials)
        except OSError:
            return 0

    @property
    def command(self) -> list[str]:
        """The command line that does it, or what is left of it."""
        return [
            *(sys.executable, "-m", "commands", "run", str(self.scenario.folder), "--quiet"),
            *("--configurator", self.configurator.name, "--seed", str(self.seed)),
            *("--trials", str(self.trials), "--results", str(self.results.resolve())),
            *("--parent", str(os.getpid())),
        ]


@dataclass(frozen=True)
class Benchmark:
    """What to run; None means all of them."""

    sets: tuple[str, ...]
    variants: tuple[str, ...] | None
    configurators: tuple[str, ...] | None
    """Those that configure; the one that evaluates the default only is always there."""
    trials: int | None
    seeds: int
    validation_seeds: int
    workers: int
    results: Path

    def jobs(self) -> list[Job]:
        """All runs, seed by seed, so that an interrupted benchmark has whole replications."""
        existing = configurators()
        if self.configurators is None:
            usable = [each for each in existing.values() if each.missing is None]
        else:
            usable = [each for each in existing.values() if not each.configures]
            usable += [c for c in map(configurator, self.configurators) if c.configures]
        every = [read(folder) for folder in scenarios()]
        sets = {scenario.set for scenario in every}
        for name in self.sets:
            if name not in sets:
                expected = ", ".join(sorted(sets))
                raise BadInput(f"no instance set {name!r}, expected one of {expected}")
        chosen = [s for s in every if s.set in (self.sets or sets)]
        for name in self.variants or ():
            if name not in {s.variant.name for s in chosen}:
                searched = ", ".join(self.sets or sorted(sets))
                raise BadInput(
                    f"no scenario of variant {name!r} in {searched}; "
                    "'sparse-aclib list' shows what there is"
                )
        configured = [
            s
            for s in chosen
            if (
                s.variant.name in self.variants
                if self.variants
                else s.variant.role is not Role.REFERENCE
            )
        ]
        jobs = [
            Job(s, each, 1, len(s.training), self.results)
            for each in usable
            if not each.configures
            for s in chosen
            if s.variant.role in (Role.BASELINE, Role.REFERENCE)
        ]
        for seed in range(1, self.seeds + 1):
            # The slow ones first, or the last of them is waited for alone.
            for each in sorted(usable, key=lambda each: not each.slow):
                if each.configures:
                    jobs += [
                        Job(s, each, seed, self.trials or s.runcount_limit, self.results)
                        for s in configured
                    ]
        return jobs

    def do(self) -> Path:
        """Does what is left of everything; returns the report's path.

        Raises BadInput at once where data sets have not been fetched, and at the end, with the
        report made, if a run failed.
        """
        from analysis.report import write_report

        jobs = self.jobs()
        for scenario in {job.scenario.set: job.scenario for job in jobs}.values():
            check_fetched(scenario)
        failed: dict[Path, str] = {}
        total = sum(job.trials for job in jobs)
        with bar(f"{len(jobs)} runs, {self.workers} at once", total) as update:
            for done, event in run_jobs(jobs, self.workers, failed):
                update(done, description=event)
        jobs = [job for job in jobs if job.folder not in failed]
        trials = [each for job in jobs for each in read_lines(job.folder / RUNHISTORY, Numbered)]
        say(f"runs: {health(trials)}")
        if not jobs:
            folder, words = next(iter(failed.items()))
            raise BadInput(f"all {len(failed)} runs failed; the first is {folder}: {words}")
        with bar(f"validation of {len(jobs)} runs", None) as update:
            validate(
                [job.folder for job in jobs],
                seeds=self.validation_seeds,
                workers=self.workers,
                progress=update,
                patience=math.inf,
            )
        say(f"validation: {health(validated([job.folder for job in jobs]))}")
        for job in ablated(jobs):
            # Its scenario's runs have paid for what it explains: it may cost as much as they did.
            of_scenario = (each.trials for each in jobs if each.scenario.name == job.scenario.name)
            most = sum(of_scenario)
            label = f"ablation of {job.name}, {most:,} trials at most"
            try:
                with bar(label, None) as update:
                    ablate(
                        job.folder,
                        trials=most,
                        workers=self.workers,
                        progress=update,
                        patience=math.inf,
                    )
            except Lost:  # of the machines: the same command goes on
                raise
            except BadInput as error:  # the report is worth having without it
                errors.print(f"no ablation: {error}", soft_wrap=True, markup=False)
                continue
            ablation = read_lines(job.folder / ABLATION_TRIALS, Record)
            say(f"ablation of {job.name}: {health(ablation)}")
        with errors.status("tables, figures, report (a minute for ten variants)"):
            report = write_report(self.results, missing=missing(), left_out=say)
        if failed:
            folder, words = next(iter(failed.items()))
            raise BadInput(
                f"{report} is without {len(failed)} runs that failed; the first is {folder}: "
                f"{words}"
            )
        return report


def ablated(jobs: Sequence[Job]) -> list[Job]:
    """The run of each scenario whose incumbent has the best *training* estimate.

    Only scenarios of combinations, where there are any: an ablation costs as much as a run. A run
    that ended with the default has nothing to ablate.
    """
    candidates = [job for job in jobs if job.configurator.configures and _moved(job)]
    combinations = [job for job in candidates if job.scenario.variant.role is Role.COMBINATION]
    best: dict[str, Job] = {}
    for job in sorted(combinations or candidates, key=_estimate):
        best.setdefault(job.scenario.name, job)
    return list(best.values())


def _moved(job: Job) -> bool:
    trajectory = read_lines(job.folder / TRAJECTORY, Incumbent)
    return bool(trajectory) and trajectory[0].config_id != trajectory[-1].config_id


def _estimate(job: Job) -> float:
    """The configurator's last estimate; it may have none."""
    estimate = read_lines(job.folder / TRAJECTORY, Incumbent)[-1].estimate
    return float("inf") if estimate is None else estimate


def run_jobs(
    jobs: Sequence[Job], at_once: int, failed: dict[Path, str]
) -> Iterator[tuple[int, str | None]]:
    """Does the jobs, `at_once` side by side; yields the trials done so far and the last event.

    A run that fails is put into `failed` with its last words; the others go on. One that another
    process works on is taken up again when the others are begun: it may be finished by then.
    """
    waiting = [job for job in jobs if not job.finished]
    under_way: list[tuple[Job, subprocess.Popen[str]]] = []
    finished = sum(job.trials for job in jobs if job not in waiting)
    event: str | None = None
    with ExitStack() as stack:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                job = waiting.pop(0)
                if job.finished:
                    finished += job.trials
                else:
                    under_way.append((job, stack.enter_context(_process(job))))
            for job, process in list(under_way):
                if process.poll() is None:
                    continue
                under_way.remove((job, process))
                if process.returncode == os.EX_TEMPFAIL:
                    waiting.append(job)
                    event = f"{job.name} is another process's"
                    continue
                finished += job.trials
                event = f"{job.name} finished"
                if process.returncode:
                    failed[job.folder] = _last_words(job)
                    event = f"{job.name} failed"
            yield finished + sum(job.done for job, _ in under_way), event
            time.sleep(_LOOK)
    yield finished, event


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
