"""New PCS.

**Source**: SMAC v2.10's manual; ConfigSpace reads it as `pcs_new`.
"""

from pathlib import Path

from wrappers.formats._text import bounds, by_child, clauses, default, text
from wrappers.scenario import Scenario
from wrappers.space import Space


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The parameter file."""
    return {"params.new.pcs": new_pcs(scenario.space)}


def new_pcs(space: Space) -> str:
    """The space in new PCS syntax (SMAC v2.10, ConfigSpace's `pcs_new`)."""
    lines = []
    for parameter in space.parameters:
        if parameter.kind == "categorical":
            choices = ", ".join(parameter.choices)
            lines.append(f"{parameter.name} categorical {{{choices}}} [{parameter.default}]")
        else:
            log = " log" * parameter.log
            lines.append(
                f"{parameter.name} {parameter.kind} {bounds(parameter, '[]')}"
                f" [{default(parameter)}]{log}"
            )
    for child, conditions in by_child(space).items():
        lines.append(f"{child} | {' && '.join(map(str, conditions))}")
    return text([*lines, *clauses(space)])
