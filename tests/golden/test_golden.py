"""Trials of the truly sparse engine are the same to the bit, whatever runs and compiles them."""

import importlib
import os
import subprocess
import sys

import pytest

from target_algorithms import ROOT
from tests.golden.trials import differing, lines


def test_golden_trials_are_what_they_were() -> None:
    """Where they are not, results have changed: the changelog says so, and whose."""
    assert differing(lines()) == []


def test_no_result_depends_on_the_width_of_vectors_or_on_a_library_s_kernels() -> None:
    """The engine built without AVX-512, numpy and its BLAS as on a processor of 2013."""
    of_numpy = importlib.import_module("numpy._core._multiarray_umath")
    features, dispatched = of_numpy.__cpu_features__, of_numpy.__cpu_dispatch__
    if not features.get("AVX2"):
        pytest.skip("not an x86 processor with AVX2")
    settings = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in dispatched if features.get(name)),
        "OPENBLAS_CORETYPE": "Haswell",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.trials", "--check", "--flags", "mno-avx512f"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
