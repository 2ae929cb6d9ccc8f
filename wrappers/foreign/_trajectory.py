"""The trajectories of SMAC 2, ParamILS and GPS: comma-separated, a line an incumbent.

    CPU time, estimate, wall-clock time, incumbent, configurator's time, name='value', ...

**Source**: SMAC 2.10's manual (traj-run-N.txt), AClib 2's reader, what GPS writes. All have a head.
"""

import re
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Change, real, text_of, time_of

# Each begins where a cell does: tried at every letter, a long line would take forever.
_VALUE = re.compile(r"(?<![^\s,])([^\s=,]+)\s*=\s*'([^']*)'")


def changes(file: Path) -> list[Change]:
    """The incumbents of a trajectory. Raises BadInput for a line that is none."""
    found = []
    for number, line in enumerate(text_of(file).split("\n"), 1):
        where = f"{file}:{number}"
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or (number == 1 and "Time" in cells[0]):
            continue  # empty, or the head
        if len(cells) < 3:
            raise BadInput(f"{where}: {len(cells)} cells, expected times and an estimate")
        estimate, seconds = real(cells[1], "the estimate", where), time_of(cells[2], where)
        values = _VALUE.findall(line)
        config = dict(values)
        if not config or len(config) < len(values):
            what = "a name twice" if config else "no name='value'"
            raise BadInput(f"{where}: {what}, expected a configuration")
        found.append(
            Change(
                config=config,
                seconds=seconds,
                estimate=estimate if 0.0 <= estimate <= 1.0 else None,  # the first one has none
                where=where,
            )
        )
    if not found:
        raise BadInput(f"{file}: no incumbent, expected a line of comma-separated values each")
    return found
