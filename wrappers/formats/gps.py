"""GPS: the space with a copy of a parameter for each value that makes it active.

GPS reads conditions on one value of a parent only, and no forbidden combinations; so a parameter
that several values make active stands there once for each (`momentum__1`, `momentum__2`), and the
target runner takes the numbers off. What is forbidden, or outside a range, which GPS takes for a
suggestion, is refused by the call, and a crash to GPS. It searches every number on its own scale.

    python run_gps_master.py --experiment-dir ROOT --scenario-file FOLDER/scenario.txt
    python run_gps_worker.py

**Source**: GPS 1.2's manual and its parser of spaces, PCS 0.1; run with these files.
"""

import os
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from wrappers.formats._text import bounds, default, text
from wrappers.scenario import Scenario
from wrappers.space import Space

_RUNNER = """\
#!/bin/sh
# GPS has a copy of a parameter, name__N, for each value that makes it active: here it is name.
for word do
    shift
    case $word in
        -*__[0-9] | -*__[0-9][0-9] | -*__[0-9][0-9][0-9]) word=${{word%__*}} ;;
    esac
    set -- "$@" "$word"
done
exec {command} "$@"
"""


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The space in copies, the target runner, and a scenario that names both."""
    said = dict(line.split(" = ", 1) for line in scenario.text.splitlines() if " = " in line)
    place = os.path.relpath(folder, scenario.root)
    said |= {"algo": f"{place}/target-runner", "paramfile": f"{place}/params.pcs"}
    kept = ("algo", "run_obj", "cutoff_time", "wallclock_limit", "runcount_limit")
    lines = (f"{name} = {said[name]}" for name in (*kept, "paramfile", "instance_file"))
    return {
        "params.pcs": in_copies(scenario.space),
        "scenario.txt": text(lines),
        "target-runner": _RUNNER.format(command=scenario.algo),
    }


def original(name: str) -> str:
    """The parameter of which that is a copy."""
    return re.sub(r"__[0-9]{1,3}\Z", "", name)


def in_copies(space: Space) -> str:
    """The space in new PCS, in which each condition has one value; without what is forbidden."""
    lines, conditions = [], []
    for name, ways in _ways(space).items():
        parameter = space.by_name[name]
        for number, way in enumerate(ways, 1):
            copy = _copy(name, number, ways)
            if parameter.kind == "categorical":
                domain = f"categorical {{{', '.join(parameter.choices)}}}"
            else:
                domain = f"{parameter.kind} {bounds(parameter, '[]')}"
            log = " log" * parameter.log
            lines.append(f"{copy} {domain} [{default(parameter)}]{log}")
            conditions += [f"{copy} | {parent} == {value}" for parent, value in way.items()]
    return text([*lines, *conditions])


def _ways(space: Space) -> dict[str, list[Mapping[str, str]]]:
    """Of each parameter the ways in which it is active: a value of each copy of its parents."""
    found: dict[str, list[Mapping[str, str]]] = {}
    behind: dict[str, dict[str, str]] = {}  # what a copy says of all that it depends on
    for name in space.parents_first:
        each_parent = [
            [
                (_copy(c.parent, number, found[c.parent]), c.parent, value)
                for number in range(1, len(found[c.parent]) + 1)
                for value in c.values
            ]
            for c in space.conditions_of(name)
        ]
        ways: list[tuple[Mapping[str, str], dict[str, str]]] = []
        for way in product(*each_parent):
            said: dict[str, str] = {}
            for copy, parent, value in way:
                for ancestor, its in {**behind[copy], parent: value}.items():
                    if said.setdefault(ancestor, its) != its:
                        break
                else:
                    continue
                break  # two of its parents are never active together so
            else:
                ways.append(({copy: value for copy, _, value in way}, said))
        found[name] = [way for way, _ in ways]
        for number, (_, said) in enumerate(ways, 1):
            behind[_copy(name, number, found[name])] = said
    return {parameter.name: found[parameter.name] for parameter in space.parameters}


def _copy(name: str, number: int, ways: list[Mapping[str, str]]) -> str:
    return name if len(ways) == 1 else f"{name}__{number}"
