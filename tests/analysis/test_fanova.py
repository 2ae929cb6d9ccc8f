import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis import fanova, surrogate
from analysis.fanova import Group
from analysis.frames import rows
from analysis.measure import Measure
from analysis.surrogate import INACTIVE, Refusal, Surrogate
from target_algorithms import Role, variants
from wrappers.space import Config, Space, read_pcs, variant_space

Array = NDArray[np.float64]


class Known:
    """In place of a forest: a function of the places of the parameters."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self.predict = function


def known(pcs: str, cost: Callable[..., Any]) -> Surrogate:
    """A surrogate that is exact; `cost` is given one column of places a parameter."""
    space, axes = (made := read_pcs(pcs, "t.pcs")), surrogate.axes(made)
    forest = Known(lambda places: np.asarray(cost(*places.T), dtype=np.float64))
    places = Measure(space, axes).places(Measure(space, axes).sample(5, 60))
    return Surrogate(space, axes, forest, 1.0, 60, 60, places, forest.predict(places))


def told(fitted: Surrogate, groups: Sequence[Group] = ()) -> dict[tuple[str, str, str], float]:
    table = fanova.importance(fitted, groups=groups, resamples=2)
    assert isinstance(table, pd.DataFrame)
    return {(r["kind"], r["parameter"], r["other"]): r["importance"] for r in rows(table)}


def single(shares: dict[tuple[str, str, str], float], name: str) -> float:
    return shares["single", name, ""]


def reals(n: int) -> str:
    return "".join(f"x{i} [0, 1] [0]\n" for i in range(n))


CHILD = "mode {off, on} [on]\nu [0, 1] [0]\nu | mode in {on}\n"


def test_a_child_that_does_nothing_has_nothing_and_its_parent_has_it_all() -> None:
    shares = told(known(CHILD, lambda mode, u: mode))
    assert single(shares, "mode") == pytest.approx(1, abs=1e-9)
    assert single(shares, "u") == pytest.approx(0, abs=0.002)
    assert shares["rest", "single + pair", ""] == pytest.approx(0, abs=0.002)


def test_parent_and_child_have_what_each_explains_and_add_up() -> None:
    # mode: half the configurations are c higher, c² / 4 = .6.
    # u: where active, in half of them, d² / 12: together d² / 24 = .4.
    c, d = math.sqrt(2.4), math.sqrt(9.6)
    shares = told(known(CHILD, lambda mode, u: np.where(mode == 1, c + d * (u - 0.5), 0)))
    assert single(shares, "mode") == pytest.approx(0.6, abs=0.01)
    assert single(shares, "u") == pytest.approx(0.4, abs=0.01)
    assert shares["rest", "single + pair", ""] == pytest.approx(0, abs=0.01)


def test_a_child_whose_effect_turns_with_its_parent_is_a_pair_with_it() -> None:
    pcs = "mode {off, up, down} [up]\nu [0, 1] [0]\nu | mode in {up, down}\n"
    sign = np.array([0, 1, -1])
    cost = known(pcs, lambda mode, u: sign[mode.astype(int)] * (u - 0.5))
    shares = told(cost, [Group("family", "mode", ("mode", "u"))])
    assert single(shares, "mode") == pytest.approx(0, abs=0.002)
    assert single(shares, "u") == pytest.approx(0, abs=0.002)
    assert shares["pair", "mode", "u"] == pytest.approx(1, abs=0.01)
    assert shares["family", "mode", "u"] == pytest.approx(1, abs=0.02)


def test_an_irrelevant_child_takes_nothing_of_a_pair_of_its_parent() -> None:
    """Where the child is active the other has an effect that it has not everywhere."""
    pcs = "mode {up, down} [up]\nu [0, 1] [0]\nx [0, 1] [0]\nu | mode in {up}\n"
    shares = told(known(pcs, lambda mode, u, x: (mode - 0.5) * (x - 0.5)))
    assert shares["pair", "mode", "x"] == pytest.approx(1, abs=0.01)
    assert shares.get(("pair", "u", "x"), 0.0) < 0.01


def test_a_grandchild_is_looked_at_where_it_is_active() -> None:
    # u is active in a quarter, b in half; where b says yes the mean is .2, where a does .1.
    pcs = "a {no, yes} [no]\nb {no, yes} [no]\nu [0, 1] [0]\nb | a in {yes}\nu | b in {yes}\n"
    shares = told(known(pcs, lambda a, b, u: np.where(b == 1, u - 0.3, 0)))
    parts = {"a": 0.1**2 / 4, "b": 0.2**2 / 8, "u": 1 / 48}
    for name, part in parts.items():
        assert single(shares, name) == pytest.approx(part / sum(parts.values()), abs=0.01)


def test_an_additive_function_has_its_known_shares() -> None:
    shares = told(known(reals(4), lambda x, y, z, _: 3 * x + 2 * y + z))
    for name, share in zip(("x0", "x1", "x2", "x3"), (9 / 14, 4 / 14, 1 / 14, 0), strict=True):
        assert single(shares, name) == pytest.approx(share, abs=0.01)
    assert max((s for (kind, *_), s in shares.items() if kind == "pair"), default=0.0) < 0.005


def test_exclusive_or_has_no_single_effects_and_all_of_it_as_a_pair() -> None:
    shares = told(known("a {0, 1} [0]\nb {0, 1} [0]\nc {0, 1} [0]\n", lambda a, b, c: a != b))
    assert [single(shares, name) for name in "abc"] == pytest.approx([0, 0, 0], abs=0.001)
    assert shares["pair", "a", "b"] == pytest.approx(1, abs=0.001)


def test_what_takes_three_parameters_is_left_over() -> None:
    pcs = "a {0, 1} [0]\nb {0, 1} [0]\nc {0, 1} [0]\n"
    shares = told(known(pcs, lambda a, b, c: 2.0 * ((a + b + c) % 2) + a))
    # Parity: 1; a: 1/4.
    assert single(shares, "a") == pytest.approx(0.2, abs=0.01)
    assert shares["rest", "single + pair", ""] == pytest.approx(0.8, abs=0.01)


def test_singles_pairs_and_the_rest_add_up_to_one() -> None:
    shares = told(known(reals(4), lambda x, y, z, w: x * y + z * w + x * y * z + w))
    parts = sum(s for (kind, *_), s in shares.items() if kind in ("single", "pair", "rest"))
    assert parts == pytest.approx(1, abs=1e-9)
    assert shares["rest", "single + pair", ""] > 0


def test_a_component_has_what_its_members_explain_beyond_parents_elsewhere() -> None:
    pcs = (
        "root {off, on} [on]\nu [0, 1] [0]\nv [0, 1] [0]\nw [0, 1] [0]\n"
        "u | root in {on}\nv | root in {on}\nw | root in {on}\n"
    )

    def cost(root: Array, u: Array, v: Array, w: Array) -> Array:
        x, y, z = u - 0.5, v - 0.5, w - 0.5
        return np.where(root == 1, 0.5 + x + 4 * x * y + 2 * y * z, 0)

    # root: .25 / 4. Where active, in half: x 1/12, xy 16/144, yz 4/144.
    parts = {"root": 1 / 16, "u": 1 / 24, "xy": 16 / 288, "yz": 4 / 288}
    whole = sum(parts.values())
    components = {"First": ("root",), "Inner": ("u", "v"), "Outer": ("w",)}
    groups = [Group("component", name, members) for name, members in components.items()]
    shares = told(known(pcs, cost), groups)
    of = {name: s for (kind, name, _), s in shares.items() if kind == "component"}
    assert of["First"] == pytest.approx(parts["root"] / whole, abs=0.02)
    assert of["Inner"] == pytest.approx((parts["u"] + parts["xy"]) / whole, abs=0.02)
    assert of["Outer"] == pytest.approx(0, abs=0.01)
    assert shares["rest", "component", ""] == pytest.approx(parts["yz"] / whole, abs=0.03)


def test_shares_do_not_change_with_the_unit_of_the_cost() -> None:
    shares = told(known(reals(3), lambda x, y, z: x * y + z))
    moved = told(known(reals(3), lambda x, y, z: 5 - 100 * (x * y + z)))
    assert moved == pytest.approx(shares, abs=1e-6)


def test_pairs_that_are_never_active_together_are_left_out() -> None:
    pcs = "m {a, b} [a]\nu [0, 1] [0]\nv [0, 1] [0]\nu | m in {a}\nv | m in {b}\n"
    shares = told(known(pcs, lambda m, u, v: u + v + m * v))
    assert ("pair", "u", "v") not in shares


def test_a_constant_surrogate_and_a_poor_one_are_refused() -> None:
    refused = fanova.importance(known(reals(2), lambda x, y: 0 * x + 0.25))
    assert isinstance(refused, Refusal) and "constant" in refused.reason
    refused = fanova.importance(known(reals(2), lambda x, y: x), least_r2=1.1)
    assert isinstance(refused, Refusal)
    assert "R²" in refused.reason and "1.1" in refused.reason


# Intervals ---------------------------------------------------------------------------------------


def of_data(seed: int, n: int) -> pd.DataFrame:
    """The table of n noisy configurations: x0 explains 9/14 of what is no noise."""
    space = read_pcs(reals(4), "t.pcs")
    rng = np.random.default_rng(seed)
    x = rng.random((n, 4))
    y = x @ [3, 2, 1, 0] + rng.normal(scale=0.7, size=n)
    forest = surrogate.grown(x, y, seed=0, trees=surrogate.TREES)
    fitted = Surrogate(space, surrogate.axes(space), forest, 1.0, n, n, x, y)
    table = fanova.importance(fitted, draws=4096, resamples=12)
    assert isinstance(table, pd.DataFrame)
    return table[table["kind"] == "single"].set_index("parameter").loc[["x0", "x1", "x2"]]


def test_intervals_hold_what_other_data_of_the_same_size_give() -> None:
    tables = [of_data(seed, 80) for seed in range(6)]
    expected = sum(table["importance"] for table in tables) / len(tables)
    inside = [(table["least"] <= expected) & (expected <= table["most"]) for table in tables]
    assert np.mean(inside) >= 0.8
    # And they are not so because they are wide: as far apart as the tables are themselves.
    spread = np.std([table["importance"] for table in tables], axis=0, ddof=1).mean()
    width = np.mean([table["most"] - table["least"] for table in tables])
    assert 2 * spread < width < 8 * spread


def test_intervals_shrink_with_more_data() -> None:
    few, many = (of_data(1, n) for n in (60, 960))
    width = [float((table["most"] - table["least"]).mean()) for table in (few, many)]
    assert width[1] < width[0] / 2


# The measure -------------------------------------------------------------------------------------

PCS = """
mode {a, b, c} [a]
other {x, y} [x]
rate [0.001, 1.0] [0.1]l
share [0.0, 2.0] [0.5]
steps [1, 8] [2]il
many [1, 90] [2]i
rate | mode in {a, b}
steps | other in {y}
{mode=b, other=y}
"""


def test_a_measure_draws_what_the_space_draws() -> None:
    space = read_pcs(PCS, "t.pcs")
    axes = surrogate.axes(space)
    measure = Measure(space, axes)
    rng = random.Random(1)
    configs: list[Config] = [space.sample(rng) for _ in range(20_000)]
    slow = surrogate.encode(configs, axes)
    fast = measure.places(measure.sample(0, 20_000))
    for column, other in zip(slow.T, fast.T, strict=True):
        cuts = np.unique(np.quantile(column, [0.1, 0.35, 0.6, 0.9, 1.0]))
        shares = [[(each <= cut).mean() for cut in cuts] for each in (column, other)]
        assert shares[1] == pytest.approx(shares[0], abs=0.015)
    assert not ((fast[:, 0] == 1) & (fast[:, 1] == 1)).any()
    assert ((fast[:, 2] == INACTIVE) == (fast[:, 0] == 2)).all()


def test_what_is_not_held_is_drawn_given_what_is() -> None:
    space = read_pcs(PCS, "t.pcs")
    measure = Measure(space, surrogate.axes(space))
    sample, others = measure.sample(0, 20_000), np.random.default_rng(1).random((20_000, 6))
    held = measure.places(measure.held(2, sample, others, {"other"}))
    assert (held[:, 1] == measure.places(sample)[:, 1]).all()
    # (b, y) is forbidden: beside y there are a and c, beside x all three.
    for code, shares in ((0, [1 / 3, 1 / 3, 1 / 3]), (1, [1 / 2, 0, 1 / 2])):
        beside = held[held[:, 1] == code, 0]
        assert [(beside == k).mean() for k in range(3)] == pytest.approx(shares, abs=0.02)


# Components --------------------------------------------------------------------------------------


def components(space: Space) -> dict[str, list[str]]:
    return fanova.components(space.parameters, "")


def test_a_parameter_belongs_to_the_heading_above_it() -> None:
    text = (
        "a [0, 1] [0]\n# First part ------\n# a remark\nb [0, 1] [0]\n# Second ---\nc {x, y} [x]\n"
    )
    space = read_pcs(text + "# First part ---\nd [1, 2] [1]i\n", "t.pcs")
    assert components(space) == {"": ["a"], "First part": ["b", "d"], "Second": ["c"]}
    assert space == read_pcs("a [0, 1] [0]\nb [0, 1] [0]\nc {x, y} [x]\nd [1, 2] [1]i\n", "t.pcs")


def test_all_parameters_of_a_combination_are_in_a_component() -> None:
    for chosen in variants().values():
        if chosen.role is Role.COMBINATION:
            found = components(variant_space(chosen))
            assert "" not in found and len(found) > 6
            assert max(map(len, found.values())) < 20
