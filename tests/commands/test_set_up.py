"""`./run_all.sh setup`, with a stand-in for Python: when an environment is made, and when anew."""

import shutil
import subprocess
from pathlib import Path

import pytest

from target_algorithms import ROOT

PYTHON = """\
#!/bin/sh
echo "$@" >>"$LOG"
env | grep ^PYTHON >>"$LOG"
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    cp "$0" .venv/bin/sparse-aclib
fi
"""
"""It notes what it is called for; as an environment's Python and as a command, too."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A set-up checkout."""
    folder = tmp_path / "a" / "checkout"
    folder.mkdir(parents=True)
    for name in ("run_all.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    assert "-m venv .venv" in set_up(folder, tmp_path)
    return folder


def set_up(checkout: Path, tmp_path: Path, **settings: str) -> list[str]:
    """What Python was called for, and with which settings."""
    log = tmp_path / "log"
    log.write_text("")
    given = {"PYTHON": str(tmp_path / "python"), "LOG": str(log), "PATH": "/usr/bin:/bin"}
    subprocess.run(
        ["./run_all.sh", "setup"], cwd=checkout, env=given | settings, check=True, timeout=60
    )
    return log.read_text().splitlines()


def makes_anew(calls: list[str]) -> bool:
    assert ("-m venv .venv" in calls) == any(call.endswith("-e .") for call in calls)
    return "-m venv .venv" in calls


def test_what_is_set_up_is_left_as_it_is(checkout: Path, tmp_path: Path) -> None:
    assert not makes_anew(set_up(checkout, tmp_path))


@pytest.mark.parametrize("place", ["checkout", "b/checkout", "a b/checkout"])
def test_a_moved_checkout_is_made_anew_once(place: str, checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv" / "of the old place").touch()
    (tmp_path / place).parent.mkdir(exist_ok=True)
    moved = checkout.rename(tmp_path / place)
    assert makes_anew(set_up(moved, tmp_path))
    assert not (moved / ".venv" / "of the old place").exists()
    assert not makes_anew(set_up(moved, tmp_path))


def test_so_is_a_copied_one_and_the_original_stays(checkout: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkout, tmp_path / "copy"))
    assert makes_anew(set_up(copy, tmp_path))
    assert not makes_anew(set_up(checkout, tmp_path))


def test_a_checkout_called_by_another_name_for_its_place_has_not_moved(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(checkout)
    assert not makes_anew(set_up(tmp_path / "link", tmp_path))


def test_python_settings_of_the_caller_do_not_reach_the_set_up(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "requirements.lock").write_text("torch==1\n")
    calls = set_up(checkout, tmp_path, PYTHONPATH="poison", PYTHONHOME="poison")
    assert any("install" in call for call in calls) and "-m venv .venv" not in calls
    assert {call for call in calls if call.startswith("PYTHON")} == {f"PYTHON={tmp_path}/python"}
