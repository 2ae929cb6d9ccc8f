"""A server of the user's own for calls of `./wrappers/target`: libraries loaded once, not by each.

Started by the first call, in the background; later calls find it by its socket. It forks a process
for every call, which does what a cold call does after loading its libraries (`call.main`), under
the caller's limits, folder and standard error, and which ends with its caller. So as many trials
run at once as there are callers, and nothing is carried over between them.

Whatever is strange ends in a cold call: the caller gets no answer, and makes the trial itself. That
is a request of another checkout, environment or user, code that has changed since the server began,
a server that is killed. The server ends when its code has changed, and after ten idle minutes.

A message is its length in four bytes and so many bytes, fields with a zero byte between them, which
is what a launcher writes without importing anything; standard error comes with the request as a
descriptor. The socket is private: in a folder with mode 0700, and of callers the user is looked at.
"""

import array
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from target_algorithms.contract import Result, Trial
from wrappers import call, worker
from wrappers.processes import code, die_with, stamp

IDLE = 600.0
"""Seconds without a call after which the server ends."""
PATIENCE = 10.0
"""Seconds that a caller may take to say what it wants."""
MOST = 1 << 22
"""Bytes of a request."""
_LOADED_TORCH = 3
"""Exit status of a process whose trial needed torch: the server loads it for those to come."""


@dataclass(frozen=True)
class Request:
    """What a caller sends."""

    identity: str
    """Checkout, interpreter and environment, as text."""
    folder: str
    """Its working directory."""
    mask: int
    """Its umask."""
    niceness: int
    processors: tuple[int, ...]
    """On which it may run."""
    limits: tuple[tuple[int, ...], ...]
    """Of its resources: which, soft, hard."""
    words: tuple[str, ...]
    """Of its command line."""


def parse(content: bytes) -> Request:
    """A request from its bytes. Raises ValueError for anything else."""
    identity, folder, mask, niceness, processors, limits, *words = map(
        os.fsdecode, content.split(b"\0")
    )
    parsed = tuple(tuple(map(int, limit.split(":"))) for limit in limits.split())
    if any(len(limit) != 3 for limit in parsed):
        raise ValueError(f"limits {limits!r}: expected numbers in threes")
    places = tuple(map(int, processors.split()))
    return Request(identity, folder, int(mask), int(niceness), places, parsed, tuple(words))


def main(path: str, identity: str) -> int:
    """Serves until there is nothing to do; returns at once where another server has the socket."""
    with open(f"{path}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun = code()
            worker.load()
            listener = _listener(path)
        except OSError:
            return 0
        finally:
            with suppress(FileNotFoundError):
                os.unlink(f"{path}.starting")
        with listener:
            busy = _serve(listener, identity, begun)
            with suppress(FileNotFoundError):
                os.unlink(path)
        # Another may begin. What is under way began with the old code, and ends with it.
        fcntl.flock(lock, fcntl.LOCK_UN)
        for _ in range(busy):
            os.wait()
    return 0


def _listener(path: str) -> socket.socket:
    """A socket that callers find there, in the place of one that a killed server left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    listener.bind(f"{path}.new")
    os.chmod(f"{path}.new", 0o600)
    listener.listen(128)
    os.replace(f"{path}.new", path)
    return listener


def _serve(listener: socket.socket, identity: str, begun: dict[str, tuple[int, int]]) -> int:
    """Answers calls until the code has changed or none comes; how many are then under way."""
    ended, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.register(ended, select.POLLIN)
    busy = 0
    while True:
        ready = {number for number, _ in poller.poll(IDLE * 1000)}
        if ended in ready:
            with suppress(BlockingIOError):
                os.read(ended, 1 << 12)
            for status in _reaped():
                busy -= 1
                if os.waitstatus_to_exitcode(status) == _LOADED_TORCH:
                    worker.load_torch()
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            with connection:
                if any(stamp(file) != before for file, before in begun.items()):
                    return busy
                server = os.getpid()
                if os.fork() == 0:
                    _answer(connection, listener, identity, server)
                busy += 1
        elif not ready and not busy:
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
    """Does what one call asks, in a process of its own; nothing, where anything is strange."""
    status, had_torch = 1, "torch" in sys.modules
    try:
        die_with(server)
        listener.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.settimeout(PATIENCE)
        request, errors = _received(connection)
        if _is_ours(connection) and request.identity == identity:
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
        pass
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
    """Takes over what a process inherits from its parent. A limit that cannot be had ends it."""
    for number, soft, hard in request.limits:
        resource.setrlimit(number, (soft, hard))
    os.sched_setaffinity(0, request.processors)
    os.nice(request.niceness - os.nice(0))
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
