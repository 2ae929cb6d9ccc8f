"""What `./wrappers/target` has recorded of its calls: everything, whoever the client was."""

from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.foreign import Left
from wrappers.record import calls_of
from wrappers.records import Record, read_lines
from wrappers.scenario import Scenario


def read(place: Path, scenario: Scenario) -> Left:
    """place: the folder that SPARSE_ACLIB_RECORD named."""
    file = place if place.is_file() else calls_of(place, scenario.variant, scenario.options)
    if not file.exists():
        there = ", ".join(sorted(each.name for each in place.glob("*.jsonl"))) or "none"
        raise BadInput(
            f"{file}: no such record, expected one of calls of {scenario.name} (there: {there}); "
            "calls with other options are in another"
        )
    return Left(read_lines(file, Record))
