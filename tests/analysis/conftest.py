"""A made-up benchmark that several tests read."""

from pathlib import Path

import pytest

from tests.analysis.benchmark import make_benchmark


@pytest.fixture(scope="session")
def benchmark_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole benchmark; not to be changed by a test."""
    return make_benchmark(tmp_path_factory.mktemp("benchmark"), trials=40)
