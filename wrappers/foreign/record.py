"""What `./wrappers/target` has recorded of its calls: everything, whoever the client was."""

import re
import sys
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left, known, sized
from wrappers.record import calls_of
from wrappers.records import Record, scan_lines
from wrappers.scenario import Scenario


def read(place: Path, scenario: Scenario) -> Left:
    """place: the folder that SPARSE_ACLIB_RECORD named.

    A line that was cut off when its call was killed is no trial of the client's: it had no answer.
    Raises BadInput for no such record, and for any other line that is none.
    """
    ours = calls_of(place, scenario.variant, scenario.options)
    file = ours if place.is_dir() else place
    if place.is_dir() and not file.exists():
        there = ", ".join(sorted(each.name for each in place.glob("*.jsonl"))) or "none"
        raise BadInput(
            f"{file}: no such record, expected one of calls of {scenario.name} (there: {there}); "
            "calls with other options are in another"
        )
    sized(file)
    if re.fullmatch(r".+-[0-9a-f]{8}\.jsonl", file.name) and file.name != ours.name:
        raise BadInput(
            f"{file}: calls of another variant or with other options, expected {ours.name}"
        )
    found = scan_lines(file, Record)
    if wrong := [fault for fault in found.faults if fault not in found.cut]:
        raise BadInput(wrong[0])
    if lost := len(found.cut) + (found.torn is not None):
        print(f"{file}: left out {lost} torn lines, of calls that were killed", file=sys.stderr)
    return Left(
        [
            _checked(each, scenario, f"{file}:{number}")
            for number, each in sorted(found.records.items())
        ]
    )


def _checked(each: Record, scenario: Scenario, where: str) -> Record:
    """A trial whose configuration is one of the scenario's."""
    if known(scenario.space, each.config, where) != each.config:
        raise BadInput(f"{where}: has inactive parameters, expected active ones of {scenario.name}")
    return each
