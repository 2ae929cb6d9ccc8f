"""Trials of one scenario, evaluated side by side and turned into records."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Protocol

from sparse_training.errors import BadInput
from target_algorithms import Variant
from target_algorithms.contract import Result, Trial
from wrappers.pairs import Pair
from wrappers.provenance import trial_code
from wrappers.records import Key, Record, append_line, record
from wrappers.scenario import Scenario
from wrappers.space import Config, config_id, resolved


class Stopped(BadInput):
    """A trial answered ABORT: no further trial can work either."""


def trial_of(scenario: Scenario, config: Config, pair: Pair, fidelity: float = 1.0) -> Trial:
    """One evaluation of a configuration of the scenario's space.

    fidelity: the share of the training budget that it is given.
    """
    instance, seed = pair
    variant, whole = resolved(scenario.variant, scenario.space.complete(config))
    return Trial(
        variant=variant.name,
        folder=str(variant.folder),
        options=scenario.options,
        instance=instance,
        seed=seed,
        config=whole,
        cutoff=scenario.cutoff,
        fidelity=fidelity,
    )


class Evaluates(Protocol):
    """What trials are given to: `evaluator.Evaluator`, for one."""

    def submit(self, trial: Trial) -> Future[Result]:
        """What will become of a trial, which begins as soon as it can."""


class Trials:
    """Evaluates (configuration, instance, seed) triples of one scenario."""

    def __init__(self, scenario: Scenario, evaluator: Evaluates) -> None:
        self._scenario, self._evaluator = scenario, evaluator

    def submit(
        self, config: Config, pair: Pair, fidelity: float = 1.0
    ) -> tuple[Trial, Future[Result]]:
        """A trial under way, and what will become of it; `record_of` makes its record."""
        trial = trial_of(self._scenario, config, pair, fidelity)
        return trial, self._evaluator.submit(trial)

    def record_of(self, config: Config, trial: Trial, result: Result) -> Record:
        """The record of a trial that is done. Raises Stopped if it answered ABORT."""
        scenario = self._scenario
        if result.status == "ABORT":
            raise Stopped(f"{scenario.name}, instance {trial.instance}: {result.error}")
        engine = result.trained and result.trained.engine
        ran = Variant(trial.variant, Path(trial.folder))
        code = trial_code(ran, engine) if engine else None
        pair = (trial.instance, trial.seed)
        return record(config, *pair, scenario.cutoff, result, code, trial.fidelity)

    def evaluate(self, asked: Sequence[tuple[Config, Pair]]) -> Iterator[tuple[int, Record]]:
        """Positions and records of the triples, each as soon as it is done.

        Raises Stopped when one answers ABORT.
        """
        under_way = {
            future: (position, config, trial)
            for position, (config, pair) in enumerate(asked)
            for trial, future in [self.submit(config, pair)]
        }
        try:
            for future in as_completed(under_way):
                position, config, trial = under_way[future]
                yield position, self.record_of(config, trial, future.result())
        finally:
            for future in under_way:
                future.cancel()

    def recorded(
        self,
        asked: Sequence[tuple[Config, Pair]],
        known: dict[Key, Record],
        log: Path,
        one_more: Callable[[], None],
    ) -> list[Record]:
        """Records of the triples, in order.

        Those that are not known are evaluated, each once, added to the log and known from then
        on; `one_more` is called for each. Raises Stopped.
        """
        keys = [Key(config_id(config), *pair) for config, pair in asked]
        missing = {key: triple for key, triple in zip(keys, asked, strict=True) if key not in known}
        for _, new in self.evaluate(list(missing.values())):
            append_line(log, new)
            known[new.key] = new
            one_more()
        return [known[key] for key in keys]
