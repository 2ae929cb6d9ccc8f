"""Forms of spaces and scenarios: each is read back by the program that it is for."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from tests.examples import scenario_name
from tests.wrappers.cases import SAMPLES, every_space, forbidden_configuration, sample
from wrappers import formats
from wrappers.formats.configspace import configspace_json, from_configspace, to_configspace
from wrappers.formats.crace import crace_space, undone
from wrappers.formats.gps import in_copies, original
from wrappers.formats.paramils import STEPS, discretised
from wrappers.formats.pcs import old_pcs
from wrappers.formats.pcs_new import new_pcs
from wrappers.scenario import Scenario, read
from wrappers.space import Config, Space, read_pcs


def legal_in(made: Any, config: Config) -> bool:
    from ConfigSpace import Configuration

    try:
        Configuration(made, values=config).check_valid_configuration()
    except Exception:  # ConfigSpace has a dozen exceptions for an illegal configuration
        return False
    return True


def read_with_configspace(text: str, reader: str) -> Any:
    """What ConfigSpace's own PCS reader makes of a text; it warns of its age as it does so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ConfigSpace.read_and_write import pcs, pcs_new

        return {"pcs": pcs, "pcs_new": pcs_new}[reader].read(text.splitlines())


@every_space
def test_old_pcs_reads_back_as_the_same_space(space: Space) -> None:
    assert read_pcs(old_pcs(space), "t") == space


@every_space
@pytest.mark.parametrize("reader", ["pcs", "pcs_new", "json"])
def test_configspace_reads_our_files_as_the_same_space(
    space: Space, reader: str, tmp_path: Path
) -> None:
    if reader == "json":
        from ConfigSpace import ConfigurationSpace

        (tmp_path / "space.json").write_text(configspace_json(space))
        made = ConfigurationSpace.from_json(tmp_path / "space.json")
        direct = to_configspace(space)
        assert list(made.values()) == list(direct.values())
        for parts in ("conditions", "forbidden_clauses"):  # in any order
            assert set(map(str, getattr(made, parts))) == set(map(str, getattr(direct, parts)))
    else:
        text = old_pcs(space) if reader == "pcs" else new_pcs(space)
        made = read_with_configspace(text, reader)
    assert set(made) == set(space.by_name)
    for parameter in space.parameters:
        other = made[parameter.name]
        assert other.default_value == parameter.default
        if parameter.kind == "categorical":
            assert tuple(other.choices) == parameter.choices
        else:
            assert (other.lower, other.upper, other.log) == (
                parameter.low,
                parameter.high,
                parameter.log,
            )
    for config in sample(space):
        assert legal_in(made, config)
    for clause in space.forbidden:
        assert not legal_in(made, forbidden_configuration(space, clause))


@every_space
def test_what_configspace_samples_is_legal_here(space: Space) -> None:
    made = to_configspace(space, seed=1)
    for configuration in made.sample_configuration(SAMPLES):
        config = from_configspace(configuration)
        assert space.check(config) == config
        assert {type(value) for value in config.values()} <= {str, int, float}


@every_space
def test_configspace_samples_the_same_for_the_same_seed(space: Space) -> None:
    first, second = (to_configspace(space, seed=5).sample_configuration(5) for _ in range(2))
    assert first == second


EVERYTHING = read_pcs(
    "a {x, y} [x]\nb [1, 8] [2]il\nc [0.000001, 0.1] [0.0005]l\nd [0, 1] [0.5]\n"
    "b | a in {y}\nd | a in {x, y}\n{a=y}",
    "t",
)


def test_a_space_with_everything_looks_like_this() -> None:
    assert new_pcs(EVERYTHING) == (
        "a categorical {x, y} [x]\n"
        "b integer [1, 8] [2] log\n"
        "c real [0.000001, 0.1] [0.0005] log\n"
        "d real [0, 1] [0.5]\n"
        "b | a in {y}\n"
        "d | a in {x, y}\n"
        "{a=y}\n"
    )


def test_every_format_is_a_module_and_an_unknown_one_is_answered_with_them(tmp_path: Path) -> None:
    modules = {file.stem for file in (ROOT / "wrappers/formats").glob("[!_]*.py")}
    words = formats.names()
    assert {"pcs", "pcs-new", "configspace"} <= set(words) and len(words) == len(modules)
    assert {word.replace("-", "_").replace(".", "_") for word in words} == modules
    with pytest.raises(BadInput, match=f"unknown format 'nosuch': expected one of {words[0]}, "):
        formats.files("nosuch", read(scenario_name()), tmp_path)


@pytest.mark.parametrize("name", formats.names())
def test_a_format_is_written_whole_and_only_what_has_changed_is_written_again(
    name: str, toys: Path, tmp_path: Path
) -> None:
    scenario = read(toys / "scenarios/toys/toy")
    texts = formats.files(name, scenario, tmp_path / "out")
    assert texts and all(path.is_relative_to(tmp_path / "out") for path in texts)
    assert set(formats.write(texts)) == set(texts)
    assert {path: path.read_text() for path in texts} == texts
    assert formats.write(texts) == ()
    changed = next(iter(texts))
    changed.write_text("other")
    assert formats.write(texts) == (changed,)


def test_what_each_format_writes(toys: Path, tmp_path: Path) -> None:
    scenario = read(toys / "scenarios/toys/toy")

    def written(name: str) -> set[str]:
        return {path.name for path in formats.files(name, scenario, tmp_path)}

    assert written("pcs") == {"params.pcs", "scenario.txt"}
    assert written("pcs-new") == {"params.new.pcs"}
    assert written("configspace") == {"space.json"}
    json.loads(formats.files("configspace", scenario, tmp_path)[tmp_path / "space.json"])


def test_a_space_is_committed_once_as_the_paramfile_of_its_scenarios(toys: Path) -> None:
    file = toys / "scenarios/spaces/toy.pcs"
    texts = formats.committed(read(toys / "scenarios/toys/toy"))
    assert {path.resolve(): text for path, text in texts.items()} == {file: file.read_text()}


# ParamILS, crace, SMAC's script ------------------------------------------------------------------


@every_space
def test_paramils_gets_choices_that_are_all_legal_and_have_the_default(space: Space) -> None:
    text = discretised(space)
    read_back = read_pcs(text, "")
    assert {parameter.kind for parameter in read_back.parameters} == {"categorical"}
    assert read_back.conditions == space.conditions and read_back.forbidden == space.forbidden
    for few, whole in zip(read_back.parameters, space.parameters, strict=True):
        values = [whole.check(choice) for choice in few.choices]
        assert len(set(values)) == len(values) and whole.check(few.default) == whole.default
        if whole.kind != "categorical":
            assert {whole.low, whole.high} <= set(values) and len(values) <= STEPS + 1
    for config in sample(read_back):
        space.check(config)


def test_paramils_reads_the_keys_of_its_release(tmp_path: Path) -> None:
    """param_ils_2_3_run.rb ends at a key that it does not know."""
    scenario = read(scenario_name())
    texts = formats.files("paramils", scenario, tmp_path)
    said = dict(line.split(" = ", 1) for line in texts[tmp_path / "scenario.txt"].splitlines())
    known = {"algo", "execdir", "deterministic", "run_obj", "overall_obj", "cutoff_time"}
    known |= {"cutoff_length", "runcount_limit", "wallclock_limit", "paramfile", "instance_file"}
    assert said.keys() == known | {"test_instance_file"}
    assert (scenario.root / said["paramfile"]).resolve() == (tmp_path / "params.pcs").resolve()


def test_ramparils_gets_its_line_and_every_default(suite: Path, tmp_path: Path) -> None:
    scenario = with_a_recorder(suite, tmp_path / "log")
    texts = formats.files("paramils", scenario, tmp_path / "out")
    formats.write(texts)
    said = json.loads(texts[tmp_path / "out" / "ramparils.json"])
    read_back = read_pcs(texts[tmp_path / "out" / "params.pcs"], "")
    assert said["strategy"] == {p.name: p.default for p in read_back.parameters}
    ours = said["scenario"]
    assert (scenario.root / ours["paramfile"]).resolve() == tmp_path / "out" / "params.pcs"
    words = [word for n, v in read_back.default.items() for word in (f"-{n}", str(v))]
    done = subprocess.run(
        [ours["algo"], ours["instances"][0], str(ours["cutoff_time"]), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=scenario.root,
    )
    assert done.stdout == "#%# RamParIls #%# SUCCESS, 1.5, 0.25\n" and done.stderr == ""
    told = (tmp_path / "log").read_text().split()
    begin = told.index(scenario.training[0])
    assert told[begin:] == [scenario.training[0], "0", "60", "0", "1", *words]


@every_space
def test_what_crace_sets_is_legal_here(space: Space) -> None:
    """To its four digits."""
    theirs = crace_space(space)
    assert not any("none" in parameter.choices for parameter in theirs.parameters)
    for config in [theirs.default, *sample(theirs)]:
        rounded = {n: round(v, 4) if isinstance(v, float) else v for n, v in config.items()}
        back = space.check(undone(rounded, space))
        assert back.keys() == config.keys()
    for name, value in space.check(undone(theirs.default, space)).items():
        if isinstance(value, float):
            assert value == pytest.approx(float(space.default[name]), rel=1e-3)
        else:
            assert value == space.default[name]


RECORDED = """\
#!/bin/sh
for word in "$@"; do echo "$word" >>{log}; done
echo 'Result of this algorithm run: {{"status": "SUCCESS", "cost": 0.25, "runtime": 1.5,'\
' "misc": "a=1"}}'
echo 'Result for ParamILS: SUCCESS, 1.5, 0.25, 0.25, 17, a=1'
"""


def with_a_recorder(suite: Path, log: Path) -> Scenario:
    """A scenario whose target writes down its words."""
    target = suite / "wrappers" / "target"
    target.parent.mkdir()
    target.write_text(RECORDED.format(log=log))
    scenario = read(suite / "scenarios" / scenario_name())
    return replace(
        scenario, algo=scenario.algo.replace("python3 ./wrappers/target", f"sh {target}")
    )


def test_crace_s_target_runner_calls_as_aclib_does(suite: Path, tmp_path: Path) -> None:
    scenario = with_a_recorder(suite, tmp_path / "log")
    formats.write(formats.files("crace", scenario, tmp_path / "out"))
    theirs = crace_space(scenario.space)
    words = [word for name, value in theirs.default.items() for word in (f"-{name}", str(value))]
    done = subprocess.run(
        [tmp_path / "out" / "target-runner", "1", "2", "17", scenario.training[0], *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0.25\n" and done.stderr == ""
    told = (tmp_path / "log").read_text().split()
    begin = told.index(scenario.training[0])
    assert told[begin + 1 : begin + 5] == ["0", "60", "0", "17"]
    pairs = told[begin + 5 :]
    config = {name[1:]: value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    checked = scenario.space.check(config)
    for name, value in scenario.space.default.items():
        assert checked[name] == (pytest.approx(value) if isinstance(value, float) else value)


def test_the_script_speaks_smac_s_words(suite: Path, tmp_path: Path) -> None:
    scenario = with_a_recorder(suite, tmp_path / "log")
    formats.write(formats.files("smac-script", scenario, tmp_path / "out"))
    words = [f"--{name}={value}" for name, value in scenario.space.default.items()]
    fixed = ["--instance=" + scenario.training[0], "--seed=17", "--instance_features=[1, 2]"]
    done = subprocess.run(
        [tmp_path / "out" / "target-script", *fixed, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    line = "cost=0.25; runtime=1.5; status=SUCCESS; additional_info=a:1\n"
    assert done.stdout == line and done.stderr == ""
    told = (tmp_path / "log").read_text().split()
    assert told[told.index("--seed") + 1] == "17" and "--config" in told
    pairs = told[told.index("--config") + 1 :]
    config = {name[1:]: value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    assert scenario.space.check(config) == scenario.space.default


def active_copies(text: str, values: dict[str, str]) -> set[str]:
    """The parameters of a space in copies that are active, as GPS reads it: all lines hold."""
    lines = [line.split(" | ") for line in text.splitlines() if " | " in line]
    names = [line.split(" ", 1)[0] for line in text.splitlines() if " | " not in line]
    active = set(names)
    while True:
        off = {
            child
            for child, condition in lines
            if condition.split(" == ")[0] not in active
            or values[condition.split(" == ")[0]] != condition.split(" == ")[1]
        }
        if active == set(names) - off:
            return active
        active = set(names) - off


@every_space
def test_gps_s_copies_are_active_where_their_parameter_is_and_one_at_a_time(space: Space) -> None:
    text = in_copies(space)
    names = [line.split(" ", 1)[0] for line in text.splitlines() if " | " not in line]
    conditions = [line for line in text.splitlines() if " | " in line]
    assert {original(name) for name in names} == set(space.by_name)
    assert len(names) == len(set(names)) and len(conditions) == len(set(conditions))
    defaults = {parameter.name: parameter.default for parameter in space.parameters}
    for config in [space.default, *sample(space)]:
        every = {name: str((defaults | config)[original(name)]) for name in names}
        active = [original(name) for name in active_copies(text, every)]
        assert sorted(active) == sorted(config)


def test_a_copy_depends_on_one_copy_of_each_parent_and_none_is_never_active() -> None:
    space = read_pcs(
        "a {x, y, z} [x]\nb {p, q} [p]\nc [1, 8] [2]il\nb | a in {x, y}\nc | a in {x, z}\n"
        "c | b in {p}\n",
        "t",
    )
    assert in_copies(space) == (
        "a categorical {x, y, z} [x]\n"
        "b__1 categorical {p, q} [p]\n"
        "b__2 categorical {p, q} [p]\n"
        "c integer [1, 8] [2] log\n"
        "b__1 | a == x\n"
        "b__2 | a == y\n"
        "c | a == x\n"
        "c | b__1 == p\n"
    )


def test_gps_s_target_runner_calls_as_aclib_does(suite: Path, tmp_path: Path) -> None:
    scenario = with_a_recorder(suite, tmp_path / "log")
    texts = formats.files("gps", scenario, tmp_path / "out")
    formats.write(texts)
    said = dict(
        line.split(" = ", 1) for line in texts[tmp_path / "out" / "scenario.txt"].splitlines()
    )
    assert (scenario.root / said["paramfile"]).resolve() == tmp_path / "out" / "params.pcs"
    values = {name: str(value) for name, value in scenario.space.default.items()}
    every = {
        name: values.get(original(name), "")
        for name in (line.split(" ", 1)[0] for line in in_copies(scenario.space).splitlines())
    }
    words = [
        word
        for name in active_copies(in_copies(scenario.space), every)
        for word in (f"-{name}", every[name])
    ]
    assert any(word != original(word) for word in words)
    done = subprocess.run(
        [said["algo"], scenario.training[0], "0", "60.0", "0", "17", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=scenario.root,
    )
    assert "Result for ParamILS: SUCCESS, 1.5, 0.25" in done.stdout and done.stderr == ""
    told = (tmp_path / "log").read_text().split()
    begin = told.index(scenario.training[0])
    assert told[begin + 1 : begin + 5] == ["0", "60.0", "0", "17"]
    pairs = told[begin + 5 :]
    assert dict(zip((name[1:] for name in pairs[::2]), pairs[1::2], strict=True)) == values


CARPS = {
    "objective_functions/objective_function.py": """
class ObjectiveFunction:
    def __init__(self, loggers=None):
        pass
""",
    "utils/trials.py": """
import enum
from dataclasses import dataclass

StatusType = enum.IntEnum("StatusType", "SUCCESS CRASHED TIMEOUT")

@dataclass
class TrialValue:
    cost: float
    time: float
    status: int
    starttime: float
    endtime: float
    additional_info: dict
""",
}
"""What our objective function needs of CARP-S."""


def test_carp_s_s_objective_is_the_mean_over_the_instances(suite: Path, tmp_path: Path) -> None:
    for name, text in CARPS.items():
        file = tmp_path / "lib" / "carps" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    scenario = with_a_recorder(suite, tmp_path / "log")
    formats.write(formats.files("carps", scenario, tmp_path / "out"))
    (task,) = (tmp_path / "out" / "task").glob("*.yaml")
    said = {
        name.strip(): json.loads(value)
        for name, _, value in (line.partition(": ") for line in task.read_text().splitlines())
        if name.strip() in ("command", "folder", "space", "instances", "cutoff")
    }
    assert said["instances"] == list(scenario.training) and said["command"][0] == "sh"
    module = f"objective_{scenario.name.replace('/', '_')}"
    code = (
        "import json, sys, types\n"
        f"from {module} import Target\n"
        "given = json.loads(sys.argv[1])\n"
        "target = Target(**given, seed=5)\n"
        "config = target.configspace.get_default_configuration()\n"
        "value = target._evaluate(types.SimpleNamespace(config=config, seed=None))\n"
        "print(value.cost, value.time, int(value.status), len(value.additional_info['costs']))"
    )
    path = os.pathsep.join(map(str, (tmp_path / "lib", tmp_path / "out")))
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(said)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    count = len(scenario.training)
    assert done.stdout.split() == ["0.25", str(1.5 * count), "1", str(count)]
    assert (tmp_path / "log").read_text().split().count("--config") == count
