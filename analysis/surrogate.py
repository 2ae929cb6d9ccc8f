"""A random forest that predicts the cost of a configuration, and the measure its space has.

**Source**: the surrogate of Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing
Hyperparameter Importance", ICML 2014, fitted by scikit-learn's RandomForestRegressor.
**Differs**: the measure is the one the scenario samples with (log parameters log-uniform, integers
as atoms, categories as the forbidden combinations leave them), not uniform on raw ranges; a
parameter that is inactive has a point of its own, with the probability of being inactive.
"""

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from wrappers.space import Config, Parameter, Space, config_id

Array = NDArray[np.float64]

INACTIVE = -1.0
"""Where an inactive parameter lies on its axis; active ones lie in [0, 1] or are codes from 0."""
FEWEST = 30
"""Different configurations below which no surrogate is fitted."""
LEAST_R2 = 0.3
"""Out-of-bag R² below which nothing is concluded from a surrogate."""
TREES = 64
DRAWN = 20_000
"""Combinations of values that a space's probabilities are computed from."""
_MOST_ATOMS = 10_000  # integers with more values are measured as if they were real


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer; never zeros in its place."""

    reason: str


@dataclass(frozen=True)
class Axis:
    """One parameter as the forest sees it: where its values lie and how likely each is."""

    parameter: Parameter
    inactive: float
    """Probability that the parameter is inactive in a sampled configuration."""
    atoms: Array
    """Places of the values of a categorical or integer parameter, ascending; none for reals."""
    cumulative: Array
    """Probability, where active, of an atom or one below it; as long as `atoms`, and a 0 first."""

    def place(self, value: object) -> float:
        """Where a value lies: a category's code, or a fraction of the sampled range in [0, 1]."""
        if value is None:
            return INACTIVE
        if self.parameter.kind == "categorical":
            return float(self.parameter.choices.index(str(value)))
        number = float(str(value))
        low, high = _range(self.parameter)
        if self.parameter.log:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    def below(self, cuts: Array) -> Array:
        """Probability that a sampled configuration lies at a cut or below it, for each cut."""
        if len(self.atoms):
            active = self.cumulative[np.searchsorted(self.atoms, cuts, side="right")]
        else:
            active = np.clip(cuts, 0.0, 1.0)
        return self.inactive * (cuts >= INACTIVE) + (1.0 - self.inactive) * active


@dataclass(frozen=True)
class Surrogate:
    """A fitted forest, with what is needed to judge it."""

    space: Space
    axes: tuple[Axis, ...]
    forest: Any
    """scikit-learn's."""
    r2: float
    """Out-of-bag coefficient of determination; 1 is perfect, 0 no better than the mean."""
    configurations: int
    """How many it was fitted on."""
    trials: int
    """How many their costs are means of."""
    places: Array
    """Where the configurations lie, as a (configurations, parameters) array."""
    costs: Array
    """Their adjusted costs."""

    @property
    def conclusive(self) -> bool:
        """Whether anything is concluded from it."""
        return self.r2 >= LEAST_R2

    def predict(self, configs: Sequence[Mapping[str, object]]) -> list[float]:
        """Predicted costs."""
        return [float(cost) for cost in self.forest.predict(encode(configs, self.axes))]


def axes(space: Space) -> tuple[Axis, ...]:
    """The axes of a space, with the probabilities of categories and of being inactive.

    Parents of conditions and members of forbidden combinations are looked at together, as rejection
    sampling draws them; all else is independent of them. Exact where they have no more than `DRAWN`
    combinations of values, else from so many draws, with a standard error of .005 at most.
    """
    tangled = {condition.parent for condition in space.conditions}
    tangled |= {name for clause in space.forbidden for name, _ in clause}
    names = [parameter.name for parameter in space.parameters if parameter.name in tangled]
    active = dict.fromkeys(space.by_name, 0.0)
    taken: dict[str, dict[str, float]] = {name: {} for name in names}
    whole = 0.0
    for values in _combinations([space.by_name[name].choices for name in names]):
        drawn = dict(zip(names, values, strict=True))
        alive = set(space.active(drawn))
        if any(all(n in alive and drawn[n] == v for n, v in c) for c in space.forbidden):
            continue
        # An assignment with an inactive parent stands once for each of the parent's values, so
        # that every one has the same weight.
        whole += 1.0
        for name in alive:
            active[name] += 1.0
        for name in alive & tangled:
            taken[name][drawn[name]] = taken[name].get(drawn[name], 0.0) + 1.0
    return tuple(
        _axis(parameter, 1.0 - active[parameter.name] / whole, taken.get(parameter.name))
        for parameter in space.parameters
    )


def _combinations(choices: Sequence[Sequence[str]]) -> Iterable[tuple[str, ...]]:
    """All combinations of values, or as many draws of them as are enough; the same ones always."""
    if math.prod(map(len, choices)) <= DRAWN:
        return itertools.product(*choices)
    rng = random.Random(0)
    return (tuple(rng.choice(values) for values in choices) for _ in range(DRAWN))


def families(space: Space) -> tuple[tuple[str, ...], ...]:
    """The parameters of a space, each with those that conditions tie it to, parents first."""
    groups: list[tuple[str, ...]] = []
    tied = {name: name for name in space.by_name}
    for condition in space.conditions:
        old, new = tied[condition.child], tied[condition.parent]
        tied = {name: new if root == old else root for name, root in tied.items()}
    for root in dict.fromkeys(tied.values()):
        members = [name for name in space.by_name if tied[name] == root]
        # A stable sort: what has no condition of its own comes first.
        groups.append(tuple(sorted(members, key=lambda name: bool(space.conditions_of(name)))))
    return tuple(groups)


def encode(configs: Sequence[Mapping[str, object]], axes: Sequence[Axis]) -> Array:
    """A (configurations, parameters) array of places."""
    rows = [[axis.place(config.get(axis.parameter.name)) for axis in axes] for config in configs]
    return np.array(rows, dtype=np.float64)


def configuration_costs(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration: `config`, `evaluations`, mean `cost` and `adjusted` cost.

    `adjusted` has the effect of the (instance, seed) pairs removed: configurations that raced
    longer met other pairs than those dropped early. Least squares on configuration + pair, the
    effects of pairs shrunk as if they varied as much as the noise; exact, one linear system.
    """
    configs, config_ids = pd.factorize(trials["config_id"])
    pairs = pd.factorize(trials["instance"].astype(str) + "#" + trials["seed"].astype(str))[0]
    cost = trials["cost"].to_numpy(float)
    table = np.zeros((len(config_ids), pairs.max() + 1))
    np.add.at(table, (configs, pairs), 1.0)
    per_config, per_pair = table.sum(axis=1), table.sum(axis=0)
    means = np.bincount(configs, cost) / per_config
    left = np.diag(per_pair + 1.0) - table.T @ (table / per_config[:, None])
    effect = np.linalg.solve(left, np.bincount(pairs, cost) - table.T @ means)
    adjusted = means - (table @ effect) / per_config + per_pair @ effect / per_pair.sum()
    first = trials.drop_duplicates("config_id")["config"]
    return pd.DataFrame(
        {
            "config_id": config_ids,
            "config": first.to_list(),
            "evaluations": per_config.astype(int),
            "cost": means,
            "adjusted": adjusted,
        }
    )


def fit(
    trials: pd.DataFrame, space: Space, *, seed: int = 0, trees: int = TREES
) -> Surrogate | Refusal:
    """A forest on the adjusted costs of all configurations of `trials`, which share a scenario.

    Refused where there are too few of them, where all cost the same, or where they are not of
    this space. Deterministic for a seed.
    """
    if trials.empty:
        return Refusal("no trials are recorded")
    costs = configuration_costs(trials)
    if len(costs) < FEWEST:
        return Refusal(f"{len(costs)} different configurations, at least {FEWEST} are needed")
    wrong = _foreign(costs["config"].to_list(), space)
    if wrong:
        return Refusal(f"the record is of another parameter space than this checkout's: {wrong}")
    target = costs["adjusted"].to_numpy(float)
    if np.ptp(target) <= 1e-12 * max(1.0, float(np.abs(target).max())):
        return Refusal("all configurations cost the same, there is nothing to explain")
    dimensions = axes(space)
    places = encode(costs["config"].to_list(), dimensions)
    forest = grown(places, target, seed=seed, trees=trees, judged=True)
    return Surrogate(
        space=space,
        axes=dimensions,
        forest=forest,
        r2=float(forest.oob_score_),
        configurations=len(costs),
        trials=len(trials),
        places=places,
        costs=target,
    )


def grown(places: Array, costs: Array, *, seed: int, trees: int, judged: bool = False) -> Any:
    """scikit-learn's forest on places and costs; `judged`: with an out-of-bag score."""
    return RandomForestRegressor(
        n_estimators=trees,
        max_features=0.7,
        min_samples_leaf=2,
        bootstrap=True,
        oob_score=judged,
        random_state=seed,
        n_jobs=1,
    ).fit(places, costs)


def far_off(
    fitted: Surrogate, costs: pd.DataFrame, source: Config, target: Config
) -> Refusal | None:
    """Why a path between two measured configurations must not be shown on this surrogate, if so.

    `costs` is the table of `configuration_costs`. A forest can be good over the whole space and
    wrong where one looks: both ends must be predicted to within half of their measured difference.
    """
    measured = costs.set_index("config_id")["adjusted"]
    for name, config in (("default", source), ("incumbent", target)):
        if config_id(config) not in measured:
            return Refusal(f"the {name} is not among the trials of the record")
    ends = [float(measured[config_id(config)]) for config in (source, target)]
    predicted = fitted.predict([source, target])
    worst = max(abs(p - m) for p, m in zip(predicted, ends, strict=True))
    if worst <= abs(ends[0] - ends[1]) / 2:
        return None
    shown = [f"{100 * value:.1f} %" for value in (*predicted, *ends)]
    return Refusal(
        f"the surrogate predicts {shown[0]} for the default and {shown[1]} for the incumbent where"
        f" {shown[2]} and {shown[3]} were measured"
    )


def _foreign(configs: Sequence[Config], space: Space) -> str:
    for config in configs:
        try:
            space.check(config)
        except ValueError as error:
            return str(error)
    return ""


def _range(parameter: Parameter) -> tuple[float, float]:
    """The interval whose uniform (or log-uniform) draw, rounded, is the parameter's sample."""
    margin = 0.5 if parameter.kind == "integer" else 0.0
    return parameter.low - margin, parameter.high + margin


def _axis(parameter: Parameter, inactive: float, counts: Mapping[str, float] | None) -> Axis:
    atoms = np.empty(0)
    masses = np.empty(0)
    bare = Axis(parameter, inactive, atoms, masses)
    if parameter.kind == "categorical":
        atoms = np.arange(len(parameter.choices), dtype=np.float64)
        fractions = counts or {}
        masses = np.array([fractions.get(c, 0.0 if fractions else 1.0) for c in parameter.choices])
    elif parameter.kind == "integer" and parameter.high - parameter.low < _MOST_ATOMS:
        values = range(int(parameter.low), int(parameter.high) + 1)
        atoms = np.array([bare.place(value) for value in values])
        edges = np.array([value - 0.5 for value in (*values, parameter.high + 1)])
        masses = np.diff(np.log(edges) if parameter.log else edges)
    total = masses.sum() if len(masses) and masses.sum() > 0 else 1.0
    # A clean 1 at the end, so that the fractions of a partition add up to 1.
    cumulative = np.concatenate([[0.0], np.cumsum(masses) / total])
    cumulative[-1] = 1.0 if len(masses) else 0.0
    return Axis(parameter, inactive, atoms, cumulative)
