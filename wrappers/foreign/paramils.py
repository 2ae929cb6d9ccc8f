"""ParamILS 2.3: its trajectory; trials come from a record.

It writes two: `...-traj_<run>.csv` has the wall-clock time of each incumbent (2.3.7 up to a second
too late), `...-traj_<run>.txt` the number of its runs in the same place, and no time.
"""

from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left, the_one
from wrappers.foreign._trajectory import changes
from wrappers.scenario import Scenario


def read(place: Path, scenario: Scenario) -> Left:
    """place: the trajectory (`...-traj_<run>.csv`), or a folder with the only one."""
    file = the_one(place, "*traj*.csv")
    if file.suffix == ".txt":
        raise BadInput(f"{file}: has no times, expected the .csv that ParamILS writes beside it")
    return Left((), changes(file))
