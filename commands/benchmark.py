"""A whole benchmark: runs side by side, then validation, ablation and the report.

Every run is a process of its own (`sparse-aclib run --workers 1`), so that configurators do not
wait for each other and one that fails takes nothing along; it ends with this process, however that
ends. What is finished is skipped: the same call goes on after an interruption.
"""

import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from commands._console import CORES, RESULTS, ResultsOption, bar, errors, number, say
from commands._submission import submit
from commands.ablate import ablate
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Role
from wrappers.configurators import Configurator, configurator, configurators, missing
from wrappers.evaluator import Lost
from wrappers.health import health
from wrappers.locks import PATIENCE, works_on
from wrappers.origin import check_fetched
from wrappers.processes import environment
from wrappers.progress import BENCHMARKS, OUTPUT, Planned, key, last_words, note
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
from wrappers.slurm import Submission, options, shares
from wrappers.validation import lacking, validate, validated

_LOOK = 0.2  # seconds between two looks at the runs under way
_TERMINATED = 128 + signal.SIGTERM

T = TypeVar("T")


class Part(StrEnum):
    """Of a benchmark."""

    RUNS = "runs"
    VALIDATION = "validation"
    REPORT = "report"


@dataclass(frozen=True)
class Shard:
    """One of several shares: disjoint, together everything, the same for the same command."""

    share: int
    """From 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.share}/{self.of}"

    def part(self, things: Sequence[T]) -> list[T]:
        """Of things in an order that is the same everywhere."""
        return list(things[self.share - 1 :: self.of])


ALL = Shard(1, 1)


def _shard(text: object) -> Shard:
    match = re.fullmatch("([0-9]{1,7})/([0-9]{1,7})", str(text))
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{str(text)!r}, expected i/n such as 1/4, i from 1 to n")
    return Shard(int(match[1]), int(match[2]))


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
    workers: Annotated[
        int | None,
        number(
            "Trials evaluated at once, a core each; all cores, with --slurm 1 a task, if left out."
        ),
    ] = None,
    results: ResultsOption = RESULTS,
    full: Annotated[bool, typer.Option("--full", help="Each scenario's own budget.")] = False,
    shard: Annotated[
        Shard | None,
        typer.Option(
            parser=_shard, metavar="i/n", help="The i-th of n shares of the runs, and no more."
        ),
    ] = None,
    only: Annotated[Part | None, typer.Option(help="One part; a shard's is 'runs'.")] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit what is not finished as job arrays.")
    ] = False,
    sbatch: Annotated[
        str | None, typer.Option(metavar="OPTIONS", help="For sbatch, e.g. '--time=4:00:00'.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what --slurm would submit.")
    ] = False,
) -> None:
    """Run, validate and analyse a whole benchmark: every variant with every configurator.

    Runs stand side by side, one worker each. Interrupted, the same command goes on. Several
    processes may do it at once, on one machine or on several that share the folder.
    """
    if (sbatch is not None or dry_run) and not slurm:
        raise BadInput(f"{'--dry-run' if dry_run else '--sbatch'} without --slurm says nothing")
    if slurm and (shard or only):
        raise BadInput("--slurm submits all parts and shards; leave out --shard and --only")
    if shard and only is Part.REPORT:
        raise BadInput("there is one report; leave out --shard")
    benchmark = Benchmark(
        sets=tuple(sets or ()),
        variants=None if variants == "all" else tuple(variants.split(",")),
        configurators=None if by == "all" else tuple(by.split(",")),
        trials=None if full else trials,
        seeds=seeds,
        validation_seeds=validation_seeds,
        workers=workers or (1 if slurm else CORES),
        results=results,
    )
    if slurm:
        benchmark.submit(options(sbatch or ""), dry=dry_run)
    elif shard and only is None:
        benchmark.run(shard)
        say(f"Shard {shard} is finished. After all of them: the same command without --shard")
    elif only is Part.RUNS:
        benchmark.run(shard or ALL)
    elif only is Part.VALIDATION:
        benchmark.validate(shard or ALL)
    elif only is Part.REPORT:
        say(f"Report: {benchmark.report().resolve()}")
    else:
        say(f"Report: {benchmark.do().resolve()}")


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

    def jobs(self, shard: Shard = ALL) -> list[Job]:
        """All runs, or those of a shard, seed by seed, so that an interrupted benchmark has whole
        replications.

        A machine without a configurator counts its runs as well, so that a shard is the same one
        on all of them.
        """
        existing = configurators()
        if self.configurators is None:
            chosen = list(existing.values())
        else:
            chosen = [each for each in existing.values() if not each.configures]
            chosen += [c for c in map(configurator, self.configurators) if c.configures]
        usable = {each for each in chosen if each.missing is None}
        return [job for job in shard.part(self._jobs(chosen)) if job.configurator in usable]

    def _jobs(self, by: Sequence[Configurator]) -> list[Job]:
        folders = scenarios()
        sets = {folder.parent.name for folder in folders}
        for name in self.sets:
            if name not in sets:
                expected = ", ".join(sorted(sets))
                raise BadInput(f"no instance set {name!r}, expected one of {expected}")
        chosen = [read(each) for each in folders if each.parent.name in (self.sets or sets)]
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
            for each in by
            if not each.configures
            for s in chosen
            if s.variant.role in (Role.BASELINE, Role.REFERENCE)
        ]
        for seed in range(1, self.seeds + 1):
            # The slow ones first, or the last of them is waited for alone.
            for each in sorted(by, key=lambda each: not each.slow):
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
        jobs = self.jobs()
        failed = self._run(jobs)
        jobs = [job for job in jobs if job.folder not in failed]
        if not jobs:
            folder, words = next(iter(failed.items()))
            raise BadInput(f"all {len(failed)} runs failed; the first is {folder}: {words}")
        self._validate(jobs)
        return self._report(jobs, failed)

    def run(self, shard: Shard = ALL) -> None:
        """Does what is left of the runs, or of a shard of them; raises BadInput if one failed."""
        jobs = self.jobs(shard)
        before = {job.folder: job.done for job in jobs}
        try:
            failed = self._run(jobs)
        except SystemExit as end:
            # The time of a job is over, say. Another time will do only if it was not too short.
            if end.code == _TERMINATED and all(job.done == before[job.folder] for job in jobs):
                raise BadInput(
                    "ended from outside before any trial was finished; give it more time"
                ) from None
            raise
        if failed:
            folder, words = next(iter(failed.items()))
            raise BadInput(f"{len(failed)} runs failed; the first is {folder}: {words}")

    def validate(self, shard: Shard = ALL) -> None:
        """Does what is left of the validation of finished runs, or of a shard of the scenarios."""
        jobs = self.jobs()
        mine = shard.part(_scenarios(jobs))
        jobs = [job for job in jobs if job.scenario.name in mine and job.finished]
        if jobs:
            self._validate(jobs)

    def report(self) -> Path:
        """The ablation and the report of what is finished.

        Raises BadInput, with the report made, if a run is not.
        """
        jobs = self.jobs()
        unfinished = {
            job.folder: last_words(job.folder) or "it has not been begun"
            for job in jobs
            if not job.finished
        }
        jobs = [job for job in jobs if job.folder not in unfinished]
        if not jobs:
            raise BadInput(f"none of the {len(unfinished)} runs is finished; nothing to report")
        return self._report(jobs, unfinished)

    def submit(self, extra: Sequence[str], *, dry: bool) -> None:
        """Has SLURM do what is not finished; see `_submission.submit`."""
        # Named, so that a node that lacks one says so, and does not count shards otherwise.
        by = tuple(c.name for c in configurators().values() if c.configures and not c.missing)
        named = replace(self, configurators=self.configurators or by)
        jobs = named.jobs()
        for scenario in {job.scenario.set: job.scenario for job in jobs}.values():
            check_fetched(scenario)
        folder = self.results.resolve() / BENCHMARKS / key(named._planned(jobs))
        if not dry:
            named.note()
        submit(
            Submission(folder, self.workers, tuple(extra)),
            named._words(),
            lambda most: named._unfinished(jobs, most),
            dry=dry,
            reported=(self.results / "report.html").exists(),
        )
        if not dry:
            results = shlex.quote(str(self.results))
            say(f"Progress: sparse-aclib status {results}; what the tasks say: {folder}")

    def _words(self) -> list[str]:
        """The command line that makes this benchmark anywhere."""
        by = self.configurators or ("all",)
        budget = ["--full"] if self.trials is None else ["--trials", str(self.trials)]
        return [
            *("benchmark", *self.sets, "--variants", ",".join(self.variants or ("all",))),
            *("--configurators", ",".join(by), *budget, "--seeds", str(self.seeds)),
            *("--validation-seeds", str(self.validation_seeds), "--workers", str(self.workers)),
            *("--results", str(self.results.resolve())),
        ]

    def _unfinished(self, jobs: Sequence[Job], most: int) -> tuple[list[bool], list[bool]]:
        """Of the runs, and of their validation, whether each of at most so many shards is not."""
        number = shares(len(jobs), self.workers, most)
        unfinished = {job.folder for job in jobs if not job.finished}
        runs = [
            any(job.folder in unfinished for job in Shard(i + 1, number).part(jobs))
            for i in range(number)
        ]
        lacks = {
            job.scenario.name
            for job in jobs
            if job.folder in unfinished or lacking(job.scenario, job.folder, self.validation_seeds)
        }
        scenarios = _scenarios(jobs)
        number = shares(len(scenarios), 1, most)
        shards = (Shard(i + 1, number).part(scenarios) for i in range(number))
        return runs, [not lacks.isdisjoint(each) for each in shards]

    def _run(self, jobs: Sequence[Job]) -> dict[Path, str]:
        """The runs that failed, with their last words."""
        for scenario in {job.scenario.set: job.scenario for job in jobs}.values():
            check_fetched(scenario)
        self.note()
        failed: dict[Path, str] = {}
        total = sum(job.trials for job in jobs)
        with bar(f"{len(jobs)} runs, {self.workers} at once", total) as update:
            for done, event in run_jobs(jobs, self.workers, failed):
                update(done, description=event)
        ran = (job for job in jobs if job.folder not in failed)
        trials = [each for job in ran for each in read_lines(job.folder / RUNHISTORY, Numbered)]
        say(f"runs: {health(trials)}")
        return failed

    def note(self) -> Path:
        """Notes for `status` what is planned; returns the folder of the note.

        Another benchmark in the same results has another one.
        """
        return note(self.results, self._planned(self.jobs()))

    def _planned(self, jobs: Sequence[Job]) -> list[Planned]:
        return [Planned(str(job.folder.relative_to(self.results)), job.trials) for job in jobs]

    def _validate(self, jobs: Sequence[Job]) -> None:
        with bar(f"validation of {len(jobs)} runs", None) as update:
            validate(
                [job.folder for job in jobs],
                seeds=self.validation_seeds,
                workers=self.workers,
                progress=update,
                patience=math.inf,
            )
        say(f"validation: {health(validated([job.folder for job in jobs]))}")

    def _report(self, jobs: Sequence[Job], failed: Mapping[Path, str]) -> Path:
        from analysis.report import write_report

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


def _scenarios(jobs: Sequence[Job]) -> list[str]:
    """What is validated at once, by name: runs of a scenario share their trials."""
    return sorted({job.scenario.name for job in jobs})


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
    look_again: dict[Path, float] = {}  # when, at runs that others work on
    with ExitStack() as stack:
        while waiting or under_way:
            for job in list(waiting):
                if len(under_way) == at_once:
                    break
                if time.monotonic() < look_again.get(job.folder, 0.0):
                    continue
                waiting.remove(job)
                if job.finished:
                    finished += job.trials
                elif works_on(job.folder):
                    waiting.append(job)
                    look_again[job.folder] = time.monotonic() + PATIENCE
                    event = f"{job.name} is another process's"
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
    with open(job.folder / OUTPUT, "a") as output:
        process = subprocess.Popen(
            job.command, cwd=ROOT, env=environment(), stdout=output, stderr=output, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _last_words(job: Job) -> str:
    return last_words(job.folder) or "it ended without a word"
