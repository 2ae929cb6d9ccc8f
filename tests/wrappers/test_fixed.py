"""Parameters that a variant or a scenario fixes or narrows, through every door of a trial."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from target_algorithms.contract import Trial
from target_algorithms.trial import run as train
from tests.examples import BASELINE, COMBINATION, PLAIN, scenario_name
from tests.wrappers.cases import execute, with_options
from wrappers import formats
from wrappers.records import RUNHISTORY, VALIDATION, Numbered, Record, read_lines, read_run
from wrappers.scenario import Scenario, read
from wrappers.space import Config, variant_space
from wrappers.validation import validate

ONLY = "norm:none,width_factor:1,depth_change:0,activation:relu"


def words(scenario: Scenario, instance: str, seed: int) -> list[str]:
    """The call that any configurator makes with the default of the scenario's parameter file."""
    fixed = scenario.algo.split()[2:]
    config = [word for k, v in scenario.space.default.items() for word in (f"-{k}", str(v))]
    return [*fixed, "--instance", instance, "--seed", str(seed), "--config", *config]


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
        trained = train(
            Trial(
                variant=COMBINATION.name,
                folder=str(COMBINATION.folder),
                options=scenario.options,
                instance=record.instance,
                seed=record.seed,
                config={**record.config, **fixed},
            )
        )
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
    expected = train(
        Trial(
            variant=PLAIN.name,
            folder=str(PLAIN.folder),
            options=plain.options,
            instance=default.instance,
            seed=default.seed,
            config={**config, "batch_size": 16},
        )
    )
    assert (fixed.cost, fixed.training_flops) == (expected.cost, expected.training_flops)
    assert fixed.cost != default.cost


def test_a_scenario_narrows_to_a_range_and_to_choices(suite: Path) -> None:
    only = "batch_size:100/200,optimizer:adamw/sgd,activation:gelu/srelu"
    space = read(with_options(suite, PLAIN, f"--only {only}")).space
    batch = space.by_name["batch_size"]
    assert (batch.low, batch.high, batch.default) == (100, 200, 100)
    assert space.by_name["optimizer"].choices == ("adamw", "sgd")
    assert (space.default["optimizer"], space.default["activation"]) == ("sgd", "gelu")
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
        ("momentum:0.1/0.2/0.3", "expected a number, or the two bounds of a range"),
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
