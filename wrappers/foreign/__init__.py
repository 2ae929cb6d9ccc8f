"""Runs of foreign configurators, made into runs of ours from what they left behind.

A form is a module here with `read(place, scenario) -> Left`: the trials, where the client keeps
them, and the incumbents, where it does. A form that others read has `written(recorded) -> files`,
too: the way out, of any finished run.

    record.py       what ./wrappers/target itself has recorded (SPARSE_ACLIB_RECORD), for any client
    csv.py          a table with a line a trial
    smac3_2.py      SMAC3 2.x: runhistory.json and intensifier.json
    smac3_1.py      SMAC3 1.x: runhistory.json and traj.json
    deepcave.py     the same with a line a configuration, which DeepCAVE reads; outward only
    irace.py        irace's log (.Rdata), which R reads
    smac2.py        SMAC 2.x: its trajectory, beside a record
    paramils.py     ParamILS: its trajectory, beside a record
    gps.py          GPS: its trajectory, beside a record
    _trajectory.py  what the trajectories of the three have in common

What is not known of a trial stays empty. Validation, report and ablation take such a run like any
other; it cannot be resumed, since its configurator is not here.
"""

import json
import math
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sparse_training.errors import BadInput
from sparse_training.files import content, regular, write_together
from target_algorithms.contract import WORST_COST, Details
from wrappers.locks import locked
from wrappers.origin import describe
from wrappers.records import (
    FILES,
    MOST_SEED,
    MOST_TRIALS,
    RUN,
    RUNHISTORY,
    STATUSES,
    TRAJECTORY,
    Incumbent,
    Key,
    Numbered,
    Record,
    RunInfo,
    now,
    numbered,
    plain,
    read_lines,
    read_run,
    to_json,
)
from wrappers.run import run_folder
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, config_id, finite, read_pcs

LARGEST = 1 << 30
"""Bytes of a client's file, which is read whole."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A new incumbent."""

    config: Mapping[str, object]
    """As the client writes it: texts or numbers, inactive parameters among them or not."""
    trial: int | None = None
    """Trials consumed by then; or"""
    seconds: float | None = None
    """the time since the first."""
    estimate: float | None = None
    where: str = "an incumbent"
    """Where it stands, for messages."""


@dataclass(frozen=True)
class Left:
    """What a client left behind."""

    trials: Sequence[Record] = ()
    """In the order in which they were asked for."""
    incumbents: Sequence[Change] = ()


@dataclass(frozen=True)
class Recorded:
    """A finished run, to be written in another form."""

    info: RunInfo
    space: Space
    trials: Sequence[Numbered]
    incumbents: Sequence[Incumbent]


def names(can: str = "read") -> tuple[str, ...]:
    """The forms that can be read, or `written`, as the command line calls them."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"]
    able = (name for name in modules if hasattr(import_module(f"{__name__}.{name}"), can))
    return tuple(sorted(name.replace("_", "-") for name in able))


def read(form: str, place: Path, scenario: Scenario) -> Left:
    """What is there in that form. Raises BadInput for an unknown form and for what is no such."""
    with as_written(str(place), form):
        left: Left = _function(form, "read")(place, scenario)
    return left


def written(form: str, run: Path) -> dict[str, str]:
    """The files of a finished run in that form, by their names. Raises BadInput for other runs."""
    function = _function(form, "written")
    info = read_run(run)
    if info.state != "finished":
        raise BadInput(f"{run}: the run is {info.state}, expected a finished one")
    if "params.pcs" not in info.copies:
        raise BadInput(f"{run}: no copy of its parameter space, which version 0.2 did not keep")
    files: dict[str, str] = function(
        Recorded(
            info,
            read_pcs(info.copies["params.pcs"], f"{run}, params.pcs"),
            read_lines(run / RUNHISTORY, Numbered),
            read_lines(run / TRAJECTORY, Incumbent),
        )
    )
    return files


def _function(form: str, can: str) -> Callable[..., Any]:
    if form not in names(can):
        raise BadInput(f"unknown form {form!r}: expected one of {', '.join(names(can))}")
    function: Callable[..., Any] = getattr(
        import_module(f"{__name__}.{form.replace('-', '_')}"), can
    )
    return function


@contextmanager
def as_written(where: str, by: str) -> Iterator[None]:
    """Has whatever reading trips over be a BadInput that says where, in one line."""
    try:
        yield
    except BadInput:
        raise
    except KeyError as error:
        raise BadInput(f"{where}: no {_shown(error.args[0])}, expected what {by} writes") from error
    except _ODD as error:
        why = f"{type(error).__name__}, {_shown(str(error))}"
        raise BadInput(f"{where}: {why}, expected what {by} writes") from error


_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def whole(value: object, name: str, where: str, *, most: int) -> int:
    """A number from 0 to `most`, of a client's text or number. Raises BadInput that says where."""
    try:
        number = finite(value)
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= most or number != int(number):
        raise BadInput(
            f"{where}: {name} is {_shown(value)}, expected a whole number from 0 to {most}"
        )
    return int(number)


def real(value: object, name: str, where: str) -> float:
    """A number, finite or not, of a client's text or number. Raises BadInput that says where."""
    try:
        if isinstance(value, float) or (isinstance(value, str) and value.lower() in _INFINITE):
            return float(value)
        return finite(value)
    except (ValueError, OverflowError):
        raise BadInput(f"{where}: {name} is {_shown(value)}, expected a number") from None


_INFINITE = ("inf", "-inf", "infinity", "-infinity", "nan")


def time_of(value: object, where: str) -> float:
    """Seconds since the client began. Raises BadInput that says where."""
    seconds = real(value, "the time", where)
    if not 0.0 <= seconds < _LONGEST:
        raise BadInput(f"{where}: the time is {_shown(value)}, expected seconds since the start")
    return seconds


_LONGEST = 1e9
"""Seconds, of 30 years: a client's run took less."""


def _shown(value: object) -> str:
    """A client's value in a message: on the line, and no longer than a word or two."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        text = f"a long {type(value).__name__}"
    return text if len(text) <= _WORD else text[:_WORD] + "..."


_WORD = 60


def known(space: Space, config: Mapping[str, object], where: str) -> Config:
    """The typed configuration of what a client writes; what is inactive, or fixed, is left out.

    Raises BadInput that says where, for what is none of the space.
    """
    if not isinstance(config, Mapping):
        raise BadInput(f"{where}: {_shown(config)}, expected a configuration")
    fixed = {constant.name for constant in space.constants}
    texts = {}
    for name, value in config.items():
        if len(name) > _WORD or not isinstance(value, (str, int, float)):
            raise BadInput(f"{where}: {_shown(name)} is {_shown(value)}, expected a parameter")
        if len(text := str(value)) > _WORD:
            raise BadInput(f"{where}: parameter {_shown(name)} is {_shown(value)}, too long")
        if name not in fixed:
            texts[name] = text
    active = set(space.active(texts)) | (texts.keys() - space.by_name.keys())
    try:
        return space.check({name: text for name, text in texts.items() if name in active})
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error


def trial(
    scenario: Scenario,
    config: Mapping[str, object],
    instance: object,
    seed: object,
    cost: object,
    *,
    status: str = "SUCCESS",
    runtime: object = None,
    fidelity: object = 1.0,
    where: str,
) -> Record:
    """A trial of which a client knows no more. Raises BadInput for what cannot be one.

    seed, cost, runtime, fidelity: as the client has them, text or number.
    """
    typed = known(scenario.space, config, where)
    if not isinstance(instance, str) or not instance:
        raise BadInput(f"{where}: instance is {_shown(instance)}, expected the name of one")
    if status not in STATUSES:
        raise BadInput(
            f"{where}: status is {_shown(status)}, expected one of {', '.join(STATUSES)}"
        )
    error = real(cost, "cost", where)
    if status == "SUCCESS" and not 0.0 <= error <= WORST_COST:
        raise BadInput(f"{where}: cost {error}, expected an error from 0 to {WORST_COST:g}")
    number = whole(seed, "seed", where, most=MOST_SEED)
    share = real(fidelity, "fidelity", where)
    took = None if runtime is None else real(runtime, "runtime", where)
    unknown: dict[str, Any] = dict.fromkeys(_UNKNOWN)
    try:
        return Record(
            config_id=config_id(typed),
            config=typed,
            instance=instance,
            seed=number,
            cutoff=scenario.cutoff,
            fidelity=share,
            status=status,
            cost=error if status == "SUCCESS" else WORST_COST,
            runtime=took,
            **unknown,
            misc=Details(),
        )
    except ValueError as fault:  # BadInput of the record's own, too, which knows of no file
        raise BadInput(f"{where}: {fault}") from fault


_UNKNOWN = (
    *("cpu_time", "active_weights", "weights", "density", "training_flops", "inference_flops"),
    *("peak_memory", "engine", "code", "started", "worker"),
)


def make_run(
    left: Left,
    scenario: Scenario,
    *,
    form: str,
    configurator: str,
    seed: int,
    results: Path,
    trials: int | None = None,
) -> tuple[Path, int]:
    """Writes the folder of a run; returns it, and how many trials are not of it.

    Those are on instances that are none of the scenario's training instances: a client's own
    validation; or they were cut off at another time than the scenario says. Where the client names
    no incumbents, the last one is the configuration on the most pairs that has the lowest mean.
    trials: the budget, if it was more than what was used. Raises BadInput for a folder that has a
    run, and for nothing to make one of.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", configurator):
        raise BadInput(
            f"configurator {configurator!r}: expected a name of letters, digits and underscores"
        )
    folder = run_folder(results, scenario, configurator, seed)
    ours: dict[Key, Record] = {}
    for each in left.trials:
        if each.instance in scenario.training and _as_cut(each, scenario.cutoff):
            ours.setdefault(each.key, replace(each, cutoff=scenario.cutoff))
    if not ours and not left.incumbents:
        raise BadInput(f"no trial on a training instance of {scenario.name} and no incumbent there")
    if len(ours) > MOST_TRIALS:
        raise BadInput(f"{len(ours):,} trials, expected at most the {MOST_TRIALS:,} of a run")
    numbers = [numbered(number, each) for number, each in enumerate(ours.values(), 1)]
    used = math.fsum(each.fidelity for each in numbers)
    budget = max(math.ceil(round(used, 9)), trials or 0, 1)
    info = replace(
        describe(scenario, configurator, True, "imported", seed, budget, 1, {}),
        state="finished",
        trials_used=len(numbers),
        budget_used=plain(used),
        finished=now(),
        settings={"imported": form},
        command=f"sparse-aclib import --from {form} --scenario {scenario.shown} --seed {seed}",
    )
    incumbents = _incumbents(left.incumbents, numbers, scenario.space, info)
    texts = {
        RUNHISTORY: "".join(to_json(each) + "\n" for each in numbers),
        TRAJECTORY: "".join(to_json(each) + "\n" for each in incumbents),
        RUN: to_json(info, indent=1) + "\n",  # last: without it there is no run
    }
    with locked(folder):
        if any(not _as_said(folder / name, texts) for name in FILES if (folder / name).exists()):
            raise BadInput(f"{folder}: there is a run already; give another --seed or --results")
        write_together({folder / name: text for name, text in texts.items()})
    return folder, len({each.key for each in left.trials}) - len(ours)


def _as_said(file: Path, texts: Mapping[str, str]) -> bool:
    """Whether a file is what an import of the same, killed before it had a run.json, has left."""
    of_one = file.name in (RUNHISTORY, TRAJECTORY) and file.is_file()
    return of_one and content(file) == texts[file.name].encode()


def _as_cut(trial: Record, cutoff: float) -> bool:
    """Whether a trial is what it would be under that cutoff. ParamILS computes with its own."""
    if math.isclose(trial.cutoff, cutoff, rel_tol=1e-6):
        return True
    return trial.status == "SUCCESS" and trial.runtime is not None and trial.runtime <= cutoff


def _incumbents(
    changes: Sequence[Change], trials: Sequence[Numbered], space: Space, info: RunInfo
) -> list[Incumbent]:
    """The default, then what the client names, each once in a row.

    Raises BadInput for one of which there is no trial."""
    first = Incumbent(
        trial=0, config_id=config_id(space.default), config=space.default, estimate=None
    )
    found, evaluated = [first], {first.config_id, *(each.config_id for each in trials)}
    for change in changes or _best(trials):
        config = known(space, change.config, change.where)
        if config_id(config) not in evaluated:
            raise BadInput(
                f"{change.where}: configuration {config_id(config)}, expected one of the trials"
            )
        if config_id(config) == found[-1].config_id:
            continue
        at = _consumed(change, trials)
        found.append(
            Incumbent(
                trial=min(max(at, found[-1].trial), info.trials),
                config_id=config_id(config),
                config=config,
                estimate=change.estimate,
            )
        )
    return found


def _consumed(change: Change, trials: Sequence[Numbered]) -> float:
    """Trials consumed when an incumbent came; all of them if that cannot be told."""
    if change.trial is not None:
        shares = [each.fidelity for each in trials[: change.trial]]
        return plain(math.fsum(shares)) if any(share < 1 for share in shares) else change.trial
    begun = [datetime.fromisoformat(each.started).timestamp() for each in trials if each.started]
    if change.seconds is None or len(begun) < len(trials) or not begun:
        return len(trials)
    until = min(begun) + change.seconds
    return sum(each <= until for each in begun)


def _best(trials: Sequence[Numbered]) -> list[Change]:
    """The configuration on the most pairs that has the lowest mean cost there.

    Of the trials with the largest share of the training budget.
    """
    costs: dict[str, list[float]] = {}
    configs: dict[str, Config] = {}
    largest = max((each.fidelity for each in trials), default=1.0)
    for each in (each for each in trials if each.fidelity == largest):
        costs.setdefault(each.config_id, []).append(each.cost)
        configs[each.config_id] = each.config
    most = max(map(len, costs.values()), default=0)
    means = {name: sum(own) / most for name, own in costs.items() if len(own) == most}
    if not means:
        return []
    best = min(means, key=lambda name: means[name])
    estimate = round(means[best], 10)
    return [Change(config=configs[best], trial=len(trials), estimate=estimate, where="the best")]


def text_of(file: Path) -> str:
    """A client's file. Raises BadInput where there is none that can be read, a named pipe too."""
    sized(file)
    try:
        return content(file).decode("utf-8-sig")  # spreadsheets write a mark before the first line
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise BadInput(f"{file}: {why}, expected a file that the client has written") from error


def json_of(text: str, where: str) -> Mapping[str, Any]:
    """The JSON object in a text, NaN and infinite numbers too. Raises BadInput that says where."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: {_shown(str(error))}, expected JSON") from error
    if not isinstance(said, Mapping):
        raise BadInput(f"{where}: {_shown(said)}, expected a JSON object")
    return said


def sized(file: Path) -> None:
    """Raises BadInput for what is no file, or one that no client can have written of a run."""
    try:
        with open(file, "rb", opener=regular) as opened:
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise BadInput(
            f"{file}: {error.strerror}, expected a file that the client has written"
        ) from error
    if size > LARGEST:
        raise BadInput(
            f"{file}: {size:,} bytes, expected at most {LARGEST:,} (a run has at most "
            f"{MOST_TRIALS:,} trials)"
        )


def the_one(place: Path, *patterns: str) -> Path:
    """The file itself, or the only one in a folder that has such a name. Raises BadInput."""
    if not place.is_dir():
        sized(place)
        return place
    found = sorted({file for pattern in patterns for file in place.rglob(pattern)})
    if len(found) != 1:
        several = f"{len(found)} files" if found else "no file"
        raise BadInput(f"{place}: {several} named {' or '.join(patterns)}, expected one")
    sized(found[0])
    return found[0]
