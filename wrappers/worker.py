"""A warm worker: loads the target algorithms once, then forks a fresh child for every trial.

The only module of `wrappers` that reaches into `target_algorithms` to run something. A worker is a
process of its own (`python -m wrappers.worker`); it reads one `Trial` a line from standard input
and answers one `Result` a line on standard output, both JSON. Its first line is a `Ready`. It may
be on another machine, behind a program that hands its pipes on (`wrappers/executors`).

Limits are enforced here, from outside the child: the wall clock (`cutoff`, seconds, counted from
the fork, when all libraries are loaded: a cold and a warm start get the same time to train) and
the resident memory (`memory_limit`, MiB). The child's whole process group is killed when it ends,
however it ends. The child dies with the worker, and the worker with its parent.

Why fork: importing torch costs seconds, a fork milliseconds, and a fresh child carries nothing over
from the trial before. It is safe because this process has one thread, which is seen to whenever it
has loaded libraries. A trial on the truly sparse engine needs no torch, so the worker loads it only
when the first one asks for it.
"""

import contextlib
import functools
import gc
import math
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import msgspec

from sparse_training.errors import BadInput, OverBudget
from target_algorithms import ROOT, Variant
from target_algorithms.contract import Options, Result, Trained, Trial, failure
from wrappers.processes import ONE_THREAD, die_with, host, isolate

_POLL = 0.02  # seconds between two looks at the child's memory
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP)
"""How a program that is wrong ends itself; any other signal comes from somebody else."""


APART = "apart"
"""The word for a worker that another program starts: its environment, code and libraries may be
others than those of who asks."""

_HANGUP = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
"""Nobody is there to ask any more. Only the second where sshd has made standard input a socket."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """What results depend on, of the code in a folder and the Python that runs it."""

    code: str
    """A fingerprint of its files."""
    libraries: dict[str, str]
    """Versions, Python's among them."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a worker says when its libraries are loaded."""

    pid: int
    no_sparse_engine: str | None
    """Why there is no truly sparse engine here, None if there is."""
    node: str = ""
    """The name of its machine; empty of an older version's, which has to be told from no worker."""
    checkout: Checkout | None = None
    """What it runs, of a worker apart."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What a child says of its trial; one of these is set."""

    trained: Trained | None = None
    abort: str | None = None
    """Why no retry can help."""
    over_budget: str | None = None
    """What of the configuration the scenario's budget does not pay for."""
    crash: str | None = None
    memory: bool = False
    """Whether memory could not be had."""
    wants_torch: bool = False
    """Whether the trial needs torch, which this worker has not loaded."""


@functools.cache
def warn_of_slow_trials(reason: str) -> None:
    """Says once what trials lose."""
    _tell(
        "sparse-aclib: trials use the masked engine, many times as slow as the truly sparse one: "
        f"{reason}"
    )


def _tell(message: str) -> None:
    """Says something on standard error; no trial is lost where that cannot be written to."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr)


def could_be_sparse(options: Options) -> bool:
    """Whether the truly sparse engine may be chosen."""
    return options.hidden is not None and options.engine == "auto"


class _NoTorch:
    """A finder of modules that has no torch: importing it fails at once.

    None in its place in `sys.modules` would do so too, but SciPy looks there for its tensors.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "torch":
            raise ModuleNotFoundError("torch is loaded by the worker", name=name)


def _child(trial: Trial, answer: int) -> NoReturn:
    """Runs the trial and writes what came of it; never returns into the worker's loop."""
    from target_algorithms.trial import run

    os.dup2(2, 1)  # standard output is for answers
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)

    loaded = "torch" in sys.modules
    if not loaded:
        sys.meta_path.insert(0, _NoTorch)
    try:
        outcome = _Outcome(trained=run(trial))
    except OverBudget as error:
        outcome = _Outcome(over_budget=str(error))
    except BadInput as error:
        outcome = _Outcome(abort=str(error))
    except MemoryError:
        outcome = _Outcome(memory=True)
    except Exception as error:  # a fault of the target algorithm, whatever it is, is its result
        if not loaded and isinstance(error, ImportError) and error.name == "torch":
            outcome = _Outcome(wants_torch=True)
        elif "can't allocate memory" in str(error):
            outcome = _Outcome(memory=True)
        else:
            _tell(traceback.format_exc().rstrip())
            last = " ".join(str(error).split())
            outcome = _Outcome(crash=f"{type(error).__name__}: {last}")
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(msgspec.json.encode(outcome))
    os._exit(0)


def _resident(pid: int) -> int:
    """Resident memory of a process in bytes, 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def run_limited(trial: Trial, parent: int | None = None) -> Result:
    """Runs one trial in a forked child within its limits.

    `parent`: a file descriptor that hangs up when the process that asked is gone; the child is
    killed then and the worker ends. A child that somebody else ends (the kernel, when memory is
    short) says nothing about the configuration: it is run once more, and then the answer is ABORT.
    """
    number = 0
    for _ in range(2):
        end = _run_once(trial, parent)
        if isinstance(end, Result):
            return end
        number = end
    return failure(
        "ABORT",
        f"the trial was ended from outside twice ({signal.strsignal(number)}), as the system does "
        "where memory is short: free some or use fewer workers",
    )


def _run_once(trial: Trial, parent: int | None) -> Result | int:
    """What came of the trial, or the signal with which somebody else ended it."""
    cutoff = math.inf if trial.cutoff is None else trial.cutoff
    limit = trial.options.memory_limit
    over_memory = failure("TIMEOUT", f"memory limit of {limit} MiB exceeded")
    readable, writable = os.pipe()
    start = time.monotonic()
    worker = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return failure("ABORT", f"no process for the trial: {error.strerror}")
    if pid == 0:
        try:
            os.setpgid(0, 0)
            die_with(worker)
            os.close(readable)
            _child(trial, writable)
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
        poller.register(parent, _HANGUP)
    try:
        while True:
            left = start + cutoff - time.monotonic()
            if left <= 0:
                stopped = failure("TIMEOUT", f"stopped at its cutoff of {cutoff:g} s")
                break
            events = dict(poller.poll(1000 * min(left, _POLL)))
            if parent in events and events[parent] & _HANGUP:
                os.killpg(pid, signal.SIGKILL)
                os._exit(0)
            if readable in events:
                part = os.read(readable, 1 << 16)
                if not part:
                    break
                answer += part
            elif _resident(pid) > limit << 20:
                stopped = over_memory
                break
    finally:  # whoever ends this process, its trial ends first
        runtime = time.monotonic() - start
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.close(readable)
    _, code, usage = os.wait4(pid, 0)

    outcome = _decoded(answer) if stopped is None else None
    if outcome is not None and outcome.wants_torch:
        # The trial is on the masked engine: its libraries are loaded here, outside its time.
        problem = load_torch()
        return _run_once(trial, parent) if problem is None else failure("ABORT", problem)
    if stopped is None:
        # Over the limit between two looks counts all the same: no trial gets by on being quick.
        over = usage.ru_maxrss > limit << 10 or (outcome is not None and outcome.memory)
        if outcome is None and not over and os.WIFSIGNALED(code):
            if os.WTERMSIG(code) not in _FAULTS:
                return os.WTERMSIG(code)
        stopped = over_memory if over else _result(outcome, code)
    return replace(
        stopped,
        runtime=runtime,
        cpu_time=usage.ru_utime + usage.ru_stime,
        peak_memory=usage.ru_maxrss / 1024,
    )


def _decoded(answer: bytes) -> _Outcome | None:
    """What a child said; None if it ended before it had said it."""
    try:
        return msgspec.json.decode(answer, type=_Outcome)
    except msgspec.DecodeError:
        return None


def _result(outcome: _Outcome | None, code: int) -> Result:
    if outcome is None:
        end = f"signal {os.WTERMSIG(code)}" if os.WIFSIGNALED(code) else f"exit status {code >> 8}"
        return failure("CRASHED", f"the trial ended without a result ({end})")
    if outcome.abort is not None:
        return failure("ABORT", outcome.abort)
    if outcome.crash is not None:
        return failure("CRASHED", outcome.crash)
    return Result(status="SUCCESS", trained=outcome.trained, error=outcome.over_budget)


def prepare(instance: str) -> None:
    """Prepares data that come with a package here, at their first use: outside a trial's limits.

    In a process of its own, which keeps what that takes. What goes wrong, the trial will say.
    """
    from sparse_training.data import instances

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


@functools.cache
def _import(variant: Variant) -> None:
    """Imports a variant of this checkout, once for all of its trials.

    What is wrong with it, or with one from elsewhere, only a trial meets: that has limits.
    """
    if variant.folder.parent == ROOT / "target_algorithms":
        with contextlib.suppress(BadInput):
            _ = variant.compose
            _ready_to_fork()


def load_torch() -> str | None:
    """Imports torch and warms its operations up, once; what prevents it, if something does."""
    from target_algorithms.trial import warm_up

    try:
        warm_up("masked")
    except ImportError as error:
        return f"torch cannot be imported ({error}): run './run_all.sh setup'"
    _ready_to_fork()
    return None


def load() -> None:
    """Loads what trials need, so that it is not on their time."""
    from target_algorithms.trial import warm_up

    warm_up("sparse")
    _ready_to_fork()


def _ready_to_fork() -> None:
    """Prepares this process for its children. Raises RuntimeError where forking is not safe."""
    _check_threads()
    gc.collect()
    gc.freeze()  # the children share these pages as long as nobody writes to them


def _check_threads() -> None:
    """Raises RuntimeError where forking is not safe."""
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        # A lock that another one holds at the fork never opens again in the child.
        raise RuntimeError(
            f"a process that forks trials has {threads} threads, expected 1: a library that it has"
            f" loaded ignores {' and '.join(ONE_THREAD)}"
        )


def run_here(trial: Trial) -> Result:
    """Evaluates one trial from this process, which then ends: how a single call is answered.

    What it needs is imported first, so that it is not on its time; nothing is worth more for one.
    """
    gc.disable()  # in libraries that are being loaded there is nothing to collect
    import target_algorithms.trial  # noqa: F401

    gc.freeze()  # and the trial need not look through them
    gc.enable()
    _check_threads()
    reason = no_sparse_engine()
    if reason and could_be_sparse(trial.options):
        warn_of_slow_trials(reason)
    prepare(trial.instance)
    return run_limited(trial)


def checkout() -> Checkout:
    """What a trial of this process runs."""
    from wrappers import provenance

    return Checkout(code=provenance.whole_checkout(), libraries=provenance.libraries())


def no_sparse_engine() -> str | None:
    """Why there is no truly sparse engine here, None if there is one."""
    from sparse_training.engines import kernels

    return kernels.available()


def main() -> None:
    """Serves trials until the parent closes the pipe."""
    apart = APART in sys.argv[1:]
    if apart:
        isolate(["-m", "wrappers.worker", APART])
    # A library that prints must not end up in the answers: they get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    load()

    def say(what: Ready | Result) -> None:
        try:
            answers.write(msgspec.json.encode(what) + b"\n")
        except BrokenPipeError:  # nobody wants it any more
            os._exit(0)

    ready = Ready(pid=os.getpid(), node=host(), no_sparse_engine=no_sparse_engine())
    if apart:
        ready = replace(ready, checkout=checkout())
        answers.write(b"\n")  # a greeting before it may have had no end
    say(ready)
    for line in sys.stdin.buffer:
        trial = msgspec.json.decode(line, type=Trial)
        prepare(trial.instance)
        _import(Variant(trial.variant, Path(trial.folder)))
        say(run_limited(trial, parent=0))


if __name__ == "__main__":
    main()
