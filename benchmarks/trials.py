"""What does evaluating a trial cost beside its training, warm and cold?

The default RigL configuration of `scenarios/digits/rigl`, with its training budget and with a
budget of one batch, so that the difference is the training: on both engines, in a warm worker (how
`sparse-aclib run` evaluates) and as the command `./wrappers/target` (how a foreign configurator
does, which loads torch each time for the masked engine and not at all for the sparse one).

    python -m benchmarks.trials --repeats 10
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from target_algorithms import ROOT
from target_algorithms.contract import Options
from wrappers.evaluator import WorkerProcess
from wrappers.processes import environment
from wrappers.scenario import read
from wrappers.trials import trial_of

SCENARIO = read(ROOT / "scenarios/digits/rigl")
VARIANT = SCENARIO.variant
CONFIG = SCENARIO.space.default


def seconds(action: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of each call, after one that is not counted."""
    action()
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    return took


def cold(options: Options) -> None:
    """One call of the command."""
    pairs = [word for name, value in CONFIG.items() for word in (f"-{name}", str(value))]
    call = [SCENARIO.training[0], "0", "60", "0", "1", *pairs]
    subprocess.run(
        [sys.executable, str(ROOT / "wrappers/target"), VARIANT.name, *options.words, *call],
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print("| trial | engine | how | median s | min s | max s |\n|---|---|---|---|---|---|")
    trials = {
        (name, engine): replace(SCENARIO.options, engine=engine, training_samples=samples)
        for name, samples in (("whole", SCENARIO.options.training_samples), ("one batch", 64))
        for engine in ("sparse", "masked")
    }
    with contextlib.closing(WorkerProcess()) as worker:
        for (name, engine), options in trials.items():
            trial = trial_of(replace(SCENARIO, options=options), CONFIG, (SCENARIO.training[0], 1))
            ways: dict[str, Callable[[], object]] = {
                "warm": partial(worker.run, trial),
                "cold": partial(cold, options),
            }
            for way, action in ways.items():
                took = seconds(action, repeats)
                print(
                    f"| {name} | {engine} | {way} | {statistics.median(took):.3f} |"
                    f" {min(took):.3f} | {max(took):.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
