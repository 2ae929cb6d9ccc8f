"""Where every trial is evaluated: warm workers behind `submit(trial) -> future`."""

import os
import queue
import subprocess
import sys
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

import msgspec

from sparse_training.errors import BadInput
from target_algorithms.contract import Result, Trial, failure
from wrappers.processes import environment
from wrappers.records import now
from wrappers.worker import Ready, could_be_sparse, ended_from_outside, warn_of_slow_trials


class WorkerDied(Exception):
    """A worker process ended, and not by our hand."""


class WorkerProcess:
    """A process that runs `wrappers.worker`, started anew when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._no_sparse_engine: str | None = None

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wrappers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(),
                start_new_session=True,  # Ctrl-C reaches the command, which ends its workers itself
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a worker without pipes")
        return self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Process id of the worker, 0 before it is started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Loads the libraries now; a worker not started by hand starts with its first trial."""
        _, answers = self._pipes()
        line = answers.readline()
        if not line:
            if self._process is not None and self._process.wait() < 0:  # by a signal
                self.close()
                raise WorkerDied
            raise BadInput(
                "the worker process ended while it was loading its libraries (its messages are "
                "above); try './run_all.sh setup'"
            )
        self._no_sparse_engine = msgspec.json.decode(line, type=Ready).no_sparse_engine

    def run(self, trial: Trial) -> Result:
        """Evaluates one trial. Raises WorkerDied."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        if self._no_sparse_engine and could_be_sparse(trial.options):
            warn_of_slow_trials(self._no_sparse_engine)
        trials, answers = self._pipes()
        try:
            trials.write(msgspec.json.encode(trial) + b"\n")
            trials.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            raise WorkerDied
        return msgspec.json.decode(line, type=Result)

    def close(self) -> None:
        """Ends the process and with it a trial under way."""
        process, self._process = self._process, None  # two threads may close at once
        if process is not None:
            process.kill()
            process.wait()


class Evaluator:
    """`count` workers; trials start in the order in which they are submitted."""

    def __init__(self, count: int) -> None:
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        self.workers = [WorkerProcess() for _ in range(count)]
        for worker in self.workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._closed = False

    def submit(self, trial: Trial) -> Future[Result]:
        """Evaluates one trial, as soon as a worker is free.

        That a worker is killed says nothing about the trial: it is evaluated once more, on another
        worker process, and then the answer is ABORT.
        """
        return self._threads.submit(self._run, trial)

    def _run(self, trial: Trial) -> Result:
        worker = self._idle.get()
        try:
            for _ in range(2):
                if self._closed:
                    raise CancelledError
                started = now()
                try:
                    result = worker.run(trial)
                except WorkerDied:
                    continue
                name = f"{os.uname().nodename}:{worker.pid}"
                return replace(result, started=started, worker=name)
            return failure("ABORT", f"the worker process {ended_from_outside('killed')}")
        finally:
            self._idle.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            worker.close()
