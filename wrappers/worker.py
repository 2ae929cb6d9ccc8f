"""A warm worker: loads the target algorithms once, then forks a fresh child for every trial.

The only module of `wrappers` that reaches into `target_algorithms` to run something. A worker is a
process of its own (`python -m wrappers.worker`); it reads one JSON request a line from standard
input and answers one JSON line on standard output:

    {"variant", "options", "instance", "seed", "config", "cutoff", "memory_limit"}  ->  a result

Limits are enforced here, from outside the child: the wall clock (`cutoff`, seconds, counted from
the fork, when all libraries are loaded: a cold and a warm start get the same time to train) and
the resident memory (`memory_limit`, MiB). The child's whole process group is killed when it ends,
however it ends. The child dies with the worker, and the worker with its parent.

Why fork: importing torch costs seconds, a fork milliseconds, and a fresh child carries nothing over
from the trial before. It is safe because this process never runs a parallel operation. A trial on
the truly sparse engine needs no torch, so the worker loads it only when the first one asks for it.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from target_algorithms.errors import BadInput

WORST_COST = 1.0
"""Cost of a trial without a result: every prediction wrong."""

_POLL = 0.02  # seconds between two looks at the child's memory
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1

Result = dict[str, Any]


def failure(status: str, reason: str, **fields: Any) -> Result:
    """The result of a trial that has no cost of its own."""
    return {"status": status, "cost": WORST_COST, "runtime": 0.0, "error": reason, **fields}


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends, or end now if that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _NoTorch:
    """A finder of modules that has no torch: importing it fails at once.

    None in its place in `sys.modules` would do so too, but SciPy looks there for its tensors.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "torch":
            raise ModuleNotFoundError("torch is loaded by the worker", name=name)


def _child(request: Mapping[str, Any], answer: int) -> NoReturn:
    """Run the trial and write what came of it; never returns into the worker's loop."""
    import target_algorithms.trial as trial

    outcome: dict[str, Any]
    loaded = "torch" in sys.modules
    if not loaded:
        sys.meta_path.insert(0, _NoTorch)
    try:
        outcome = {"result": trial.run(request)}
    except BadInput as error:
        outcome = {"abort": str(error)}
    except MemoryError:
        outcome = {"memory": True}
    except Exception as error:  # a fault of the target algorithm, whatever it is, is its result
        if not loaded and isinstance(error, ImportError) and error.name == "torch":
            outcome = {"load": True}
        elif "can't allocate memory" in str(error):
            outcome = {"memory": True}
        else:
            traceback.print_exc()
            last = " ".join(str(error).split())
            outcome = {"crash": f"{type(error).__name__}: {last}"}
    with os.fdopen(answer, "w") as pipe:
        json.dump(outcome, pipe)
    os._exit(0)


def _resident(pid: int) -> int:
    """Resident memory of a process in bytes, 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def run_limited(request: Mapping[str, Any], parent: int | None = None) -> Result:
    """Run one trial in a forked child within its limits.

    `parent`: a file descriptor that hangs up when the process that asked is gone; the child is
    killed then and the worker ends.
    """
    cutoff: float = request["cutoff"]
    limit: int = request["memory_limit"]
    readable, writable = os.pipe()
    start = time.monotonic()
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            die_with(worker)
            os.close(readable)
            _child(request, writable)
        finally:
            os._exit(70)
    os.close(writable)
    with contextlib.suppress(OSError):  # the child does it too: whoever is first
        os.setpgid(pid, pid)

    answer = b""
    stopped: Result | None = None
    poller = select.poll()
    poller.register(readable, select.POLLIN | select.POLLHUP)
    if parent is not None:
        poller.register(parent, select.POLLHUP)
    while True:
        left = start + cutoff - time.monotonic()
        if left <= 0:
            stopped = failure("TIMEOUT", f"stopped at its cutoff of {cutoff:g} s")
            break
        events = dict(poller.poll(1000 * min(left, _POLL)))
        if parent in events and events[parent] & select.POLLHUP:
            os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        if readable in events:
            part = os.read(readable, 1 << 16)
            if not part:
                break
            answer += part
        elif _resident(pid) > limit << 20:
            stopped = failure("TIMEOUT", f"memory limit of {limit} MiB exceeded")
            break
    runtime = time.monotonic() - start
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.close(readable)
    _, code, usage = os.wait4(pid, 0)

    if stopped is None and answer == _LOAD:
        # The trial is on the masked engine: its libraries are loaded here, outside its time.
        problem = _load_torch()
        return run_limited(request, parent) if problem is None else failure("ABORT", problem)
    if stopped is None and usage.ru_maxrss > limit << 10:
        # Between two looks, but over the limit all the same: no trial gets by on being quick.
        stopped = failure("TIMEOUT", f"memory limit of {limit} MiB exceeded")
    elif stopped is None:
        stopped = _outcome(answer, code, limit)
    return stopped | {
        "runtime": min(runtime, cutoff),
        "cpu_time": usage.ru_utime + usage.ru_stime,
        "peak_memory": usage.ru_maxrss / 1024,
    }


def _prepare(instance: str) -> None:
    """Prepare data that come with a package here, at their first use: outside a trial's limits.

    In a process of its own, which keeps what that takes. What goes wrong, the trial will say.
    """
    from target_algorithms import instances

    with contextlib.suppress(BadInput, OSError):
        if instances.prepared(instance) or not instances.at_hand(instance):
            return
        pid = os.fork()
        if pid == 0:
            try:
                instances.load(instance)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


_LOAD = json.dumps({"load": True}).encode()


def _load_torch() -> str | None:
    """Import torch and warm its operations up, once; what prevents it, if something does."""
    import target_algorithms.trial

    try:
        target_algorithms.trial.warm_up("masked")
    except ImportError as error:
        return f"torch cannot be imported ({error}): run './run_all.sh setup'"
    gc.collect()
    gc.freeze()
    return None


def _outcome(answer: bytes, code: int, limit: int) -> Result:
    if not answer:
        end = f"signal {os.WTERMSIG(code)}" if os.WIFSIGNALED(code) else f"exit status {code >> 8}"
        return failure("CRASHED", f"the trial ended without a result ({end})")
    outcome = json.loads(answer)
    if "abort" in outcome:
        return failure("ABORT", outcome["abort"])
    if "crash" in outcome:
        return failure("CRASHED", outcome["crash"])
    if "memory" in outcome:
        return failure("TIMEOUT", f"memory limit of {limit} MiB exceeded")
    return {"status": "SUCCESS", "error": None, **outcome["result"]}


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    # A library that prints must not end up in the answers: they get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end

    import target_algorithms.trial
    from target_algorithms import compiled

    target_algorithms.trial.warm_up("sparse")
    gc.collect()
    gc.freeze()  # the children share these pages as long as nobody writes to them
    print(json.dumps({"ready": os.getpid(), "lost": compiled.available()}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        _prepare(request["instance"])
        print(json.dumps(run_limited(request, parent=0)), file=answers)


if __name__ == "__main__":
    main()
