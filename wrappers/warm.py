"""A warm worker as who asks it sees it: a process behind pipes, here or behind another program.

`python -m wrappers.worker` reads a `Trial` and answers a `Result`, a line of JSON each, wherever it
runs: what starts it elsewhere (`srun`, `ssh`) hands its pipes on. Nothing listens anywhere.
"""

import functools
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Protocol

import msgspec

from sparse_training.errors import BadInput
from target_algorithms.contract import Result, Trial
from wrappers.processes import environment
from wrappers.worker import APART, Checkout, Ready, checkout, could_be_sparse, warn_of_slow_trials

PATIENCE = 300.0
"""Seconds for a worker elsewhere to start; and beyond twice a trial's cutoff (that is evaluated
again once where somebody ends it) for its answer. Who is silent for longer is lost."""

_LOOK = 0.5  # seconds between two looks at whether an answer is still wanted
_LONGEST = 1 << 22  # bytes of a line
_GOODBYE = 5.0  # seconds for a worker elsewhere to end by itself


class WorkerDied(Exception):
    """A worker ended, and not by our hand; the message says how, as far as that is known."""


class Worker(Protocol):
    """Evaluates one trial after the other."""

    def run(self, trial: Trial) -> Result:
        """The result, with the worker's name. Raises WorkerDied; BadInput where none can start."""


@dataclass(frozen=True)
class Start:
    """How the process of a worker is started."""

    words: tuple[str, ...]
    """The command line."""
    environment: Mapping[str, str]
    place: str = ""
    """For people: where it is; empty for a process of our own."""
    advice: tuple[tuple[str, str], ...] = ()
    """What to do where a message of the program that starts it contains a text."""
    otherwise: str = ""
    """What to do where it contains none of them."""
    checkout: Checkout | None = None
    """What it must run, if it is elsewhere; None: what this process does."""


def here() -> Start:
    """A process of our own."""
    return Start((sys.executable, "-m", "wrappers.worker"), environment())


@contextmanager
def processes(starts: Iterable[Start]) -> Iterator[Sequence["WorkerProcess"]]:
    """Workers, each of which starts with its first trial, ended with the block."""
    workers = [WorkerProcess(start) for start in starts]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.hang_up()
        for worker in workers:
            worker.close()


class WorkerProcess:
    """A process that runs `wrappers.worker`, started anew when it dies."""

    def __init__(self, how: Start | None = None) -> None:
        self._how = how or here()
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._messages = _Messages()
        self.ready: Ready | None = None
        """What it said when it was."""

    @property
    def pid(self) -> int:
        """Id of the process that was started here, 0 before."""
        return self._process.pid if self._process else 0

    @property
    def _apart(self) -> bool:
        return bool(self._how.place)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None or self._process.poll() is not None:
            self._read = b""
            self._process = subprocess.Popen(
                self._how.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if self._apart else None,
                env=self._how.environment,
                start_new_session=True,  # Ctrl-C reaches the command, which ends its workers itself
            )
            if self._process.stderr is not None:
                self._messages = _Messages(self._process.stderr)
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a worker without pipes")
        return self._process.stdin, self._process.stdout

    def start(self) -> None:
        """Loads the libraries now; a worker not started by hand starts with its first trial.

        Raises WorkerDied if it was killed meanwhile, BadInput if it cannot begin or is no worker
        whose results belong to ours.
        """
        _, answers = self._pipes()
        strays: list[bytes] = []
        until = time.monotonic() + (PATIENCE if self._apart else math.inf)
        # A login shell may greet on standard output.
        while line := self._line(answers, until, lambda: True):
            with suppress(msgspec.DecodeError):
                self.ready = msgspec.json.decode(line, type=Ready)
                break
            strays.append(line)
        else:
            raise self._no_start(strays, late=time.monotonic() > until)
        self._messages.show()
        if self._apart and (
            differs := difference(self.ready.checkout, self._how.checkout or ours())
        ):
            self.close()
            raise BadInput(f"{self._how.place}: {differs}")

    def run(self, trial: Trial, wanted: Callable[[], bool] = lambda: True) -> Result:
        """Evaluates one trial. Raises WorkerDied, and BadInput as `start` does.

        wanted: whether an answer still is, asked now and then; the worker ends where it is not.
        """
        if self._process is None or self._process.poll() is not None:
            self.start()
        ready = self.ready
        if ready is None:
            raise RuntimeError("a worker that was not ready")
        if ready.no_sparse_engine and could_be_sparse(trial.options):
            where = f"{self._how.place}: " if self._apart else ""
            warn_of_slow_trials(where + ready.no_sparse_engine)
        trials, answers = self._pipes()
        seconds = math.inf
        if self._apart and trial.cutoff is not None:
            seconds = 2 * trial.cutoff + PATIENCE
        try:
            trials.write(msgspec.json.encode(trial) + b"\n")
            trials.flush()
            line = self._line(answers, time.monotonic() + seconds, wanted)
        except (BrokenPipeError, ValueError):  # ended, or closed by the command's end
            line = b""
        if not line:
            raise WorkerDied(self._end())
        result = msgspec.json.decode(line, type=Result)
        return replace(result, worker=f"{ready.node}:{ready.pid}")

    def _line(self, stream: IO[bytes], until: float, wanted: Callable[[], bool]) -> bytes:
        """The next line with its end; empty where there is none in time, or no more."""
        poller = select.poll()
        poller.register(stream, select.POLLIN)
        while b"\n" not in self._read:
            left = until - time.monotonic()
            if not poller.poll(1000 * max(0.0, min(left, _LOOK))):
                if left > 0 and wanted():
                    continue
                return b""
            part = os.read(stream.fileno(), 1 << 16)
            if not part or len(self._read) > _LONGEST:
                return b""
            self._read += part
        line, end, self._read = self._read.partition(b"\n")
        return line + end

    def _no_start(self, strays: Sequence[bytes], *, late: bool) -> Exception:
        """Why there is no worker, as an exception to raise."""
        if not self._apart:
            if self._process is not None and self._process.wait() < 0:  # by a signal
                return WorkerDied(self._end())
            return BadInput(
                "the worker process ended while it was loading its libraries (its messages are "
                "above); try './run_all.sh setup'"
            )
        place = self._how.place
        if late:
            self.close()
            return BadInput(f"{place}: no worker within {PATIENCE:g} s; {self._how.otherwise}")
        code = self._ended()
        if code < 0 or 128 < code < 160:  # by a signal, as shells and srun say
            return WorkerDied(self._end())
        told = self._messages.last() or [
            line.decode(errors="replace").strip() for line in strays if line.strip()
        ]
        self.close()
        every = "\n".join(told)
        do = next((do for text, do in self._how.advice if text in every), self._how.otherwise)
        last = next((line for line in told if _tells(line, self._how.advice)), None)
        last = last or (told[-1] if told else f"it ended with status {code}, silently")
        return BadInput(f"{place}: no worker there ({last}): {do}")

    def _ended(self) -> int:
        """The exit status of the process, once it has closed its answers."""
        process = self._process
        if process is None:
            return 0
        try:
            return process.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _end(self) -> str:
        """How the process ended, which it has done after this."""
        process = self._process
        code = process.poll() if process else None
        self.close()
        told = self._messages.last()
        if told:
            return f"{self._how.place}: {told[-1]}"
        how = signal.strsignal(-code) if code is not None and code < 0 else None
        where = f"{self._how.place}: " if self._apart else ""
        return where + (how or "its connection ended").lower()

    def hang_up(self) -> None:
        """Tells a worker elsewhere to end, and with it a trial under way."""
        process = self._process
        if self._apart and process is not None and process.stdin is not None:
            with suppress(OSError, ValueError):
                process.stdin.close()

    def close(self) -> None:
        """Ends the process and with it a trial under way."""
        process, self._process = self._process, None  # two threads may close at once
        if process is None:
            return
        if self._apart:  # the program between needs a moment to take the other end along
            with suppress(OSError, ValueError):
                if process.stdin is not None:
                    process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GOODBYE)
        process.kill()
        process.wait()


ours = functools.cache(checkout)
"""What this process runs."""


def difference(theirs: Checkout | None, wanted: Checkout) -> str | None:
    """How what a worker elsewhere runs differs from what it should, None if it does not."""
    if theirs is None or theirs.code != wanted.code:
        return (
            "another version of the suite is there than here (its files differ): both need the "
            "same checkout in the same folder"
        )
    for name in sorted(theirs.libraries | wanted.libraries):
        there, here = (each.libraries.get(name, "none") for each in (theirs, wanted))
        if there != here:
            return (
                f"{name} {there} is there and {here} here: both need the same, as "
                "'./run_all.sh setup' installs"
            )
    return None


def apart(words: Sequence[str]) -> tuple[str, ...]:
    """The command line of a worker behind a program's."""
    return (*words, sys.executable, "-m", "wrappers.worker", APART)


def _tells(line: str, advice: Sequence[tuple[str, str]]) -> bool:
    return any(text in line for text, _ in advice)


class _Messages:
    """What a worker elsewhere, and the program before it, print on standard error.

    Held back until the worker is ready, so that no start is one line; then shown.
    """

    def __init__(self, stream: IO[bytes] | None = None) -> None:
        self._kept: deque[str] = deque(maxlen=100)
        self._shown = False
        self._thread = threading.Thread(target=self._follow, args=(stream,), daemon=True)
        self._followed = stream is not None
        if self._followed:
            self._thread.start()

    def _follow(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._kept.append(text)
                if self._shown and text:
                    print(text, file=sys.stderr)

    def show(self) -> None:
        """Shows what is said from now on; what was said before is of no interest any more."""
        self._kept.clear()
        self._shown = True

    def last(self) -> list[str]:
        """What was said last, of a process that has ended."""
        if self._followed:
            self._thread.join(1.0)
        return [line for line in self._kept if line]
