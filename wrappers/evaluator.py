"""Where every trial is evaluated: warm workers behind `submit(trial) -> future`."""

import queue
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from sparse_training.errors import BadInput
from target_algorithms.contract import Result, Trial
from wrappers.executors import Executor
from wrappers.executors.local import Local
from wrappers.records import now
from wrappers.warm import Worker, WorkerDied

LOCAL = Local()


class Lost(BadInput):
    """A trial has twice lost its worker, which says nothing about it: it has no result."""


class Evaluator:
    """`count` workers of an executor; trials start in the order in which they are submitted."""

    def __init__(self, count: int, executor: Executor = LOCAL) -> None:
        self._count, self._executor = count, executor
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._stack = ExitStack()
        self._closed = False
        self.workers: Sequence[Worker] = ()

    def submit(self, trial: Trial) -> Future[Result]:
        """Evaluates one trial, as soon as a worker is free.

        That a worker is killed says nothing about the trial: it is evaluated once more, on another
        worker if one is idle, and then the future raises Lost.
        """
        return self._threads.submit(self._run, trial)

    def _run(self, trial: Trial) -> Result:
        ends: list[str] = []
        for _ in range(2):
            worker = self._idle.get()
            try:
                if self._closed:
                    raise CancelledError
                started = now()
                return replace(worker.run(trial), started=started)
            except WorkerDied as died:
                ends.append(str(died))
            finally:
                self._idle.put(worker)
        if self._closed:
            raise CancelledError
        how = " and ".join(dict.fromkeys(ends))
        raise Lost(
            f"the trial on {trial.instance} with seed {trial.seed} lost its worker twice ({how}), "
            "as happens where memory is short or a machine fails; it has no result, and the same "
            "command goes on"
        )

    def __enter__(self) -> Self:
        self.workers = self._stack.enter_context(self._executor.workers(self._count))
        for worker in self.workers:
            self._idle.put(worker)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stack.close()
