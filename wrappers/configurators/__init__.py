"""Configurators: one file each, found by existing.

A configurator is a module with one function,

    configure(scenario: Scenario, run: Run, *, seed: int) -> None

that asks `run` for trials, names its incumbents and ends by itself or with BudgetExhausted. (Where
the space has few configurations, what it leaves of the budget goes to all of them.) Given the same
seed and answers it must ask the same trials (that is how an interrupted run goes on). It
may say more of itself:

    available() -> str | None       None, or what to install for it
    versions() -> dict[str, str]    of the programs that its choices depend on, for run.json
    CONFIGURES = False              it evaluates the default configuration only
    SLOW = True                     it takes longer than its trials: benchmarks begin with it

`random_search.py` is the template, and `hyperband.py` where trials may have a share of the training
budget. One outside this checkout lies in `ROOT/wrappers/configurators/`
of a root in SPARSE_ACLIB_PATH (`target_algorithms`).
"""

import contextlib
import functools
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sparse_training.errors import BadInput
from target_algorithms import ROOT, roots
from wrappers.evaluator import LOCAL
from wrappers.executors import Executor
from wrappers.origin import describe
from wrappers.provenance import configurator_code
from wrappers.records import RunInfo
from wrappers.run import BudgetExhausted, Progress, open_run
from wrappers.scenario import Scenario

TEMPLATE = Path(__file__).with_name("random_search.py")
"""What a new configurator begins with."""

MOST_SEED = 2**31 - 2
"""The largest seed of a run: R's integers go no further."""


@dataclass(frozen=True)
class Configurator:
    """What configures; its module is imported when something of it is asked for."""

    name: str
    file: Path

    @property
    def module(self) -> ModuleType:
        """Raises BadInput for a file that cannot be imported."""
        return _module(self.name, self.file)

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, with what to install; None if it can."""
        reason: str | None = getattr(self.module, "available", lambda: None)()
        return reason

    @property
    def configures(self) -> bool:
        """Whether it tries anything but the default configuration."""
        return bool(getattr(self.module, "CONFIGURES", True))

    @property
    def slow(self) -> bool:
        """Whether it takes longer than its trials."""
        return bool(getattr(self.module, "SLOW", False))

    @property
    def versions(self) -> dict[str, str]:
        """Of the programs that its choices depend on."""
        return dict(getattr(self.module, "versions", dict)())

    def describe(self, scenario: Scenario, *, seed: int, trials: int, workers: int) -> RunInfo:
        """What run.json says of a run at its start."""
        code = configurator_code(self.file)
        return describe(
            scenario, self.name, self.configures, code, seed, trials, workers, self.versions
        )


@functools.cache
def _module(name: str, file: Path) -> ModuleType:
    if file == ROOT / "wrappers" / "configurators" / f"{name}.py":
        return importlib.import_module(f"wrappers.configurators.{name}")
    spec = importlib.util.spec_from_file_location(f"private_configurator_{name}", file)
    if spec is None or spec.loader is None:
        raise BadInput(f"{file} cannot be imported: expected a configurator")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{file} cannot be imported: {type(error).__name__}: {said}") from error
    return module


def configurators() -> dict[str, Configurator]:
    """All configurators by their names, sorted. Raises BadInput for a name that two files have."""
    named: dict[str, Configurator] = {}
    for root in roots():
        for file in sorted((root / "wrappers" / "configurators").glob("[!_]*.py")):
            configurator = Configurator(file.stem, file)
            other = named.setdefault(file.stem, configurator)
            if other != configurator:
                raise BadInput(
                    f"two configurators are called {file.stem}: {other.file} and {file}; rename one"
                )
    return dict(sorted(named.items()))


def configurator(name: str) -> Configurator:
    """A configurator by its name. Raises BadInput if there is none or it cannot run here."""
    existing = configurators()
    if name not in existing:
        raise BadInput(f"unknown configurator {name!r}, expected one of {', '.join(existing)}")
    if existing[name].missing:
        raise BadInput(f"{name}: {existing[name].missing}")
    return existing[name]


def missing() -> dict[str, str]:
    """The configurators that cannot run here, with what to install."""
    return {name: each.missing for name, each in configurators().items() if each.missing}


def execute(
    scenario: Scenario,
    chosen: Configurator,
    *,
    seed: int,
    trials: int,
    workers: int,
    results: Path,
    progress: Progress = lambda done: None,
    anyway: bool = False,
    executor: Executor = LOCAL,
) -> Path:
    """Does a run, or what is left of it, and returns its folder. Raises BadInput."""
    if not 0 <= seed <= MOST_SEED:
        raise BadInput(f"the seed is {seed}, expected an integer from 0 to {MOST_SEED}")
    info = chosen.describe(scenario, seed=seed, trials=trials, workers=workers)
    with open_run(results, scenario, info, progress, anyway=anyway, executor=executor) as run:
        if not run.finished:
            with contextlib.suppress(BudgetExhausted):
                chosen.module.configure(scenario, run, seed=seed)
            if chosen.configures:
                run.try_all()
            run.finish()
    return run.folder
