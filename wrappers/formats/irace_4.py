"""irace 4: one file for a space, a scenario, and a script that adds what the scenario fixes.

**Source**: irace's NEWS and sources; these files have not been run.
"""

from pathlib import Path

from wrappers.formats import irace_3_5
from wrappers.formats._text import text
from wrappers.scenario import Scenario
from wrappers.space import number_text

_RUNNER = """\
#!/bin/sh
# irace 4 gives its target runner the instance, the seed and the configuration, and nothing else:
# what the scenario fixes is added here. Called from the root of the scenario.
exec {command} --cutoff {cutoff} "$@"
"""


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The space with its sections, the default configuration, the scenario, the target runner."""
    space = scenario.space
    forbidden = irace_3_5.forbidden(space)
    sections = f"\n[forbidden]\n{forbidden}" if forbidden else ""
    return {
        "irace-parameters.txt": (
            f"{irace_3_5.parameters(space)}{sections}\n[global]\ndigits = {irace_3_5.DIGITS}\n"
        ),
        "irace-default.txt": irace_3_5.configurations(space, [space.default]),
        "irace-scenario.txt": text(
            [
                f"## {scenario.name} for irace 4, to be run from the root of the scenario.",
                *irace_3_5.common(scenario, folder),
                "## In its aclib mode irace 4 does not look at targetCmdline.",
                'targetRunner = "./target-runner"',
            ]
        ),
        "target-runner": _RUNNER.format(command=scenario.algo, cutoff=number_text(scenario.cutoff)),
    }
