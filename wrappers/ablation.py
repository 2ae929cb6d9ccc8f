"""The trials of an ablation: on training instances with seeds of their own, outside the budget.

They are kept in `ablation_trials.jsonl` of the run: an interrupted ablation goes on. What is asked
for is `analysis.ablation`'s business.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wrappers.evaluator import Evaluator
from wrappers.pairs import Pair
from wrappers.records import ABLATION_TRIALS, Record, append_line, read_lines
from wrappers.scenario import Scenario
from wrappers.space import Config, config_id
from wrappers.trials import Trials

TrialCosts = Callable[[Sequence[tuple[Config, str, int]]], list[float]]
"""Costs of (configuration, instance, seed) triples, in order."""


@contextmanager
def recorded_costs(
    run: Path, scenario: Scenario, workers: int, progress: Callable[[int], None]
) -> Iterator[TrialCosts]:
    """What evaluates an ablation's trials; those recorded before answer at once.

    For who holds the run's lock. `progress` is told the trials recorded so far.
    """
    log = run / ABLATION_TRIALS
    recorded = {record.key: record.cost for record in read_lines(log, Record, repair=True)}
    with Evaluator(workers) as evaluator:
        trials = Trials(scenario, evaluator)

        def costs(asked: Sequence[tuple[Config, str, int]]) -> list[float]:
            keys = [(config_id(config), instance, seed) for config, instance, seed in asked]
            missing: dict[tuple[str, str, int], tuple[Config, Pair]] = {
                key: (config, (instance, seed))
                for key, (config, instance, seed) in zip(keys, asked, strict=True)
                if key not in recorded
            }
            progress(len(recorded))
            for _, record in trials.evaluate(list(missing.values())):
                append_line(log, record)
                recorded[record.key] = record.cost
                progress(len(recorded))
            return [recorded[key] for key in keys]

        yield costs
