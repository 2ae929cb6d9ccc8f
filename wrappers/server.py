"""A server of the user's own for calls of `./wrappers/target`: libraries loaded once, not by each.

Started by a call, in the background; later calls find it by its socket. It forks a process for
every call, which does what a cold call does after loading its libraries (`call.main`), under the
caller's limits, folder and standard error, and which ends with its caller. So as many trials run at
once as there are callers, and nothing is carried over between them.

Whatever is strange ends in a cold call: the caller gets no answer, and makes the trial itself. That
is a request of another identity (`client.identity`) or user, code that has changed since the server
began, a server that is killed or stopped. Who begins later has the place: a server that finds
another's socket where its own was, or none, ends when what is under way has ended, as it does when
its code has changed, and after ten idle minutes.

A message is its length in four bytes and so many bytes, fields with a zero byte between them, which
is what a launcher writes without importing anything; standard error comes with the request as a
descriptor. The socket is private: in a folder with mode 0700, and of callers the user is looked at.
"""

import array
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from target_algorithms.contract import Result, Trial
from wrappers import call, client, worker
from wrappers.processes import code, die_with, stamp

IDLE = 600.0
"""Seconds without a call after which the server ends."""
LOOK = 5.0
"""Seconds between two looks at whether another server has taken the place of this one."""
PATIENCE = 10.0
"""Seconds that a caller may take to say what it wants."""
MOST = 1 << 24
"""Bytes of a request."""
MOST_SERVERS = 8
"""Of a user: a further one takes the place of that which has answered nobody for the longest."""
_LOADED_TORCH = 3
"""Exit status of a process whose trial needed torch: the server loads it for those to come."""
_REFUSED = 1
"""Exit status of a process that has answered nobody."""


@dataclass(frozen=True)
class Request:
    """What a caller sends."""

    identity: str
    """What it shares with a server that may answer (`client.identity`)."""
    folder: str
    """Its working directory."""
    mask: int
    """Its umask."""
    processors: tuple[int, ...]
    """On which it may run."""
    limits: tuple[tuple[int, int], ...]
    """Of its resources: which, and how much of it, softly."""
    words: tuple[str, ...]
    """Of its command line."""


def parse(content: bytes) -> Request:
    """A request from its bytes. Raises ValueError for anything else."""
    identity, folder, mask, processors, limits, *words = map(os.fsdecode, content.split(b"\0"))
    pairs = [limit.split(":") for limit in limits.split()]
    parsed = tuple((int(number), int(soft)) for number, soft in pairs)
    places = tuple(map(int, processors.split()))
    return Request(identity, folder, int(mask), places, parsed, tuple(words))


def main(path: str, identity: str) -> int:
    """Serves until there is nothing to do, or another server has its place."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in client.limits():  # the caller's softer ones are for its trial
        hard = resource.getrlimit(number)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(number, (hard, hard))
    begun = code()
    worker.load()
    os.chdir("/")  # it must not hold the folder of its first caller
    place = _Place(Path(path))
    with place.listener:
        busy = _serve(place, identity, begun)
        place.leave()
    # What is under way began with the old code, and ends with it.
    for _ in range(busy):
        os.wait()
    return 0


class _Place:
    """A socket where callers find it, until another server, later than this, takes the place."""

    def __init__(self, path: Path) -> None:
        self.path, new = path, path.with_suffix(".new")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _alone_in(path.parent):
            for left in path.parent.glob("*.new"):
                left.unlink()
            self.listener.bind(str(new))
            new.chmod(0o600)
            self.listener.listen(128)
            self._file = new.stat().st_ino
            new.replace(path)
            others = [file for file in path.parent.iterdir() if file.is_socket() and file != path]
            others.sort(key=lambda file: file.stat().st_mtime)
            for oldest in others[: max(0, len(others) + 1 - MOST_SERVERS)]:
                oldest.unlink()
        client.note(str(path), lambda noted: 0.0)  # whoever misses it may start another

    @property
    def is_ours(self) -> bool:
        """Whether callers find this server."""
        try:
            return self.path.stat().st_ino == self._file
        except OSError:
            return False

    def used(self) -> None:
        """Keeps the time, by which servers are compared."""
        with suppress(OSError):
            os.utime(self.path)

    def leave(self) -> None:
        with _alone_in(self.path.parent):
            if self.is_ours:
                self.path.unlink()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    lock = client.alone_in(str(folder))
    try:
        yield
    finally:
        os.close(lock)


def _serve(place: _Place, identity: str, begun: dict[str, tuple[int, int]]) -> int:
    """Answers calls until the code has changed, none comes or none finds this server; how many are
    then under way."""
    ended, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poller = select.poll()
    poller.register(place.listener, select.POLLIN)
    poller.register(ended, select.POLLIN)
    busy, last = 0, time.monotonic()
    while True:
        ready = {number for number, _ in poller.poll(min(LOOK, IDLE) * 1000)}
        if ended in ready:
            with suppress(BlockingIOError):
                os.read(ended, 1 << 12)
            for status in map(os.waitstatus_to_exitcode, _reaped()):
                busy -= 1
                if status != _REFUSED:
                    last = time.monotonic()
                    place.used()
                if status == _LOADED_TORCH:
                    worker.load_torch()
        if not place.is_ours:
            return busy
        if place.listener.fileno() in ready:
            connection, _ = place.listener.accept()
            with connection:
                if any(stamp(file) != before for file, before in begun.items()):
                    return busy
                server = os.getpid()
                if os.fork() == 0:
                    _answer(connection, place.listener, identity, server)
                busy += 1
        elif not busy and time.monotonic() - last >= IDLE:
            return busy


def _reaped() -> Iterator[int]:
    """The statuses of processes that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield status


def _is_ours(connection: socket.socket) -> bool:
    """Whether the peer is the same user."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", said)[1] == os.getuid())


def _answer(
    connection: socket.socket, listener: socket.socket, identity: str, server: int
) -> NoReturn:
    """Does what one call asks, in a process of its own; where anything is strange, it says nothing
    in so many words: a caller that hears less takes the server for one that has ended."""
    status, had_torch = _REFUSED, "torch" in sys.modules
    try:
        die_with(server)
        listener.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.settimeout(PATIENCE)
        request, errors = _received(connection)
        if not _is_ours(connection) or request.identity != identity:
            raise ValueError("the call of another user, or of another identity")
        _become(request)
        os.dup2(errors, 2)
        connection.settimeout(None)
        _send(connection, str(os.getpid()))
        answered, output, complaint = call.main(
            request.words, lambda trial: _evaluated(trial, connection)
        )
        _send(connection, f"{answered}\0{complaint}\0{output}")
        status = _LOADED_TORCH if "torch" in sys.modules and not had_torch else 0
    except (OSError, ValueError):
        with suppress(OSError):
            _send(connection, "")
    finally:
        os._exit(status)


def _evaluated(trial: Trial, connection: socket.socket) -> Result:
    """What a warm worker does with a trial; nobody's once the caller is gone."""
    reason = worker.no_sparse_engine()
    if reason and worker.could_be_sparse(trial.options):
        worker.warn_of_slow_trials(reason)
    worker.prepare(trial.instance)
    return worker.run_limited(trial, parent=connection.fileno())


def _become(request: Request) -> None:
    """Takes over what a process inherits from its parent. What cannot be had ends it."""
    for number, soft in request.limits:
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))
    os.sched_setaffinity(0, request.processors)
    os.umask(request.mask)
    os.chdir(request.folder)


def _received(connection: socket.socket) -> tuple[Request, int]:
    """A caller's request and the descriptor of its standard error. Raises ValueError, OSError."""
    descriptors = array.array("i")
    head, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_LEN(descriptors.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: descriptors.itemsize])
    if len(head) != 4 or len(descriptors) != 1:
        raise ValueError("a request without its length or standard error")
    length = int.from_bytes(head, "big")
    if length > MOST:
        raise ValueError(f"a request of {length} bytes: expected at most {MOST}")
    with connection.makefile("rb") as stream:
        return parse(stream.read(length)), descriptors[0]


def _send(connection: socket.socket, text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    connection.sendall(len(content).to_bytes(4, "big") + content)
