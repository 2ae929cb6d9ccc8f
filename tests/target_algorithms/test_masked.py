"""The masked engine against numpy, finite differences and torch's own optimisers."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from target_algorithms.engine import Diverged, LayerChange, Segment
from target_algorithms.masked import MaskedEngine
from target_algorithms.networks import ALL_RELU_SLOPE, LEAKY_RELU_SLOPE, Network, initial_weights
from target_algorithms.topology import Positions, random_positions
from tests.target_algorithms.cases import toy_split

SPLIT = toy_split()
ROWS = np.arange(20)


def build(
    activation: str = "relu",
    optimizer: str = "sgd_nesterov",
    density: float = 0.5,
    weight_decay: float = 0.01,
) -> tuple[MaskedEngine, Network, list[Positions]]:
    network = Network((7, 12, 8, 3), activation)
    rng = np.random.default_rng(3)
    active = [random_positions(size, int(density * size), rng) for size in network.sizes]
    engine = MaskedEngine(
        network,
        optimizer=optimizer,
        momentum=0.9,
        weight_decay=weight_decay,
        active=active,
        values=initial_weights(network, active, "layer", rng),
        budget=sum(map(len, active)),
        train_x=SPLIT.train_x,
        train_y=SPLIT.train_y,
    )
    return engine, network, active


def matrices(
    engine: MaskedEngine, network: Network, active: list[Positions]
) -> list[NDArray[np.float64]]:
    dense = []
    for layer, shape in enumerate(network.shapes):
        flat = np.zeros(math.prod(shape))
        flat[active[layer]] = engine.weights(layer)
        dense.append(flat.reshape(shape))
    return dense


def activate(values: NDArray[np.float64], kind: str, layer: int) -> NDArray[np.float64]:
    if kind == "gelu":
        return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))
    slope = {
        "relu": 0.0,
        "leaky_relu": LEAKY_RELU_SLOPE,
        # Curci et al.: -alpha, +alpha, -alpha, ... from the first hidden layer on.
        "all_relu": [-ALL_RELU_SLOPE, ALL_RELU_SLOPE][layer % 2],
    }[kind]
    return np.where(values > 0, values, slope * values)


def loss(weights: list[NDArray[np.float64]], biases: list[NDArray[np.float32]], kind: str) -> float:
    """Mean cross-entropy on ROWS, in double precision and without torch."""
    values = SPLIT.train_x[ROWS].astype(np.float64)
    for layer, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        values = values @ matrix.T + bias
        if layer < len(weights) - 1:
            values = activate(values, kind, layer)
    values -= values.max(axis=1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(ROWS)), SPLIT.train_y[ROWS]].mean())


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "all_relu", "gelu"])
def test_the_growth_gradient_is_that_of_finite_differences_at_inactive_weights(
    activation: str,
) -> None:
    engine, network, active = build(activation)
    engine.train(Segment(np.arange(40), [20, 20], [0.05, 0.05]))  # biases that are not zero
    weights = matrices(engine, network, active)
    biases = [engine.biases(layer) for layer in range(3)]
    gradients = [layer.copy() for layer in engine.dense_gradients(ROWS)]
    epsilon = 1e-6
    largest = 0.0
    for layer in range(3):
        inactive = np.setdiff1d(np.arange(network.sizes[layer]), active[layer])
        for position in inactive[:: max(1, len(inactive) // 12)]:
            place = np.unravel_index(position, network.shapes[layer])
            assert weights[layer][place] == 0.0
            weights[layer][place] = epsilon
            above = loss(weights, biases, activation)
            weights[layer][place] = -epsilon
            below = loss(weights, biases, activation)
            weights[layer][place] = 0.0
            slope = (above - below) / (2 * epsilon)
            assert gradients[layer][place] == pytest.approx(slope, abs=2e-6, rel=1e-3)
            largest = max(largest, abs(slope))
    assert largest > 0.01  # the comparison was not one of zeros


@pytest.mark.parametrize("optimizer", ["sgd_heavy_ball", "sgd_nesterov", "adamw"])
@pytest.mark.parametrize("density", [1.0, 0.5])
def test_steps_are_those_of_torchs_optimisers(optimizer: str, density: float) -> None:
    """Biases are not decayed; inactive weights are held at zero after every step."""
    engine, network, active = build("gelu", optimizer, density, weight_decay=0.02)
    dense = matrices(engine, network, active)
    weights = [torch.tensor(matrix, dtype=torch.float32).requires_grad_() for matrix in dense]
    masks = []
    for layer, shape in enumerate(network.shapes):
        mask = np.zeros(math.prod(shape), dtype=np.float32)
        mask[active[layer]] = 1.0
        masks.append(torch.from_numpy(mask.reshape(shape)))
    biases = [torch.zeros(shape[0], requires_grad=True) for shape in network.shapes]
    groups = [{"params": weights, "weight_decay": 0.02}, {"params": biases, "weight_decay": 0.0}]
    theirs: torch.optim.Optimizer
    if optimizer == "adamw":
        theirs = torch.optim.AdamW(groups, lr=0.01)
    else:
        nesterov = optimizer == "sgd_nesterov"
        theirs = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=nesterov)
    x, y = torch.from_numpy(SPLIT.train_x), torch.from_numpy(SPLIT.train_y)
    for step in range(12):
        rows = np.arange(step * 5, step * 5 + 5)
        engine.train(Segment(rows, [5], [0.01]))
        values = x[rows]
        for layer in range(3):
            values = torch.nn.functional.linear(
                values, weights[layer] * masks[layer], biases[layer]
            )
            values = torch.nn.functional.gelu(values) if layer < 2 else values
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(values, y[rows]).backward()
        theirs.step()
    for layer in range(3):
        expected = weights[layer].detach().numpy().reshape(-1)[active[layer]]
        np.testing.assert_allclose(engine.weights(layer), expected, rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(
            engine.biases(layer), biases[layer].detach().numpy(), rtol=2e-4, atol=2e-6
        )


@pytest.mark.parametrize("optimizer", ["sgd_heavy_ball", "adamw"])
def test_inactive_weights_and_their_state_are_zero_after_every_step(optimizer: str) -> None:
    engine, network, active = build(optimizer=optimizer)
    inactive = np.ones(sum(network.sizes), dtype=np.bool_)
    for start, positions in zip(np.cumsum([0, *network.sizes]), active, strict=False):
        inactive[start + positions] = False
    for step in range(5):
        engine.train(Segment(np.arange(step, step + 9), [9], [0.1]))
        for values in (engine._weights, *engine._weight_state):
            assert not values[inactive].any()
            assert values[~inactive].any()


def test_predictions_are_those_of_the_weights() -> None:
    engine, network, active = build()
    engine.train(Segment(np.arange(40), [20, 20], [0.1, 0.1]))
    values = SPLIT.judge_x.astype(np.float64)
    for layer, matrix in enumerate(matrices(engine, network, active)):
        values = values @ matrix.T + engine.biases(layer)
        values = activate(values, "relu", layer) if layer < 2 else values
    assert engine.predict(SPLIT.judge_x).tolist() == values.argmax(axis=1).tolist()


def test_a_step_that_uses_more_weights_than_the_budget_is_a_fault() -> None:
    engine, _, active = build()
    free = np.setdiff1d(np.arange(84), active[0])[0]
    engine._weight_mask[free] = 1.0  # what a wrong update would do
    with pytest.raises(AssertionError, match="the budget is"):
        engine.train(Segment(np.arange(60), [20, 20, 20], [0.1] * 3))


def test_an_update_that_changes_a_layers_count_is_a_fault() -> None:
    engine, _, active = build()
    nothing = np.zeros(0, dtype=np.int64)
    wrong = LayerChange(active[0][1:], active[0][:1], nothing, np.zeros(0, dtype=np.float32))
    rest = [
        LayerChange(positions, nothing, nothing, np.zeros(0, dtype=np.float32))
        for positions in active[1:]
    ]
    with pytest.raises(AssertionError, match="layer count"):
        engine.apply([wrong, *rest])


def test_weights_that_are_not_finite_are_reported_as_divergence() -> None:
    engine, _, _ = build()
    with pytest.raises(Diverged):
        engine.train(Segment(np.arange(60), [10] * 6, [1e30] * 6))
