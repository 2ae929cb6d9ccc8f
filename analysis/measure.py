"""Configurations as a scenario draws them, in bulk, and drawn anew with some parameters held.

A configuration is made of independent draws, one a parameter, of which those count that are active;
forbidden ones are drawn again. It is what `Space.sample` does, on the axes of a surrogate.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.surrogate import INACTIVE, Array, Axis
from wrappers.space import Space

_ROUNDS = 1000  # of drawing forbidden configurations again


@dataclass(frozen=True)
class Measure:
    """What a scenario draws with; `draws` are numbers in [0, 1), one column a parameter."""

    space: Space
    axes: tuple[Axis, ...]

    def sample(self, seed: int, n: int) -> Array:
        """The draws of n configurations that are not forbidden, as an (n, parameters) array."""
        start = np.random.default_rng(seed).random((n, len(self.axes)))
        return self.held(seed, start, start, ())

    def held(self, seed: int, of: Array, others: Array, held: Collection[str]) -> Array:
        """Draws with the held parameters as in `of` and the rest as in `others`, row by row.

        Where that is forbidden the rest is drawn again: it is the rest given what is held, if all
        parents of what is held are held too. With the same seed a row is drawn again alike,
        whatever is held. One that finds no partner stays as it is in `of`.
        """
        names = [axis.parameter.name for axis in self.axes]
        columns = np.array([name in held for name in names])
        # What no forbidden combination depends on need not be drawn again.
        members = {name for clause in self.space.forbidden for name, _ in clause}
        tied = members | set(parents(self.space, members))
        again = np.array([d for d, name in enumerate(names) if name in tied], dtype=np.intp)
        mixed = np.where(columns, of, others)
        wrong = np.flatnonzero(self.forbidden(mixed))
        for number in range(_ROUNDS):
            if not len(wrong):
                return mixed
            drawn = np.random.default_rng((seed, number)).random((len(of), len(again)))[wrong]
            rows = wrong[:, None]
            mixed[rows, again] = np.where(columns[again], of[rows, again], drawn)
            wrong = wrong[self.forbidden(mixed[wrong])]
        mixed[wrong] = of[wrong]
        return mixed

    def places(self, draws: Array) -> Array:
        """Where the configurations of draws lie on the axes: as `surrogate.encode` places them."""
        placed = np.stack([_placed(axis, z) for axis, z in zip(self.axes, draws.T, strict=True)], 1)
        return np.where(self.active(draws), placed, INACTIVE)

    def active(self, draws: Array) -> NDArray[np.bool_]:
        """Which parameters are active."""
        column = {axis.parameter.name: d for d, axis in enumerate(self.axes)}
        active = np.ones(draws.shape, dtype=bool)
        for name in self.space.parents_first:
            for condition in self.space.conditions_of(name):
                d = column[condition.parent]
                choices = self.axes[d].parameter.choices
                lets = np.array([choice in condition.values for choice in choices])
                met = lets[_codes(self.axes[d], draws[:, d])]
                active[:, column[name]] &= met & active[:, d]
        return active

    def forbidden(self, draws: Array) -> NDArray[np.bool_]:
        """Which configurations hold a forbidden combination."""
        broken = np.zeros(len(draws), dtype=bool)
        if not self.space.forbidden:
            return broken
        column = {axis.parameter.name: d for d, axis in enumerate(self.axes)}
        active = self.active(draws)
        for clause in self.space.forbidden:
            holds = np.ones(len(draws), dtype=bool)
            for name, value in clause:
                d = column[name]
                code = self.axes[d].parameter.choices.index(value)
                holds &= active[:, d] & (_codes(self.axes[d], draws[:, d]) == code)
            broken |= holds
        return broken


def parents(space: Space, members: Iterable[str]) -> tuple[str, ...]:
    """All that decides whether the members are active: parents, their parents, and so on."""
    found: dict[str, None] = {}
    waiting = list(members)
    while waiting:
        new = [c.parent for name in waiting for c in space.conditions_of(name)]
        waiting = [name for name in dict.fromkeys(new) if name not in found]
        found |= dict.fromkeys(waiting)
    return tuple(found)


def cells(axis: Axis, draws: Array, most: int) -> tuple[NDArray[np.intp], int]:
    """The cell of each draw, and how many there are: categories, values, or `most` equal shares."""
    if axis.parameter.kind == "categorical":
        return _codes(axis, draws), len(axis.parameter.choices)
    if 0 < len(axis.atoms) <= most:
        return _values(axis, draws), len(axis.atoms)
    return np.floor(draws * most).astype(np.intp), most


def _codes(axis: Axis, draws: Array) -> NDArray[np.intp]:
    return np.floor(draws * len(axis.parameter.choices)).astype(np.intp)


def _placed(axis: Axis, draws: Array) -> Array:
    if axis.parameter.kind == "categorical":
        return _codes(axis, draws).astype(np.float64)
    if not len(axis.atoms):
        return draws
    return axis.atoms[_values(axis, draws)]


def _values(axis: Axis, draws: Array) -> NDArray[np.intp]:
    found = np.searchsorted(axis.cumulative, draws, side="right") - 1
    return np.clip(found, 0, len(axis.atoms) - 1).astype(np.intp)
