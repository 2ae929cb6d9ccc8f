"""A benchmark as SLURM's jobs: an array of runs, then one of validations, then the report.

Task i of an array does share i of a benchmark (`benchmark --shard i/n`), the same one whenever the
same command is given, so nothing but the numbers of the shares that are not finished is submitted.
A task that its wall time ends, or whose node is lost, is queued again and goes on. What is decided
here is plain values and texts; `call` alone talks to SLURM.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from wrappers.processes import ONE_THREAD

MOST_TASKS = 1000
"""Of an array, as SLURM is delivered."""

LEAD = 30
"""Seconds before the end of its wall time when a task is told; SLURM may do so a minute earlier."""

_OURS = ("array", "dependency", "job-name", "output", "parsable", "signal", "wait", "wrap")
_OURS_SHORT = "adJoW"

_SCRIPT = """\
#!/bin/bash
# Written by 'sparse-aclib benchmark --slurm'; the same command writes it anew.

# Python's settings of who submitted are for another Python; what follows is the suite's.
for name in "${{!PYTHON@}}"; do unset "$name"; done
{exports}
here=${{SLURMD_NODENAME:-$(hostname)}}
if ! [ -f {proof} ]; then
    echo "$here does not see" {folder}", expected --results that all nodes share" >&2
    exit 2
fi
cd -- {root} || exit

# Shortly before the end of the wall time: trials under way are lost, no others.
ended=
trap 'ended=yes; kill -TERM "$child" 2>/dev/null' USR1
{command} &
child=$!
while wait "$child"; status=$?; [ "$status" -gt 128 ] && kill -0 "$child" 2>/dev/null; do :; done

# Again: what was ended like this, and what another process works on. Not what needs a person.
if [ "$status" = 75 ] || {{ [ "$ended" ] && [ "$status" != 0 ] && [ "$status" != 2 ]; }}; then
    echo "$here: queued again after status $status" >&2
    # By its number in the array: the last task has the array's own id, which means all of it.
    job=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_}}${{SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}}
    exec scontrol requeue "$job"
fi
exit "$status"
"""


@dataclass(frozen=True)
class Stage:
    """One part of a benchmark, as a job."""

    name: str
    """What `benchmark --only` calls it."""
    words: tuple[str, ...]
    """Of the command `sparse-aclib`."""
    shares: int | None
    """How many the part is made of, a task each; None for a job that is no array."""
    tasks: tuple[int, ...]
    """The shares to be submitted, from 1."""


@dataclass(frozen=True)
class Submission:
    """What all stages of a benchmark have in common."""

    folder: Path
    """Of scripts and of what the tasks print; absolute, this benchmark's own."""
    cores: int
    """Of a task."""
    extra: tuple[str, ...]
    """What the user tells sbatch."""

    def job_name(self, stage: str) -> str:
        """What the queue calls a stage."""
        key = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]
        return f"sparse-aclib-{key}-{stage}"

    def script_file(self, stage: Stage) -> Path:
        """Where the script of a stage lies."""
        return self.folder / f"{stage.name}.sh"

    def script(self, stage: Stage, environment: Mapping[str, str]) -> str:
        """The text of a stage's job, for bash."""
        command = shlex.join([sys.executable, "-m", "commands", *stage.words])
        if stage.shares is not None:
            command += f' --shard "$SLURM_ARRAY_TASK_ID"/{stage.shares}'
        return _SCRIPT.format(
            exports=exports(environment),
            proof=shlex.quote(str(self.script_file(stage))),
            folder=shlex.quote(str(self.folder)),
            root=shlex.quote(str(ROOT)),
            command=command,
        )

    def sbatch(self, stage: Stage, after: Sequence[str] = ()) -> list[str]:
        """The command that submits a stage; after: jobs that must have ended, however they did.

        Everything with a path is an argument: a line of the script could not hold every name.
        Raises BadInput for a folder that no pattern of SLURM's can name.
        """
        if "\\" in str(self.folder):  # it would be dropped, and a task's number not be filled in
            raise BadInput(f"{self.folder}: SLURM takes no name with a backslash for what jobs say")
        numbered = stage.shares is not None
        array = [f"--array={ranges(stage.tasks)}"] if numbered else []
        said = f"{self.folder}/{stage.name}".replace("%", "%%") + "-%a" * numbered
        return [
            *("sbatch", "--parsable", f"--job-name={self.job_name(stage.name)}", *array),
            *("--nodes=1", "--ntasks=1", f"--cpus-per-task={self.cores}", "--requeue"),
            *(f"--signal=B:USR1@{LEAD}", "--open-mode=append", f"--chdir={ROOT}"),
            f"--output={said}.txt",
            *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
            *self.extra,
            str(self.script_file(stage)),
        ]

    def check(self) -> list[str]:
        """The command that looks, on two nodes, whether a lock of one holds for the other."""
        return [
            *("srun", *self.extra, f"--job-name={self.job_name('locks')}", "--quiet"),
            *("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=1"),
            *("--time=5", "--immediate=30", "--mpi=none", f"--chdir={ROOT}", "--export=ALL"),
            *(sys.executable, "-m", "wrappers.locks", str(self.folder)),
        ]

    def queue(self) -> list[str]:
        """The command that lists what is queued or under way; `queued` reads it."""
        names = ",".join(map(self.job_name, ("runs", "validation", "report")))
        return [
            *("squeue", "--noheader", "--array", f"--user={os.getuid()}"),
            *(f"--name={names}", "--format=%F|%K|%j"),
        ]


@dataclass(frozen=True)
class Queued:
    """A task that SLURM has not ended."""

    job: str
    task: int | None
    """None of a job that is no array."""
    stage: str


def stages(
    words: Sequence[str],
    runs: Sequence[bool],
    validation: Sequence[bool],
    there: Sequence[Queued],
    *,
    reported: bool,
) -> list[Stage]:
    """What is to be submitted, each part after the one before it.

    words: the command of the whole benchmark; runs, validation: of each share, whether it is not
    finished; there: what is queued already, which is not submitted again, but for parts that must
    come after what is; reported: whether there is a report.
    """
    queue = {(each.stage, each.task) for each in there}

    def left(name: str, unfinished: Sequence[bool], again: bool) -> Stage:
        tasks = (
            i
            for i, is_so in enumerate(unfinished, start=1)
            if is_so and (again or (name, i) not in queue)
        )
        return Stage(name, (*words, "--only", name), len(unfinished), tuple(tasks))

    first = left("runs", runs, again=False)
    second = left("validation", validation, again=bool(first.tasks))
    found = [stage for stage in (first, second) if stage.tasks]
    if found or not (there or reported):
        found.append(Stage("report", (*words, "--only", "report"), None, ()))
    return found


def queued(listed: str) -> list[Queued]:
    """What squeue has listed."""
    found = []
    for line in listed.splitlines():
        match = re.fullmatch(r"(\d+)\|(\d+|N/A)\|sparse-aclib-\w+-(\w+)", line.strip())
        if match:
            job, task, stage = match.groups()
            found.append(Queued(job, int(task) if task.isdecimal() else None, stage))
    return found


def submitted(printed: str) -> str:
    """The job's id, of what sbatch has printed."""
    return printed.strip().splitlines()[-1].split(";")[0]


def most_tasks(configuration: str) -> int:
    """The most tasks of an array, numbered from 1, by what `scontrol show config` says."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", configuration, re.MULTILINE)
    return max(1, int(match[1]) - 1) if match else MOST_TASKS


def shares(things: int, at_once: int, most: int) -> int:
    """Into how many shares things are dealt, so that each keeps its cores busy and none is over."""
    return max(1, min(most, -(-things // at_once)))


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as SLURM reads them: 1-3,7."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def options(text: str) -> tuple[str, ...]:
    """The words of `--sbatch`. Raises BadInput for those that are the command's own."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"--sbatch is {text!r}: {error}") from None
    if words and not words[0].startswith("-"):
        raise BadInput(f"--sbatch begins with {words[0]!r}, expected an option such as --time=2:00")
    for word in words:
        long = re.match(r"--([a-z-]+)(?=$|=)", word)
        short = re.match(rf"-[{_OURS_SHORT}]", word)
        if short or (long and any(name.startswith(long[1]) for name in _OURS)):
            raise BadInput(f"--sbatch has {word!r}, which this command sets itself; leave it out")
    return tuple(words)


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What of a command's environment its jobs must have, whatever SLURM hands on."""
    names = (*ONE_THREAD, "XDG_CACHE_HOME")
    return {
        name: value
        for name, value in sorted(environment.items())
        if name in names
        or name.startswith("PYTHON")
        or (name.startswith("SPARSE_ACLIB_") and name != "SPARSE_ACLIB_COMMAND")
    }


def exports(environment: Mapping[str, str]) -> str:
    """An environment in bash."""
    return "\n".join(f"export {name}={shlex.quote(v)}" for name, v in environment.items())


# SLURM -------------------------------------------------------------------------------------------


def call(words: Sequence[str], *, seconds: float = 120.0) -> str:
    """What one of SLURM's commands prints. Raises BadInput with its words where it fails."""
    try:
        done = subprocess.run(
            words, env=_outside(os.environ), capture_output=True, text=True, timeout=seconds
        )
    except FileNotFoundError:
        raise BadInput(
            f"no {words[0]} on PATH, expected SLURM's, on a machine that may submit; "
            "without SLURM, '--shard i/n' does a share"
        ) from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"{words[0]}: no answer after {seconds:.0f} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = "; ".join(lines[-3:]) or f"status {done.returncode}, without a word"
        raise BadInput(f"{words[0]}: {said}")
    return done.stdout


def _outside(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what a job inside which this is called would hand on to others."""
    if "SLURM_JOB_ID" not in environment:
        return dict(environment)
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {n: v for n, v in environment.items() if n in kept or not n.startswith("SLURM")}


def locks_hold(submission: Submission) -> str:
    """What two nodes say about locks in the folder; raises BadInput where none would hold.

    Says so where it could not be tried: no two nodes were free at once, say.
    """
    try:
        return call(submission.check()).strip() or "locks were not checked: no word from the nodes"
    except BadInput as error:
        if found := re.search(r"locks: (.*?)(; srun: |$)", str(error)):
            raise BadInput(found[1]) from None
        return f"locks between nodes were not checked ({error})"
