"""CHT: the smallest go, and what they strand; the best connected positions come."""

from sparse_training.rules.drop import WithStranded
from sparse_training.rules.grow import Sampled
from target_algorithms import variant
from tests.examples import topology_at
from tests.sparse_training.cases import active_of, updated, view_of
from tests.target_algorithms.evidence import margin

NAME = "cht"

WEIGHTS = {0: 1.0, 4: 2.0, 5: -3.0, 7: 4.0, 9: 5.0, 10: 6.0, 11: -0.1}
"""Three neurons of four inputs. Without the last one: input 0 joins neurons 0 and 1, input 1 joins
1 and 2; input 3 leads to neuron 1, input 2 to neuron 2."""


def test_the_smallest_weight_goes_and_the_best_connected_position_comes() -> None:
    """Neuron 1 and input 2 (position 6): neuron 2 and input 1 share a link with them and have none
    elsewhere, (1 + 1) / 1 each. Neuron 0 and input 1, say, have 2 / 2 and 2 / 1."""
    rules = topology_at(variant(NAME), growth="deterministic").updates
    assert rules is not None
    view = view_of([WEIGHTS], [(3, 4)])
    assert active_of(updated(rules, view, 0.15)) == [[0, 4, 5, 6, 7, 9, 10]]


def test_at_its_default_better_connected_positions_come_more_often() -> None:
    """Scores of 4 (position 6), 3 (1, 3, 8 and 11) and 0 (2): of 400 a quarter and none."""
    rules = topology_at(variant(NAME)).updates
    assert rules is not None and isinstance(rules.grow, Sampled)
    assert isinstance(rules.drop, WithStranded)
    view = view_of([WEIGHTS], [(3, 4)])
    before = set(WEIGHTS) - {11}
    came = [
        min(set(active_of(updated(rules, view, 0.15, seed=seed))[0]) - before)
        for seed in range(400)
    ]
    assert set(came) == {1, 3, 6, 8, 11}
    assert came.count(6) > max(came.count(other) for other in (1, 3, 8, 11))


def test_it_beats_a_static_mask_where_few_weights_are_active() -> None:
    assert margin(NAME) > 0.015
