"""One space, every configurator's own files: PCS old and new, ConfigSpace JSON, irace 3.5 and 4.

**Source**: SMAC v2.08's and v2.10's manuals (PCS), ConfigSpace's own JSON writer, irace's guide and
its `readParameters`, `readForbiddenFile`, `readScenario` (3.5; the files for 4 follow its NEWS and
sources).
**Differs**: irace's own `read_pcs_file` is not used: it loses conditions without a word.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from target_algorithms.errors import BadInput
from wrappers.files import write_whole
from wrappers.scenario import PROGRAM, Scenario, read, set_instances
from wrappers.space import Condition, Config, Parameter, Space, number_text

DIGITS = 12
"""Decimal places irace 4 keeps of a real (3.5 keeps 15 in its `aclib` mode, whatever is set).

irace rounds reals to *places*, not to significant digits: its default of 4 would turn a
weight decay of 0.000001 into 0. Fewer than 15, because rounding is also what keeps the rounding
error of exp(log(bound)) from leaving the range, which irace treats as a fault of its own."""

_RUNNER = """\
#!/bin/sh
# irace 4 gives its target runner the instance, the seed and the configuration, and nothing else:
# what the scenario fixes is added here. Called from the repository's root.
exec {command} --cutoff {cutoff} "$@"
"""


def old_pcs(space: Space) -> str:
    """The space in old PCS syntax (SMAC v2.08): parameters, conditions, forbidden combinations."""
    lines = []
    for parameter in space.parameters:
        if parameter.kind == "categorical":
            lines.append(
                f"{parameter.name} {{{', '.join(parameter.choices)}}} [{parameter.default}]"
            )
        else:
            flags = "i" * (parameter.kind == "integer") + "l" * parameter.log
            lines.append(
                f"{parameter.name} {_bounds(parameter, '[]')} [{_default(parameter)}]{flags}"
            )
    for condition in space.conditions:
        lines.append(f"{condition.child} | {condition}")
    return _text([*lines, *_clauses(space)])


def new_pcs(space: Space) -> str:
    """The space in new PCS syntax (SMAC v2.10, ConfigSpace's `pcs_new`)."""
    lines = []
    for parameter in space.parameters:
        if parameter.kind == "categorical":
            choices = ", ".join(parameter.choices)
            lines.append(f"{parameter.name} categorical {{{choices}}} [{parameter.default}]")
        else:
            log = " log" * parameter.log
            lines.append(
                f"{parameter.name} {parameter.kind} {_bounds(parameter, '[]')}"
                f" [{_default(parameter)}]{log}"
            )
    for child, conditions in _by_child(space).items():
        lines.append(f"{child} | {' && '.join(map(str, conditions))}")
    return _text([*lines, *_clauses(space)])


def to_configspace(space: Space, *, seed: int | None = None) -> Any:
    """The space as a `ConfigSpace.ConfigurationSpace`, its sampler seeded with `seed`."""
    import ConfigSpace as cs

    made = cs.ConfigurationSpace(seed=seed)
    made.add([_hyperparameter(parameter) for parameter in space.parameters])
    conditions = []
    for child, of_child in _by_child(space).items():
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
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.json"
        to_configspace(space).to_json(path)
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1) + "\n"


def irace_parameters(space: Space) -> str:
    """irace's table of parameters, read alike by 3.5, 4.x and crace.

    The label is the name and a space: irace's `aclib` mode puts one `-` before it and the value
    behind it, which makes `-name value`.
    """
    rows = []
    conditions = _by_child(space)
    for parameter in space.parameters:
        kind = {"categorical": "c", "integer": "i", "real": "r"}[parameter.kind]
        domain = (
            "(" + ", ".join(f'"{choice}"' for choice in parameter.choices) + ")"
            if parameter.kind == "categorical"
            else _bounds(parameter, "()")
        )
        # Each in parentheses, joined by a single &: crace reads conditions in Python's precedence.
        condition = " & ".join(_r_condition(one) for one in conditions.get(parameter.name, ()))
        rows.append(
            (
                parameter.name,
                f'"{parameter.name} "',
                kind + ",log" * parameter.log,
                domain + (f" | {condition}" if condition else ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return _text(
        " ".join(
            [*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]
        )
        for row in rows
    )


def irace_forbidden(space: Space) -> str:
    """irace's forbidden combinations: one R expression a line, TRUE where forbidden."""
    return _text(
        " & ".join(f'({name} == "{value}")' for name, value in clause) for clause in space.forbidden
    )


def irace_configurations(space: Space, configs: Iterable[Mapping[str, object]]) -> str:
    """irace's table of configurations: a header, then a row each, NA where inactive."""
    names = [parameter.name for parameter in space.parameters]
    rows = [
        [_cell(config[name]) if name in config else "NA" for name in names] for config in configs
    ]
    return _text(" ".join(row) for row in [names, *rows])


def export(folder: str | Path) -> dict[Path, str]:
    """All files generated from a scenario and its variant's space, by their paths.

    Raises BadInput for whatever is wrong in the scenario.
    """
    scenario = read(folder, check_paramfile=False)
    space = scenario.space
    default = irace_configurations(space, [space.default])
    parameters, forbidden = irace_parameters(space), irace_forbidden(space)
    sections = f"\n[forbidden]\n{forbidden}" if forbidden else ""
    of_v4 = f"{parameters}{sections}\n[global]\ndigits = {DIGITS}\n"
    return {
        scenario.folder / name: text
        for name, text in {
            "params.pcs": old_pcs(space),
            "params.new.pcs": new_pcs(space),
            "space.json": configspace_json(space),
            "irace-3.5/parameters.txt": parameters,
            "irace-3.5/forbidden.txt": forbidden,
            "irace-3.5/default.txt": default,
            "irace-3.5/scenario.txt": _irace_scenario_35(scenario, space),
            "irace-4/parameters.txt": of_v4,
            "irace-4/default.txt": default,
            "irace-4/scenario.txt": _irace_scenario_4(scenario),
            "irace-4/target-runner": _RUNNER.format(
                command=scenario.algo, cutoff=number_text(scenario.cutoff)
            ),
        }.items()
    }


def write(folder: str | Path) -> tuple[Path, ...]:
    """Write what `export` makes, and say what has changed: the paths of files new or different."""
    return _write(export(folder))


def write_features(set_folder: str | Path) -> tuple[Path, ...]:
    """Write features.csv of a set, from the data; the path if it changed."""
    return _write({Path(set_folder) / "features.csv": features_csv(set_folder)})


def _write(files: Mapping[Path, str]) -> tuple[Path, ...]:
    changed = []
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, text)
            changed.append(path)
        if path.name == "target-runner":
            path.chmod(0o755)
    return tuple(changed)


def features_csv(set_folder: str | Path) -> str:
    """The text of features.csv for all instances of a set, computed from their data.

    The header of the file says which features describe the set; a set without the file gets those
    that tell its instances apart. Instances whose data have not been fetched keep the row that they
    have. Raises BadInput for an unknown feature, and where there is neither a row nor data.
    """
    from target_algorithms.instances import features

    folder = Path(set_folder)
    instances, kept = set_instances(folder), set(unfetched(folder))
    file = folder / "features.csv"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    row_of = {line.partition(",")[0]: line for line in lines}
    # What is asked for first is what there must be: it raises if it is not.
    of_instance = {
        instance: features(instance)
        for instance in instances
        if instance not in kept or instance not in row_of
    }
    known = tuple(next(iter(of_instance.values()), {}))
    if lines:
        names: Sequence[str] = lines[0].split(",")[1:]
        for name in names if known else ():
            if name not in known:
                raise BadInput(
                    f"{file}, line 1: unknown feature {name!r}, expected some of {', '.join(known)}"
                )
    else:
        columns = {name: {values[name] for values in of_instance.values()} for name in known}
        names = [name for name in known if len(columns[name]) > 1]
    rows = [",".join(("instance", *names))]
    for instance in instances:
        values = of_instance.get(instance)
        if values is None:
            rows.append(row_of[instance])
        else:
            rows.append(",".join((instance, *(number_text(values[name]) for name in names))))
    return _text(rows)


def unfetched(set_folder: str | Path) -> tuple[str, ...]:
    """The instances of a set whose data are not here."""
    from target_algorithms.instances import at_hand

    return tuple(name for name in set_instances(Path(set_folder)) if not at_hand(name))


def _irace_scenario_35(scenario: Scenario, space: Space) -> str:
    command = " ".join(scenario.algo.split()[len(PROGRAM) :])
    return _text(
        [
            f"## {scenario.name} for irace 3.5. Generated: 'sparse-aclib export' writes it anew.",
            "## From the repository's root:",
            f"##   irace --scenario {_shown(scenario)}/irace-3.5/scenario.txt",
            *_irace_common(scenario),
            'forbiddenFile = "./forbidden.txt"' if space.forbidden else 'forbiddenFile = ""',
            'targetRunner = "../../../../wrappers/target"',
            f'targetRunnerLauncher = "{PROGRAM[0]}"',
            # Quotes, because irace puts in an absolute path, which may hold a space.
            f"targetRunnerLauncherArgs = \"'{{targetRunner}}' {command}"
            f' --cutoff {number_text(scenario.cutoff)} {{targetRunnerArgs}}"',
        ]
    )


def _irace_scenario_4(scenario: Scenario) -> str:
    return _text(
        [
            f"## {scenario.name} for irace 4. Generated: 'sparse-aclib export' writes it anew.",
            "## From the repository's root:",
            f"##   irace --scenario {_shown(scenario)}/irace-4/scenario.txt",
            *_irace_common(scenario),
            "## In its aclib mode irace 4 does not look at targetCmdline.",
            'targetRunner = "./target-runner"',
        ]
    )


def _irace_common(scenario: Scenario) -> list[str]:
    """What both versions understand. Paths are relative to the file, the log file to execDir."""
    to_root = os.path.relpath(scenario.root, scenario.folder / "irace-version")
    return [
        "aclib = 1",
        f'execDir = "{to_root}"',
        f'logFile = "./results/irace-{scenario.set}-{scenario.variant}.Rdata"',
        f"deterministic = {int(scenario.deterministic)}",
        f"maxExperiments = {scenario.runcount_limit}",
        'parameterFile = "./parameters.txt"',
        'configurationsFile = "./default.txt"',
        'trainInstancesDir = ""',
        f'trainInstancesFile = "{to_root}/{os.path.normpath(scenario.instance_file)}"',
        'testInstancesDir = ""',
        f'testInstancesFile = "{to_root}/{os.path.normpath(scenario.test_instance_file)}"',
    ]


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


def _by_child(space: Space) -> dict[str, tuple[Condition, ...]]:
    """The conditions of each conditional parameter, in the order of the space."""
    return {
        parameter.name: space.conditions_of(parameter.name)
        for parameter in space.parameters
        if space.conditions_of(parameter.name)
    }


def _clauses(space: Space) -> list[str]:
    """Forbidden combinations; selector-ac needs the space after the comma."""
    return [
        "{" + ", ".join(f"{name}={value}" for name, value in clause) + "}"
        for clause in space.forbidden
    ]


def _r_condition(condition: Condition) -> str:
    if len(condition.values) == 1:
        return f'({condition.parent} == "{condition.values[0]}")'
    values = ", ".join(f'"{value}"' for value in condition.values)
    return f"({condition.parent} %in% c({values}))"


def _bounds(parameter: Parameter, brackets: str) -> str:
    return f"{brackets[0]}{number_text(parameter.low)}, {number_text(parameter.high)}{brackets[1]}"


def _default(parameter: Parameter) -> str:
    return _cell(parameter.default)


def _cell(value: object) -> str:
    return number_text(value) if isinstance(value, (int, float)) else str(value)


def _shown(scenario: Scenario) -> str:
    return scenario.folder.relative_to(scenario.root).as_posix()


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
