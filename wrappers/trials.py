"""Trials of one scenario, evaluated side by side and turned into records."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from sparse_training.errors import BadInput
from target_algorithms import Variant
from target_algorithms.contract import Trial
from wrappers.evaluator import Evaluator
from wrappers.pairs import Pair
from wrappers.provenance import trial_code
from wrappers.records import Record, append_line, record
from wrappers.scenario import Scenario
from wrappers.space import Config, config_id, resolved


class Stopped(BadInput):
    """A trial answered ABORT: no further trial can work either."""


def trial_of(scenario: Scenario, config: Config, pair: Pair) -> Trial:
    """One evaluation of a configuration of the scenario's space."""
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
    )


class Trials:
    """Evaluates (configuration, instance, seed) triples of one scenario."""

    def __init__(self, scenario: Scenario, evaluator: Evaluator) -> None:
        self._scenario, self._evaluator = scenario, evaluator

    def evaluate(self, asked: Sequence[tuple[Config, Pair]]) -> Iterator[tuple[int, Record]]:
        """Positions and records of the triples, each as soon as it is done.

        Raises Stopped when one answers ABORT.
        """
        scenario = self._scenario
        under_way = {
            self._evaluator.submit(trial): (position, config, trial)
            for position, (config, pair) in enumerate(asked)
            for trial in [trial_of(scenario, config, pair)]
        }
        try:
            for future in as_completed(under_way):
                position, config, trial = under_way[future]
                result = future.result()
                if result.status == "ABORT":
                    raise Stopped(f"{scenario.name}, instance {trial.instance}: {result.error}")
                engine = result.trained and result.trained.engine
                ran = Variant(trial.variant, Path(trial.folder))
                code = trial_code(ran, engine) if engine else None
                pair = (trial.instance, trial.seed)
                yield position, record(config, *pair, scenario.cutoff, result, code)
        finally:
            for future in under_way:
                future.cancel()

    def recorded(
        self,
        asked: Sequence[tuple[Config, Pair]],
        known: dict[tuple[str, str, int], Record],
        log: Path,
        one_more: Callable[[], None],
    ) -> list[Record]:
        """Records of the triples, in order.

        Those that are not known are evaluated, each once, added to the log and known from then
        on; `one_more` is called for each. Raises Stopped.
        """
        keys = [(config_id(config), *pair) for config, pair in asked]
        missing = {key: triple for key, triple in zip(keys, asked, strict=True) if key not in known}
        for _, new in self.evaluate(list(missing.values())):
            append_line(log, new)
            known[new.key] = new
            one_more()
        return [known[key] for key in keys]
