"""SMAC3 2.x (algorithm-configuration facade): a random-forest model, racing over instances.

Source: Lindauer et al., "SMAC3: A Versatile Bayesian Optimization Package for Hyperparameter
Optimization", JMLR 23 (2022). Used through ask and tell, because our loop then owns the budget, the
limits and the record, and because SMAC's own resume and limits do not hold (see below).

What is avoided here, seen in SMAC 2.4.1:
- more than 4 instance features crash its default model: `pca_components=None`;
- an infinite `crash_cost` (the default) reaches the forest: ours is the worst cost, 1;
- ask does not stop at `n_trials`: `run` raises BudgetExhausted;
- ask raises where it draws no new configuration any more, in a space of few: this is its end;
- its files are rewritten at every tell and can't be resumed from when torn: `save=False`, a
  folder that does not last, and resuming by replay instead;
- its choices depend on the order of sets, which is salted by process: `sparse-aclib run` fixes
  Python's text hashes (PYTHONHASHSEED);
- with several workers of its own it does not reproduce: here it is asked for the next trial while
  others are under way, and told costs in the order of asking.
"""

import importlib.util
import logging
import warnings
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from target_algorithms.contract import WORST_COST
from wrappers.formats.configspace import from_configspace, to_configspace
from wrappers.origin import versions_of
from wrappers.run import Ask, BudgetExhausted, Run
from wrappers.scenario import Scenario

SLOW = True

AHEAD = 2
"""Trials under way for each worker: some wait, so that no worker does while SMAC thinks."""


def available() -> str | None:
    """None when SMAC can be imported, else what to do; asked before its seconds of import."""
    if importlib.util.find_spec("smac"):
        return None
    return "the package smac is not installed; run './run_all.sh setup'"


def versions() -> dict[str, str]:
    """Of SMAC."""
    return versions_of(["smac"])


def configure(scenario: Scenario, run: Run, *, seed: int) -> None:
    """Ask, evaluate, tell until the budget is used up."""
    from smac.main.exceptions import ConfigurationSpaceExhaustedException
    from smac.runhistory import TrialInfo, TrialValue

    logging.getLogger("smac").setLevel(logging.ERROR)
    # SMAC's local search takes the mean of no times when it has made no step.
    warnings.filterwarnings("ignore", message="Mean of empty slice|invalid value encountered")
    with run.scratch() as folder:
        facade = _facade(scenario, run, seed, folder)
        blocks: dict[int, int] = {}  # SMAC's seed -> our block of pairs
        places = {pair: index for index, pair in enumerate(run.pairs)}
        seeds = list(dict.fromkeys(seed for _, seed in run.pairs))
        under_way: deque[tuple[TrialInfo, Future[float]]] = deque()
        ahead = 1  # the default comes first, alone
        ended, spent = False, False
        while True:
            while len(under_way) < ahead and not (ended or spent):
                try:
                    info = facade.ask()
                except ConfigurationSpaceExhaustedException:
                    ended = True
                    run.settings({"configurator_ended_after": run.used})
                    break
                for key in facade.intensifier.get_instance_seed_keys_of_interest():
                    blocks.setdefault(key.seed, len(blocks))
                place = places[info.instance, seeds[blocks[info.seed]]]
                try:
                    cost = run.submit(Ask(from_configspace(info.config), place))
                except BudgetExhausted:
                    spent = True
                    break
                under_way.append((info, cost))
            if not under_way:
                break
            info, cost = under_way.popleft()
            facade.tell(info, TrialValue(cost=run.costs([cost])[0]), save=False)
            incumbent = facade.intensifier.get_incumbent()
            if incumbent is not None:
                run.new_incumbent(
                    from_configspace(incumbent), facade.runhistory.average_cost(incumbent)
                )
            ahead = 1 if run.workers == 1 else AHEAD * run.workers
        if spent:
            raise BudgetExhausted


def _facade(scenario: Scenario, run: Run, seed: int, folder: Path) -> Any:
    from smac import Scenario as SmacScenario
    from smac.facade import AlgorithmConfigurationFacade as Facade

    described = SmacScenario(
        to_configspace(run.space, seed=seed),
        name=scenario.variant.name,
        output_directory=folder,
        seed=seed,
        instances=list(scenario.training),
        instance_features={name: list(scenario.features[name]) for name in scenario.training},
        deterministic=False,
        n_trials=run.budget,
        crash_cost=WORST_COST,
        objectives="cost",
    )
    return Facade(
        described,
        _never_called,
        model=Facade.get_model(described, pca_components=None),
        intensifier=Facade.get_intensifier(described, max_config_calls=len(run.pairs)),
        logging_level=False,
        overwrite=True,
    )


def _never_called(config: object, instance: str, seed: int = 0) -> float:
    raise AssertionError("trials are evaluated by the run, not by SMAC")
