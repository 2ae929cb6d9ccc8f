"""How fast is the truly sparse engine? Ratios against masks over dense PyTorch, in one run.

    python -m benchmarks.engines                  # the table; about 10 minutes on one core
    python -m benchmarks.engines --cases wide     # one case
    python -m benchmarks.engines --scale 100000 1000000   # SET with one hidden layer of that width

The peer is masked training written as well as PyTorch allows on a CPU: nn.Linear, fused
torch.optim.SGD, one in-place multiplication of the weights by the mask a layer after the step (what
the momentum holds elsewhere changes nothing, so it is not masked). Same network, same initial
weights, same batches, same learning rate, one thread, CPU time, both in turn in one process; the
ratio is the median over the rounds of paired ratios. After all steps the losses must agree to 3
decimals, or the benchmark fails. With `sparselab` (PyPI) installed its SparseLinear layers are
timed in the same rounds.
"""

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sparse_training.data.instances import load
from sparse_training.engines.interface import (
    SGD,
    Engine,
    Gradients,
    LayerChange,
    Optimizer,
    Segment,
    Setup,
)
from sparse_training.engines.sparse import SparseEngine
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.positions import Positions, no_positions, random_positions
from sparse_training.rules.grow import Sources
from sparse_training.rules.topology import Updates
from sparse_training.rules.update import Memory, update
from sparse_training.rules.view import LayerView, View
from target_algorithms import variant
from target_algorithms.trial import configured
from wrappers.space import variant_space

LEARNING_RATE = 0.01
MOMENTUM = 0.9


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    widths: tuple[int, ...]
    density: float
    at_least: float
    aim: float
    batch: int = 128
    steps: int = 10
    """Steps a round."""


CASES = {
    "deep": (
        Case((784, 1000, 1000, 1000, 10), 0.1, 5, 7),
        Case((784, 1000, 1000, 1000, 10), 0.05, 9, 12),
        Case((784, 1000, 1000, 1000, 10), 0.01, 22, 30),
    ),
    "wide": (
        Case((3072, 4000, 1000, 4000, 10), 0.05, 7, 9, steps=4),
        Case((3072, 4000, 1000, 4000, 10), 0.01, 18, 25, steps=4),
    ),
}


class MaskedPeer:
    """Masks over dense PyTorch; the comparison that a fair reader would write."""

    def __init__(self, setup: Setup) -> None:
        layers: list[torch.nn.Module] = []
        self._masks: list[tuple[torch.Tensor, torch.Tensor]] = []
        for layer, active, values in zip(
            setup.network.layers, setup.active, setup.values, strict=True
        ):
            linear = torch.nn.Linear(layer.fan_in, layer.neurons)
            mask, weight = np.zeros((2, layer.size), dtype=np.float32)
            mask[active], weight[active] = 1.0, values
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight.reshape(layer.shape)))
                linear.bias.zero_()
            self._masks.append((linear.weight, torch.from_numpy(mask.reshape(layer.shape))))
            layers += [linear, torch.nn.ReLU()]
        self._model = torch.nn.Sequential(*layers[:-1])
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
        )
        self._x, self._y = torch.from_numpy(setup.train_x), torch.from_numpy(setup.train_y)

    def train(self, segment: Segment) -> None:
        rows = torch.from_numpy(segment.rows)
        for batch in torch.split(rows, list(segment.sizes)):
            loss = F.cross_entropy(self._model(self._x[batch]), self._y[batch])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            with torch.no_grad():
                for weight, mask in self._masks:
                    weight.mul_(mask)

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            values: NDArray[np.float32] = self._model(torch.from_numpy(rows)).numpy()
        return values


class SparselabPeer:
    """sparselab's layers in the same loop; its own random masks of the same density."""

    def __init__(self, setup: Setup, density: float) -> None:
        import sparselab

        layers: list[torch.nn.Module] = []
        for layer in setup.network.layers:
            layers += [
                sparselab.SparseLinear(layer.fan_in, layer.neurons, sparsity=1.0 - density),
                torch.nn.ReLU(),
            ]
        self._model = torch.nn.Sequential(*layers[:-1])
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM
        )
        self._x, self._y = torch.from_numpy(setup.train_x), torch.from_numpy(setup.train_y)

    def train(self, segment: Segment) -> None:
        rows = torch.from_numpy(segment.rows)
        for batch in torch.split(rows, list(segment.sizes)):
            loss = F.cross_entropy(self._model(self._x[batch]), self._y[batch])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()


def setup_of(
    widths: Sequence[int], density: float, train_x: NDArray[np.float32], train_y: NDArray[np.int64]
) -> Setup:
    """All layers at the same density, He initialised for the active weights."""
    rng = np.random.default_rng(0)
    network = Network(layers=perceptron_layers(widths))
    counts = [max(1, round(density * size)) for size in network.sizes]
    active = [
        random_positions(size, count, rng)
        for size, count in zip(network.sizes, counts, strict=True)
    ]
    return Setup(
        network=network,
        optimizer=Optimizer(rule=SGD(momentum=MOMENTUM, nesterov=False), weight_decay=0.0),
        active=active,
        values=InitialWeights().draw(network, active, rng),
        budget=sum(counts),
        train_x=train_x,
        train_y=train_y,
    )


def synthetic(inputs: int, rows: int = 2048) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gaussian features and classes that depend on them."""
    rng = np.random.default_rng(1)
    train_x = rng.standard_normal((rows, inputs), dtype=np.float32)
    scores = train_x[:, :64] @ rng.standard_normal((min(64, inputs), 10), dtype=np.float32)
    return train_x, scores.argmax(axis=1)


def segment_of(rows: int, batch: int, steps: int, number: int) -> Segment:
    """Random batches, the same ones for the same number."""
    drawn = np.random.default_rng(number).integers(rows, size=batch * steps)
    return Segment(drawn, [batch] * steps, [LEARNING_RATE] * steps)


def seconds(function: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def loss_of(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Mean cross entropy."""
    return float(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(classes)))


def steps(case: Case, rounds: int) -> str:
    """Times training steps; a line of the table."""
    train_x, train_y = synthetic(case.widths[0])
    setup = setup_of(case.widths, case.density, train_x, train_y)
    sparse, masked = SparseEngine(setup), MaskedPeer(setup)
    other = SparselabPeer(setup, case.density) if util.find_spec("sparselab") else None
    ratios, own, peer, lab = [], [], [], []
    for number in range(rounds + 1):
        segment = segment_of(len(train_y), case.batch, case.steps, number)
        fast = seconds(lambda: sparse.train(segment))  # noqa: B023
        slow = seconds(lambda: masked.train(segment))  # noqa: B023
        third = seconds(lambda: other.train(segment)) if other else float("nan")  # noqa: B023
        if number:  # the first round warms up
            ratios.append(slow / fast)
            own.append(fast / case.steps)
            peer.append(slow / case.steps)
            lab.append(third / fast)
    one, two = (loss_of(e.logits(train_x), train_y) for e in (sparse, masked))
    if round(abs(one - two), 3) > 0.001:
        sys.exit(f"{case}: the losses differ: {one:.5f} sparse, {two:.5f} masked")
    return (
        f"| {'-'.join(map(str, case.widths))} | {case.density} | {statistics.median(own) * 1e3:.2f}"
        f" | {statistics.median(peer) * 1e3:.2f} | {statistics.median(ratios):.1f}"
        f" ({min(ratios):.1f} to {max(ratios):.1f}) | {case.at_least:g} / {case.aim:g}"
        f" | {statistics.median(lab):.1f} | {rounds} | {one:.3f} = {two:.3f} |"
    )


def digits(rounds: int) -> str:
    """Whole runs on digits, the construction of the engine included."""
    split = load("sklearn/digits/0")
    epochs, batch = 50, 64
    rows = len(split.train_y)
    order = np.concatenate([np.random.default_rng(e).permutation(rows) for e in range(epochs)])
    sizes = ([batch] * (rows // batch) + [rows % batch] * (rows % batch > 0)) * epochs
    segment = Segment(order, sizes, [LEARNING_RATE] * len(sizes))
    setup = setup_of((64, 256, 256, 10), 0.1, split.train_x, split.train_y)
    ratios, own, peer, losses = [], [], [], []
    for _ in range(rounds):
        trained: dict[str, SparseEngine | MaskedPeer] = {}

        def whole(name: str, make: Callable[[Setup], SparseEngine | MaskedPeer]) -> None:
            trained[name] = make(setup)  # noqa: B023
            trained[name].train(segment)  # noqa: B023

        own.append(seconds(lambda: whole("sparse", SparseEngine)))  # noqa: B023
        peer.append(seconds(lambda: whole("masked", MaskedPeer)))  # noqa: B023
        ratios.append(peer[-1] / own[-1])
        losses = [loss_of(e.logits(split.train_x), split.train_y) for e in trained.values()]
    if round(abs(losses[0] - losses[1]), 3) > 0.001:
        sys.exit(f"digits: the losses differ: {losses}")
    return (
        f"| digits, 64-256-256-10, 50 epochs of {rows} rows | 0.1"
        f" | {statistics.median(own) * 1e3:.0f} a run | {statistics.median(peer) * 1e3:.0f} a run"
        f" | {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | 15 / 20"
        f" | | {rounds} | {losses[0]:.3f} = {losses[1]:.3f} |"
    )


def rules_of(name: str) -> Updates:
    """The rules of a variant at its default."""
    chosen = variant(name)
    config = variant_space(chosen).fixed({"density_path": "constant"}).default
    rules = configured(chosen, config)[0].updates
    if rules is None:
        raise ValueError(f"{name} never updates its mask")
    return rules


def evolve(
    engine: Engine,
    setup: Setup,
    active: list[Positions],
    rules: Updates,
    gradients: Gradients | None,
) -> None:
    """One update of all layers at a drop fraction of .3, the rules in numpy included."""
    layers = [
        LayerView(
            number=number,
            layer=layer,
            active=active[number],
            weights=engine.weights(number),
            ever_active=partial(active.__getitem__, number),
            new=no_positions(),
            movable=np.ones(len(active[number]), dtype=np.bool_),
            gradients=gradients,
        )
        for number, layer in enumerate(setup.network.layers)
    ]
    changes, _ = update(
        rules,
        View(layers),
        Sources(len(layers), gradients, None),
        fraction=0.3,
        target=setup.budget,
        memory=Memory(),
        rng=np.random.default_rng(0),
    )
    engine.apply(
        [
            LayerChange(c.active, c.dropped, c.new, np.zeros(len(c.new), dtype=np.float32))
            for c in changes
        ]
    )
    active[:] = [change.active for change in changes]


def rigl_update(engine: Engine, setup: Setup, active: list[Positions], number: int) -> None:
    """An update of RigL, on a batch of its own."""
    gradients = engine.gradients(np.random.default_rng(number).integers(2048, size=128))
    evolve(engine, setup, active, rules_of("rigl"), gradients)


def updates(density: float, most: int, aim: int, rounds: int) -> str:
    """The part of a RigL update in 100 sparse steps, 1000x1000 layers."""
    train_x, train_y = synthetic(1000)
    setup = setup_of((1000, 1000, 1000, 10), density, train_x, train_y)
    engine = SparseEngine(setup)
    active = [positions.copy() for positions in setup.active]
    shares, cost = [], []
    for number in range(rounds + 1):
        segment = segment_of(len(train_y), 128, 100, number)
        training = seconds(lambda: engine.train(segment))  # noqa: B023
        updating = seconds(lambda: rigl_update(engine, setup, active, number))  # noqa: B023
        if number:
            shares.append(100 * updating / training)
            cost.append(updating)
    return (
        f"| 1000-1000-1000-10 | {density} | {statistics.median(cost) * 1e3:.1f}"
        f" | {statistics.median(shares):.1f} % ({min(shares):.1f} to {max(shares):.1f})"
        f" | {most} % / {aim} % | {rounds} |"
    )


def scale(width: int, epsilon: float = 20.0, inputs: int = 3000, rows: int = 256) -> str:
    """SET with one hidden layer of so many neurons: time an epoch and peak memory.

    Meant for a process of its own: the memory is the process's high-water mark.
    """
    rng = np.random.default_rng(0)
    train_x = rng.standard_normal((rows, inputs), dtype=np.float32)
    train_y = rng.integers(5, size=rows)
    network = Network(layers=perceptron_layers((inputs, width, 5)))
    counts = [min(layer.size, round(epsilon * sum(layer.shape))) for layer in network.layers]
    active = [
        random_positions(size, count, rng)
        for size, count in zip(network.sizes, counts, strict=True)
    ]
    setup = Setup(
        network=network,
        optimizer=Optimizer(rule=SGD(nesterov=False), weight_decay=0.0002),
        active=active,
        values=InitialWeights().draw(network, active, rng),
        budget=sum(counts),
        train_x=train_x,
        train_y=train_y,
    )
    engine = SparseEngine(setup)
    rules = rules_of("set")
    batch = 32
    epoch = Segment(np.arange(rows), [batch] * (rows // batch), [0.01] * (rows // batch))
    engine.train(epoch)
    training = seconds(lambda: engine.train(epoch))

    evolving = seconds(lambda: evolve(engine, setup, active, rules, None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"| {inputs}-{width}-5 | {sum(counts):,} | {training:.2f} | {evolving:.2f}"
        f" | {peak:.2f} | {peak * 2**30 / sum(counts):.0f} |"
    )


def machine() -> str:
    """What the figures were made on."""
    names = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    cpu = names[0].split(":")[1].strip() if names else platform.processor()
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "numpy")]
    if util.find_spec("sparselab"):
        versions.append(f"sparselab {metadata.version('sparselab')}")
    load = os.getloadavg()[0]
    return f"{cpu}, Python {platform.python_version()}, {', '.join(versions)}, load {load:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*CASES, "digits", "updates"]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--scale", type=int, nargs="+", metavar="NEURONS", help="only this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n")
    if arguments.scale:
        print(
            "| network | active weights | s an epoch (256 rows) | s an update | GiB | B a weight |"
        )
        print("|---|---|---|---|---|---|")
        for width in arguments.scale:
            # A child of its own each: the peak of one must not hide that of the other.
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                print(scale(width), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        return
    chosen = set(arguments.cases)
    if chosen - {"updates"}:
        print(
            "| network | density | ms a step, sparse | ms, masked | times as fast (range)"
            " | at least / aim | sparselab / sparse | n | loss |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
    for name in CASES:
        for case in CASES[name] if name in chosen else ():
            print(steps(case, arguments.rounds), flush=True)
    if "digits" in chosen:
        print(digits(arguments.rounds), flush=True)
    if "updates" in chosen:
        print("\n| network | density | ms a RigL update | fraction of 100 steps | most / aim | n |")
        print("|---|---|---|---|---|---|")
        for density, most, aim in ((0.05, 12, 8), (0.01, 30, 20)):
            print(updates(density, most, aim, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
