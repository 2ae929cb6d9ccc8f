"""Forms of spaces and scenarios: each is read back by the program that it is for."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from tests.examples import scenario_name
from tests.wrappers.cases import SAMPLES, every_space, forbidden_configuration, sample
from wrappers import formats
from wrappers.formats.configspace import configspace_json, from_configspace, to_configspace
from wrappers.formats.pcs import old_pcs
from wrappers.formats.pcs_new import new_pcs
from wrappers.scenario import read
from wrappers.space import Config, Space, read_pcs


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
    assert read_pcs(old_pcs(space), "t") == space


@every_space
@pytest.mark.parametrize("reader", ["pcs", "pcs_new", "json"])
def test_configspace_reads_our_files_as_the_same_space(
    space: Space, reader: str, tmp_path: Path
) -> None:
    if reader == "json":
        from ConfigSpace import ConfigurationSpace

        (tmp_path / "space.json").write_text(configspace_json(space))
        made = ConfigurationSpace.from_json(tmp_path / "space.json")
        direct = to_configspace(space)
        assert list(made.values()) == list(direct.values())
        for parts in ("conditions", "forbidden_clauses"):  # in any order
            assert set(map(str, getattr(made, parts))) == set(map(str, getattr(direct, parts)))
    else:
        text = old_pcs(space) if reader == "pcs" else new_pcs(space)
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


@every_space
def test_what_configspace_samples_is_legal_here(space: Space) -> None:
    made = to_configspace(space, seed=1)
    for configuration in made.sample_configuration(SAMPLES):
        config = from_configspace(configuration)
        assert space.check(config) == config
        assert {type(value) for value in config.values()} <= {str, int, float}


@every_space
def test_configspace_samples_the_same_for_the_same_seed(space: Space) -> None:
    first, second = (to_configspace(space, seed=5).sample_configuration(5) for _ in range(2))
    assert first == second


EVERYTHING = read_pcs(
    "a {x, y} [x]\nb [1, 8] [2]il\nc [0.000001, 0.1] [0.0005]l\nd [0, 1] [0.5]\n"
    "b | a in {y}\nd | a in {x, y}\n{a=y}",
    "t",
)


def test_a_space_with_everything_looks_like_this() -> None:
    assert new_pcs(EVERYTHING) == (
        "a categorical {x, y} [x]\n"
        "b integer [1, 8] [2] log\n"
        "c real [0.000001, 0.1] [0.0005] log\n"
        "d real [0, 1] [0.5]\n"
        "b | a in {y}\n"
        "d | a in {x, y}\n"
        "{a=y}\n"
    )


def test_every_format_is_a_module_and_an_unknown_one_is_answered_with_them(tmp_path: Path) -> None:
    modules = {file.stem for file in (ROOT / "wrappers/formats").glob("[!_]*.py")}
    words = formats.names()
    assert {"pcs", "pcs-new", "configspace"} <= set(words) and len(words) == len(modules)
    assert {word.replace("-", "_").replace(".", "_") for word in words} == modules
    with pytest.raises(BadInput, match=f"unknown format 'nosuch': expected one of {words[0]}, "):
        formats.files("nosuch", read(scenario_name()), tmp_path)


@pytest.mark.parametrize("name", formats.names())
def test_a_format_is_written_whole_and_only_what_has_changed_is_written_again(
    name: str, toys: Path, tmp_path: Path
) -> None:
    scenario = read(toys / "scenarios/toys/toy")
    texts = formats.files(name, scenario, tmp_path / "out")
    assert texts and {path.parent for path in texts} == {tmp_path / "out"}
    assert set(formats.write(texts)) == set(texts)
    assert {path: path.read_text() for path in texts} == texts
    assert formats.write(texts) == ()
    changed = next(iter(texts))
    changed.write_text("other")
    assert formats.write(texts) == (changed,)


def test_what_each_format_writes(toys: Path, tmp_path: Path) -> None:
    scenario = read(toys / "scenarios/toys/toy")

    def written(name: str) -> set[str]:
        return {path.name for path in formats.files(name, scenario, tmp_path)}

    assert written("pcs") == {"params.pcs", "scenario.txt"}
    assert written("pcs-new") == {"params.new.pcs"}
    assert written("configspace") == {"space.json"}
    json.loads(formats.files("configspace", scenario, tmp_path)[tmp_path / "space.json"])


def test_a_space_is_committed_once_as_the_paramfile_of_its_scenarios(toys: Path) -> None:
    file = toys / "scenarios/spaces/toy.pcs"
    texts = formats.committed(read(toys / "scenarios/toys/toy"))
    assert {path.resolve(): text for path, text in texts.items()} == {file: file.read_text()}
