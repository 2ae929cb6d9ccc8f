"""crace: tables as irace's, with what crace does otherwise.

    cd ROOT; crace --scenario FOLDER/crace-scenario.txt --seed 1

crace leaves a folder `log` in the root.

Choices have no quotes; `none`, which crace takes for no value at all, is `none_`; crace keeps four
digits behind the point whatever the range, so a number on a logarithmic scale stands there as a
power of ten, to four digits, and so does the default. The target runner undoes all that, and prints
the cost alone, as crace wants it.

**Source**: crace 1.4.0, which has been run on these files.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from target_algorithms.contract import Value
from wrappers.formats import irace_3_5
from wrappers.formats._text import text
from wrappers.scenario import Scenario
from wrappers.space import Parameter, Space, number_text

DIGITS = 4

_RUNNER = """\
#!/bin/sh
# Given: numbers of configuration and instance, seed, instance; then name and value in turn.
seed=$3 instance=$4
shift 4
words=$(printf '%s\\n' "$@" | awk '
    NR % 2 {{ name = $0; print; next }}
    name ~ /^-({powers})$/ {{ printf "%.10g\\n", exp($0 * log(10)); next }}
    {{ print $0 == "none_" ? "none" : $0 }}')
{command} "$instance" 0 {cutoff} 0 "$seed" $words |
    sed -n 's/^Result for ParamILS: \\(SUCCESS\\|TIMEOUT\\|CRASHED\\), [^,]*, \\([^,]*\\),.*/\\2/p'
"""


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """Tables of parameters, forbidden combinations and the default, scenario, target runner."""
    space = crace_space(scenario.space)
    powers = [p.name for p in scenario.space.parameters if _is_power(p)]
    default = {name: _rounded(value) for name, value in space.default.items()}
    tables = {
        "crace-parameters.txt": _LINE.sub(_as_crace, irace_3_5.parameters(space)),
        "crace-default.txt": irace_3_5.configurations(space, [default]),
        "target-runner": _RUNNER.format(
            command=scenario.algo,
            cutoff=number_text(scenario.cutoff),
            powers="|".join(powers) or "no such",
        ),
    }
    if space.forbidden:
        tables["crace-forbidden.txt"] = irace_3_5.forbidden(space)
    place = folder.resolve()
    lines = [
        f"## {scenario.name} for crace, to be run from the root of the scenario.",
        f'execDir = "{irace_3_5.to_root(scenario, folder)}"',
        f"deterministic = {int(scenario.deterministic)}",
        f"maxExperiments = {scenario.runcount_limit}",
        f'parameterFile = "{place}/crace-parameters.txt"',
        f'configurationsFile = "{place}/crace-default.txt"',
        f'forbiddenFile = "{place}/crace-forbidden.txt"' if space.forbidden else "",
        f'trainInstancesFile = "{scenario.root / scenario.instance_file}"',
        'trainInstancesDir = ""',
        f'targetRunner = "{place}/target-runner"',
    ]
    return {**tables, "crace-scenario.txt": text(line for line in lines if line)}


def crace_space(space: Space) -> Space:
    """The space as crace sees it: `none_` for `none`, powers of ten for logarithmic scales."""
    return Space(
        tuple(map(_seen, space.parameters)),
        tuple(replace(c, values=tuple(map(_named, c.values))) for c in space.conditions),
        tuple(tuple((name, _named(value)) for name, value in clause) for clause in space.forbidden),
    )


def undone(config: Mapping[str, Value], space: Space) -> dict[str, Value]:
    """A configuration of crace's as one of the space: what the target runner does."""
    return {
        name: 10.0 ** float(value)
        if _is_power(space.by_name[name])
        else "none"
        if value == "none_"
        else value
        for name, value in config.items()
    }


def _is_power(parameter: Parameter) -> bool:
    return parameter.kind == "real" and parameter.log


def _seen(parameter: Parameter) -> Parameter:
    if parameter.kind == "categorical":
        choices = tuple(map(_named, parameter.choices))
        return replace(parameter, choices=choices, default=_named(str(parameter.default)))
    if not _is_power(parameter):
        return parameter
    scale = 10**DIGITS  # inwards, so that no power of ten is outside
    low = math.ceil(round(math.log10(parameter.low) * scale, 6)) / scale
    high = math.floor(round(math.log10(parameter.high) * scale, 6)) / scale
    default = min(max(math.log10(float(parameter.default)), low), high)
    return replace(parameter, low=low, high=high, default=default, log=False)


def _named(value: str) -> str:
    return "none_" if value == "none" else value


def _rounded(value: Value) -> Value:
    return round(value, DIGITS) if isinstance(value, float) else value


_LINE = re.compile(r'^(\S+ +")(.*?" +\S+ +)(\(.*?\))', re.MULTILINE)


def _as_crace(found: re.Match[str]) -> str:
    """A line with the dash that irace adds by itself, and choices without quotes."""
    domain = found[3].replace('"', "")
    return f"{found[1]}-{found[2]}{domain}"
