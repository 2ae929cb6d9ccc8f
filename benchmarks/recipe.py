"""Which recipe does an instance set fix? The best one for a static mask that all variants survive.

    python -m benchmarks.recipe mnist99

draws recipes at random (optimiser, batch size, initial weights; the network is `NETWORK`, the
ranges are `SEARCHED`), evaluates them with a static mask at its default on two training instances,
the best of them on three more, and those that are best then with every variant at its default. A
recipe is survived by a variant whose default is no worse with it than the static mask is, by a
tenth of that. Of the recipes that all variants survive the one that is best for the static mask is
the set's: so the baseline has the recipe of its choice, and nobody is beaten by a recipe that ruins
him. Trials for the static mask: 150 x 2 + 20 x 3.

Prints the table of the last round and the words for `--only` in the scenarios: of the regime
*topology*, which fixes the recipe, and of *joint*, which gives ranges around it.
"""

import argparse
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rich.progress import track

from benchmarks import in_one_line
from sparse_training.data.instances import parse
from sparse_training.errors import BadInput
from target_algorithms import Role
from target_algorithms.contract import Value
from wrappers.evaluator import Evaluator
from wrappers.pairs import Pair, derived_seed
from wrappers.scenario import Scenario, read, scenarios
from wrappers.space import Config, Parameter, left_open, variant_space
from wrappers.trials import trial_of

NETWORK = {
    "activation": "relu",
    "norm": "none",
    "width_factor": "1",
    "depth_change": "0",
    "dropout": "0",
    "optimizer": "sgd",
    "decay_kind": "coupled",
    "decay_biases": "no",
    "learning_rate_density_power": "0",
}
"""What no scenario of these regimes leaves open: the network, and what is another way to say what
the other parameters say."""

SEARCHED = {
    "learning_rate_sgd": "0.02/0.5",
    "momentum": "0.7/0.98",
    "momentum_kind": "nesterov/heavy_ball",
    "learning_rate_schedule": "cosine/linear",
    "warmup": "0/0.1",
    "weight_decay": "0.00001/0.01",
    "batch_size": "16/128",
    "label_smoothing": "0/0.2",
    "weight_init": "he_normal/he_uniform/xavier",
    "init_scaling": "layer/neuron/none",
}
"""The rest of the recipe. What no network learns with is left out; the rules differ in what they
make of it."""

SURVIVES = 1.1
"""A default survives a recipe that costs it at most so many times what it costs the static mask."""

DIGITS = 3
"""Significant digits of a recipe's numbers."""

Recipe = dict[str, Value]


def words(values: Iterable[tuple[str, str]]) -> str:
    """As --only takes them."""
    return ",".join(f"{name}:{value}" for name, value in values)


def topology(recipe: Recipe) -> str:
    """--only of the regime that fixes the recipe."""
    return words([*NETWORK.items(), *((name, str(value)) for name, value in recipe.items())])


def joint(recipe: Recipe, of_all: Mapping[str, Parameter]) -> str:
    """--only of the regime that configures the recipe, too: ranges around it.

    A number may be a third or the triple of what it is (1 - momentum, for momentum), within what is
    searched; choices are all those that are searched, that of the recipe first.
    """
    ranges = {name: values.split("/") for name, values in SEARCHED.items()}
    said = []
    for name, value in recipe.items():
        if isinstance(value, str):
            said.append((name, "/".join([value, *(v for v in ranges[name] if v != value)])))
            continue
        low, high = map(float, ranges[name])
        if name == "momentum":
            near = (1 - 3 * (1 - value), 1 - (1 - value) / 3)
        elif of_all[name].log:
            near = (value / 3, value * 3)
        else:
            near = (low, high)
        whole = of_all[name].kind == "integer"
        bounds = max(low, near[0]), min(high, near[1])
        low_, high_ = (round(bound) if whole else float(f"{bound:.{DIGITS}g}") for bound in bounds)
        said.append(
            (name, f"{low_}/{value}/{high_}" if low_ < value < high_ else f"{low_}/{high_}")
        )
    return words([*NETWORK.items(), *said])


def with_only(scenario: Scenario, only: str) -> Scenario:
    """The scenario with other words after --only; what its variant fixes itself is not said."""
    options = replace(scenario.options, only=only)
    return replace(scenario, options=left_open(scenario.variant, options))


def drawn(static: Scenario, count: int) -> list[Recipe]:
    """Recipes for a static mask, the default first."""
    wide = with_only(static, words([*NETWORK.items(), *SEARCHED.items()])).space
    rng = random.Random(derived_seed("recipe", static.set))
    configs = [wide.default, *(wide.sample(rng) for _ in range(count - 1))]
    return [
        {
            name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
            for name, value in config.items()
            if name in SEARCHED
        }
        for config in configs
    ]


def pairs_of(scenario: Scenario, first: int, count: int) -> list[Pair]:
    """Training instances, each with a seed that no run trains with."""
    training = scenario.training
    return [
        (training[k % len(training)], derived_seed("recipe", scenario.set, k))
        for k in range(first, first + count)
    ]


def costs(
    evaluator: Evaluator, asked: Sequence[tuple[Scenario, Config]], pairs: Sequence[Pair]
) -> list[float]:
    """Mean costs of configurations on the pairs."""
    futures = [
        evaluator.submit(trial_of(scenario, config, pair))
        for scenario, config in asked
        for pair in pairs
    ]
    each = [future.result().cost for future in track(futures, "trials")]
    return [statistics.fmean(each[i : i + len(pairs)]) for i in range(0, len(each), len(pairs))]


def survivors(members: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios of a set whose variants must survive its recipe."""
    beside = (Role.REFERENCE, Role.SELECTION)  # a selection is one of the others
    return [each for each in members if each.variant.role not in beside]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", help="an instance set")
    parser.add_argument("--recipes", type=int, default=150)
    parser.add_argument("--last-round", type=int, default=12, help="recipes for all variants")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    members = [each for each in map(read, scenarios()) if each.set == given.set]
    if not members:
        raise BadInput(f"no instance set {given.set!r}: 'sparse-aclib list' shows all")
    static = next(each for each in members if each.variant.role is Role.BASELINE)
    variants = survivors(members)
    recipes = drawn(static, given.recipes)
    data = len({parse(instance).data_set for instance in static.training})
    one, two = max(2, data), max(3, data)
    with Evaluator(given.workers) as evaluator:

        def judged(of: Sequence[Recipe], first: int, count: int) -> list[float]:
            asked = [with_only(static, topology(recipe)) for recipe in of]
            return costs(
                evaluator, [(s, s.space.default) for s in asked], pairs_of(static, first, count)
            )

        first = judged(recipes, 0, one)
        best = sorted(range(len(recipes)), key=first.__getitem__)[:20]
        second = judged([recipes[i] for i in best], one, two)
        mean = {
            i: (one * first[i] + two * more) / (one + two)
            for i, more in zip(best, second, strict=True)
        }
        last = sorted(mean, key=mean.__getitem__)[: given.last_round]
        rivals = [(i, with_only(each, topology(recipes[i]))) for i in last for each in variants]
        found = costs(
            evaluator,
            [(each, each.space.default) for _, each in rivals],
            pairs_of(static, one + two, two),
        )
    rows: dict[int, dict[str, float]] = {i: {} for i in last}
    for (i, each), cost in zip(rivals, found, strict=True):
        rows[i][each.variant.name] = cost
    baseline = static.variant.name
    names = [baseline, *(name for name in rows[last[0]] if name != baseline)]
    print(f"| recipe | {one + two} pairs | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for i, row in rows.items():
        cells = " | ".join(f"{row[name]:.3f}" for name in names)
        print(f"| {i} | {mean[i]:.3f} | {cells} |")
    survived = [i for i in last if max(rows[i].values()) <= SURVIVES * rows[i][baseline]]
    if not survived:
        print("No recipe is survived by all variants: expected one, raise --last-round.")
        raise SystemExit(1)
    chosen = recipes[survived[0]]
    of_all = variant_space(static.variant).by_name
    print(f"\nrecipe {survived[0]}: {chosen}\n\ntopology: {topology(chosen)}")
    print(f"\njoint: {joint(chosen, of_all)}")


if __name__ == "__main__":
    in_one_line(main)
