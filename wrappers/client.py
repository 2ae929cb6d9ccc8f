"""The half of a served call that runs in the caller's Python, whatever its version.

`./wrappers/target` has this module ask the user's server (server.py), and start one where there is
none. Of the standard library only, each part of it imported where it is needed: this is the time
that every call takes. What goes wrong raises something, and the call is made without a server.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

_NOT_COUNTED = (
    *("_", "PWD", "OLDPWD", "SHLVL", "TERM", "COLORTERM", "COLUMNS", "LINES", "LS_COLORS"),
    *("DISPLAY", "WINDOWID", "STY", "TMUX", "TMUX_PANE", "INVOCATION_ID", "JOURNAL_STREAM"),
    *("XDG_SESSION_ID", "SPARSE_ACLIB_SERVER", "SPARSE_ACLIB_TARGET", "SPARSE_ACLIB_COMMAND"),
)
_NOT_COUNTED_BEGIN = ("SSH_", "TERM_", "VTE_", "SLURM_")
_COUNTED = ("SLURM_JOB_ID",)
_STATUS = ("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:", "Mems_allowed:")

_CONNECTING, _STARTING = 10.0, 60.0
"""Seconds: to be served, and until a start counts as failed."""
_NOTES, _MOST_NOTES = "missed", 64


def identity(place: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a server must share with this call: what its processes have from it, not from a caller.

    place: the checkout, and the interpreter with its libraries.
    environment: of the call, once it is made. A trial may depend on any variable of it: on a
    device, a locale, a folder, what the system's loader or a numerical library reads. What belongs
    to a terminal or a shell alone is left out, and so is what a batch system says of a step of a
    job, which no library of a trial reads; of which job does count, since a server ends with it.

    Else it is what limits, or hides from, a process: its namespaces and control group (signals go
    by process ids, memory by the group; a batch system has a group for a step), its priority, its
    hard limits, its rights.
    """
    import resource

    counted = sorted(
        (os.fsencode(name), os.fsencode(value))
        for name, value in environment.items()
        if name in _COUNTED or not (name in _NOT_COUNTED or name.startswith(_NOT_COUNTED_BEGIN))
    )
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))]
    rights = [line for line in _content("/proc/self/status") if line.startswith(_STATUS)]
    machine = _content("/proc/sys/kernel/random/boot_id"), _content("/proc/self/cgroup")
    priority = os.nice(0), os.sched_getscheduler(0)
    hard = [(number, resource.getrlimit(number)[1]) for number in limits()]
    return ascii((*place, counted, spaces, rights, machine, priority, hard))


def _content(file: str) -> list[str]:
    with open(file, encoding="ascii", errors="surrogateescape") as lines:
        return list(lines)


def limits() -> list[int]:
    """The numbers of all resources that are limited."""
    import resource

    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return sorted({getattr(resource, name) for name in names})


def answer(same: str, start: Callable[[Sequence[str]], object]) -> tuple[int, str, str] | None:
    """Exit status, standard output and complaint of this call from a server, None if there is none.

    same: this call's identity. start: replaces this process by the project's Python, on the words
    of a command line.
    """
    path = _socket_path(same)
    if path is None:
        return None
    request = _request(same)
    try:
        return _asked(path, request)
    except (BlockingIOError, _Refused):  # more wait for it than can; or nothing is wrong with it
        return None
    except Exception as error:  # whatever is strange
        if _is_to_start(path, found=not isinstance(error, FileNotFoundError)):
            _start_server(path, same, start)
        return None


def _socket_path(same: str) -> str | None:
    """Where a server of that identity listens, in a folder that is ours alone; None without one."""
    import zlib

    place = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    folder = os.path.join(place, f"sparse-aclib-{os.getuid()}")
    try:
        os.mkdir(folder, 0o700)
    except OSError:
        pass
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    ours = status.st_uid == os.getuid() and status.st_mode & 0o170077 == 0o040000
    path = os.path.join(folder, f"{zlib.crc32(os.fsencode(same)):08x}")
    return path if ours and len(path) < 90 else None


class _Refused(Exception):
    """A server that is well does not answer this call."""


def _request(same: str) -> bytes:
    """What a server is told: the identity, what it takes over from its caller, the words."""
    import resource

    mask = os.umask(0o077)
    os.umask(mask)
    fields = [same, os.getcwd(), str(mask)]
    fields.append(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
    fields.append(" ".join(f"{number}:{resource.getrlimit(number)[0]}" for number in limits()))
    return b"\0".join(map(os.fsencode, fields + sys.argv[1:]))


def _asked(path: str, request: bytes) -> tuple[int, str, str]:
    """What a server answers. Raises anything where none does."""
    import signal
    import socket
    import struct

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECTING)
    connection.connect(path)
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _check_is_running(struct.unpack("3i", peer)[0])
    errors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 2))]
    connection.sendmsg([struct.pack("!I", len(request))], errors)
    connection.sendall(request)
    accepted = _received(connection)
    if not accepted:
        raise _Refused
    process = int(accepted)
    told_to_end = []

    def hand_on(number: int, frame: object) -> None:
        told_to_end.append(number)
        try:
            os.kill(process, number)  # which answers for both
        except OSError:
            pass

    _on_stop(hand_on)
    connection.settimeout(None)
    try:
        status, complaint, output = _received(connection).split(b"\0", 2)
    except (EOFError, OSError):
        _on_stop(signal.SIG_DFL)
        for number in told_to_end:  # before it could answer: the trial is not begun anew
            os.kill(os.getpid(), number)
        raise
    _on_stop(signal.SIG_IGN)  # there is an answer
    return int(status), output.decode(), complaint.decode()


def _on_stop(action: Callable[[int, object], None] | signal.Handlers) -> None:
    """What is to happen where this process is told to end."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, action)


def _check_is_running(process: int) -> None:
    """Raises TimeoutError for a server that somebody has stopped: it would be waited for."""
    words = "".join(_content(f"/proc/{process}/stat")).rpartition(")")[2].split()
    if words[0] in ("T", "t"):
        raise TimeoutError


def _received(connection: socket.socket) -> bytes:
    """A message. Raises EOFError where the server has ended."""
    return _part(connection, int.from_bytes(_part(connection, 4), "big"))


def _part(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise EOFError
        content += part
    return content


def _is_to_start(path: str, *, found: bool) -> bool:
    """Whether this call is to start a server there. The second that misses one is: a server for the
    first would be one for every call, where each has an environment of its own (a new folder for
    what is temporary, a step of a batch job, a container).

    found: there is one, or was, and this call has no answer from it: this is not the first, then.
    """
    import time

    starts, now = False, time.monotonic()

    def rule(noted: float | None) -> float:
        nonlocal starts
        starts = (found or noted is not None) and now >= (noted or 0.0)
        return now + _STARTING if starts else noted or 0.0

    note(path, rule)
    return starts


def note(path: str, rule: Callable[[float | None], float]) -> None:
    """Changes what is noted of a server there: until when none is to be started, None if nothing.

    The notes are on the last identities only, in one file.
    """
    folder, name = os.path.split(path)
    lock = alone_in(folder)
    try:
        file = os.path.join(folder, _NOTES)
        try:
            notes = {who: float(until) for who, until in map(str.split, _content(file))}
        except (OSError, ValueError):
            notes = {}
        notes[name] = rule(notes.pop(name, None))
        with open(file, "w", encoding="ascii") as lines:
            lines.writelines(
                f"{who} {until}\n" for who, until in list(notes.items())[-_MOST_NOTES:]
            )
    finally:
        os.close(lock)


def alone_in(folder: str) -> int:
    """A descriptor: until it is closed, no other process is in the folder this way."""
    import fcntl

    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _start_server(path: str, same: str, start: Callable[[Sequence[str]], object]) -> None:
    """Has a server started in the background, which has its identity from its standard input."""
    import tempfile

    child = os.fork()
    if child:
        try:
            os.waitpid(child, 0)
        except ChildProcessError:  # a caller that ignores what becomes of children
            pass
        return
    try:
        os.setsid()
        if os.fork() == 0:
            said = tempfile.TemporaryFile("w+", encoding="ascii")
            said.write(same)
            said.seek(0)
            os.dup2(said.fileno(), 0)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            for descriptor in map(int, os.listdir("/proc/self/fd")):
                if descriptor > 2:
                    try:
                        os.close(descriptor)
                    except OSError:  # that of the listing itself
                        pass
            start(["--serve", path])
    finally:
        os._exit(0)


def leave(status: int, output: str, complaint: str = "") -> NoReturn:
    """Ends this process: its answer on standard output, what there is to mend on standard error.

    By the system's calls alone: settings of the caller's Python would change the bytes, or hold
    the process.
    """
    try:
        _write(1, output)
    except BrokenPipeError:  # the caller read what it wanted and went
        pass
    except OSError as error:
        status, complaint = 1, f"target: the answer cannot be written ({error.strerror})"
    try:
        _write(2, complaint and f"{complaint}\n")
    except OSError:
        pass
    os._exit(status)


def _write(descriptor: int, text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:  # a pipe that does not wait, and is full
            import select

            select.select([], [descriptor], [])
