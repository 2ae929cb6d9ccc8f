"""How far the runs in a results folder are, and who works on them; nothing is locked or changed.

A benchmark notes the runs that it plans, so that those that nobody has begun are known as well.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from sparse_training.errors import BadInput
from sparse_training.files import content, write_whole
from wrappers.locks import Owner, seen
from wrappers.records import (
    FILES,
    RUN,
    RUNHISTORY,
    VALIDATION,
    RunInfo,
    from_json,
    read_whole,
    to_json,
)

BENCHMARKS = ".benchmarks"
"""A folder in the results: in it one for each benchmark, with its plan and its jobs."""

PLAN = "plan.json"
OUTPUT = "output.txt"
"""In a run's folder: what its process printed, where a benchmark has started it."""

_ERROR = "sparse-aclib: error: "


@dataclass(frozen=True)
class Planned:
    """A run that a benchmark means to do."""

    folder: str
    """Below the results."""
    trials: int


class State(StrEnum):
    """Of a run."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    """Begun, but nobody works on it: the command that began it goes on with it."""
    WAITING = "waiting"
    """Planned, and not begun."""


@dataclass(frozen=True)
class Progress:
    """Of a run."""

    name: str
    """Its folder below the results."""
    state: State
    done: float
    """Trials recorded, each as its share of the training budget."""
    trials: int | None
    """Its budget; None where it is not known yet."""
    validated: int
    """Trials of its validation recorded."""
    owner: Owner | None
    """Who works on it, or has left it without a word."""
    works: bool
    """Whether the owner is taken to be at work."""
    words: str | None
    """Why it stopped, if it said so."""


@dataclass(frozen=True)
class _Trial:
    """What of a trial counts here."""

    fidelity: float = 1.0


def key(planned: Sequence[Planned]) -> str:
    """What tells a plan from others: 8 hexadecimal digits."""
    return hashlib.sha256(_text(planned).encode()).hexdigest()[:8]


def note(results: Path, planned: Sequence[Planned]) -> Path:
    """Writes down a plan; returns the folder that is this benchmark's own."""
    folder = results / BENCHMARKS / key(planned)
    if not (folder / PLAN).exists():
        write_whole(folder / PLAN, _text(planned))
    return folder


def _text(planned: Sequence[Planned]) -> str:
    ordered = sorted(planned, key=lambda each: each.folder)
    return to_json([vars(each) for each in ordered], indent=1) + "\n"


def progress(results: Path) -> list[Progress]:
    """Of all runs in a folder and in the plans there, sorted.

    Raises BadInput where there is neither, and for a plan that is none.
    """
    planned: dict[str, int] = {}
    for path in sorted((results / BENCHMARKS).glob(f"*/{PLAN}")):
        runs = from_json(content(path), list[Planned], str(path))
        planned |= {each.folder: each.trials for each in runs}
    begun = {
        str(path.parent.relative_to(results))
        for path in results.glob("*/*/*/seed-*/*")
        if path.name in (OUTPUT, *FILES)
    }
    if not planned and not begun:
        raise BadInput(
            f"{results}: no run in it and none planned; 'sparse-aclib run' or 'benchmark' begins"
        )
    return [_of_run(results, name, planned.get(name)) for name in sorted(planned.keys() | begun)]


def _of_run(results: Path, name: str, planned: int | None) -> Progress:
    folder = results / name
    found = seen(folder)
    works = found is not None and found.works
    try:
        info = read_whole(folder / RUN, RunInfo)
    except BadInput:  # not begun, or a fault that 'sparse-aclib check' tells
        info = None
    if info is not None and info.state == "finished":
        state = State.FINISHED
    elif works:
        state = State.RUNNING
    else:
        state = State.STOPPED if folder.is_dir() else State.WAITING
    return Progress(
        name=name,
        state=state,
        done=round(sum(_shares(folder / RUNHISTORY)), 1),
        trials=info.trials if info else planned,
        validated=len(_shares(folder / VALIDATION)),
        owner=found.owner if found and (works or state is State.STOPPED) else None,
        works=works,
        words=_error(folder) if state is State.STOPPED else None,
    )


def last_words(folder: Path) -> str | None:
    """The last line that a run's process printed."""
    try:
        lines = content(folder / OUTPUT).decode(errors="replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1] if lines else None


def _error(folder: Path) -> str | None:
    words = last_words(folder) or ""
    return words.removeprefix(_ERROR) if words.startswith(_ERROR) else None


def _shares(path: Path) -> list[float]:
    """Of the trials in a file, of the training budget; a line that is none does not count."""
    found = []
    try:
        lines = content(path).splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=_Trial).fidelity)
        except msgspec.MsgspecError:  # being written, or a fault that 'sparse-aclib check' tells
            continue
    return found
