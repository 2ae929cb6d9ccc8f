"""What does evaluating a trial cost beside its training: in a run, and called from outside?

The default RigL configuration of `scenarios/digits/rigl`, with its training budget and with a
budget of one batch, so that the difference is the training, on both engines:

    warm     in a worker, as `sparse-aclib run` evaluates
    served   as the command `./wrappers/target`, answered by the user's server
    cold     as that command without a server, which loads all libraries

Wall-clock and CPU seconds, the latter of all processes that take part. In a process of the caller's
own, without any of that: `target_algorithms.trial.run`, called in-process here for comparison.

    python -m benchmarks.trials --repeats 10
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

from target_algorithms import ROOT
from target_algorithms.contract import Options
from target_algorithms.trial import run
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(
        "| trial | engine | how | median s | min s | max s | CPU s |\n|---|---|---|---|---|---|---|"
    )
    trials = {
        (name, engine): replace(SCENARIO.options, engine=engine, training_samples=samples)
        for engine in ("sparse", "masked")
        for name, samples in (("whole", SCENARIO.options.training_samples), ("one batch", 64))
    }
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(contextlib.closing(WorkerProcess()))
        runtime = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        for (name, engine), options in trials.items():
            trial = trial_of(replace(SCENARIO, options=options), CONFIG, (SCENARIO.training[0], 1))
            serving = partial(servers, runtime)
            for _ in range(2):  # the second that has none starts a server
                call(options, runtime, served=True)
            time.sleep(3.0)  # the server, and what it loads after the first trial that needs torch
            ways: dict[str, tuple[Callable[[], object], Callable[[], list[int]]]] = {
                "in process": (partial(run, trial), list),
                "warm": (partial(worker.run, trial), lambda: [worker.pid]),
                "served": (partial(call, options, runtime, served=True), serving),
                "cold": (partial(call, options, runtime, served=False), list),
            }
            for way, (action, beside) in ways.items():
                print(
                    f"| {name} | {engine} | {way} | {line(action, repeats, beside)} |", flush=True
                )
        for pid in servers(runtime):
            os.kill(pid, 9)


if __name__ == "__main__":
    main()
