"""Scaffolds: what they make works at once, is found by the tests, and spoils no earlier result."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from target_algorithms import ROOT, Role, Variant, variants
from tests.examples import PLAIN, scenario_name
from wrappers.configurators import TEMPLATE

VARIANTS = list(variants().values())
NOT_THE_CODE = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info")
HILL = f"my_{TEMPLATE.stem}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, in which a variant like each other has been made."""
    copy = tmp_path_factory.mktemp("copy") / "checkout"
    shutil.copytree(ROOT, copy, ignore=NOT_THE_CODE)
    for runs in (copy / "results").glob("*/*/*/seed-*"):
        shutil.rmtree(runs)
    well(in_copy(copy, *run(PLAIN.name)))
    for each in VARIANTS:
        told = well(in_copy(copy, "commands", "new", "variant", f"my_{each.name}", *like(each)))
        made = [line for line in told.splitlines() if " " not in line]
        assert len(made) > 6 and all((copy / name).is_file() for name in made)
    return copy


def like(variant: Variant) -> tuple[str, str]:
    return "--like", variant.name


def run(variant: str, *words: str, set_name: str = "digits") -> list[str]:
    return ["commands", "run", f"scenarios/{set_name}/{variant}", "--trials", "3", *words]


def in_copy(copy: Path, *words: str, flag: str = "-m") -> subprocess.CompletedProcess[str]:
    """Python on a module of the copy."""
    environment = {name: value for name, value in os.environ.items() if name != "SPARSE_ACLIB_PATH"}
    return subprocess.run(
        [sys.executable, flag, *words],
        cwd=copy,
        env=environment | {"PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
    )


def well(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that went well printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_variant_is_its_model_until_it_is_changed(checkout: Path) -> None:
    code = (
        "from target_algorithms import variants\n"
        "from tests.examples import topology_at\n"
        "from wrappers.space import variant_space\n"
        "every = variants()\n"
        "for name, each in every.items():\n"
        "    if name.startswith('my_'):\n"
        "        model = every[name.removeprefix('my_')]\n"
        "        assert topology_at(each) == topology_at(model), name\n"
        "        assert variant_space(each) == variant_space(model), name\n"
        "        assert (each.role, each.requires) == (model.role, model.requires), name\n"
        "        print(name)\n"
    )
    done = in_copy(checkout, code, flag="-c")
    assert well(done).split() == sorted(f"my_{each.name}" for each in VARIANTS)


def test_it_is_configured_and_a_run_from_before_is_validated_and_reported(checkout: Path) -> None:
    well(in_copy(checkout, *run(f"my_{PLAIN.name}")))
    folder = f"results/digits/{PLAIN.name}"
    well(in_copy(checkout, "commands", "validate", folder, "--seeds", "1"))
    well(in_copy(checkout, *run(PLAIN.name)))
    well(in_copy(checkout, "commands", "report"))
    rows = (checkout / "results" / "tables" / "runs.csv").read_text().splitlines()[1:]
    assert {row.split(",")[1] for row in rows} == {PLAIN.name, f"my_{PLAIN.name}"}


def test_it_is_in_the_readme_and_in_the_combinations(checkout: Path) -> None:
    text = (checkout / "README.md").read_text()
    assert all(f"`my_{each.name}`" in text for each in VARIANTS)
    for combined in (each for each in VARIANTS if each.role is Role.COMBINATION):
        code = (checkout / "target_algorithms" / combined.name / "algorithm.py").read_text()
        assert all(f'    "my_{name}": ' in code for name in combined.presets)


def test_a_new_configurator_runs_and_is_in_the_readme(checkout: Path) -> None:
    told = well(in_copy(checkout, "commands", "new", "configurator", HILL))
    assert f"wrappers/configurators/{HILL}.py" in told.splitlines()
    well(in_copy(checkout, *run(PLAIN.name, "--configurator", HILL)))
    assert (checkout / "results" / "digits" / PLAIN.name / HILL / "seed-1").is_dir()
    assert f"\n| `{HILL}` | as `{TEMPLATE.stem}` |\n" in (checkout / "README.md").read_text()


def test_a_new_set_runs_and_its_features_are_computed(checkout: Path) -> None:
    made = well(in_copy(checkout, "commands", "new", "set", "mine", "--like", "digits"))
    assert f"scenarios/mine/{PLAIN.name}/scenario.txt" in made.splitlines()
    features = checkout / "scenarios" / "mine" / "features.csv"
    before = features.read_text()
    features.unlink()
    assert "scenarios/mine/features.csv" in well(in_copy(checkout, "commands", "export"))
    assert len(features.read_text().splitlines()) == len(before.splitlines())
    well(in_copy(checkout, *run(PLAIN.name, set_name="mine")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["variant", "Mine"], "name 'Mine', expected lower-case letters, digits and _"),
        (["variant", "../mine"], "name '../mine', expected lower-case letters"),
        (["variant", PLAIN.name], f"variant {PLAIN.name} is there already"),
        (["variant", "mine", "--like", "none"], "unknown variant 'none': expected one of "),
        (["configurator", TEMPLATE.stem], f"configurator {TEMPLATE.stem} is there already"),
        (["set", scenario_name().partition("/")[0]], "instance set digits is there already"),
        (["set", "mine", "--like", "none"], "no instance set 'none', expected one of "),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line_and_nothing_is_written(
    words: list[str], message: str, tmp_path: Path
) -> None:
    if words[0] == "variant" and "--like" not in words:
        words = [*words, *like(PLAIN)]
    done = in_copy(ROOT, "commands", "new", *words, "--root", str(tmp_path / "root"))
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_what_was_made_passes_the_tests(checkout: Path) -> None:
    """All of the contracts and the house's rules, with everything that the tests above made."""
    tests = ["tests/contracts", "tests/target_algorithms", "tests/wrappers/test_configurators.py"]
    well(in_copy(checkout, "pytest", "-p", "no:cacheprovider", *tests))
