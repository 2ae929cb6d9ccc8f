"""What is wrong with recorded runs: missing, doubled, edited, torn or mixed, each with its place.

`Recorded` is a run's folder as it was found; its `faults` make it useless for any comparison, and
the report leaves it out. `check` looks further, within each run and across all of them. Nothing is
changed.
"""

import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from sparse_training.errors import BadInput
from sparse_training.files import LEFT_OVER
from target_algorithms import CHOSEN
from wrappers.origin import product, stated
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    FILES,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    AblationPath,
    Incumbent,
    Lines,
    Numbered,
    Record,
    RunInfo,
    is_sealed,
    read_whole,
    scan_lines,
    what_is_lost,
)
from wrappers.scenario import Scenario, read
from wrappers.space import Config, Space, config_id, read_pcs


@dataclass(frozen=True)
class Recorded:
    """The record of a run as it was found. Made by `recorded`."""

    folder: Path
    info: RunInfo | None
    """None where there is no readable one; `faults` says why."""
    trials: Lines[Numbered]
    incumbents: Lines[Incumbent]
    validated: Lines[Record]
    ablated: AblationPath | None
    ablation_trials: Lines[Record]
    faults: tuple[str, ...]
    """Why nothing can be concluded from the run."""
    ablation_faults: tuple[str, ...]
    """Why nothing can be concluded from its ablation."""

    @property
    def of_trials(self) -> Iterator[tuple[str, Lines[Record] | Lines[Numbered]]]:
        """The files of trials, by name."""
        yield from ((RUNHISTORY, self.trials), (VALIDATION, self.validated))
        yield ABLATION_TRIALS, self.ablation_trials

    @property
    def files(self) -> Iterator[tuple[str, Lines[Record] | Lines[Numbered] | Lines[Incumbent]]]:
        """The files of lines, by name."""
        yield from self.of_trials
        yield TRAJECTORY, self.incumbents

    @cached_property
    def space(self) -> Space | None:
        """Of the run's own copy; None in records of version 0.2, or where it cannot be read."""
        try:
            return None if self.info is None else read_pcs(self.info.copies["params.pcs"], "")
        except (BadInput, KeyError):
            return None

    def place(self, file: str, line: int | None = None) -> str:
        """Where something was found, for messages."""
        return f"{self.folder / file}" + (f":{line}" if line else "")


def run_folders(results: Path) -> list[Path]:
    """The folders with any file of a run in or below the folder given, sorted."""
    return sorted({path.parent for name in FILES for path in results.rglob(name)})


def recorded(folder: Path) -> Recorded:
    """All that is in a run's folder."""
    faults: list[str] = []
    ablation_faults: list[str] = []

    info = _whole(folder / RUN, RunInfo, faults)
    trials = scan_lines(folder / RUNHISTORY, Numbered)
    incumbents = scan_lines(folder / TRAJECTORY, Incumbent)
    validated = scan_lines(folder / VALIDATION, Record)
    faults += [*trials.faults, *incumbents.faults, *validated.faults]
    if info is not None:
        name = (info.set, info.variant, info.configurator, f"seed-{info.seed}")
        if folder.absolute().parts[-4:] != name:
            called = "/".join(name)
            faults.append(f"{folder / RUN}: record of {called}, expected it in a folder so called")
        elif info.scenario != f"{info.set}/{info.variant}":
            expected = f"{info.set}/{info.variant}, its set and variant"
            faults.append(f"{folder / RUN}: scenario is {info.scenario}, expected {expected}")
        if lost := None if faults else what_is_lost(folder, info, trials=len(trials.records)):
            faults.append(lost)

    ablation_trials = scan_lines(folder / ABLATION_TRIALS, Record)
    ablation_faults += ablation_trials.faults
    has_path = (folder / ABLATION).exists()
    ablated = _whole(folder / ABLATION, AblationPath, ablation_faults) if has_path else None
    if ablated is not None and len(incumbents.records):
        path = list(incumbents.records.values())
        for end, mine, theirs in (
            ("source", ablated.source, path[0].config),
            ("target", ablated.target, path[-1].config),
        ):
            if mine != theirs:
                ablation_faults.append(
                    f"{folder / ABLATION}: {end} is {config_id(mine)}, expected"
                    f" {config_id(theirs)} of {TRAJECTORY}"
                )
    run = Recorded(
        folder=folder,
        info=info,
        trials=trials,
        incumbents=incumbents,
        validated=validated,
        ablated=None if ablation_faults else ablated,
        ablation_trials=ablation_trials,
        faults=tuple(faults),
        ablation_faults=tuple(ablation_faults),
    )
    # A wrong first or last incumbent makes every number of the run wrong.
    return replace(run, faults=(*faults, *_no_default(run), *_strangers(run)))


T = TypeVar("T")


def _whole(path: Path, kind: type[T], faults: list[str]) -> T | None:
    """The record of a file, or None and a fault more."""
    try:
        return read_whole(path, kind)
    except BadInput as fault:
        faults.append(str(fault))
        return None


def check(results: Path) -> tuple[list[Recorded], list[str]]:
    """All runs in or below a folder, and a line for everything that is wrong with them.

    Raises BadInput where there is no such folder or no run.
    """
    runs = [recorded(folder) for folder in run_folders(results)]
    if not runs:
        raise BadInput(f"{results}: no run in it; 'sparse-aclib run' makes one")
    found = [line for run in runs for line in _of_run(run)]
    found += [*_equal_trials(runs), *_siblings(runs)]
    for path in sorted(results.rglob(LEFT_OVER)):
        if path.is_file():
            found.append(f"{path}: left over from a process that was killed; delete it")
    return runs, found


# Within a run ------------------------------------------------------------------------------------


def _of_run(run: Recorded) -> Iterator[str]:
    yield from (*run.faults, *run.ablation_faults)
    for name, lines in run.files:
        if lines.torn:
            yield f"{lines.torn}: a torn last line; {_WHOLE_LINES}"
        if name != TRAJECTORY and not (run.folder / name).exists() and _is_due(run, name):
            yield f"{run.folder / name}: no such file; {_WHOLE_LINES}"
    yield from _unsealed(run)
    yield from _order(run)
    yield from _mixed(run)
    yield from _configurations(run)
    yield from _incumbents(run)
    yield from _validations(run)
    yield from _ablation(run)
    yield from _origin(run)


_ROUNDING = 1e-6  # of sums of shares
_WHOLE_LINES = "expected whole records, a line each"


def _is_due(run: Recorded, file: str) -> bool:
    return file == ABLATION_TRIALS and run.ablated is not None and run.ablated.pairs > 0


def _unsealed(run: Recorded) -> Iterator[str]:
    """Records without a checksum beside others that have one: somebody has taken it away."""
    sealed = run.info is not None and is_sealed(run.folder / RUN)
    own = [lines for name, lines in run.files if name in (RUNHISTORY, TRAJECTORY)]
    if run.info is not None and not sealed and any(_some_sealed(lines) for lines in own):
        yield f"{run.place(RUN)}: no checksum, expected one as in the lines of the run"
    if sealed and run.ablated is not None and not is_sealed(run.folder / ABLATION):
        yield f"{run.place(ABLATION)}: no checksum, expected one as in {RUN}"
    for name, lines in run.files:
        if sealed or _some_sealed(lines):
            for line in lines.unsealed:
                yield f"{run.place(name, line)}: no checksum, expected one as in the others"


def _some_sealed(lines: Lines[Record] | Lines[Numbered] | Lines[Incumbent]) -> bool:
    return len(lines.unsealed) < len(lines.records)


def _order(run: Recorded) -> Iterator[str]:
    """Numbers that are not in order, or leave gaps in a finished run."""
    if run.info is None:
        return
    expected = 1
    for line, trial in run.trials.records.items():
        if run.info.workers == 1 and trial.trial != expected:
            yield f"{run.place(RUNHISTORY, line)}: trial {trial.trial}, expected {expected}"
        expected = trial.trial + 1
    numbers = {trial.trial for trial in run.trials.records.values()}
    shares = [trial.fidelity for trial in run.trials.records.values()]
    charged = sum(shares)
    if charged > run.info.trials + _ROUNDING:
        yield f"{run.place(RUNHISTORY)}: {charged:g} trials' worth, expected {run.info.trials}"
    most = run.info.trials_used
    if run.info.state != "finished":
        most = math.floor(run.info.trials / min(shares, default=1.0) + _ROUNDING)
    if strange := sorted(number for number in numbers if number > most):
        yield f"{run.place(RUNHISTORY)}: trial {strange[0]}, expected numbers up to {most}"
    used = run.info.budget_used
    if used is not None and abs(used - charged) > _ROUNDING:
        yield f"{run.place(RUN)}: budget_used is {used:g}, expected the {charged:g} of its trials"
    if run.info.state == "finished" and run.info.finished is None:
        yield f"{run.place(RUN)}: state is finished and finished is null, expected its time"
    if run.info.state == "running" and run.info.trials_used:
        used = run.info.trials_used
        yield f"{run.place(RUN)}: trials_used is {used}, expected 0 of a run that is under way"


def _mixed(run: Recorded) -> Iterator[str]:
    """Trials that are there twice, or by other code, or with another cutoff, than the first."""
    first: dict[object, tuple[object, str]] = {}
    for name, lines in run.of_trials:
        seen: dict[object, int] = {}
        for line, record in lines.records.items():
            place = run.place(name, line)
            before = seen.get(record.key)
            if before is not None and lines.records[before].status != "CRASHED":  # else a retry
                yield f"{place}: the configuration, instance, seed of line {before} again"
            seen[record.key] = line
            values: list[tuple[object, str, object]] = [("cutoff", "cutoff", record.cutoff)]
            if record.engine is not None:
                # A selection runs the code of whatever it chooses.
                ran = (record.engine, record.config.get(CHOSEN))
                what = f"code of the {record.engine} engine"
                values.append((ran, what, record.code))
            for key, what, value in values:
                expected, where = first.setdefault(key, (value, place))
                if value != expected:
                    yield f"{place}: {what} is {value}, expected {expected} as in {where}"


def _configurations(run: Recorded) -> Iterator[str]:
    """Configurations that are not of the run's space, and instances not of its lists."""
    if run.info is None or run.space is None:
        return
    seen: set[str] = set()
    found: list[tuple[str, int, str, Config]] = []
    for name, lines in run.of_trials:
        found += [(name, n, each.config_id, each.config) for n, each in lines.records.items()]
    for n, each in run.incumbents.records.items():
        found.append((TRAJECTORY, n, each.config_id, each.config))
    for name, line, identity, config in found:
        if identity in seen:
            continue
        seen.add(identity)
        try:
            run.space.check(config)
        except ValueError as error:
            yield f"{run.place(name, line)}: not of the run's space: {error}"
    instances = {
        RUNHISTORY: "training.txt",
        VALIDATION: "test.txt",
        ABLATION_TRIALS: "training.txt",
    }
    for name, lines in run.of_trials:
        known = set(run.info.copies.get(instances[name], "").splitlines())
        for line, record in lines.records.items():
            if known and record.instance not in known:
                place = run.place(name, line)
                yield f"{place}: instance {record.instance}, expected one of {instances[name]}"


def _no_default(run: Recorded) -> Iterator[str]:
    """A trajectory that does not begin with the default."""
    default = None if run.space is None else config_id(run.space.default)
    for line, each in list(run.incumbents.records.items())[:1]:
        if default not in (None, each.config_id):
            place = run.place(TRAJECTORY, line)
            yield f"{place}: configuration {each.config_id}, expected the default, {default}"


def _incumbents(run: Recorded) -> Iterator[str]:
    """Incumbents that the run never evaluated, or that are out of order."""
    evaluated = {trial.config_id for trial in run.trials.records.values()}
    default = None if run.space is None else config_id(run.space.default)
    before: float = 0
    previous = ""
    for position, (line, each) in enumerate(run.incumbents.records.items()):
        place = run.place(TRAJECTORY, line)
        if position and each.config_id not in evaluated | {default}:
            yield f"{place}: configuration {each.config_id}, expected one of {RUNHISTORY}"
        if each.trial < before:
            yield f"{place}: trial {each.trial}, expected at least {before} of the line before"
        if each.config_id == previous:
            yield f"{place}: configuration {each.config_id} again, expected another incumbent"
        if run.info is not None and each.trial > run.info.trials:
            yield f"{place}: trial {each.trial}, expected at most {run.info.trials}"
        before, previous = each.trial, each.config_id


def _strangers(run: Recorded) -> Iterator[str]:
    """Validations of what is no incumbent."""
    incumbents = {each.config_id for each in run.incumbents.records.values()}
    for line, record in run.validated.records.items():
        if record.config_id not in incumbents:
            place = run.place(VALIDATION, line)
            yield f"{place}: configuration {record.config_id}, expected one of {TRAJECTORY}"


def _validations(run: Recorded) -> Iterator[str]:
    """Incumbents validated on fewer pairs than others."""
    incumbents = {each.config_id for each in run.incumbents.records.values()}
    pairs: dict[str, set[tuple[str, int]]] = {}
    for record in run.validated.records.values():
        if record.config_id in incumbents:
            pairs.setdefault(record.config_id, set()).add((record.instance, record.seed))
    everywhere = set().union(*pairs.values())
    for identity in sorted(incumbents) if pairs else ():
        if missing := everywhere - pairs.get(identity, set()):
            instance, seed = min(missing)
            yield (
                f"{run.place(VALIDATION)}: configuration {identity} lacks {len(missing)} of"
                f" {len(everywhere)} (instance, seed) pairs, such as {instance}, {seed};"
                f" 'sparse-aclib validate {run.folder}' adds them"
            )


def _ablation(run: Recorded) -> Iterator[str]:
    """Sums and means of a path that do not come out."""
    path, place = run.ablated, run.place(ABLATION)
    if path is None:
        return
    end = path.steps[-1].config if path.steps else path.source
    if end != path.target:
        yield f"{place}: its last step ends at {config_id(end)}, expected {config_id(path.target)}"
    cost = path.source_cost
    for number, step in enumerate(path.steps, start=1):
        if not math.isclose(step.gain, cost - step.cost, abs_tol=1e-9):
            gain = cost - step.cost
            yield f"{place}: the gain of step {number} is {step.gain}, expected {gain} by the costs"
        cost = step.cost
    costs: dict[str, list[float]] = {}
    for record in run.ablation_trials.records.values():
        costs.setdefault(record.config_id, []).append(record.cost)
    configs = [("source_cost", path.source, path.source_cost)]
    configs += [("target_cost", path.target, path.target_cost)]
    for name, config, stated_cost in configs if path.pairs else ():
        own = costs.get(config_id(config), [])
        if len(own) != path.pairs:
            yield f"{run.place(ABLATION_TRIALS)}: {len(own)} trials behind {name}, expected" + (
                f" {path.pairs}"
            )
        elif not math.isclose(stated_cost, sum(own) / len(own), abs_tol=1e-9):
            mean = sum(own) / len(own)
            yield f"{place}: {name} is {stated_cost}, expected {mean}, the mean of its trials"


def _origin(run: Recorded) -> Iterator[str]:
    """Hashes that are not those of the copies beside them."""
    scenario = _copied(run)
    if run.info is None or scenario is None:
        return
    for name, value in stated(scenario).items():
        if value != (told := getattr(run.info.hashes, name)):
            place = run.place(RUN)
            yield f"{place}: hashes.{name} is {told[:12]}, expected {value[:12]} of the copies"


_COPIES = {
    "paramfile": "params.pcs",
    "instance_file": "training.txt",
    "test_instance_file": "test.txt",
    "feature_file": "features.csv",
}
"""Of the files that a scenario names by these keys."""


def _copied(run: Recorded) -> Scenario | None:
    """The scenario of the copies in run.json; None where this version cannot make it of them."""
    info, today = run.info, product()
    if info is None or info.product is None or info.product.version != today.version:
        return None
    named = re.findall(r"^(\w+) *= *(\S+)$", info.copies.get("scenario.txt", ""), re.M)
    with tempfile.TemporaryDirectory() as root:
        texts = {path: info.copies.get(_COPIES[key], "") for key, path in named if key in _COPIES}
        texts[f"scenarios/{info.scenario}/scenario.txt"] = info.copies.get("scenario.txt", "")
        try:
            for path, text in texts.items():
                file = (Path(root) / path).resolve()
                if not file.is_relative_to(Path(root).resolve()):
                    return None
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return read(Path(root) / "scenarios" / info.scenario)
        except (BadInput, OSError, ValueError):
            return None


# Across runs -------------------------------------------------------------------------------------


def _equal_trials(runs: Iterable[Recorded]) -> Iterator[str]:
    """Trials that are the same in everything that counts, and have not the same cost.

    Costs may differ between processors and versions of libraries, and a trial near its limits ends
    by chance: such trials are not the same.
    """
    first: dict[object, tuple[float, str]] = {}
    for run in runs:
        if run.info is None:
            continue
        hashes, versions = run.info.hashes, run.info.versions
        machine = (run.info.hardware.processor, versions.get("torch"))
        same = (run.info.scenario, hashes.scenario, tuple(sorted(hashes.data.items())), *machine)
        for name, lines in run.of_trials:
            for line, record in lines.records.items():
                if record.status != "SUCCESS" or record.code is None:
                    continue
                key = (*same, *record.key, record.code, record.cutoff)
                place = run.place(name, line)
                cost, where = first.setdefault(key, (record.cost, place))
                if cost != record.cost:
                    yield f"{place}: cost is {record.cost}, expected {cost} as in {where}"


def _siblings(runs: Iterable[Recorded]) -> Iterator[str]:
    """Runs of one scenario that do not depend on the same."""
    first: dict[object, tuple[str | Mapping[str, str], Path]] = {}
    for run in runs:
        if run.info is None:
            continue
        for name in ("scenario", "space", "instances", "data", "configurator"):
            of = run.info.configurator if name == "configurator" else ""
            value = getattr(run.info.hashes, name)
            key = (run.folder.absolute().parents[2], run.info.scenario, name, of)
            expected, where = first.setdefault(key, (value, run.folder))
            if value != expected:
                yield f"{run.place(RUN)}: hashes.{name} differs from that of {where}"
