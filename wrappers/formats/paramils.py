"""ParamILS 2.3 and RamParILS: the space in choices only, and a scenario that names it.

ParamILS knows categorical parameters; of an old PCS it reads those and loses the numbers without
a word. So every number has `STEPS` values here, evenly spaced on its scale, and its default. To be
run from the root of the scenario, with a budget of its own:

    ruby param_ils_2_3_run.rb -scenariofile FOLDER/scenario.txt -numRun 1 -validN 0

RamParILS takes both by Python, and knows neither seeds nor a number of calls: its budget is the
scenario's in seconds, and every trial has the seed 1.

    python -c "import json, ramparils
    print(ramparils.specialize(**json.load(open('FOLDER/ramparils.json'))))"

**Source**: param_reader.rb and param_ils_2_3_run.rb of 2.3.7, which has been run on these files.
scenario-2.3.8.txt has the keys and the objective of 2.3.8 by its documents; it has not been run.
RamParILS 0.2.0, which has been run on these files.
**Differs** from AClib's discretisation in nothing but its digits.
"""

import json
import os
from pathlib import Path

from wrappers.formats._text import clauses, text
from wrappers.scenario import Scenario
from wrappers.space import Parameter, Space, number_text

STEPS = 7

_RUNNER = """\
#!/bin/sh
# RamParILS gives instance, cutoff and configuration; it looks for a line of its own.
instance=$1
shift 2
told='^Result for ParamILS: \\([A-Z]*\\), \\([^,]*\\), [^,]*, \\([^,]*\\),.*'
{command} "$instance" 0 {cutoff} 0 1 "$@" |
    sed -n "s/$told/#%# RamParIls #%# \\1, \\2, \\3/p"
"""


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The space, a scenario for each release, and what RamParILS wants."""
    said = dict(line.split(" = ", 1) for line in scenario.text.splitlines() if " = " in line)
    said["paramfile"] = f"{os.path.relpath(folder, scenario.root)}/params.pcs"
    said["cutoff_length"] = "max"
    older = {name: value for name, value in said.items() if name != "feature_file"}
    newer = {name: value for name, value in older.items() if name not in _GONE}
    newer |= {"run_obj": "qual", "tunerTimeout": "max", "wallclock-limit": said["wallclock_limit"]}
    ours = {
        "algo": f"{os.path.relpath(folder, scenario.root)}/ramparils-runner",
        "paramfile": said["paramfile"],
        "instances": list(scenario.training),
        "cutoff_time": scenario.cutoff,
        "tuner_timeout": float(said["wallclock_limit"]),
        "run_obj": "quality",
        "cores": 1,
    }
    default = {parameter.name: _text(parameter.default) for parameter in scenario.space.parameters}
    return {
        "ramparils.json": json.dumps({"strategy": default, "scenario": ours}, indent=1) + "\n",
        "ramparils-runner": _RUNNER.format(
            command=scenario.algo, cutoff=number_text(scenario.cutoff)
        ),
        "params.pcs": discretised(scenario.space),
        "scenario.txt": text(f"{name} = {value}" for name, value in older.items()),
        "scenario-2.3.8.txt": text(f"{name} = {value}" for name, value in newer.items()),
    }


_GONE = ("wallclock_limit", "runcount_limit")


def discretised(space: Space) -> str:
    """The space in old PCS, of categorical parameters only."""
    lines = [
        f"{p.name} {{{', '.join(_choices(p))}}} [{_text(p.default)}]" for p in space.parameters
    ]
    lines += [f"{condition.child} | {condition}" for condition in space.conditions]
    return text([*lines, *clauses(space)])


def _choices(parameter: Parameter) -> list[str]:
    if parameter.kind == "categorical":
        return list(parameter.choices)
    low, high = float(parameter.low), float(parameter.high)
    shares = [step / (STEPS - 1) for step in range(STEPS)]
    if parameter.log:
        values = [low * (high / low) ** share for share in shares]
    else:
        values = [low + (high - low) * share for share in shares]
    values = [low, *(float(f"{value:.6g}") for value in values[1:-1]), high]
    if parameter.kind == "integer":
        values = [round(value) for value in values]
    every = {parameter.check(value) for value in [*values, parameter.default]}
    return [_text(value) for value in sorted(every, key=float)]


def _text(value: object) -> str:
    return number_text(value) if isinstance(value, (int, float)) else str(value)
