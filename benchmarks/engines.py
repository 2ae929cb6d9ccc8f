"""How fast is the truly sparse engine? Against masks over dense PyTorch and against the machine.

    python -m benchmarks.engines                  # all tables; some minutes on one core
    python -m benchmarks.engines --cases deep     # one of them
    python -m benchmarks.engines --scale 100000 1000000   # SET with one hidden layer of that width

The peer is masked training written as well as PyTorch allows on a CPU: nn.Linear, fused
torch.optim.SGD, one in-place multiplication of the weights by the mask a layer after the step (what
the momentum holds elsewhere changes nothing, so it is not masked); and the same with the model
through torch.compile. Same network, same initial weights, same batches, same learning rate, one
thread, CPU time, all in turn in one process; a ratio is the median over the rounds of paired
ratios. After all steps the losses must agree to 3 decimals, or the benchmark fails. With
`sparselab` (PyPI) installed its SparseLinear layers are timed in the same rounds. The bound of a
step is that of `benchmarks.roofline`.
"""

import argparse
import contextlib
import itertools
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.roofline import bound, peaks
from sparse_training.data.instances import load
from sparse_training.engines import kernels
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
from sparse_training.engines.sparse import _kernels as sparse_kernels
from sparse_training.networks.activations import GELU, SReLU
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network, Norm
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
    aim: float
    """Times as fast as masked PyTorch."""
    batch: int = 128
    steps: int = 10
    """Steps a round."""


CASES = {
    "deep": (
        Case((784, 1000, 1000, 1000, 10), 0.1, 13),
        Case((784, 1000, 1000, 1000, 10), 0.05, 27),
        Case((784, 1000, 1000, 1000, 10), 0.01, 90),
    ),
    "wide": (
        Case((3072, 4000, 1000, 4000, 10), 0.05, 9, steps=4),
        Case((3072, 4000, 1000, 4000, 10), 0.01, 25, steps=4),
    ),
}

SMALL = Case((64, 128, 128, 10), 0.02, 0, batch=64, steps=100)
"""The network whose passes over activations are timed."""
PASSES: dict[str, tuple[dict[str, Any], float]] = {
    "batch norm": ({"norm": Norm.BATCH}, 1.6),
    "layer norm": ({"norm": Norm.LAYER}, 1.5),
    "SReLU": ({"activation": SReLU()}, 1.5),
    "GELU": ({"activation": GELU()}, 1.6),
    "dropout": ({"dropout": 0.2}, 1.2),
    "batch norm, GELU, dropout": (
        {"norm": Norm.BATCH, "activation": GELU(), "dropout": 0.2},
        2.2,
    ),
}
"""What is added to plain ReLU, and at most how many times the step's time it may make of it."""


class MaskedPeer:
    """Masks over dense PyTorch; the comparison that a fair reader would write.

    compiled: the model goes through torch.compile, which the first batch then waits for.
    """

    def __init__(self, setup: Setup, compiled: bool = False) -> None:
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
        self._forward = torch.compile(self._model) if compiled else self._model
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
        )
        self._x, self._y = torch.from_numpy(setup.train_x), torch.from_numpy(setup.train_y)

    def train(self, segment: Segment) -> None:
        rows = torch.from_numpy(segment.rows)
        for batch in torch.split(rows, list(segment.sizes)):
            loss = F.cross_entropy(self._forward(self._x[batch]), self._y[batch])
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
    widths: Sequence[int],
    density: float,
    train_x: NDArray[np.float32],
    train_y: NDArray[np.int64],
    **of_network: Any,
) -> Setup:
    """All layers at the same density, He initialised for the active weights."""
    rng = np.random.default_rng(0)
    network = Network(layers=perceptron_layers(widths), **of_network)
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
    sparse, masked, compiled = SparseEngine(setup), MaskedPeer(setup), MaskedPeer(setup, True)
    other = SparselabPeer(setup, case.density) if util.find_spec("sparselab") else None
    own, ratios, of_compiled, of_lab = [], [], [], []
    for number in range(rounds + 1):
        segment = segment_of(len(train_y), case.batch, case.steps, number)
        fast = seconds(lambda: sparse.train(segment))  # noqa: B023
        slow = seconds(lambda: masked.train(segment))  # noqa: B023
        third = seconds(lambda: compiled.train(segment))  # noqa: B023
        fourth = seconds(lambda: other.train(segment)) if other else float("nan")  # noqa: B023
        if number:  # the first round warms up
            own.append(fast / case.steps)
            ratios.append(slow / fast)
            of_compiled.append(third / fast)
            of_lab.append(fourth / fast)
    losses = [loss_of(e.logits(train_x), train_y) for e in (sparse, masked, compiled)]
    if round(max(losses) - min(losses), 3) > 0.001:
        sys.exit(f"{case}: the losses of sparse, masked and compiled differ: {losses}")
    shapes = [(layer.neurons, layer.fan_in) for layer in setup.network.layers]
    least = bound(shapes, [len(active) for active in setup.active], case.batch)
    return (
        f"| {'-'.join(map(str, case.widths))} | {case.density} | {statistics.median(own) * 1e3:.2f}"
        f" | {statistics.median(own) / least:.1f} | {spread(ratios)} | {case.aim:g}"
        f" | {spread(of_compiled)} | {statistics.median(of_lab):.1f} | {rounds}"
        f" | {losses[0]:.3f} |"
    )


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the smallest and largest."""
    return (
        f"**{statistics.median(values):.{digits}f}** "
        f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


def passes(rounds: int) -> list[str]:
    """What norms, activations and dropout add to a step; lines of the table."""
    train_x, train_y = synthetic(SMALL.widths[0])

    def engine(**of_network: Any) -> SparseEngine:
        return SparseEngine(setup_of(SMALL.widths, SMALL.density, train_x, train_y, **of_network))

    plain, others = engine(), {name: engine(**what) for name, (what, _) in PASSES.items()}
    own, ratios = [], {name: list[float]() for name in others}
    for number in range(rounds + 1):
        segment = segment_of(len(train_y), SMALL.batch, SMALL.steps, number)
        base = seconds(lambda: plain.train(segment))  # noqa: B023
        for name, other in others.items():
            took = seconds(lambda: other.train(segment))  # noqa: B023
            if number:
                ratios[name].append(took / base)
        if number:
            own.append(base / SMALL.steps)
    return [
        f"| {name} | {spread(ratios[name])} | {most:g} | {statistics.median(own) * 1e6:.0f} |"
        f" {rounds} |"
        for name, (_, most) in PASSES.items()
    ]


def sizes(rounds: int) -> list[str]:
    """A step on batches of 100 against one on batches of 128; lines of the table."""
    lines = []
    for case in CASES["deep"]:
        train_x, train_y = synthetic(case.widths[0])
        engine = SparseEngine(setup_of(case.widths, case.density, train_x, train_y))
        ratios = []
        for number in range(rounds + 1):
            small, large = (segment_of(len(train_y), b, case.steps, number) for b in (100, 128))
            took = seconds(lambda: engine.train(small))  # noqa: B023
            ratio = took / seconds(lambda: engine.train(large))  # noqa: B023
            if number:
                ratios.append(ratio)
        lines.append(f"| batch 100 / 128, density {case.density} | {spread(ratios, 2)} | .85 |")
    return lines


def builds(rounds: int) -> list[str]:
    """A step by kernels without AVX-512 against one by those of this machine; lines."""
    lines = []
    for case in (*CASES["deep"], SMALL):
        train_x, train_y = synthetic(case.widths[0])
        setup = setup_of(case.widths, case.density, train_x, train_y)
        own = SparseEngine(setup)
        with built("-mno-avx512f"):
            other = SparseEngine(setup)
        ratios = []
        for number in range(rounds + 1):
            segment = segment_of(len(train_y), case.batch, case.steps, number)
            took = seconds(lambda: other.train(segment))  # noqa: B023
            ratio = took / seconds(lambda: own.train(segment))  # noqa: B023
            if number:
                ratios.append(ratio)
        same = (own.logits(train_x) == other.logits(train_x)).all()
        lines.append(
            f"| {'-'.join(map(str, case.widths))} | {case.density} | {spread(ratios, 2)}"
            f" | {'same' if same else 'DIFFERENT'} |"
        )
    return lines


@contextlib.contextmanager
def built(flag: str) -> Iterator[None]:
    """Kernels that are compiled with one more flag, for engines made meanwhile."""
    caches = kernels.file, kernels.library, kernels.available, sparse_kernels
    flags = kernels.FLAGS
    try:
        kernels.FLAGS = (*flags, flag)
        for cached in caches:
            cached.cache_clear()
        yield
    finally:
        kernels.FLAGS = flags
        for cached in caches:
            cached.cache_clear()


def digits(rounds: int) -> str:
    """Whole runs on digits, the construction of the engine included."""
    split = load("sklearn/digits/0")
    epochs, batch = 50, 64
    rows = len(split.train_y)
    order = np.concatenate([np.random.default_rng(e).permutation(rows) for e in range(epochs)])
    sizes = ([batch] * (rows // batch) + [rows % batch] * (rows % batch > 0)) * epochs
    segment = Segment(order, sizes, [LEARNING_RATE] * len(sizes))
    setup = setup_of((64, 256, 256, 10), 0.1, split.train_x, split.train_y)
    ratios, own, losses = [], [], []
    for _ in range(rounds):
        trained: dict[str, SparseEngine | MaskedPeer] = {}

        def whole(name: str, make: Callable[[Setup], SparseEngine | MaskedPeer]) -> None:
            trained[name] = make(setup)  # noqa: B023
            trained[name].train(segment)  # noqa: B023

        own.append(seconds(lambda: whole("sparse", SparseEngine)))  # noqa: B023
        masked = seconds(lambda: whole("masked", MaskedPeer))  # noqa: B023
        ratios.append(masked / own[-1])
        losses = [loss_of(e.logits(split.train_x), split.train_y) for e in trained.values()]
    if round(abs(losses[0] - losses[1]), 3) > 0.001:
        sys.exit(f"digits: the losses differ: {losses}")
    return (
        f"| digits, 64-256-256-10, 50 epochs of {rows} rows | 0.1"
        f" | {statistics.median(own) * 1e3:.0f} a run | | {spread(ratios)} | 20 | | | {rounds}"
        f" | {losses[0]:.3f} |"
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


def rigl_update(
    engine: Engine, setup: Setup, active: list[Positions], rules: Updates, number: int
) -> None:
    """An update by RigL's rules, on a batch of its own."""
    gradients = engine.gradients(np.random.default_rng(number).integers(2048, size=128))
    evolve(engine, setup, active, rules, gradients)


def updates(density: float, most: int, rounds: int) -> str:
    """The part of a RigL update in 100 sparse steps; a line of the table."""
    train_x, train_y = synthetic(784)
    setup = setup_of((784, 1000, 1000, 1000, 10), density, train_x, train_y)
    engine, rules = SparseEngine(setup), rules_of("rigl")
    active = [positions.copy() for positions in setup.active]
    shares, cost = [], []
    for number in range(rounds + 1):
        segment = segment_of(len(train_y), 128, 100, number)
        training = seconds(lambda: engine.train(segment))  # noqa: B023
        updating = seconds(lambda: rigl_update(engine, setup, active, rules, number))  # noqa: B023
        if number:
            shares.append(100 * updating / training)
            cost.append(updating)
    return (
        f"| {density} | {statistics.median(cost) * 1e3:.1f} | {spread(shares)} % | {most} %"
        f" | {rounds} |"
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
    names = [*CASES, "digits", "updates", "passes", "sizes", "builds"]
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
    print(f"Of one core: {peaks()}\n")
    chosen, rounds = set(arguments.cases), arguments.rounds

    def table(head: str, lines: Iterable[str]) -> None:
        print(head, "|---" * (head.count("|") - 1) + "|", sep="\n")
        for line in lines:
            print(line, flush=True)
        print()

    against = [case for name in CASES if name in chosen for case in CASES[name]]
    if against or "digits" in chosen:
        lines = itertools.chain(
            (steps(case, rounds) for case in against),
            (digits(rounds) for name in ("digits",) if name in chosen),
        )
        table(
            "| network | density | ms a step | over its bound | masked / sparse (range) | aim"
            " | compiled / sparse (range) | sparselab / sparse | n | loss |",
            lines,
        )
    if "updates" in chosen:
        table(
            "| density | ms a RigL update | of 100 steps (range) | at most | n |",
            (updates(density, most, rounds) for density, most in ((0.05, 10), (0.01, 20))),
        )
    if "passes" in chosen:
        table("| beside ReLU | step's time (range) | at most | plain, us | n |", passes(rounds))
    if "sizes" in chosen:
        table("| step | ratio (range) | at most |", sizes(rounds))
    if "builds" in chosen:
        table("| network | density | AVX2 / this build (range) | outputs |", builds(rounds))


if __name__ == "__main__":
    main()
