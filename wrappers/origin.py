"""Where a run comes from: what run.json says at its start, and whether that still holds."""

import functools
import hashlib
import os
import platform
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import psutil

from sparse_training.data.instances import at_hand, parse
from sparse_training.data.instances import sha256 as data_sha256
from sparse_training.data.sources import command
from sparse_training.data.stored import data_directory
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Variant
from wrappers.provenance import trial_code
from wrappers.records import FORMAT, Hardware, Hashes, Product, Record, RunInfo, now
from wrappers.scenario import Scenario
from wrappers.space import resolved, variant_space

_LIBRARIES = ("torch", "numpy", "scipy", "ConfigSpace", "scikit-learn")


def describe(
    scenario: Scenario,
    configurator: str,
    configures: bool,
    code: str,
    seed: int,
    trials: int,
    workers: int,
    versions: Mapping[str, str],
) -> RunInfo:
    """What run.json says of a run at its start; code: of the configurator, as a fingerprint.

    Raises BadInput for data that are not here.
    """
    return RunInfo(
        format=FORMAT,
        scenario=scenario.name,
        path=scenario.shown,
        set=scenario.set,
        variant=scenario.variant.name,
        role=scenario.variant.role,
        configurator=configurator,
        configures=configures,
        seed=seed,
        trials=trials,
        trials_used=0,
        workers=workers,
        state="running",
        settings={},
        fixed={constant.name: constant.value for constant in scenario.space.constants},
        hashes=hashes(scenario, code),
        versions={"python": platform.python_version(), **versions_of(_LIBRARIES), **versions},
        product=product(),
        hardware=hardware(),
        command=(
            f"sparse-aclib run {scenario.shown} --configurator {configurator}"
            f" --seed {seed} --trials {trials} --workers {workers}"
        ),
        started=now(),
        finished=None,
        copies=scenario.copies,
    )


def hashes(scenario: Scenario, configurator_code: str) -> Hashes:
    """SHA-256 of what a run depends on beside the code of its trials.

    Raises BadInput for data sets that have not been fetched.
    """
    check_fetched(scenario)
    ids = map(parse, (*scenario.training, *scenario.test))
    data = sorted({(said.source, said.dataset) for said in ids})
    return Hashes(
        **stated(scenario),
        data={"/".join(name): data_sha256(*name) for name in data},
        configurator=configurator_code,
    )


def stated(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of what the files of a scenario say, by the fields of `Hashes`."""
    instances = (scenario.training, scenario.test, sorted(scenario.features.items()))
    asked = (scenario.variant.name, scenario.options.words, scenario.cutoff)
    fixed = variant_space(scenario.variant).constants  # by the variant; options are in `asked`
    return {
        "scenario": _sha256(repr(asked)),
        "instances": _sha256(repr(instances)),
        "space": _sha256(repr(scenario.space) + (repr(fixed) if fixed else "")),
    }


def check_origin(run: Path, info: RunInfo, scenario: Scenario, records: Iterable[Record]) -> None:
    """Raises BadInput where new trials would not belong to a run: something has changed."""
    today = hashes(scenario, info.hashes.configurator)
    for name in ("scenario", "instances", "space", "data"):
        if getattr(info.hashes, name) != getattr(today, name):
            raise _foreign(run, name, info)
    check_code(run, scenario.variant, records)


def is_of_today(run: Path, info: RunInfo, scenario: Scenario, records: Sequence[Record]) -> bool:
    """Whether new trials of a scenario belong to a run."""
    try:
        check_origin(run, info, scenario, records)
    except BadInput:
        return False
    return True


def check_code(run: Path, variant: Variant, records: Iterable[Record]) -> None:
    """Raises BadInput where a record was made by other code than such a trial runs today."""
    for chosen, engine, code in {
        (resolved(variant, record.config)[0], record.engine, record.code)
        for record in records
        if record.engine
    }:
        if code != trial_code(chosen, engine or ""):
            raise _foreign(run, f"what trials of {chosen.name} run on the {engine} engine", None)


def _foreign(run: Path, what: str, info: RunInfo | None) -> BadInput:
    if info is not None and info.format < FORMAT:
        what = "the suite (0.2, whose records can be reported and not continued)"
    return BadInput(
        f"{run}: made with another version of {what} than this checkout has; new trials would not"
        " belong to it; make it anew in another --results folder"
    )


def check_fetched(scenario: Scenario) -> None:
    """Raises BadInput for data sets of the scenario that are not here, with what fetches them."""
    of_instance = {name: parse(name).data_set for name in (*scenario.training, *scenario.test)}
    missing = sorted({data for name, data in of_instance.items() if not at_hand(name)})
    if missing:
        some = ", ".join(missing[:3]) + ", ..." * (len(missing) > 3)
        count = len(set(of_instance.values()))
        raise BadInput(
            f"{scenario.name}: {len(missing)} of its {count} data sets are not in "
            f"{data_directory()} ({some}): fetch them with '{command(scenario.set, missing)}'"
        )


def versions_of(distributions: Sequence[str]) -> dict[str, str]:
    """Versions of those that are installed."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def product() -> Product:
    """This suite: its version, and the commit of its checkout."""
    # Not the metadata of the installation, which are those of the day when it was made.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return Product(version=project["version"], commit=_commit())


def _commit() -> str | None:
    """The checkout's commit, with `+` behind it where tracked files differ."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("rev-parse", "--show-toplevel") != str(ROOT):
        return None  # a copy inside another repository
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if commit and changed else commit


@functools.cache
def hardware() -> Hardware:
    """This machine."""
    return Hardware(
        processor=_processor(),
        cores=os.cpu_count(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.platform(),
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            return next(line.split(":")[1].strip() for line in cpuinfo if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
