"""The records of a results folder as tidy frames; nothing is executed or changed.

**Source**: the files of `results/README.md`, one folder `<set>/<variant>/<configurator>/seed-<n>`
a run, read by `wrappers.records`. Every frame begins with the columns `set`, `variant`,
`configurator`, `run_seed`; `run_seed` is the configurator's seed, `seed` that of a single trial.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from sparse_training.errors import BadInput
from target_algorithms import Role, variant, variants
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
    read_lines,
    read_run,
)
from wrappers.space import Space, read_pcs, variant_space

RUN = ["set", "variant", "configurator", "run_seed"]
"""The columns that name a run, first in every frame."""

NEXT_COMMAND = "sparse-aclib run scenarios/digits/rigl --configurator random_search --seed 1"
"""What makes a first run, for messages about results that are not there."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and what run.json says of it."""

    path: Path
    info: RunInfo

    @property
    def key(self) -> dict[str, Any]:
        """The columns of `RUN`."""
        info = self.info
        return dict(zip(RUN, (info.set, info.variant, info.configurator, info.seed), strict=True))

    @property
    def role(self) -> Role:
        """How the variant takes part; where the record is older than roles, as it does today."""
        if self.info.role is not None:
            return Role(self.info.role)
        today = variants().get(self.info.variant)
        return Role.COMPETITOR if today is None else today.role

    @property
    def configures(self) -> bool:
        """Whether its configurator tries more than the default, as far as this checkout knows."""
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


def run_folders(results: Path) -> list[RunFolder]:
    """The runs of a results folder, by set, variant, configurator and number of the seed.

    Raises BadInput for a record that cannot be read or that lies in a folder of another name.
    """
    if not results.is_dir():
        raise BadInput(f"{results}: no such folder, expected results; make some: {NEXT_COMMAND}")
    folders = []
    for path in results.glob("*/*/*/seed-*/run.json"):
        folder = RunFolder(path.parent, read_run(path.parent))
        *names, seed = folder.key.values()
        named = [*names, f"seed-{seed}"]
        if list(path.parent.relative_to(results).parts) != named:
            raise BadInput(
                f"{path}: record of {'/'.join(map(str, named))}, expected it in a folder so called"
            )
        folders.append(folder)
    return sorted(folders, key=lambda folder: tuple(folder.key.values()))


def runs(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a run: the fields of run.json, `role`, `configures` and its `folder`.

    Runs that are under way are in it (`state` says so).
    """
    shown = [f.name for f in fields(RunInfo) if f.name not in (*RUN, "seed", "copies")]
    return _frame(
        [*RUN, *shown, "folder"],
        (
            folder.key
            | {name: _plain(getattr(folder.info, name)) for name in shown}
            | {
                "role": str(folder.role),
                "configures": folder.configures,
                "folder": str(folder.path),
            }
            for folder in folders
        ),
    )


def trials(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a trial of a runhistory, in the order of the file."""
    return _lines(folders, RUNHISTORY, Numbered)


def trajectories(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row an incumbent, in the order in which they came; the first is the default."""
    return _lines(folders, TRAJECTORY, Incumbent)


def validations(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a validated (configuration, instance, seed) of a run; of repeated ones the first."""
    frame = _lines(folders, VALIDATION, Record)
    keys = [*RUN, "config_id", "instance", "seed"]
    return frame.drop_duplicates(keys, keep="first", ignore_index=True)


Line = TypeVar("Line", Numbered, Incumbent, Record)


def _lines(folders: Sequence[RunFolder], file: str, kind: type[Line]) -> pd.DataFrame:
    names = [field.name for field in fields(kind)]

    def rows() -> Iterator[dict[str, Any]]:
        for folder in folders:
            for record in read_lines(folder.path / file, kind):
                yield folder.key | {name: _plain(getattr(record, name)) for name in names}

    return _frame([*RUN, *names], rows())


def _plain(value: Any) -> Any:
    """A record's field as a frame holds it: records within it as dictionaries."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: part for name, part in asdict(value).items() if part is not None}
    return value


def _frame(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records([dict(row) for row in rows], columns=list(columns))
    # Without rows nothing says what a column holds, and frames must still merge.
    types = dict.fromkeys(RUN[:3], "str") | {"run_seed": "int64", "cost": "float64"}
    types |= {"configures": "bool", "role": "str"}
    return frame.astype({name: kind for name, kind in types.items() if name in frame.columns})
