"""Files for irace: its own reader reads them, its own program runs scenarios with them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from target_algorithms import ROOT, Variant
from tests.examples import COMBINATION, PLAIN, scenario_name
from tests.wrappers.spaces import every_space, forbidden_configuration, sample
from wrappers import formats
from wrappers.formats import _irace
from wrappers.scenario import read, scenarios
from wrappers.space import Space, read_pcs


def rscript(code: str) -> str:
    """Standard output of a piece of R that has irace."""
    done = subprocess.run(
        ["Rscript", "--no-init-file", "-e", f"suppressMessages(library(irace)); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.irace
@every_space
def test_irace_reads_our_parameters_conditions_and_forbidden_combinations(
    space: Space, tmp_path: Path
) -> None:
    configs = sample(space)
    (tmp_path / "parameters.txt").write_text(_irace.parameters(space))
    (tmp_path / "forbidden.txt").write_text(_irace.forbidden(space))
    drawn = [forbidden_configuration(space, clause) for clause in space.forbidden]
    broken = list({str(config): config for config in drawn}.values())  # one may break several
    unique = {str(sorted(config.items())): config for config in [*configs, *broken]}
    (tmp_path / "configs.txt").write_text(_irace.configurations(space, unique.values()))
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
    (tmp_path / "p").write_text(_irace.parameters(space))
    told = rscript(
        f"""
        set.seed(1)
        p <- readParameters("{tmp_path}/p", digits = {_irace.DIGITS})
        s <- irace:::sampleUniform(p, 500, digits = {_irace.DIGITS})
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
    assert _irace.parameters(space) == (
        'a "a " c     ("x", "y")\n'
        'b "b " i,log (1, 8) | (a == "y")\n'
        'c "c " r,log (0.000001, 0.1)\n'
        'd "d " r     (0, 1) | (a %in% c("x", "y"))\n'
    )
    assert _irace.forbidden(space) == '(a == "y")\n'
    assert _irace.configurations(space, [space.default]) == "a b c d\nx NA 0.0005 0.5\n"


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


# scenarios/irace.txt -----------------------------------------------------------------------------

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


def irace(*words: str, scenario: str | None) -> subprocess.CompletedProcess[str]:
    """irace's own program on scenarios/irace.txt, from the repository's root."""
    environment = {name: value for name, value in os.environ.items() if name != "SCENARIO"}
    if scenario is not None:
        environment["SCENARIO"] = scenario
    program = rscript('cat(system.file("bin/irace", package = "irace"))')
    return subprocess.run(
        [program, "--scenario", "scenarios/irace.txt", *words],
        cwd=ROOT,
        env=environment | {"SPARSE_ACLIB_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.irace
def test_irace_s_own_program_runs_a_scenario(tmp_path: Path) -> None:
    log = tmp_path / "log.Rdata"
    done = irace(
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


@pytest.mark.irace
@pytest.mark.parametrize("scenario", [None, "", "digits/nosuch", "digits"])
def test_a_scenario_that_is_not_named_or_not_there_is_an_error_that_says_so(
    scenario: str | None,
) -> None:
    done = irace("--check", scenario=scenario)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"SCENARIO is '{scenario or ''}', expected a scenario such as digits/" in said
