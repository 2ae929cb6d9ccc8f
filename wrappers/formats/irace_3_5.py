"""irace 3.5: tables of a space, and a scenario of its own.

Committed are the tables of each space; scenarios/irace.txt reads scenario.txt itself, so that irace
runs any scenario with nothing written for it:

    SCENARIO=digits/rigl irace --scenario scenarios/irace.txt
"""

from pathlib import Path

from wrappers.formats import _irace
from wrappers.formats._text import text
from wrappers.scenario import PROGRAM, Scenario
from wrappers.space import number_text


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Tables, and a scenario file that names them."""
    return space_files(scenario) | {"irace-scenario.txt": _scenario(scenario, folder)}


def space_files(scenario: Scenario) -> dict[str, str]:
    """The tables of parameters, of forbidden combinations, and of the default configuration."""
    space = scenario.space
    tables = {
        "irace-parameters.txt": _irace.parameters(space),
        "irace-default.txt": _irace.configurations(space, [space.default]),
    }
    if space.forbidden:
        tables["irace-forbidden.txt"] = _irace.forbidden(space)
    return tables


def _scenario(scenario: Scenario, folder: Path) -> str:
    command = " ".join(scenario.algo.split()[len(PROGRAM) :])
    root = _irace.to_root(scenario, folder)
    return text(
        [
            f"## {scenario.name} for irace 3.5, to be run from the root of the scenario.",
            *_irace.common(scenario, folder),
            f'forbiddenFile = "{"./irace-forbidden.txt" if scenario.space.forbidden else ""}"',
            f'targetRunner = "{root}/wrappers/target"',
            f'targetRunnerLauncher = "{PROGRAM[0]}"',
            # Quotes, because irace puts in an absolute path, which may hold a space.
            f"targetRunnerLauncherArgs = \"'{{targetRunner}}' {command}"
            f' --cutoff {number_text(scenario.cutoff)} {{targetRunnerArgs}}"',
        ]
    )
