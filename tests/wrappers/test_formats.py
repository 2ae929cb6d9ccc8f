"""Exports: every file is read back by the program it is for."""

import csv
import json
import os
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.wrappers.toy import OWN_PCS, TRAINING_PCS
from wrappers import formats
from wrappers.scenario import read, scenarios
from wrappers.space import Config, Space, read_pcs, variant_space, variants

SAMPLES = 200


def all_spaces() -> dict[str, Space]:
    return {
        "toy": read_pcs(OWN_PCS + TRAINING_PCS, "toy.pcs"),
        **{variant: variant_space(variant) for variant in variants()},
    }


SPACES = all_spaces()
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def sample(space: Space) -> list[Config]:
    rng = random.Random(1)
    return [space.default, *(space.sample(rng) for _ in range(SAMPLES))]


def legal_in(made: Any, config: Config) -> bool:
    from ConfigSpace import Configuration

    try:
        Configuration(made, values=config).check_valid_configuration()
    except Exception:  # ConfigSpace has a dozen exceptions for an illegal configuration
        return False
    return True


def read_with_configspace(text: str, reader: str) -> Any:
    """What ConfigSpace's own PCS reader makes of a text; it warns of its age as it does so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ConfigSpace.read_and_write import pcs, pcs_new

        return {"pcs": pcs, "pcs_new": pcs_new}[reader].read(text.splitlines())


@every_space
def test_old_pcs_reads_back_as_the_same_space(space: Space) -> None:
    assert read_pcs(formats.old_pcs(space), "t") == space


@every_space
@pytest.mark.parametrize("reader", ["pcs", "pcs_new", "json"])
def test_configspace_reads_our_files_as_the_same_space(
    space: Space, reader: str, tmp_path: Path
) -> None:
    if reader == "json":
        from ConfigSpace import ConfigurationSpace

        (tmp_path / "space.json").write_text(formats.configspace_json(space))
        made = ConfigurationSpace.from_json(tmp_path / "space.json")
        direct = formats.to_configspace(space)
        assert list(made.values()) == list(direct.values())
        for parts in ("conditions", "forbidden_clauses"):  # in any order
            assert set(map(str, getattr(made, parts))) == set(map(str, getattr(direct, parts)))
    else:
        text = formats.old_pcs(space) if reader == "pcs" else formats.new_pcs(space)
        made = read_with_configspace(text, reader)
    assert set(made) == set(space.by_name)
    for parameter in space.parameters:
        other = made[parameter.name]
        assert other.default_value == parameter.default
        if parameter.kind == "categorical":
            assert tuple(other.choices) == parameter.choices
        else:
            assert (other.lower, other.upper, other.log) == (
                parameter.low,
                parameter.high,
                parameter.log,
            )
    for config in sample(space):
        assert legal_in(made, config)
    for clause in space.forbidden:
        assert not legal_in(made, forbidden_configuration(space, clause))


def forbidden_configuration(space: Space, clause: tuple[tuple[str, str], ...]) -> Config:
    """A configuration that is legal but for one clause."""
    free = Space(space.parameters, space.conditions)
    rng = random.Random(2)
    return next(
        config
        for config in iter(lambda: free.sample(rng), None)
        if all(config.get(name) == value for name, value in clause)
    )


@every_space
def test_what_configspace_samples_is_legal_here(space: Space) -> None:
    made = formats.to_configspace(space, seed=1)
    for configuration in made.sample_configuration(SAMPLES):
        config = formats.from_configspace(configuration)
        assert space.check(config) == config
        assert {type(value) for value in config.values()} <= {str, int, float}


@every_space
def test_configspace_samples_the_same_for_the_same_seed(space: Space) -> None:
    first, second = (
        formats.to_configspace(space, seed=5).sample_configuration(5) for _ in range(2)
    )
    assert first == second


def rscript(code: str, *words: str) -> str:
    """Standard output of a piece of R that has irace."""
    done = subprocess.run(
        ["Rscript", "--no-init-file", "-e", f"suppressMessages(library(irace)); {code}", *words],
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
    (tmp_path / "parameters.txt").write_text(formats.irace_parameters(space))
    (tmp_path / "forbidden.txt").write_text(formats.irace_forbidden(space))
    drawn = [forbidden_configuration(space, clause) for clause in space.forbidden]
    broken = list({str(config): config for config in drawn}.values())  # one may break several
    unique = {str(sorted(config.items())): config for config in [*configs, *broken]}
    (tmp_path / "configs.txt").write_text(formats.irace_configurations(space, unique.values()))
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
    (tmp_path / "p").write_text(formats.irace_parameters(space))
    told = rscript(
        f"""
        set.seed(1)
        p <- readParameters("{tmp_path}/p", digits = {formats.DIGITS})
        s <- irace:::sampleUniform(p, 500, digits = {formats.DIGITS})
        cat(sprintf("%.15g", s$weight_decay), sep = "\\n")
        """
    )
    values = [float(word) for word in told.split()]
    assert len(set(values)) == 500
    assert all(1e-6 <= value <= 0.1 for value in values)
    assert sum(value < 1e-5 for value in values) > 50


@pytest.mark.irace
@pytest.mark.parametrize(
    "folder",
    [found for found in scenarios() if found.parent.name == "digits" or found.name == "meta"],
    ids=lambda folder: f"{folder.parent.name}/{folder.name}",
)
def test_irace_accepts_the_scenario_file_of_every_variant_and_of_every_set(folder: Path) -> None:
    root = folder.parents[2]
    told = rscript(
        f"""
        s <- checkScenario(readScenario("{folder}/irace-3.5/scenario.txt"))
        cat("", s$execDir, s$logFile, s$instances, s$testInstances, s$aclib, s$digits,
            length(s$forbiddenExps), sep = "\\n")
        """
    ).splitlines()
    training = (folder.parent / "training.txt").read_text().split()
    test = (folder.parent / "test.txt").read_text().split()
    forbidden = len(read(folder).space.forbidden)
    log = root / "results" / f"irace-{folder.parent.name}-{folder.name}.Rdata"
    assert told[-(len(training) + len(test) + 5) :] == [
        str(root),
        str(log),
        *training,
        *test,
        "TRUE",
        "15",
        str(forbidden),
    ]


def test_a_space_with_everything_looks_like_this() -> None:
    space = read_pcs(
        "a {x, y} [x]\nb [1, 8] [2]il\nc [0.000001, 0.1] [0.0005]l\nd [0, 1] [0.5]\n"
        "b | a in {y}\nd | a in {x, y}\n{a=y}",
        "t",
    )
    assert formats.new_pcs(space) == (
        "a categorical {x, y} [x]\n"
        "b integer [1, 8] [2] log\n"
        "c real [0.000001, 0.1] [0.0005] log\n"
        "d real [0, 1] [0.5]\n"
        "b | a in {y}\n"
        "d | a in {x, y}\n"
        "{a=y}\n"
    )
    assert formats.irace_parameters(space) == (
        'a "a " c     ("x", "y")\n'
        'b "b " i,log (1, 8) | (a == "y")\n'
        'c "c " r,log (0.000001, 0.1)\n'
        'd "d " r     (0, 1) | (a %in% c("x", "y"))\n'
    )
    assert formats.irace_forbidden(space) == '(a == "y")\n'
    assert formats.irace_configurations(space, [space.default]) == "a b c d\nx NA 0.0005 0.5\n"


def test_export_makes_every_file_and_write_only_what_has_changed(checkout: Path) -> None:
    folder = checkout / "scenarios" / "digits" / "toy"
    (folder / "params.pcs").unlink()
    texts = formats.export(folder)
    assert {path.relative_to(folder).as_posix() for path in texts} == {
        "params.pcs",
        "params.new.pcs",
        "space.json",
        "irace-3.5/parameters.txt",
        "irace-3.5/forbidden.txt",
        "irace-3.5/default.txt",
        "irace-3.5/scenario.txt",
        "irace-4/parameters.txt",
        "irace-4/default.txt",
        "irace-4/scenario.txt",
        "irace-4/target-runner",
    }
    assert set(formats.write(folder)) == set(texts)
    assert formats.write(folder) == ()
    assert os.access(folder / "irace-4" / "target-runner", os.X_OK)
    (folder / "params.pcs").write_text("other")
    assert formats.write(folder) == (folder / "params.pcs",)
    json.loads((folder / "space.json").read_text())
