"""The tutorial of SET's authors by the rules of its scripts, and with its dropout put right.

    python -m benchmarks.set_tutorial --out results/evidence

trains 784-1000-1000-1000-10 perceptrons on 2000 images of Fashion-MNIST, with a fixed sparse mask
and by SET, 400 epochs and 5 seeds each, as the scripts do and with correct dropout. It writes
set_tutorial.csv (accuracies after every epoch), set_tutorial.md and set_tutorial.png: beside the
curves that the authors publish, which are in set_tutorial_published.csv here. Runs that the file
has already are not made again. The images are those of Debian's package dataset-fashion-mnist, or
`--local FOLDER` holds the four idx.gz files.

It is a training procedure of its own, none of the scenarios': sigmoids and squared errors, and
rules that no paper states. Random numbers are drawn in the scripts' order and sums are in double
precision, so a run can be compared with the published one of its seed epoch by epoch.

**Source**: D. C. Mocanu et al., tutorial at IJCAI 2019, fixprob_mlp.py, set_mlp.py and
Pretrained_results of dcmocanu/sparse-evolutionary-artificial-neural-networks (MIT licence).
"""

import argparse
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.progress import track
from scipy.sparse import csr_array

from benchmarks import in_one_line
from benchmarks.evidence import interval
from sparse_training.data.raw import Access
from sparse_training.data.sources import vision
from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from sparse_training.positions import Positions
from sparse_training.rules.drop import keep_by_sign_thresholds

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

WIDTHS = (784, 1000, 1000, 1000, 10)
EPSILON = 13
ZETA = 0.3
EPOCHS = 400
BATCH = 40
LEARNING_RATE = 0.05
MOMENTUM = 0.9
DECAY = 0.0002
DROPOUT = 0.2
KEPT = 1 - DROPOUT
EVALUATED_AT_ONCE = 100


@dataclass(frozen=True)
class Procedure:
    """What tells the runs apart."""

    evolves: bool
    """SET; else the mask is fixed."""
    correct_dropout: bool = False
    """Dropped units pass no delta back, kept ones are divided by the probability to be kept, and
    evaluation scales nothing. The scripts' dropout multiplies activations only."""


PROCEDURES = {
    "fixed": Procedure(evolves=False),
    "set": Procedure(evolves=True),
    "fixed_correct": Procedure(evolves=False, correct_dropout=True),
    "set_correct": Procedure(evolves=True, correct_dropout=True),
}


@dataclass(frozen=True)
class Layer:
    """Weights (inputs, outputs) and their velocities; the arrays change in place."""

    weights: Any
    """A csr_array with sorted indices."""
    velocity: Values
    """In the order of weights.data."""
    bias: Values
    bias_velocity: Values
    pattern: torch.Tensor
    """The mask, for gradients of active weights only."""


def layer_at(
    positions: Positions,
    values: Values,
    velocity: Values,
    bias: Values,
    bias_velocity: Values,
    shape: tuple[int, int],
) -> Layer:
    """The layer with these active weights; positions count along the rows, in any order."""
    order = np.argsort(positions)
    rows, columns = np.divmod(positions[order], shape[1])
    weights = csr_array((values[order], (rows, columns)), shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(
            torch.from_numpy(weights.indptr),
            torch.from_numpy(weights.indices),
            torch.zeros(weights.nnz, dtype=torch.float64),
            size=shape,
            check_invariants=False,
        )
    return Layer(weights, velocity[order], bias, bias_velocity, pattern)


def positions_of(layer: Layer) -> Positions:
    """The active positions, ascending."""
    inputs, outputs = layer.weights.shape
    rows = np.repeat(np.arange(inputs, dtype=np.int64), np.diff(layer.weights.indptr))
    positions: Positions = rows * outputs + layer.weights.indices
    return positions


# The scripts' rules ------------------------------------------------------------------------------


def first_layer(shape: tuple[int, int], draws: int, rng: np.random.RandomState) -> Layer:
    """Connections drawn one by one with repetition: a later draw of a position overwrites.

    So 13 (1000 + 10) draws give an output layer about 7,300 of its 10,000 weights.
    """
    inputs, outputs = shape
    drawn: dict[int, float] = {}
    for _ in range(draws):
        value = rng.randn() / 10  # before the position, as Python evaluates their assignment
        row = rng.randint(0, inputs)
        drawn[row * outputs + rng.randint(0, outputs)] = value
    positions = np.fromiter(drawn, dtype=np.int64)
    values = np.fromiter(drawn.values(), dtype=np.float64)
    none = np.zeros(outputs)
    return layer_at(positions, values, np.zeros(len(values)), none, none.copy(), shape)


def gradients(
    layers: Sequence[Layer],
    x: Values,
    y: Values,
    kept: Sequence[Mask],
    procedure: Procedure,
) -> list[tuple[Values, Values]]:
    """Of weights and biases, by layer.

    x: (features, batch); y: one-hot, (classes, batch); kept: what dropout leaves of the hidden
    activations, (neurons, batch) each.
    """
    inputs, slopes = [x], []
    for layer, mask in zip(layers[:-1], kept, strict=True):
        z = layer.weights.T @ inputs[-1] + layer.bias[:, None]
        positive = z > 0
        passed = mask / KEPT if procedure.correct_dropout else mask
        inputs.append(np.maximum(z, 0.0) * passed)
        # The scripts take the slope of what dropout has not touched.
        slopes.append(positive * passed if procedure.correct_dropout else positive)
    output = sigmoid(layers[-1].weights.T @ inputs[-1] + layers[-1].bias[:, None])
    delta = output_delta(output, y)
    found = []
    for number in reversed(range(len(layers))):
        layer, batch = layers[number], x.shape[1]
        of_weights = torch.sparse.sampled_addmm(
            layer.pattern, torch.from_numpy(inputs[number]), torch.from_numpy(delta).T, beta=0.0
        )
        found.append((of_weights.values().numpy() / batch, delta.mean(axis=1)))
        if number > 0:
            delta = (layer.weights @ delta) * slopes[number - 1]
    return found[::-1]


def sigmoid(z: Values) -> Values:
    activated: Values = 1 / (1 + np.exp(-z))
    return activated


def output_delta(output: Values, y: Values) -> Values:
    """Of squared errors, with sigmoid's slope taken at the output, as if that were its input."""
    again = sigmoid(output)
    delta: Values = (output - y) * (again * (1 - again))
    return delta


def move(layer: Layer, of_weights: Values, of_biases: Values) -> None:
    """A step in place: decay is a fixed part of a weight, apart from learning rate and momentum."""
    for values, velocity, gradient in (
        (layer.weights.data, layer.velocity, of_weights),
        (layer.bias, layer.bias_velocity, of_biases),
    ):
        velocity *= MOMENTUM
        velocity -= LEARNING_RATE * gradient
        values += velocity - DECAY * values


def evolved(layer: Layer, rng: np.random.RandomState) -> Layer:
    """The layer after SET has dropped by its thresholds and grown at random what was dropped.

    Any position that was not kept may be grown. So a layer with no free position keeps its mask,
    and the weights that were dropped are drawn anew.
    """
    (inputs, outputs), values = layer.weights.shape, layer.weights.data
    keep = keep_by_sign_thresholds(values, ZETA)
    positions = positions_of(layer)[keep]
    missing = len(values) - len(positions)
    grown = rng.randn(missing) / 10
    while missing > 0:
        rows = rng.randint(0, inputs, size=missing, dtype=np.int32).astype(np.int64)
        columns = rng.randint(0, outputs, size=missing, dtype=np.int32)
        drawn = np.unique(rows * outputs + columns)
        positions = np.append(positions, drawn[~np.isin(drawn, positions)])
        missing = len(values) - len(positions)
    return layer_at(
        positions,
        np.append(values[keep], grown),
        np.append(layer.velocity[keep], np.zeros(len(grown))),
        layer.bias,
        layer.bias_velocity,
        layer.weights.shape,
    )


def predicted(layers: Sequence[Layer], x: Values, procedure: Procedure) -> NDArray[np.int64]:
    """The classes of columns of x.

    The scripts scale z, bias included, of all layers behind a layer with dropout.
    """
    scale = 1.0 if procedure.correct_dropout else KEPT
    a = x
    for number, layer in enumerate(layers):
        z = (layer.weights.T @ a + layer.bias[:, None]) * (scale if number > 0 else 1.0)
        a = sigmoid(z) if number == len(layers) - 1 else np.maximum(z, 0.0)
    classes: NDArray[np.int64] = a.argmax(axis=0)
    return classes


# Runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Images, (features, rows), and their classes."""

    x: Values
    y: NDArray[np.int64]


def images(local: Path | None) -> tuple[Part, Part]:
    """2000 training and 1000 test images in [0, 1], not standardised; the same for every seed."""
    data = vision.read("fashion_mnist", Access(local=local))
    if data.folds is None:
        raise RuntimeError("fashion_mnist without its official parts")
    rng = np.random.RandomState(0)
    parts = []
    for part, count in zip(data.folds[0], (2000, 1000), strict=True):
        rows = np.arange(len(part))
        rng.shuffle(rows)
        chosen = part[rows[:count]]
        x = np.ascontiguousarray(data.numeric[chosen].T.astype(np.float64) / 255.0)
        parts.append(Part(x, data.labels[chosen].astype(np.int64)))
    train, test = parts
    return train, test


def curve(train: Part, test: Part, procedure: Procedure, seed: int, epochs: int) -> Values:
    """Training and test accuracy after every epoch, before the mask evolves: (epochs, 2)."""
    rng = np.random.RandomState(seed)
    layers = [
        first_layer(shape, EPSILON * sum(shape), rng)
        for shape in zip(WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]
    one_hot = np.eye(WIDTHS[-1])[:, train.y]
    accuracies = np.zeros((epochs, 2))
    for epoch in range(epochs):
        if epoch > 0 and procedure.evolves:
            layers = [evolved(layer, rng) for layer in layers]
        order = np.arange(len(train.y))
        rng.shuffle(order)
        for rows in order.reshape(-1, BATCH):
            kept = [(rng.rand(BATCH, width) >= DROPOUT).T for width in WIDTHS[1:-1]]
            found = gradients(layers, train.x[:, rows], one_hot[:, rows], kept, procedure)
            for layer, gradient in zip(layers, found, strict=True):
                move(layer, *gradient)
        accuracies[epoch] = [accuracy(layers, part, procedure) for part in (train, test)]
    return accuracies


def accuracy(layers: Sequence[Layer], part: Part, procedure: Procedure) -> float:
    right = 0
    for start in range(0, len(part.y), EVALUATED_AT_ONCE):
        rows = slice(start, start + EVALUATED_AT_ONCE)
        right += int((predicted(layers, part.x[:, rows], procedure) == part.y[rows]).sum())
    return right / len(part.y)


# Output ------------------------------------------------------------------------------------------

Curves = dict[tuple[str, int], Values]
"""By procedure and seed: training and test accuracy after every epoch, (epochs, 2)."""

PUBLISHED = Path(__file__).with_name("set_tutorial_published.csv")
PARTS = ("train", "test")
LATE = 20
"""Last epochs that a second, less noisy accuracy is the mean of."""


def read(file: Path) -> Curves:
    """A row an epoch, a column each of procedure, seed and part."""
    frame = pd.read_csv(file, index_col="epoch")
    runs = sorted({(name, int(seed)) for name, seed, _ in map(str.split, frame.columns)})
    return {
        (name, seed): frame[[f"{name} {seed} {part}" for part in PARTS]].to_numpy()
        for name, seed in runs
    }


def write(curves: Curves, file: Path) -> None:
    """What `read` reads."""
    columns = {
        f"{name} {seed} {part}": values
        for (name, seed), run in sorted(curves.items())
        for part, values in zip(PARTS, run.T, strict=True)
    }
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
    write_whole(file, frame.to_csv())


def of(curves: Curves, name: str, part: str, seeds: Sequence[int]) -> Values:
    """(epochs, seeds)"""
    return np.stack([curves[name, seed][:, PARTS.index(part)] for seed in seeds], axis=1)


def seeds_of(curves: Curves, *names: str) -> list[int]:
    """The seeds that all of these procedures were run with."""
    return sorted(set.intersection(*({seed for own, seed in curves if own == n} for n in names)))


def table(curves: Curves, published: Curves) -> str:
    """Means with 95 % t intervals beside the published ones, and what SET gains over fixed."""
    lines = [
        "| procedure | n | train, last epoch | test, last epoch | test, mean of the last 20 "
        "| epochs in which a run differs from the published one of its seed |",
        "|---|---|---|---|---|---|",
    ]
    sources = [("published, ", published), ("", curves)]
    for name in PROCEDURES:
        for source, runs in sources:
            if seeds := seeds_of(runs, name):
                train, test = (of(runs, name, part, seeds) for part in PARTS)
                cells = _mean(train[-1], ".4f"), _mean(test[-1], ".4f"), _late(test, ".4f")
                differing = "" if runs is published else _differing(runs, published, name)
                lines.append(
                    f"| {source}{name} | {len(seeds)} | {' | '.join(cells)} | {differing} |"
                )
    lines += [
        "",
        "| SET over fixed mask, test, by seed | n | last epoch | mean of the last 20 |",
        "|---|---|---|---|",
    ]
    for suffix, title in (("", "the scripts' dropout"), ("_correct", "correct dropout")):
        for source, runs in sources:
            if seeds := seeds_of(runs, f"set{suffix}", f"fixed{suffix}"):
                of_set, fixed = (
                    of(runs, name + suffix, "test", seeds) for name in ("set", "fixed")
                )
                gain = of_set - fixed
                lines.append(
                    f"| {source}{title} | {len(seeds)} "
                    f"| {_mean(gain[-1], '+.4f')} | {_late(gain, '+.4f')} |"
                )
    return "\n".join(lines) + "\n"


def _mean(values: Values, form: str) -> str:
    return interval(pd.Series(values), form)


def _late(values: Values, form: str) -> str:
    return _mean(values[-LATE:].mean(axis=0), form)


def _differing(curves: Curves, published: Curves, name: str) -> str:
    """Epochs of all seeds, and how many there are."""
    seeds = [seed for seed in seeds_of(curves, name) if (name, seed) in published]
    if not seeds:
        return ""
    differing = [
        bool((np.abs(epoch - theirs) > 1e-9).any())
        for seed in seeds
        for epoch, theirs in zip(curves[name, seed], published[name, seed], strict=False)
    ]
    return f"{sum(differing)} of {len(differing):,}"


def figure(curves: Curves, published: Curves, file: Path) -> None:
    """Mean curves with the range of the seeds: the scripts' dropout beside the correct one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", context="notebook")
    fig, both = plt.subplots(1, 2, figsize=(12, 5.5), sharey=True, layout="constrained")
    blue, orange = sns.color_palette("colorblind", 2)
    for axes, suffix in zip(both, ("", "_correct"), strict=True):
        for name, label, colour in (("set", "SET", orange), ("fixed", "fixed mask", blue)):
            for part, style in (("test", "-"), ("train", "--")):
                if seeds := seeds_of(curves, name + suffix):
                    own = of(curves, name + suffix, part, seeds)
                    epochs = np.arange(1, len(own) + 1)
                    means = own.mean(axis=1)
                    axes.plot(epochs, means, style, color=colour, lw=1.2, label=f"{label}, {part}")
                    axes.fill_between(
                        epochs, own.min(axis=1), own.max(axis=1), color=colour, alpha=0.15, lw=0
                    )
                if seeds := seeds_of(published, name + suffix):
                    theirs = of(published, name, part, seeds).mean(axis=1)
                    some = np.arange(9, len(theirs), 20)
                    axes.plot(some + 1, theirs[some], "o", color=colour, mec="black", ms=4)
        axes.set(
            title="correct dropout" if suffix else "dropout of the scripts",
            xlabel="epoch",
            ylim=(0.6, 1.0),
        )
    both[0].plot([], [], "o", color="white", mec="black", ms=4, label="published, mean of 5 seeds")
    both[0].set_ylabel("accuracy")
    both[0].legend(loc="lower right")
    fig.savefig(file, dpi=110)


def _made(train: Part, test: Part, name: str, seed: int, epochs: int) -> tuple[str, int, Values]:
    torch.set_num_threads(1)
    return name, seed, curve(train, test, PROCEDURES[name], seed, epochs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", type=Path, metavar="FOLDER", help="with the idx.gz files")
    parser.add_argument("--procedures", nargs="+", choices=PROCEDURES, default=list(PROCEDURES))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path("results/evidence"))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    file = arguments.out / "set_tutorial.csv"
    curves = read(file) if file.exists() else {}
    for (name, seed), run in curves.items():
        if len(run) != arguments.epochs:
            raise BadInput(
                f"{file} has a run of {len(run)} epochs ({name}, seed {seed}), expected "
                f"{arguments.epochs}: take another --out"
            )
    train, test = images(arguments.local)
    with ProcessPoolExecutor(arguments.workers) as pool:
        jobs = [
            pool.submit(_made, train, test, name, seed, arguments.epochs)
            for seed in range(arguments.seeds)
            for name in arguments.procedures
            if (name, seed) not in curves
        ]
        for job in track(as_completed(jobs), "training", total=len(jobs)):
            name, seed, accuracies = job.result()
            curves[name, seed] = accuracies
            write(curves, file)

    published = read(PUBLISHED)
    text = table(curves, published)
    print(text)
    write_whole(file.with_suffix(".md"), text)
    figure(curves, published, file.with_suffix(".png"))


if __name__ == "__main__":
    in_one_line(main)
