"""What the runhistories of SMAC3 1.x and 2.x have in common: configurations by their numbers."""

from pathlib import Path
from typing import Any

from wrappers.foreign import as_written, json_of, text_of, the_one


def runhistory(place: Path, by: str) -> tuple[Path, dict[str, Any], list[Any]]:
    """The file in a folder, or below it, its configurations by their numbers, and its trials.

    by: which SMAC, for messages. Raises BadInput.
    """
    history = the_one(place, "runhistory.json")
    said = json_of(text_of(history), str(history))
    with as_written(str(history), by):
        configs = {str(number): config for number, config in said["configs"].items()}
        data = list(said["data"])
    return history, configs, data
