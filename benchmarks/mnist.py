"""Do the target algorithms reach the published accuracies on the whole of MNIST?

    sparse-aclib fetch vision/mnist
    python -m benchmarks.mnist --out results/mnist

trains LeNet-300-100 (784-300-100-10) with every method at several sparsities, and writes runs.csv,
table.md and accuracy.png: test accuracy beside the published one. 4 to 20 CPU-seconds a run on the
truly sparse engine; sparse momentum and dense, which are masked, take minutes. Runs that runs.csv
has already are not made again.

**Source** of the recipe and of most numbers: the code and the results of Dettmers & Zettlemoyer
(TimDettmers/sparse_learning, `mnist_cifar/main.py`, `results/MNIST_sparse_summary.csv`; commit
e19ff16): the first 54,000 training rows in the order of the file, 10,000 test rows, batches of 100,
100 epochs, SGD .1, a tenth after each 25,000 steps, Nesterov momentum .9, weight decay .0005 of
weights and biases, pixels standardised.
**Differs** from it: initial weights are the suite's (He, variance over the density), there
PyTorch's; masks have exact numbers of weights. Methods are at the suite's defaults, but for sparse
momentum, which updates after every epoch but the last, as there.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks import in_one_line
from benchmarks.evidence import (
    WEIGHTS,
    Method,
    Row,
    half_width,
    interval,
    parsed,
    perceptron,
    resumed,
    spent,
    topology_of,
    trained,
)
from sparse_training.data.instances import Split, load
from sparse_training.engines.interface import Optimizer
from sparse_training.files import write_whole
from sparse_training.loop.budget import Budget
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.rules.topology import Topology
from target_algorithms import variant

INSTANCE = "vision/mnist/0"
TRAINING_ROWS = 54_000
EPOCHS = 100
BATCH = 100
STEPS = EPOCHS * TRAINING_ROWS // BATCH
DECAY_STEPS = 25_000


@dataclass(frozen=True)
class TenthEvery:
    """To a tenth of what it was, again and again."""

    share: float
    """Of the run between two falls, > 0."""

    def at(self, progress: float) -> float:
        return 0.1 ** math.floor(progress / self.share + 1e-9)


RECIPE = Recipe(
    batch_size=BATCH,
    optimizer=Optimizer(decay_biases=True),
    learning_rate=LearningRate(
        schedule=TenthEvery(DECAY_STEPS / STEPS),
    ),
)

OFTEN = "_often"
"""What the name of a method ends with that updates every 100 steps: RigL's interval, and where
DSR's code begins. In a run as long as this one those are more updates than the spaces have."""
INTERVAL = 100

METHODS: dict[str, Method] = {
    "static": ("static", {}),
    "snip": ("snip", {}),
    "set": ("set", {}),
    "set_uniform": ("meta", {**variant("meta").presets["set"], "layer_density_power": 0.0}),
    "set_often": ("set", {}),
    "rigl": ("rigl", {}),
    "rigl_often": ("rigl", {}),
    "dsr": ("dsr", {}),
    "dsr_often": ("dsr", {}),
    "snfs": ("snfs", {"update_count": EPOCHS - 1}),
    "dense": ("dense", {}),
}


@dataclass(frozen=True)
class Published:
    """A test accuracy that somebody else found."""

    accuracy: float
    standard_error: float | None = None


PUBLISHED: dict[tuple[str, float], Published] = {
    ("set", 0.1): Published(0.9839, 0.00037),
    ("set", 0.05): Published(0.9814),
    ("set", 0.02): Published(0.9774, 0.00071),
    ("set", 0.01): Published(0.9580, 0.00045),
    ("dsr", 0.1): Published(0.9844, 0.00045),
    ("dsr", 0.05): Published(0.9832, 0.00038),
    ("dsr", 0.02): Published(0.9814, 0.00064),
    ("dsr", 0.01): Published(0.9754, 0.00016),
    ("snfs", 0.1): Published(0.9867, 0.00026),
    ("snfs", 0.05): Published(0.9853, 0.00033),
    ("snfs", 0.02): Published(0.9820, 0.00018),
    ("snfs", 0.01): Published(0.9753, 0.00047),
    ("dense", 1.0): Published(0.9869, 0.00011),
    # Lee et al., SNIP, ICLR 2019, as MNIST_compression_comparison_lenet300-100.csv has them.
    ("snip", 0.05): Published(0.9840),
    ("snip", 0.02): Published(0.9760),
}
"""By method and density."""


def published(method: str, density: float) -> Published | None:
    """What a method reaches elsewhere, at a density; its variations are compared with the same."""
    return PUBLISHED.get((method.partition("_")[0], density))


def rules_of(method: str) -> Topology:
    """The settings of a method."""
    rules = topology_of(METHODS[method])
    if rules.updates is None or not method.endswith(OFTEN):
        return rules
    when = rules.updates.when
    # The first update is due at the start or after the first interval; none at the end.
    count = math.ceil(when.end * STEPS / INTERVAL) - (not when.at_start)
    return replace(rules, updates=replace(rules.updates, when=replace(when, count=count)))


def run(method: str, density: float, seed: int) -> Row:
    """One training run. A row of runs.csv."""
    topology = rules_of(method)
    split = first_rows(load(INSTANCE), TRAINING_ROWS)
    dense = not topology.first_mask.within_budget
    budget = Budget(
        active_weights=None if dense else round(density * WEIGHTS),
        training_samples=EPOCHS * TRAINING_ROWS,
    )
    started = time.process_time()
    outcome = trained(RECIPE, topology, perceptron(RECIPE, split), split, budget, seed)
    right = outcome.predicted == split.eval_y if outcome.predicted is not None else [0.0]
    return {
        "method": method,
        "density": density,
        "seed": seed,
        "accuracy": float(sum(right)) / len(right),
        "cpu_seconds": round(time.process_time() - started, 1),
        **spent(outcome),
    }


def first_rows(split: Split, count: int) -> Split:
    """With so many training rows, in the order of the data set."""
    return replace(
        split,
        train_x=split.train_x[:count],
        train_y=split.train_y[:count],
        train_rows=split.train_rows[:count],
    )


# Output ------------------------------------------------------------------------------------------


def table(runs: pd.DataFrame) -> str:
    """Mean accuracies beside the published ones, and the difference, with 95 % intervals."""
    lines = [
        "| S | method | n | accuracy (95 % interval) | published | here - published "
        "| CPU-seconds a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for density in sorted(set(runs["density"]), reverse=True):
        for method in METHODS:
            group = runs[(runs["density"] == density) & (runs["method"] == method)]
            if group.empty:
                continue
            own, theirs = group["accuracy"], published(method, density)
            lines.append(
                f"| {1.0 - density:.4g} | {method} | {len(own)} | {interval(own, '.4f')} "
                f"| {'' if theirs is None else _found(theirs)} "
                f"| {'' if theirs is None else _difference(own, theirs)} "
                f"| {group['cpu_seconds'].median():.0f} |"
            )
    return "\n".join(lines) + "\n"


def _found(theirs: Published) -> str:
    if theirs.standard_error is None:
        return f"{theirs.accuracy:.4f}"
    return f"{theirs.accuracy:.4f} ± {1.96 * theirs.standard_error:.4f}"


def _difference(own: "pd.Series[float]", theirs: Published) -> str:
    """Of the means; its interval has the errors of both, as far as theirs is known."""
    half = math.hypot(half_width(own), 1.96 * (theirs.standard_error or 0.0))
    mean = own.mean() - theirs.accuracy
    return f"{mean:+.4f}" + ("" if math.isnan(half) else f" ± {half:.4f}")


def figure(runs: pd.DataFrame, file: Path) -> None:
    """Accuracy by density, a line a method; published accuracies as open circles."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", context="notebook")
    fig, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    names = [name for name in METHODS if name != "dense" and name in set(runs.method)]
    for name, colour in zip(names, sns.color_palette("colorblind", len(names)), strict=True):
        groups = runs[runs.method == name].groupby("density")["accuracy"]
        axes.errorbar(
            groups.mean().index,
            groups.mean(),
            yerr=groups.apply(half_width),
            fmt="-o",
            color="black" if name == "static" else colour,
            linestyle="--" if "_" in name else "-",
            markersize=4,
            capsize=3,
            label=name,
        )
        theirs = {d: each.accuracy for (own, d), each in PUBLISHED.items() if own == name}
        axes.scatter(
            list(theirs), list(theirs.values()), s=110, facecolors="none", edgecolors=[colour]
        )
    dense = runs[runs.method == "dense"]["accuracy"]
    if len(dense):
        axes.axhline(dense.mean(), color="dimgrey", lw=1, label="dense")
    axes.axhline(PUBLISHED["dense", 1.0].accuracy, color="dimgrey", lw=1, ls=":")
    axes.scatter([], [], s=110, facecolors="none", edgecolors="dimgrey", label="published")
    axes.set_xscale("log")
    densities = sorted(set(runs["density"]) - {1.0})
    axes.set_xticks(densities, [f"{1.0 - density:.4g}" for density in densities])
    axes.minorticks_off()
    axes.invert_xaxis()
    # What ends near chance is in the table; here it would hide all differences.
    axes.set_ylim(0.915, 0.992)
    axes.set(xlabel="sparsity", ylabel="test accuracy", title="MNIST, LeNet-300-100, 100 epochs")
    axes.legend(title=None, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    fig.savefig(file, dpi=130)


def main() -> None:
    arguments = parsed(
        __doc__, METHODS, densities=[0.01, 0.02, 0.05, 0.1], seeds=5, out="results/mnist"
    )
    load(INSTANCE)  # says at once if it was not fetched
    runs = resumed(
        arguments.out / "runs.csv",
        run,
        [
            (method, density, seed)
            for seed in range(arguments.seeds)
            for method in arguments.methods
            for density in ([1.0] if method == "dense" else arguments.densities)
        ],
        arguments.workers,
    )
    text = table(runs)
    print(text)
    write_whole(arguments.out / "table.md", text)
    figure(runs, arguments.out / "accuracy.png")


if __name__ == "__main__":
    in_one_line(main)
