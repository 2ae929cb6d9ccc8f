"""Configurators: one file each, found by existing.

A configurator is a module with one function,

    configure(scenario: Scenario, run: Run, *, seed: int) -> None

that asks `run` for trials, names its incumbents and ends by itself or with BudgetExhausted. Given
the same seed and answers it must ask the same trials (that is how an interrupted run goes on). One
that needs more than this project's Python packages may have `available() -> str | None` (None, or
what to install) and `versions() -> dict[str, str]`, for run.json.

`random_search.py` is the template.
"""

import contextlib
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from target_algorithms.errors import BadInput
from wrappers.run import BudgetExhausted, Progress, open_run
from wrappers.scenario import Scenario


def names() -> tuple[str, ...]:
    """All configurators, by file name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """The module of a configurator; BadInput if there is none or it can't run here."""
    if name not in names():
        raise BadInput(f"unknown configurator {name!r}, expected one of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    reason = module.available() if hasattr(module, "available") else None
    if reason:
        raise BadInput(f"{name}: {reason}")
    return module


def missing() -> dict[str, str]:
    """The configurators that can't run here, with what to install."""
    reasons = {}
    for name in names():
        try:
            load(name)
        except BadInput as error:
            reasons[name] = str(error).removeprefix(f"{name}: ")
    return reasons


def execute(
    scenario: Scenario,
    configurator: str,
    seed: int,
    trials: int,
    workers: int,
    results: Path,
    progress: Progress = lambda done: None,
) -> Path:
    """Do a run, or what is left of it, and return its folder."""
    module = load(configurator)
    with open_run(
        results,
        scenario,
        configurator,
        seed=seed,
        trials=trials,
        workers=workers,
        progress=progress,
        versions=module.versions() if hasattr(module, "versions") else None,
    ) as run:
        if not run.finished:
            with contextlib.suppress(BudgetExhausted):
                module.configure(scenario, run, seed=seed)
            run.finish()
    return run.folder
