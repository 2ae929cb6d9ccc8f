"""GPS 1.2: traj.csv of its output folder (`gps-run-ID`); trials come from a record."""

from dataclasses import replace
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left, the_one
from wrappers.foreign._trajectory import changes
from wrappers.formats.gps import original
from wrappers.scenario import Scenario


def read(place: Path, scenario: Scenario) -> Left:
    """place: the trajectory, or a folder with the only one."""
    found = []
    for each in changes(the_one(place, "traj.csv")):
        config = {original(name): value for name, value in each.config.items()}
        if len(config) < len(each.config):
            raise BadInput(f"{each.where}: two copies of a parameter, expected one active one")
        found.append(replace(each, config=config))
    return Left((), found)
