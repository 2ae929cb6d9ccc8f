"""Ablation: which changes lead from the default to the configuration found, one after the other.

**Source**: Fawcett, Hoos, "Analysing differences between algorithm configurations through
ablation", Journal of Heuristics 22, 2016; groups as in irace's `ablation` (a parent flips with
the children it makes active or inactive).
**Differs**: rounds race with Friedman's test and Conover's comparison with the best (for two
candidates Wilcoxon's signed ranks) on blocks of one (instance, seed) pair each; where every single
flip is forbidden, the smallest set of flips that is allowed is taken together, so that a path
always reaches its target.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from sparse_training.errors import BadInput
from wrappers.pairs import Pair
from wrappers.records import AblationPath, AblationStep
from wrappers.space import Config, Space, config_id

Costs = Callable[[list[Config]], Sequence[float]]
"""Costs of configurations, in their order."""

TrialCosts = Callable[[list[tuple[Config, str, int]]], Sequence[float]]
"""Costs of (configuration, instance, seed) trials, in their order."""

ALPHA = 0.05
"""Level of the tests that end a candidate's race."""
FIRST_TEST = 5
"""Blocks before the first test of a round; with fewer no signed-rank test can reject."""

COLUMNS = ["step", "parameters", "changes", "cost", "gain", "share", "candidates", "trials"]


def ablate(
    space: Space,
    source: Config,
    target: Config,
    evaluate: Costs,
    *,
    evaluation: str = "surrogate",
) -> AblationPath:
    """The greedy path with exact costs: in each round the best flip, even if it makes it worse.

    Of equal ones the first in the order of the space. `evaluate` is given each configuration once.
    Raises BadInput where source and target are equal or not of the space.
    """
    costs_of: dict[str, float] = {}

    def cost(configs: list[Config]) -> list[float]:
        new = {config_id(c): c for c in configs if config_id(c) not in costs_of}
        if new:
            costs_of.update(zip(new, map(float, evaluate(list(new.values()))), strict=True))
        return [costs_of[config_id(c)] for c in configs]

    def best(candidates: list[Config]) -> tuple[int, float, int]:
        costs = cost(candidates)
        place = int(np.argmin(costs))
        return place, costs[place], 0

    source, target = _checked(space, source, target)
    source_cost, target_cost = cost([source, target])
    steps = _walk(space, source, target, source_cost, target_cost, best)
    return AblationPath(
        evaluation=evaluation,
        pairs=0,
        source=source,
        target=target,
        source_cost=source_cost,
        target_cost=target_cost,
        steps=steps,
    )


def race(
    space: Space,
    source: Config,
    target: Config,
    evaluate: TrialCosts,
    pairs: Sequence[Pair],
    *,
    granted: float = math.inf,
    alpha: float = ALPHA,
    first_test: int = FIRST_TEST,
) -> AblationPath:
    """The greedy path with real trials: candidates meet on one pair after the other.

    From `first_test` pairs on, those significantly worse than the best of the round are dropped
    and cost no more trials. The cost of a step is the mean over all pairs. Trials asked for
    before are not asked for again.

    granted: trials that it may take. A round in which they run short ends with the best so far,
    and where they do not suffice for another round, the last step is all the rest together.
    Raises BadInput as `ablate` does, and without pairs.
    """
    if not pairs:
        raise BadInput("an ablation with trials got no (instance, seed) pair, expected at least 1")
    costs_of: dict[tuple[str, str, int], float] = {}
    asked = 0

    def cost(configs: Sequence[Config], block: Sequence[Pair]) -> NDArray[np.float64]:
        """A (pairs, configurations) array."""
        nonlocal asked
        new: dict[tuple[str, str, int], tuple[Config, str, int]] = {}
        for config in configs:
            for instance, seed in block:
                key = (config_id(config), instance, seed)
                if key not in costs_of:
                    new[key] = (config, instance, seed)
        if new:
            asked += len(new)
            costs_of.update(zip(new, map(float, evaluate(list(new.values()))), strict=True))
        return np.array([[costs_of[config_id(c), *pair] for c in configs] for pair in block])

    def best(candidates: list[Config]) -> tuple[int, float, int] | None:
        before = asked
        alive = list(range(len(candidates)))
        if asked + least_of_round(len(alive), len(pairs), first_test) > granted:
            return None
        block = 0
        while len(alive) > 1 and block < len(pairs):
            # Up to the first test nothing can be dropped: one call keeps all workers busy.
            wider = min(max(block + 1, first_test), len(pairs))
            if asked + len(alive) * (wider - block) + len(pairs) - wider > granted:
                means = cost([candidates[i] for i in alive], pairs[:block]).mean(axis=0)
                alive = [alive[int(np.argmin(means))]]
                break
            block = wider
            costs = cost([candidates[i] for i in alive], pairs[:block])
            kept = survivors(costs, alpha) if first_test <= block < len(pairs) else None
            alive = alive if kept is None else [alive[i] for i in kept]
        means = cost([candidates[i] for i in alive], pairs).mean(axis=0)
        place = int(np.argmin(means))
        return alive[place], float(means[place]), asked - before

    source, target = _checked(space, source, target)
    ends = cost([source, target], pairs).mean(axis=0)
    source_cost, target_cost = float(ends[0]), float(ends[1])
    steps = _walk(space, source, target, source_cost, target_cost, best)
    return AblationPath(
        evaluation="trials",
        pairs=len(pairs),
        source=source,
        target=target,
        source_cost=source_cost,
        target_cost=target_cost,
        steps=steps,
    )


def survivors(costs: NDArray[np.float64], alpha: float = ALPHA) -> list[int]:
    """Columns of a (blocks, candidates) array that are not significantly worse than the best.

    **Source**: Conover, Practical Nonparametric Statistics, 3rd ed., 5.8, as irace uses it.
    """
    blocks, candidates = costs.shape
    everyone = list(range(candidates))
    if candidates < 2 or blocks < 2:
        return everyone
    if candidates == 2:
        difference = costs[:, 0] - costs[:, 1]
        if not difference.any() or stats.wilcoxon(difference).pvalue >= alpha:
            return everyone
        return [int(np.argmin(costs.mean(axis=0)))]
    ranks = stats.rankdata(costs, axis=1)
    sums = ranks.sum(axis=0)
    within = (ranks**2).sum()
    # All tied: Friedman's statistic is 0/0.
    if np.isclose(within, blocks * candidates * (candidates + 1) ** 2 / 4):
        return everyone
    if not stats.friedmanchisquare(*costs.T).pvalue < alpha:
        return everyone
    freedom = (blocks - 1) * (candidates - 1)
    spread = 2 * max(blocks * within - (sums**2).sum(), 0.0) / freedom
    limit = stats.t.ppf(1 - alpha / 2, freedom) * np.sqrt(spread)
    return [i for i in everyone if sums[i] - sums.min() <= limit]


def least_of_round(candidates: int, pairs: int, first_test: int = FIRST_TEST) -> int:
    """Trials of a round in which all but the best are dropped at the first test."""
    return candidates * min(first_test, pairs) + max(pairs - first_test, 0)


def trials_needed(space: Space, source: Config, target: Config, pairs: int) -> tuple[int, int]:
    """Trials that a race takes: for both ends and one round, and at most.

    A lone flip may take others along, which makes it fewer.
    """
    source, target = _checked(space, source, target)
    first = len(_candidates(space, source, target))
    differing = len(_initiators(source, target)) + len(source.keys() ^ target.keys())
    most = pairs * (differing * (differing + 1) // 2 + 2)
    return min(2 * pairs + least_of_round(first, pairs), most), most


def table(path: AblationPath) -> pd.DataFrame:
    """One row a step, the source as step 0; `changes` reads `name: old > new; ...`."""
    rows: list[dict[str, object]] = [
        dict.fromkeys(COLUMNS, None)
        | {"step": 0, "parameters": "", "changes": "", "cost": path.source_cost, "gain": 0.0}
        | {"share": 0.0, "candidates": 0, "trials": 0}
    ]
    before = path.source
    for number, step in enumerate(path.steps, start=1):
        changes = "; ".join(
            f"{name}: {_shown(before.get(name))} > {_shown(step.config.get(name))}"
            for name in step.parameters
        )
        rows.append(
            {
                "step": number,
                "parameters": " + ".join(step.parameters),
                "changes": changes,
                "cost": step.cost,
                "gain": step.gain,
                "share": step.share,
                "candidates": step.candidates,
                "trials": step.trials,
            }
        )
        before = step.config
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["share"] = frame["share"].astype(float)
    return frame


def flip(space: Space, current: Config, target: Config, name: str) -> Config:
    """`current` with one parameter as in `target`, and with the children that this concerns.

    A child that becomes active takes the target's value (its default where it is inactive there
    too), one that becomes inactive goes; a child active on both sides stays as it is.
    """
    flipped: Config = {**current, name: target[name]}
    while True:
        active = space.active(flipped)
        added = {
            child: target.get(child, space.by_name[child].default)
            for child in active
            if child not in flipped
        }
        flipped = {child: (flipped | added)[child] for child in active}
        # Values that have just come may be parents themselves.
        if space.active(flipped) == active:
            return flipped


def _checked(space: Space, source: Config, target: Config) -> tuple[Config, Config]:
    source, target = space.check(source), space.check(target)
    if source == target:
        raise BadInput("source and target of an ablation are the same configuration")
    return source, target


def _walk(
    space: Space,
    source: Config,
    target: Config,
    source_cost: float,
    target_cost: float,
    best: Callable[[list[Config]], tuple[int, float, int] | None],
) -> tuple[AblationStep, ...]:
    steps: list[AblationStep] = []
    current, cost = source, source_cost
    while current != target:
        candidates = _candidates(space, current, target)
        if (found := best(candidates)) is None:
            candidates, found = [target], (0, target_cost, 0)
        place, after, trials = found
        config = candidates[place]
        changed = tuple(n for n in space.by_name if current.get(n) != config.get(n))
        gain = cost - after
        whole = source_cost - target_cost
        share = gain / whole if whole else None
        steps.append(
            AblationStep(
                parameters=changed,
                config=config,
                cost=after,
                gain=gain,
                share=share,
                candidates=len(candidates),
                trials=trials,
            )
        )
        current, cost = config, after
    return tuple(steps)


def _initiators(current: Config, target: Config) -> list[str]:
    """Parameters active on both sides with different values; others flip with their parents."""
    return [name for name in current if name in target and current[name] != target[name]]


def _candidates(space: Space, current: Config, target: Config) -> list[Config]:
    """The allowed configurations one flip away, or the fewest flips together that are allowed."""
    names = _initiators(current, target)
    for together in range(1, len(names) + 1):
        allowed: dict[str, Config] = {}
        for group in combinations(names, together):
            flipped = current
            for name in group:
                if name in flipped:
                    flipped = flip(space, flipped, target, name)
            if _allowed(space, flipped):
                allowed.setdefault(config_id(flipped), flipped)
        if allowed:
            return list(allowed.values())
    raise BadInput("no allowed way from source to target of an ablation")


def _allowed(space: Space, config: Config) -> bool:
    try:
        space.check(config)
    except BadInput:
        return False
    return True


def _shown(value: object) -> str:
    if value is None:
        return "inactive"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
