"""Which runs of an instance set may be averaged: those that agree in all that a cost depends on.

A run is described by facets, each with what it is (`budget`), whose (a variant's, say) and its
value. Two runs contradict each other where they share a facet and its values differ; runs of two
variants, whose spaces differ as they should, share few.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Facet(NamedTuple):
    """Something that a cost depends on."""

    what: str
    whose: str = ""

    def __str__(self) -> str:
        return f"{self.what} of {self.whose}" if self.whose else self.what


Facets = Mapping[Facet, Hashable]


def partition(runs: Sequence[Facets]) -> list[int]:
    """The number of each run's group, from 1; no two runs of a group contradict each other.

    A run joins, of the groups that it does not contradict, the one that it has most facets in
    common with, of equal ones the first.
    """
    groups: list[dict[Facet, Hashable]] = []
    numbers = []
    for run in runs:
        shared = {n: run.keys() & group.keys() for n, group in enumerate(groups)}
        fitting = [n for n in shared if all(groups[n][facet] == run[facet] for facet in shared[n])]
        if not fitting:
            groups.append({})
            fitting, shared[len(groups) - 1] = [len(groups) - 1], set()
        chosen = max(fitting, key=lambda n: len(shared[n]))
        groups[chosen].update(run)
        numbers.append(chosen + 1)
    return numbers


def differing(runs: Iterable[Facets]) -> list[Facet]:
    """The facets in which any two of the runs contradict each other, in their order."""
    values: dict[Facet, set[Hashable]] = {}
    for run in runs:
        for facet, value in run.items():
            values.setdefault(facet, set()).add(value)
    return sorted(facet for facet, found in values.items() if len(found) > 1)
