"""Variants, scenarios and configurators outside the checkout, on every command."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from target_algorithms import ROOT
from tests.examples import DEFAULT_ONLY, PLAIN, config_of, scenario_name
from wrappers import formats
from wrappers.configurators import TEMPLATE
from wrappers.records import RUNHISTORY, Numbered, read_lines, read_run

NAME = "mine"
"""Of the variant, of its space and of the configurator."""


def sparse_aclib(
    *words: str, path: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """A command, with a root in SPARSE_ACLIB_PATH."""
    return called([sys.executable, "-m", "commands", *words], path, cwd)


def called(
    words: list[str], path: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SPARSE_ACLIB_PATH"}
    if path is not None:
        environment["SPARSE_ACLIB_PATH"] = str(path)
    environment |= {"PYTHONPATH": str(ROOT), "SPARSE_ACLIB_PYTHON": sys.executable}
    environment |= {"COLUMNS": "200"}
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def well(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that went well printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(root: Path) -> Path:
    """A root with a copied variant on a repeated set, and a copied configurator."""
    shutil.copytree(PLAIN.folder, root / "target_algorithms" / NAME)
    folder = root / "scenarios" / "digits"
    (folder / NAME).mkdir(parents=True)
    for name in ("training.txt", "test.txt", "features.csv"):
        shutil.copy(ROOT / "scenarios" / "digits" / name, folder)
    text = (ROOT / "scenarios" / scenario_name() / "scenario.txt").read_text()
    text = text.replace(f"target {PLAIN.name} ", f"target {NAME} ")
    text = text.replace(f"spaces/{PLAIN.name}.pcs", f"spaces/{NAME}.pcs")
    text = re.sub("--training-samples [0-9]+", "--training-samples 600", text)
    (folder / NAME / "scenario.txt").write_text(text)
    file = root / "wrappers" / "configurators" / f"{NAME}.py"
    file.parent.mkdir(parents=True)
    shutil.copy(TEMPLATE, file)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private root whose space `export` has written."""
    made = build(tmp_path_factory.mktemp("private") / "root")
    told = well(sparse_aclib("export", f"digits/{NAME}", path=made))
    written = {Path(ROOT, line).resolve() for line in told.splitlines()}
    assert written == {made / "scenarios" / "spaces" / f"{NAME}.pcs"}
    return made


@pytest.fixture(scope="module")
def results(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validated run of the private configurator on the private variant."""
    folder = tmp_path_factory.mktemp("results")
    words = ("--configurator", NAME, "--trials", "6", "--quiet", "--results", str(folder))
    well(sparse_aclib("run", f"digits/{NAME}", *words, path=root))
    well(sparse_aclib("validate", str(folder), "--seeds", "1", path=root))
    return folder


def test_the_space_of_a_copied_variant_is_that_of_its_model(root: Path) -> None:
    private, committed = (place / "scenarios" / "spaces" for place in (root, ROOT))
    text = (committed / f"{PLAIN.name}.pcs").read_text()
    assert (private / f"{NAME}.pcs").read_text() == text


def test_they_are_listed_with_the_others(root: Path) -> None:
    text = well(sparse_aclib("list", path=root))
    of_digits = re.findall(r"^digits\n(.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(of_digits) == 1 and re.search(rf"\b{NAME} \d+", of_digits[0])
    assert re.search(rf"^configurator {NAME} +available$", text, re.MULTILINE)
    listed = json.loads(well(sparse_aclib("list", "--json", path=root)))
    names = [scenario["name"] for scenario in listed["scenarios"]]
    assert names.count(f"digits/{NAME}") == 1 and scenario_name() in names
    assert NAME not in well(sparse_aclib("list"))


def test_a_run_is_recorded_validated_and_reported(root: Path, results: Path) -> None:
    run = results / "digits" / NAME / NAME / "seed-1"
    info = read_run(run)
    assert (info.state, info.trials_used, info.variant) == ("finished", 6, NAME)
    assert info.path == str(root / "scenarios" / "digits" / NAME)
    assert {record.status for record in read_lines(run / RUNHISTORY, Numbered)} == {"SUCCESS"}
    assert all(record.code for record in read_lines(run / RUNHISTORY, Numbered))
    well(sparse_aclib("report", str(results), path=root))
    (row,) = (results / "tables" / "defaults.csv").read_text().splitlines()[1:]
    assert row.startswith(f"digits,{NAME},")


def test_the_root_above_a_scenario_needs_no_variable(root: Path, tmp_path: Path) -> None:
    words = ("--configurator", DEFAULT_ONLY.name, "--trials", "2", "--quiet")
    scenario = os.path.relpath(root / "scenarios" / "digits" / NAME, tmp_path)
    well(sparse_aclib("run", scenario, *words, cwd=tmp_path))
    well(sparse_aclib("validate", "results", "--seeds", "1", cwd=tmp_path))
    unknown = sparse_aclib("run", f"digits/{NAME}", *words)
    assert unknown.returncode == 2 and f"no scenario at digits/{NAME}" in unknown.stderr


def test_its_scenario_is_written_for_other_programs(root: Path, tmp_path: Path) -> None:
    name = formats.names()[0]
    well(sparse_aclib("export", f"digits/{NAME}", "--to", name, "--out", str(tmp_path), path=root))
    assert list(tmp_path.iterdir())


WORDS = [
    *(NAME, "--active-weights", "500", "--training-samples", "600", "--hidden", "32-32"),
    *("--instance", "sklearn/digits/0", "--cutoff", "60", "--seed", "1", "--config"),
    *(word for name, value in config_of(PLAIN).items() for word in (f"-{name}", str(value))),
]


def test_a_call_of_the_target_algorithm_is_answered_like_one_of_its_model(root: Path) -> None:
    target = [sys.executable, str(ROOT / "wrappers" / "target")]
    mine = well(called([*target, *WORDS], root))
    model = well(called([*target, PLAIN.name, *WORDS[1:]], root))
    assert '"SUCCESS"' in mine
    costs = [re.findall(r'"cost": ([0-9.]+)', text) for text in (mine, model)]
    assert costs[0] == costs[1] != []
    by_hand = well(sparse_aclib("eval", *WORDS, path=root))
    assert re.search(rf"\bcost +{float(costs[0][0]):.6g} ", by_hand)
    assert "-batch_size" in well(called([*target, NAME, "--help"], root))
    without = called([*target, *WORDS])
    assert without.returncode == 1 and f"ABORT: unknown variant '{NAME}'" in without.stderr


def test_the_data_of_a_repeated_set_are_those_of_the_checkout_s(root: Path) -> None:
    assert well(sparse_aclib("fetch", f"digits/{NAME}", path=root)).startswith("1 of 1 data sets")


@pytest.mark.parametrize(
    ("kind", "name", "place", "command"),
    [
        ("variants", PLAIN.name, f"target_algorithms/{PLAIN.name}", "list"),
        ("configurators", TEMPLATE.stem, f"wrappers/configurators/{TEMPLATE.name}", "list"),
        ("scenarios", scenario_name(), f"scenarios/{scenario_name()}", "list"),
        ("instance sets", "digits", "scenarios/digits", "fetch digits"),
    ],
)
def test_a_name_that_exists_twice_is_refused_in_one_line_with_both_places(
    kind: str, name: str, place: str, command: str, tmp_path: Path
) -> None:
    model, copy = ROOT / place, tmp_path / place
    ignored = shutil.ignore_patterns(*(["scenario.txt"] if kind == "instance sets" else []))
    copy.parent.mkdir(parents=True)
    if model.is_file():
        shutil.copy(model, copy)
    else:
        shutil.copytree(model, copy, ignore=ignored)
    if kind == "instance sets":  # with other instances: a set may be repeated
        (copy / "training.txt").write_text("sklearn/digits/0/0\n")
    done = sparse_aclib(*command.split(), path=tmp_path)
    assert done.returncode == 2
    said = f"two {kind} are called {name}: {model} and {copy}; rename one"
    assert done.stderr.strip() == f"sparse-aclib: error: {said}"


def test_a_root_that_is_not_there_is_named_by_every_command(tmp_path: Path) -> None:
    expected = "no folder /nosuch, expected one by SPARSE_ACLIB_PATH"
    for words in (["list"], ["run", scenario_name()], ["export", scenario_name()]):
        done = sparse_aclib(*words, path=Path("/nosuch"), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"sparse-aclib: error: {expected}\n")
