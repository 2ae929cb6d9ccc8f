"""MEST: the smallest |w| + lambda |g| go."""

from target_algorithms import variant
from tests.examples import topology_at
from tests.sparse_training.cases import toy_run
from tests.target_algorithms.by_hand import GRADIENT, one_update

NAME = "mest"


def test_lambda_decides_between_weight_and_gradient() -> None:
    """Gradients 0 but at position 0: at a small lambda the smallest weight goes, at a large not."""
    gradient = (9.0, *GRADIENT[1:])
    for changes, gone in (({}, 0), ({"mest_lambda": 1000.0}, 1)):
        topology = topology_at(variant(NAME), **changes)
        change = one_update(topology, 0.25, gradient=gradient, seed=3)
        assert gone in {*change.dropped.tolist(), *change.new.tolist()}
        assert len({0, 1, 2, 3} - set(change.active.tolist())) <= 1


def test_a_run_of_32_epochs_has_the_24_updates_of_the_authors_scripts() -> None:
    """They update after every 5 of 160 epochs, up to the 120th."""
    outcome, _, _ = toy_run(topology_at(variant(NAME)), training_samples=32 * 60)
    assert outcome.updates == 24
