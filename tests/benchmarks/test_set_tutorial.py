"""The rules of SET's tutorial on numbers worked out by hand, then against the published curves."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import set_tutorial
from benchmarks.set_tutorial import (
    PROCEDURES,
    PUBLISHED,
    Curves,
    Layer,
    curve,
    evolved,
    first_layer,
    gradients,
    images,
    layer_at,
    move,
    output_delta,
    positions_of,
    predicted,
    read,
    table,
    write,
)
from sparse_training.data.sources.vision import DEBIAN
from sparse_training.errors import BadInput

SCRIPTS, CORRECT = PROCEDURES["fixed"], PROCEDURES["fixed_correct"]


class Scripted(np.random.RandomState):
    """Draws what it was told."""

    def __init__(self, normal: Sequence[float], whole: Sequence[int]) -> None:
        super().__init__(0)
        self._normal, self._whole = iter(normal), iter(whole)

    def randn(self, *shape: Any) -> Any:
        return next(self._normal)

    def randint(self, *limits: Any, **options: Any) -> Any:
        return next(self._whole)


def layer(weights: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> Layer:
    """From a matrix (inputs, outputs), of which zeros are inactive."""
    matrix = np.array(weights, dtype=np.float64)
    positions = np.flatnonzero(matrix)
    start = np.zeros(matrix.shape[1]) if bias is None else np.array(bias, dtype=np.float64)
    return layer_at(
        positions,
        matrix.flat[positions],
        np.zeros(len(positions)),
        start,
        np.zeros(matrix.shape[1]),
        (matrix.shape[0], matrix.shape[1]),
    )


# By hand -----------------------------------------------------------------------------------------


def test_a_position_that_is_drawn_again_is_overwritten() -> None:
    """Value, row, column: 5 at (0, 1), -3 at (1, 0), 2 at (0, 1) again."""
    drawn = first_layer((2, 2), 3, Scripted([5.0, -3.0, 2.0], [0, 1, 1, 0, 0, 1]))
    assert drawn.weights.toarray() == pytest.approx(np.array([[0.0, 0.2], [-0.3, 0.0]]))
    assert drawn.weights.nnz == 2 and drawn.bias.tolist() == [0.0, 0.0]


def test_repetition_leaves_the_output_layer_about_73_of_100_weights() -> None:
    """1 - (1 - 1/10000)^13130 = .7310 of 10,000."""
    output = first_layer((1000, 10), 13 * 1010, np.random.RandomState(0))
    assert output.weights.nnz == pytest.approx(7310, abs=90)


def test_the_slope_of_the_output_is_taken_at_the_output() -> None:
    """Of .5: sigmoid(.5) = .62246, slope .62246 (1 - .62246) = .23500 (and not .25)."""
    delta = output_delta(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
    assert delta[0] == pytest.approx([-0.1175019, 0.1175019], abs=1e-7)


@pytest.mark.parametrize(
    ("procedure", "keep", "passed"), [(SCRIPTS, 1.0, 1.0), (CORRECT, 1.25, 0.0)], ids=str
)
def test_what_a_dropped_unit_passes_back(
    procedure: set_tutorial.Procedure, keep: float, passed: float
) -> None:
    """Hidden units at 1, 2 and -1 behind weights .5, 1 and 3; the second is dropped.

    keep: what a kept activation is times; passed: what a dropped one's delta is times. The third
    passes nothing, its z is negative.
    """
    layers = [layer([[1.0, 2.0, -1.0]]), layer([[0.5], [1.0], [3.0]])]
    batch = np.ones((1, 2))
    kept = [np.array([[True, True], [False, False], [True, True]])]
    hidden, output = gradients(layers, batch, np.zeros((1, 2)), kept, procedure)
    activated = 1.0 / (1.0 + math.exp(-0.5 * keep))
    again = 1.0 / (1.0 + math.exp(-activated))
    delta = activated * again * (1.0 - again)
    assert output[0] == pytest.approx([delta * keep, 0.0, 0.0])
    assert output[1] == pytest.approx([delta])
    assert hidden[0] == pytest.approx([0.5 * delta * keep, delta * passed, 0.0])
    assert hidden[1] == pytest.approx([0.5 * delta * keep, delta * passed, 0.0])


def test_decay_goes_neither_through_momentum_nor_times_the_learning_rate() -> None:
    """v = .9 x .2 - .05 x 2 = .08, w = 1 + .08 - .0002; the bias as well, from 0 and 3."""
    moved = layer([[1.0]], bias=[3.0])
    moved.velocity[:] = 0.2
    move(moved, np.array([2.0]), np.array([2.0]))
    assert moved.velocity == pytest.approx([0.08], abs=1e-12)
    assert moved.weights.data == pytest.approx([1.0798], abs=1e-12)
    assert moved.bias_velocity == pytest.approx([-0.1], abs=1e-12)
    assert moved.bias == pytest.approx([3.0 - 0.1 - 0.0006], abs=1e-12)


@pytest.mark.parametrize(("rival", "scaled", "unscaled"), [(1.7, 1, 0), (1.5, 0, 0), (2.1, 1, 1)])
def test_evaluation_scales_z_and_bias_behind_a_dropout(
    rival: float, scaled: int, unscaled: int
) -> None:
    """The second unit is at (1 + 1) x .8 = 1.6, or 2 unscaled, and outputs against the bias.

    It were 1.8 if the bias were left alone, and 1.44 if the first layer were scaled too.
    """
    layers = [layer([[1.0]]), layer([[1.0]], bias=[1.0]), layer([[1.0, 0.0]], bias=[0.0, rival])]
    assert predicted(layers, np.ones((1, 1)), SCRIPTS).tolist() == [scaled]
    assert predicted(layers, np.ones((1, 1)), CORRECT).tolist() == [unscaled]


def test_survivors_keep_their_velocity_and_what_is_grown_has_none() -> None:
    """-2 and 2 are the thresholds, which go too; so two stay and four are grown."""
    before = layer([[-3.0, -2.0, -0.1, 0.1, 2.0, 3.0, *([0.0] * 94)]], bias=[7.0] * 100)
    before.velocity[:] = 1.0
    after = evolved(before, np.random.RandomState(0))
    kept = np.isin(positions_of(after), [0, 5])
    assert after.weights.data[kept].tolist() == [-3.0, 3.0]
    assert after.velocity.tolist() == kept.astype(float).tolist()
    assert after.weights.nnz == 6 and after.bias is before.bias


def test_a_layer_without_free_positions_keeps_its_mask_and_draws_what_it_dropped_anew() -> None:
    """Of 1 to 5 and -1 to -5 the rule keeps 4 and 5 of either sign."""
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, -2.0, -3.0, -4.0, -5.0]])
    before = layer(values.tolist())
    before.velocity[:] = 1.0
    after = evolved(before, np.random.RandomState(0))
    large = (np.abs(values) >= 4.0).ravel()
    assert positions_of(after).tolist() == list(range(10))
    assert after.weights.data[large].tolist() == [4.0, 5.0, -4.0, -5.0]
    assert (0.0 < np.abs(after.weights.data[~large])).all()
    assert (np.abs(after.weights.data[~large]) < 0.5).all()
    assert after.velocity.tolist() == large.astype(float).tolist()


# The published runs ------------------------------------------------------------------------------


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
@pytest.mark.parametrize("name", ["fixed", "set"])
def test_a_run_is_the_published_one_of_its_seed_epoch_by_epoch(name: str) -> None:
    published = read(PUBLISHED)[name, 3]
    train, test = images(None)
    made = curve(train, test, PROCEDURES[name], 3, 3)
    assert made == pytest.approx(published[:3], abs=1e-9)


def test_the_published_curves_end_as_their_authors_report() -> None:
    published = read(PUBLISHED)
    ends = {
        name: np.mean([published[name, seed][-1] for seed in range(5)], axis=0)
        for name in ("fixed", "set")
    }
    assert ends["fixed"] == pytest.approx([0.8751, 0.8060], abs=1e-9)
    assert ends["set"] == pytest.approx([0.9179, 0.8256], abs=1e-9)


# Output ------------------------------------------------------------------------------------------


def test_the_table_counts_epochs_that_differ_and_pairs_gains_by_seed(tmp_path: Path) -> None:
    """SET over fixed: .1 and .3 at the end of two epochs."""
    published: Curves = {
        ("fixed", 0): np.array([[0.1, 0.2], [0.3, 0.4]]),
        ("fixed", 1): np.array([[0.1, 0.2], [0.3, 0.4]]),
        ("set", 0): np.array([[0.1, 0.2], [0.3, 0.5]]),
        ("set", 1): np.array([[0.1, 0.2], [0.3, 0.7]]),
    }
    other = published["set", 1] + np.array([[0.0, 0.001], [0.0, 0.0]])
    write({**published, ("set", 1): other}, tmp_path / "curves.csv")
    text = table(read(tmp_path / "curves.csv"), published)
    rows = {line.split(" | ")[0]: line for line in text.splitlines()}
    assert rows["| fixed"].endswith("| 0 of 4 |")
    assert rows["| set"].endswith("| 1 of 4 |")
    assert "| 2 | +0.2000 ±" in rows["| the scripts' dropout"]
    assert not any("correct" in line for line in rows)


def test_runs_of_another_length_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({("fixed", 0): np.zeros((3, 2))}, tmp_path / "set_tutorial.csv")
    monkeypatch.setattr(sys, "argv", ["set_tutorial", "--out", str(tmp_path), "--epochs", "5"])
    with pytest.raises(BadInput, match=r"has a run of 3 epochs \(fixed, seed 0\), expected 5"):
        set_tutorial.main()
