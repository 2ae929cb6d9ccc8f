"""What does evaluating a trial cost beside its training: in a run, and called from outside?

The default RigL configuration of `scenarios/digits/rigl`, with its training budget and with a
budget of one batch, so that the difference is the training, on both engines:

    warm     in a worker, as `sparse-aclib run` evaluates
    served   as the command `./wrappers/target`, answered by the user's server
    cold     as that command without a server, which loads all libraries

Wall-clock and CPU seconds, the latter of all processes that take part. In a process of the caller's
own, without any of that: `target_algorithms.trial.run`, called in-process here for comparison.

Executors that are named are measured in place of calls, one trial after the other: `srun` in an
allocation, an address of Dask's in a cluster, all on this machine; the processes between count.

    python -m benchmarks.trials --repeats 10
    python -m benchmarks.trials --repeats 50 --executors ssh:localhost dask:tcp://127.0.0.1:8786
    salloc --ntasks=2 python -m benchmarks.trials --repeats 50 --executors srun
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from target_algorithms import ROOT
from target_algorithms.contract import Options, Trial
from target_algorithms.trial import run
from wrappers.evaluator import Evaluator
from wrappers.executors import executor
from wrappers.processes import environment
from wrappers.scenario import read
from wrappers.trials import trial_of
from wrappers.warm import WorkerProcess

SCENARIO = read(ROOT / "scenarios/digits/rigl")
VARIANT = SCENARIO.variant
CONFIG = SCENARIO.space.default
TICK = os.sysconf("SC_CLK_TCK")


def used(pids: list[int]) -> float:
    """CPU seconds of processes and of their children that have ended."""
    seconds = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += sum(map(int, fields[11:15])) / TICK
    return seconds


def line(action: Callable[[], object], repeats: int, beside: Callable[[], list[int]]) -> str:
    """Median and range of wall-clock seconds, and mean CPU seconds; after one call that warms up.

    beside: the processes that work for this one.
    """
    action()
    pids = [os.getpid(), *beside()]
    before, took = used(pids), []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    cpu = (used(pids) - before) / repeats
    wall = f"{statistics.median(took):.3f} | {min(took):.3f} | {max(took):.3f}"
    return f"{wall} | {cpu:.3f}"


def call(options: Options, runtime: str, *, served: bool) -> None:
    """One call of the command."""
    pairs = [word for name, value in CONFIG.items() for word in (f"-{name}", str(value))]
    words = [SCENARIO.training[0], "0", "60", "0", "1", *pairs]
    switch = {"XDG_RUNTIME_DIR": runtime, "SPARSE_ACLIB_SERVER": "on" if served else "off"}
    subprocess.run(
        [sys.executable, str(ROOT / "wrappers/target"), VARIANT.name, *options.words, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment() | switch,
    )


def servers(runtime: str) -> list[int]:
    """The server that has its socket there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if runtime.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def between(worker: str, where: str) -> list[int]:
    """The processes on this machine that hand a trial on to a worker, and itself."""
    it = psutil.Process(int(worker.split(":")[1]))
    own = [child.pid for child in psutil.Process().children(recursive=True)]
    parent = it.parent()  # SLURM's, sshd's or Dask's; or one of ours
    beside = {it.pid, *own, *([parent.pid] if parent else [])} - {os.getpid()}
    port = where.rpartition(":")[2]
    schedulers = {
        each.pid
        for each in (psutil.net_connections("tcp") if port.isdigit() else [])
        if each.pid and each.status == psutil.CONN_LISTEN and each.laddr[1:] == (int(port),)
    }
    return sorted(beside | schedulers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--executors", nargs="*", default=[], metavar="WHERE")
    given = parser.parse_args()
    repeats: int = given.repeats
    print(
        "| trial | engine | how | median s | min s | max s | CPU s |\n|---|---|---|---|---|---|---|"
    )
    trials = {
        (name, engine): replace(SCENARIO.options, engine=engine, training_samples=samples)
        for engine in (("sparse",) if given.executors else ("sparse", "masked"))
        for name, samples in (("whole", SCENARIO.options.training_samples), ("one batch", 64))
    }
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(contextlib.closing(WorkerProcess()))
        elsewhere = {
            where: stack.enter_context(Evaluator(1, executor(where))) for where in given.executors
        }
        runtime = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        for (name, engine), options in trials.items():
            trial = trial_of(replace(SCENARIO, options=options), CONFIG, (SCENARIO.training[0], 1))
            ways: dict[str, tuple[Callable[[], object], Callable[[], list[int]]]] = {
                "in process": (partial(run, trial), list),
                "warm": (partial(worker.run, trial), lambda: [worker.pid]),
            }
            if not elsewhere:
                served = partial(call, options, runtime, served=True)
                for _ in range(2):  # the second that has none starts a server
                    served()
                time.sleep(3.0)  # the server, and what it loads after a trial that needs torch
                ways["served"] = served, partial(servers, runtime)
                ways["cold"] = partial(call, options, runtime, served=False), list
            for where, evaluator in elsewhere.items():

                def there(evaluator: Evaluator = evaluator, trial: Trial = trial) -> str:
                    return evaluator.submit(trial).result().worker

                ways[where] = there, partial(between, there(), where)
            for way, (action, beside) in ways.items():
                print(
                    f"| {name} | {engine} | {way} | {line(action, repeats, beside)} |", flush=True
                )
        for pid in servers(runtime):
            os.kill(pid, 9)


if __name__ == "__main__":
    main()
