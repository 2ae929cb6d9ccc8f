"""Contracts of every variant folder; a new folder is tested by being there."""

import inspect
import re
from dataclasses import fields

import pytest

from target_algorithms.errors import BadInput
from target_algorithms.topology import Topology
from target_algorithms.training import Recipe
from target_algorithms.trial import configured, run
from target_algorithms.variants import FOLDER, topology_of, variant_pcs, variants
from tests.target_algorithms.cases import SGD, request

PARAMETER = re.compile(r"^([a-z][a-z0-9_]*)\s*[\[{]")


def names(text: str) -> list[str]:
    """Names of the parameters that a PCS file declares."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [found[1] for line in lines if (found := PARAMETER.match(line))]


def defaults(text: str) -> dict[str, str | int | float]:
    """Defaults of the parameters of a PCS file, inactive ones left out."""
    found: dict[str, str | int | float] = {}
    conditions: list[tuple[str, str, set[str]]] = []
    for line in (line.split("#")[0].strip() for line in text.splitlines()):
        if "|" in line:
            child, parent, values = re.fullmatch(r"(\w+) \| (\w+) in \{(.+)\}", line).groups()  # type: ignore[union-attr]
            conditions.append((child, parent, set(re.split(r",\s*", values))))
        elif match := re.fullmatch(r"(\w+) \{.+\} \[(\w+)\]", line):
            found[match[1]] = match[2]
        elif match := re.fullmatch(r"(\w+) \[.+\] \[(.+)\](i?)l?|", line):
            if match[1]:
                found[match[1]] = int(match[2]) if match[3] else float(match[2])
    for child, parent, values in conditions:
        if str(found.get(parent)) not in values:
            found.pop(child, None)
    return found


def test_the_variants_are_there() -> None:
    assert {"set", "rigl", "meta", "static", "dense"} <= set(variants())


@pytest.mark.parametrize("variant", variants())
def test_a_variant_takes_the_parameters_that_its_file_declares(variant: str) -> None:
    signature = inspect.signature(topology_of(variant))
    own, _ = variant_pcs(variant)
    assert sorted(signature.parameters) == sorted(names(own.read_text()))
    assert all(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values())
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert signature.return_annotation is Topology


def test_the_shared_file_declares_the_fields_of_the_recipe() -> None:
    shared = (FOLDER / "training.pcs").read_text()
    assert names(shared) == [field.name for field in fields(Recipe)]
    assert Recipe(**defaults(shared)) == Recipe()  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", variants())
def test_a_variant_and_the_shared_parameters_have_no_name_in_common(variant: str) -> None:
    own, shared = (names(file.read_text()) for file in variant_pcs(variant))
    assert not set(own) & set(shared)
    assert not {*own, *shared} & {"instance", "seed", "cutoff", "config", "help"}


@pytest.mark.parametrize("variant", variants())
def test_a_variant_at_its_defaults_runs_within_its_budget(variant: str) -> None:
    config: dict[str, str | int | float] = {}
    for file in variant_pcs(variant):
        config |= defaults(file.read_text())
    assert config.items() >= SGD.items()
    result = run(request(variant, config=config))
    if variant != "dense":
        assert result["active_weights"] == 300
    assert 0.0 <= result["cost"] < 0.9  # type: ignore[operator]
    assert run(request(variant, config=config)) == result


@pytest.mark.parametrize("variant", variants())
def test_a_variant_has_a_page_that_names_its_source(variant: str) -> None:
    page = (FOLDER / variant / "README.md").read_text()
    assert "Source" in page
    for parameter in names(variant_pcs(variant)[0].read_text()):
        assert f"`{parameter}`" in page, parameter


def test_every_field_of_the_topology_and_the_recipe_says_what_it_means() -> None:
    for kind in (Topology, Recipe):
        source = inspect.getsource(kind)
        for field in fields(kind):
            assert re.search(rf'^    {field.name}: [^\n]+\n    """', source, re.M), field.name


@pytest.mark.parametrize("function", [topology_of, variant_pcs])
def test_an_unknown_variant_is_named_with_the_known_ones(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput, match="unknown variant 'snip': expected one of dense, meta, rigl"):
        function("snip")


def test_meta_at_its_defaults_is_rigl_at_its_defaults() -> None:
    def default(variant: str) -> Topology:
        own = defaults(variant_pcs(variant)[0].read_text())
        return configured(variant, {**SGD, **own})[0]

    assert default("meta") == default("rigl") == Topology()
