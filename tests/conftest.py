"""What all tests share: the marker for irace, and a scenario small enough for a test."""

import os
import re
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
    """A root folder with the digits scenarios, their training budgets cut to those of a test."""
    for folder in (ROOT / "scenarios").glob("digits*"):
        shutil.copytree(folder, tmp_path / "suite" / "scenarios" / folder.name)
    shutil.copytree(ROOT / "scenarios" / "spaces", tmp_path / "suite" / "scenarios" / "spaces")
    for file in (tmp_path / "suite" / "scenarios").glob("*/*/scenario.txt"):
        text = re.sub("--training-samples [0-9]+", "--training-samples 600", file.read_text())
        file.write_text(re.sub("--training-flops [0-9]+", "--training-flops 3000000", text))
    return tmp_path / "suite"
