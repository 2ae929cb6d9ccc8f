"""What the tests of the library share: data of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory of the test session's own; processes started by tests inherit it."""
    before = os.environ.get("SPARSE_ACLIB_DATA")
    path = tmp_path_factory.mktemp("data")
    os.environ["SPARSE_ACLIB_DATA"] = str(path)
    yield path
    if before is None:
        del os.environ["SPARSE_ACLIB_DATA"]
    else:
        os.environ["SPARSE_ACLIB_DATA"] = before
