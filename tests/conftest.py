"""What all tests share: the marker for irace, and a scenario small enough for a test."""

import os
import shutil
from pathlib import Path

import pytest

from wrappers import configurators

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need irace where it is missing; fail there if it is required."""
    reason = configurators.missing().get("irace")
    if reason is None or os.environ.get("SPARSE_ACLIB_REQUIRE_IRACE"):
        return
    for item in items:
        if item.get_closest_marker("irace"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A root folder with the digits scenarios, their training budget cut to 600 samples."""
    shutil.copytree(ROOT / "scenarios" / "digits", tmp_path / "suite" / "scenarios" / "digits")
    for file in (tmp_path / "suite" / "scenarios").glob("*/*/scenario.txt"):
        words = file.read_text().split(" ")
        words[words.index("--training-samples") + 1] = "600"
        file.write_text(" ".join(words))
    return tmp_path / "suite"
