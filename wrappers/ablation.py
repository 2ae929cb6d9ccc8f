"""Ablation with real trials: which changes made a run's incumbent better than the default?

Here are the trials and their record; the method is `analysis/ablation.py`, which the command line
hands in, because analysis stands above this package. Trials use the training
instances with seeds of their own, outside the run's budget, and are kept in `ablation_trials.jsonl`
of the run: an interrupted ablation goes on.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from wrappers.evaluator import Workers
from wrappers.files import append_line, read_lines, write_whole
from wrappers.run import Pair, Trials, derived_seed
from wrappers.space import Config, Space, config_id
from wrappers.validation import scenario_of

FILE = "ablation.json"

TrialCosts = Callable[[Sequence[tuple[Config, str, int]]], list[float]]
"""Costs of (configuration, instance, seed) triples, in order."""


class Method(Protocol):
    """What is asked of `analysis.ablation`."""

    def most_trials(self, space: Space, source: Config, target: Config, pairs: int) -> int:
        """Trials that the path can't exceed."""

    def record_path(
        self, run_folder: Path, evaluate_trials: TrialCosts, pairs: Sequence[Pair]
    ) -> dict[str, Any]:
        """The path as ablation.json holds it."""


def ablate(
    run: Path,
    method: Method,
    *,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, most: None,
) -> Path:
    """Write the ablation path of a finished run to its folder; returns the file.

    `progress` is told the trials done and the most there can be; racing makes them fewer.
    """
    target = run / FILE
    if target.exists():
        return target
    scenario = scenario_of(run)
    log = run / "ablation_trials.jsonl"
    trajectory = read_lines(run / "trajectory.jsonl")
    most = 0
    if trajectory:
        default, incumbent = trajectory[0]["config"], trajectory[-1]["config"]
        space, pairs_each = scenario.space, len(scenario.training)
        most = method.most_trials(space, default, incumbent, pairs_each)
    known: dict[tuple[str, str, int], dict[str, Any]] = {
        (r["config_id"], r["instance"], r["seed"]): r for r in read_lines(log)
    }
    with Workers(workers) as pool:
        trials = Trials(scenario, pool)

        def costs(asked: Sequence[tuple[Config, str, int]]) -> list[float]:
            keys = [(config_id(config), instance, seed) for config, instance, seed in asked]
            missing: dict[tuple[str, str, int], tuple[Config, Pair]] = {
                key: (config, (instance, seed))
                for key, (config, instance, seed) in zip(keys, asked, strict=True)
                if key not in known
            }
            identities = list(missing)
            for position, record in trials.evaluate(list(missing.values())):
                append_line(log, record)
                known[identities[position]] = record
                progress(len(known), most)
            return [known[key]["cost"] for key in keys]

        seed = derived_seed("ablate", scenario.name)
        pairs = [(instance, seed) for instance in scenario.training]
        path = method.record_path(run, costs, pairs)
    write_whole(target, json.dumps(path, indent=1) + "\n")
    return target
