"""SMAC 2.x's own way of calling a program, `TargetFunctionScriptRunner`: the script, and the space.

    SmacScenario(ConfigurationSpace.from_json("FOLDER/space.json"), ...)
    AlgorithmConfigurationFacade(scenario, "FOLDER/target-script", ...)

SMAC gives the script `--instance=I --seed=N --name=value ...` and reads a line like `cost=0.1;
runtime=2.5; status=SUCCESS`. Run from the root of the scenario.

**Source**: SMAC 2.4.1's target_function_script_runner, which has been run on these files.
"""

from pathlib import Path

from wrappers.formats.configspace import configspace_json
from wrappers.scenario import Scenario
from wrappers.space import number_text

_SCRIPT = '''\
#!/usr/bin/env python3
"""{name} for SMAC 2.x: its words in, AClib's call; the answer out in SMAC's words."""

import json
import subprocess
import sys

COMMAND = {command!r}
CUTOFF = {cutoff!r}
BEGIN = "Result of this algorithm run: "

given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if word.startswith("--"))
instance, seed = given.pop("instance"), given.pop("seed")
config = {{n: v for n, v in given.items() if n not in ("instance_features", "budget", "cutoff")}}
call = COMMAND + ["--instance", instance, "--cutoff", CUTOFF, "--seed", seed, "--config"]
for name, value in config.items():
    call += ["-" + name, value]
lines = subprocess.run(call, stdout=subprocess.PIPE).stdout.decode().splitlines()
answer = json.loads(next(line for line in lines if line.startswith(BEGIN))[len(BEGIN) :])
status = answer["status"] if answer["status"] in ("SUCCESS", "TIMEOUT") else "CRASHED"
more = answer["misc"].replace(";", ",").replace("=", ":")
print("cost=%r; runtime=%r; status=%s; additional_info=%s" % (
    answer["cost"], answer["runtime"], status, more))
'''


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The script and the space."""
    script = _SCRIPT.format(
        name=scenario.name, command=scenario.algo.split(), cutoff=number_text(scenario.cutoff)
    )
    return {"target-script": script, "space.json": configspace_json(scenario.space)}
