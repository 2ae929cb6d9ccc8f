"""SMAC 2.08 and 2.10: traj-run-N.txt of its state folder; trials come from a record."""

from pathlib import Path

from wrappers.foreign import Left, the_one
from wrappers.foreign._trajectory import changes
from wrappers.scenario import Scenario


def read(place: Path, scenario: Scenario) -> Left:
    """place: the trajectory, or a folder with the only one."""
    return Left((), changes(the_one(place, "traj-run-*.txt")))
