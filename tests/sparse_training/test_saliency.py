"""SNIP, GraSP and SynFlow against formulas that need no automatic differentiation."""

import numpy as np
import pytest

from target_algorithms import autograd_saliency, saliency
from target_algorithms.engine import Optimizer, Setup
from target_algorithms.masked import MaskedEngine
from target_algorithms.networks import Network, initial_weights, perceptron_layers
from target_algorithms.settings import Recipe, Topology
from target_algorithms.topology import keep_globally
from target_algorithms.training import random_streams
from tests.target_algorithms.cases import toy_network, toy_run, toy_split

SPLIT = toy_split()
NETWORK = Network(layers=perceptron_layers((7, 5, 4, 3)))
ROWS = np.arange(24)


def setup_of(network: Network = NETWORK) -> Setup:
    rng = np.random.default_rng(1)
    everything = [np.arange(size) for size in network.sizes]
    return Setup(
        network=network,
        optimizer=Optimizer(),
        active=everything,
        values=initial_weights(network, everything, "he_normal", "none", rng),
        budget=sum(network.sizes),
        train_x=SPLIT.train_x,
        train_y=SPLIT.train_y,
    )


def loss(weights: list[np.ndarray], temperature: float = 1.0) -> float:
    """Mean cross entropy of the ReLU network without biases, in double precision."""
    values = SPLIT.train_x[ROWS].astype(np.float64)
    for layer, (shape, flat) in enumerate(zip(NETWORK.shapes, weights, strict=True)):
        values = values @ flat.reshape(shape).T
        values = np.maximum(values, 0.0) if layer < 2 else values / temperature
    values -= values.max(axis=1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(ROWS)), SPLIT.train_y[ROWS]].mean())


def slopes(weights: list[np.ndarray], temperature: float = 1.0) -> list[np.ndarray]:
    """The gradient by central differences."""
    found = []
    for layer in weights:
        slope = np.zeros_like(layer)
        for k in range(len(layer)):
            before = layer[k]
            layer[k] = before + 1e-6
            above = loss(weights, temperature)
            layer[k] = before - 1e-6
            slope[k] = (above - loss(weights, temperature)) / 2e-6
            layer[k] = before
        found.append(slope)
    return found


def test_snip_is_the_size_of_weight_times_gradient() -> None:
    setup = setup_of()
    weights = [values.astype(np.float64) for values in setup.values]
    for found, weight, slope in zip(
        saliency.scores("snip", MaskedEngine, setup, ROWS, keep=10),
        weights,
        slopes(weights),
        strict=True,
    ):
        np.testing.assert_allclose(found, np.abs(weight * slope), rtol=1e-3, atol=1e-6)


def test_grasp_is_weight_times_the_change_of_the_squared_gradient() -> None:
    """H g is half the gradient of |g|^2, here by differences of differences."""
    setup = setup_of()
    weights = [values.astype(np.float64) for values in setup.values]
    temperature = saliency.GRASP_TEMPERATURE
    found = saliency.scores("grasp", MaskedEngine, setup, ROWS, keep=10)
    for layer, position in ((0, 3), (0, 20), (1, 7), (2, 4)):
        flows = []
        for change in (1e-3, -1e-3):
            weights[layer][position] += change
            flows.append(sum((slope**2).sum() for slope in slopes(weights, temperature)))
            weights[layer][position] -= change
        curvature = (flows[0] - flows[1]) / 2e-3 / 2
        expected = weights[layer][position] * curvature
        assert found[layer][position] == pytest.approx(expected, rel=2e-2, abs=1e-9)


def test_one_round_of_synflow_is_the_product_of_absolute_matrices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saliency, "SYNFLOW_ROUNDS", 1)
    setup = setup_of()
    one, two, three = (
        np.abs(values.astype(np.float64)).reshape(shape)
        for values, shape in zip(setup.values, NETWORK.shapes, strict=True)
    )
    flow = (three @ two @ one).sum()
    middle = two * np.outer(three.sum(axis=0), one.sum(axis=1)) / flow
    found = saliency.scores("synflow", MaskedEngine, setup, ROWS, keep=sum(NETWORK.sizes))
    np.testing.assert_allclose(found[1], middle.reshape(-1), rtol=1e-5)
    for layer in found:  # the flow through every layer is the whole flow
        assert layer.sum() == pytest.approx(1.0, rel=1e-5)


def test_synflow_by_products_is_synflow_by_differentiation() -> None:
    weights = [np.abs(values.astype(np.float64)) for values in setup_of().values]
    by_products = saliency._flow(NETWORK, weights)
    for one, other in zip(by_products, autograd_saliency.flow(NETWORK, weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_synflows_rounds_avoid_the_collapse_that_one_round_has() -> None:
    """At 12 of 67 weights its rounds keep every layer; theorem 3 of the paper."""
    found = saliency.scores("synflow", MaskedEngine, setup_of(), ROWS, keep=12)
    keep = keep_globally(found, 12)
    assert sum(int(mask.sum()) for mask in keep) == 12
    kept = [np.flatnonzero(mask) for mask in keep]
    assert all((layer[chosen] > 0).all() for layer, chosen in zip(found, kept, strict=True))


def test_the_passes_are_those_of_the_formulas() -> None:
    assert saliency.passes("snip", 64) == 3 * 64
    assert saliency.passes("grasp", 64) == 9 * 64
    assert saliency.passes("synflow", 64) == 300


@pytest.mark.parametrize("rule", ["snip", "grasp", "synflow"])
def test_a_mask_by_saliency_meets_the_budget_and_is_paid_for(rule: str) -> None:
    topology = Topology(kind="static", init_mask=rule)  # type: ignore[arg-type]
    outcome, seen, watched = toy_run(topology, training_samples=500)
    assert sum(map(len, seen[0])) == 60 == outcome.final_weights
    rows = 0 if rule == "synflow" else 16
    assert outcome.samples == 500
    assert sum(len(r) for r in watched.rows) == 500 - rows
    dense = 2 * outcome.total_weights
    expected = saliency.passes(rule, 16) * dense + 3 * 2 * 60 * (500 - rows)
    assert outcome.training_flops == pytest.approx(expected)
    again, _, _ = toy_run(topology, training_samples=500)
    assert all((a == b).all() for a, b in zip(outcome.active, again.active, strict=True))


@pytest.mark.parametrize("rule", ["snip", "grasp", "synflow"])
@pytest.mark.parametrize("scaling", [None, "layer"])
def test_the_weights_that_were_chosen_are_those_that_were_scored(
    rule: str, scaling: str | None
) -> None:
    still = Recipe(
        batch_size=16,
        learning_rate_sgd=1e-9,
        weight_decay=1e-9,
        init_scaling=scaling,  # type: ignore[arg-type]
    )
    outcome, _, _ = toy_run(Topology(kind="static", init_mask=rule), still, seed=3)  # type: ignore[arg-type]
    network = toy_network(still)
    everything = [np.arange(size) for size in network.sizes]
    streams = random_streams(3)
    drawn = initial_weights(network, everything, "he_normal", "none", streams["weights"])
    for positions, dense, weights in zip(outcome.active, drawn, outcome.weights, strict=True):
        assert weights == pytest.approx(dense[positions], abs=1e-6)


def test_a_convolutional_network_can_be_scored() -> None:
    from target_algorithms import architectures

    network = architectures.network("lenet5", 256, 4, 0.2)
    rng = np.random.default_rng(0)
    everything = [np.arange(size) for size in network.sizes]
    setup = Setup(
        network=network,
        optimizer=Optimizer(),
        active=everything,
        values=initial_weights(network, everything, "he_normal", "none", rng),
        budget=sum(network.sizes),
        train_x=rng.standard_normal((8, 256), dtype=np.float32),
        train_y=np.arange(8) % 4,
    )
    for rule in ("snip", "grasp", "synflow"):
        found = saliency.scores(rule, MaskedEngine, setup, np.arange(8), keep=100)
        assert [len(layer) for layer in found] == list(network.sizes)
        assert all(np.isfinite(layer).all() for layer in found)
