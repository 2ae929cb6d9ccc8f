"""The forms of an instance: which rows of an outer fold train and which of them judge.

All draws are of fixed streams, and stratified by class. They are RandomState's, because its numbers
are frozen across numpy's versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.stored import EVALUATED, Stored

_SEED = 20262
_JUDGING, _SAMPLES, _HALVES = range(3)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Outer:
    """`source/dataset/fold`: the outer training part trains, the outer test part judges."""

    on_test_part: ClassVar[bool] = True
    """Whether the outer test part judges; if not, no row of it is seen."""

    def rows(self, data: Stored, fold: int) -> tuple[Rows, Rows]:
        """The (training, judging) rows in an outer fold of a data set, ascending and disjoint."""
        return _training_part(data, fold), np.flatnonzero(data.folds[fold] == EVALUATED)


@dataclass(frozen=True)
class Inner:
    """`source/dataset/fold/inner`: one of ten folds of the training part judges, nine train."""

    number: int
    on_test_part: ClassVar[bool] = False

    def rows(self, data: Stored, fold: int) -> tuple[Rows, Rows]:
        """As of `Outer`."""
        inner = data.folds[fold]
        trained = (inner < EVALUATED) & (inner != self.number)
        return np.flatnonzero(trained), np.flatnonzero(inner == self.number)


@dataclass(frozen=True)
class Sample:
    """`.../fold/train+judge/number`: so many rows of the training part train, so many others judge.

    Those that judge are the same for every number and every `train`; of a smaller `judge` they are
    some of those of a larger one. `.../fold/train/number` is judged on the outer test part.
    """

    train: int
    judge: int | None
    number: int

    @property
    def on_test_part(self) -> bool:
        """As of `Outer`."""
        return self.judge is None

    @property
    def drawn(self) -> int:
        """How many rows of the training part it takes."""
        return self.train + (self.judge or 0)

    def rows(self, data: Stored, fold: int) -> tuple[Rows, Rows]:
        """As of `Outer`; the training part must have `drawn` rows."""
        left, judging = Outer().rows(data, fold)
        if self.judge is not None:
            chosen = stratified(data.labels[left], self.judge, (_JUDGING, fold))
            left, judging = np.delete(left, chosen), left[chosen]
        chosen = stratified(data.labels[left], self.train, (_SAMPLES, fold, self.number))
        return left[chosen], judging


@dataclass(frozen=True)
class Half:
    """`.../fold/halves/number`: a random half of the training part trains, the other one judges."""

    number: int
    on_test_part: ClassVar[bool] = False

    def rows(self, data: Stored, fold: int) -> tuple[Rows, Rows]:
        """As of `Outer`. Of an odd number of rows the middle one trains."""
        part = _training_part(data, fold)
        stream = (_HALVES, fold, self.number)
        chosen = stratified(data.labels[part], (len(part) + 1) // 2, stream)
        return part[chosen], np.delete(part, chosen)


Form = Outer | Inner | Sample | Half


def stratified(labels: NDArray[Any], count: int, stream: Sequence[int]) -> Rows:
    """Where the first `count` (1 to all) labels of a random order are, ascending.

    The order is stratified by class: the i-th of the n rows of a class comes at (i - .5) / n, rows
    at the same place in random order. So however many are taken, each class has its share but for
    a row or so.
    """
    order = np.random.RandomState([_SEED, *stream]).permutation(len(labels))
    shuffled = labels[order]
    sizes = np.bincount(shuffled)
    rank = np.empty(len(order), dtype=np.int64)
    rank[np.argsort(shuffled, kind="stable")] = np.arange(len(order))
    rank -= (np.cumsum(sizes) - sizes)[shuffled]
    place = (rank + 0.5) / sizes[shuffled]
    # Only those that may be among the first are sorted: that is most of the time.
    candidates = np.flatnonzero(place <= np.partition(place, count - 1)[count - 1])
    first = candidates[np.argsort(place[candidates], kind="stable")[:count]]
    return np.sort(order[first])


def _training_part(data: Stored, fold: int) -> Rows:
    return np.flatnonzero(data.folds[fold] < EVALUATED)
