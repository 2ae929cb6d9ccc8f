"""CARP-S: a scenario as a task, with an objective function that calls our command.

    PYTHONPATH=FOLDER python -m carps.run 'hydra.searchpath=[FOLDER]' +task=NAME \\
        +optimizer/randomsearch=config seed=1

In an environment of CARP-S's own: the objective function needs nothing of this suite but its
command, started in the folder of the scenario. CARP-S has no instances, so a trial of its is the
mean cost over all training instances, each with one seed; its budget is the scenario's, divided by
their number.

**Source**: CARP-S 1.1.0's Task and ObjectiveFunction; run with three of its optimisers.
"""

import json
from pathlib import Path

from wrappers.formats._text import text
from wrappers.formats.configspace import configspace_json
from wrappers.scenario import Scenario
from wrappers.space import number_text

_FUNCTION = '''\
"""{name} as an objective function of CARP-S."""

import json
import subprocess
import time

from carps.objective_functions.objective_function import ObjectiveFunction
from carps.utils.trials import StatusType, TrialValue
from ConfigSpace import ConfigurationSpace

BEGIN = "Result of this algorithm run: "


class Target(ObjectiveFunction):
    """The mean cost of a configuration over all instances, by calls of the target algorithm."""

    def __init__(self, command, folder, space, instances, cutoff, seed=0, loggers=None):
        super().__init__(loggers)
        self._command, self._folder, self._cutoff = list(command), folder, cutoff
        self._space, self._instances, self._seed = space, list(instances), seed

    @property
    def configspace(self):
        return ConfigurationSpace.from_json(self._space)

    def _evaluate(self, trial_info):
        start = time.time()
        seed = self._seed if trial_info.seed is None else trial_info.seed
        answers = [self._call(trial_info.config, instance, seed) for instance in self._instances]
        costs = [answer["cost"] for answer in answers]
        status = {{"SUCCESS": StatusType.SUCCESS, "TIMEOUT": StatusType.TIMEOUT}}
        worst = [a["status"] for a in answers if a["status"] != "SUCCESS"] or ["SUCCESS"]
        return TrialValue(
            cost=sum(costs) / len(costs),
            time=sum(answer["runtime"] for answer in answers),
            status=status.get(worst[0], StatusType.CRASHED),
            starttime=start,
            endtime=time.time(),
            additional_info={{"costs": costs}},
        )

    def _call(self, config, instance, seed):
        call = self._command + ["--instance", instance, "--cutoff", self._cutoff]
        call += ["--seed", str(seed), "--config"]
        for name, value in dict(config).items():
            call += ["-" + name, str(value)]
        done = subprocess.run(call, cwd=self._folder, stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith(BEGIN)]
        answer = json.loads(lines[0][len(BEGIN) :])
        if answer["status"] == "ABORT":
            raise RuntimeError(answer["misc"])
        return answer
'''


def files(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The objective function, the space, and the task (task/<set>_<variant>.yaml)."""
    called, place = scenario.name.replace("/", "_"), folder.resolve()
    module = f"objective_{called}"
    kinds = [parameter.kind for parameter in scenario.space.parameters]

    def quoted(value: object) -> str:
        return json.dumps(value)  # which YAML reads

    lines = [
        "# @package _global_",
        "benchmark_id: sparse-aclib",
        f"task_id: sparse-aclib/{scenario.name}",
        "task:",
        "  _target_: carps.utils.task.Task",
        f"  name: sparse-aclib/{scenario.name}",
        "  seed: ${seed}",
        "  objective_function:",
        f"    _target_: {module}.Target",
        f"    command: {quoted(scenario.algo.split())}",
        f"    folder: {quoted(str(scenario.root))}",
        f"    space: {quoted(str(place / 'space.json'))}",
        f"    instances: {quoted(list(scenario.training))}",
        f"    cutoff: {quoted(number_text(scenario.cutoff))}",
        "    seed: ${seed}",
        "  input_space:",
        "    _target_: carps.utils.task.InputSpace",
        "    configuration_space:",
        "      _target_: ConfigSpace.ConfigurationSpace.from_json",
        f"      path: {quoted(str(place / 'space.json'))}",
        "    fidelity_space:",
        "      _target_: carps.utils.task.FidelitySpace",
        "      is_multifidelity: false",
        *(f"      {name}: null" for name in ("fidelity_type", "min_fidelity", "max_fidelity")),
        "    instance_space: null",
        "  output_space:",
        "    _target_: carps.utils.task.OutputSpace",
        "    n_objectives: 1",
        "    objectives: [quality]",
        "  optimization_resources:",
        "    _target_: carps.utils.task.OptimizationResources",
        f"    n_trials: {max(1, scenario.runcount_limit // len(scenario.training))}",
        "    time_budget: null",
        "    n_workers: 1",
        "  metadata:",
        "    _target_: carps.utils.task.TaskMetadata",
        "    has_constraints: false",
        "    domain: ML",
        "    objective_function_approximation: real",
        "    has_virtual_time: false",
        "    deterministic: true",
        f"    dimensions: {len(kinds)}",
        f"    search_space_n_categoricals: {kinds.count('categorical')}",
        "    search_space_n_ordinals: 0",
        f"    search_space_n_integers: {kinds.count('integer')}",
        f"    search_space_n_floats: {kinds.count('real')}",
        f"    search_space_has_conditionals: {quoted(bool(scenario.space.conditions))}",
        f"    search_space_has_forbiddens: {quoted(bool(scenario.space.forbidden))}",
        "    search_space_has_priors: false",
    ]
    return {
        f"{module}.py": _FUNCTION.format(name=scenario.name),
        "space.json": configspace_json(scenario.space),
        f"task/{called}.yaml": text(lines),
    }
