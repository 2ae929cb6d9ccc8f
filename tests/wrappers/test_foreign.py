"""Runs of foreign configurators: recorded by the target, read from their own files, made ours."""

import csv
import json
import os
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from typer.testing import CliRunner

from commands.__main__ import build
from sparse_training.errors import BadInput
from target_algorithms import ROOT
from target_algorithms.contract import Details, Result, Trained, Trial, failure
from tests.examples import scenario_name
from wrappers import aclib, foreign, record
from wrappers.call import evaluate
from wrappers.check import check
from wrappers.foreign import Change, Left, make_run
from wrappers.foreign import irace as irace_log
from wrappers.formats.configspace import to_configspace
from wrappers.records import (
    Incumbent,
    Key,
    Numbered,
    Record,
    read_lines,
    read_run,
    to_json,
    write_run,
)
from wrappers.scenario import Scenario, read, scenarios
from wrappers.space import Config, config_id
from wrappers.validation import validate

SCENARIO = read(scenario_name())


def configs(count: int, seed: int = 0) -> list[Config]:
    """The default and random configurations."""
    rng = random.Random(seed)
    return [SCENARIO.space.default, *(SCENARIO.space.sample(rng) for _ in range(count - 1))]


def cost_of(config: Config, instance: str, seed: int) -> float:
    """What a toy answers: a number that tells trials apart."""
    return int(config_id(config)[:4], 16) / 2**17 + (seed % 7 + len(instance)) / 1000


def answered(trial: Trial) -> Result:
    """A trial that takes no time."""
    config = {k: v for k, v in trial.config.items() if k in SCENARIO.space.by_name}
    trained = Trained(
        cost=cost_of(config, trial.instance, trial.seed),
        active_weights=500,
        weights=1000,
        density=0.5,
        training_flops=6e6,
        inference_flops=1000.0,
        engine="sparse",
        misc=Details(samples=3),
    )
    return Result(status="SUCCESS", runtime=0.5, cpu_time=0.4, peak_memory=40.0, trained=trained)


def called(config: Config, instance: str, seed: int) -> aclib.Call:
    texts = {name: str(value) for name, value in config.items()}
    return aclib.Call(
        SCENARIO.variant.name, SCENARIO.options.words, instance, 60.0, seed, texts, named=True
    )


def texts(config: Config) -> dict[str, str]:
    return {name: str(value) for name, value in config.items()}


def whole(folder: Path) -> tuple[list[Numbered], list[Incumbent]]:
    """A run that is whole, by its trials and incumbents."""
    runs, faults = check(folder)
    assert faults == [] and len(runs) == 1
    assert read_run(runs[0].folder).state == "finished"
    trials = read_lines(runs[0].folder / "runhistory.jsonl", Numbered)
    return trials, read_lines(runs[0].folder / "trajectory.jsonl", Incumbent)


def imported(left: Left, results: Path, **more: Any) -> Path:
    settings = {"form": "csv", "configurator": "theirs", "seed": 3, "results": results, **more}
    return make_run(left, SCENARIO, **settings)[0]


# The record of calls -----------------------------------------------------------------------------


def test_calls_are_recorded_with_all_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(record.FOLDER, str(tmp_path / "calls"))
    asked = [(config, SCENARIO.training[k % 3], k) for k, config in enumerate(configs(12))]
    evaluate(called(*asked[0]), answered)  # parses code, which threads of Python 3.11 may not
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: evaluate(called(*each), answered), asked[1:]))
    with pytest.raises(BadInput):
        evaluate(replace(called(*asked[0]), config={}), answered)
    evaluate(called(*asked[0]), lambda trial: failure("ABORT", "no data"))
    (file,) = (tmp_path / "calls").iterdir()
    kept = read_lines(file, Record)
    assert {each.key for each in kept} == {Key(config_id(c), i, s) for c, i, s in asked}
    for each in kept:
        assert each.cost == cost_of(each.config, each.instance, each.seed)
        assert (each.active_weights, each.cpu_time, each.peak_memory) == (500, 0.4, 40.0)
        assert each.code is not None and each.started is not None and each.misc.samples == 3

    folder = imported(foreign.read("record", tmp_path / "calls", SCENARIO), tmp_path / "results")
    trials, incumbents = whole(tmp_path / "results")
    assert len(trials) == 12 and folder.name == "seed-3"
    assert incumbents[0].config == SCENARIO.space.default
    best = min(trials, key=lambda each: each.cost)
    assert incumbents[-1].config_id == best.config_id and incumbents[-1].trial == 12


def test_a_line_that_was_cut_off_when_its_call_was_killed_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(record.FOLDER, str(tmp_path))
    one, other = SCENARIO.space.default, configs(2)[1]
    evaluate(called(one, SCENARIO.training[0], 1), answered)
    (file,) = tmp_path.iterdir()
    whole_line = file.read_text()
    with file.open("a") as calls:
        calls.write(whole_line[:200])
    evaluate(called(other, SCENARIO.training[0], 1), answered)
    with file.open("a") as calls:
        calls.write(whole_line[:90])
    left = foreign.read("record", tmp_path, SCENARIO)
    assert [each.config for each in left.trials] == [one, other]
    assert capfd.readouterr().err == f"{file}: left out 2 torn lines, of calls that were killed\n"
    file.write_text(whole_line.replace('"seed": 1', '"seed": 2') + whole_line)
    with pytest.raises(BadInput, match=":1: edited"):
        foreign.read("record", tmp_path, SCENARIO)


def test_a_failed_trial_is_recorded_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(record.FOLDER, str(tmp_path))
    config = SCENARIO.space.default
    evaluate(called(config, SCENARIO.training[0], 1), lambda trial: failure("TIMEOUT", "too long"))
    (kept,) = read_lines(next(tmp_path.iterdir()), Record)
    assert (kept.status, kept.cost, kept.misc.error) == ("TIMEOUT", 1.0, "too long")


def test_calls_with_other_options_are_no_trials_of_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(record.FOLDER, str(tmp_path))
    other = list(SCENARIO.options.words)
    other[other.index("--training-samples") + 1] = "77"
    call = called(SCENARIO.space.default, SCENARIO.training[0], 1)
    evaluate(replace(call, options=tuple(other)), answered)
    with pytest.raises(BadInput, match="calls with other options are in another"):
        foreign.read("record", tmp_path, SCENARIO)


def test_a_record_that_cannot_be_written_is_no_result_of_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(record.FOLDER, str(tmp_path / "file"))
    with pytest.raises(BadInput, match="cannot record the trial in .*file"):
        evaluate(called(SCENARIO.space.default, SCENARIO.training[0], 1), answered)


def test_without_a_folder_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(record.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    evaluate(called(SCENARIO.space.default, SCENARIO.training[0], 1), answered)
    assert list(tmp_path.iterdir()) == []


# A run of ours from what is left -----------------------------------------------------------------


def trials_of(count: int, pairs: int = 2) -> list[Record]:
    return [
        foreign.trial(
            *(SCENARIO, texts(config), SCENARIO.training[k], 11, cost_of(config, "i", 11)),
            where="here",
        )
        for config in configs(count)
        for k in range(pairs)
    ]


def test_what_is_not_known_stays_empty_and_the_run_is_validated_like_any(tmp_path: Path) -> None:
    fewer = trials_of(4)[:7]  # the last configuration has one pair
    folder = imported(Left(fewer), tmp_path, trials=50)
    trials, incumbents = whole(tmp_path)
    assert {each.cpu_time for each in trials} == {None} and read_run(folder).trials == 50
    costs = {each.config_id: each.cost for each in fewer[:6]}
    assert incumbents[-1].config_id == min(costs, key=lambda name: costs[name])
    validate([folder], seeds=1, workers=1)
    assert check(tmp_path)[1] == []


def test_trials_twice_or_on_other_instances_are_left_out(tmp_path: Path) -> None:
    trials = trials_of(3)
    tested = replace(trials[0], instance=SCENARIO.test[0])
    left = Left([*trials, trials[0], tested])
    _, others = make_run(
        left, SCENARIO, form="csv", configurator="theirs", seed=1, results=tmp_path
    )
    assert others == 1 and len(whole(tmp_path)[0]) == 6


def test_trials_are_those_of_the_scenario_s_cutoff(tmp_path: Path) -> None:
    cutoff = SCENARIO.cutoff
    first, second, third, fourth = (
        replace(each, runtime=2.0) for each in trials_of(2)
    )  # as the scenario has it; to rounding; never needed; cut off earlier
    timeout: dict[str, Any] = {"status": "TIMEOUT", "cost": 1.0}
    trials = [
        first,
        replace(second, cutoff=cutoff * (1 + 1e-12), **timeout),
        replace(third, cutoff=1e300),
        replace(fourth, cutoff=1.0, **timeout),
    ]
    imported(Left(trials), tmp_path)
    found, _ = whole(tmp_path)
    assert [each.key for each in found] == [first.key, second.key, third.key]
    assert {each.cutoff for each in found} == {cutoff}


def test_incumbents_stand_where_they_came(tmp_path: Path) -> None:
    first, second, third = configs(3)
    started = [f"2026-01-01T00:00:{second:02}+00:00" for second in range(6)]
    trials = [replace(each, started=at) for each, at in zip(trials_of(3), started, strict=True)]
    changes = [
        Change(config=texts(first)),
        Change(config=texts(second), seconds=2.5, estimate=0.2),
        Change(config=texts(second), seconds=3.0),
        Change(config=texts(third), trial=5),
    ]
    imported(Left(trials, changes), tmp_path)
    found = [(each.trial, each.config_id) for each in whole(tmp_path)[1]]
    assert found == [(0, config_id(first)), (3, config_id(second)), (5, config_id(third))]


def test_a_run_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    imported(Left(trials_of(2)), tmp_path)
    with pytest.raises(BadInput, match="there is a run already"):
        imported(Left(trials_of(3)), tmp_path)
    with pytest.raises(BadInput, match="no trial on a training instance"):
        imported(Left(), tmp_path, seed=9)


@pytest.mark.parametrize("file", ["runhistory.jsonl", "run.json"])
def test_an_import_that_finds_no_room_leaves_nothing_and_can_be_repeated(
    file: str, tmp_path: Path
) -> None:
    left = Left(trials_of(1))
    like = imported(left, tmp_path / "like")
    sizes = {each.name: each.stat().st_size for each in like.iterdir()}
    assert sizes["run.json"] == max(sizes.values())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[file] - 1, limits[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: .*seed-3/{file}"):
            imported(left, tmp_path / "results")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in (tmp_path / "results").rglob("seed-3/*")] == [".lock"]
    imported(left, tmp_path / "results")
    assert len(whole(tmp_path / "results")[0]) == 2


def test_an_import_that_was_killed_while_it_gave_names_can_be_repeated(tmp_path: Path) -> None:
    folder = imported(Left(trials_of(2)), tmp_path)
    (folder / "run.json").unlink()
    with pytest.raises(BadInput, match="there is a run already"):
        imported(Left(trials_of(3)), tmp_path)
    imported(Left(trials_of(2)), tmp_path)
    assert len(whole(tmp_path)[0]) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cost": 1.5}, "cost 1.5, expected an error from 0 to 1"),
        ({"config": {"no_such": "1"}}, "unknown parameter 'no_such'"),
        ({"config": {}}, "parameter .* is missing"),
        ({"cost": float("nan")}, "cost nan, expected an error"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296, expected a whole number from 0 to 4294967295"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number"),
        ({"seed": True}, "seed is True, expected a whole number"),
        ({"runtime": -2.0}, "runtime is -2.0, expected at least 0"),
        ({"status": "SUCESS"}, "status is 'SUCESS', expected one of SUCCESS, TIMEOUT, CRASHED"),
        ({"instance": ["i"]}, r"instance is \['i'\], expected the name of one"),
        ({"runtime": float("inf")}, "runtime is inf, expected a finite number"),
        ({"fidelity": 5}, "the fidelity is 5.0, expected a share of the training budget"),
    ],
)
def test_what_cannot_be_a_trial_is_named(changes: dict[str, Any], message: str) -> None:
    given = {"config": texts(SCENARIO.space.default), "cost": 0.5, "seed": 1, **changes}
    words = [given.get("instance", "i"), given["seed"], given["cost"]]
    more = {name: given[name] for name in ("runtime", "status", "fidelity") if name in given}
    with pytest.raises(BadInput, match=f"line 7: .*{message}"):
        foreign.trial(SCENARIO, given["config"], *words, **more, where="line 7")


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", "1st", "a b"])
def test_a_configurator_is_called_by_a_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a name of letters"):
        imported(Left(trials_of(1)), tmp_path, configurator=name)


def test_inactive_parameters_that_a_client_names_are_left_out() -> None:
    default = SCENARIO.space.default
    inactive = [p.name for p in SCENARIO.space.parameters if p.name not in default]
    assert inactive
    every = texts(default) | {p.name: str(p.default) for p in SCENARIO.space.parameters}
    assert foreign.known(SCENARIO.space, every, "here") == default


# Forms -------------------------------------------------------------------------------------------


def test_unknown_forms_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown form 'gga': expected one of csv, gps, irace"):
        foreign.read("gga", tmp_path, SCENARIO)
    for form in foreign.names():
        with pytest.raises(BadInput, match="no file|no such record"):
            foreign.read(form, tmp_path, SCENARIO)


NAMES = {
    "csv": "trials.csv",
    "gps": "traj.csv",
    "paramils": "focused-runs20-traj_1.csv",
    "record": record.calls_of(Path(), SCENARIO.variant, SCENARIO.options).name,
    "smac2": "traj-run-1.txt",
    "smac3-1": "runhistory.json",
    "smac3-2": "runhistory.json",
}
"""A form's file, as its client calls it."""
(OF_R,) = set(foreign.names()) - NAMES.keys()
NAMES[OF_R] = "log.Rdata"


@pytest.mark.parametrize("form", foreign.names())
@pytest.mark.parametrize("folder", [True, False])
def test_what_is_no_file_is_not_waited_for(form: str, folder: bool, tmp_path: Path) -> None:
    file = tmp_path / NAMES[form]
    place = tmp_path if folder else file
    os.mkfifo(file)
    with pytest.raises(BadInput, match=f"{file.name}: no regular file, expected a file that"):
        foreign.read(form, place, SCENARIO)
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(BadInput, match=f"{file.name}: no regular file, expected a file that"):
        foreign.read(form, place, SCENARIO)
    file.unlink()
    with open(file, "wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(BadInput, match=f"{file.name}: 1,099,511,627,776 bytes, expected at most"):
        foreign.read(form, place, SCENARIO)


@pytest.mark.parametrize("beside", ["intensifier.json", "traj.json"])
def test_what_is_no_file_beside_one_is_not_waited_for(beside: str, tmp_path: Path) -> None:
    smac3_1(tmp_path, SCENARIO)
    form = "smac3-1" if beside == "traj.json" else "smac3-2"
    if form == "smac3-2":
        (tmp_path / "runhistory.json").write_text(
            foreign.written(form, a_run(tmp_path))["runhistory.json"]
        )
    (tmp_path / beside).unlink(missing_ok=True)
    os.mkfifo(tmp_path / beside)
    with pytest.raises(BadInput, match=f"{beside}: no regular file"):
        foreign.read(form, tmp_path, SCENARIO)


def table(rows: Sequence[dict[str, object]], file: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, names)
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_is_read_line_by_line(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"instance": SCENARIO.training[k], "seed": k, "cost": 0.1 * k, "runtime": 2, **config}
        for k, config in enumerate(configs(3))
    ]
    rows[2] |= {"status": "TIMEOUT"}
    table(rows, tmp_path / "t.csv")
    trials = foreign.read("csv", tmp_path, SCENARIO).trials
    assert [each.config for each in trials] == configs(3)
    assert [(each.cost, each.status) for each in trials] == [
        (0.0, "SUCCESS"),
        (0.1, "SUCCESS"),
        (1.0, "TIMEOUT"),
    ]
    table([{**rows[0], "seed": "x"}], tmp_path / "t.csv")
    with pytest.raises(BadInput, match="t.csv:2: seed is 'x', expected a whole number"):
        foreign.read("csv", tmp_path, SCENARIO)
    (tmp_path / "t.csv").write_text("instance,seed,cost\nx,1," + "9" * 200_000)
    with pytest.raises(BadInput, match="t.csv: field larger .*, expected comma-separated values"):
        foreign.read("csv", tmp_path, SCENARIO)
    table([{"instance": "i"}], tmp_path / "t.csv")
    with pytest.raises(BadInput, match="no column seed"):
        foreign.read("csv", tmp_path / "t.csv", SCENARIO)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
def test_a_run_of_smac3_2_itself(tmp_path: Path) -> None:
    from smac import AlgorithmConfigurationFacade as Facade
    from smac import Scenario as SmacScenario

    from wrappers.formats.configspace import from_configspace

    asked: list[tuple[Config, str, int]] = []

    def target(config: Any, instance: str, seed: int = 0) -> float:
        asked.append((from_configspace(config), instance, seed))
        return cost_of(*asked[-1])

    described = SmacScenario(
        to_configspace(SCENARIO.space, seed=1),
        output_directory=tmp_path / "output",
        name="run",
        seed=1,
        n_trials=14,
        instances=list(SCENARIO.training),
        instance_features={name: [k] for k, name in enumerate(SCENARIO.training)},
    )
    best = Facade(described, target, logging_level=False).optimize()
    left = foreign.read("smac3-2", tmp_path / "output", SCENARIO)
    assert [each.key for each in left.trials] == [Key(config_id(c), i, s) for c, i, s in asked]
    imported(left, tmp_path / "results", form="smac3-2")
    trials, incumbents = whole(tmp_path / "results")
    assert [each.cost for each in trials] == [cost_of(*each) for each in asked]
    assert incumbents[-1].config == from_configspace(best)


def smac3_1(folder: Path, scenario: Scenario) -> None:
    """Files as 1.4 writes them."""
    first, second = configs(2)
    names = scenario.training
    success, timeout = ({"__enum__": f"StatusType.{name}"} for name in ("SUCCESS", "TIMEOUT"))
    data = [
        [[1, names[0], 5, 0.0], [0.3, 1.5, success, 1.0, 2.5, {}]],
        [[2, names[0], 5, 0.0], [0.2, 1.5, success, 1.0, 2.5, {}]],
        [[2, names[1], 6, 0.0], [1.0, 60.0, timeout, 1.0, 2.5, {}]],
        [[1, names[1], 6, 0.0], [0.0, 0.0, {"__enum__": "StatusType.RUNNING"}, 1.0, 0.0, {}]],
    ]
    said = {"data": data, "configs": {"1": first, "2": second}, "config_origins": {}}
    (folder / "runhistory.json").write_text(json.dumps(said))
    lines = [
        {"evaluations": 0, "cost": 2147483647, "incumbent": first},
        {"evaluations": 2, "cost": 0.2, "incumbent": second},
    ]
    (folder / "traj.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_of_smac3_1(tmp_path: Path) -> None:
    smac3_1(tmp_path, SCENARIO)
    left = foreign.read("smac3-1", tmp_path, SCENARIO)
    assert [(each.cost, each.seed, each.status) for each in left.trials] == [
        (0.3, 5, "SUCCESS"),
        (0.2, 5, "SUCCESS"),
        (1.0, 6, "TIMEOUT"),
    ]
    imported(left, tmp_path / "results", form="smac3-1")
    assert [each.trial for each in whole(tmp_path / "results")[1]] == [0, 2]


@pytest.mark.parametrize("form", ["smac3-1", "smac3-2"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": [1], "configs": {}}'])
def test_files_that_smac_did_not_write_are_named(form: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "runhistory.json").write_text(content)
    if content == "{}" or content:
        with pytest.raises(BadInput, match="runhistory.json"):
            foreign.read(form, tmp_path, SCENARIO)


@pytest.mark.parametrize(
    ("form", "name", "head"),
    [
        ("smac2", "traj-run-1.txt", '"CPU Time Used","Estimated Training Performance",...\n'),
        ("gps", NAMES["gps"], "CPU Time Used,Estimated Training Performance,Wallclock Time,...\n"),
        ("paramils", NAMES["paramils"], '"Total Time","Mean Performance",...\n'),
    ],
)
def test_trajectories_beside_a_record(form: str, name: str, head: str, tmp_path: Path) -> None:
    first, second = configs(2)
    lines = [
        ", ".join([*times, *(f"{k}='{v}'" for k, v in texts(config).items())])
        for times, config in (
            (("0.0", "2.147483647E9", "0.1", "1", "0.0"), first),
            (("3.0", "0.25", "1.5", "2", "0.1"), second),
        )
    ]
    (tmp_path / name).write_text(head + "\n".join(lines) + "\n")
    left = foreign.read(form, tmp_path, SCENARIO)
    assert left.trials == () and [each.estimate for each in left.incumbents] == [None, 0.25]
    trials = [
        replace(each, started=f"2026-01-01T00:00:0{n}+00:00") for n, each in enumerate(trials_of(2))
    ]
    imported(replace(left, trials=trials), tmp_path / "results", form=form)
    found = whole(tmp_path / "results")[1]
    assert [(each.trial, each.config) for each in found] == [(0, first), (2, second)]
    (tmp_path / name).write_text("1.0, x, 3\n")
    with pytest.raises(BadInput, match=f"{name}:1: the estimate is 'x', expected a number"):
        foreign.read(form, tmp_path, SCENARIO)


def test_the_trajectory_of_paramils_that_has_no_times_is_not_taken(tmp_path: Path) -> None:
    """2.3.7 writes the number of runs where the other one has the wall-clock time."""
    config = ", ".join(f"{k}='{v}'" for k, v in texts(SCENARIO.space.default).items())
    (tmp_path / "a-traj_1.txt").write_text(f"Run 2\n0.1, 0.4, 7, 1, 60.0, {config}\n")
    with pytest.raises(BadInput, match=r"no file named \*traj\*.csv"):
        foreign.read("paramils", tmp_path, SCENARIO)
    with pytest.raises(BadInput, match="a-traj_1.txt: has no times, expected the .csv"):
        foreign.read("paramils", tmp_path / "a-traj_1.txt", SCENARIO)
    (tmp_path / "a-traj_1.csv").write_text(
        f'"Total Time",...\n0.17, 0.4, 1.61, 0, 0.07, {config}\n'
    )
    (change,) = foreign.read("paramils", tmp_path, SCENARIO).incumbents
    assert (change.seconds, change.estimate) == (1.61, 0.4)


def test_copies_of_a_parameter_are_that_parameter(tmp_path: Path) -> None:
    file = tmp_path / NAMES["gps"]
    name, *others = SCENARIO.space.default
    config = {f"{name}__2": SCENARIO.space.default[name]} | {
        other: SCENARIO.space.default[other] for other in others
    }
    line = ",".join(["0", "inf", "0.01", "-1", "-1", *(f"{k}='{v}'" for k, v in config.items())])
    file.write_text(f"CPU Time Used,...\n{line}\n")
    (change,) = foreign.read("gps", tmp_path, SCENARIO).incumbents
    assert change.config == texts(SCENARIO.space.default) and change.estimate is None
    file.write_text(f"CPU Time Used,...\n{line},{name}__1='1'\n")
    with pytest.raises(BadInput, match="traj.csv:2: two copies of a parameter, expected one"):
        foreign.read("gps", tmp_path, SCENARIO)


def test_an_old_r_is_refused_with_the_command_that_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = SimpleNamespace(stdout="OLD 4.2.2", stderr="", returncode=0)
    monkeypatch.setattr(irace_log, "rscript", lambda code: said)
    (tmp_path / NAMES[OF_R]).touch()
    with pytest.raises(BadInput, match="R 4.2.2 may run code .*, expected R 4.4 or newer") as fault:
        foreign.read(OF_R, tmp_path, SCENARIO)
    words = shlex.split(re.findall("'(sparse-aclib .*)'", str(fault.value))[0])
    asked = CliRunner().invoke(build(), [*words[1:-1], "7"])
    assert "FOLDER: No such file or directory" in str(asked.exception)
    keep_a_trial(tmp_path / "calls", monkeypatch)
    words[words.index("FOLDER")] = str(tmp_path / "calls")
    results = ["--results", str(tmp_path / "results")]
    asked = CliRunner().invoke(build(), [*words[1:-1], "7", *results])
    assert asked.exit_code == 0, asked.output
    assert len(whole(tmp_path / "results")[0]) == 1


def keep_a_trial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of one call."""
    monkeypatch.setenv(record.FOLDER, str(folder))
    evaluate(called(SCENARIO.space.default, SCENARIO.training[0], 1), answered)


def test_the_script_of_the_page_asks_for_configurations_of_the_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (ROOT / "wrappers" / "foreign" / "README.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (library,) = re.findall(r"\nimport (\w+)\n\nfrom wrappers", script)
    rng, calls, means = random.Random(1), list[list[str]](), list[float]()

    def number(name: str, low: float, high: float, log: bool) -> float:
        return type(low)(rng.choice((low, high)))

    chosen = SimpleNamespace(
        suggest_categorical=lambda name, choices: rng.choice(choices),
        suggest_int=number,
        suggest_float=number,
    )

    def optimize(cost: Any, n_trials: int) -> None:
        means.extend(cost(chosen) for _ in range(n_trials))

    def run(words: list[str], **more: Any) -> Any:
        calls.append(words)
        said = 'Result of this algorithm run: {"status": "SUCCESS", "cost": 0.25}\n'
        return SimpleNamespace(stdout=said)

    monkeypatch.setitem(sys.modules, library, MagicMock())
    sys.modules[library].create_study.return_value.optimize = optimize
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(ROOT)
    exec(compile(script, "wrappers/foreign/README.md", "exec"), {})
    assert means == [0.25] * 4 and len(calls) == 4 * len(SCENARIO.training)
    for words in calls:
        call = aclib.parse(words[2:])
        assert call.named and call.instance in SCENARIO.training
        (scenario,) = (
            each
            for each in map(read, scenarios())
            if each.set == SCENARIO.set and each.variant.name == call.variant
        )
        scenario.space.check(call.config)


# Whatever is in a file ----------------------------------------------------------------------------

CASES = int(os.environ.get("SPARSE_ACLIB_TEST_CASES", "60"))
"""Malformed files of every form."""

_TOKEN = re.compile(r"""-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|"[^"\n]*"|'[^'\n]*'|null|true|false""")
_ODD = [
    *("NaN", "Infinity", "-Infinity", "nan", "inf", "-1", "0", "1.5", "1e999", "-1e-9", "1_0"),
    *("4294967296", "9" * 19, "9" * 400, "9" * 5000, "null", "true", "[]", "{}", "''", '""', "٣"),
    *(
        '"\\ud800"',
        '"\\u0000"',
        "\0",
        "\x1b[31m",
        "\u2028",
        "\r",
        "\t",
        ",",
        "\n",
        "'",
        '"',
        "{",
        "]",
    ),
    *("[" * 100_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "x" * 10_000),
    *('"2026-01-01"', '"2026-01-01T00:00:00"', '"0001-01-01T00:00:00+14:00"', '"StatusType.X"'),
]


def mutated(text: str, rng: random.Random) -> str:
    """A text with one to three faults: parts deleted, doubled, or other values in their place."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines, tokens = text.split("\n"), list(_TOKEN.finditer(text))
        kind = rng.randrange(6)
        if kind == 0:
            at = rng.randrange(len(lines))
            lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [""], [lines[0]]))
            text = "\n".join(lines)
        elif kind == 1:
            begin = rng.randrange(len(text) + 1)
            end = min(begin + rng.choice((1, 5, 100)), len(text))
            text = text[:begin] + text[begin:end] * rng.choice((0, 0, 2)) + text[end:]
        elif kind == 2:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(_ODD) + text[at:]
        elif tokens:
            token, other = rng.choice(tokens), rng.choice(tokens)
            value = rng.choice([*_ODD, other[0], f'"{token[0]}"'])
            text = text[: token.start()] + value + text[token.end() :]
    return text


def written_by(form: str, folder: Path) -> dict[str, str]:
    """What a client leaves, by the names of its files; what R makes of irace's for that one."""
    first, second = (texts(config) for config in configs(2))
    if form in ("csv", "smac3-2"):
        files = foreign.written(form, a_run(folder))
        return {k: v for k, v in files.items() if k in ("trials.csv", *JSONS)}
    if form == "smac3-1":
        smac3_1(folder, SCENARIO)
        return {name: (folder / name).read_text() for name in ("runhistory.json", "traj.json")}
    if form in ("gps", "smac2", "paramils"):
        lines = [
            ", ".join([*times, *(f"{k}='{v}'" for k, v in config.items())])
            for times, config in ((("0", "1e9", "0.1"), first), (("3.0", "0.25", "1.5"), second))
        ]
        return {NAMES[form]: "\n".join(['"CPU Time Used",...', *lines, ""])}
    if form == "record":
        lines = [
            re.sub(', "checksum": "[^"]*"', "", to_json(replace(each, started=STARTED)))
            for each in trials_of(2)
        ]
        return {NAMES[form]: "\n".join([*lines, ""])}
    told = [
        *(
            ("C", str(k), *(w for pair in c.items() for w in pair))
            for k, c in ((1, first), (2, second))
        ),
        *(
            ("T", k, SCENARIO.training[0], "7", cost, "NA", k)
            for k, cost in (("1", ".5"), ("2", "0"))
        ),
        *(("E", "1", "1", "1"), ("E", "2", "2", "2")),
    ]
    return {NAMES[form]: "\n".join(["\t".join(line) for line in told] + [""])}


JSONS = ("runhistory.json", "intensifier.json")
STARTED = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("form", foreign.names())
def test_no_file_ends_an_import_in_anything_but_a_line_or_a_whole_run(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(form)
    sound = written_by(form, tmp_path / "made" if form in ("csv", "smac3-2") else tmp_path)
    place, results = tmp_path / "left", tmp_path / "results"
    place.mkdir()
    refused = 0

    def r(code: str) -> Any:
        said = (place / NAMES[OF_R]).read_text(errors="surrogatepass")
        return SimpleNamespace(stdout=said, stderr="", returncode=0)

    monkeypatch.setattr(irace_log, "rscript", r)
    for _ in range(CASES):
        files = dict(sound)
        faulty = rng.choice(sorted(files))
        files[faulty] = mutated(files[faulty], rng)
        for name, text in files.items():
            (place / name).write_text(text, newline="")
        try:
            left = foreign.read(form, place, SCENARIO)
            trials = left.trials or [replace(each, started=STARTED) for each in trials_of(2)]
            imported(replace(left, trials=trials), results, form=form)
        except BadInput as fault:
            assert str(fault).isprintable() and len(str(fault)) < 3_000
            assert str(fault).startswith((str(place), "no trial on a training instance"))
            assert not results.exists()
            refused += 1
        else:
            whole(results)
            shutil.rmtree(results)
    assert CASES / 4 < refused < CASES


# The way out -------------------------------------------------------------------------------------


def a_run(tmp_path: Path) -> Path:
    """A run with three configurations on two pairs, the last of them on one."""
    trials = [replace(each, runtime=1.5, cpu_time=1.0) for each in trials_of(3)][:5]
    trials[1] = replace(trials[1], status="TIMEOUT", cost=1.0)
    changes = [Change(config=texts(configs(3)[1]), trial=4, estimate=0.5)]
    return imported(Left(trials, changes), tmp_path / "results")


@pytest.mark.parametrize("form", ["csv", "smac3-2"])
def test_a_run_comes_back_as_it_went_out(form: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    trials, incumbents = whole(tmp_path / "results")
    files = foreign.written(form, run)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    back = foreign.read(form, tmp_path / ("trials.csv" if form == "csv" else "."), SCENARIO)
    told = [(each.key, each.cost, each.status, each.runtime) for each in back.trials]
    assert told == [(each.key, each.cost, each.status, each.runtime) for each in trials]
    if form != "csv":
        found = [(c.trial, foreign.known(SCENARIO.space, c.config, "")) for c in back.incumbents]
        assert found == [(each.trial, each.config) for each in incumbents]


def test_smac_itself_loads_what_is_written_for_it(tmp_path: Path) -> None:
    from ConfigSpace import ConfigurationSpace
    from smac.runhistory.runhistory import RunHistory

    for name, text in foreign.written("smac3-2", a_run(tmp_path)).items():
        (tmp_path / name).write_text(text)
    space = ConfigurationSpace.from_json(tmp_path / "configspace.json")
    history = RunHistory()
    history.load(tmp_path / "runhistory.json", space)
    assert (history.submitted, history.finished) == (5, 5) and len(history.get_configs()) == 3


def test_deepcave_gets_a_line_a_configuration(tmp_path: Path) -> None:
    """In the order of keys on which its reader depends."""
    run = a_run(tmp_path)
    said = json.loads(foreign.written("deepcave", run)["runhistory.json"])
    costs: dict[str, list[float]] = {}
    for each in whole(tmp_path / "results")[0]:
        costs.setdefault(each.config_id, []).append(each.cost)
    assert [line["cost"] for line in said["data"]] == [
        pytest.approx(sum(own) / len(own)) for own in costs.values()
    ]
    assert [line["additional_info"]["pairs"] for line in said["data"]] == [2, 2, 1]
    assert [line["status"] for line in said["data"]] == [3, 1, 1]
    assert {line["instance"] for line in said["data"]} == {None}
    assert [*said["data"][0]] == [
        *("config_id", "instance", "seed", "budget", "cost", "time", "cpu_time", "status"),
        *("starttime", "endtime", "additional_info"),
    ]


def test_only_finished_runs_go_out_and_only_in_forms_that_there_are(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    with pytest.raises(BadInput, match="unknown form .paramils.: expected one of csv, deepcave"):
        foreign.written("paramils", run)
    write_run(run, replace(read_run(run), state="running", trials_used=0))
    with pytest.raises(BadInput, match="the run is running, expected a finished one"):
        foreign.written("csv", run)
