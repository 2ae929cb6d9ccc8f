"""Files that are replaced as a whole: a reader sees the old one, the new one or none."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def regular(path: str, flags: int) -> int:
    """An opener for `open` that takes files only: a named pipe would be waited for without end.

    Raises OSError for anything else, as for a file that cannot be opened.
    """
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no regular file", path)
    return handle


def content(path: Path) -> bytes:
    """All that is in a file. Raises OSError for what is none, a named pipe too."""
    with open(path, "rb", opener=regular) as file:
        return file.read()


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file in one go, through the disk; several processes may do it at once, on several
    machines.

    Makes its folder. Whatever goes wrong, an earlier file stays and no part of a new one is left.
    An OSError names the file.
    """
    with naming(path):
        temporary = _beside(path, content)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def write_together(texts: Mapping[Path, str]) -> None:
    """Writes new files in this order, all of them or none; for who alone writes there.

    Each is whole on the disk before the first one has its name, so a full disk leaves nothing, and
    a process that is killed the first few at most. An OSError names the file.
    """
    made: list[Path] = []
    try:
        for path, content in texts.items():
            with naming(path):
                made.append(_beside(path, content))
        for temporary, path in zip(tuple(made), texts, strict=True):
            with naming(path):
                os.replace(temporary, path)
            made.append(path)
    except BaseException:
        for left in made:
            with suppress(OSError):
                left.unlink()
        raise


def _beside(path: Path, content: str | bytes) -> Path:
    """A file with this content, through the disk, under a name of its own in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem}-{os.uname().nodename}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


LEFT_OVER = f".?*-{'[a-z0-9_]' * 8}"
"""A pattern of the names of what a killed `write_whole` leaves in a folder."""


def sweep(folder: Path) -> None:
    """Removes what a killed `write_whole` left in a folder; for who alone writes there."""
    for left in folder.glob(LEFT_OVER):
        if left.is_file():
            left.unlink(missing_ok=True)


_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))
"""What `flock` answers where there is no such lock; busy is EWOULDBLOCK alone."""


def flocked(file: IO[str]) -> bool:
    """Takes the system's lock of a file; False where another process has it.

    True as well where the file system has no locks. Raises OSError for any other answer.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OSError(error.errno, error.strerror, file.name) from error
    return True


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has an OSError name the file; that of a write, on a full disk say, names none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _umask() -> int:
    """The bits that new files of this process lack; to read them is to set them for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
