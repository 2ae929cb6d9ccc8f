"""Workers as steps of the SLURM allocation that the command is in, on any of its nodes.

One processor each. What a worker prints and reads goes through `srun`; the trial's limits are its
own, as everywhere. A node of the allocation that fails takes the job along, as SLURM has it.
"""

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sparse_training.errors import BadInput
from wrappers.processes import environment
from wrappers.warm import Start, Worker, apart, processes

WAIT = 10
"""Seconds to wait for a processor: the step of a worker that was killed takes some to end."""

STEP = (
    *("srun", "--quiet", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--exact", "--mem=0"),
    *("--unbuffered", "--mpi=none", "--export=ALL", "--input=all", "--output=all"),
    f"--immediate={WAIT}",
)
"""`--mem=0`: the job's memory is shared, where the first step would have all of it."""

_NOT_OURS = ("SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK", "SLURM_TRES_PER_TASK")
"""Of the job, which does not hold for a step of one processor."""

_FULL = "its other processors are taken: give fewer --workers, or ask for a larger allocation"
ADVICE = (
    ("Requested nodes are busy", _FULL),
    ("Unable to create step", _FULL),
    ("Unable to confirm allocation", "the allocation is over: begin another one"),
    ("Unable to contact slurm controller", "SLURM does not answer: try later"),
    ("No such file or directory", "the checkout and its .venv must be in the same folder there"),
    ("No module named", "the checkout and its .venv must be in the same folder there"),
)


@dataclass(frozen=True)
class Srun:
    """The allocation."""

    def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
        """See `Executor`."""
        job = os.environ.get("SLURM_JOB_ID")
        if not job:
            raise BadInput(
                "executor 'srun' outside an allocation (no SLURM_JOB_ID): call the command in "
                f"'salloc --ntasks={count}' or in a script of 'sbatch'"
            )
        if shutil.which("srun") is None:
            raise BadInput("executor 'srun': no program srun in PATH, expected SLURM's")
        most = processors(os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
        if most is not None and count > most:
            raise BadInput(
                f"{count} workers in job {job} with {most} processors: "
                f"give --workers {most}, or ask for --ntasks={count}"
            )
        kept = {name: value for name, value in environment().items() if name not in _NOT_OURS}
        start = Start(apart(STEP), kept, f"job {job}", ADVICE, "'srun hostname' must work here")
        return processes(start for _ in range(count))


def processors(said: str) -> int | None:
    """Processors of an allocation by SLURM_JOB_CPUS_PER_NODE (`4(x2),2`), None if it is another.

    >>> processors("4(x2),2")
    10
    """
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in said.split(",")]
    if not all(parts):
        return None
    return sum(int(part[1]) * int(part[2] or 1) for part in parts if part)


def executor(rest: str) -> Srun:
    """Raises BadInput for more than the name."""
    if rest:
        raise BadInput(f"executor 'srun:{rest}', expected 'srun'")
    return Srun()
