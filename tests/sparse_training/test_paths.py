"""Path scores: a graph worked out by hand, then against every path written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.networks.network import Layer
from sparse_training.positions import Positions
from sparse_training.rules import paths
from sparse_training.rules.grow import Largest, Paths
from sparse_training.rules.paths import path_scores, walk_flops, walks
from tests.sparse_training.cases import PLAIN, SET, positions_of, toy_network, toy_run, with_updates

LAYER = Layer((3, 4))
CHAIN = positions_of([0, 4, 5, 7, 9, 10])
"""Input 0 joins neurons 0 and 1, input 1 neurons 1 and 2; neuron 1 has input 3, 2 has input 2."""


def by_definition(layer: Layer, active: Positions, internal: bool) -> list[list[float]]:
    """The score of every free position, all paths of length three written out."""
    rows: dict[int, set[int]] = {i: set() for i in range(layer.neurons)}
    columns: dict[int, set[int]] = {t: set() for t in range(layer.fan_in)}
    for position in active.tolist():
        i, t = divmod(position, layer.fan_in)
        rows[i].add(t)
        columns[t].add(i)

    def merit(shared: int, degree: int) -> float:
        return (1 + shared if internal else 1) / (1 + degree - shared - 1)

    scores = [[0.0] * layer.fan_in for _ in rows]
    for i in rows:
        for t in columns:
            if t in rows[i]:
                continue
            inner = [(u, j) for u in rows[i] for j in columns[t] if u in rows[j]]
            for j in {j for _, j in inner}:
                scores[i][t] += merit(len(rows[j] & rows[i]), len(rows[j]))
            for u in {u for u, _ in inner}:
                scores[i][t] += merit(len(columns[u] & columns[t]), len(columns[u]))
    return scores


def test_a_node_speaks_for_a_position_the_more_so_the_fewer_links_lead_elsewhere() -> None:
    """Neuron 0 to input 1, say: neuron 1 shares one link with 0 and has one, to input 3, that leads
    elsewhere: 2 / 2; input 0 shares one with input 1 and has no other: 2 / 1."""
    assert path_scores(LAYER, CHAIN, internal=True).reshape(3, 4).tolist() == [
        [0, 3, 0, 3],
        [0, 0, 4, 0],
        [3, 0, 0, 3],
    ]
    assert path_scores(LAYER, CHAIN, internal=False).reshape(3, 4).tolist() == [
        [0, 1.5, 0, 1.5],
        [0, 0, 2, 0],
        [1.5, 0, 0, 1.5],
    ]


@pytest.mark.parametrize("matrix_wins", [0, math.inf], ids=["walks", "matrices"])
@given(st.integers(1, 5), st.integers(1, 5), st.data(), st.booleans())
def test_scores_are_the_sums_over_all_paths_however_they_are_computed(
    matrix_wins: float, neurons: int, inputs: int, data: st.DataObject, internal: bool
) -> None:
    layer = Layer((neurons, inputs))
    active = positions_of(list(data.draw(st.sets(st.integers(0, layer.size - 1)))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(paths, "_MATRIX_WINS", matrix_wins if len(active) else 0)
        scores = path_scores(layer, active, internal=internal).reshape(neurons, inputs)
    assert np.allclose(scores, by_definition(layer, active, internal))


def test_scores_cost_two_multiplications_and_additions_a_walk_of_length_three() -> None:
    """The product of its ends' degrees for every link: 2, 6, 6, 3, 4 and 2."""
    assert walks(LAYER, CHAIN) == 23
    assert walk_flops([LAYER, LAYER], [CHAIN, positions_of([])]) == 4 * 23


def test_an_update_by_paths_pays_for_the_walks_of_its_mask_and_for_no_gradient() -> None:
    outcome, masks, watched = toy_run(with_updates(SET, grow=Largest(Paths())))
    assert outcome.updates == len(masks) - 1 > 3
    looked = sum(walk_flops(toy_network(PLAIN).layers, mask) for mask in masks[:-1])
    assert watched.looked_at == 0
    assert outcome.training_flops == 3 * 2 * 60 * 1000 + looked


def test_a_budget_of_flops_that_pays_no_walks_and_a_step_after_them_sees_no_update() -> None:
    by_paths = with_updates(SET, grow=Largest(Paths()))
    granted = 6 * 60 * 16 * 8.0
    outcome, _, _ = toy_run(by_paths, training_flops=granted)
    assert outcome.training_flops <= granted
    densest = toy_run(by_paths, training_flops=granted, active_weights=200)[0]
    assert densest.updates == 0 and 0 < densest.training_flops <= granted
