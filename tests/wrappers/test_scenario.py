"""Scenarios: what is read, and what is refused with file and line."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparse_training.data.instances import load
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Variant
from target_algorithms.contract import Options, Trained, Trial
from target_algorithms.trial import run as train
from tests.examples import BASELINE, COMBINATION, DEFAULT_ONLY, PLAIN, scenario_name
from tests.wrappers.cases import SCENARIO, execute, with_options
from wrappers import formats
from wrappers.features import features_csv
from wrappers.records import RUNHISTORY, VALIDATION, Numbered, Record, read_lines, read_run
from wrappers.scenario import KEYS, Scenario, read, read_features, read_instances, scenarios, sets
from wrappers.space import Config, variant_space
from wrappers.validation import validate

Edit = Callable[[Path], object]

SPACE = "../spaces/toy.pcs"


def test_a_scenario_is_read_whole(toys: Path) -> None:
    scenario = read(toys / "scenarios" / "toys" / "toy")
    assert scenario.name == "toys/toy"
    variant = toys / "target_algorithms" / "toy"
    assert (scenario.set, scenario.variant) == ("toys", Variant("toy", variant))
    assert scenario.options == Options(
        training_samples=20000, hidden=(256, 256), active_weights=1000, memory_limit=4096
    )
    assert (scenario.cutoff, scenario.wallclock_limit, scenario.runcount_limit) == (60, 3600, 600)
    assert scenario.deterministic is False
    assert scenario.training == ("a/digits/0/0", "a/digits/0/1")
    assert scenario.test == ("a/digits/0",)
    assert scenario.feature_names == ("rows", "entropy")
    assert scenario.features["a/digits/0"] == (120.0, 3.1)
    assert scenario.folder == toys / "scenarios" / "toys" / "toy"
    assert scenario.text == SCENARIO
    assert scenario.root == toys and scenario.shown == str(scenario.folder)
    assert scenario.copies["training.txt"] == "a/digits/0/0\na/digits/0/1\n"
    assert set(scenario.copies) == {
        *("scenario.txt", "training.txt", "test.txt", "features.csv", "params.pcs")
    }


def test_folder_file_and_name_mean_the_same_scenario(on_the_path: Path) -> None:
    by_folder = read(on_the_path / "scenarios/toys/toy")
    assert read(on_the_path / "scenarios/toys/toy/scenario.txt") == by_folder
    assert read("toys/toy") == by_folder
    assert by_folder.folder in scenarios()


def test_a_scenario_may_lie_in_a_root_that_no_variable_names(toys: Path) -> None:
    assert read(toys / "scenarios/toys/toy").variant.folder == toys / "target_algorithms/toy"
    assert toys / "scenarios/toys/toy" not in scenarios()


def test_all_scenarios_are_sorted_by_their_names_whatever_root_they_are_in(
    on_the_path: Path,
) -> None:
    names = [(folder.parent.name, folder.name) for folder in scenarios()]
    assert names == sorted(names) and ("toys", "toy") in names


def test_a_scenario_that_two_roots_have_is_refused_with_both_places(
    on_the_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    shutil.copytree(on_the_path / "scenarios", second / "scenarios")
    monkeypatch.setenv("SPARSE_ACLIB_PATH", f"{on_the_path}:{second}")
    places = f"{on_the_path}/scenarios/toys/toy and {second}/scenarios/toys/toy"
    with pytest.raises(BadInput, match=f"two scenarios are called toys/toy: {places}; rename one"):
        scenarios()


def test_a_root_may_repeat_a_set_but_not_use_its_name_for_other_instances(
    on_the_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sets()["toys"] == on_the_path / "scenarios" / "toys"
    second = tmp_path / "second"
    shutil.copytree(on_the_path, second)
    monkeypatch.setenv("SPARSE_ACLIB_PATH", f"{on_the_path}:{second}")
    assert sets()["toys"] == on_the_path / "scenarios" / "toys"
    edit("training.txt", "a/digits/0/1", "a/digits/0/2")(second)
    places = f"{on_the_path}/scenarios/toys and {second}/scenarios/toys"
    with pytest.raises(BadInput, match=f"two instance sets are called toys: {places}; rename one"):
        sets()


def edit(name: str, old: str, new: str) -> Edit:
    """Replaces text in a file of the root."""

    def apply(root: Path) -> None:
        path = root / "scenarios" / "toys" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return apply


def line(old: str, new: str) -> Edit:
    return edit("toy/scenario.txt", old, new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (line(f"{key} =", f"x{key} ="), f"unknown key 'x{key}', expected one of algo,")
            for key in KEYS
        ),
        (line("run_obj = quality\n", ""), "scenario.txt, line 12: key run_obj is missing"),
        (
            line("execdir = .\n", "execdir = .\nexecdir = .\n"),
            "scenario.txt, line 3: key execdir is given twice, first in",
        ),
        (line("execdir = .", "execdir = /tmp"), "line 2: execdir is '/tmp', expected ."),
        (line("deterministic = 0", "deterministic = no"), "line 3: deterministic is 'no'"),
        (line("quality", "runtime"), "line 4: run_obj is 'runtime', expected quality"),
        (line("mean", "median"), "line 5: overall_obj is 'median', expected mean"),
        (line("= 60\n", "= soon\n"), "line 6: cutoff_time is 'soon', expected a positive number"),
        (line("= 60\n", "= 0\n"), "line 6: cutoff_time is '0'"),
        (line("= 60\n", "= nan\n"), "line 6: cutoff_time is 'nan'"),
        (line("= 3600\n", "= -1\n"), "line 7: wallclock_limit is '-1'"),
        (
            line("= 600\n", "= 1.5\n"),
            "line 8: runcount_limit is '1.5', expected a positive integer",
        ),
        (line("execdir = .\n", "\nexecdir = .\n"), "line 2: found '', expected 'key = value'"),
        (line("execdir = .\n", "# here\nexecdir = .\n"), "line 2: found '# here'"),
        (line("execdir = .\n", "execdir = . # here\n"), "line 2: found 'execdir = . # here'"),
        (line("execdir = .\n", "execdir\n"), "line 2: found 'execdir'"),
        (line("execdir = .\n", "execdir =\n"), "line 2: execdir is ''"),
        (line("--hidden 256", "--hidden=256"), "line 1: algo is"),
        (line("python3 ./wrappers/target", "python w.py"), "line 1: algo is 'python w.py toy"),
        (line("target toy", "target other"), "expected 'python3 ./wrappers/target toy ...'"),
        (
            line("--hidden", "--width"),
            "line 1: unknown option '--width', expected [(--active-weights",
        ),
        (line("--hidden 256-256", ""), "line 1: option --hidden is missing"),
        (line(" --active-weights 1000", " --hidden 1"), "line 1: option --hidden is given twice"),
        *(
            (line("runcount_limit = 600", f"runcount_limit = {word}"), "line 8: runcount_limit is ")
            for word in ("9" * 5000, "0", "1_0", "١", "-1", "1.0", str(10**18))
        ),
        *(
            (line("cutoff_time = 60", f"cutoff_time = {word}"), "line 6: cutoff_time is ")
            for word in ("9" * 5000, "0", "6_0", "٦", "nan", "inf")
        ),
        *(
            (
                line("--training-samples 20000", f"--training-samples {number}"),
                "line 1: option --training-samples is '1000",
            )
            for number in (10**30, 10**18)
        ),
        (line("1000", "many"), "line 1: option --active-weights is 'many', expected a positive"),
        (
            line("256-256", "256-"),
            "line 1: option --hidden is '256-', expected positive integer",
        ),
        (line("256-256", "256 --memory-limit"), "line 1: option --memory-limit has no value"),
        (line("spaces/toy.pcs", "spaces/none.pcs"), "line 9: no file ./scenarios/spaces/none.pcs"),
        (line("/training.txt", "/none.txt"), "line 10: no file ./scenarios/toys/none.txt"),
        (line("/test.txt", "/none.txt"), "line 11: no file ./scenarios/toys/none.txt"),
        (line("/features.csv", "/none.csv"), "line 12: no file ./scenarios/toys/none.csv"),
        (
            edit("training.txt", "0/1", "0/0"),
            "training.txt, line 2: instance a/digits/0/0 is given",
        ),
        (edit("training.txt", "0/0\n", "0/0\n\n"), "training.txt, line 2: blank"),
        (edit("training.txt", "0/1\n", "0/1\n\n"), "training.txt, line 3: blank"),
        (edit("training.txt", "0/1", "0/1 x"), "training.txt, line 2: instance 'a/digits/0/1 x'"),
        (edit("training.txt", "a/digits/0/0\na/digits/0/1\n", ""), "training.txt, line 1: no inst"),
        (
            edit("training.txt", "a/digits/0/1", "a/digits/0"),
            "test.txt, line 1: test instance a/digits/0 is a training instance too",
        ),
        *(
            (
                edit("test.txt", "a/digits/0", other),
                f"test.txt, line 1: test instance {other} is evaluated on rows that training"
                " instance a/digits/0/0 sees",
            )
            for other in ("a/digits/1", "a/digits/0/2", "a/digits/0/9+9/0", "a/digits/1/9/0")
        ),
        (
            edit("training.txt", "a/digits/0/1", "a/digits/0/halves"),
            "training.txt, line 2: malformed instance 'a/digits/0/halves': expected source/dataset",
        ),
        (edit("test.txt", "0", "00"), "test.txt, line 1: malformed instance 'a/digits/00'"),
        (
            edit("training.txt", "a/digits/0/1", "a/digits/1"),
            "test.txt, line 1: test instance a/digits/0 is evaluated on rows that training instance"
            " a/digits/1 sees",
        ),
        (
            edit("training.txt", "a/digits/0/1", "a/digits_2000/0"),
            "test.txt, line 1: test instance a/digits/0 is evaluated on rows that training instance"
            " a/digits_2000/0 sees",
        ),
        (
            edit("features.csv", "a/digits/0/1,101,3.2\n", ""),
            "line 12: ./scenarios/toys/features.csv has no features of instance a/digits/0/1",
        ),
        (
            edit("features.csv", "3.2", "?"),
            "features.csv, line 3: entropy is '?', expected a finite",
        ),
        (edit("features.csv", "3.2", "inf"), "features.csv, line 3: entropy is 'inf'"),
        (edit("features.csv", ",3.2", ""), "features.csv, line 3: 2 cells, expected 3"),
        (
            edit("features.csv", "0/1,", "0/0,"),
            "features.csv, line 3: instance a/digits/0/0 is giv",
        ),
        (edit("features.csv", "rows", "1"), "features.csv, line 1: expected a header"),
        (edit("features.csv", "rows", "entropy"), "features.csv, line 1: expected a header"),
        (
            edit(SPACE, "momentum [0, 0.99] [0.9]", "momentum [0, 0.99] [0.8]"),
            "line 9: ./scenarios/spaces/toy.pcs differs from the space of toy",
        ),
        (edit(SPACE, "[0.9]", "[9]"), "toy.pcs, line "),
    ],
)
def test_a_malformed_scenario_is_refused_in_one_line(
    toys: Path, change: Edit, message: str
) -> None:
    change(toys)
    with pytest.raises(BadInput) as refusal:
        read(toys / "scenarios/toys/toy")
    assert message in str(refusal.value)
    assert "line " in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_number_of_many_digits_is_told_shortly(toys: Path) -> None:
    line("runcount_limit = 600", f"runcount_limit = {'9' * 5000}")(toys)
    with pytest.raises(
        BadInput, match=r"is '9+\.\.\.9+', expected a positive integer below 10\^18"
    ):
        read(toys / "scenarios/toys/toy")


def test_an_instance_given_twice_is_found_however_far_apart(tmp_path: Path) -> None:
    names = [f"a/set_{number}/0/{fold}" for number in range(2000) for fold in range(10)]
    (tmp_path / "training.txt").write_text("\n".join(names) + "\n")
    assert read_instances(tmp_path / "training.txt", tmp_path) == tuple(names)
    (tmp_path / "training.txt").write_text("\n".join([*names, names[7]]) + "\n")
    with pytest.raises(BadInput, match=f"line 20001: instance {names[7]} is given twice"):
        read_instances(tmp_path / "training.txt", tmp_path)


def test_inner_folds_of_a_subset_may_train_where_the_whole_is_the_test(toys: Path) -> None:
    for name in ("training.txt", "features.csv"):
        edit(name, "a/digits/0/1", "a/digits_2000/0/1")(toys)
    assert read(toys / "scenarios/toys/toy").training[1] == "a/digits_2000/0/1"


FORMS = ("", "/3", "/40+30/1", "/40+30/2", "/60+20/1", "/70/2", "/halves/1")


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        (f"sklearn/iris/0{trained}", f"sklearn/iris/{fold}{tested}")
        for trained, fold, tested in itertools.product(FORMS, "01", FORMS)
        if trained != tested or fold == "1"
    ],
)
def test_lists_are_refused_where_a_training_instance_sees_a_row_that_judges_a_test_instance(
    toys: Path, trained: str, tested: str
) -> None:
    """By the rows themselves, which reading a scenario does not look at."""
    for name, instance in (("training.txt", trained), ("test.txt", tested)):
        (toys / "scenarios/toys" / name).write_text(f"{instance}\n")
    edit("features.csv", "a/digits/0,", f"{trained},1,1\n{tested},")(toys)
    seen, judging = load(trained), load(tested).eval_rows
    if np.intersect1d([*seen.train_rows, *seen.eval_rows], judging).size:
        with pytest.raises(BadInput) as refusal:
            read(toys / "scenarios/toys/toy")
        said = f"{tested} is evaluated on rows that training instance {trained} sees"
        assert said in str(refusal.value)
    else:
        assert read(toys / "scenarios/toys/toy").test == (tested,)


def test_a_convolutional_network_has_batch_normalisation_unless_it_is_configured_away() -> None:
    assert read(scenario_name(of_set="vision_conv")).space.default["norm"] == "batch"
    assert read(scenario_name(of_set="digits")).space.default["norm"] == "none"


@pytest.mark.usefixtures("on_the_path")
@pytest.mark.parametrize(
    ("name", "meant"),
    [("toy", "toys/toy"), ("scenarios/toys", "toys/toy"), ("toys/tyo", "toys/toy"), ("q/q", None)],
)
def test_a_scenario_that_is_not_there_is_refused_with_those_that_may_be_meant(
    name: str, meant: str | None
) -> None:
    with pytest.raises(BadInput, match=f"no scenario at {name}; .*sparse-aclib list") as refused:
        read(name)
    assert (f"did you mean {meant}" in str(refused.value)) == (meant is not None)
    assert meant or "mean" not in str(refused.value)


def test_instances_and_features_read_without_a_last_newline(tmp_path: Path) -> None:
    (tmp_path / "i").write_text("a\nb")
    (tmp_path / "f").write_text("i,x\na,1\nb,2")
    assert read_instances(tmp_path / "i", tmp_path) == ("a", "b")
    assert read_features(tmp_path / "f", tmp_path) == (("x",), {"a": (1.0,), "b": (2.0,)})


# Fixed and narrowed parameters, through every door of a trial -------------------------------------


ONLY = "norm:none,width_factor:1,depth_change:0,activation:relu"


def words(scenario: Scenario, instance: str, seed: int) -> list[str]:
    """The call that any configurator makes with the default of the scenario's parameter file."""
    fixed = scenario.algo.split()[2:]
    config = [word for k, v in scenario.space.default.items() for word in (f"-{k}", str(v))]
    return [*fixed, "--instance", instance, "--seed", str(seed), "--config", *config]


def trained_as(record: Record, scenario: Scenario, config: Config) -> Trained:
    """What a configuration gives on a record's pair, without the wrappers."""
    return train(
        Trial(
            variant=scenario.variant.name,
            folder=str(scenario.variant.folder),
            options=scenario.options,
            instance=record.instance,
            seed=record.seed,
            config=config,
        )
    )


def test_what_a_scenario_fixes_is_in_no_file_and_in_every_trial(
    suite: Path, tmp_path: Path
) -> None:
    scenario = read(with_options(suite, COMBINATION, f"--only {ONLY}"))
    fixed: Config = {"norm": "none", "width_factor": 1.0, "depth_change": 0, "activation": "relu"}
    never = {"sparse_gradient_correction", "all_relu_slope"}
    whole = read(scenario_name(COMBINATION)).space
    assert set(scenario.space.by_name) == set(whole.by_name) - {*fixed} - never
    for name in formats.names():
        for text in formats.files(name, scenario, tmp_path).values():
            names = set(re.findall(r"\w+", text.replace(ONLY, "")))
            assert not names & ({*fixed} | never), name

    run = execute(scenario, tmp_path, 4)
    assert set(fixed.items()) <= set(read_run(run).fixed.items())
    assert validate([run], seeds=1, workers=1)
    records = [*read_lines(run / RUNHISTORY, Numbered), *read_lines(run / VALIDATION, Record)]
    assert len(records) > 4
    for record in records:
        assert not {*fixed} & set(record.config)
        trained = trained_as(record, scenario, {**record.config, **fixed})
        assert (trained.cost, trained.training_flops) == (record.cost, record.training_flops)

    first = read_lines(run / RUNHISTORY, Numbered)[0]
    for program in (["python3", "./wrappers/target"], [sys.executable, "-m", "commands", "eval"]):
        done = subprocess.run(
            [*program, *words(scenario, first.instance, first.seed)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert str(first.cost)[:6] in done.stdout, done.stderr


def test_a_value_that_is_not_the_default_reaches_the_trial(suite: Path, tmp_path: Path) -> None:
    plain = read(suite / "scenarios" / scenario_name())
    default = read_lines(execute(plain, tmp_path / "a", 1) / RUNHISTORY, Numbered)[0]
    scenario = read(with_options(suite, PLAIN, "--only norm:layer,batch_size:16"))
    fixed = read_lines(execute(scenario, tmp_path / "b", 1) / RUNHISTORY, Numbered)[0]
    config = {**default.config, "norm": "layer", "sparse_gradient_correction": "no"}
    expected = trained_as(default, plain, {**config, "batch_size": 16})
    assert (fixed.cost, fixed.training_flops) == (expected.cost, expected.training_flops)
    assert fixed.cost != default.cost


def test_a_scenario_narrows_to_a_range_and_to_choices(suite: Path) -> None:
    only = "batch_size:100/200,optimizer:adamw/sgd,activation:gelu/srelu,dropout:0/0.2/0.3"
    space = read(with_options(suite, PLAIN, f"--only {only}")).space
    batch = space.by_name["batch_size"]
    assert (batch.low, batch.high, batch.default) == (100, 200, 100)
    assert space.by_name["optimizer"].choices == ("adamw", "sgd")
    assert (space.default["optimizer"], space.default["activation"]) == ("adamw", "gelu")
    dropout = space.by_name["dropout"]
    assert (dropout.low, dropout.default, dropout.high) == (0.0, 0.2, 0.3)
    assert "all_relu_slope" not in space.by_name


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("norm", "option --only is 'norm', expected each parameter once, such as norm:none"),
        ("norm:none,norm:none", "expected each parameter once"),
        ("norm:none,", "expected each parameter once"),
        ("norms:none", "option --only names norms, expected parameters of "),
        ("norm:group", "parameter norm is 'group', expected one of none, batch, layer"),
        ("norm:none/none", "norm is narrowed to none, none, expected each value once"),
        ("momentum:0.1/0.4/0.3", "expected a number, or the two bounds of a range, its default"),
        ("momentum:0.2/0.1", "expected a number, or the two bounds of a range"),
        ("momentum:2", "parameter momentum is '2', expected a number in [0, 0.99]"),
        ("momentum:0.5/", "parameter momentum is '', expected a number"),
        ("batch_size:16.5", "parameter batch_size is '16.5', expected an integer in [16, 512]"),
    ],
)
def test_what_cannot_be_fixed_is_refused_with_the_line(
    suite: Path, only: str, message: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        with_options(suite, PLAIN, f"--only {only}")
    assert "scenario.txt, line 1: " in str(refusal.value) and message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_scenario_that_fixes_everything_is_refused(suite: Path) -> None:
    space = variant_space(BASELINE)
    only = ",".join(f"{p.name}:{p.default}" for p in space.parameters)
    with pytest.raises(BadInput, match="line 1: no parameter is left to configure"):
        with_options(suite, BASELINE, f"--only {only}")


def test_what_another_option_or_the_variant_fixes_may_be_said_again_but_not_contradicted(
    suite: Path,
) -> None:
    folders = (suite / "scenarios" / "digits").glob("*/scenario.txt")
    variants = [read(folder).variant for folder in folders]
    reference = next(variant for variant in variants if variant_space(variant).constants)
    constant = variant_space(reference).constants[0]
    same = with_options(suite, reference, f"--only {constant.name}:{constant.value},norm:none")
    assert "norm" not in read(same).space.by_name
    with pytest.raises(BadInput, match="line 1: parameter density_path is 'constant', expected"):
        with_options(suite, COMBINATION, "--only density_path:cubic")


def test_one_density_is_another_number_of_weights_on_every_data_set_of_a_run(
    suite: Path, tmp_path: Path
) -> None:
    file = suite / "scenarios" / scenario_name() / "scenario.txt"
    several = file.parents[1]
    names = ("digits", "iris", "wine")
    (several / "training.txt").write_text("".join(f"sklearn/{name}/0/0\n" for name in names))
    (several / "features.csv").unlink()
    formats.write({several / "features.csv": features_csv(several)})
    relative = "--density 0.05 --static-samples 2000 --hidden 64-64"
    file.write_text(re.sub(r"--active-weights .* --hidden \S+", relative, file.read_text()))
    scenario = read(file)
    records = read_lines(execute(scenario, tmp_path, 9, by=DEFAULT_ONLY) / RUNHISTORY, Numbered)
    weights = {
        f"sklearn/{name}": inputs * 64 + 64 * 64 + 64 * classes
        for name, inputs, classes in (("digits", 64, 10), ("iris", 4, 3), ("wine", 13, 3))
    }
    assert {record.instance.rsplit("/", 2)[0] for record in records} == set(weights)
    for record in records:
        all_of_it = weights[record.instance.rsplit("/", 2)[0]]
        active = round(0.05 * all_of_it)
        assert (record.active_weights, record.weights) == (active, all_of_it)
        assert record.density == active / all_of_it
        assert 0 <= 6 * active * 2000 - (record.training_flops or 0) < 6 * all_of_it


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("batch_size {16} [16]", {"batch_size": 16}),
        ("momentum {0.5} [0.5]", {"momentum": 0.5}),
        ("learning_rate_sgd {0.05} [0.05]", {"learning_rate_sgd": 0.05}),
        ("optimizer {sgd} [sgd]", {"optimizer": "sgd"}),
    ],
)
def test_what_a_variant_fixes_is_in_every_trial_of_it(
    line: str, changes: dict[str, object], suite: Path, tmp_path: Path
) -> None:
    folder = suite / "target_algorithms" / "fixed"
    shutil.copytree(PLAIN.folder, folder)
    (folder / "params.pcs").write_text(f"{PLAIN.pcs.read_text()}\n{line}\n")
    made = suite / "scenarios" / "digits" / "fixed"
    shutil.copytree(suite / "scenarios" / scenario_name(), made)
    text = (made / "scenario.txt").read_text()
    (made / "scenario.txt").write_text(text.replace(PLAIN.name, "fixed"))
    formats.write(formats.committed(read(made, check_paramfile=False)))

    scenario, plain = read(made), read(suite / "scenarios" / scenario_name())
    record = read_lines(execute(scenario, tmp_path, 1) / RUNHISTORY, Numbered)[0]
    expected = train(
        Trial(
            variant=PLAIN.name,
            folder=str(PLAIN.folder),
            options=plain.options,
            instance=record.instance,
            seed=record.seed,
            config=plain.space.check({**plain.space.default, **changes}),
        )
    )
    assert record.status == "SUCCESS"
    assert (record.cost, record.training_flops) == (expected.cost, expected.training_flops)
