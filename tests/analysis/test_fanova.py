from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from analysis import fanova, surrogate
from analysis.fanova import Partition, boxes, explained, jointly_explained, partition, shares
from analysis.frames import rows
from analysis.surrogate import Refusal, Surrogate
from wrappers.space import Space, read_pcs

INF = np.inf


def real_space(n: int) -> Space:
    return read_pcs("".join(f"x{i} [0, 1] [0]\n" for i in range(n)), "t.pcs")


def real_axes(n: int) -> tuple[surrogate.Axis, ...]:
    return surrogate.axes(real_space(n))


def category_axes(*sizes: int) -> tuple[surrogate.Axis, ...]:
    lines = (f"c{i} {{{', '.join(map(str, range(n)))}}} [0]\n" for i, n in enumerate(sizes))
    return surrogate.axes(read_pcs("".join(lines), "t.pcs"))


def subsets(n: int) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1)))


def own_parts(leaves: Partition, n: int) -> dict[tuple[int, ...], float]:
    parts: dict[tuple[int, ...], float] = {}
    for term in subsets(n):
        below = sum(v for other, v in parts.items() if set(other) < set(term))
        parts[term] = explained(leaves, term) - below
    return parts


def forest_of(x: NDArray[np.float64], y: NDArray[np.float64], space: Space) -> Surrogate:
    forest = RandomForestRegressor(
        32, max_features=0.7, min_samples_leaf=2, oob_score=True, random_state=0
    ).fit(x, y)
    axes = surrogate.axes(space)
    together = np.ones((len(axes), len(axes)), dtype=bool)
    return Surrogate(space, axes, forest, float(forest.oob_score_), len(x), len(x), together)


def step_function() -> Partition:
    """2 for x0 <= 0.25; beyond, 0 for x1 <= 0.6 and 1 above."""
    lower = np.array([[-INF, -INF], [0.25, -INF], [0.25, 0.6]])
    upper = np.array([[0.25, INF], [INF, 0.6], [INF, INF]])
    return boxes(np.array([2.0, 0.0, 1.0]), lower, upper, real_axes(2))


def test_a_step_function_has_its_analytic_shares_to_twelve_digits() -> None:
    p, q = 0.25, 0.4
    mean = 2 * p + (1 - p) * q
    total = p * 4 + (1 - p) * q - mean**2
    first = p * (2 - mean) ** 2 + (1 - p) * (q - mean) ** 2
    high, low = 2 * p + (1 - p), 2 * p
    second = q * (high - mean) ** 2 + (1 - q) * (low - mean) ** 2
    table = shares([step_function()], ["x0", "x1"])
    assert isinstance(table, pd.DataFrame)
    importances = {(r["parameter"], r["other"]): r["importance"] for r in rows(table)}
    expected = {
        ("x0", ""): first / total,
        ("x1", ""): second / total,
        ("x0", "x1"): (total - first - second) / total,
    }
    for term, share in expected.items():
        assert abs(importances[term] - share) < 1e-12


@given(st.integers(0, 10_000), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_the_parts_of_all_subsets_add_up_to_the_variance(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((40, n))
    tree = DecisionTreeRegressor(max_leaf_nodes=12, random_state=0).fit(x, rng.normal(size=40))
    leaves = partition(tree.tree_, real_axes(n))
    weights = leaves.masses.prod(axis=1)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    variance = weights @ leaves.values**2 - (weights @ leaves.values) ** 2
    parts = own_parts(leaves, n)
    assert sum(parts.values()) == pytest.approx(variance, rel=1e-9)
    assert min(parts.values()) > -1e-12
    for term in subsets(n):
        assert jointly_explained(leaves, term) == pytest.approx(explained(leaves, term), abs=1e-12)


def test_exclusive_or_has_no_single_effects_and_all_of_it_as_a_pair() -> None:
    x = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)])
    tree = DecisionTreeRegressor().fit(x, x[:, 0] != x[:, 1])
    table = shares([partition(tree.tree_, category_axes(2, 2))], ["a", "b"])
    assert isinstance(table, pd.DataFrame)
    assert table.set_index("kind")["importance"]["pair"] == pytest.approx(1, abs=1e-12)
    assert table.set_index("kind")["importance"]["single"].to_numpy() == pytest.approx(0, abs=1e-12)


def test_each_category_is_an_atom_wherever_its_code_lies() -> None:
    # One category of three differs: the variance of one bit with probability 1/3.
    for odd in range(3):
        x = np.array([[float(code)] for code in range(3)])
        tree = DecisionTreeRegressor().fit(x, x[:, 0] == odd)
        leaves = partition(tree.tree_, category_axes(3))
        assert explained(leaves, (0,)) == pytest.approx(2 / 9, abs=1e-12)


def test_the_inactive_point_has_the_probability_of_being_inactive() -> None:
    axes = surrogate.axes(
        read_pcs("mode {a, b, c, d} [a]\nrate [0, 1] [0]\nrate | mode in {a}\n", "t.pcs")
    )
    lower = np.array([[-INF, -INF], [-INF, -0.5]])
    upper = np.array([[INF, -0.5], [INF, INF]])
    leaves = boxes(np.array([0.0, 1.0]), lower, upper, axes)
    assert explained(leaves, (1,)) == pytest.approx(0.75 * 0.25, abs=1e-12)


def test_an_additive_function_has_its_known_shares() -> None:
    x = np.random.default_rng(0).random((1500, 4))
    y = 3 * x[:, 0] + 2 * x[:, 1] + x[:, 2]
    table = fanova.importance(forest_of(x, y, real_space(4)))
    assert isinstance(table, pd.DataFrame)
    single = table[table["kind"] == "single"].set_index("parameter")["importance"]
    assert single[["x0", "x1", "x2", "x3"]].to_numpy() == pytest.approx(
        [9 / 14, 4 / 14, 1 / 14, 0], abs=0.05
    )
    assert single["x3"] < 0.005
    assert table.loc[table["kind"] == "pair", "importance"].max() < 0.03


def test_shares_follow_the_parameters_when_their_order_changes() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((60, 3)), rng.normal(size=60)
    tree = DecisionTreeRegressor(max_leaf_nodes=20, random_state=0).fit(x, y)
    leaves = partition(tree.tree_, real_axes(3))
    order = [2, 0, 1]
    turned = Partition(
        leaves.values,
        leaves.first[:, order],
        leaves.last[:, order],
        tuple(leaves.cells[d] for d in order),
    )
    for term in subsets(3):
        there = tuple(order.index(d) for d in term)
        assert explained(turned, there) == pytest.approx(explained(leaves, term), rel=1e-12)


@given(st.floats(0.01, 1000), st.floats(-1000, 1000), st.booleans())
@settings(max_examples=20, deadline=None)
def test_shares_do_not_change_with_the_unit_of_the_cost(
    scale: float, shift: float, turned: bool
) -> None:
    leaves = step_function()
    factor = -scale if turned else scale
    moved = Partition(leaves.values * factor + shift, leaves.first, leaves.last, leaves.cells)
    scaled, expected = shares([moved], ["x0", "x1"]), shares([leaves], ["x0", "x1"])
    assert isinstance(scaled, pd.DataFrame) and isinstance(expected, pd.DataFrame)
    assert scaled["importance"].to_numpy() == pytest.approx(
        expected["importance"].to_numpy(), abs=1e-6
    )


def test_constant_trees_are_left_out_and_a_constant_forest_is_refused() -> None:
    constant = boxes(
        np.array([0.1, 0.1]), np.array([[-INF], [0.5]]), np.array([[0.5], [INF]]), real_axes(1)
    )
    split = Partition(np.array([0.0, 1.0]), constant.first, constant.last, constant.cells)
    table = shares([constant, split], ["x0"])
    assert isinstance(table, pd.DataFrame)
    assert table[["importance", "std", "trees"]].to_numpy().tolist() == [[1.0, 0.0, 1.0]]
    refused = shares([constant, constant], ["x0"])
    assert isinstance(refused, Refusal)
    assert "constant" in refused.reason


def test_a_poor_surrogate_is_refused_with_its_quality() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((100, 3)), rng.normal(size=100)
    refused = fanova.importance(forest_of(x, y, real_space(3)))
    assert isinstance(refused, Refusal)
    assert "R²" in refused.reason and "0.3" in refused.reason


def test_a_family_explains_what_its_members_explain_alone_and_together() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((400, 3))
    y = x[:, 0] * x[:, 1] + 0.3 * x[:, 2]
    fitted = forest_of(x, y, real_space(3))
    trees = [partition(tree.tree_, fitted.axes) for tree in fitted.forest.estimators_]
    table = shares(trees, ["x0", "x1", "x2"], families=[("x0", "x1"), ("x2",)])
    assert isinstance(table, pd.DataFrame)
    shown = {(r["kind"], r["parameter"], r["other"]): r["importance"] for r in rows(table)}
    parts = [("single", "x0", ""), ("single", "x1", ""), ("pair", "x0", "x1")]
    assert shown["family", "x0", "x1"] == pytest.approx(sum(shown[p] for p in parts), rel=1e-9)
    assert shown["family", "x2", ""] == pytest.approx(shown["single", "x2", ""], rel=1e-9)


def test_pairs_that_are_never_active_together_are_left_out() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((200, 2))
    fitted = forest_of(x, x.sum(axis=1), real_space(2))
    apart = replace(fitted, together=np.eye(2, dtype=bool))
    table = fanova.importance(apart)
    assert isinstance(table, pd.DataFrame)
    assert set(table["kind"]) == {"single"}
