"""SNIP, GraSP and SynFlow against formulas that need no automatic differentiation."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_training.engines.interface import Optimizer, Setup
from sparse_training.engines.masked import MaskedEngine
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.loop.streams import streams
from sparse_training.networks.activations import (
    GELU,
    Activation,
    AllReLU,
    LeakyReLU,
    ReLU,
    SReLU,
)
from sparse_training.networks.convolutional import convolutional
from sparse_training.networks.initial_weights import InitialWeights, Scaling
from sparse_training.networks.network import Network, Norm
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.ranking import keep_largest_of_all
from sparse_training.rules import saliency_autograd, saliency_perceptron
from sparse_training.rules.first_mask import MostSalient
from sparse_training.rules.saliency import Grasp, Saliency, Snip, SynFlow, flow
from sparse_training.rules.topology import Topology
from tests.sparse_training.cases import PLAIN, toy_network, toy_run, toy_split

SPLIT = toy_split()
NETWORK = Network(layers=perceptron_layers((7, 5, 4, 3)))
ROWS = np.arange(24)
UNSCALED = InitialWeights(scaling=Scaling.NONE)

SALIENCIES = pytest.mark.parametrize("saliency", [Snip(), Grasp(), SynFlow()], ids=repr)


def setup_of(network: Network = NETWORK) -> Setup:
    """Dense."""
    rng = np.random.default_rng(1)
    everything = [np.arange(size) for size in network.sizes]
    return Setup(
        network=network,
        optimizer=Optimizer(),
        active=everything,
        values=UNSCALED.draw(network, everything, rng),
        budget=network.size,
        train_x=SPLIT.train_x,
        train_y=SPLIT.train_y,
    )


def loss(weights: list[NDArray[np.float64]], temperature: float = 1.0) -> float:
    """Mean cross entropy of the ReLU network without biases, in double precision."""
    values = SPLIT.train_x[ROWS].astype(np.float64)
    for layer, (shape, flat) in enumerate(zip(NETWORK.shapes, weights, strict=True)):
        values = values @ flat.reshape(shape).T
        values = np.maximum(values, 0.0) if layer < 2 else values / temperature
    values -= values.max(axis=1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(ROWS)), SPLIT.train_y[ROWS]].mean())


def slopes(
    weights: list[NDArray[np.float64]], temperature: float = 1.0
) -> list[NDArray[np.float64]]:
    """The gradient by central differences."""
    gradient = []
    for layer in weights:
        slope = np.zeros_like(layer)
        for k in range(len(layer)):
            before = layer[k]
            layer[k] = before + 1e-6
            above = loss(weights, temperature)
            layer[k] = before - 1e-6
            slope[k] = (above - loss(weights, temperature)) / 2e-6
            layer[k] = before
        gradient.append(slope)
    return gradient


def test_snip_is_the_size_of_weight_times_gradient() -> None:
    setup = setup_of()
    weights = [values.astype(np.float64) for values in setup.values]
    scores = Snip().scores(MaskedEngine, setup, ROWS, 10)
    for ours, weight, slope in zip(scores, weights, slopes(weights), strict=True):
        np.testing.assert_allclose(ours, np.abs(weight * slope), rtol=1e-3, atol=1e-6)


def test_grasp_is_weight_times_the_change_of_the_squared_gradient() -> None:
    """H g is half the gradient of |g|^2, here by differences of differences."""
    setup = setup_of()
    weights = [values.astype(np.float64) for values in setup.values]
    temperature = Grasp().temperature
    assert temperature == 200.0
    scores = Grasp().scores(MaskedEngine, setup, ROWS, 10)
    for layer, position in ((0, 3), (0, 20), (1, 7), (2, 4)):
        flows = []
        for change in (1e-3, -1e-3):
            weights[layer][position] += change
            flows.append(sum((slope**2).sum() for slope in slopes(weights, temperature)))
            weights[layer][position] -= change
        curvature = (flows[0] - flows[1]) / 2e-3 / 2
        expected = weights[layer][position] * curvature
        assert scores[layer][position] == pytest.approx(expected, rel=2e-2, abs=1e-9)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(), AllReLU(), SReLU(), GELU()], ids=repr)
def test_grasp_by_the_complex_step_is_grasp_by_differentiation(
    norm: Norm, activation: Activation
) -> None:
    """Autograd's is in single precision."""
    network = replace(NETWORK, norm=norm, activation=activation, dropout=0.25, label_smoothing=0.1)
    setup = setup_of(network)
    ours = saliency_perceptron.grasp(setup, ROWS, 200.0)
    for one, other in zip(ours, saliency_autograd.grasp(setup, ROWS, 200.0), strict=True):
        assert np.abs(other).max() > 0.0
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def test_grasp_of_a_single_row_under_batch_normalisation_is_zero_as_its_gradient() -> None:
    setup = setup_of(replace(NETWORK, norm=Norm.BATCH))
    *hidden, _ = saliency_perceptron.grasp(setup, ROWS[:1], 200.0)
    assert all((layer == 0.0).all() for layer in hidden)


def test_one_round_of_synflow_is_the_product_of_absolute_matrices() -> None:
    setup = setup_of()
    one, two, three = (
        np.abs(values.astype(np.float64)).reshape(shape)
        for values, shape in zip(setup.values, NETWORK.shapes, strict=True)
    )
    whole = (three @ two @ one).sum()
    middle = two * np.outer(three.sum(axis=0), one.sum(axis=1)) / whole
    scores = SynFlow(rounds=1).scores(MaskedEngine, setup, ROWS, NETWORK.size)
    np.testing.assert_allclose(scores[1], middle.reshape(-1), rtol=1e-5)
    for layer in scores:  # the flow through every layer is the whole flow
        assert layer.sum() == pytest.approx(1.0, rel=1e-5)


def test_synflow_by_products_is_synflow_by_differentiation() -> None:
    weights = [np.abs(values.astype(np.float64)) for values in setup_of().values]
    by_products = flow(NETWORK, weights)
    for one, other in zip(by_products, saliency_autograd.flow(NETWORK, weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_synflows_rounds_avoid_the_collapse_that_one_round_has() -> None:
    """At 12 of 67 weights its rounds keep every layer; theorem 3 of the paper."""
    assert SynFlow().rounds == 100
    scores = SynFlow().scores(MaskedEngine, setup_of(), ROWS, 12)
    keep = keep_largest_of_all(scores, 12)
    assert sum(int(mask.sum()) for mask in keep) == 12
    chosen = [np.flatnonzero(mask) for mask in keep]
    assert all((layer[own] > 0).all() for layer, own in zip(scores, chosen, strict=True))


@pytest.mark.parametrize("keep", [3, 12, 40, 67])
def test_synflows_rounds_are_those_of_algorithm_1(keep: int) -> None:
    """Written out over all positions, sorted: of what is left a round keeps density^(k / 100)."""
    setup = setup_of()
    left = np.concatenate([np.abs(values.astype(np.float64)) for values in setup.values])
    ends = np.cumsum(NETWORK.sizes)[:-1]
    for number in range(1, 100):
        scores = np.concatenate(flow(NETWORK, np.split(left, ends)))
        count = max(keep, round((keep / len(left)) ** (number / 100) * len(left)))
        left[np.argsort(-scores, kind="stable")[count:]] = 0.0
    expected = np.concatenate(flow(NETWORK, np.split(left, ends)))
    expected[left == 0.0] = -1.0
    scores = np.concatenate(SynFlow().scores(MaskedEngine, setup, ROWS, keep))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_the_passes_are_those_of_the_formulas() -> None:
    assert Snip().passes(64) == 3 * 64
    assert Grasp().passes(64) == 9 * 64
    assert SynFlow().passes(64) == 300


@SALIENCIES
def test_a_mask_by_saliency_meets_the_budget_and_is_paid_for(saliency: Saliency) -> None:
    topology = Topology(first_mask=MostSalient(saliency))
    outcome, seen, watched = toy_run(topology, training_samples=500)
    assert sum(map(len, seen[0])) == 60 == outcome.final_weights
    rows = 16 if saliency.looks_at_data else 0
    assert outcome.samples == 500
    assert sum(len(r) for r in watched.rows) == 500 - rows
    dense = 2 * outcome.total_weights
    expected = saliency.passes(16) * dense + 3 * 2 * 60 * (500 - rows)
    assert outcome.training_flops == pytest.approx(expected)
    again, _, _ = toy_run(topology, training_samples=500)
    assert all((a == b).all() for a, b in zip(outcome.active, again.active, strict=True))


def test_only_synflow_looks_at_no_data() -> None:
    assert Snip().looks_at_data and Grasp().looks_at_data and not SynFlow().looks_at_data


@SALIENCIES
@pytest.mark.parametrize("scaling", [Scaling.NONE, Scaling.LAYER], ids=str)
def test_the_weights_that_were_chosen_are_those_that_were_scored(
    saliency: Saliency, scaling: Scaling
) -> None:
    still: Recipe = replace(
        PLAIN,
        optimizer=Optimizer(weight_decay=1e-9),
        learning_rate=LearningRate(initial=1e-9),
        initial_weights=InitialWeights(scaling=scaling),
    )
    outcome, _, _ = toy_run(Topology(first_mask=MostSalient(saliency)), still, seed=3)
    network = toy_network(still)
    everything = [np.arange(size) for size in network.sizes]
    drawn = UNSCALED.draw(network, everything, streams(3).weights)
    for positions, dense, weights in zip(outcome.active, drawn, outcome.weights, strict=True):
        assert weights == pytest.approx(dense[positions], abs=1e-6)


@SALIENCIES
def test_a_convolutional_network_can_be_scored(saliency: Saliency) -> None:
    network = convolutional("lenet5", 256, 4, 0.2)
    rng = np.random.default_rng(0)
    everything = [np.arange(size) for size in network.sizes]
    setup = Setup(
        network=network,
        optimizer=Optimizer(),
        active=everything,
        values=UNSCALED.draw(network, everything, rng),
        budget=network.size,
        train_x=rng.standard_normal((8, 256), dtype=np.float32),
        train_y=np.arange(8) % 4,
    )
    scores = saliency.scores(MaskedEngine, setup, np.arange(8), 100)
    assert [len(layer) for layer in scores] == list(network.sizes)
    assert all(np.isfinite(layer).all() for layer in scores)
