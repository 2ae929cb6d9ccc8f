"""Choice: a trial of it is a trial of the variant that it names."""

from dataclasses import replace

import pytest

from sparse_training.errors import BadInput
from target_algorithms import CHOSEN, Role, variant, variants
from target_algorithms.contract import Options
from target_algorithms.trial import configured
from tests.examples import config_of, whole
from wrappers.space import Space, resolved, variant_space

NAME = "choice"
OPTIONS = Options(active_weights=300, training_samples=1500, hidden=(24, 16))


def space(**changes: object) -> Space:
    """As a scenario leaves it."""
    return variant_space(variant(NAME), replace(OPTIONS, **changes))  # type: ignore[arg-type]


def constants(of: Space, **chosen: str) -> dict[str, object]:
    """What is fixed where a variant is chosen, at its default."""
    config = of.changed(chosen)
    return {name: v for name, v in of.complete(config).items() if name not in config}


def test_it_begins_where_the_combination_begins() -> None:
    combined = next(v for v in variants().values() if v.role is Role.COMBINATION)
    choice = variant(NAME)
    assert configured(*resolved(choice, whole(choice, config_of(choice)))) == configured(
        combined, whole(combined, config_of(combined))
    )


def test_granet_is_a_choice_only_where_there_is_a_peak() -> None:
    assert "granet" not in space().by_name[CHOSEN].choices
    assert not any(name.startswith("granet__") for name in space().by_name)
    peak = space(peak_weights=600)
    assert "granet" in peak.by_name[CHOSEN].choices and "granet__path_end" in peak.by_name


def test_without_a_peak_mest_has_no_density_path_and_with_one_it_has() -> None:
    assert constants(space(), variant="mest") == {"mest__density_path": "constant"}
    assert "mest__density_path" in space(peak_weights=600).by_name


def test_what_snip_fixes_of_the_recipe_is_fixed_where_snip_is_chosen() -> None:
    whole_space = space()
    assert constants(whole_space, variant="snip") == {"snip__init_scaling": "none"}
    assert constants(whole_space, variant="set") == {}
    config = whole_space.changed({CHOSEN: "snip"})
    _, got = resolved(variant(NAME), whole_space.complete(config))
    assert got["init_scaling"] == "none" and "init_scaling" not in config
    assert whole_space.changed({CHOSEN: "set"})["init_scaling"] == "layer"


def test_a_recipe_fixed_by_the_scenario_is_fixed_for_all_and_stands_there_once() -> None:
    narrowed = space(only="width_factor:1,norm:none,learning_rate_sgd:0.05/0.1/0.2")
    assert constants(narrowed, variant="set") == {"width_factor": 1.0, "norm": "none"}
    assert narrowed.by_name["learning_rate_sgd"].high == 0.2
    assert space(hidden=None, network="lenet5").default["norm"] == "batch"


def test_the_variants_and_what_is_their_own_can_be_narrowed_by_the_scenario() -> None:
    two = space(only="variant:set/snip,set__drop_fraction:0.2")
    assert two.by_name[CHOSEN].choices == ("set", "snip") and two.default[CHOSEN] == "set"
    assert constants(two, variant="set") == {"set__drop_fraction": 0.2}
    assert not any(name.startswith("rigl__") for name in two.by_name)
    assert space(only="granet__path_end:0.5") == space(), "of what is no choice here"


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("variant:rigl", "choice has one variant left, expected two to choose from at least"),
        ("drop_fraction:0.3", "option --only names drop_fraction, expected parameters of choice: "),
        ("variant:meta/set", "parameter variant is 'meta', expected one of cht, dsr, "),
    ],
)
def test_what_cannot_be_chosen_among_is_refused_in_one_line(only: str, message: str) -> None:
    with pytest.raises(BadInput) as refusal:
        space(only=only)
    assert str(refusal.value).startswith(message) and "\n" not in str(refusal.value)


def test_a_variant_that_there_is_not_any_more_is_named() -> None:
    with pytest.raises(BadInput, match="choice chose 'gone', expected one of cht, dsr, "):
        resolved(variant(NAME), {CHOSEN: "gone"})
