"""irace: its least budgets, its trials, its end, whatever R does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from sparse_training.errors import BadInput
from tests.wrappers.toy import OWN_PCS, RECIPE_PCS
from wrappers import configurators
from wrappers.configurators import irace
from wrappers.run import BudgetExhausted, Run
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, canonical, read_pcs

SPACE = read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs")
NO_SCENARIO = cast(Scenario, None)


class FakeRun:
    """A run whose costs are a formula; trials that were asked before cost nothing."""

    def __init__(self, budget: int, space: Space = SPACE, limit: int | None = None) -> None:
        self.space, self.budget, self.limit = space, budget, limit or budget
        self.pairs = [(f"a/digits/0/{k % 10}", 100 + k // 10) for k in range(budget + 9)]
        self.trials: list[tuple[Config, int]] = []
        self.evaluated: dict[tuple[str, int], float] = {}
        self.incumbents: list[tuple[Config, float | None]] = []
        self.changed: dict[str, object] = {}

    def evaluate_many(self, asked: Sequence[tuple[Config, int]]) -> list[float]:
        for config, pair in asked:
            if (canonical(config), pair) not in self.evaluated:
                if len(self.trials) == self.limit:
                    raise BudgetExhausted
                self.trials.append((config, pair))
                self.evaluated[canonical(config), pair] = self.cost(config, pair)
        return [self.evaluated[canonical(config), pair] for config, pair in asked]

    def cost(self, config: Config, pair: int) -> float:
        return min(1.0, abs(float(config.get("momentum", 1.0)) - 0.5) + 0.001 * (pair % 7))

    def new_incumbent(self, config: Config, estimate: float | None) -> None:
        self.incumbents.append((config, estimate))

    def settings(self, changed: dict[str, object]) -> None:
        self.changed |= changed


def configure(run: FakeRun, seed: int = 1) -> FakeRun:
    irace.configure(NO_SCENARIO, cast(Run, run), seed=seed)
    return run


@pytest.mark.parametrize(
    ("parameters", "unchanged", "shortened"),
    [(1, 42, 24), (3, 96, 60), (7, 180, 120), (15, 300, 210), (31, 504, 378), (63, 728, 560)],
)
def test_least_budgets_are_those_that_irace_names(
    parameters: int, unchanged: int, shortened: int
) -> None:
    assert irace.plan(parameters, unchanged) == {}
    assert irace.plan(parameters, unchanged - 1) == {"firstTest": 4, "mu": 4}
    assert irace.plan(parameters, shortened)["firstTest"] == 2
    if parameters > 1:
        assert irace.plan(parameters, shortened - 1)["nbIterations"] >= 2


@pytest.mark.parametrize("parameters", [1, 4, 11, 26, 40])
def test_a_plan_fits_its_budget_and_nothing_fits_below_24(parameters: int) -> None:
    usual = irace.plan(parameters, 10_000)
    assert usual == {}
    for budget in range(24, 800, 7):
        plan = irace.plan(parameters, budget)
        if "nbIterations" in plan:
            needed = irace.least_budget(plan["nbIterations"], plan["minNbSurvival"], plan["mu"])
            assert needed <= budget
    with pytest.raises(BadInput, match="irace can't work with 23 trials, it needs 24 at least"):
        irace.plan(parameters, 23)


def test_a_budget_too_small_is_refused_before_anything_is_evaluated() -> None:
    run = FakeRun(23)
    with pytest.raises(BadInput, match="needs 24 at least"):
        configure(run)
    assert run.trials == []


@pytest.mark.irace
@pytest.mark.parametrize("budget", [24, 61, 520])
def test_irace_stays_in_its_budget_and_begins_with_the_default(budget: int) -> None:
    run = configure(FakeRun(budget))
    assert 0.7 * budget <= len(run.trials) <= budget
    assert run.trials[0] == (SPACE.default, 0)
    assert run.incumbents[0] == (SPACE.default, run.evaluated[canonical(SPACE.default), 0])
    for config, pair in run.trials:
        assert SPACE.check(config) == config
        assert 0 <= pair < len(run.pairs)
    # Pairs are used in their order, none is skipped.
    pairs = [pair for _, pair in run.trials]
    assert list(dict.fromkeys(pairs)) == list(range(max(pairs) + 1))


@pytest.mark.irace
def test_incumbents_were_evaluated_and_their_estimates_are_their_means() -> None:
    run = configure(FakeRun(520))
    for config, estimate in run.incumbents[1:]:
        costs = [cost for (text, _), cost in run.evaluated.items() if text == canonical(config)]
        assert costs and estimate is not None
        assert min(costs) <= estimate <= max(costs)
    last, estimate = run.incumbents[-1]
    assert estimate is not None and estimate < 0.1  # the default's is 0.4
    assert abs(float(last["momentum"]) - 0.5) < 0.1


@pytest.mark.irace
def test_what_a_small_budget_changes_is_recorded() -> None:
    small, large = configure(FakeRun(24)), FakeRun(504)
    assert small.changed == {
        "firstTest": 2,
        "mu": 2,
        "nbIterations": 2,
        "minNbSurvival": 2,
        "least_budget_unchanged": 504,
    }
    configure(large)
    assert large.changed == {}


@pytest.mark.irace
def test_the_same_seed_asks_the_same_trials_and_another_seed_others() -> None:
    first, again, other = (configure(FakeRun(60), seed).trials for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.irace
def test_a_run_that_was_cut_off_is_replayed_from_its_record() -> None:
    whole = configure(FakeRun(60))
    cut = FakeRun(60, limit=25)
    with pytest.raises(BudgetExhausted):
        configure(cut)
    assert cut.trials == whole.trials[:25]
    resumed = FakeRun(60)
    resumed.evaluated = dict(cut.evaluated)
    configure(resumed)
    assert cut.trials + resumed.trials == whole.trials
    assert resumed.incumbents == whole.incumbents


@pytest.mark.irace
def test_no_process_is_left_when_the_budget_runs_out() -> None:
    before = children()
    with pytest.raises(BudgetExhausted):
        configure(FakeRun(60, limit=10))
    assert children() <= before


def children() -> set[int]:
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return {int(word) for word in text.split()}


class FaultyRun(FakeRun):
    """A run in which something is wrong from the 8th trial on."""

    def __init__(self, budget: int, fault: str) -> None:
        super().__init__(budget)
        self.fault = fault

    def cost(self, config: Config, pair: int) -> float:
        if len(self.trials) > 8:
            if self.fault == "python":
                raise RuntimeError("the evaluator broke")
            if self.fault == "killed":
                for child in children():
                    os.kill(child, signal.SIGKILL)
        return super().cost(config, pair)


@pytest.mark.irace
def test_a_fault_of_the_evaluator_comes_through_unchanged() -> None:
    with pytest.raises(RuntimeError, match="the evaluator broke"):
        configure(FaultyRun(60, "python"))


@pytest.mark.irace
def test_the_death_of_the_process_with_r_is_one_clear_line() -> None:
    with pytest.raises(BadInput, match="^irace stopped: ") as stop:
        configure(FaultyRun(60, "killed"))
    assert "\n" not in str(stop.value)


@pytest.mark.irace
def test_an_error_of_irace_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # Settings that irace refuses: an error from deep inside R.
    monkeypatch.setattr(irace, "plan", lambda parameters, budget: {"firstTest": 1})
    with pytest.raises(
        BadInput, match="^irace stopped: .*firstTest.* must be larger than 1"
    ) as stop:
        configure(FakeRun(600))
    assert "\n" not in str(stop.value)
    monkeypatch.setattr(irace, "plan", lambda parameters, budget: {})
    with pytest.raises(BadInput, match="irace stopped: .*at least '504'"):
        configure(FakeRun(60))


@pytest.mark.irace
def test_a_space_without_conditions_and_forbidden_combinations_works() -> None:
    run = configure(FakeRun(24, read_pcs("momentum [0, 0.99] [0.9]", "t")))
    assert len(run.trials) >= 12


@pytest.mark.irace
def test_the_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    parent = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from wrappers.configurators import irace\n"
        "from wrappers.space import read_pcs\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "space = read_pcs('momentum [0, 0.99] [0.9]', 't')\n"
        "irace._write_files(folder, space)\n"
        "with irace._child(folder) as (tell, messages):\n"
        "    tell({'folder': str(folder), 'pairs': 24, 'budget': 42, 'seed': 1, 'digits': 12,\n"
        "          'settings': {}})\n"
        "    next(messages)\n"
        "    text = Path(f'/proc/self/task/{os.getpid()}/children').read_text()\n"
        "    print(text.split()[0], flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, timeout=60, check=True
    )
    child = Path("/proc") / done.stdout.strip()
    for _ in range(100):
        if not child.exists() or "_irace_in_r" not in (child / "cmdline").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the process with R is still there")


def test_it_is_among_the_configurators_that_the_suite_compares() -> None:
    assert configurators.configurators()["irace"].configures


@pytest.mark.irace
def test_versions_are_those_of_r_and_irace() -> None:
    assert irace.available() is None
    assert list(irace.versions()) == ["rpy2", "R", "irace"]
    assert all(version[0].isdigit() for version in irace.versions().values())


def test_an_r_without_irace_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # An R that knows its own version only, as Rscript prints it then.
    (tmp_path / "Rscript").write_text("#!/bin/sh\necho 4.2.2\n")
    (tmp_path / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(irace, "versions", irace.versions.__wrapped__)
    told = irace.versions()
    assert told["R"] == "4.2.2" and set(told) <= {"rpy2", "R"}
    assert str(irace.available()).startswith("R has no package irace; run 'apt-get install")


@pytest.mark.parametrize("absent", ["Rscript", "rpy2"])
def test_what_is_missing_is_named_with_what_installs_it(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if absent == "rpy2":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        expected = "the package rpy2 is not installed; run './run_all.sh setup'"
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        monkeypatch.setattr("shutil.which", lambda name: None)
        expected = (
            "R is not installed; run 'apt-get install --no-install-recommends r-base-core"
            " r-cran-irace', then './run_all.sh setup'"
        )
    assert irace.available() == expected
