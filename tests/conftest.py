"""What all tests share: markers of configurators, and scenarios small enough for a test."""

import os
import re
import shutil
from pathlib import Path

import hypothesis
import pytest

from target_algorithms import ROOT
from wrappers.processes import ONE_THREAD

os.environ.update(ONE_THREAD)  # before numpy is imported: tests fork trials from this process
os.environ["SPARSE_ACLIB_SERVER"] = "off"  # calls of a test leave no process behind

# Machines differ, and have a bad day; the same examples everywhere.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked with a configurator that is not installed; fail if it is required."""
    from tests.examples import required
    from wrappers import configurators

    for name, reason in configurators.missing().items():
        for item in items:
            if item.get_closest_marker(name) and not required(name):
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
