"""The trials of an ablation: on training instances with seeds of their own, outside the budget.

They are kept in `ablation_trials.jsonl` of the run: an interrupted ablation goes on. What is asked
for is `analysis.ablation`'s business.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wrappers.evaluator import LOCAL, Evaluator
from wrappers.executors import Executor
from wrappers.records import ABLATION_TRIALS, Record, read_lines
from wrappers.scenario import Scenario
from wrappers.space import Config
from wrappers.trials import Trials

TrialCosts = Callable[[Sequence[tuple[Config, str, int]]], list[float]]
"""Costs of (configuration, instance, seed) triples, in order."""


@contextmanager
def recorded_costs(
    run: Path,
    scenario: Scenario,
    workers: int,
    progress: Callable[[int], None],
    executor: Executor = LOCAL,
) -> Iterator[TrialCosts]:
    """What evaluates an ablation's trials; those recorded before answer at once.

    For who holds the run's lock. `progress` is told the trials recorded so far; executor: where
    trials run.
    """
    log = run / ABLATION_TRIALS
    known = {record.key: record for record in read_lines(log, Record, repair=True)}
    with Evaluator(workers, executor) as evaluator:
        trials = Trials(scenario, evaluator)

        def told() -> None:
            progress(len(known))

        def costs(asked: Sequence[tuple[Config, str, int]]) -> list[float]:
            triples = [(config, (instance, seed)) for config, instance, seed in asked]
            told()
            return [record.cost for record in trials.recorded(triples, known, log, told)]

        yield costs
