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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_training.networks.network import Layer
from sparse_training.positions import Positions

_MATRIX_WINS = 500
"""Multiplications of two dense matrices in the time of one step of a walk, about."""


def path_scores(layer: Layer, active: Positions, *, internal: bool) -> NDArray[np.float32]:
    """A score >= 0 for every position of a layer, flat; 0 at active ones and where no path leads.

    internal: whether links into the community count (CH2) or not (CH3).
    """
    # Nodes without a link are on no path.
    neurons, rows = np.unique(active // layer.fan_in, return_inverse=True)
    inputs, columns = np.unique(active % layer.fan_in, return_inverse=True)
    number = walks(layer, active)
    of_rows = _one_side(rows, columns, len(neurons), len(inputs), number, internal)
    of_columns = _one_side(columns, rows, len(inputs), len(neurons), number, internal)
    scores = np.zeros((layer.neurons, layer.fan_in), dtype=np.float32)
    scores[np.ix_(neurons, inputs)] = of_rows + of_columns.T
    flat = scores.reshape(-1)
    flat[active] = 0.0
    return flat


def walks(layer: Layer, active: Positions) -> int:
    """The number of walks of length three over active weights: what looking along them costs."""
    rows, columns = active // layer.fan_in, active % layer.fan_in
    return int(np.bincount(rows)[rows] @ np.bincount(columns)[columns]) if len(active) else 0


def walk_flops(layers: Sequence[Layer], active: Sequence[Positions]) -> float:
    """FLOPs of the path scores of all layers: two for each of the two inner nodes of a walk."""
    return 4.0 * sum(walks(layer, own) for layer, own in zip(layers, active, strict=True))


def _one_side(
    near: Positions, far: Positions, near_size: int, far_size: int, walks: int, internal: bool
) -> NDArray[np.floating]:
    """What nodes of the near side add at every position, (near_size, far_size)."""
    if walks * _MATRIX_WINS < 2 * near_size**2 * far_size:
        return _by_walks(near, far, near_size, far_size, internal)
    mask = np.zeros((near_size, far_size))
    mask[near, far] = 1.0
    return _by_matrices(mask, internal)


def _by_walks(
    near: Positions, far: Positions, near_size: int, far_size: int, internal: bool
) -> NDArray[np.floating]:
    """The same by following links: what nodes j add at (i, t)."""
    degree = np.bincount(near, minlength=near_size)
    back, others = _follow(_Links.of(far, near, far_size), far)
    pairs, shared = np.unique(np.repeat(near * near_size, back) + others, return_counts=True)
    node = pairs % near_size
    outside = degree[node] - shared
    leads_on = outside > 0
    pairs, node, shared, outside = (own[leads_on] for own in (pairs, node, shared, outside))
    merit = _exact((shared + 1 if internal else np.ones(len(node))) / outside)
    onward, targets = _follow(_Links.of(near, far, near_size), node)
    places = np.repeat(pairs // near_size * far_size, onward) + targets
    summed = np.bincount(
        places, weights=np.repeat(merit, onward), minlength=near_size * far_size
    ).astype(np.float64, copy=False)
    return summed.reshape(near_size, far_size)


def _by_matrices(mask: NDArray[np.float64], internal: bool) -> NDArray[np.floating]:
    """The same by products of matrices."""
    counts = mask.astype(np.float32)  # exact up to 2^24 links
    shared = (counts @ counts.T).astype(np.float64)
    outside = mask.sum(axis=1) - shared
    merit = _exact((shared + 1.0 if internal else 1.0) / np.maximum(outside, 1.0))
    scores: NDArray[np.floating] = np.where((shared > 0) & (outside > 0), merit, 0.0) @ mask
    return scores


def _exact(merit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to what double precision adds up without error, so that no order of sums matters."""
    return np.round(merit * 2.0**32) / 2.0**32


@dataclass(frozen=True)
class _Links:
    """The neighbours of every node of one side, node after node."""

    neighbours: Positions
    degree: NDArray[np.int64]
    start: NDArray[np.int64]

    @staticmethod
    def of(nodes: Positions, neighbours: Positions, size: int) -> "_Links":
        """Links from nodes, in any order, to neighbours; size: number of nodes."""
        degree = np.bincount(nodes, minlength=size)
        order = np.argsort(nodes, kind="stable")
        return _Links(neighbours[order], degree, np.cumsum(degree) - degree)


def _follow(links: _Links, nodes: Positions) -> tuple[NDArray[np.int64], Positions]:
    """How many links each of the nodes has, and where they lead, node after node."""
    degree = links.degree[nodes]
    ends = np.cumsum(degree)
    first = np.repeat(links.start[nodes] - ends + degree, degree)
    return degree, links.neighbours[first + np.arange(len(first))]
