"""The trajectories of SMAC 2 and ParamILS: comma-separated, a line an incumbent.

    CPU time, estimate, wall-clock time, incumbent, configurator's time, name='value', ...

**Source**: SMAC 2.10's manual (traj-run-N.txt), AClib 2's reader of both. SMAC's has a head.
"""

import re
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Change, text_of

_VALUE = re.compile(r"\s*([^\s=,]+)\s*=\s*'([^']*)'")


def changes(file: Path) -> list[Change]:
    """The incumbents of a trajectory. Raises BadInput for a line that is none."""
    found = []
    for number, line in enumerate(text_of(file).splitlines(), 1):
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if not line.strip() or not re.match(r"[-+.\d]", cells[0]):
            continue  # empty, or the head
        config = dict(_VALUE.findall(line))
        try:
            estimate, wall = float(cells[1]), float(cells[2])
        except (IndexError, ValueError) as error:
            raise BadInput(f"{file}:{number}: {error}, expected times and an estimate") from error
        if not config:
            raise BadInput(f"{file}:{number}: no name='value', expected a configuration")
        plausible = estimate if 0.0 <= estimate <= 1.0 else None
        found.append(Change(config=config, seconds=max(wall, 0.0), estimate=plausible))
    if not found:
        raise BadInput(f"{file}: no incumbent, expected a line of comma-separated values each")
    return found
