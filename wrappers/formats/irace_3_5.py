"""irace 3.5: a space's tables, and a scenario that names them.

For irace without this suite. With it scenarios/irace.txt does the same, with nothing written:

    SCENARIO=digits/rigl irace --scenario scenarios/irace.txt
"""

from pathlib import Path

from wrappers.formats import _irace
from wrappers.formats._text import text
from wrappers.scenario import PROGRAM, Scenario
from wrappers.space import number_text


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Tables of parameters, forbidden combinations and the default, and a scenario file."""
    space = scenario.space
    tables = {
        "irace-parameters.txt": _irace.parameters(space),
        "irace-default.txt": _irace.configurations(space, [space.default]),
        "irace-scenario.txt": _scenario(scenario, folder),
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
