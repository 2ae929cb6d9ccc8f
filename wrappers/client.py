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
    import socket
    from collections.abc import Callable, Sequence
    from typing import NoReturn

# What of the environment a trial may depend on, beside SPARSE_ACLIB_*.
_DEPENDS = (
    *("CC", "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
)
_NOT = ("SPARSE_ACLIB_TARGET", "SPARSE_ACLIB_SERVER")
_CONNECTING, _STARTING = 10.0, 60.0
"""Seconds: to be served, and until a start counts as failed."""


def answer(
    root: str, python: str, start: Callable[[Sequence[str]], object]
) -> tuple[int, str, str] | None:
    """Exit status, standard output and complaint of this call from a server, None if there is none.

    root, python: the checkout, and the interpreter with its libraries.
    start: replaces this process by that Python, on the words of a command line.
    """
    same = identity(root, python)
    path = _socket_path(same)
    if path is None:
        return None
    try:
        return _asked(path, same)
    except Exception:  # whatever is strange
        _start_server(path, start)
        return None


def identity(root: str, python: str) -> str:
    """What a server must share with this call."""
    environment = sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name in _DEPENDS or (name.startswith("SPARSE_ACLIB_") and name not in _NOT)
    )
    return "\n".join([root, python, *environment])


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


def _asked(path: str, same: str) -> tuple[int, str, str]:
    """What a server answers. Raises anything where none does."""
    import resource
    import signal
    import socket
    import struct

    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    numbers = {getattr(resource, name) for name in names}
    limits = [(number, *resource.getrlimit(number)) for number in numbers]
    mask = os.umask(0o077)
    os.umask(mask)
    fields = [same, os.getcwd(), mask, os.nice(0)]
    fields.append(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
    fields.append(" ".join(":".join(map(str, limit)) for limit in limits))
    content = b"\0".join(os.fsencode(str(field)) for field in fields + sys.argv[1:])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECTING)
    connection.connect(path)
    errors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 2))]
    connection.sendmsg([struct.pack("!I", len(content))], errors)
    connection.sendall(content)
    process = int(_received(connection))

    def hand_on(number: int, frame: object) -> None:
        try:
            os.kill(process, number)  # which answers for both
        except ProcessLookupError:
            pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, hand_on)
    connection.settimeout(None)
    status, complaint, output = _received(connection).split(b"\0", 2)
    return int(status), output.decode(), complaint.decode()


def _received(connection: socket.socket) -> bytes:
    """A message. Raises EOFError where the server has ended."""
    head = connection.recv(4, 0x100)  # MSG_WAITALL
    content = b""
    while len(head) < 4 or len(content) < int.from_bytes(head, "big"):
        part = connection.recv(1 << 16)
        if not part:
            raise EOFError
        content += part
    return content


def _start_server(path: str, start: Callable[[Sequence[str]], object]) -> None:
    """Has a server started in the background, unless another call has just done that."""
    import time

    marker = path + ".starting"
    try:
        if time.time() - os.stat(marker).st_mtime > _STARTING:
            os.unlink(marker)
    except OSError:
        pass
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            os.closerange(3, 1024)
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
