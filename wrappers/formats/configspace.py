"""ConfigSpace 1.x: its objects, and its own JSON."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wrappers.formats._text import by_child
from wrappers.scenario import Scenario
from wrappers.space import Config, Parameter, Space


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The space."""
    return {"space.json": configspace_json(scenario.space)}


def to_configspace(space: Space, *, seed: int | None = None) -> Any:
    """The space as a `ConfigSpace.ConfigurationSpace`, its sampler seeded with `seed`."""
    import ConfigSpace as cs

    made = cs.ConfigurationSpace(seed=seed)
    made.add([_hyperparameter(parameter) for parameter in space.parameters])
    conditions = []
    for child, of_child in by_child(space).items():
        parts = [
            cs.InCondition(made[child], made[condition.parent], list(condition.values))
            for condition in of_child
        ]
        conditions.append(parts[0] if len(parts) == 1 else cs.AndConjunction(*parts))
    made.add(conditions)
    for clause in space.forbidden:
        equals = [cs.ForbiddenEqualsClause(made[name], value) for name, value in clause]
        made.add(equals[0] if len(equals) == 1 else cs.ForbiddenAndConjunction(*equals))
    return made


def from_configspace(configuration: Mapping[str, Any]) -> Config:
    """A ConfigSpace configuration as ours: Python's own types, not NumPy's (`np.str_('relu')`)."""
    return {
        name: str(value) if isinstance(value, str) else getattr(value, "item", lambda v=value: v)()
        for name, value in dict(configuration).items()
    }


def configspace_json(space: Space) -> str:
    """The space as ConfigSpace's own JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.json"
        to_configspace(space).to_json(path)
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1) + "\n"


def _hyperparameter(parameter: Parameter) -> Any:
    import ConfigSpace as cs

    if parameter.kind == "categorical":
        return cs.CategoricalHyperparameter(
            parameter.name, list(parameter.choices), default_value=parameter.default
        )
    kind = (
        cs.UniformIntegerHyperparameter
        if parameter.kind == "integer"
        else cs.UniformFloatHyperparameter
    )
    return kind(
        parameter.name,
        lower=parameter.low,
        upper=parameter.high,
        default_value=parameter.default,
        log=parameter.log,
    )
