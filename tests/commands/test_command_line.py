"""The command line: help that teaches, errors in one line, the same answers for programs."""

import json
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from target_algorithms.errors import BadInput
from target_algorithms.variants import variants
from wrappers import configurators
from wrappers.cli import app
from wrappers.scenario import scenarios

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
ROOT = Path(__file__).resolve().parents[2]


def invoke(*words: str) -> tuple[int, str]:
    """Exit status and output; a BadInput counts as `main` treats it."""
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200", "TERM": "dumb"})
    if isinstance(result.exception, BadInput):
        return 2, str(result.exception)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(command: str) -> None:
    status, output = invoke(command, "--help")
    assert status == 0 and len(output.splitlines()) > 5
    assert f"sparse-aclib {command}" in (ROOT / "README.md").read_text()


def test_list_shows_every_scenario_and_configurator_also_as_json() -> None:
    _, text = invoke("list")
    found = json.loads(invoke("list", "--json")[1])
    names = {f"{folder.parent.name}/{folder.name}" for folder in scenarios()}
    assert {scenario["name"] for scenario in found["scenarios"]} == names
    assert set(found["configurators"]) == set(configurators.names())
    assert all(f"configurator {name}" in text for name in configurators.names())
    of_set = dict(re.findall(r"^(\w+): (.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL))
    for scenario in found["scenarios"]:
        set_, variant = scenario["name"].split("/")
        assert re.search(rf"\b{variant} {scenario['parameters']}\b", of_set[set_])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "scenarios/nosuch/rigl"], "no scenario at scenarios/nosuch/rigl"),
        (["run", "scenarios/digits/rigl", "--configurator", "nosuch"], "unknown configurator"),
        (["validate", "/nosuch"], "no run in /nosuch"),
        (["ablate", "/nosuch"], "no readable run.json"),
        (["benchmark", "nosuch"], "no instance set 'nosuch'"),
        (["benchmark", "digits", "--variants", "nosuch"], "no scenario of variant 'nosuch'"),
        (["report", "/nosuch"], "/nosuch"),
        (["eval", "rigl", "i"], "five words are expected"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str) -> None:
    status, output = invoke(*words)
    assert status == 2
    assert message in output and "\n" not in output.strip()


def test_eval_prints_a_readable_answer() -> None:
    pairs = [f"-{k} {v}" for k, v in _default("static").items()]
    fixed = "--active-weights 500 --training-samples 600 --hidden 32-32"
    call = f"static {fixed} --instance sklearn/digits/0 --cutoff 60 --seed 1 --config"
    status, output = invoke("eval", *f"{call} {' '.join(pairs)}".split())
    assert status == 0
    assert re.search(r"cost +0\.\d+ +\(1 - balanced accuracy on sklearn/digits/0\)", output)
    assert re.search(r"active weights +500 of 3392 \(density 0\.1474\)", output)


def test_eval_help_names_every_variant() -> None:
    assert all(variant in invoke("eval", "--help")[1] for variant in variants())


def _default(variant: str) -> dict[str, object]:
    from wrappers.space import variant_space

    return dict(variant_space(variant).fixed({"density_path": "constant"}).default)
