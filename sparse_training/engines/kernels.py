"""The truly sparse engine's kernels: one C file, compiled for this machine and kept.

The library lies in the user's cache directory under a name made of the source, the compiler's flags
and the processor, so that another checkout, or the same home on another machine, gets its own. The
compiler is `$CC`, the system's, or that of the ziglang package; without any, `available` says so
and trials use the masked engine.
"""

import contextlib
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
    file = cached_file()
    if file.exists():
        with contextlib.suppress(OSError):  # damaged: it is built anew
            return ctypes.CDLL(str(file))
    _build(file)
    return ctypes.CDLL(str(file))


@functools.cache
def available() -> str | None:
    """Why there are no kernels here, None if there are."""
    try:
        library()
    except OSError as error:
        return " ".join(str(error).split())
    return None


@functools.cache
def cached_file() -> Path:
    """Where the library is kept; it need not exist."""
    content = SOURCE.read_bytes() + " ".join(FLAGS).encode() + _processor().encode()
    key = hashlib.sha256(content).hexdigest()[:16]
    try:
        return cache_directory() / f"kernels-{key}.so"
    except RuntimeError:
        raise OSError("no home directory: set XDG_CACHE_HOME to one for the kernels") from None


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


def _build(file: Path) -> None:
    """Compiles into the cache; atomic, so it may run several times at once."""
    problem = "no C compiler: install gcc or clang, or 'pip install ziglang' into this environment"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=file.parent, prefix=".build-")
    except OSError as error:
        raise OSError(
            f"cannot write to {file.parent} ({error.strerror}): set XDG_CACHE_HOME to a directory "
            "for the kernels"
        ) from None
    with place as folder:
        built = Path(folder) / file.name
        for compiler in _compilers():
            command = [*compiler, *FLAGS, str(SOURCE), "-o", str(built), "-lm"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                problem = f"{compiler[0]}: {error.strerror}"
                continue
            if done.returncode == 0:
                with built.open("rb") as written:
                    os.fsync(written.fileno())  # no half file after a power cut
                os.replace(built, file)
                return
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            problem = f"{' '.join(compiler)} failed: {(lines or ['without a word'])[0]}"
    raise OSError(problem)
