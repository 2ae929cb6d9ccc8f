"""What became of trials, in one line: how many with which status, and how well limits were kept."""

from collections import Counter
from collections.abc import Iterable

from wrappers.records import Record


def health(records: Iterable[Record]) -> str:
    """`60 trials: 58 SUCCESS, 2 TIMEOUT; at most 0.02 s over the cutoff`."""
    every = list(records)
    statuses = Counter(record.status for record in every)
    counted = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    over = max(((record.runtime or 0.0) - record.cutoff for record in every), default=0.0)
    diverged = sum(bool(record.misc.diverged) for record in every)
    named = f"{len(every)} trial{'s' * (len(every) != 1)}"
    charged = sum(record.fidelity for record in every)
    if charged < len(every) - 1e-6:
        named += f", charged as {charged:.1f}"
    parts = [named + (f": {counted}" if every else "")]
    if diverged:
        parts.append(f"{diverged} diverged")
    if unpaid := sum(record.over_budget for record in every):
        parts.append(f"{unpaid} that the training budget does not pay for")
    if over > 0:
        parts.append(f"at most {over:.2f} s over the cutoff")
    return "; ".join(parts)
