"""One run of a configurator on a scenario: its budget, its trials, its record.

Recording happens here, where trials are evaluated, so that every configurator gets a runhistory for
nothing. A run that was killed goes on by *replay*: the configurator starts again with the same seed
and the trials in the record answer at once; only what is missing is evaluated. That asks one thing
of a configurator: given its seed and the answers, it always asks the same trials.

`results/README.md` documents the files.
"""

import fcntl
import hashlib
import itertools
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from target_algorithms.errors import BadInput
from target_algorithms.instances import at_hand, parse
from target_algorithms.instances import sha256 as data_sha256
from target_algorithms.stored import data_directory
from wrappers.evaluator import ROOT, Workers, request
from wrappers.files import append_line, now, read_lines, write_whole
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, config_id
from wrappers.worker import Result

Pair = tuple[str, int]
"""An instance and a seed: what a configuration is evaluated on."""

_LIBRARIES = ("torch", "numpy", "ConfigSpace", "smac", "scikit-learn", "rpy2", "mlxtend")
Progress = Callable[[int], None]
"""Told the number of trials done so far."""

_ASKED_AGAIN = 50  # a configurator that asks this many times its budget for known trials is stuck


class BudgetExhausted(Exception):
    """The run's budget of trials is used up; a configurator lets it through."""


class Stopped(BadInput):
    """A trial answered ABORT: no further trial can work either."""


def derived_seed(*key: object) -> int:
    """A seed in [0, 2**31) that depends on nothing but the key, in any process."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def training_pairs(scenario: Scenario, seed: int, trials: int) -> tuple[Pair, ...]:
    """The (instance, seed) pairs of all runs with this seed, whatever the configurator.

    Blocks that hold every training instance once, in an order of their own, with one seed a block;
    as many blocks as a single configuration could use up the budget with.
    """
    order = random.Random(derived_seed("order", scenario.name, seed))
    pairs: list[Pair] = []
    while len(pairs) < trials:
        block = derived_seed("train", scenario.name, seed, len(pairs))
        instances = list(scenario.training)
        order.shuffle(instances)
        pairs += [(instance, block) for instance in instances]
    return tuple(pairs)


def validation_pairs(scenario: Scenario, seeds: int) -> tuple[Pair, ...]:
    """Test instances with seeds that no run trains with, the same for every run of a scenario."""
    return tuple(
        (instance, derived_seed("validate", scenario.set, k))
        for k in range(seeds)
        for instance in scenario.test
    )


def record_of(config: Config, pair: Pair, cutoff: float, result: Result) -> dict[str, Any]:
    """The columns of one trial, as results/README.md documents them."""
    instance, seed = pair
    return {
        "config_id": config_id(config),
        "config": config,
        "instance": instance,
        "seed": seed,
        "cutoff": cutoff,
        "status": result["status"],
        "cost": result["cost"],
        "runtime": round(result["runtime"], 4),
        "cpu_time": round(result.get("cpu_time", 0.0), 4),
        "active_weights": result.get("active_weights"),
        "weights": result.get("weights"),
        "density": result.get("density"),
        "training_flops": result.get("training_flops"),
        "inference_flops": result.get("inference_flops"),
        "peak_memory": round(result.get("peak_memory", 0.0), 1),
        "engine": result.get("engine"),
        "started": result["started"],
        "worker": result["worker"],
        "misc": result.get("misc", {}) | ({"error": result["error"]} if result["error"] else {}),
    }


class Trials:
    """Evaluates (configuration, instance, seed) triples of one scenario on a pool of workers."""

    def __init__(self, scenario: Scenario, workers: Workers) -> None:
        self._scenario, self._workers = scenario, workers

    def evaluate(
        self, asked: Sequence[tuple[Config, Pair]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Positions and records of the triples, each as soon as it is done.

        Raises Stopped when one answers ABORT.
        """
        scenario = self._scenario
        under_way = {
            self._workers.submit(
                request(scenario.variant, scenario.options, *pair, config, scenario.cutoff)
            ): (position, config, pair)
            for position, (config, pair) in enumerate(asked)
        }
        try:
            for future in as_completed(under_way):
                position, config, pair = under_way[future]
                result = future.result()
                if result["status"] == "ABORT":
                    raise Stopped(f"{scenario.name}, instance {pair[0]}: {result['error']}")
                yield position, record_of(config, pair, scenario.cutoff, result)
        finally:
            for future in under_way:
                future.cancel()


class Run:
    """What a configurator sees of its run. Made by `open_run`."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        about: dict[str, Any],
        workers: Workers,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.scenario = scenario
        self.space: Space = scenario.space
        self.budget: int = about["trials"]
        """Trials that the run may use."""
        self.workers: int = about["workers"]
        """Trials that can be evaluated at once."""
        self.pairs = training_pairs(scenario, about["seed"], self.budget)
        self._about = about
        self._trials = Trials(scenario, workers)
        self._recorded: dict[tuple[str, str, int], Result] = {}
        self._numbers: set[int] = set()
        for record in read_lines(folder / "runhistory.jsonl"):
            self._recorded[record["config_id"], record["instance"], record["seed"]] = record
            self._numbers.add(record["trial"])
        self._asked: set[tuple[str, str, int]] = set()
        self._asks = 0
        self._incumbents: list[str] = []
        self._progress = progress

    @property
    def used(self) -> int:
        """Different trials that the configurator has asked for so far."""
        return len(self._asked)

    @property
    def remaining(self) -> int:
        """Trials that are left of the budget."""
        return self.budget - self.used

    def evaluate(self, config: Config, pair: int) -> float:
        """Cost of a configuration on `pairs[pair]`. Raises BudgetExhausted."""
        return self.evaluate_many([(config, pair)])[0]

    def evaluate_many(self, asked: Sequence[tuple[Config, int]]) -> list[float]:
        """Costs of several trials in the order asked, evaluated side by side on the workers.

        A trial that the run has evaluated before is answered from the record and costs nothing.
        What is left of the budget is evaluated and recorded before BudgetExhausted is raised.
        """
        self._asks += len(asked)
        if self._asks > _ASKED_AGAIN * self.budget:
            raise BudgetExhausted
        triples = [(config, self.pairs[pair]) for config, pair in asked]
        keys = [(config_id(config), *pair) for config, pair in triples]
        missing: dict[tuple[str, str, int], tuple[Config, Pair]] = {}
        exhausted = False
        for key, triple in zip(keys, triples, strict=True):
            new = key not in self._recorded and key not in missing
            full = len(self._recorded) + len(missing) >= self.budget
            if key not in self._asked and (self.remaining == 0 or (new and full)):
                exhausted = True
                break
            self._asked.add(key)
            if new:
                missing[key] = triple
        # The lowest free numbers, in the order asked: a resumed run fills the gaps of a killed one.
        free = (n for n in itertools.count(1) if n not in self._numbers)
        numbers = list(itertools.islice(free, len(missing)))
        identities = list(missing)
        for position, record in self._trials.evaluate(list(missing.values())):
            record = {"trial": numbers[position], **record}
            append_line(self.folder / "runhistory.jsonl", record)
            self._recorded[identities[position]] = record
            self._numbers.add(numbers[position])
            self._progress(len(self._numbers))
        self._progress(self.used)
        if exhausted:
            raise BudgetExhausted
        return [self._recorded[key]["cost"] for key in keys]

    def new_incumbent(self, config: Config, estimate: float | None) -> None:
        """Put a configuration on the trajectory, with the configurator's estimate of its cost."""
        identity = config_id(config)
        if self._incumbents and self._incumbents[-1] == identity:
            return
        self._incumbents.append(identity)
        path = self.folder / "trajectory.jsonl"
        known = read_lines(path)
        at = len(self._incumbents) - 1
        if at < len(known):
            if known[at]["config_id"] == identity:
                return
            raise BadInput(
                f"{path}:{at + 1}: the replay found another incumbent than the record holds "
                "(has a library changed since?); begin anew in another --results folder"
            )
        append_line(
            path,
            {
                "trial": self.used,
                "config_id": identity,
                "config": config,
                "estimate": None if estimate is None else round(estimate, 10),
            },
        )

    def settings(self, changed: Mapping[str, object]) -> None:
        """Note in run.json what the configurator set differently from its defaults, and why."""
        self._about["settings"] = {**self._about["settings"], **changed}
        self._write_about()

    def _write_about(self) -> None:
        write_whole(self.folder / "run.json", json.dumps(self._about, indent=1) + "\n")

    @property
    def finished(self) -> bool:
        """Whether the configurator has come to its end, now or in an earlier process."""
        return bool(self._about["state"] == "finished")

    def finish(self) -> None:
        """Mark the run as finished.

        Raises BadInput if the record holds trials that the configurator did not ask for again.
        """
        if strange := len(self._recorded.keys() - self._asked):
            raise BadInput(
                f"{self.folder}: the replay did not ask for {strange} of the recorded trials; "
                "begin anew in another --results folder"
            )
        self._about |= {
            "state": "finished",
            "finished": now(),
            "trials_used": len(self._numbers),
        }
        self._write_about()


def run_folder(results: Path, scenario: Scenario, configurator: str, seed: int) -> Path:
    """Where a run is recorded."""
    return results / scenario.set / scenario.variant / configurator / f"seed-{seed}"


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def check_fetched(scenario: Scenario) -> None:
    """Raises BadInput for data sets of the scenario that are not here, with what fetches them."""
    lists = (*scenario.training, *scenario.test)
    of_instance = {name: "/".join(parse(name)[:2]) for name in lists}
    missing = sorted({data for name, data in of_instance.items() if not at_hand(name)})
    if missing:
        some = ", ".join(missing[:3]) + ", ..." * (len(missing) > 3)
        count = len(set(of_instance.values()))
        raise BadInput(
            f"{scenario.name}: {len(missing)} of its {count} data sets are not in "
            f"{data_directory()} ({some}): fetch them with 'sparse-aclib fetch {scenario.set}'"
        )


def tested(scenario: Scenario) -> dict[str, Any]:
    """Hashes of all that a trial's result depends on beside configuration, instance and seed.

    Raises BadInput for data sets that have not been fetched.
    """
    check_fetched(scenario)
    data = sorted({parse(name)[:2] for name in (*scenario.training, *scenario.test)})
    code = sorted(
        file for file in (ROOT / "target_algorithms").rglob("*") if file.suffix in {".py", ".c"}
    )
    instances = (scenario.training, scenario.test, sorted(scenario.features.items()))
    return {
        "scenario": scenario.hash,
        "instances": _sha256(repr(instances).encode()),
        "space": _sha256(repr(scenario.space).encode()),
        "target_algorithms": _sha256(*(file.read_bytes() for file in code)),
        "data": {"/".join(name): data_sha256(*name) for name in data},
    }


def _configurator_sha256(configurator: str) -> str:
    """Hash of the code that a configurator's choices depend on."""
    files = [ROOT / "wrappers" / f"{name}.py" for name in ("run", "space", "formats")]
    files += [ROOT / "wrappers" / "configurators" / f"{configurator}.py"]
    files += sorted((ROOT / "wrappers").glob(f"{configurator}_child.py"))
    return _sha256(*(file.read_bytes() for file in files))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            return next(line.split(":")[1].strip() for line in cpuinfo if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def where(scenario: Scenario) -> str:
    """The scenario's folder, relative to the checkout if it is in it."""
    folder = scenario.folder
    return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)


def about(folder: Path) -> dict[str, Any]:
    """run.json of a run's folder. Raises BadInput where there is no readable one."""
    try:
        found = json.loads((folder / "run.json").read_text())
        if not isinstance(found, dict) or not _KEYS <= found.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder}: no readable run.json ({error}); expected a run's folder such as "
            "results/digits/rigl/smac/seed-1"
        ) from None
    return found


_KEYS = {"scenario", "path", "trials", "workers", "hashes", "versions", "state", "settings"}


def describe(
    scenario: Scenario, configurator: str, seed: int, trials: int, workers: int
) -> dict[str, Any]:
    """What run.json says of a run at its start."""
    path = where(scenario)
    return {
        "scenario": scenario.name,
        "path": path,
        "set": scenario.set,
        "variant": scenario.variant,
        "configurator": configurator,
        "seed": seed,
        "trials": trials,
        "workers": workers,
        "state": "running",
        "trials_used": 0,
        "settings": {},
        "fixed": scenario.options.fixed,
        "hashes": tested(scenario) | {"configurator": _configurator_sha256(configurator)},
        "versions": _versions(),
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(),
        },
        "command": (
            f"sparse-aclib run {path} --configurator {configurator}"
            f" --seed {seed} --trials {trials} --workers {workers}"
        ),
        "started": now(),
        "finished": None,
    }


_PATIENCE = 5.0  # seconds in which a process that was killed is gone


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder; the lock goes with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    raise BadInput(f"{folder}: another process is working on this run") from None
                time.sleep(0.1)
        yield


def check_same(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """run.json of a folder that holds the run wanted; BadInput that names what differs."""
    before = about(folder)
    keys = ["scenario", "trials", "workers", "hashes"]
    if before["state"] != "finished":  # what is left of it would come from other libraries
        keys.append("versions")
    for key in keys:
        if before[key] != wanted[key]:
            raise BadInput(
                f"{folder}: the run there has {_difference(key, before[key], wanted[key])}; "
                "repeat its command to go on with it, or give another --results folder"
            )
    return before


@contextmanager
def open_run(
    results: Path,
    scenario: Scenario,
    configurator: str,
    *,
    seed: int,
    trials: int,
    workers: int,
    progress: Progress = lambda done: None,
    versions: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """A new run, or the interrupted one in the same folder if it is the same in everything.

    `versions`: of programs that the configurator uses beside Python's packages.
    Raises BadInput that names the difference otherwise.
    """
    folder = run_folder(results, scenario, configurator, seed)
    record = describe(scenario, configurator, seed, trials, workers)
    record["versions"] |= versions or {}
    with locked(folder):
        # A run that never came to a trial (its budget was refused, say) binds nobody.
        if (folder / "run.json").exists() and (folder / "runhistory.jsonl").exists():
            record = check_same(folder, record)
        else:
            write_whole(folder / "run.json", json.dumps(record, indent=1) + "\n")
        with Workers(workers) as pool:
            yield Run(folder, scenario, record, pool, progress)


def _difference(key: str, before: Any, wanted: Any) -> str:
    if isinstance(before, dict):
        key = next(k for k in before | wanted if before.get(k) != wanted.get(k))
        return f"another version of {key}"
    return f"{key} {before}, asked for was {wanted}"
