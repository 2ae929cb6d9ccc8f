"""What holds for every scenario: a new one is tested by existing."""

import os
from pathlib import Path

import pytest

from wrappers import formats
from wrappers.scenario import KEYS, PROGRAM, read, scenarios
from wrappers.space import ROOT, variants

FOLDERS = scenarios()
SETS = sorted({folder.parent for folder in FOLDERS})

every_scenario = pytest.mark.parametrize(
    "folder", FOLDERS, ids=[f"{folder.parent.name}/{folder.name}" for folder in FOLDERS]
)
every_set = pytest.mark.parametrize("folder", SETS, ids=[folder.name for folder in SETS])


def test_every_variant_can_be_configured_and_on_digits_all_that_need_no_peak() -> None:
    named = {
        kind: {folder.name for folder in FOLDERS if folder.parent.name == kind}
        for kind in ("digits", "digits_flops")
    }
    assert named["digits_flops"] == set(variants())
    assert named["digits"] == set(variants()) - {"granet"}


@every_scenario
def test_a_scenario_reads_without_complaint(folder: Path) -> None:
    scenario = read(folder)
    assert scenario.root == ROOT
    assert not set(scenario.training) & set(scenario.test)
    assert scenario.cutoff > 0 and scenario.runcount_limit > 0


@every_scenario
def test_a_scenario_keeps_to_the_form_that_all_readers_take(folder: Path) -> None:
    text = (folder / "scenario.txt").read_text()
    assert [line.split(" = ")[0] for line in text.splitlines()] == list(KEYS)
    assert text.endswith("\n") and "\n\n" not in text and "#" not in text and "\r" not in text
    assert text.count("=") == len(KEYS)


@every_scenario
def test_the_generated_files_are_what_the_generator_makes(folder: Path) -> None:
    made = formats.export(folder)
    for path, text in made.items():
        assert path.read_text() == text, f"write it anew with 'sparse-aclib export {folder}'"
    present = {path for path in folder.rglob("*") if path.is_file()}
    assert present == {*made, folder / "scenario.txt"}
    assert os.access(folder / "irace-4" / "target-runner", os.X_OK)


@every_scenario
def test_only_the_dense_reference_has_no_budget_of_active_weights(folder: Path) -> None:
    scenario = read(folder)
    assert (scenario.options.active_weights is None) == (scenario.variant == "dense")


@every_scenario
def test_the_default_configuration_is_in_irace_s_table(folder: Path) -> None:
    names, values = (folder / "irace-3.5" / "default.txt").read_text().splitlines()
    table = zip(names.split(), values.split(), strict=True)
    given = {name: value for name, value in table if value != "NA"}
    space = read(folder).space
    assert space.check(given) == space.default


@every_set
def test_a_set_says_where_its_data_come_from(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for word in ("Origin", "Licence", "Folds"):
        assert word in text


@every_set
def test_the_scenarios_of_a_set_differ_in_the_variant_only(folder: Path) -> None:
    texts = set()
    for scenario in map(read, (f for f in FOLDERS if f.parent == folder)):
        options = scenario.options
        budget = f" --active-weights {options.active_weights}"
        if options.peak_weights is not None:
            budget += f" --peak-weights {options.peak_weights}"
        text = scenario.text.replace(f"/{scenario.variant}/params", "/VARIANT/params")
        text = text.replace(" ".join((*PROGRAM, scenario.variant)), " ".join((*PROGRAM, "VARIANT")))
        texts.add(text.replace(budget, ""))
    assert len(texts) == 1


@every_scenario
def test_the_numbers_in_the_set_s_readme_are_those_of_the_scenario(folder: Path) -> None:
    scenario, text = read(folder), (folder.parent / "README.md").read_text()
    options = scenario.options
    for number in (
        options.active_weights,
        options.peak_weights,
        options.training_samples,
        options.training_flops,
        scenario.runcount_limit,
    ):
        assert number is None or f"{number:,}" in text
    assert f"{scenario.cutoff:g} seconds" in text
    for width in options.hidden or ():
        assert str(width) in text
    assert options.network is None or f"`{options.network}`" in text


@every_set
def test_instance_files_have_one_column_and_no_blank_last_line(folder: Path) -> None:
    for name in ("training.txt", "test.txt"):
        text = (folder / name).read_text()
        assert text.endswith("\n") and not text.endswith("\n\n")
        assert all(line.split() == [line] for line in text.splitlines())


@every_set
def test_features_are_those_of_the_data_and_tell_instances_apart(folder: Path) -> None:
    text = (folder / "features.csv").read_text()
    assert text == formats.features_csv(folder)
    header, *rows = (line.split(",") for line in text.splitlines())
    assert 3 <= len(header) - 1 <= 7
    for column in list(zip(*rows, strict=True))[1:]:
        assert len(set(column)) > 1
