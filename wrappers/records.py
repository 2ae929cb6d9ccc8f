"""What is recorded of runs, trials and ablations: typed records, their one writer and one reader.

Files of records only grow, a line each, on the disk before the next one is begun; whatever else is
replaced as a whole. Each record carries a checksum of itself. Reading checks every field; nothing
read is executed. results/README.md is written from the fields here.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from sparse_training.errors import BadInput
from sparse_training.files import content as file_content
from sparse_training.files import naming, write_whole
from target_algorithms import ROOT, Role
from target_algorithms.contract import (
    WORST_COST,
    Details,
    Result,
    Value,
    check_fidelity,
    column,
)
from wrappers.locks import check_held
from wrappers.space import Config, config_id

README = ROOT / "results" / "README.md"

FORMAT = 2
"""Of run.json; 1 is that of version 0.2."""

RUNHISTORY = "runhistory.jsonl"
TRAJECTORY = "trajectory.jsonl"
VALIDATION = "validation.jsonl"
ABLATION = "ablation.json"
ABLATION_TRIALS = "ablation_trials.jsonl"
RUN = "run.json"
FILES = (RUN, RUNHISTORY, TRAJECTORY, VALIDATION, ABLATION, ABLATION_TRIALS)

CHECKSUM = "checksum"
"""The last field of a record as it is written; no record has it as a field of its own."""

MOST_TRIALS = 1_000_000
"""Of a run: its pairs are all made in advance."""

MOST_SEED = 2**32 - 1
"""Of a trial, as its call takes it."""

STATUSES = ("SUCCESS", "TIMEOUT", "CRASHED")
STATES = ("running", "finished")


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# Trials ------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """What is evaluated once in a run: what the cost of a trial depends on."""

    config_id: str
    instance: str
    seed: int
    fidelity: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of validation.jsonl; runhistory.jsonl numbers them (`Numbered`)."""

    config_id: str = column(
        "first 12 hexadecimal digits of the SHA-256 of the configuration as compact JSON with "
        "sorted keys"
    )
    config: Config = column("the active parameters and their values; inactive ones are absent")
    instance: str = column(
        "id of the instance, `source/dataset/fold`, with or without a split of its training part"
    )
    seed: int = column(
        "seed of the trial; runs of a scenario with the same seed `n` share their (instance, seed) "
        "pairs"
    )
    cutoff: float = column("wall-clock limit of the trial", unit="s")
    fidelity: float = column(
        "share of the scenario's training budget that the trial was given, in (0, 1]; 1 in records "
        "before version 0.7",
        default=1.0,
    )
    status: str = column(
        "`SUCCESS`, `TIMEOUT` (over the limit of time or of memory, `misc.error` says which) or "
        "`CRASHED`"
    )
    cost: float = column(
        "what configurators minimise; 1.0 for any other status than `SUCCESS`, for training that "
        "diverged, and where the budget does not pay for the configuration (`misc.error` says so)",
        unit="error",
    )
    runtime: float | None = column("of the trial", unit="s")
    cpu_time: float | None = column("of the trial's processes", unit="s")
    active_weights: int | None = column(
        "most weights that were active at any time of the trial", unit="weights"
    )
    weights: int | None = column(
        "all positions that a mask could activate in the network used", unit="weights"
    )
    density: float | None = column("`active_weights` / `weights`, in (0, 1]")
    training_flops: float | None = column(
        "of the whole training, by the ledger of the suite, counting active weights only",
        unit="FLOPs",
    )
    inference_flops: float | None = column(
        "of one sample through the trained network", unit="FLOPs"
    )
    peak_memory: float | None = column("of the trial's process", unit="MiB")
    engine: str | None = column("what trained: `masked` or `sparse`")
    code: str | None = column(
        "first 12 hexadecimal digits of the SHA-256 of the code that a trial of this variant on "
        "this engine runs, without comments and docstrings; `null` in records of version 0.2",
        default=None,
    )
    started: str | None = column("of the trial", unit="time")
    worker: str | None = column("which worker evaluated it")
    misc: Details = column("what else is known, see below")

    def __post_init__(self) -> None:
        if self.config_id != config_id(self.config):
            raise ValueError(f"config_id {self.config_id} is not that of its configuration")
        if not 0.0 <= self.cost <= WORST_COST:
            raise ValueError(f"cost is {self.cost!r}, expected an error from 0 to 1")
        if self.status not in STATUSES:
            raise ValueError(f"status is {self.status!r}, expected {' or '.join(STATUSES)}")
        if self.status != "SUCCESS" and self.cost != WORST_COST:
            raise ValueError(f"cost is {self.cost} with {self.status}, expected {WORST_COST}")
        if self.seed > MOST_SEED:
            raise ValueError(f"seed is {_short(self.seed)}, expected at most {MOST_SEED}")
        check_fidelity(self.fidelity)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} is {value}, expected a finite number")
            if isinstance(value, (int, float)) and value < 0:
                raise ValueError(f"{field.name} is {_short(value)}, expected at least 0")
        if self.started is not None and not _is_time(self.started):
            raise ValueError(f"started is {self.started[:40]!r}, expected a time such as {now()}")

    @property
    def key(self) -> Key:
        """What was evaluated: configuration, instance, seed, share of the training budget."""
        return Key(self.config_id, self.instance, self.seed, self.fidelity)

    @property
    def over_budget(self) -> bool:
        """Whether the scenario's budget does not pay for the configuration."""
        return self.status == "SUCCESS" and self.misc.error is not None


@dataclass(frozen=True, kw_only=True)
class Numbered(Record):
    """One line of runhistory.jsonl."""

    trial: int = column(
        "number of the trial in the run, from 1; with several workers, lines may be out of order"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(1, self, "trial")


def record(
    config: Config,
    instance: str,
    seed: int,
    cutoff: float,
    result: Result,
    code: str | None,
    fidelity: float = 1.0,
) -> Record:
    """The columns of one trial."""
    trained = result.trained
    return Record(
        config_id=config_id(config),
        config=config,
        instance=instance,
        seed=seed,
        cutoff=cutoff,
        fidelity=fidelity,
        status=result.status,
        cost=result.cost,
        runtime=round(result.runtime, 4),
        cpu_time=round(result.cpu_time, 4),
        active_weights=trained.active_weights if trained else None,
        weights=trained.weights if trained else None,
        density=trained.density if trained else None,
        training_flops=trained.training_flops if trained else None,
        inference_flops=trained.inference_flops if trained else None,
        peak_memory=round(result.peak_memory, 1),
        engine=trained.engine if trained else None,
        code=code,
        started=result.started or None,
        worker=result.worker,
        misc=trained.misc if trained else Details(error=result.error),
    )


def numbered(trial: int, plain: Record) -> Numbered:
    """A record as a line of a runhistory."""
    return Numbered(trial=trial, **{f.name: getattr(plain, f.name) for f in fields(Record)})


def plain(total: Fraction | float) -> float:
    """A sum of shares, which are no exact thirds, as a number; an integer where it comes to one."""
    number = round(float(total), 9)
    return int(number) if number.is_integer() else number


# Runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """One line of trajectory.jsonl."""

    trial: int | float = column(
        "trials consumed when it became the incumbent; one with a share of the training budget"
        " counts as that share",
        unit="trials",
    )
    config_id: str = column("as above")
    config: Config = column(
        "as above; the first line is always the default configuration, the last one the result"
    )
    estimate: float | None = column(
        "the configurator's own estimate on the training pairs that it saw, or `null`",
        unit="error",
    )

    def __post_init__(self) -> None:
        _at_least(0, self, "trial")
        if self.config_id != config_id(self.config):
            raise ValueError(f"config_id {self.config_id} is not that of its configuration")


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """SHA-256 of what a run's trials depend on, beside the code that each record names."""

    scenario: str = column("variant, options and cutoff of the scenario")
    space: str = column("the parameter space")
    instances: str = column("the lists of instances, and their features")
    data: dict[str, str] = column("of each data set its prepared content")
    configurator: str = column("the code that the configurator's choices depend on")
    target_algorithms: str | None = column(
        "in records of version 0.2: all code of the target algorithms", default=None
    )


@dataclass(frozen=True, kw_only=True)
class Product:
    """The suite that made a run."""

    version: str = column("of sparse-aclib")
    commit: str | None = column(
        "of the checkout, with `+` behind it where files differ; `null` outside version control"
    )


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine that a run was begun on."""

    processor: str = column("its name")
    cores: int | None = column("that the system has")
    memory_gib: float = column("of the machine", unit="GiB")
    system: str = column("its name and version")


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """run.json: what was run, how far it is, and all that explains it."""

    format: int = column("of this file; 1 is that of version 0.2", default=1)
    scenario: str = column("`<set>/<variant>`")
    path: str = column("the scenario's folder, relative to the checkout if it is in it")
    set: str = column("the instance set")
    variant: str = column("the target algorithm")
    role: str | None = column(
        "how the variant takes part in a comparison: `competitor`, `baseline`, `reference` "
        "(no rival), `selection` or `combination`; `null` in records of version 0.2",
        default=None,
    )
    configurator: str = column(
        "the configurator; this, the set and the variant agree with the folder"
    )
    configures: bool | None = column(
        "whether the configurator tries anything but the default configuration; `null` in records "
        "of version 0.2",
        default=None,
    )
    seed: int = column("of the configurator; agrees with the folder")
    trials: int = column("budget of the run", unit="trials")
    trials_used: int = column(
        "evaluated in the end, whatever their fidelity; 0 while the run is under way",
        unit="trials",
    )
    budget_used: int | float | None = column(
        "consumed of `trials` in the end, each trial as its share of the training budget; `null`"
        " while the run is under way and before version 0.7, where it is `trials_used`",
        unit="trials",
        default=None,
    )
    workers: int = column("trials evaluated at once")
    state: str = column("`running` or `finished`")
    settings: dict[str, Any] = column(
        "what the configurator set differently from its own defaults, and why"
    )
    fixed: dict[str, Value] = column(
        "parameters that the variant or the scenario's options fix, and their values",
        default_factory=dict,
    )
    hashes: Hashes = column("SHA-256 of what the trials depend on, see below")
    versions: dict[str, str] = column("of Python and of libraries")
    product: Product | None = column(
        "`version` and `commit` of the suite; `null` in records of version 0.2", default=None
    )
    hardware: Hardware = column("`processor`, `cores`, `memory_gib`, `system`")
    command: str = column("the command line")
    started: str = column("when", unit="time")
    finished: str | None = column("when; `null` while the run is under way", unit="time")
    copies: dict[str, str] = column(
        "scenario.txt, training.txt, test.txt, features.csv and params.pcs as they were, so that a "
        "run explains itself; empty in records of version 0.2",
        default_factory=dict,
    )

    def __post_init__(self) -> None:
        if self.role is not None and self.role not in list(Role):
            raise ValueError(f"role is {self.role!r}, expected one of {', '.join(Role)}")
        if self.state not in STATES:
            raise ValueError(f"state is {self.state!r}, expected {' or '.join(STATES)}")
        _at_least(0, self, "seed", "trials_used")
        _at_least(1, self, "trials", "workers")
        if self.trials > MOST_TRIALS:
            raise ValueError(f"trials is {self.trials}, expected at most {MOST_TRIALS:,}")
        if self.used > self.trials:
            name = "trials_used" if self.budget_used is None else "budget_used"
            raise ValueError(f"{name} is {self.used}, expected at most the {self.trials} of trials")

    @property
    def used(self) -> int | float:
        """What is consumed of the budget, in a record of any version."""
        return self.trials_used if self.budget_used is None else self.budget_used


@dataclass(frozen=True, kw_only=True)
class AblationStep:
    """One round of an ablation path."""

    parameters: tuple[str, ...] = column("flipped together, in the order of the space")
    config: Config = column("after the step")
    cost: float = column("its mean error over all pairs", unit="error")
    gain: float = column(
        "error before the step - after it; negative where the best flip made it worse",
        unit="error",
    )
    share: float | None = column("`gain` / (`source_cost` - `target_cost`); `null` if that is 0")
    candidates: int = column("flips compared")
    trials: int = column("evaluated in the round; 0 where costs are predicted", unit="trials")


@dataclass(frozen=True, kw_only=True)
class AblationPath:
    """ablation.json: the way from the default to an incumbent; gains add up to the difference."""

    evaluation: str = column("`trials` or `surrogate`: what the costs are")
    pairs: int = column("(instance, seed) pairs behind each cost; 0 for a surrogate")
    source: Config = column("the default configuration")
    target: Config = column("the final incumbent")
    source_cost: float = column("mean error of `source`", unit="error")
    target_cost: float = column("mean error of `target`", unit="error")
    steps: tuple[AblationStep, ...] = column("in order")


def _is_time(text: str) -> bool:
    """Whether it is a time, ISO 8601 with its zone, which can be compared with others."""
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False


def _short(value: float) -> str:
    """A number in the few digits that a message has room for."""
    return str(value) if abs(value) < 1 << 64 else "a number of more than 64 bits"


def _at_least(least: int, record: object, *names: str) -> None:
    for name in names:
        if (value := getattr(record, name)) < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")


# Reading and writing -----------------------------------------------------------------------------

T = TypeVar("T")


@dataclass(frozen=True)
class Lines(Generic[T]):
    """A .jsonl file as it was found."""

    records: dict[int, T]
    """By the number of the line."""
    faults: tuple[str, ...] = ()
    """What is wrong with each of the other lines, and where."""
    cut: tuple[str, ...] = ()
    """Those of the faults that are the beginning of a line, behind which another writer went on."""
    torn: str | None = None
    """The place of a last line that was being written when its writer was killed."""
    unsealed: tuple[int, ...] = ()
    """Numbers of the lines with a record but no checksum."""


def to_json(value: object, *, indent: int | None = None) -> str:
    """A record as JSON, its checksum last; what is not known of a trial (`misc`) is left out.

    Raises ValueError for numbers that are not finite.
    """
    plain = msgspec.to_builtins(value)
    if isinstance(value, Numbered):
        plain = {"trial": plain.pop("trial"), **plain}
    if isinstance(plain, dict) and isinstance(plain.get("misc"), dict):
        plain["misc"] = {name: v for name, v in plain["misc"].items() if v is not None}
    if is_dataclass(value):
        plain[CHECKSUM] = checksum(plain)
    return json.dumps(plain, allow_nan=False, indent=indent)


def checksum(plain: Mapping[str, Any]) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a record, without its checksum, as compact
    JSON with sorted keys: a changed value changes it, another layout does not."""
    content = {name: value for name, value in plain.items() if name != CHECKSUM}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def from_json(content: str | bytes, kind: type[T], where: str) -> T:
    """The record in a text. Raises BadInput that says where and what is wrong with it."""
    return _decoded(content, kind, where)[0]


def _decoded(content: str | bytes, kind: type[T], where: str) -> tuple[T, bool]:
    """The record in a text, and whether it has a checksum; records of 0.3 and before have none."""
    try:
        record = msgspec.json.decode(content, type=kind)
        plain = msgspec.json.decode(content)
        sealed = CHECKSUM in plain
        if sealed and plain[CHECKSUM] != (actual := checksum(plain)):
            raise ValueError(f"edited: its checksum is {plain[CHECKSUM]!r}, by its values {actual}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split()).removesuffix(" - at `$`")
        kind_of_fault = _Cut if problem == "Input data was truncated" else BadInput
        said = f"{where}: {problem}; expected a record as results/README.md says"
        raise kind_of_fault(said) from None
    return record, sealed


class _Cut(BadInput):
    """What is there is the beginning of something."""


def is_sealed(path: Path) -> bool:
    """Whether the record that a file holds has a checksum. Raises BadInput as `read_whole` does."""
    return CHECKSUM in read_whole(path, dict[str, Any])


def read_whole(path: Path, kind: type[T]) -> T:
    """The record that a file holds. Raises BadInput where there is none, or a wrong one."""
    try:
        content = file_content(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file, expected the record of a run") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    return from_json(content, kind, str(path))


def scan_lines(path: Path, kind: type[T]) -> Lines[T]:
    """All that is in a .jsonl file, whole or not; nothing where there is none."""
    try:
        content = file_content(path)
    except FileNotFoundError:
        return Lines({})
    except OSError as error:
        return Lines({}, (f"{path}: cannot be read ({error.strerror})",))
    records: dict[int, T] = {}
    faults: list[str] = []
    cut: list[str] = []
    unsealed: list[int] = []
    torn: str | None = None
    first_with: dict[object, int] = {}
    *lines, tail = content.split(b"\n")
    for number, line in enumerate([*lines, tail] if tail else lines, start=1):
        where = f"{path}:{number}"
        try:
            record, sealed = _decoded(line, kind, where)
        except BadInput as fault:
            if number > len(lines):
                torn = where
            else:
                faults.append(str(fault))
                cut += [str(fault)] * isinstance(fault, _Cut)
            continue
        if again := _again(record, number, first_with):
            faults.append(f"{where}: {again}")
            continue
        records[number] = record
        if not sealed:
            unsealed.append(number)
    return Lines(records, tuple(faults), tuple(cut), torn, tuple(unsealed))


def _again(record: object, number: int, first_with: dict[object, int]) -> str | None:
    """What a line of a runhistory has that only one may have; notes what it has."""
    if not isinstance(record, Numbered):
        return None
    for name, value in (("trial", record.trial), ("configuration, instance, seed", record.key)):
        first = first_with.setdefault(value, number)
        if first != number:
            shown = tuple(value) if isinstance(value, Key) else value
            return f"the {name} of line {first} again ({shown}), expected each once"
    return None


def read_lines(path: Path, kind: type[T], *, repair: bool = False) -> list[T]:
    """The records of a .jsonl file; [] where there is none.

    A last line without its end is being written, or was when its writer was killed: it is no
    record, unless it lacks nothing else. With `repair`, which is for who holds the run's lock, the
    file is made to end with a whole record, with a word on standard error if that cuts something
    off. Raises BadInput for any other line that is no record of its kind, and for a trial that is
    in a runhistory twice.
    """
    found = scan_lines(path, kind)
    if found.faults:
        raise BadInput(found.faults[0])
    if repair and path.exists():
        _end_with_a_record(path, torn=found.torn is not None)
    return list(found.records.values())


def _end_with_a_record(path: Path, *, torn: bool) -> None:
    content = file_content(path)
    if torn:
        print(f"{path}: dropped a torn last line; its trial is evaluated again", file=sys.stderr)
        os.truncate(path, content.rfind(b"\n") + 1)
    elif content and not content.endswith(b"\n"):
        with open(path, "ab") as file:
            file.write(b"\n")


def append_line(path: Path, value: object) -> None:
    """Adds one record, on the disk when this returns, or nothing if there is no room for it.

    Several processes may do it at once. What another one left that was killed is a line of its own.
    Raises Busy where another process has taken over the folder, which this one had locked.
    """
    check_held(path.parent)
    line = (to_json(value) + "\n").encode()
    with naming(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            with _alone_in(descriptor):
                before = os.fstat(descriptor).st_size
                if before and os.pread(descriptor, 1, before - 1) != b"\n":
                    line = b"\n" + line
                if os.write(descriptor, line) < len(line):
                    os.ftruncate(descriptor, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _alone_in(descriptor: int) -> Iterator[None]:
    """Keeps others who append out of a file; on a file system without locks a line is one write."""
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def write_run(folder: Path, info: RunInfo) -> None:
    """Writes run.json. Raises Busy as `append_line` does."""
    check_held(folder)
    write_whole(folder / RUN, to_json(info, indent=1) + "\n")


def read_run(folder: Path) -> RunInfo:
    """run.json of a run's folder.

    Raises BadInput where there is no readable one, and for a finished run that has lost a file or
    trials since.
    """
    if not folder.is_dir():
        raise BadInput(
            f"{folder}: no such folder, expected a run's such as results/digits/rigl/smac/seed-1"
        )
    info = read_whole(folder / RUN, RunInfo)
    if lost := what_is_lost(folder, info):
        raise BadInput(f"{lost}; make the run anew in another --results folder")
    return info


def what_is_lost(folder: Path, info: RunInfo, trials: int | None = None) -> str | None:
    """What a finished run must have and has no longer, if there is anything.

    trials: whole records in its runhistory; None to count its lines, which is quick.
    """
    if info.state != "finished":
        return None
    if trials is None:
        trials = _count_lines(folder / RUNHISTORY)
    if trials != info.trials_used:
        used = f"the {info.trials_used} of trials_used in {RUN}"
        return f"{folder / RUNHISTORY}: {trials} lines, expected {used}"
    if not _count_lines(folder / TRAJECTORY):
        return f"{folder / TRAJECTORY}: no line, expected at least the default of a finished run"
    return None


def _count_lines(path: Path) -> int:
    """A last line without its end counts: it may lack nothing else."""
    return len(file_content(path).splitlines()) if path.exists() else 0


# Documentation -----------------------------------------------------------------------------------


def documented(kind: type) -> str:
    """The table of a record's fields, as results/README.md has it."""
    rows = ["| field | unit | meaning |", "| --- | --- | --- |"]
    ordered: Sequence[Any] = fields(kind)
    if kind is Numbered:  # its own field comes first
        ordered = sorted(ordered, key=lambda field: field.name != "trial")
    for field in ordered:
        about: Mapping[str, str] = field.metadata
        rows.append(f"| `{field.name}` | {about['unit']} | {about['doc']} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """results/README.md with the table of each record behind the comment with the record's name."""
    kinds: tuple[type, ...] = (
        *(Numbered, Details, Incumbent, RunInfo, Hashes, Product, Hardware),
        *(AblationPath, AblationStep),
    )
    for kind in kinds:
        place = f"<!-- {kind.__name__} -->\n"
        before, comment, after = text.partition(place)
        if not comment:
            raise BadInput(f"results/README.md: no {place.strip()}, expected it above a table")
        text = before + place + documented(kind) + re.sub(r"\A(\|.*\n)*", "", after)
    return text


if __name__ == "__main__":
    write_whole(README, page(README.read_text(encoding="utf-8")))
