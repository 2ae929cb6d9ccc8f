"""The record of calls that `./wrappers/target` keeps where SPARSE_ACLIB_RECORD names a folder.

A line a call, as in a run's own record, of whatever client; several may call at once. Calls of
another variant or with other options are in a file of their own. A call that is refused (ABORT) is
no trial, and not recorded.
"""

import contextlib
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from sparse_training.machine import cache_directory
from target_algorithms import Variant
from target_algorithms.contract import Options, Result, Trial
from wrappers.processes import code, host
from wrappers.provenance import trial_code
from wrappers.records import append_line, record
from wrappers.space import Config

FOLDER = "SPARSE_ACLIB_RECORD"


def calls_of(folder: Path, variant: Variant, options: Options) -> Path:
    """Where calls of a variant with these options are."""
    digest = hashlib.sha256(" ".join(options.words).encode()).hexdigest()[:8]
    return folder / f"{variant.name}-{digest}.jsonl"


def keep(
    called: Variant, config: Config, trial: Trial, cutoff: float, started: str, result: Result
) -> None:
    """Records a call's trial, if a folder is named. Raises BadInput where it cannot be written.

    called, config: as the caller has them, where the trial is of what a selection selects.
    """
    folder = os.environ.get(FOLDER)
    if not folder or result.status == "ABORT":
        return
    engine = result.trained and result.trained.engine
    code = _code(Variant(trial.variant, Path(trial.folder)), engine) if engine else None
    worker = f"{host()}:{os.getpid()}"
    told = replace(result, started=started, worker=worker)
    entry = record(config, trial.instance, trial.seed, cutoff, told, code, trial.fidelity)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        append_line(calls_of(Path(folder), called, trial.options), entry)
    except OSError as error:
        raise BadInput(
            f"cannot record the trial in {folder} ({error.strerror}): make room, or unset {FOLDER}"
        ) from error


def _code(variant: Variant, engine: str) -> str:
    """The fingerprint of a trial's code. To find it takes longer than a trial, so it is kept for as
    long as no file of the code has another time or size."""
    stamps = repr((variant.name, engine, sorted(code().items())))
    name = hashlib.sha256(stamps.encode()).hexdigest()[:32]
    kept = cache_directory() / "codes" / name
    try:
        return kept.read_text()
    except OSError:
        found = trial_code(variant, engine)
        with contextlib.suppress(OSError):  # then the next call finds it again
            write_whole(kept, found)
        return found
