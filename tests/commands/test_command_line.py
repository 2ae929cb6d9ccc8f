"""The command line: help that teaches, errors in one line, the same answers for programs."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import typer.main
from typer.testing import CliRunner

from commands.__main__ import build
from commands._console import LINE_AFTER, LINE_EVERY, Lines, bar
from commands.list import _terms
from sparse_training.errors import BadInput
from target_algorithms import ROOT, variants
from target_algorithms.contract import Details, Options, failure
from tests.examples import BASELINE, PLAIN, config_of, scenario_name
from wrappers.configurators import configurators
from wrappers.health import health
from wrappers.records import record
from wrappers.scenario import read, scenarios

APP = build()
COMMANDS = sorted(typer.main.get_command(APP).commands)  # type: ignore[attr-defined]


def invoke(*words: str) -> tuple[int, str]:
    """Exit status and output; a BadInput counts as `main` treats it."""
    result = CliRunner().invoke(APP, words, env={"COLUMNS": "200", "TERM": "dumb"})
    if isinstance(result.exception, BadInput):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_a_command_is_a_file() -> None:
    files = {
        file.stem.rstrip("_").replace("_", "-") for file in (ROOT / "commands").glob("[!_]*.py")
    }
    assert set(COMMANDS) == files


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(command: str) -> None:
    status, output = invoke(command, "--help")
    assert status == 0 and len(output.splitlines()) > 5
    assert f"sparse-aclib {command}" in (ROOT / "README.md").read_text()


def test_list_shows_every_scenario_and_configurator_also_as_json() -> None:
    _, text = invoke("list")
    listed = json.loads(invoke("list", "--json")[1])
    names = {f"{folder.parent.name}/{folder.name}" for folder in scenarios()}
    assert {scenario["name"] for scenario in listed["scenarios"]} == names
    assert set(listed["configurators"]) == set(configurators())
    assert all(f"configurator {name}" in text for name in configurators())
    of_set = dict(re.findall(r"^(\w+)\n(.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL))
    for scenario in listed["scenarios"]:
        set_, variant = scenario["name"].split("/")
        assert re.search(rf"\b{variant} {scenario['parameters']}\b", of_set[set_])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            Options(density=0.01, static_samples=60_000, hidden=(300, 100)),
            "of the FLOPs of 60,000 static samples each, density 0.01, network 300-100",
        ),
        (
            Options(density=0.00005, peak=4.0, training_samples=9000, network="lenet5"),
            "of 9,000 samples each, density 0.00005 (at most 4 times as many on the way), lenet5",
        ),
        (
            Options(active_weights=600, peak=2.5, training_flops=2_000_000, network="lenet5"),
            "of 2 MFLOPs each, 600 active weights (at most 2.5 times as many on the way), lenet5",
        ),
    ],
)
def test_list_says_budgets_as_the_scenario_does(options: Options, said: str) -> None:
    scenario = read(scenario_name())
    assert _terms([replace(scenario, options=options)]).endswith(said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "scenarios/nosuch/mine"], "no scenario at scenarios/nosuch/mine"),
        (["run", scenario_name(), "--configurator", "nosuch"], "unknown configurator"),
        (["validate", "/nosuch"], "/nosuch: no run in it; 'sparse-aclib run' makes one"),
        (["ablate", "/nosuch"], "/nosuch: no run in it; 'sparse-aclib run' makes one"),
        (["benchmark", "nosuch"], "no instance set 'nosuch'"),
        (["benchmark", "digits", "--variants", "nosuch"], "no scenario of variant 'nosuch'"),
        (["report", "/nosuch"], "/nosuch"),
        (["eval", PLAIN.name, "i"], "five words are expected"),
        (["eval", PLAIN.name], f"did you mean cc18/{PLAIN.name} or digits/{PLAIN.name}"),
        (["run", "digit"], "did you mean digits/"),
        (["export", "--to", "pcs"], "--to and --out go together"),
        (["export", "--to", "pcs", "--out", "o"], "--to writes one scenario: expected its name"),
        (["export", scenario_name(), "--to", "nosuch", "--out", "o"], "unknown format 'nosuch'"),
        (["export", "digits/nosuch"], "no scenario at digits/nosuch"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str) -> None:
    status, output = invoke(*words)
    assert status == 2
    assert message in output and "\n" not in output.strip()


def test_eval_prints_a_readable_answer() -> None:
    pairs = [f"-{k} {v}" for k, v in config_of(BASELINE).items()]
    fixed = "--active-weights 500 --training-samples 600 --hidden 32-32"
    call = f"{BASELINE.name} {fixed} --instance sklearn/digits/0 --cutoff 60 --seed 1 --config"
    status, output = invoke("eval", *f"{call} {' '.join(pairs)}".split())
    assert status == 0
    assert re.search(r"cost +0\.\d+ +\(1 - balanced accuracy on sklearn/digits/0\)", output)
    assert re.search(r"active weights +500 of 3392 \(density 0\.1474\)", output)


def test_eval_help_names_every_variant() -> None:
    assert all(variant in invoke("eval", "--help")[1] for variant in variants())


def test_a_call_that_is_printed_works_and_eval_evaluates_the_same() -> None:
    name = scenario_name()
    changes = ("--set", "batch_size=32", "--set", "dropout=0.1")
    status, call = invoke("call", name, *changes, "--instance", "sklearn/digits/0/3", "--seed", "7")
    assert status == 0 and "\n" not in call.strip()
    done = subprocess.run(call.split(), cwd=ROOT, capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout.splitlines()[0].partition(": ")[2])["cost"]
    words = ("eval", name, *changes, "--instance", "sklearn/digits/0/3", "--seed", "7")
    shown = re.search(r"cost +(\S+) +\(1 - balanced accuracy on (\S+)\)", invoke(*words)[1])
    assert shown and (float(shown[1]), shown[2]) == (float(f"{cost:.6g}"), "sklearn/digits/0/3")


@pytest.mark.parametrize("command", ["call", "eval"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("batch_size", "--set 'batch_size': expected NAME=VALUE"),
        ("batch_size=x", "parameter batch_size is 'x'"),
        ("nosuch=1", "unknown parameter 'nosuch'"),
        ("decay_kind=coupled", ""),
    ],
)
def test_a_change_that_is_none_is_refused(command: str, change: str, message: str) -> None:
    status, output = invoke(command, scenario_name(), "--set", change)
    assert (status != 0 and message in output) if message else status == 0


def test_a_change_of_a_parent_brings_its_children_with_their_defaults() -> None:
    space = read(scenario_name()).space
    child = next(c for c in space.conditions if c.child not in space.default)
    changed = space.changed({child.parent: child.values[0]})
    assert changed[child.child] == space.by_name[child.child].default
    lost = next(c for c in space.conditions if c.child in space.default)
    choices = space.by_name[lost.parent].choices
    others = [choice for choice in choices if choice not in lost.values]
    assert lost.child not in space.changed({lost.parent: others[0]})


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("run", "x/y", "--seed", "1_0"), "'1_0', expected a number from 0 to"),
        (("run", "x/y", "--seed", " 1"), "' 1', expected a number from 0 to"),
        (("run", "x/y", "--seed", "\u0661"), "expected a number from 0 to"),
        (("run", "x/y", "--trials", "1000000001"), "expected a number from 1 to 1000000"),
        (("call", scenario_name(), "--seed", "4294967296"), "from 0 to 4294967295"),
        (("eval", scenario_name(), "--seed", "4294967296"), "from 0 to 4294967295"),
    ],
)
def test_a_number_is_plain_digits_within_its_bounds(words: tuple[str, ...], found: str) -> None:
    status, output = invoke(*words)
    assert status != 0 and found in " ".join(output.replace("│", " ").split())


def test_an_option_that_is_there_twice_is_refused_and_a_reader_may_go() -> None:
    command = [sys.executable, "-m", "commands"]
    twice = subprocess.run(
        [*command, "run", scenario_name(), "--seed", "1", "--seed=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert twice.returncode == 2 and "option --seed is given twice" in twice.stderr
    piped = subprocess.run(
        ["bash", "-c", '"$@" | head -c 10', "bash", *command, "list", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert piped.stderr == "" and len(piped.stdout) == 10


def test_the_version_is_the_checkouts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert invoke("--version")[1].startswith(f"sparse-aclib {project['version']} ")


def test_a_results_folder_has_a_name() -> None:
    status, output = invoke("run", scenario_name(), "--results", "")
    assert status == 2 and "expected the name of a folder, found nothing" in output


# Progress and health ------------------------------------------------------------------------------


class Clock:
    """Time that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines_say_what_is_done_the_time_left_and_the_last_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    tell = Lines("12 runs", 1200, clock)
    tell(200)  # done by an earlier process
    clock.now += LINE_AFTER
    tell(220)
    clock.now += LINE_EVERY - 1
    tell(250, description="too soon")
    clock.now += 1
    tell(300, description="digits/one finished")
    clock.now += 60
    tell(1200, description="all finished")
    tell(1200)
    assert capsys.readouterr().err.splitlines() == [
        "12 runs: 220 of 1,200, 0:02, 1:38 left",
        "12 runs: 300 of 1,200, 0:32, 4:48 left (digits/one finished)",
        "12 runs: 1,200 of 1,200, 1:32 (all finished)",
    ]


def test_lines_without_a_total_say_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    tell = Lines("a race", None, clock)
    tell(5)
    clock.now += 65
    tell(7)
    assert capsys.readouterr().err == "a race: 7, 1:05\n"


def test_without_a_terminal_progress_is_lines_and_none_for_what_is_done_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in bar_of_five("quick"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("commands._console.LINE_AFTER", 0.0)
    for _ in bar_of_five("[/slow]"):
        pass
    first, last = capsys.readouterr().err.splitlines()
    assert first == "[/slow]: 0 of 5, 0:00" and last.startswith("[/slow]: 5 of 5, 0:0")


def bar_of_five(label: str) -> Iterator[int]:
    with bar(label, 5) as update:
        for done in range(6):
            update(done)
            yield done


def test_health_counts_statuses_divergence_and_the_worst_overshoot() -> None:
    failed = record({}, "sklearn/digits/0", 1, 60.0, failure("SUCCESS", ""), None)
    one = replace(failed, misc=Details())
    assert health([]) == "0 trials"
    assert health([one]) == "1 trial: 1 SUCCESS"
    unpaid = "2 trials: 2 SUCCESS; 1 that the training budget does not pay for"
    assert health([one, failed]) == unpaid
    part = replace(one, fidelity=1 / 3)
    assert health([one, part]) == "2 trials, charged as 1.3: 2 SUCCESS"
    late = replace(one, status="TIMEOUT", runtime=one.cutoff + 0.14)
    later = replace(one, runtime=one.cutoff + 0.02, misc=Details(diverged=True))
    assert health([one, late, later]) == (
        "3 trials: 2 SUCCESS, 1 TIMEOUT; 1 diverged; at most 0.14 s over the cutoff"
    )
