"""A disk that is full, folders that nobody may write to: one line, and what was recorded stays."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparse_training.data.instances import load
from target_algorithms import ROOT
from tests.examples import scenario_name
from wrappers.processes import environment
from wrappers.records import RUNHISTORY, Numbered, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.faults]

RUN = ["run", f"scenarios/{scenario_name()}", "--trials", "40", "--results"]
NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that an ordinary user may enter and write to; data in it."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def command(
    *words: str, most: int | None = None, home: Path | None = None, data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command of the suite; most: bytes that a file of it can have; home: of an ordinary user."""

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        if home is not None and os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    places = {} if home is None else {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    if data is not None:
        places["SPARSE_ACLIB_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, "-m", "commands", *words],
        cwd=ROOT,
        env=environment() | places,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=600,
    )


def refused(done: subprocess.CompletedProcess[str], *told: str) -> None:
    """It ended with one line of error that says all of this."""
    assert done.returncode == 2, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("sparse-aclib: error: ") and "Traceback" not in done.stderr
    assert all(each in last for each in told), last


@pytest.mark.parametrize("most", [0, 300, 5_000, 20_000])
def test_a_run_on_a_full_disk_ends_in_a_line_and_goes_on_when_there_is_room(
    tmp_path: Path, most: int
) -> None:
    load("sklearn/digits/0/0")  # not to be stored now
    refused(command(*RUN, str(tmp_path / "full"), most=most))
    history = next(iter((tmp_path / "full").rglob(RUNHISTORY)), None)
    kept = [] if history is None else read_lines(history, Numbered)
    assert not kept or history and history.read_bytes().endswith(b"\n")
    for name in ("full", "roomy"):
        done = command(*RUN, str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    full, roomy = (
        {record.key: record.cost for record in read_lines(path, Numbered)}
        for name in ("full", "roomy")
        for path in (tmp_path / name).rglob(RUNHISTORY)
    )
    assert full == roomy and {record.key for record in kept} <= set(full)


def test_a_report_on_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    assert command(*RUN, str(tmp_path)).returncode == 0
    assert command("validate", str(tmp_path), "--seeds", "1").returncode == 0
    assert command("report", str(tmp_path)).returncode == 0
    before = (tmp_path / "report.html").read_bytes()
    refused(command("report", str(tmp_path), most=2_000), str(tmp_path))
    assert (tmp_path / "report.html").read_bytes() == before


def readable_by_anybody() -> bool:
    """Whether an ordinary user can start this Python on this checkout."""
    for path in (Path(sys.executable).resolve(), ROOT / "commands" / "run.py"):
        for folder in path.parents:
            if not folder.stat().st_mode & 0o001:
                return False
    return True


@pytest.mark.skipif(not readable_by_anybody(), reason="this checkout is for its owner only")
def test_folders_that_an_ordinary_user_may_not_write_to_are_named(shared: Path) -> None:
    locked = shared / "locked"
    locked.mkdir(mode=0o555)
    home = shared / "home"
    home.mkdir(mode=0o777)
    os.chmod(home, 0o777)
    # Where nothing can be kept, trials work all the same: the kernel and the data are made anew.
    done = command("eval", scenario_name(), home=locked, data=home)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stderr
    refused(command(*RUN, str(locked / "results"), home=home, data=home), "Permission denied")
    refused(command("report", str(locked), home=home, data=home), str(locked))
    refused(command("fetch", "digits", home=home, data=locked / "data"), str(locked))
