"""Executors: where workers run, a file each, found by existing.

An executor is a small frozen value that makes workers; `executor(rest)` of its module makes it of
what a command line says behind its name (`ssh:HOST,HOST`). Whoever evaluates trials sees only
workers (`wrappers/warm.py`), and what is recorded is the same wherever they are.

    local.py    processes of our own: the default
    srun.py     steps of the SLURM allocation that the command is in
    ssh.py      other hosts
    dask.py     a Dask cluster; imported only when it is asked for
"""

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sparse_training.errors import BadInput
from wrappers.warm import Worker


class Executor(Protocol):
    """Where workers run."""

    def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
        """So many workers for the time of a block. Raises BadInput where there can be none."""


def executor(text: str) -> Executor:
    """An executor from a command line: its name, and behind a colon what it needs to know."""
    name, _, rest = text.partition(":")
    known = sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))
    if name not in known:
        raise BadInput(
            f"unknown executor {text!r}, expected one of {', '.join(known)}; "
            "README.md says how each is written"
        )
    made: Executor = importlib.import_module(f"wrappers.executors.{name}").executor(rest)
    return made
