"""irace: its least budgets, its trials, its end, whatever R does."""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT, Variant
from tests.examples import COMBINATION, PLAIN, scenario_name
from tests.wrappers.cases import (
    OWN_PCS,
    RECIPE_PCS,
    every_space,
    forbidden_configuration,
    sample,
)
from wrappers import configurators, foreign, formats
from wrappers.check import check
from wrappers.configurators import _irace_box, irace
from wrappers.formats import irace_3_5
from wrappers.processes import environment
from wrappers.run import Ask, BudgetExhausted, Run
from wrappers.scenario import Scenario, read, scenarios
from wrappers.space import Config, Space, canonical, read_pcs

SPACE = read_pcs(OWN_PCS + RECIPE_PCS, "toy.pcs")
NO_SCENARIO = cast(Scenario, None)


class FakeRun:
    """A run whose costs are a formula; trials that were asked before cost nothing."""

    def __init__(
        self,
        budget: int,
        space: Space = SPACE,
        limit: int | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.place = scratch
        self.space, self.budget, self.limit = space, budget, limit or budget
        self.pairs = [(f"a/digits/0/{k % 10}", 100 + k // 10) for k in range(budget + 9)]
        self.trials: list[tuple[Config, int]] = []
        self.evaluated: dict[tuple[str, int], float] = {}
        self.incumbents: list[tuple[Config, float | None]] = []
        self.changed: dict[str, object] = {}

    def evaluate_many(self, asked: Sequence[Ask]) -> list[float]:
        for config, pair, _ in asked:
            if (canonical(config), pair) not in self.evaluated:
                if len(self.trials) == self.limit:
                    raise BudgetExhausted
                self.trials.append((config, pair))
                self.evaluated[canonical(config), pair] = self.cost(config, pair)
        return [self.evaluated[canonical(config), pair] for config, pair, _ in asked]

    def cost(self, config: Config, pair: int) -> float:
        return min(1.0, abs(float(config.get("momentum", 1.0)) - 0.5) + 0.001 * (pair % 7))

    def new_incumbent(self, config: Config, estimate: float | None) -> None:
        self.incumbents.append((config, estimate))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            place = self.place or Path(folder)
            place.mkdir(exist_ok=True)
            yield place
            place.rmdir()  # it is empty again
            Path(folder).mkdir(exist_ok=True)

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
    with pytest.raises(BadInput, match="^irace stopped: its process was ended by SIGKILL$"):
        configure(FaultyRun(60, "killed"))


@pytest.mark.parametrize(
    ("code", "printed", "told"),
    [
        (-signal.SIGKILL, "at work\n", "its process was ended by SIGKILL"),
        (-signal.SIGSEGV, "", "its process was ended by SIGSEGV"),
        (3, "\n", "its process ended with status 3, silently"),
        (1, "loading\nError in f() :\n  broken\n", "Error in f() : broken"),
    ],
)
def test_an_end_of_r_is_told_by_its_signal_or_its_words_or_its_status(
    code: int, printed: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "output.txt").write_text(printed)
    assert irace._end(code, tmp_path / "output.txt") == told


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
        "from wrappers.processes import environment\n"
        "from wrappers.space import read_pcs\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "space = read_pcs('momentum [0, 0.99] [0.9]', 't')\n"
        "irace._write_files(folder, space)\n"
        "with irace._child(folder, environment()) as (_, tell, messages):\n"
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


@pytest.mark.irace
def test_an_r_at_work_is_killed_with_its_parent(tmp_path: Path) -> None:
    """It would sleep on: it listens to nobody."""
    code = f'cat(Sys.getpid(), file = "{tmp_path}/pid"); Sys.sleep(3600)'
    parent = (
        f"from wrappers.configurators._irace_box import rscript; rscript({code!r})"  # and waits
    )
    process = subprocess.Popen([sys.executable, "-c", parent], env=environment())
    pid = wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{pid}/exe").exists())


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true answer."""
    for _ in range(3000):
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError("waited for a minute")


POISONED = {
    "a blank": "v b",
    "a quote": "v'b",
    "a command": "v;touch hit;$(touch hit)",
    "a folder that is not there": "nowhere/at all",
}


@pytest.mark.irace
@pytest.mark.parametrize("name", POISONED.values(), ids=list(POISONED))
def test_nothing_of_the_users_is_removed_whatever_the_temporary_directory_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R removes its own at its end, by a shell command without quotes."""
    (tmp_path / "v").write_text("precious")
    (tmp_path / "b").write_text("precious")
    if "/" not in name:
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(irace, "versions", irace.versions.__wrapped__)
    for variable in ("TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(variable, str(tmp_path / name))
    assert list(irace.versions()) == ["rpy2", "R", "irace"]
    assert len(configure(FakeRun(24)).trials) > 12
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.irace
def test_a_run_in_a_folder_with_a_blank_leaves_what_lies_beside_it(tmp_path: Path) -> None:
    run = FakeRun(24, scratch=tmp_path / "v b")
    (tmp_path / "v").write_text("precious")
    configure(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v"]


@pytest.mark.irace
def test_settings_of_the_user_do_not_reach_r(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, trials = rscript(SETTINGS), configure(FakeRun(24)).trials
    broken = "stop('a file of the user was read')\n"
    (tmp_path / ".Rprofile").write_text(broken)
    (tmp_path / ".Renviron").write_text("R_DEFAULT_PACKAGES=nosuch\nFROM_USER=yes\n")
    (tmp_path / "library" / "irace").mkdir(parents=True)
    (tmp_path / "library" / "irace" / "DESCRIPTION").write_text("Package: irace\nVersion: 0.1\n")
    monkeypatch.chdir(tmp_path)
    for variable, text in {
        **{"HOME": str(tmp_path), "R_PROFILE_USER": str(tmp_path / ".Rprofile")},
        **{"R_PROFILE": str(tmp_path / ".Rprofile"), "R_HOME": str(tmp_path)},
        **{"R_ENVIRON_USER": str(tmp_path / ".Renviron"), "R_LIBS": str(tmp_path / "library")},
        **{"R_ENVIRON": str(tmp_path / ".Renviron"), "R_LIBS_USER": str(tmp_path / "library")},
        **{"R_DEFAULT_PACKAGES": "nosuch", "R_SESSION_TMPDIR": str(tmp_path)},
        **{"LC_ALL": "tr_TR.nonsense", "LANGUAGE": "de", "RHOME": str(tmp_path)},
    }.items():
        monkeypatch.setenv(variable, text)
    assert rscript(SETTINGS) == plain
    assert configure(FakeRun(24)).trials == trials
    assert (tmp_path / ".Rprofile").read_text() == broken


SETTINGS = """
    cat(.libPaths(), R.home(), Sys.getlocale(), search(), Sys.getenv("FROM_USER"),
        dirname(tempdir()) == getwd(), list.files(all.files = TRUE, no.. = TRUE) == "")
    """


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


# Files for irace: its own reader reads them, its own program runs scenarios with them -------------


def rscript(code: str) -> str:
    """Standard output of a piece of R that has irace."""
    done = _irace_box.rscript(f"suppressMessages(library(irace)); {code}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.irace
@every_space
def test_irace_reads_our_parameters_conditions_and_forbidden_combinations(
    space: Space, tmp_path: Path
) -> None:
    configs = sample(space)
    (tmp_path / "parameters.txt").write_text(irace_3_5.parameters(space))
    (tmp_path / "forbidden.txt").write_text(irace_3_5.forbidden(space))
    drawn = [forbidden_configuration(space, clause) for clause in space.forbidden]
    broken = list({str(config): config for config in drawn}.values())  # one may break several
    unique = {str(sorted(config.items())): config for config in [*configs, *broken]}
    (tmp_path / "configs.txt").write_text(irace_3_5.configurations(space, unique.values()))
    # Its own reader refuses values out of range, inactive ones given and active ones missing.
    told = rscript(
        """
        p <- readParameters("parameters.txt", digits = 15)
        read <- readConfigurationsFile("configs.txt", p)
        legal <- irace:::checkForbidden(read, irace:::readForbiddenFile("forbidden.txt"))
        write.table(data.frame(p$names, p$types, unname(p$switches), sapply(p$domain, paste,
          collapse = ","), sapply(p$transform, as.character)), "read.txt", row.names = FALSE,
          col.names = FALSE, sep = ";", quote = FALSE)
        cat("legal", nrow(legal), "of", nrow(read), "\n")
        """.replace('"parameters.txt"', f'"{tmp_path}/parameters.txt"')
        .replace('"configs.txt"', f'"{tmp_path}/configs.txt"')
        .replace('"forbidden.txt"', f'"{tmp_path}/forbidden.txt"')
        .replace('"read.txt"', f'"{tmp_path}/read.txt"')
    )
    assert f"legal {len(unique) - len(broken)} of {len(unique)}" in told
    rows = list(csv.reader((tmp_path / "read.txt").open(), delimiter=";"))
    assert [row[0] for row in rows] == list(space.by_name)
    for parameter, (name, kind, switch, domain, transform) in zip(
        space.parameters, rows, strict=True
    ):
        assert switch == f"{name} "
        assert kind == {"categorical": "c", "integer": "i", "real": "r"}[parameter.kind]
        assert transform == ("log" if parameter.log else "")
        if parameter.kind == "categorical":
            assert tuple(domain.split(",")) == parameter.choices
        else:
            # Nothing is rounded away: 0.000001 stays what it is.
            assert [float(bound) for bound in domain.split(",")] == [parameter.low, parameter.high]


@pytest.mark.irace
def test_irace_keeps_small_learning_rates_apart(tmp_path: Path) -> None:
    space = read_pcs("weight_decay [0.000001, 0.1] [0.0005]l", "t")
    (tmp_path / "p").write_text(irace_3_5.parameters(space))
    told = rscript(
        f"""
        set.seed(1)
        p <- readParameters("{tmp_path}/p", digits = {irace_3_5.DIGITS})
        s <- irace:::sampleUniform(p, 500, digits = {irace_3_5.DIGITS})
        cat(sprintf("%.15g", s$weight_decay), sep = "\\n")
        """
    )
    values = [float(word) for word in told.split()]
    assert len(set(values)) == 500
    assert all(1e-6 <= value <= 0.1 for value in values)
    assert sum(value < 1e-5 for value in values) > 50


def test_a_space_with_everything_looks_like_this() -> None:
    space = read_pcs(
        "a {x, y} [x]\nb [1, 8] [2]il\nc [0.000001, 0.1] [0.0005]l\nd [0, 1] [0.5]\n"
        "b | a in {y}\nd | a in {x, y}\n{a=y}",
        "t",
    )
    assert irace_3_5.parameters(space) == (
        'a "a " c     ("x", "y")\n'
        'b "b " i,log (1, 8) | (a == "y")\n'
        'c "c " r,log (0.000001, 0.1)\n'
        'd "d " r     (0, 1) | (a %in% c("x", "y"))\n'
    )
    assert irace_3_5.forbidden(space) == '(a == "y")\n'
    assert irace_3_5.configurations(space, [space.default]) == "a b c d\nx NA 0.0005 0.5\n"


def test_what_is_written_for_each_version(toys: Path, tmp_path: Path) -> None:
    scenario = read(toys / "scenarios/toys/toy")

    def written(name: str) -> set[str]:
        texts = formats.files(name, scenario, tmp_path / name)
        formats.write(texts)
        return {path.name for path in texts}

    tables = {"irace-parameters.txt", "irace-default.txt"}
    assert written("irace-3.5") == {*tables, "irace-forbidden.txt", "irace-scenario.txt"}
    assert written("irace-4") == {*tables, "irace-scenario.txt", "target-runner"}
    assert os.access(tmp_path / "irace-4" / "target-runner", os.X_OK)
    assert "[forbidden]" in (tmp_path / "irace-4" / "irace-parameters.txt").read_text()


# scenarios/irace.txt ------------------------------------------------------------------------------

ALL_SCENARIOS = ROOT / "scenarios" / "irace.txt"

DESCRIBED = """\
s <- checkScenario(readScenario("%s"))
p <- readParameters(s$parameterFile, digits = s$digits)
cat(c("", "described", s$execDir, s$logFile, length(s$instances), s$instances, s$testInstances,
      s$aclib, s$digits, length(s$forbiddenExps), s$maxExperiments, s$deterministic,
      length(p$names), s$targetRunner, s$targetRunnerLauncherArgs), sep = "\\n")
"""


def described(told: str) -> list[str]:
    """What R printed behind the word, a line each."""
    return told.partition("\ndescribed\n")[2].splitlines()


def expected(name: str) -> list[str]:
    """What irace should read of a scenario of the checkout."""
    scenario = read(name)
    command = scenario.algo.removeprefix("python3 ./wrappers/target ")
    return [
        str(ROOT),
        str(ROOT / "results" / f"irace-{name.replace('/', '-')}.Rdata"),
        *(str(len(scenario.training)), *scenario.training, *scenario.test),
        *("TRUE", "15", str(len(scenario.space.forbidden)), str(scenario.runcount_limit), "FALSE"),
        str(len(scenario.space.parameters)),
        str(ROOT / "wrappers" / "target"),
        f"'{{targetRunner}}' {command} --cutoff {scenario.cutoff:g} {{targetRunnerArgs}}",
    ]


@pytest.mark.irace
def test_irace_reads_every_scenario_with_the_one_file_for_all() -> None:
    """In one process, because R takes its time to start."""
    names = [f"{folder.parent.name}/{folder.name}" for folder in scenarios()]
    listed = ", ".join(f'"{name}"' for name in names)
    code = f"""
        for (name in c({listed})) {{
          cat("\\nscenario\\n"); Sys.setenv(SCENARIO = name); {DESCRIBED % ALL_SCENARIOS}
        }}
        """
    _, *parts = rscript(code).split("\nscenario\n")
    for name, part in zip(names, parts, strict=True):
        assert described(part) == expected(name), name


@pytest.mark.irace
def test_every_scenario_grants_what_irace_needs_at_its_own_settings() -> None:
    """Asked of irace, in one process; and our own reckoning agrees."""
    names = [f"{folder.parent.name}/{folder.name}" for folder in scenarios()]
    listed = ", ".join(f'"{name}"' for name in names)
    told = rscript(
        f"""
        for (name in c({listed})) {{
          Sys.setenv(SCENARIO = name)
          s <- checkScenario(readScenario("{ALL_SCENARIOS}"))
          p <- readParameters(s$parameterFile, digits = s$digits)
          most <- floor(irace:::computeNbIterations(p$nbVariable))
          least <- irace:::computeMinimumBudget(s, most, most, 0)
          cat("\ntold", name, s$maxExperiments, least, "\n")
        }}
        """
    )
    asked = [line.split()[1:] for line in told.splitlines() if line.startswith("told ")]
    assert [name for name, _, _ in asked] == names
    for name, granted, least in asked:
        assert int(granted) >= int(least), name
        space = read(name).space
        assert irace.plan(len(space.parameters), int(least)) == {}
        assert irace.plan(len(space.parameters), int(least) - 1) != {}


@pytest.mark.irace
def test_irace_reads_the_same_space_there_as_in_the_tables_that_are_written_for_a_scenario(
    tmp_path: Path,
) -> None:
    """Names, types, ranges, conditions, what is forbidden, the default: of each distinct space."""
    of_space = {read(folder).paramfile: read(folder) for folder in scenarios()}
    for scenario in of_space.values():
        formats.write(formats.files("irace-3.5", scenario, tmp_path / scenario.name))
    listed = ", ".join(f'"{scenario.name}"' for scenario in of_space.values())
    told = rscript(
        f"""
        described <- function(file) {{
          s <- checkScenario(readScenario(file))
          p <- readParameters(s$parameterFile, digits = s$digits)
          sentences <- function(expressions) unname(sapply(expressions, function(one)
            paste(deparse(if (is.expression(one)) one[[1]] else one), collapse = "")))
          list(p$names, p$types, p$switches, p$domain, p$transform, sentences(p$conditions),
               if (s$forbiddenFile != "") as.character(parse(s$forbiddenFile)),
               readConfigurationsFile(s$configurationsFile, p))
        }}
        same <- sapply(c({listed}), function(name) {{
          Sys.setenv(SCENARIO = name)
          identical(described("{ALL_SCENARIOS}"),
                    described(file.path("{tmp_path}", name, "irace-scenario.txt")))
        }})
        cat("\\ntold", length(same), "spaces, not the same:", names(same)[!same])
        """
    )
    assert told.rpartition("told ")[2].split() == [
        str(len(of_space)),
        *"spaces, not the same:".split(),
    ]


@pytest.mark.irace
@pytest.mark.parametrize("word", ["{}", "scenarios/{}", "./scenarios/{}/", "/some/scenarios/{}"])
def test_a_scenario_with_forbidden_combinations_is_read_however_it_is_named(word: str) -> None:
    name = scenario_name(COMBINATION)
    assert read(name).space.forbidden
    told = rscript(f'Sys.setenv(SCENARIO = "{word.format(name)}"); {DESCRIBED % ALL_SCENARIOS}')
    assert described(told) == expected(name)


@pytest.mark.irace
@pytest.mark.parametrize("variant", [PLAIN, COMBINATION], ids=lambda variant: variant.name)
def test_irace_accepts_a_scenario_written_into_a_folder(variant: Variant, tmp_path: Path) -> None:
    name, out = scenario_name(variant), tmp_path / "a folder"
    formats.write(formats.files("irace-3.5", read(name), out))
    assert described(rscript(DESCRIBED % (out / "irace-scenario.txt"))) == expected(name)


def irace_program(*words: str, scenario: str | None) -> subprocess.CompletedProcess[str]:
    """irace's own program on scenarios/irace.txt, from the repository's root."""
    program = rscript('cat(system.file("bin/irace", package = "irace"))')
    with _irace_box.box() as (_, settings):
        others = {name: text for name, text in settings.items() if name != "SCENARIO"}
        named = {} if scenario is None else {"SCENARIO": scenario}
        return subprocess.run(
            [program, "--scenario", "scenarios/irace.txt", *words],
            cwd=ROOT,
            env={**others, **named, "SPARSE_ACLIB_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.mark.irace
def test_irace_s_own_program_runs_a_scenario(tmp_path: Path) -> None:
    log = tmp_path / "log.Rdata"
    done = irace_program(
        *("--seed", "1", "--max-experiments", "24", "--log-file", str(log)),
        *("--first-test", "2", "--mu", "2", "--iterations", "2", "--min-survival", "2"),
        scenario=scenario_name(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# Best configurations as commandlines" in done.stdout
    told = rscript(
        f"""
        load("{log}")
        costs <- iraceResults$experiments
        costs <- costs[!is.na(costs)]
        cat("told", nrow(iraceResults$experimentLog), length(unique(costs)), min(costs), max(costs),
            rownames(iraceResults$testing$experiments))
        """
    )
    experiments, different, least, most, tested = told.partition("told ")[2].split()
    assert 12 <= int(experiments) <= 24 and int(different) > 3
    assert 0 < float(least) < float(most) <= 1
    assert tested == "1t"

    if rscript('cat(getRversion() < "4.4.0")') == "TRUE":
        with pytest.raises(BadInput, match="may run code that a log holds"):
            foreign.read("irace", log, read(scenario_name()))
        return
    left = foreign.read("irace", log, read(scenario_name()))
    assert len(left.trials) == int(experiments)
    assert len({each.cost for each in left.trials}) >= int(different) - 1
    assert left.incumbents[-1].trial == int(experiments)
    foreign.make_run(
        left,
        read(scenario_name()),
        form="irace",
        configurator="irace",
        seed=1,
        results=tmp_path / "results",
    )
    assert check(tmp_path / "results")[1] == []


@pytest.mark.irace
def test_a_log_that_irace_did_not_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "irace.Rdata").write_text("nothing")
    with pytest.raises(BadInput, match="irace.Rdata: (not as irace writes it|R .* may run code)"):
        foreign.read("irace", tmp_path, read(scenario_name()))


@pytest.mark.irace
@pytest.mark.parametrize("scenario", [None, "", "digits/nosuch", "digits"])
def test_a_scenario_that_is_not_named_or_not_there_is_an_error_that_says_so(
    scenario: str | None,
) -> None:
    done = irace_program("--check", scenario=scenario)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"SCENARIO is '{scenario or ''}', expected a scenario such as digits/" in said
