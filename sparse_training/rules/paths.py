"""Where the paths of length three of a layer's graph lead: scores for growth by topology alone.

A layer is a bipartite graph: its neurons on one side, their inputs on the other, active weights
between them. A free position (i, t) closes paths i - u - j - t. By the hypothesis of local
communities the inner nodes u and j speak for it, the more so the fewer links they have that lead
out of the community: each adds 1 / (1 + e) (CH3), or (1 + c) / (1 + e) with the c links that it
has into it (CH2), once however many paths it is on.

**Source**: CH2-L3n and CH3-L3n of Zhang et al., "Brain network science modelling of sparse neural
networks enables Transformers and LLMs to perform as fully connected", NeurIPS 2025,
https://arxiv.org/abs/2501.19107, and the authors' code. For j, c counts the neighbours that it
shares with i, e its others but t; for u likewise with t and i in their places.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse_training.networks.network import Layer
from sparse_training.positions import Positions

_MATRIX_WINS = 1000
"""Multiplications of two dense matrices in the time of one step of a walk, about."""


def path_scores(layer: Layer, active: Positions, *, internal: bool) -> NDArray[np.float32]:
    """A score >= 0 for every position of a layer, flat; 0 at active ones and where no path leads.

    internal: whether links into the community count (CH2) or not (CH3).
    """
    neurons, inputs = layer.neurons, layer.fan_in
    rows, columns = active // inputs, active % inputs
    if walks(layer, active) * _MATRIX_WINS < 2 * layer.size * (neurons + inputs):
        of_rows = _by_walks(rows, columns, neurons, inputs, internal)
        of_columns = _by_walks(columns, rows, inputs, neurons, internal)
    else:
        mask = np.zeros((neurons, inputs), dtype=np.float32)
        mask[rows, columns] = 1.0
        of_rows, of_columns = _by_matrices(mask, internal), _by_matrices(mask.T, internal)
    scores = (of_rows + of_columns.T).astype(np.float32).reshape(-1)
    scores[active] = 0.0
    return scores


def walks(layer: Layer, active: Positions) -> int:
    """The number of walks of length three over active weights: what looking along them costs."""
    rows, columns = active // layer.fan_in, active % layer.fan_in
    return int(np.bincount(rows)[rows] @ np.bincount(columns)[columns]) if len(active) else 0


def walk_flops(layers: Sequence[Layer], active: Sequence[Positions]) -> float:
    """FLOPs of the path scores of all layers: two for each of the two inner nodes of a walk."""
    return 4.0 * sum(walks(layer, own) for layer, own in zip(layers, active, strict=True))


def _by_walks(
    near: Positions, far: Positions, near_size: int, far_size: int, internal: bool
) -> NDArray[np.floating]:
    """What nodes j of the near side add at (i, t), by following links; (near_size, far_size)."""
    degree = np.bincount(near, minlength=near_size)
    of_near, of_far = _Links(near, far, near_size), _Links(far, near, far_size)
    link, other = of_far.followed(far)
    pairs, shared = np.unique(near[link] * near_size + other, return_counts=True)
    outside = degree[pairs % near_size] - shared
    leads_on = outside > 0
    pairs, shared, outside = pairs[leads_on], shared[leads_on], outside[leads_on]
    merit = (shared + 1 if internal else 1) / outside
    pair, target = of_near.followed(pairs % near_size)
    places = pairs[pair] // near_size * far_size + target
    summed = np.bincount(places, weights=merit[pair], minlength=near_size * far_size)
    return summed.astype(np.float64, copy=False).reshape(near_size, far_size)


def _by_matrices(mask: NDArray[np.float32], internal: bool) -> NDArray[np.floating]:
    """The same by products of matrices; mask: near side by far side."""
    shared = mask @ mask.T
    outside = mask.sum(axis=1) - shared
    merit = (shared + 1.0 if internal else 1.0) / np.maximum(outside, 1.0)
    scores: NDArray[np.floating] = np.where((shared > 0) & (outside > 0), merit, 0.0) @ mask
    return scores


class _Links:
    """The neighbours of every node of one side."""

    def __init__(self, nodes: Positions, neighbours: Positions, size: int) -> None:
        self._neighbours = neighbours[np.argsort(nodes, kind="stable")]
        self._degree = np.bincount(nodes, minlength=size)
        self._start = np.cumsum(self._degree) - self._degree

    def followed(self, nodes: Positions) -> tuple[Positions, Positions]:
        """All links of the nodes: which of the nodes each leaves, by number, and where it leads."""
        degree = self._degree[nodes]
        number = np.repeat(np.arange(len(nodes)), degree)
        within = np.arange(len(number)) - np.repeat(np.cumsum(degree) - degree, degree)
        return number, self._neighbours[self._start[nodes][number] + within]
