"""Who works on a folder of records: one process at a time, on any machine that shares it.

Two things keep a second one out. The system's lock (`flock`) goes with the process, but there are
file systems without it, and others where it is known on one machine only. So there is an owner
file beside it, created exclusively, that says who works there since when; its time of change is
the owner's heartbeat. An owner is gone when its process has ended, as far as this machine can
know; on another machine, when its heart has not been seen beating for a while. Then its place is
taken, with a word on standard error. A process that was thought gone (it was suspended, say)
notices before it writes, and ends.

    python -m wrappers.locks FOLDER

is what `benchmark --slurm` runs on two nodes: whether a lock holds from one to the other.
"""

import functools
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec

from sparse_training.errors import BadInput, Busy
from sparse_training.files import content, flocked, naming, regular, sweep
from wrappers.processes import host

LOCK, OWNER = ".lock", ".owner"

PATIENCE = 5.0
"""Seconds in which a process that was killed is gone."""

HEARTBEAT = 10.0
"""Seconds between two beats of an owner."""

STALE = 60.0
"""Seconds after the last beat, by the file's time, when an owner on another machine is doubted."""

WATCHED = 3 * HEARTBEAT
"""Seconds that a doubted owner is watched without a beat, by our own clock, before it is gone."""

_LOOK = 0.1


@dataclass(frozen=True)
class Owner:
    """Who works on a folder."""

    token: str
    """Of this lock; no other has it."""
    host: str
    machine: str
    """Where process ids mean the same: a boot of a system, and a namespace of it."""
    pid: int
    born: str
    """When the process was started, by its machine: ids are given again."""
    job: str | None
    """Of a batch system."""
    since: str

    @property
    def shown(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")

    @property
    def alive(self) -> bool | None:
        """Whether its process is; None where that cannot be known: on another machine, say."""
        if self.machine != _machine() or not self.born:
            return None
        born = _born(self.pid)
        if born is None and _hidden(self.pid):
            return None
        return born == self.born


@functools.cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return os.uname().nodename


def _born(pid: int) -> str | None:
    """None where no such process is, or only what is left of it until its parent looks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _hidden(pid: int) -> bool:
    """Whether a process is there that /proc does not show: another user's."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _job() -> str | None:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return os.environ.get("SLURM_JOB_ID")


def _ourselves() -> Owner:
    # Not records.now: records need locks.
    since = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    pid = os.getpid()
    return Owner(uuid4().hex, host(), _machine(), pid, _born(pid) or "", _job(), since)


@dataclass(frozen=True)
class Seen:
    """An owner file as it was found."""

    owner: Owner | None
    """None where the file says nothing that can be read: it is being written."""
    beat: int
    """When it changed, in ns, by the clock of the file system."""

    @property
    def token(self) -> str:
        """What tells it from any other."""
        return self.owner.token if self.owner else "unreadable"

    @property
    def silent(self) -> float:
        """Seconds since its last beat, by two clocks that may differ."""
        return time.time() - self.beat / 1e9

    @property
    def works(self) -> bool:
        """Whether somebody is taken to be at work, at first sight."""
        alive = self.owner.alive if self.owner else None
        return self.silent < STALE if alive is None else alive


def seen(folder: Path) -> Seen | None:
    """The owner file of a folder; None where there is none."""
    path = folder / OWNER
    try:
        beat = os.stat(path).st_mtime_ns
        said = content(path)
    except OSError:
        return None
    try:
        return Seen(msgspec.json.decode(said, type=Owner), beat)
    except msgspec.MsgspecError:
        return Seen(None, beat)


def works_on(folder: Path) -> Seen | None:
    """Who is taken to work on a folder, at first sight; None where nobody is."""
    found = seen(folder)
    return found if found is not None and found.works else None


# Held by this process ----------------------------------------------------------------------------


class _Held:
    """A lock of this process: its owner file, and when its heart has beaten."""

    def __init__(self, folder: Path, ours: Owner) -> None:
        self._folder, self._ours = folder, ours
        self._lost = False
        self._beaten = _clock()

    def beat(self) -> None:
        """Says that we are here, if the place is still ours."""
        before = _clock()
        try:
            handle = os.open(self._folder / OWNER, os.O_RDWR)
        except FileNotFoundError:
            self._lost = True
            return
        except OSError:  # a file system that is away for a moment
            return
        try:
            said = os.read(handle, 4096)
            if self._ours.token.encode() not in said:
                self._lost = True
                return
            os.utime(handle)
            self._beaten = before
        except OSError:
            return
        finally:
            os.close(handle)

    def check(self) -> None:
        """Raises Busy where another process has taken this one for gone."""
        if self._lost or _clock() - self._beaten > STALE / 2:
            self.beat()
        if self._lost:
            found = seen(self._folder)
            by = found.owner.shown if found and found.owner else "another process"
            raise Busy(
                f"{self._folder}: {by} has taken it over, since this one showed no sign of life; "
                "the same command goes on when that has ended"
            )


def _clock() -> float:
    """Seconds, those of a machine or a process that was suspended among them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_held: dict[str, _Held] = {}
_heart: list[threading.Thread] = []
_told: set[tuple[str, int, str]] = set()


def check_held(folder: Path) -> None:
    """Before something is written in a folder: raises Busy if it was ours and is another's now.

    Nothing is asked of a folder that this process has not locked.
    """
    if (held := _held.get(os.path.abspath(folder))) is not None:
        held.check()


def _beats() -> None:
    while True:
        time.sleep(HEARTBEAT)
        for held in list(_held.values()):
            held.beat()


def _begin_to_beat() -> None:
    if not _heart or not _heart[0].is_alive():  # a forked process has none
        _heart[:] = [threading.Thread(target=_beats, name="heartbeat", daemon=True)]
        _heart[0].start()


# Taking ------------------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keeps a second process out of a folder of records; the lock goes with the process.

    What a writer that was killed has left there is removed.

    patience: seconds to wait for another one to end. Raises Busy then. Seconds in which an owner
    on another machine is watched for a sign of life come on top.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", opener=regular) as lock:
        ours = _ourselves()
        waiting = _Waiting(folder, patience)
        while not flocked(lock):  # whoever has it is alive, whatever an owner file says
            waiting.go_on(watch=False)
        while not _owned(folder, ours):
            waiting.go_on(watch=True)
        name = os.path.abspath(folder)
        _held[name] = _Held(folder, ours)
        _begin_to_beat()
        try:
            sweep(folder)
            yield
        finally:
            del _held[name]
            found = seen(folder)
            if found and found.token == ours.token:
                with suppress(OSError):
                    os.unlink(folder / OWNER)


class _Waiting:
    """For another process to end."""

    def __init__(self, folder: Path, patience: float) -> None:
        self._folder, self._patience = folder, patience
        self._until, self._told = _clock() + patience, False
        self._watched: tuple[str, int] | None = None
        self._quiet_since = 0.0

    def go_on(self, *, watch: bool) -> None:
        """Waits a moment; raises Busy when it was too long.

        watch: whether an owner that is gone is taken away.
        """
        found = seen(self._folder)
        by = f", {found.owner.shown}" if found and found.owner else ""
        if self._patience == math.inf and not self._told:
            print(f"{self._folder}: waiting for another process{by}", file=sys.stderr)
            self._told = True
        watching = watch and found is not None and self._watch(found)
        if _clock() > self._until and not watching:
            raise Busy(f"{self._folder}: another process is working on it{by}; try later")
        time.sleep(_LOOK)

    def _watch(self, found: Seen) -> bool:
        """Whether an owner is to be watched a while longer; one that is gone is taken away."""
        alive = found.owner.alive if found.owner else None
        if alive is False:
            _take_away(self._folder, found)
            return True
        if (found.token, found.beat) != self._watched:
            self._watched, self._quiet_since = (found.token, found.beat), _clock()
        if alive or found.silent < STALE:
            return False
        if _clock() - self._quiet_since >= WATCHED:
            _take_away(self._folder, found)
        return True


def _owned(folder: Path, ours: Owner) -> bool:
    """Creates the owner file; False where there is one."""
    try:
        handle = os.open(folder / OWNER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        with naming(folder / OWNER), os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(ours))
    except BaseException:  # a full disk, say
        os.unlink(folder / OWNER)
        raise
    return True


def _take_away(folder: Path, gone: Seen) -> None:
    """Removes the owner file of one that is gone; of several that want to, one does.

    The right to do so is a file that is named after the one that is gone and created exclusively:
    who comes late finds another owner behind it, and leaves that alone.
    """
    right = folder / f"{OWNER}.{gone.token}"
    try:
        os.close(os.open(right, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:  # another is at it, or was killed at it
        with suppress(OSError):
            if time.time() - os.stat(right).st_mtime > STALE:
                os.unlink(right)
        return
    try:
        found = seen(folder)
        if found is None or found.token != gone.token or found.beat != gone.beat:
            return
        with suppress(FileNotFoundError):
            os.unlink(folder / OWNER)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(right)
    owner = gone.owner
    who = (owner.host, owner.pid, owner.born) if owner else ("", 0, "")
    if who not in _told:  # it may have left hundreds of folders
        _told.add(who)
        shown = owner.shown if owner else "a process that did not say who it is"
        print(f"{folder}: taken over from {shown}, which has ended", file=sys.stderr)


# Two nodes ---------------------------------------------------------------------------------------


def check_between(folder: Path, rank: int, seconds: float = 30.0) -> str:
    """What process 0 and process 1, on two nodes, find of locks in a folder that both see.

    One line, of process 1; "" of process 0. Raises BadInput where the folder is not the same or
    an owner file created there by one is not seen by the other.
    """
    place, end = folder / "probe", folder / "probe.done"
    if rank == 0:
        with suppress(FileNotFoundError):
            end.unlink()
        with locked(place):
            _until(end.exists, seconds)
        shutil.rmtree(place)
        end.unlink(missing_ok=True)
        return ""
    _until(lambda: seen(place) is not None, seconds)
    try:
        found = seen(place)
        if found is None or found.owner is None:
            raise BadInput(
                f"{folder}: what one node writes there, another does not see; expected a --results "
                "folder on a file system that all nodes share"
            )
        with open(place / LOCK, "w", opener=regular) as lock:
            # Where there are no locks at all, this is True as well.
            reaches = not flocked(lock)
        if _owned(place, _ourselves()):
            raise BadInput(f"{folder}: two nodes could create the same file, expected only one")
    finally:
        with suppress(OSError):
            end.touch()
    how = "the system's and owner files" if reaches else "owner files only, the system's do not"
    return f"locks hold from {found.owner.host} to {host()}: {how}"


def _until(true: Callable[[], bool], seconds: float) -> None:
    """Waits until something is true, or until the time is over."""
    end = _clock() + seconds
    while not true() and _clock() < end:
        time.sleep(_LOOK)


if __name__ == "__main__":
    try:
        line = check_between(Path(sys.argv[1]), int(os.environ.get("SLURM_PROCID", "0")))
    except (BadInput, OSError) as error:
        sys.exit(f"locks: {error}")
    if line:
        print(line)
