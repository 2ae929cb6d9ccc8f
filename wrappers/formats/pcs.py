"""Old PCS, the one dialect that every reader of AClib scenarios understands.

**Source**: SMAC v2.08's manual.
"""

from pathlib import Path

from wrappers.formats._text import bounds, clauses, default, text
from wrappers.scenario import Scenario
from wrappers.space import Space


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The parameter file, and the scenario that names it."""
    return {"params.pcs": old_pcs(scenario.space), "scenario.txt": scenario.text}


def old_pcs(space: Space) -> str:
    """The space in old PCS syntax (SMAC v2.08): parameters, conditions, forbidden combinations."""
    lines = []
    for parameter in space.parameters:
        if parameter.kind == "categorical":
            lines.append(
                f"{parameter.name} {{{', '.join(parameter.choices)}}} [{parameter.default}]"
            )
        else:
            flags = "i" * (parameter.kind == "integer") + "l" * parameter.log
            lines.append(
                f"{parameter.name} {bounds(parameter, '[]')} [{default(parameter)}]{flags}"
            )
    for condition in space.conditions:
        lines.append(f"{condition.child} | {condition}")
    return text([*lines, *clauses(space)])
