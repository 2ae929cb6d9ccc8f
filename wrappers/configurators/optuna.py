"""Optuna 5: a tree-structured Parzen estimator, with pruning over the rungs.

Source: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019;
the pruner is its asynchronous successive halving. Used through ask and tell, because our loop then
owns the budget, the limits and the record.
Differs: an intermediate value is the mean cost on a rung (`wrappers/rungs.py`): a share of the
training budget and a number of pairs. The incumbent is the best on whole training, and a challenger
meets it on equal pairs; Optuna's own best trial plays no part.

What is seen to here, in Optuna 5.0:
- it has no forbidden combinations: a trial that has one is pruned without a value, which counts as
  the worst there is, and another one is asked for, in the end one drawn uniformly (told as failed,
  such trials teach the sampler nothing: a thousand in a row were forbidden);
- trials that are under way count as bad ones (`constant_liar`), or several workers would be sent
  to the same place.
"""

import importlib.util
import itertools
import warnings
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from target_algorithms.contract import Value
from wrappers.origin import versions_of
from wrappers.races import Race, side_by_side
from wrappers.run import Run
from wrappers.rungs import ETA, Best, ladder
from wrappers.scenario import Scenario
from wrappers.space import Config, Parameter

if TYPE_CHECKING:
    from optuna import Study, Trial

_MOST_FORBIDDEN = 50  # in a row


def available() -> str | None:
    """None when Optuna can be imported, else what to do."""
    if importlib.util.find_spec("optuna"):
        return None
    return "the package optuna is not installed; run './run_all.sh setup'"


def versions() -> dict[str, str]:
    """Of Optuna."""
    return versions_of(["optuna"])


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Ask, evaluate rung after rung, tell, until the budget is used up."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=run.workers > 1),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
    )
    rungs = ladder(run)
    best = Best(run)

    def race() -> Race:
        trial, config = _asked(study, run)
        for step, rung in enumerate(rungs):
            costs = yield rung.asks(config)
            trial.report(fmean(costs), ETA**step)
            if rung.fidelity == 1:
                yield from best.meet(config, costs)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return
        study.tell(trial, fmean(costs))

    study.enqueue_trial(run.space.default)
    side_by_side(run, (race() for _ in itertools.count()))


def _asked(study: "Study", run: Run) -> "tuple[Trial, Config]":
    from optuna.trial import TrialState

    forbidden = 0
    while True:
        trial = study.ask()
        config = run.space.drawn(partial(_suggested, trial))
        if config is not None:
            return trial, config
        study.tell(trial, state=TrialState.PRUNED)
        forbidden += 1
        if forbidden == _MOST_FORBIDDEN:
            study.enqueue_trial(run.sample())


def _suggested(trial: "Trial", parameter: Parameter) -> Value:
    name, low, high, log = parameter.name, parameter.low, parameter.high, parameter.log
    if parameter.kind == "categorical":
        return str(trial.suggest_categorical(name, parameter.choices))
    if parameter.kind == "integer":
        return int(trial.suggest_int(name, int(low), int(high), log=log))
    return float(trial.suggest_float(name, low, high, log=log))
