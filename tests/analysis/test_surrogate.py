import math
import random
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from analysis import surrogate
from analysis.surrogate import INACTIVE, Refusal, Surrogate
from target_algorithms import Variant, variants
from wrappers.space import Config, Space, config_id, read_pcs, variant_space

PCS = """
mode {a, b, c} [a]
other {x, y} [x]
rate [0.001, 1.0] [0.1]l
share [0.0, 2.0] [0.5]
steps [1, 8] [2]il
units [1, 4] [2]i
rate | mode in {a, b}
steps | other in {y}
{mode=b, other=y}
"""


@pytest.fixture
def space() -> Space:
    return read_pcs(PCS, "test.pcs")


def test_probabilities_of_an_axis_are_the_shares_of_sampled_configurations(space: Space) -> None:
    rng = random.Random(1)
    drawn = surrogate.encode([space.sample(rng) for _ in range(20_000)], surrogate.axes(space))
    for column, axis in zip(drawn.T, surrogate.axes(space), strict=True):
        cuts = np.quantile(column, [0.1, 0.35, 0.6, 0.9, 1.0])
        shares = [(column <= cut).mean() for cut in cuts]
        assert axis.below(cuts) == pytest.approx(shares, abs=0.015), axis.parameter.name


@pytest.mark.parametrize("variant", variants().values(), ids=lambda variant: variant.name)
def test_probabilities_of_a_variants_axes_are_the_shares_of_sampled_configurations(
    variant: Variant,
) -> None:
    """A combination's too, whose parameters have more combinations than can be counted."""
    space, rng = variant_space(variant), random.Random(1)
    axes = surrogate.axes(space)
    drawn = surrogate.encode([space.sample(rng) for _ in range(1500)], axes)
    for column, axis in zip(drawn.T, axes, strict=True):
        cuts = np.unique(np.quantile(column, [0.1, 0.35, 0.6, 0.9, 1.0]))
        shares = [(column <= cut).mean() for cut in cuts]
        assert axis.below(cuts) == pytest.approx(shares, abs=0.06), axis.parameter.name


def test_the_forbidden_combination_changes_the_probabilities_of_its_members(space: Space) -> None:
    mode = surrogate.axes(space)[0]
    # Of six combinations (b, y) is forbidden: a and c keep two each, b one.
    assert mode.cumulative == pytest.approx([0, 2 / 5, 3 / 5, 1])


def test_an_inactive_parameter_has_the_probability_of_being_inactive(space: Space) -> None:
    axes = {axis.parameter.name: axis for axis in surrogate.axes(space)}
    assert axes["rate"].inactive == pytest.approx(2 / 5)
    assert axes["steps"].inactive == pytest.approx(3 / 5)
    assert axes["share"].inactive == 0
    assert axes["rate"].below(np.array([-2.0, INACTIVE, 0.5, 1.0])) == pytest.approx(
        [0, 0.4, 0.7, 1]
    )


def test_places_are_shares_of_the_sampled_range(space: Space) -> None:
    axes = {axis.parameter.name: axis for axis in surrogate.axes(space)}
    assert axes["rate"].place(0.001) == 0
    assert axes["rate"].place(math.sqrt(0.001)) == pytest.approx(0.5)
    assert axes["share"].place(1.5) == pytest.approx(0.75)
    assert axes["units"].place(1) == pytest.approx(1 / 8)
    assert axes["mode"].place("c") == 2
    assert axes["steps"].place(None) == INACTIVE


def test_a_child_of_two_parents_is_active_where_both_allow_it() -> None:
    space = read_pcs(
        "a {0, 1} [0]\nb {0, 1, 2} [0]\nc [0, 1] [0]\nc | a in {1}\nc | b in {1, 2}\n", "t.pcs"
    )
    assert surrogate.axes(space)[2].inactive == pytest.approx(1 - 1 / 3)


def test_families_join_parents_and_children(space: Space) -> None:
    assert surrogate.families(space) == (
        ("mode", "rate"),
        ("other", "steps"),
        ("share",),
        ("units",),
    )


def test_adjusted_costs_are_free_of_the_pairs_that_a_configuration_met() -> None:
    # Later pairs are harder, and only the better configurations get there, as in a race.
    effects = np.linspace(-0.2, 0.2, 20)
    true = np.linspace(0.1, 0.5, 40)
    rows = [
        {"config_id": str(k), "config": {}, "instance": "i", "seed": pair}
        | {"cost": true[k] + effects[pair]}
        for k in range(40)
        for pair in range(20 if k < 15 else 5)
    ]
    table = surrogate.configuration_costs(pd.DataFrame(rows))
    raw, adjusted = (table[name] - table[name].mean() for name in ("cost", "adjusted"))
    wanted = true - true.mean()
    assert np.abs(raw - wanted).max() > 0.09
    assert np.abs(adjusted - wanted).max() < 0.02
    assert table["evaluations"].tolist() == [20] * 15 + [5] * 25


def test_without_pair_effects_adjusted_costs_are_the_means() -> None:
    rows = [
        {"config_id": c, "config": {}, "instance": f"i{k}", "seed": 1, "cost": cost}
        for c, cost in [("a", 0.1), ("b", 0.4)]
        for k in range(5)
    ]
    table = surrogate.configuration_costs(pd.DataFrame(rows))
    assert table["adjusted"].to_numpy() == pytest.approx([0.1, 0.4])


def trials_of(space: Space, cost: Callable[[Config], float], n: int) -> pd.DataFrame:
    rng = random.Random(0)
    rows = []
    for _ in range(n):
        config = space.sample(rng)
        rows.append(
            {"config_id": config_id(config), "config": config, "instance": "i", "seed": 1}
            | {"cost": cost(config)}
        )
    return pd.DataFrame(rows)


def test_a_fitted_surrogate_predicts_and_is_the_same_again(space: Space) -> None:
    trials = trials_of(space, lambda c: float(str(c["share"])) ** 2, 200)
    fitted, again = surrogate.fit(trials, space), surrogate.fit(trials, space)
    assert isinstance(fitted, Surrogate) and isinstance(again, Surrogate)
    assert fitted.r2 > 0.9 and fitted.conclusive
    assert fitted.r2 == again.r2
    config = space.default
    assert fitted.predict([config | {"share": 1.8}])[0] > fitted.predict([config])[0]


@pytest.mark.parametrize(
    ("n", "cost", "reason"),
    [
        (0, 0.0, "no trials"),
        (10, 0.0, "10 different configurations, at least 30"),
        (60, 0.25, "all configurations cost the same"),
    ],
)
def test_a_surrogate_is_refused_with_its_reason(
    space: Space, n: int, cost: float, reason: str
) -> None:
    trials = trials_of(space, lambda _: cost, n)
    refused = surrogate.fit(trials, space)
    assert isinstance(refused, Refusal)
    assert reason in refused.reason


def test_a_record_of_another_space_is_refused(space: Space) -> None:
    trials = trials_of(space, lambda c: float(str(c["share"])), 60)
    refused = surrogate.fit(trials, read_pcs("mode {a, b} [a]\n", "other.pcs"))
    assert isinstance(refused, Refusal)
    assert "another parameter space" in refused.reason


def test_a_surrogate_that_is_wrong_at_the_ends_of_a_path_is_refused(space: Space) -> None:
    trials = trials_of(space, lambda c: float(str(c["share"])) ** 2, 200)
    fitted = surrogate.fit(trials, space)
    assert isinstance(fitted, Surrogate)
    costs = surrogate.configuration_costs(trials).sort_values("cost")
    ends = costs["config"].iloc[-1], costs["config"].iloc[0]
    assert surrogate.far_off(fitted, costs, *ends) is None
    costs.loc[costs.index[-1], "adjusted"] = 0.5
    refused = surrogate.far_off(fitted, costs, *ends)
    assert refused is not None
    assert "and 50.0 %" not in refused.reason and "where 50.0 % and 0.0 %" in refused.reason
