"""Commands whose processes are killed at random, again and again, end like ones left alone."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from commands.report import command as report
from sparse_training.data.instances import load
from target_algorithms import ROOT
from tests.examples import CONFIGURING, each_of, scenario_name
from tests.wrappers.cases import timeless
from wrappers.configurators import TEMPLATE, Configurator
from wrappers.processes import environment
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Key,
    Numbered,
    Record,
    read_lines,
    read_run,
)

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = int(os.environ.get("SPARSE_ACLIB_TEST_KILLS", "12"))
"""Of every command."""
LATEST = 2.0  # seconds after which a process is killed at last


def words(*those: str) -> list[str]:
    return [sys.executable, "-m", "commands", *those]


def killed(command: Sequence[str], seed: int, cwd: Path) -> int:
    """Starts a command until it has ended by itself `KILLS` kills later; returns how many it took.

    Killed are, at random moments, the command, its workers, their trials, the configurator's own
    processes. Only the last start may not be killed.
    """
    rng = random.Random(seed)
    kills = starts = 0
    while True:
        starts += 1
        process = subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while kills < KILLS and process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.05, LATEST))
            tree = family(process.pid)
            if process.poll() is None and tree:
                chosen = rng.choice([process.pid, rng.choice(tree)])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chosen, signal.SIGKILL)
                    kills += 1
        _, said = process.communicate(timeout=600)
        assert b"Traceback" not in said or process.returncode == -signal.SIGKILL, said.decode()
        if process.returncode == 0:
            return starts
        assert kills or starts == 1, f"status {process.returncode}: {said.decode()}"
        assert starts < 3 * KILLS + 3, f"status {process.returncode}: {said.decode()}"


def family(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def stable(path: Path) -> dict[Key, Record]:
    """Trials by what was asked, without what the clock decides."""
    records = read_lines(path, Record)
    assert len({record.key for record in records}) == len(records), f"doubled in {path}"
    return {record.key: timeless(record) for record in records}


def same_records(one: Path, other: Path) -> None:
    """Two results folders hold the same."""
    runs = sorted(path.parent.relative_to(one) for path in one.rglob(RUN))
    assert runs == sorted(path.parent.relative_to(other) for path in other.rglob(RUN)) and runs
    for run in runs:
        for name in (RUNHISTORY, VALIDATION, ABLATION_TRIALS):
            assert stable(one / run / name) == stable(other / run / name), run / name
        for folder in (one, other):
            assert read_run(folder / run).state == "finished"
        lines = [read_lines(folder / run / TRAJECTORY, Incumbent) for folder in (one, other)]
        assert lines[0] == lines[1], run
        paths = [folder / run / ABLATION for folder in (one, other)]
        texts = [json.loads(path.read_text()) if path.exists() else None for path in paths]
        assert texts[0] == texts[1], run


def no_leftovers(results: Path) -> None:
    """No file that a writer had begun is left, and no process."""
    known = {RUN, RUNHISTORY, TRAJECTORY, VALIDATION, ABLATION, ABLATION_TRIALS}
    known |= {".lock", "output.txt"}
    for run in (path.parent for path in results.rglob(RUN)):
        strange = [path.name for path in run.iterdir() if path.name not in known]
        assert not strange, f"{run}: {strange}"
    marked = str(results)
    assert not [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and marked in " ".join(process.info["cmdline"] or ())
    ]


@pytest.fixture
def left_alone(suite: Path, tmp_path: Path) -> Callable[[Sequence[str]], Path]:
    """Does a command on the results folder that it names, without a kill."""

    def do(command: Sequence[str]) -> Path:
        subprocess.run(command, cwd=suite, env=environment(), check=True, capture_output=True)
        return tmp_path / "alone"

    return do


@pytest.mark.parametrize("configurator", each_of(CONFIGURING))
def test_a_run_ends_like_one_that_was_left_alone(
    suite: Path,
    tmp_path: Path,
    left_alone: Callable[[Sequence[str]], Path],
    configurator: Configurator,
) -> None:
    run = words(
        "run", f"scenarios/{scenario_name()}", "--configurator", configurator.name, "--workers", "2"
    )
    run += ["--trials", "120", "--results"]
    alone = left_alone([*run, str(tmp_path / "alone")])
    assert killed([*run, str(tmp_path / "killed")], 1, suite) > 1
    same_records(alone, tmp_path / "killed")
    time.sleep(1)
    no_leftovers(tmp_path / "killed")


@pytest.fixture
def runs(suite: Path, tmp_path: Path) -> Path:
    """Two finished runs, not validated."""
    for seed in ("1", "2"):
        run = words("run", f"scenarios/{scenario_name()}", "--trials", "40", "--seed", seed)
        run += ["--results", str(tmp_path / "alone")]
        subprocess.run(run, cwd=suite, env=environment(), check=True, capture_output=True)
    shutil.copytree(tmp_path / "alone", tmp_path / "killed")
    return tmp_path


@pytest.mark.parametrize(
    "command", [("validate", "--seeds", "12"), ("ablate", "--trials", "300")], ids=lambda c: c[0]
)
def test_a_validation_and_an_ablation_end_like_ones_left_alone(
    suite: Path, runs: Path, left_alone: Callable[[Sequence[str]], Path], command: tuple[str, ...]
) -> None:
    name, *options = command
    left_alone(words(name, str(runs / "alone"), *options))
    killed(words(name, str(runs / "killed"), *options, "--workers", "1"), 2, suite)
    same_records(runs / "alone", runs / "killed")
    no_leftovers(runs / "killed")


def test_a_benchmark_ends_like_one_that_was_left_alone(
    suite: Path, tmp_path: Path, left_alone: Callable[[Sequence[str]], Path]
) -> None:
    benchmark = words("benchmark", "digits", "--variants", scenario_name().partition("/")[2])
    benchmark += ["--trials", "12", "--seeds", "2", "--validation-seeds", "2"]
    benchmark += ["--configurators", TEMPLATE.stem, "--results"]
    alone = left_alone([*benchmark, str(tmp_path / "alone")])
    killed([*benchmark, str(tmp_path / "killed")], 3, suite)
    same_records(alone, tmp_path / "killed")
    for folder in (alone, tmp_path / "killed"):
        assert (folder / "report.html").stat().st_size > 10_000
    no_leftovers(tmp_path / "killed")


def test_a_report_that_was_killed_leaves_a_whole_one(suite: Path, runs: Path) -> None:
    killed(words("report", str(runs / "killed")), 4, suite)
    report(runs / "alone")
    for table in sorted((runs / "alone" / "tables").glob("*.csv")):
        other = runs / "killed" / "tables" / table.name
        if table.name != "effort.csv":  # seconds
            assert other.read_text() == table.read_text(), table.name
    assert not list((runs / "killed").rglob(".*report*"))


@pytest.fixture
def busy() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "command",
    [
        ("run", f"scenarios/{scenario_name()}", "--trials", "60", "--results"),
        ("benchmark", "digits", "--trials", "12", "--seeds", "1", "--variants")
        + (scenario_name().partition("/")[2], "--configurators", TEMPLATE.stem, "--results"),
    ],
    ids=lambda c: c[0],
)
def test_the_same_command_twice_at_once_does_everything_once(
    suite: Path,
    tmp_path: Path,
    busy: list[subprocess.Popen[bytes]],
    command: tuple[str, ...],
    left_alone: Callable[[Sequence[str]], Path],
) -> None:
    alone = left_alone(words(*command, str(tmp_path / "alone")))
    for _ in range(2):
        twice = words(*command, str(tmp_path / "twice"))
        busy.append(subprocess.Popen(twice, cwd=suite, env=environment(), stderr=subprocess.PIPE))
    statuses = {process.wait(600) for process in busy}
    assert statuses <= ({0} if command[0] == "benchmark" else {0, os.EX_TEMPFAIL})
    same_records(alone, tmp_path / "twice")


# Full disks, folders that nobody may write to -----------------------------------------------------


RUN_WORDS = ["run", f"scenarios/{scenario_name()}", "--trials", "40", "--results"]
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
    refused(command(*RUN_WORDS, str(tmp_path / "full"), most=most))
    history = next(iter((tmp_path / "full").rglob(RUNHISTORY)), None)
    kept = [] if history is None else read_lines(history, Numbered)
    assert not kept or history and history.read_bytes().endswith(b"\n")
    for name in ("full", "roomy"):
        done = command(*RUN_WORDS, str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    full, roomy = (
        {record.key: record.cost for record in read_lines(path, Numbered)}
        for name in ("full", "roomy")
        for path in (tmp_path / name).rglob(RUNHISTORY)
    )
    assert full == roomy and {record.key for record in kept} <= set(full)


def test_a_report_on_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    assert command(*RUN_WORDS, str(tmp_path)).returncode == 0
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
    refused(command(*RUN_WORDS, str(locked / "results"), home=home, data=home), "Permission denied")
    refused(command("report", str(locked), home=home, data=home), str(locked))
    refused(command("fetch", "digits", home=home, data=locked / "data"), str(locked))
