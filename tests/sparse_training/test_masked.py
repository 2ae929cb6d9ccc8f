"""The masked engine against numpy, finite differences and torch's own optimisers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse_training.engines.interface import (
    SGD,
    AdamW,
    BudgetExceeded,
    Decay,
    Diverged,
    LayerChange,
    Optimizer,
    Segment,
    Setup,
)
from sparse_training.engines.masked import MaskedEngine, _device
from sparse_training.errors import BadInput
from sparse_training.networks.activations import (
    GELU,
    SRELU_START,
    Activation,
    AllReLU,
    LeakyReLU,
    ReLU,
    SReLU,
)
from sparse_training.networks.convolutional import ARCHITECTURES, convolutional
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network, Norm
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.positions import Positions, random_positions
from tests.sparse_training.cases import toy_split

SPLIT = toy_split()
ROWS = np.arange(20)


def build(
    density: float = 0.5, optimizer: Optimizer | None = None, **network: Any
) -> tuple[MaskedEngine, Network, list[Positions]]:
    shape = Network(layers=perceptron_layers((7, 12, 8, 3)), **network)
    rng = np.random.default_rng(3)
    active = [random_positions(size, int(density * size), rng) for size in shape.sizes]
    setup = Setup(
        network=shape,
        optimizer=optimizer or Optimizer(weight_decay=0.01),
        active=active,
        values=InitialWeights().draw(shape, active, rng),
        budget=sum(map(len, active)),
        train_x=SPLIT.train_x,
        train_y=SPLIT.train_y,
        seed=11,
    )
    return MaskedEngine(setup), shape, active


def matrices(
    engine: MaskedEngine, network: Network, active: list[Positions]
) -> list[NDArray[np.float64]]:
    dense = []
    for layer, shape in enumerate(network.shapes):
        flat = np.zeros(math.prod(shape))
        flat[active[layer]] = engine.weights(layer)
        dense.append(flat.reshape(shape))
    return dense


def activate(values: NDArray[np.float64], kind: Activation, layer: int) -> NDArray[np.float64]:
    if kind == GELU():
        erf: NDArray[np.float64] = np.vectorize(math.erf)(values / math.sqrt(2))
        return values * 0.5 * (1 + erf)
    if kind == SReLU():
        left, left_slope, right, right_slope = SRELU_START
        low, high = left + left_slope * (values - left), right + right_slope * (values - right)
        return np.where(values <= left, low, np.where(values >= right, high, values))
    slopes: dict[Activation, float] = {
        ReLU(): 0.0,
        LeakyReLU(): 0.01,
        # Curci et al.: -alpha, +alpha, -alpha, ... from the first hidden layer on.
        AllReLU(): [-0.6, 0.6][layer % 2],
    }
    return np.where(values > 0, values, slopes[kind] * values)


def normalise(values: NDArray[np.float64], kind: Norm) -> NDArray[np.float64]:
    if kind is Norm.NONE:
        return values
    axis = 0 if kind is Norm.BATCH else 1
    mean, variance = values.mean(axis, keepdims=True), values.var(axis, keepdims=True)
    normalised: NDArray[np.float64] = (values - mean) / np.sqrt(variance + 1e-5)
    return normalised


def loss(
    weights: list[NDArray[np.float64]],
    biases: list[NDArray[np.float32]],
    activation: Activation,
    norm: Norm = Norm.NONE,
    smoothing: float = 0.0,
) -> float:
    """Mean cross-entropy on ROWS, in double precision and without torch."""
    values = SPLIT.train_x[ROWS].astype(np.float64)
    for layer, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        values = values @ matrix.T + bias
        if layer < len(weights) - 1:
            values = activate(normalise(values, norm), activation, layer)
    values -= values.max(axis=1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    own = logs[np.arange(len(ROWS)), SPLIT.train_y[ROWS]]
    return float(-((1 - smoothing) * own + smoothing * logs.mean(axis=1)).mean())


@pytest.mark.parametrize(
    ("activation", "norm", "smoothing"),
    [
        (ReLU(), Norm.NONE, 0.0),
        (LeakyReLU(), Norm.NONE, 0.1),
        (AllReLU(), Norm.NONE, 0.0),
        (SReLU(), Norm.NONE, 0.0),
        (GELU(), Norm.BATCH, 0.0),
        (GELU(), Norm.LAYER, 0.0),
    ],
)
def test_the_growth_gradient_is_that_of_finite_differences_at_inactive_weights(
    activation: Activation, norm: Norm, smoothing: float
) -> None:
    engine, network, active = build(activation=activation, norm=norm, label_smoothing=smoothing)
    if norm is Norm.NONE and activation != SReLU():  # biases that are not zero
        engine.train(Segment(np.arange(40), [20, 20], [0.05, 0.05]))
    weights = matrices(engine, network, active)
    biases = [engine.biases(layer) for layer in range(3)]
    gradients = engine.gradients(ROWS)
    epsilon, largest = 1e-6, 0.0
    for layer in range(3):
        inactive = np.setdiff1d(np.arange(network.sizes[layer]), active[layer])
        for position in inactive[:: max(1, len(inactive) // 12)]:
            place = np.unravel_index(position, network.shapes[layer])
            assert weights[layer][place] == 0.0
            weights[layer][place] = epsilon
            above = loss(weights, biases, activation, norm, smoothing)
            weights[layer][place] = -epsilon
            below = loss(weights, biases, activation, norm, smoothing)
            weights[layer][place] = 0.0
            slope = (above - below) / (2 * epsilon)
            ours = gradients.at(layer, np.array([position]))[0]
            assert ours == pytest.approx(slope, abs=2e-6, rel=1e-3)
            largest = max(largest, abs(slope))
    assert largest > 0.01  # the comparison was not one of zeros


STEPS = [
    Optimizer(rule=SGD(nesterov=False), weight_decay=0.02),
    Optimizer(rule=SGD(nesterov=True), weight_decay=0.02),
    Optimizer(rule=SGD(nesterov=True), weight_decay=0.02, decay_biases=True),
    Optimizer(rule=AdamW(), weight_decay=0.02),
    Optimizer(rule=AdamW(beta2=0.95), weight_decay=0.02, decay_biases=True),
]


@pytest.mark.parametrize("optimizer", STEPS, ids=str)
@pytest.mark.parametrize("density", [1.0, 0.5])
def test_steps_are_those_of_torchs_optimisers(optimizer: Optimizer, density: float) -> None:
    """Inactive weights are held at zero after every step."""
    engine, network, active = build(density, optimizer, activation=GELU())
    dense = matrices(engine, network, active)
    weights = [torch.tensor(matrix, dtype=torch.float32).requires_grad_() for matrix in dense]
    masks = []
    for layer, shape in enumerate(network.shapes):
        mask = np.zeros(math.prod(shape), dtype=np.float32)
        mask[active[layer]] = 1.0
        masks.append(torch.from_numpy(mask.reshape(shape)))
    biases = [torch.zeros(shape[0], requires_grad=True) for shape in network.shapes]
    of_biases = 0.02 if optimizer.decay_biases else 0.0
    groups = [
        {"params": weights, "weight_decay": 0.02},
        {"params": biases, "weight_decay": of_biases},
    ]
    theirs: torch.optim.Optimizer
    rule = optimizer.rule
    if isinstance(rule, AdamW):
        theirs = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, rule.beta2))
    else:
        theirs = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=rule.nesterov)
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
        torch.autograd.backward(torch.nn.functional.cross_entropy(values, y[rows]))
        theirs.step()
    for layer in range(3):
        expected = weights[layer].detach().numpy().reshape(-1)[active[layer]]
        np.testing.assert_allclose(engine.weights(layer), expected, rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(
            engine.biases(layer), biases[layer].detach().numpy(), rtol=2e-4, atol=2e-6
        )


@pytest.mark.parametrize(
    ("kind", "factor"), [(Decay.DECOUPLED, 1 - 0.1 * 0.02), (Decay.INDEPENDENT, 1 - 0.02)]
)
def test_decay_past_the_momentum_shrinks_the_weight_before_the_step(
    kind: Decay, factor: float
) -> None:
    plain, network, active = build(optimizer=Optimizer(weight_decay=0.0))
    decayed, _, _ = build(optimizer=Optimizer(rule=SGD(decay=kind), weight_decay=0.02))
    before = [plain.weights(layer) for layer in range(3)]
    for engine in (plain, decayed):
        engine.train(Segment(ROWS, [20], [0.1]))
    for layer in range(3):
        moved = plain.weights(layer) - before[layer]
        np.testing.assert_allclose(
            decayed.weights(layer), factor * before[layer] + moved, rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("optimizer", STEPS[::2], ids=str)
def test_inactive_weights_and_their_state_are_zero_after_every_step(optimizer: Optimizer) -> None:
    engine, network, active = build(optimizer=optimizer)
    inactive = np.ones(sum(network.sizes), dtype=np.bool_)
    for start, positions in zip(np.cumsum([0, *network.sizes]), active, strict=False):
        inactive[start + positions] = False
    for step in range(5):
        engine.train(Segment(np.arange(step, step + 9), [9], [0.1]))
        for buffer in (engine._flat, *engine._state):
            values = buffer.detach().numpy()[: len(inactive)]
            assert not values[inactive].any()
            assert values[~inactive].any()


def test_a_dense_state_follows_the_gradient_where_there_is_no_weight() -> None:
    """SNFS: m = beta m + g everywhere, weights only where they are active, no decay elsewhere."""
    rule = SGD(momentum=0.5, nesterov=False)
    optimizer = Optimizer(rule=rule, weight_decay=0.1, dense_state=True)
    engine, network, active = build(optimizer=optimizer)
    expected = np.zeros(network.sizes[0])
    inactive = np.setdiff1d(np.arange(network.sizes[0]), active[0])
    for step in range(4):
        rows = np.arange(step, step + 9)
        gradient = engine.gradients(rows).dense(0).copy()
        engine.train(Segment(rows, [9], [0.1]))
        expected = 0.5 * expected + gradient
    momenta = engine.dense_momenta().at(0, inactive)
    np.testing.assert_allclose(momenta, expected[inactive], rtol=1e-5, atol=1e-7)
    assert not engine._flat.detach().numpy()[: network.sizes[0]][inactive].any()
    adamw, network, active = build(optimizer=Optimizer(rule=AdamW(), dense_state=True))
    adamw.train(Segment(ROWS, [20], [0.1]))
    first, second = (state.numpy()[: network.sizes[0]] for state in adamw._state)
    scores = adamw.dense_momenta()
    np.testing.assert_allclose(scores.dense(0), first / (np.sqrt(second) + 1e-8), rtol=1e-5)
    for layer, positions in enumerate(active):  # what shares out looks at the same as what ranks
        assert adamw.momenta(layer).tolist() == scores.at(layer, positions).tolist()


def test_without_a_dense_state_there_is_no_momentum_of_inactive_weights() -> None:
    with pytest.raises(BadInput, match="needs a dense optimiser state"):
        build()[0].dense_momenta()


@pytest.mark.parametrize("norm", Norm, ids=str)
def test_predictions_are_those_of_the_weights(norm: Norm) -> None:
    engine, network, active = build(norm=norm)
    # Many steps at rate zero: the running statistics become those of the batch.
    engine.train(Segment(np.tile(ROWS, 200), [20] * 200, [0.0] * 200))
    values = training = SPLIT.train_x[ROWS].astype(np.float64)
    for layer, matrix in enumerate(matrices(engine, network, active)):
        values, training = (v @ matrix.T + engine.biases(layer) for v in (values, training))
        if layer == 2:
            continue
        if norm is Norm.BATCH:  # evaluation has the mean and the unbiased variance of training
            mean, variance = training.mean(0), training.var(0, ddof=1)
            values = (values - mean) / np.sqrt(variance + 1e-5)
        else:
            values = normalise(values, norm)
        training = activate(normalise(training, norm), ReLU(), layer)
        values = activate(values, ReLU(), layer)
    np.testing.assert_allclose(engine.logits(SPLIT.train_x[ROWS]), values, rtol=1e-3, atol=1e-5)


def test_dropout_is_in_training_only_and_the_gradient_sees_the_next_steps_masks() -> None:
    engine, _, _ = build(dropout=0.5)
    assert (engine.logits(SPLIT.eval_x) == engine.logits(SPLIT.eval_x)).all()
    first = engine.gradients(ROWS).dense(0).copy()
    assert (engine.gradients(ROWS).dense(0) == first).all()
    engine.train(Segment(ROWS, [20], [0.0]))
    assert not np.array_equal(engine.gradients(ROWS).dense(0), first)


def test_sparseopts_correction_scales_by_a_neurons_part_of_the_density() -> None:
    rule = SGD(momentum=0.0, nesterov=False)
    plain, network, active = build(
        optimizer=Optimizer(rule=rule, weight_decay=0.0), norm=Norm.LAYER
    )
    corrected, _, _ = build(
        optimizer=Optimizer(rule=rule, weight_decay=0.0, gradient_correction=True),
        norm=Norm.LAYER,
    )
    before = [plain.weights(layer) for layer in range(3)]
    for engine in (plain, corrected):
        engine.train(Segment(ROWS, [20], [0.1]))
    counts = np.bincount(active[0] // 7, minlength=12)
    factor = np.sqrt(counts / counts.mean())[active[0] // 7]
    np.testing.assert_allclose(
        corrected.weights(0) - before[0],
        factor * (plain.weights(0) - before[0]),
        rtol=1e-3,
        atol=1e-7,
    )
    np.testing.assert_allclose(corrected.weights(2), plain.weights(2), rtol=1e-6)  # not normalised


def test_a_step_that_uses_more_weights_than_the_budget_is_a_fault() -> None:
    engine, _, active = build()
    free = np.setdiff1d(np.arange(84), active[0])[0]
    engine._mask[free] = 1.0  # what a wrong update would do
    with pytest.raises(BudgetExceeded, match="weights in use, the budget is"):
        engine.train(Segment(np.arange(60), [20, 20, 20], [0.1] * 3))


def unchanged(active: list[Positions]) -> list[LayerChange]:
    nothing, values = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    return [LayerChange(positions, nothing, nothing, values) for positions in active]


def test_a_weight_where_the_mask_has_none_is_a_fault() -> None:
    engine, _, active = build()
    free = np.setdiff1d(np.arange(84), active[0])[0]
    engine.apply(unchanged(active))
    for buffer in (engine._flat, engine._state[0]):
        buffer.detach().numpy()[free] = 1.0  # what a wrong step would do
        with pytest.raises(BudgetExceeded, match="an inactive weight, or its optimiser state, is"):
            engine.apply(unchanged(active))
        buffer.detach().numpy()[free] = 0.0
    engine._mask[free] = 1.0
    with pytest.raises(BudgetExceeded, match="positions and mask disagree"):
        engine.apply(unchanged(active))


def test_a_mask_over_the_budget_is_a_fault() -> None:
    engine, _, active = build()
    nothing, changes = np.zeros(0, dtype=np.int64), unchanged(active)
    grown = np.setdiff1d(np.arange(84), active[0])[:1]
    more = np.sort(np.concatenate([active[0], grown]))
    changes[0] = LayerChange(more, nothing, grown, np.ones(1, dtype=np.float32))
    with pytest.raises(BudgetExceeded, match="active weights, the budget is"):
        engine.apply(changes)


def test_weights_that_are_not_finite_are_reported_as_divergence() -> None:
    engine, _, _ = build()
    with pytest.raises(Diverged):
        engine.train(Segment(np.arange(60), [10] * 6, [1e30] * 6))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_convolutional_networks_train_and_keep_their_masks(name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    images = rng.standard_normal((24, 1, 16, 16)).astype(np.float32) * 0.1
    for row, label in enumerate(labels):
        images[row, 0, 5 * label : 5 * label + 4] += 1.0  # a bright band in another place
    network = convolutional(name, 256, 3, 0.5, norm=Norm.BATCH, dropout=0.1)
    active = [random_positions(size, max(1, size // 4), rng) for size in network.sizes]
    engine = MaskedEngine(
        Setup(
            network=network,
            optimizer=Optimizer(weight_decay=0.0),
            active=active,
            values=InitialWeights().draw(network, active, rng),
            budget=sum(map(len, active)),
            train_x=images.reshape(24, 256),
            train_y=labels,
        )
    )
    order = np.concatenate([rng.permutation(24) for _ in range(25)])
    engine.train(Segment(order, [12] * 50, [0.02] * 50))
    assert (engine.logits(images.reshape(24, 256)).argmax(axis=1) == labels).mean() > 0.9


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build()[0].name == "masked"
    with pytest.raises(BadInput, match="cuda was asked for, but PyTorch finds none"):
        _device("cuda")
