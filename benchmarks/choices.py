"""What does each choice of a parameter do to random configurations? Is it worth drawing?

    python -m benchmarks.choices digits/meta drop_rule --configurations 200

draws configurations in which the parameter has a say and gives each of them every choice in turn,
everything else being equal: what only another choice makes active has its default there, and a
configuration that some choice forbids is drawn anew. A training instance each, in turn. Optimiser
and network are at their defaults unless --recipe says otherwise.

Prints for every choice the quartiles of the cost, how often the cost is above --ruined, how often
it is the lowest of all choices, and the mean CPU seconds of a trial. With 200 configurations the
standard error of a share of a half is .035.
"""

import argparse
import random
import statistics
from collections.abc import Iterator, Sequence
from itertools import islice

from benchmarks import in_one_line
from sparse_training.errors import BadInput
from target_algorithms import ROOT, SHARED_PCS
from wrappers.evaluator import Evaluator
from wrappers.scenario import Scenario, read
from wrappers.space import Config, read_pcs
from wrappers.trials import trial_of


def with_choices(
    scenario: Scenario, name: str, *, recipe: bool, seed: int
) -> Iterator[list[Config]]:
    """Random configurations without end, each with every choice of the parameter."""
    space, rng = scenario.space, random.Random(seed)
    shared = () if recipe else read_pcs(SHARED_PCS.read_text(), SHARED_PCS.name).by_name
    while True:
        config = space.sample(rng)
        if name not in config:
            continue
        values = {key: value for key, value in config.items() if key not in shared}
        try:
            yield [space.with_values(values, {name: c}) for c in space.by_name[name].choices]
        except BadInput:
            continue  # forbidden with one of the choices


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", help="<set>/<variant>")
    parser.add_argument("parameter", help="a categorical one")
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--ruined", type=float, default=0.5, help="the cost above which it is")
    parser.add_argument("--recipe", action="store_true", help="draw optimiser and network, too")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    scenario = read(ROOT / "scenarios" / given.scenario)
    choices = scenario.space.by_name[given.parameter].choices
    drawn = with_choices(scenario, given.parameter, recipe=given.recipe, seed=1)
    configs = list(islice(drawn, given.configurations))
    with Evaluator(given.workers) as evaluator:
        futures = [
            evaluator.submit(trial_of(scenario, config, pair))
            for number, every in enumerate(configs)
            for pair in [(scenario.training[number % len(scenario.training)], number)]
            for config in every
        ]
        results = [future.result() for future in futures]
    costs = [result.cost for result in results]
    rows = [costs[i : i + len(choices)] for i in range(0, len(costs), len(choices))]
    print("| choice | quartiles of the cost | ruined | best | s |\n|---|---|---|---|---|")
    for i, choice in enumerate(choices):
        seconds = statistics.fmean(result.cpu_time for result in results[i :: len(choices)])
        row = described([of_all[i] for of_all in rows], rows, given.ruined)
        print(f"| {choice} | {row} | {seconds:.2f} |")


def described(own: Sequence[float], rows: Sequence[Sequence[float]], ruined: float) -> str:
    """The cells about one choice's costs, given those of all choices."""
    quartiles = ", ".join(f"{quartile:.3f}" for quartile in statistics.quantiles(own))
    best = statistics.fmean(cost == min(all_) for cost, all_ in zip(own, rows, strict=True))
    return f"{quartiles} | {statistics.fmean(cost > ruined for cost in own):.2f} | {best:.2f}"


if __name__ == "__main__":
    in_one_line(main)
