"""A scenario whose root parameter is the variant, from its files to the report."""

import re
import shutil
from pathlib import Path

import pytest

from target_algorithms import CHOSEN, ROOT
from tests.commands.test_private_roots import sparse_aclib, well
from tests.examples import COMBINATION, PLAIN, SELECTION, scenario_name
from wrappers.provenance import trial_code
from wrappers.records import RUNHISTORY, VALIDATION, Numbered, Record, read_lines

MINE = "mine"


def root_with(root: Path, selection: str) -> Path:
    """A root with a scenario of a selection on a repeated set, its training short."""
    folder = root / "scenarios" / "own"
    (folder / selection).mkdir(parents=True)
    for name in ("training.txt", "test.txt", "features.csv", "README.md"):
        shutil.copy(ROOT / "scenarios" / "digits" / name, folder)
    text = (ROOT / "scenarios" / scenario_name(COMBINATION) / "scenario.txt").read_text()
    text = text.replace(f"target {COMBINATION.name} ", f"target {selection} ")
    text = text.replace(f"spaces/{COMBINATION.name}.pcs", f"spaces/{selection}.pcs")
    text = text.replace("scenarios/digits/", "scenarios/own/")
    text = re.sub("--training-samples [0-9]+", "--training-samples 600", text)
    (folder / selection / "scenario.txt").write_text(text)
    well(sparse_aclib("export", f"own/{selection}", path=root))
    return root


def root_line(root: Path, selection: str) -> str:
    """The root of a space, as it is written."""
    return (root / "scenarios" / "spaces" / f"{selection}.pcs").read_text().splitlines()[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return root_with(tmp_path_factory.mktemp("selection") / "root", SELECTION.name)


def test_its_runs_hold_trials_of_several_variants_and_are_of_one_piece(
    root: Path, tmp_path: Path
) -> None:
    words = ("--trials", "12", "--quiet", "--results", str(tmp_path))
    well(sparse_aclib("run", f"own/{SELECTION.name}", *words, path=root))
    well(sparse_aclib("validate", str(tmp_path), "--seeds", "1", path=root))
    (run,) = tmp_path.glob("*/*/*/seed-1")
    records = [*read_lines(run / RUNHISTORY, Numbered), *read_lines(run / VALIDATION, Record)]
    chosen = {str(record.config[CHOSEN]) for record in records}
    assert len(chosen) > 2
    for record in records:
        ran = SELECTION.choice(str(record.config[CHOSEN]))
        if not record.over_budget:
            assert record.engine and record.code == trial_code(ran, record.engine)
    well(sparse_aclib("check", str(tmp_path), path=root))
    well(sparse_aclib("run", f"own/{SELECTION.name}", *words, path=root))
    well(sparse_aclib("report", str(tmp_path), path=root))
    assert "made with different code" not in (tmp_path / "report.html").read_text()


def test_other_code_of_what_was_chosen_is_a_fault_all_the_same(root: Path, tmp_path: Path) -> None:
    words = ("--trials", "12", "--quiet", "--results", str(tmp_path))
    well(sparse_aclib("run", f"own/{SELECTION.name}", *words, path=root))
    (history,) = tmp_path.rglob(RUNHISTORY)
    last = read_lines(history, Numbered)[-1]
    text = history.read_text()
    changed = re.sub(r', "?checksum"?: ?"[0-9a-f]+"', "", text).replace(str(last.code), "0" * 12)
    history.write_text(changed)
    again = sparse_aclib("run", f"own/{SELECTION.name}", *words, path=root)
    assert again.returncode == 2 and again.stderr.count("\n") == 1
    assert f"another version of what trials of {last.config[CHOSEN]} run" in again.stderr


def test_a_private_selection_has_a_new_variant_as_soon_as_it_is_made(tmp_path: Path) -> None:
    own = f"my_{SELECTION.name}"
    shutil.copytree(SELECTION.folder, tmp_path / "target_algorithms" / own)
    root_with(tmp_path, own)
    before = root_line(tmp_path, own)
    like = ("--like", PLAIN.name, "--root", str(tmp_path))
    told = well(sparse_aclib("new", "variant", MINE, *like, path=tmp_path))
    assert f"scenarios/spaces/{own}.pcs" in told
    assert MINE not in before and re.search(rf"\b{MINE}\b", root_line(tmp_path, own))
    well(sparse_aclib("list", path=tmp_path))


def test_a_selection_like_another_works(root: Path) -> None:
    like = ("--like", SELECTION.name, "--root", str(root))
    told = well(sparse_aclib("new", "variant", f"{MINE}_too", *like, path=root))
    assert f"{MINE}_too/scenario.txt" in told
    assert root_line(root, f"{MINE}_too") == root_line(root, SELECTION.name)
