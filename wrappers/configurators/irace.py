"""irace: iterated racing (R's irace 3.5, through rpy2, in a process of its own).

Source: López-Ibáñez et al., "The irace package: Iterated racing for automatic algorithm
configuration", Operations Research Perspectives 3 (2016); the least budget is that of irace 3.5's
`computeMinimumBudget`.
Differs: irace draws its own seeds; here its instances are the run's (instance, seed) pairs in their
order, so that all configurators are evaluated on the same ones. The default configuration is given
to irace as its first. With a budget below irace's least, its races are shortened (see `plan`) and
run.json says so.

`_irace_in_r.py` has the traps of running R inside Python.
"""

import contextlib
import functools
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from sparse_training.errors import BadInput
from wrappers.configurators._irace_box import box, rscript
from wrappers.formats import irace_3_5 as tables
from wrappers.origin import versions_of
from wrappers.processes import ending_with_us
from wrappers.run import Ask, Run
from wrappers.scenario import Scenario
from wrappers.space import Space, canonical

INSTALL = "run 'apt-get install --no-install-recommends r-base-core r-cran-irace'"

Message = dict[str, Any]
_Child = tuple[subprocess.Popen[bytes], Callable[[Message], None], Iterator[Message]]

_IN_R = Path(__file__).with_name("_irace_in_r.py")
"""The other half, which runs R."""

_FIRST_TEST = 5  # irace's default for firstTest and mu


def available() -> str | None:
    """None when irace can be run, else what to do."""
    if importlib.util.find_spec("rpy2") is None:
        return "the package rpy2 is not installed; run './run_all.sh setup'"
    if shutil.which("Rscript") is None:
        return f"R is not installed; {INSTALL}, then './run_all.sh setup'"
    try:
        found = versions()
    except BadInput as error:
        return str(error)
    if "irace" not in found:
        return f"R has no package irace; {INSTALL}, then './run_all.sh setup'"
    return None


@functools.cache
def versions() -> dict[str, str]:
    """The versions of R and of its irace, without what is not installed."""
    if shutil.which("Rscript") is None:
        return {}
    told = rscript(
        "cat(format(getRversion()),"
        " tryCatch(format(packageVersion('irace')), error = function(missing) ''))"
    )
    return versions_of(["rpy2"]) | dict(zip(("R", "irace"), told.stdout.split(), strict=False))


def least_budget(iterations: int, survivors: int, first_test: int) -> int:
    """Trials that irace insists on: `computeMinimumBudget` at its default elitist settings."""
    steps = iterations - 1 if iterations <= 5 else iterations
    return (survivors + 1) * iterations * (first_test + 1 + steps)


def plan(parameters: int, budget: int) -> dict[str, int]:
    """irace's settings that a budget asks to change, for a number of parameters that can vary.

    Nothing where the budget is large enough. Else `firstTest` and `mu`, the pairs that a race sees
    before it drops anything, go from 5 to 2 at most, and then `nbIterations` and `minNbSurvival`,
    to the largest values that fit. Raises BadInput below the least that irace can do.
    """
    most = math.floor(2 + math.log2(parameters))
    if budget >= least_budget(most, most, _FIRST_TEST):
        return {}
    for first_test in range(_FIRST_TEST - 1, 1, -1):
        if budget >= least_budget(most, most, first_test):
            return {"firstTest": first_test, "mu": first_test}
    fitting = [
        (min(iterations, survivors), iterations + survivors, iterations, survivors)
        for iterations in range(2, most + 1)
        for survivors in range(2, most + 1)
        if budget >= least_budget(iterations, survivors, 2)
    ]
    if not fitting:
        raise BadInput(
            f"irace can't work with {budget} trials, it needs {least_budget(2, 2, 2)} at least"
            f" (and {least_budget(most, most, _FIRST_TEST)} at its own settings)"
        )
    *_, iterations, survivors = max(fitting)
    return {"firstTest": 2, "mu": 2, "nbIterations": iterations, "minNbSurvival": survivors}


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Answer irace's requests for trials until it ends; its best of each iteration is incumbent."""
    parameters = sum(len(p.choices) != 1 for p in run.space.parameters)
    settings = plan(parameters, run.budget)
    if settings:
        most = math.floor(2 + math.log2(parameters))
        run.settings({**settings, "least_budget_unchanged": least_budget(most, most, _FIRST_TEST)})
    costs: dict[str, dict[int, float]] = {}

    def evaluate(asked: list[Ask]) -> list[float]:
        answers = run.evaluate_many(asked)
        for ask, cost in zip(asked, answers, strict=True):
            costs.setdefault(canonical(ask.config), {})[ask.pair] = cost
        return answers

    # irace's own first trial is this one; asked again, it is answered from the record.
    default = run.space.default
    run.new_incumbent(default, evaluate([Ask(default, 0)])[0])
    with run.scratch() as place, box(place) as (folder, settings_of_r):
        _write_files(folder, run.space)
        with _child(folder, settings_of_r) as (process, tell, messages):
            start = {
                "folder": str(folder),
                "pairs": min(len(run.pairs), run.budget),
                "budget": run.budget,
                "seed": seed,
                "digits": tables.DIGITS,
                "settings": settings,
            }
            tell(start)
            for message in messages:
                if "evaluate" in message:
                    asked = [
                        Ask(run.space.check(config), pair) for config, pair in message["evaluate"]
                    ]
                    tell({"costs": evaluate(asked)})
                elif "incumbent" in message:
                    config = run.space.check(message["incumbent"])
                    run.new_incumbent(config, fmean(costs[canonical(config)].values()))
                elif "error" in message:
                    raise BadInput(f"irace stopped: {message['error']}")
                else:
                    return
            # irace can end R, and R the process, without a word to us; it has printed one, though.
            raise BadInput(f"irace stopped: {_end(process.wait(), folder / 'output.txt')}")


def _write_files(folder: Path, space: Space) -> None:
    (folder / "parameters.txt").write_text(tables.parameters(space))
    (folder / "forbidden.txt").write_text(tables.forbidden(space))
    (folder / "default.txt").write_text(tables.configurations(space, [space.default]))


@contextmanager
def _child(folder: Path, settings: Mapping[str, str]) -> Iterator[_Child]:
    """The process with R: itself, what tells it something, and what it says until it ends."""
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(
            ending_with_us([sys.executable, str(_IN_R), str(to_parent), str(from_parent)]),
            pass_fds=(to_parent, from_parent),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=settings,
            start_new_session=True,  # Ctrl-C is for the command, which ends this process itself
        )
    os.close(to_parent)
    os.close(from_parent)

    def tell(message: Message) -> None:
        line = json.dumps(message).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # its end shows when it is listened to
            while line:
                line = line[os.write(to_child, line) :]

    try:
        with open(from_child, encoding="utf-8") as lines:
            yield process, tell, map(json.loads, lines)
    finally:
        os.close(to_child)
        process.kill()
        process.wait()


def _end(code: int, output: Path) -> str:
    """How R ended, in one line: by which signal, else what it printed last, an error if any."""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if re.match(r"(\w+)?Error\b", line)]
    told = lines[errors[-1] :] if errors else lines[-3:]
    return " ".join(" ".join(told).split()) or f"its process ended with status {code}, silently"
