"""The truly sparse engine's kernels: one C file, compiled for this machine and kept.

The library lies in the user's cache directory under a name made of the source, the compiler's
flags, the processor and the compiler, so that another checkout, the same home on another machine,
or another compiler, gets its own. It ends with a digest of all that: what is truncated, or was put
there by anything else, is never loaded but built anew. The compiler is `$CC`, the system's, or that
of the ziglang package; without any, a library that another one left is used, and without that
`available` says so and trials use the masked engine.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparse_training.machine import cache_directory

SOURCE = Path(__file__).with_name("sparse.c")

FLAGS: tuple[str, ...] = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    # Nothing here looks at errno or at floating-point exceptions; -ffast-math would also drop the
    # tests for values that are not finite.
    "-fno-math-errno",
    "-fno-trapping-math",
    # What is fused is said in the source, so that every machine and compiler fuses the same.
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
)

COMPILERS = ("cc", "gcc", "clang")


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels, built first if this machine has none. Raises OSError, one line, if it cannot."""
    return ctypes.CDLL(str(file()))


@functools.cache
def available() -> str | None:
    """Why there are no kernels here, None if there are."""
    try:
        library()
    except OSError as error:
        return " ".join(str(error).split())
    return None


@functools.cache
def file() -> Path:
    """Where the library is, built first if this machine has none. Raises OSError if it cannot."""
    try:
        folder = cache_directory()
    except RuntimeError:
        raise OSError("no home directory: set XDG_CACHE_HOME to one for the kernels") from None
    begin = f"kernels-{_digest(SOURCE.read_bytes(), ' '.join(FLAGS), _processor())}-"
    problem = "no C compiler: install gcc or clang, or 'pip install ziglang' into this environment"
    for compiler in _compilers():
        library = folder / f"{begin}{_identity(compiler)}.so"
        if _intact(library):
            return library
        failure = _build(compiler, library)
        if failure is None:
            return library
        problem = failure
    for library in sorted(folder.glob(f"{begin}*.so")):
        if _intact(library):
            return library
    raise OSError(problem)


def _digest(*parts: str | bytes) -> str:
    """A short name for all that."""
    whole = b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(whole).hexdigest()[:16]


def _identity(compiler: list[str]) -> str:
    """Tells a compiler from others, and from other versions of itself, without starting it."""
    stamps = []
    for word in compiler:
        if found := shutil.which(word):
            status = os.stat(found)
            stamps.append(f"{os.path.realpath(found)} {status.st_size} {status.st_mtime_ns}")
        elif word.isidentifier() and (module := _module(word)):  # `python -m ziglang`
            stamps.append(f"{module} {os.stat(module).st_mtime_ns}")
    return _digest(*compiler, *stamps)[:8]


def _module(name: str) -> str | None:
    """The file of a module, None if there is none of that name."""
    found = importlib.util.find_spec(name)
    return None if found is None else found.origin


def _seal(content: bytes, name: str) -> bytes:
    """What a library of this name ends with, so that no other is loaded for it."""
    return hashlib.sha256(name.encode() + content).digest()


def _intact(library: Path) -> bool:
    try:
        whole = library.read_bytes()
    except OSError:
        return False
    seal = _seal(b"", "")
    content = whole[: -len(seal)]
    return whole[len(content) :] == _seal(content, library.name)


def _processor() -> str:
    """What -march=native looks at: the architecture and the processor's features."""
    lines: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                name, _, value = line.partition(":")
                lines.setdefault(name.strip(), value.strip())
                if not name.strip():
                    break  # the first core speaks for all
    except OSError:
        pass
    names = ("model name", "flags", "CPU part", "Features")
    return " ".join([platform.machine(), *(lines.get(name, "") for name in names)])


def _compilers() -> Iterator[list[str]]:
    """Commands to try, the best first."""
    chosen = os.environ.get("CC")
    if chosen:
        yield shlex.split(chosen)
    for name in COMPILERS:
        if shutil.which(name):
            yield [name]
    if importlib.util.find_spec("ziglang"):
        yield [sys.executable, "-m", "ziglang", "cc"]


def _build(compiler: list[str], library: Path) -> str | None:
    """Compiles into the cache; atomic, so it may run several times at once. What went wrong.

    Raises OSError if the cache cannot be written.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-")
    except OSError as error:
        raise OSError(
            f"cannot write to {library.parent} ({error.strerror}): set XDG_CACHE_HOME to a "
            "directory for the kernels"
        ) from None
    with place as folder:
        built = Path(folder) / library.name
        command = [*compiler, *FLAGS, str(SOURCE), "-o", str(built), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"{compiler[0]}: {error.strerror}"
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            return f"{' '.join(compiler)} failed: {(lines or ['without a word'])[0]}"
        with built.open("r+b") as written:
            seal = _seal(written.read(), library.name)
            written.write(seal)
            written.flush()
            os.fsync(written.fileno())  # no half file after a power cut
        os.replace(built, library)
    return None
