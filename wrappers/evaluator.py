"""Where every trial is evaluated: a pool of warm workers behind `submit(request) -> Future`."""

import functools
import json
import os
import queue
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from target_algorithms.errors import BadInput
from wrappers.files import now
from wrappers.options import Options
from wrappers.worker import Result, failure

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: scenario files name their paths from here."""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


def environment() -> dict[str, str]:
    """Environment of every process of a run: one thread, this checkout's code, fixed hashes.

    Text hashes are salted by process; SMAC's choices depend on the order of its sets. The safe
    path keeps modules of the folder that a command is called in out of the libraries' way.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    fixed = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
    }
    return os.environ | _ONE_THREAD | fixed


def request(
    variant: str,
    options: Options,
    instance: str,
    seed: int,
    config: Mapping[str, object],
    cutoff: float,
) -> dict[str, Any]:
    """What a worker needs for one trial, as JSON types."""
    return {
        "variant": variant,
        "options": options.request,
        "instance": instance,
        "seed": seed % 2**32,  # SMAC 2 sends -1 for a deterministic scenario
        "config": dict(config),
        "cutoff": cutoff,
        "memory_limit": options.memory_limit,
    }


@functools.cache
def _warn_of_slow_trials(reason: str) -> None:
    print(
        f"sparse-aclib: trials use the masked engine, many times as slow as the truly sparse one: "
        f"{reason}",
        file=sys.stderr,
    )


class Worker:
    """One worker process (`wrappers.worker`), started anew when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lost: str | None = None  # why there is no truly sparse engine here

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wrappers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
                start_new_session=True,  # Ctrl-C reaches the command, which ends its workers itself
            )
        assert self._process.stdin and self._process.stdout
        return self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Process id of the worker, 0 before it is started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Load the libraries now; a worker not started by hand starts with its first trial."""
        _, answers = self._pipes()
        line = answers.readline()
        if not line:
            raise BadInput(
                "the worker process ended while it was loading its libraries (its messages are "
                "above); try './run_all.sh setup'"
            )
        self._lost = json.loads(line)["lost"]

    def run(self, request: Mapping[str, Any]) -> Result:
        """Evaluate one trial; a worker that dies costs this trial, not the run."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        options = request["options"]
        if self._lost and "hidden" in options and options.get("engine", "auto") == "auto":
            _warn_of_slow_trials(self._lost)
        requests, answers = self._pipes()
        try:
            print(json.dumps(request), file=requests, flush=True)
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            return failure("CRASHED", "the worker process died")
        result: Result = json.loads(line)
        return result

    def close(self) -> None:
        """End the process and with it a trial under way."""
        process, self._process = self._process, None  # two threads may close at once
        if process is not None:
            process.kill()
            process.wait()


class Workers:
    """`count` workers; trials start in the order in which they are submitted."""

    def __init__(self, count: int) -> None:
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._all = [Worker() for _ in range(count)]
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._closed = False

    def submit(self, request: Mapping[str, Any]) -> Future[Result]:
        """Evaluate one trial (`wrappers.worker` says what a request holds)."""
        return self._threads.submit(self._run, request)

    def _run(self, request: Mapping[str, Any]) -> Result:
        worker = self._idle.get()
        try:
            if self._closed:
                raise CancelledError
            started = now()
            result = worker.run(request)
            name = f"{os.uname().nodename}:{worker.pid}"
            return result | {"started": started, "worker": name}
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
        for worker in self._all:
            worker.close()
