"""All randomness of a trial: named streams from one seed, and the batches that one orders."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Streams:
    """Separate generators, so that masks, weights, batches and growth do not depend on how much
    another part draws, or on the engine."""

    masks: np.random.Generator
    weights: np.random.Generator
    batches: np.random.Generator
    growth: np.random.Generator
    grown_values: np.random.Generator


def streams(seed: int) -> Streams:
    """The streams of a seed, >= 0."""
    return Streams(
        *(np.random.default_rng(np.random.SeedSequence([seed, number])) for number in range(5))
    )


class Batch(NamedTuple):
    """Some rows of the training part, presented together."""

    epoch: int
    """From 0."""
    rows: NDArray[np.int64]
    ends_epoch: bool


def batches(rows: int, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches of a training part with so many rows, for ever.

    An epoch is a new permutation of all rows; its last batch may be smaller.
    """
    epoch = 0
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows, batch_size):
            end = start + batch_size
            yield Batch(epoch, order[start:end], end >= rows)
        epoch += 1
