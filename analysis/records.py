"""The records of a results folder as data frames; nothing in them is executed or changed.

**Source**: the files of `results/README.md`, one folder `<set>/<variant>/<configurator>/seed-<n>`
a run, read by `wrappers.check`. Every frame begins with the columns `set`, `variant`,
`configurator`, `run_seed`; `run_seed` is the configurator's seed, `seed` that of a single trial.

Runs of a set that differ in scenario, space, instances, data, budget or code are never averaged:
each group of runs that agree takes the place of a set, `digits.1` and `digits.2` in place of
`digits` (`analysis/groups.py`).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from analysis.frames import CASE, RUN, RunKey
from analysis.groups import Facet, partition
from sparse_training.errors import BadInput
from target_algorithms import CHOSEN, Role, variant, variants
from wrappers.check import Recorded, recorded, run_folders
from wrappers.configurators import configurators
from wrappers.records import RUN as RUN_FILE
from wrappers.records import (
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Numbered,
    Record,
    RunInfo,
)
from wrappers.space import Space, read_pcs, variant_space

NEXT_COMMAND = "sparse-aclib run scenarios/SET/VARIANT ('sparse-aclib list' names the scenarios)"
"""What makes a first run, for messages about results that are not there."""


Line = TypeVar("Line", bound=Incumbent | Record)


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, what run.json says of it, and all else that is in it."""

    path: Path
    info: RunInfo
    record: Recorded
    group: int | None = None
    """The number of the runs of its set that it may be averaged with; None where that is all."""

    @property
    def set(self) -> str:
        """The instance set, with the number of its group behind a dot where there are several."""
        return self.info.set if self.group is None else f"{self.info.set}.{self.group}"

    @property
    def key(self) -> RunKey:
        """What names the run; a group of a set stands for a set."""
        return RunKey(self.set, self.info.variant, self.info.configurator, self.info.seed)

    @property
    def facets(self) -> dict[Facet, Hashable]:
        """What its costs depend on, beside chance and the configurator's settings."""
        info, hashes = self.info, self.info.hashes
        found: dict[Facet, Hashable] = {
            Facet("instances"): hashes.instances,
            Facet("scenario", info.variant): hashes.scenario,
            Facet("space", info.variant): hashes.space,
            Facet("code", info.configurator): hashes.configurator,
        }
        found |= {Facet("content", name): sha256 for name, sha256 in hashes.data.items()}
        if self.configures:
            found[Facet("budget")] = info.trials
        codes: dict[Facet, set[str | None]] = {}
        for name, kind in ((RUNHISTORY, Numbered), (VALIDATION, Record)):
            for line in self._lines(name, kind):
                if line.engine is not None:  # a selection runs the code of what it chooses
                    chosen = f"({line.config[CHOSEN]}) " if CHOSEN in line.config else ""
                    whose = f"{info.variant} {chosen}on the {line.engine} engine"
                    codes.setdefault(Facet("code", whose), set()).add(line.code)
        return found | {facet: frozenset(values) for facet, values in codes.items()}

    def _lines(self, name: str, kind: type[Line]) -> Iterator[Line]:
        lines = dict(self.record.files)[name].records.values()
        return (line for line in lines if isinstance(line, kind))

    @property
    def role(self) -> Role:
        """How the variant takes part; where the record is older than roles, as it does today."""
        if self.info.role is None:
            today = variants().get(self.info.variant)
            return Role.COMPETITOR if today is None else today.role
        return Role(self.info.role)

    @property
    def configures(self) -> bool:
        """Whether its configurator tries more than the default; where the record is older than
        this field, whether it does today."""
        if self.info.configures is not None:
            return self.info.configures
        today = configurators().get(self.info.configurator)
        return today is None or today.configures

    @property
    def space(self) -> Space:
        """The parameter space of the run, from its own copy; where it has none, today's.

        Raises BadInput for a variant that is not in this checkout.
        """
        if "params.pcs" in self.info.copies:
            return read_pcs(self.info.copies["params.pcs"], f"{self.path / RUN_FILE}: params.pcs")
        return variant_space(variant(self.info.variant)).fixed(self.info.fixed)


@dataclass(frozen=True, eq=False)
class Frames:
    """All that is recorded in a results folder: what every analysis begins with."""

    folders: tuple[RunFolder, ...]
    """The runs as they were recorded, in the order of `runs`."""
    runs: pd.DataFrame
    """One row a run, those under way too (`state` says so): the fields of run.json, with `role`,
    `configures` and `budget_used` filled in for old records, and the run's `folder`."""
    trials: pd.DataFrame
    """One row a trial of a run, in the order of the file: the fields of runhistory.jsonl."""
    trajectories: pd.DataFrame
    """One row an incumbent, in the order in which they came; the first is the default."""
    validations: pd.DataFrame
    """One row a validated (configuration, instance, seed) of a run; of repeated ones the first."""
    left_out: tuple[str, ...] = field(default=(), kw_only=True)
    """Why runs, or ablations of runs, are not in here: a line for each fault of their records."""

    @property
    def whole_trials(self) -> pd.DataFrame:
        """The trials with the whole training budget: what costs can be compared on."""
        return self.trials[self.trials["fidelity"] == 1]

    def configured(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of runs whose configurator tries more than the default."""
        return frame.merge(self.runs.loc[self.runs["configures"], RUN], on=RUN)


_LAST = {Role.SELECTION: 1, Role.COMBINATION: 2}
"""Those that contain others stand behind them."""


def read(results: Path) -> Frames:
    """The record of a results folder: sets, variants, configurators and seeds in their order,
    selections and combinations behind the variants that they contain.

    A run is in it whole or not at all: one whose record has a fault is left out. Raises BadInput
    where no run is left.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder, expected results; make some: {NEXT_COMMAND}")
    found = [recorded(folder) for folder in run_folders(results) if _is_run(folder, results)]
    if not found:
        raise BadInput(
            f"{results}: no run in it, expected <set>/<variant>/<configurator>/seed-<n>/run.json;"
            f" make one: {NEXT_COMMAND}"
        )
    faults = [fault for each in found for fault in each.faults]
    whole = [RunFolder(r.folder, r.info, r) for r in found if r.info is not None and not r.faults]
    folders = sorted(_grouped(whole), key=lambda f: (_LAST.get(f.role, 0), f.key))
    if not folders:
        more = f" (and {len(faults) - 1} more: 'sparse-aclib check {results}')"
        raise BadInput(faults[0] + more * (len(faults) > 1))
    validations = _lines(folders, VALIDATION, Record)
    return Frames(
        folders=tuple(folders),
        runs=_runs(folders),
        trials=_lines(folders, RUNHISTORY, Numbered),
        trajectories=_lines(folders, TRAJECTORY, Incumbent),
        validations=validations.drop_duplicates(
            [*RUN, "config_id", "instance", "seed"], keep="last", ignore_index=True
        ),
        left_out=(*faults, *(fault for f in folders for fault in f.record.ablation_faults)),
    )


def _grouped(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs with their groups, in the sets whose runs contradict each other."""
    grouped = []
    for name in sorted({folder.info.set for folder in folders}):
        own = sorted((f for f in folders if f.info.set == name), key=lambda f: f.key)
        numbers = partition([folder.facets for folder in own])
        several = max(numbers) > 1
        grouped += [
            replace(folder, group=number) if several else folder
            for folder, number in zip(own, numbers, strict=True)
        ]
    return grouped


def _is_run(folder: Path, results: Path) -> bool:
    """Whether it lies where a run of these results does."""
    return len(folder.relative_to(results).parts) == 4 and folder.name.startswith("seed-")


def _runs(folders: Sequence[RunFolder]) -> pd.DataFrame:
    names = [f.name for f in fields(RunInfo) if f.name not in (*RUN, "seed", "copies")]
    return _frame(
        [*RUN, *names, "folder"],
        (
            folder.key._asdict()
            | _plain(folder.info, names)
            | {"role": str(folder.role), "configures": folder.configures}
            | {"budget_used": folder.info.used}
            | {"folder": str(folder.path)}
            for folder in folders
        ),
    )


def _lines(folders: Sequence[RunFolder], file: str, kind: type[Line]) -> pd.DataFrame:
    """The records of a file of every run, a row each."""
    names = [f.name for f in fields(kind)]
    return _frame(
        [*RUN, *names],
        (
            folder.key._asdict() | _plain(line, names)
            for folder in folders
            for line in dict(folder.record.files)[file].records.values()
        ),
    )


def _plain(record: RunInfo | Incumbent | Record, names: Iterable[str]) -> dict[str, Any]:
    """Fields of a record as a frame holds them: a record within it is a dictionary of what it has
    a value for."""
    values: dict[str, Any] = {}
    for name in names:
        value = getattr(record, name)
        if is_dataclass(value) and not isinstance(value, type):
            value = {part: held for part, held in asdict(value).items() if held is not None}
        values[name] = value
    return values


def _frame(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records([dict(row) for row in rows], columns=list(columns))
    # Without rows nothing says what a column holds, and frames must still merge.
    types = dict.fromkeys(CASE, "str") | {"run_seed": "int64", "cost": "float64"}
    types |= {"configures": "bool", "role": "str", "fidelity": "float64"}
    return frame.astype({name: kind for name, kind in types.items() if name in frame.columns})
