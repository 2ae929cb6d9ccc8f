"""A set of a user's own data, from a folder to a validated run, outside the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from commands.new import _write_all, new_set
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Role, variants
from tests.examples import PLAIN
from wrappers import formats
from wrappers.records import VALIDATION, Record, read_lines, read_run

CHOSEN = PLAIN.name
COMES_ALONG = (Role.BASELINE, Role.COMBINATION)
DESCRIPTION = """\
licence = "CC BY 4.0"
target = "class"

[flowers]
target = "species"

[figures]
origin = "digits of scikit-learn in twice the size"
"""


def sparse_aclib(
    place: Path, *words: str, program: tuple[str, ...] = ("-m", "commands")
) -> subprocess.CompletedProcess[str]:
    """A command in a folder, whose `root` and `data` are the suite's."""
    own = {"SPARSE_ACLIB_PATH": str(place / "root"), "SPARSE_ACLIB_DATA": str(place / "data")}
    (place / "root").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *program, *words],
        cwd=place,
        env=os.environ | own | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def well(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that went well printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The line that a command that did nothing printed."""
    assert done.returncode == 2 and done.stdout == "", done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def fill(own: Path) -> None:
    """Puts a table and float images into a folder."""
    own.mkdir()
    iris = datasets.load_iris(as_frame=True)
    table = iris.data.assign(species=iris.target_names[iris.target])
    table.to_csv(own / "flowers.csv", index=False)
    digits = datasets.load_digits()
    pixels = np.kron(digits.images, np.ones((2, 2))).astype(np.float32) / 8 - 1
    np.savez(own / "figures.npz", **{"images": pixels, "class": digits.target})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a set `mine` of two data sets has been made, run and validated."""
    place = tmp_path_factory.mktemp("own")
    fill(place / "files")
    (place / "files" / "dataset.toml").write_text(DESCRIPTION)
    words = ("new", "set", "mine", "--data", "files", "--variants", CHOSEN, "--root", "root")
    told = well(sparse_aclib(place, *words))
    made = [line for line in told.splitlines() if " " not in line]
    assert made and all((place / name).is_file() for name in made)
    assert "flowers-8a5cc9c2413d: 150 rows, 4 numeric and 0 categorical columns" in told
    assert re.search(r"figures-\w{12}: 1,797 rows, images of 256 values in 1 channels", told)
    well(sparse_aclib(place, "run", f"mine/{CHOSEN}", "--trials", "12"))
    well(sparse_aclib(place, "validate", "results", "--seeds", "1"))
    return place


def test_a_run_on_own_data_is_recorded_with_their_sums_and_validated(place: Path) -> None:
    (run,) = (place / "results" / "mine" / CHOSEN).glob("*/seed-1")
    info = read_run(run)
    assert info.state == "finished" and len(info.hashes.data) == 2
    for name, sum_ in info.hashes.data.items():
        assert sum_.startswith(name.rpartition("-")[2])
    validated = list(read_lines(run / VALIDATION, Record))
    assert {record.instance.rpartition("-")[0] for record in validated} == {
        "file/figures",
        "file/flowers",
    }
    assert {record.status for record in validated} == {"SUCCESS"}
    assert max(record.cost for record in validated) < 0.5


def test_training_and_test_instances_are_of_both_and_in_features_csv(place: Path) -> None:
    folder = place / "root" / "scenarios" / "mine"
    training, test = ((folder / f"{each}.txt").read_text().split() for each in ("training", "test"))
    assert len(training) == 10 and len(test) == 6
    assert f"{test[0].rpartition('/')[0]}/0" == test[0] and test[0].split("/")[3] == "599"
    rows = (folder / "features.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == training + test
    assert all(row.count(",") == rows[0].count(",") > 5 for row in rows)
    before = (folder / "features.csv").read_text()
    well(sparse_aclib(place, "export", f"mine/{CHOSEN}"))
    assert (folder / "features.csv").read_text() == before


def test_the_variants_are_those_asked_for_and_what_every_set_has(place: Path) -> None:
    folder = place / "root" / "scenarios" / "mine"
    there = {file.parent.name for file in folder.glob("*/scenario.txt")}
    always = {each.name for each in variants().values() if each.role in COMES_ALONG}
    assert there == {CHOSEN, *always}


def test_its_readme_has_all_that_others_need(place: Path) -> None:
    text = (place / "root" / "scenarios" / "mine" / "README.md").read_text()
    assert DESCRIPTION in text and "fetch mine --local FOLDER" in text
    assert "| CC BY 4.0 | digits of scikit-learn in twice the size |" in text
    assert len(re.findall(r"\b\w{64}\b", text)) == 4


def test_it_is_listed_reported_and_checked(place: Path) -> None:
    assert re.search(rf"^mine\n.*\n +{CHOSEN} ", well(sparse_aclib(place, "list")), re.MULTILINE)
    well(sparse_aclib(place, "report", "results"))
    tables = place / "results" / "tables"
    assert (tables / "defaults.csv").read_text().splitlines()[1].startswith(f"mine,{CHOSEN},")
    assert "cost" in well(sparse_aclib(place, "eval", f"mine/{CHOSEN}"))
    well(sparse_aclib(place, "check", "results"))
    assert "set mine               2 of 2 data sets" in well(sparse_aclib(place, "fetch", "--list"))


@pytest.mark.slow
def test_it_is_measured_and_written_in_every_form(place: Path, tmp_path: Path) -> None:
    fitness = ("fitness", "mine", "--configurations", "4", "--seeds", "1")
    assert "mine" in well(sparse_aclib(place, *fitness))
    for name in formats.names():
        words = ("export", f"mine/{CHOSEN}", "--to", name, "--out", str(tmp_path / name))
        done = sparse_aclib(place, *words)
        assert list((tmp_path / name).iterdir()), done.stderr


def test_a_call_from_another_configurator_is_answered(place: Path) -> None:
    call = well(sparse_aclib(place, "call", f"mine/{CHOSEN}")).split()
    assert call[:2] == ["python3", "./wrappers/target"] and "file/figures-" in " ".join(call)
    target = str(place / "root" / "wrappers" / "target")
    assert '"status": "SUCCESS"' in well(sparse_aclib(place, *call[2:], program=(target,)))


def test_who_gets_the_set_fetches_the_same_data_and_no_others(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "root", tmp_path / "root")
    shutil.copytree(place / "files", tmp_path / "files")
    first = sparse_aclib(tmp_path, "run", f"mine/{CHOSEN}", "--trials", "2")
    assert re.search(
        r"are not in .*\(file/figures-.*sparse-aclib fetch mine --local FOLDER'", refused(first)
    )
    without = sparse_aclib(tmp_path, "fetch", "mine")
    assert without.returncode == 2 and without.stderr.count("expected --local FOLDER") == 2
    fetched = well(sparse_aclib(tmp_path, "fetch", "mine", "--local", "files"))
    assert fetched.startswith("2 of 2 data sets are in")
    again = well(sparse_aclib(tmp_path, "fetch", "file", "--local", "files"))
    assert re.findall(r"^file/(\w+)-\w{12}: ", again, re.MULTILINE) == ["figures", "flowers"]
    text = (tmp_path / "files" / "flowers.csv").read_text().replace("5.1,", "5.2,", 1)
    (tmp_path / "files" / "flowers.csv").write_text(text)
    other = sparse_aclib(tmp_path, "fetch", "mine", "--local", "files", "--again")
    assert other.returncode == 2 and "expected 8a5cc9c2413d, as its name says" in other.stderr


def test_the_options_write_the_description_where_there_is_none(tmp_path: Path) -> None:
    fill(tmp_path / "files")
    (tmp_path / "files" / "figures.npz").unlink()
    words = ("new", "set", "mine", "--data", "files", "--variants", CHOSEN, "--root", "root")
    missing = refused(sparse_aclib(tmp_path, *words, "--target", "species"))
    assert "has no dataset.toml: expected --target COLUMN and --licence TEXT" in missing
    told = ("--target", "species", "--licence", "CC BY 4.0", "--categorical", "petal width (cm)")
    well(sparse_aclib(tmp_path, *words, *told))
    text = (tmp_path / "files" / "dataset.toml").read_text()
    assert text.splitlines()[1:] == [
        'target = "species"',
        'licence = "CC BY 4.0"',
        'categorical = ["petal width (cm)"]',
    ]
    second = ("new", "set", "other", *words[3:])
    different = refused(sparse_aclib(tmp_path, *second, "--target", "kind"))
    assert "dataset.toml says target = 'species', --target says 'kind': expected the" in different
    well(sparse_aclib(tmp_path, *second, "--target", "species"))
    lists = [tmp_path / "root" / "scenarios" / name / "test.txt" for name in ("mine", "other")]
    assert lists[0].read_text() == lists[1].read_text()


def test_data_sets_that_are_held_out_are_validated_on_only(place: Path) -> None:
    words = ("--data", "files", "--variants", CHOSEN, "--root", "root", "--test", "flowers")
    well(sparse_aclib(place, "new", "set", "across", *words))
    folder = place / "root" / "scenarios" / "across"
    training, test = ((folder / f"{each}.txt").read_text() for each in ("training", "test"))
    assert training.count("/halves/") == training.count("file/figures-") == 10
    assert test == "file/flowers-8a5cc9c2413d/0\n"
    assert (
        "of some data sets,\nvalidated on the test part of others"
        in (folder / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"data": "nowhere"}, "no folder .*nowhere, expected one with files of data sets"),
        ({"data": "empty"}, "empty has no dataset.toml: expected --target"),
        ({"data": "empty", "target": "x", "licence": "y"}, "empty has no data: expected files"),
        ({"data": "files", "variants_": "none"}, "--variants names 'none', of which cc18 has no"),
        ({"data": "files", "like": "none"}, "no instance set 'none', expected one of"),
        ({"data": "files", "test": "none"}, "--test names 'none': expected some of figures, flow"),
        ({"data": "files", "test": "figures,flowers"}, "--test holds all data sets out"),
        ({"data": "files", "ignore": "a"}, "dataset.toml says no ignore of all, --ignore says"),
        ({"data": "files", "target": "kind"}, "says target = 'class', --target says 'kind'"),
        ({"data": "wrong"}, "wrong.csv has no column 'class' for the target"),
        ({"target": "class"}, "--target says what the data of a folder are: expected --data"),
        ({"test": "class"}, "--test says what the data of a folder are: expected --data FOLDER"),
    ],
)
def test_a_set_that_cannot_be_made_is_one_line_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    fill(tmp_path / "files")
    (tmp_path / "files" / "dataset.toml").write_text(DESCRIPTION)
    (tmp_path / "empty").mkdir()
    shutil.copytree(tmp_path / "files", tmp_path / "wrong")
    shutil.copy(tmp_path / "wrong" / "flowers.csv", tmp_path / "wrong" / "wrong.csv")
    (tmp_path / "wrong" / "dataset.toml").write_text(f"{DESCRIPTION}[wrong]\n")
    before = set(tmp_path.rglob("*"))
    if "data" in asked:
        asked = {**asked, "data": tmp_path / asked["data"]}
    with pytest.raises(BadInput, match=message) as error:
        new_set("mine", root=tmp_path / "root", **asked)
    assert "\n" not in str(error.value)
    made = set(tmp_path.rglob("*")) - before
    assert {path.relative_to(tmp_path).parts[0] for path in made} <= {"root", "data"}
    assert not list((tmp_path / "root").iterdir())


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    wanted = [tmp_path / "here" / "a", tmp_path / "new" / "deep" / "b", tmp_path / "file" / "c"]
    with pytest.raises(OSError, match="file"):
        _write_all(dict.fromkeys(wanted, "text"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file"]
