"""How processes of the suite start, in an environment of their own, and end with their parents.

Of the standard library only, and imported before anything else: what a user's Python settings
could replace must not be needed to be rid of them.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from target_algorithms import ROOT

_PR_SET_PDEATHSIG = 1

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""What keeps numerical libraries from starting threads."""

_OF_CODE = ("*.py", "*.pcs", "*.c", "target")

_STARTED = "SPARSE_ACLIB_COMMAND"
"""Holds the process that was replaced already, whatever a script in Python's place sets anew."""


def environment() -> dict[str, str]:
    """Environment of every process of a run: one thread, this checkout's code, fixed hashes.

    Python's settings are ours alone: modules on a user's PYTHONPATH, or another Python's, would
    get in the way of the libraries, and so would modules of the folder that a command is called in
    (hence the safe path). Text hashes are salted by process; SMAC's choices depend on the order of
    its sets. What wrappers/target does for its own process is the same.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    fixed = {
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
    }
    return kept | ONE_THREAD | fixed


def host() -> str:
    """This machine's name; the node's where a batch system has one of its own for it."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


PATHS = ("SPARSE_ACLIB_DATA", "SPARSE_ACLIB_PATH", "XDG_CACHE_HOME")
"""Settings that name folders on which a trial depends."""


def travelling() -> dict[str, str]:
    """What of our environment a worker on another machine needs, beside what `environment` sets.

    Folders are absolute: it starts in another one.
    """
    told = {}
    for name in PATHS:
        if folders := [each for each in os.environ.get(name, "").split(os.pathsep) if each]:
            told[name] = os.pathsep.join(str(Path(each).absolute()) for each in folders)
    if compiler := os.environ.get("CC"):
        told["CC"] = compiler
    return told


def isolate(words: Sequence[str]) -> None:
    """Replaces this process by Python on the words in that environment, unless it has it.

    Standard streams that the caller has closed are opened: the next pipe would be given their
    numbers.
    """
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if os.environ != environment() and os.environ.get(_STARTED) != str(os.getpid()):
        started = {_STARTED: str(os.getpid())}  # a process that is replaced keeps its number
        os.execve(sys.executable, [sys.executable, *words], environment() | started)


def code() -> dict[str, tuple[int, int]]:
    """Time and size of every file that a trial may run or read, here and in private roots."""
    private = os.environ.get("SPARSE_ACLIB_PATH", "").split(os.pathsep)
    roots = [ROOT, *(Path(root).absolute() for root in private if root)]
    files = {
        str(file)
        for root in roots
        for folder in ("sparse_training", "target_algorithms", "wrappers")
        for pattern in _OF_CODE
        for file in (root / folder).rglob(pattern)
    }
    return {file: stamp(file) for file in files}


def stamp(file: str) -> tuple[int, int]:
    """Of a file that is gone: zeros."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def die_with(parent: int) -> None:
    """Has this process killed when its parent ends, or ends it now if that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def ending_with_us(words: Sequence[str]) -> list[str]:
    """A command line that does what the words do, and is killed when this process ends."""
    return [sys.executable, "-m", "wrappers.processes", str(os.getpid()), *words]


if __name__ == "__main__":
    die_with(int(sys.argv[1]))  # which holds for the program that takes this one's place
    os.execvp(sys.argv[2], sys.argv[2:])
