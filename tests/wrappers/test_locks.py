"""Who works on a folder of records: one process, with and without locks of the file system."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from sparse_training.errors import BadInput, Busy
from wrappers import locks
from wrappers.locks import LOCK, OWNER, Owner, check_held, locked, seen, works_on
from wrappers.processes import environment

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

WITHOUT_LOCKS = f"""
import fcntl, sys, time
from pathlib import Path
from wrappers import locks

def flock(file, operation):
    raise OSError({errno.ENOLCK}, "No locks available")

fcntl.flock = flock
folder = Path(sys.argv[1])
"""
"""Begins a program whose file system has none."""

HOLD = """
with locks.locked(folder):
    print("in", flush=True)
    sys.stdin.readline()
"""


def answering(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the system answer so when it is asked for a lock."""

    def flock(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(errno.ENOLCK, monkeypatch)


@contextmanager
def program(text: str, *words: object) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, words)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def leave(folder: Path, *, silent: float = 0.0, **changes: str | int | None) -> Owner:
    """An owner file as one on another machine has left it, and its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    elsewhere = Owner("t" * 32, "node7", "another boot", 4321, "77", "12_3", "2026-11-28T10:00:00")
    owner = replace(elsewhere, **changes)  # type: ignore[arg-type]
    (folder / OWNER).write_bytes(msgspec.json.encode(owner))
    beat = time.time() - silent
    os.utime(folder / OWNER, (beat, beat))
    return owner


# The system's locks ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_not_taken_for_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    answering(number, monkeypatch)
    with locked(tmp_path, patience=0):
        assert works_on(tmp_path)
    assert not (tmp_path / OWNER).exists()


def test_any_other_answer_is_an_error_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(errno.EIO, monkeypatch)
    with pytest.raises(OSError, match=f"Input/output error.*{LOCK}"), locked(tmp_path):
        pass
    assert not (tmp_path / OWNER).exists()


def test_a_held_lock_of_the_system_is_busy_whatever_the_owner_file_says(tmp_path: Path) -> None:
    """Its holder has not come to write its own yet, say."""
    left = leave(tmp_path, machine=locks._machine(), pid=2**22 + 1)
    with open(tmp_path / LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another process is working on it"):
            with locked(tmp_path, patience=0.3):
                pass
    found = seen(tmp_path)
    assert found is not None and found.owner == left


# Owner files, where there are no others ----------------------------------------------------------


@pytest.mark.usefixtures("no_locks")
def test_a_second_process_is_kept_out_and_told_by_whom(tmp_path: Path) -> None:
    with program(WITHOUT_LOCKS + HOLD, tmp_path) as first:
        assert told(first) == "in\n"
        with pytest.raises(Busy, match=f"another process is working on it, process {first.pid} on"):
            with locked(tmp_path, patience=0.3):
                pass
        first.communicate("end\n")
        with locked(tmp_path, patience=0.3):
            pass


@pytest.mark.faults
@pytest.mark.usefixtures("no_locks")
def test_one_that_was_killed_is_taken_over_at_once_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with program(WITHOUT_LOCKS + HOLD, tmp_path) as first:
        assert told(first) == "in\n"
        killed(first)
    assert (tmp_path / OWNER).exists() and not works_on(tmp_path)
    with locked(tmp_path, patience=0.0):
        found = seen(tmp_path)
        assert found is not None and found.owner is not None and found.owner.pid == os.getpid()
    assert f"{tmp_path}: taken over from process {first.pid} on " in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK]


@pytest.mark.usefixtures("no_locks")
def test_a_process_that_was_given_the_number_of_the_owner_is_not_it(tmp_path: Path) -> None:
    leave(tmp_path, machine=locks._machine(), pid=os.getpid(), born="1")
    with locked(tmp_path, patience=0):
        pass


@pytest.mark.usefixtures("no_locks")
def test_an_owner_on_another_machine_is_believed_while_it_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path)
    assert works_on(tmp_path)
    with pytest.raises(Busy, match=r"process 4321 on node7 \(job 12_3\)"):
        with locked(tmp_path, patience=0.3):
            pass
    monkeypatch.setattr(locks, "STALE", 0.0)  # its clock is far behind ours
    monkeypatch.setattr(locks, "WATCHED", 0.6)
    beating = "import os, sys, time\nwhile True:\n    os.utime(sys.argv[1])\n    time.sleep(0.1)\n"
    with program(beating, tmp_path / OWNER):
        waiting = locks._Waiting(tmp_path, 0.0)
        for _ in range(15):
            waiting.go_on(watch=True)
    assert (tmp_path / OWNER).exists()


@pytest.mark.usefixtures("no_locks")
def test_one_on_another_machine_that_does_not_beat_is_watched_and_then_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "WATCHED", 0.5)
    leave(tmp_path, silent=locks.STALE + 1)
    assert not works_on(tmp_path)
    began = time.monotonic()
    with locked(tmp_path, patience=0):  # the watch is no waiting for somebody who works
        assert time.monotonic() - began >= 0.5
    assert "taken over from process 4321 on node7 (job 12_3)" in capsys.readouterr().err


@pytest.mark.usefixtures("no_locks")
def test_an_owner_file_that_is_being_written_is_believed_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / OWNER).write_text("")
    with pytest.raises(Busy), locked(tmp_path, patience=0.2):
        pass
    monkeypatch.setattr(locks, "WATCHED", 0.2)
    os.utime(tmp_path / OWNER, (1, 1))
    with locked(tmp_path, patience=0):
        pass


@pytest.mark.faults
def test_of_many_that_want_the_place_of_one_that_was_killed_one_is_in_at_a_time(
    tmp_path: Path,
) -> None:
    """Without the system's locks; each that is in finds the place empty and leaves it so."""
    enter = WITHOUT_LOCKS + (
        "import os\n"
        "sys.stdin.readline()\n"
        "for _ in range(5):\n"
        "    with locks.locked(folder, patience=60):\n"
        "        os.close(os.open(folder / 'in', os.O_CREAT | os.O_EXCL | os.O_WRONLY))\n"
        "        time.sleep(0.002)\n"
        "        os.unlink(folder / 'in')\n"
        "        with open(folder / 'entered', 'a') as file:\n"
        "            file.write('x')\n"
    )
    with program(WITHOUT_LOCKS + HOLD, tmp_path) as first:
        assert told(first) == "in\n"
        killed(first)
    with ExitStack() as stack:
        processes = [stack.enter_context(program(enter, tmp_path)) for _ in range(6)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [(p.wait(60), p.stderr.read() if p.stderr else "") for p in processes]
    assert [status for status, _ in ended] == [0] * 6, ended
    assert (tmp_path / "entered").read_text() == "x" * 30
    assert sum("taken over" in said for _, said in ended) == 1


@pytest.mark.usefixtures("no_locks")
def test_who_comes_late_to_take_a_place_leaves_its_new_owner_alone(tmp_path: Path) -> None:
    leave(tmp_path, silent=1000)
    old = seen(tmp_path)
    assert old is not None
    leave(tmp_path, token="new")
    locks._take_away(tmp_path, old)
    found = seen(tmp_path)
    assert found is not None and found.token == "new"


@pytest.mark.faults
@pytest.mark.usefixtures("no_locks")
def test_a_process_that_was_suspended_and_replaced_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = WITHOUT_LOCKS + (
        "from wrappers.records import append_line\n"
        "locks.STALE, locks.HEARTBEAT = 0.4, 0.1\n"
        "locks._machine = lambda: 'elsewhere'\n"
        "with locks.locked(folder):\n"
        "    print('in', flush=True)\n"
        "    while True:\n"
        "        append_line(folder / 'lines', {'a': 1})\n"
        "        time.sleep(0.01)\n"
    )
    monkeypatch.setattr(locks, "STALE", 0.4)
    monkeypatch.setattr(locks, "WATCHED", 0.4)
    with program(writing, tmp_path) as first:
        assert told(first) == "in\n"
        time.sleep(0.6)
        with pytest.raises(Busy), locked(tmp_path, patience=0.3):
            pass
        first.send_signal(signal.SIGSTOP)
        with locked(tmp_path, patience=5):
            before = (tmp_path / "lines").stat().st_size
            first.send_signal(signal.SIGCONT)
            _, said = first.communicate(timeout=20)
            assert "has taken it over, since this one showed no sign of life" in said
            assert (tmp_path / "lines").stat().st_size == before > 0
            check_held(tmp_path)
        assert not (tmp_path / OWNER).exists()


def test_an_owner_file_that_somebody_removed_ends_who_held_it_at_its_next_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE", 0.0)  # look at every word
    with locked(tmp_path):
        check_held(tmp_path)
        (tmp_path / OWNER).unlink()
        with pytest.raises(Busy, match="another process has taken it over"):
            check_held(tmp_path)
    check_held(tmp_path)


def test_a_disk_that_is_full_leaves_no_owner_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(value: object) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(msgspec.json, "encode", full)
    with pytest.raises(OSError, match=f"No space left.*{OWNER}"), locked(tmp_path):
        pass
    assert not (tmp_path / OWNER).exists()


def test_an_owner_says_where_and_for_what_job_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "n2")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with locked(tmp_path):
        found = works_on(tmp_path)
        assert found is not None and found.owner is not None
        assert found.owner.shown == f"process {os.getpid()} on n2 (job 5_3)"


# Two nodes ---------------------------------------------------------------------------------------


def probe(folder: Path, rank: int) -> "subprocess.Popen[str]":
    settings = {"SLURM_PROCID": str(rank), "SLURMD_NODENAME": f"n{rank}"}
    return subprocess.Popen(
        [sys.executable, "-m", "wrappers.locks", str(folder)],
        env=environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_nodes_find_out_whether_a_lock_holds_between_them(tmp_path: Path) -> None:
    one, other = (probe(tmp_path, rank) for rank in (0, 1))
    said, fault = other.communicate(timeout=60)
    one.communicate(timeout=60)
    assert one.returncode == 0 and other.returncode == 0, fault
    assert said == "locks hold from n0 to n1: the system's and owner files\n"
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_do_not_see_the_same_folder_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="what one node writes there, another does not see"):
        locks.check_between(tmp_path, 1, seconds=0.2)
