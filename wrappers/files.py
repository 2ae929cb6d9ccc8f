"""Files that survive a kill: records that only grow, and files that are replaced as a whole."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from target_algorithms.errors import BadInput


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file; [] where there is none.

    A last line without its end was being written when the run was killed: it is cut off, with a
    word on standard error. Any other unreadable line is BadInput.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        print(f"{path}: dropped a torn last line; its trial is evaluated again", file=sys.stderr)
        with open(path, "r+b") as file:
            file.truncate(whole)
    records = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            raise BadInput(
                f"{path}:{number}: not a JSON record; restore the line or begin the run anew "
                "in another --results folder"
            ) from None
    return records


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one record, on the disk when this returns, or nothing if there is no room for it."""
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, before)
            raise OSError(f"{path}: no room for another record")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
