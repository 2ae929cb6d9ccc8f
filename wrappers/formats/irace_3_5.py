"""irace 3.5: a space's tables, and a scenario that names them.

For irace without this suite. With it scenarios/irace.txt does the same, with nothing written:

    SCENARIO=digits/rigl irace --scenario scenarios/irace.txt

**Source**: irace's guide and its `readParameters`, `readForbiddenFile`, `readScenario`.
**Differs**: irace's own `read_pcs_file` is not used: it loses conditions without a word.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from wrappers.formats._text import bounds, by_child, cell, text
from wrappers.scenario import PROGRAM, Scenario
from wrappers.space import DECIMALS, Condition, Space, number_text

DIGITS = DECIMALS
"""What irace 4 is told to keep (3.5 keeps 15 in its `aclib` mode, whatever is set)."""


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Tables of parameters, forbidden combinations and the default, and a scenario file."""
    space = scenario.space
    tables = {
        "irace-parameters.txt": parameters(space),
        "irace-default.txt": configurations(space, [space.default]),
        "irace-scenario.txt": _scenario(scenario, folder),
    }
    if space.forbidden:
        tables["irace-forbidden.txt"] = forbidden(space)
    return tables


def _scenario(scenario: Scenario, folder: Path) -> str:
    command = " ".join(scenario.algo.split()[len(PROGRAM) :])
    root = to_root(scenario, folder)
    return text(
        [
            f"## {scenario.name} for irace 3.5, to be run from the root of the scenario.",
            *common(scenario, folder),
            f'forbiddenFile = "{"./irace-forbidden.txt" if scenario.space.forbidden else ""}"',
            f'targetRunner = "{root}/wrappers/target"',
            f'targetRunnerLauncher = "{PROGRAM[0]}"',
            # Quotes, because irace puts in an absolute path, which may hold a space.
            f"targetRunnerLauncherArgs = \"'{{targetRunner}}' {command}"
            f' --cutoff {number_text(scenario.cutoff)} {{targetRunnerArgs}}"',
        ]
    )


def parameters(space: Space) -> str:
    """irace's table of parameters, read alike by 3.5, 4.x and crace.

    The label is the name and a space: irace's `aclib` mode puts one `-` before it and the value
    behind it, which makes `-name value`.
    """
    rows = []
    conditions = by_child(space)
    for parameter in space.parameters:
        kind = {"categorical": "c", "integer": "i", "real": "r"}[parameter.kind]
        domain = (
            "(" + ", ".join(f'"{choice}"' for choice in parameter.choices) + ")"
            if parameter.kind == "categorical"
            else bounds(parameter, "()")
        )
        # Each in parentheses, joined by a single &: crace reads conditions in Python's precedence.
        condition = " & ".join(_r_condition(one) for one in conditions.get(parameter.name, ()))
        rows.append(
            (
                parameter.name,
                f'"{parameter.name} "',
                kind + ",log" * parameter.log,
                domain + (f" | {condition}" if condition else ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return text(
        " ".join(
            [*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]
        )
        for row in rows
    )


def forbidden(space: Space) -> str:
    """irace's forbidden combinations: one R expression a line, TRUE where forbidden."""
    return text(
        " & ".join(f'({name} == "{value}")' for name, value in clause) for clause in space.forbidden
    )


def configurations(space: Space, configs: Iterable[Mapping[str, object]]) -> str:
    """irace's table of configurations: a header, then a row each, NA where inactive."""
    names = [parameter.name for parameter in space.parameters]
    rows = [
        [cell(config[name]) if name in config else "NA" for name in names] for config in configs
    ]
    return text(" ".join(row) for row in [names, *rows])


def _r_condition(condition: Condition) -> str:
    if len(condition.values) == 1:
        return f'({condition.parent} == "{condition.values[0]}")'
    values = ", ".join(f'"{value}"' for value in condition.values)
    return f"({condition.parent} %in% c({values}))"


def to_root(scenario: Scenario, folder: Path) -> str:
    """The scenario's root as seen from a folder."""
    return os.path.relpath(scenario.root, folder)


def common(scenario: Scenario, folder: Path) -> list[str]:
    """What both versions understand, for a file in a folder; paths are relative to that folder."""
    root = to_root(scenario, folder)
    return [
        "aclib = 1",
        f'execDir = "{root}"',
        f'logFile = "./results/irace-{scenario.set}-{scenario.variant.name}.Rdata"',
        f"deterministic = {int(scenario.deterministic)}",
        f"maxExperiments = {scenario.runcount_limit}",
        'parameterFile = "./irace-parameters.txt"',
        'configurationsFile = "./irace-default.txt"',
        'trainInstancesDir = ""',
        f'trainInstancesFile = "{root}/{os.path.normpath(scenario.instance_file)}"',
        'testInstancesDir = ""',
        f'testInstancesFile = "{root}/{os.path.normpath(scenario.test_instance_file)}"',
    ]
