"""What one core of this machine can do at most, and how long a sparse step takes at least.

    python -m benchmarks.roofline

Measured, not looked up: bytes read a second from a buffer in the level-1 and in the level-2 cache,
and single-precision operations a second without memory, by roofline.c with the compiler and vectors
of the kernels; best of some runs.

The bound of a step: every active weight reads a row of activations of the whole padded batch going
forward, and a row of deltas going back, which serves both gradients. The rows of a panel of a layer
lie in the level-1 cache if they fit there, else in the level-2 cache. Six operations a weight and
sample are never the limit at these speeds, but the larger of both times is taken. What a step does
beside that is not in the bound: gathering the batch, what each neuron costs, adding up vectors.
"""

import ctypes
import functools
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparse_training.engines import kernels, sparse

SOURCE = Path(__file__).with_suffix(".c")
LEVEL_1, LEVEL_2 = 16 << 10, 256 << 10
"""Bytes that are surely in the cache of that level; read bandwidth is the same all over it."""


@dataclass(frozen=True)
class Peaks:
    """Of one core."""

    level_1: float
    """Bytes read a second."""
    level_2: float
    operations: float
    """Single-precision operations a second; a multiplication with an addition is two."""
    size_1: int
    """Bytes of the level-1 data cache."""

    def __str__(self) -> str:
        return (
            f"level 1 {self.level_1 / 1e9:.0f} GB/s, level 2 {self.level_2 / 1e9:.0f} GB/s, "
            f"{self.operations / 1e9:.0f} G operations/s"
        )


@functools.cache
def peaks() -> Peaks:
    """Measured once a process."""
    library, lanes = _library()
    buffer = np.zeros(LEVEL_2 // 4 + 16, dtype=np.float32)
    begin = buffer.ctypes.data + -buffer.ctypes.data % 64

    def read(size: int) -> float:
        times = (1 << 28) // size
        call = functools.partial(library.read_buffer, begin, size // 4, times)
        return size * times / _best(call)

    links = 1 << 22
    call = functools.partial(library.multiply_add, links, 1.0, 0.0)
    return Peaks(
        level_1=read(LEVEL_1),
        level_2=read(LEVEL_2),
        operations=32 * lanes * links / _best(call),
        size_1=_level_1(),
    )


def bound(shapes: Sequence[tuple[int, int]], counts: Sequence[int], batch: int) -> float:
    """Seconds that a step takes at least; shapes: (outputs, inputs) of every layer."""
    most, panel = peaks(), 4 * sparse.LANES
    padded = -(-batch // sparse.LANES) * sparse.LANES
    seconds = 0.0
    for shape, count in zip(shapes, counts, strict=True):
        for rows in shape[::-1]:  # activations going forward, deltas going back
            in_level_1 = 4 * rows * min(padded, panel) <= most.size_1
            bandwidth = most.level_1 if in_level_1 else most.level_2
            seconds += max(4 * count * padded / bandwidth, 3 * count * padded / most.operations)
    return seconds


def _best(call: Callable[[], object], runs: int = 7) -> float:
    """Seconds of the quickest of some calls."""
    call()
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


def _library() -> tuple[ctypes.CDLL, int]:
    """The compiled loops, and the lanes of their vectors."""
    lanes = 16 if b" avx512f " in _cpu() else 8
    compiler = next(iter(kernels._compilers()))
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "roofline.so"
        flags = [flag for flag in kernels.FLAGS if flag != "-ffp-contract=off"]
        subprocess.run(
            [*compiler, *flags, f"-DWIDTH={lanes}", str(SOURCE), "-o", str(built)], check=True
        )
        library = ctypes.CDLL(str(built))
    library.read_buffer.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    library.multiply_add.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float]
    return library, lanes


def _cpu() -> bytes:
    """The line of the processor's features, with a space at its end."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    return next((line + b" " for line in lines if line.startswith(b"flags")), b"")


def _level_1() -> int:
    """Bytes of the level-1 data cache; 32 KiB where the system does not say."""
    try:
        said = Path("/sys/devices/system/cpu/cpu0/cache/index0/size").read_text().strip()
        return int(said.removesuffix("K")) << 10
    except (OSError, ValueError):
        return 32 << 10


if __name__ == "__main__":
    print(peaks())
