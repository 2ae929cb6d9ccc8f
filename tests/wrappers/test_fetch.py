"""Fetching: openml-python for real against a server on the loopback address, well and ill."""

import hashlib
import io
import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparse_training.data import preparation, sources, stored
from sparse_training.data.features import features
from sparse_training.data.instances import load
from sparse_training.data.raw import Access, DataSet
from sparse_training.data.stored import INNER_FOLDS
from sparse_training.errors import BadInput
from target_algorithms import ROOT
from tests.examples import BASELINE, config_of, scenario_name
from tests.openml import documents, server
from tests.openml.server import Server
from wrappers import formats
from wrappers.features import features_csv, unfetched
from wrappers.fetch import entries, fetch, named, sets
from wrappers.origin import hashes
from wrappers.scenario import read

FILES = documents.iris() | documents.anneal()
IRIS, ANNEAL = "openml/59", "openml/2867"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory, and settings and caches of OpenML, of the test's own."""
    for variable in ("OPENML_APIKEY", "OPENML_CACHE_DIR", "OPENML_SKIP_PARQUET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def openml() -> Iterator[Server]:
    with Server(dict(FILES)) as running:
        yield running


def problem(name: str, access: Access) -> str:
    """The one line that a fetch of one data set ends with."""
    (outcome,) = fetch([name], access)
    assert outcome.state == "failed" and outcome.problem is not None
    assert "\n" not in outcome.problem and outcome.problem.startswith(name)
    return outcome.problem


def get(openml: Server, *names: str, **settings: Any) -> None:
    """Fetches from a server, without a second attempt, and without a problem."""
    outcomes = fetch(names, Access(server=openml.address, retries=1, **settings))
    assert [outcome.problem for outcome in outcomes] == [None] * len(names)


def tree(folder: Path) -> dict[str, str]:
    """The files below a folder, with the sums of their contents."""
    return {
        str(file.relative_to(folder)): hashlib.md5(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix != ".lock"
    }


def asked(openml: Server) -> list[str]:
    """The paths that were asked for since the last look."""
    paths = [line.split("?")[0].removeprefix("GET ") for line in openml.asked]
    openml.asked.clear()
    return [path.removeprefix("/api/v1/xml") for path in paths]


# Tasks -------------------------------------------------------------------------------------------


def test_the_server_s_splits_are_those_of_openml() -> None:
    """So the official folds of any task can be made from its classes in their order."""
    lines = documents.original("iris-splits.arff").decode().splitlines()
    tested = [line.split(",") for line in lines if line.startswith("TEST")]
    official = dict(sorted((int(row), int(fold)) for _, row, _, fold in tested))
    rows = documents.original("iris.arff").decode().partition("@DATA")[2].splitlines()
    labels = [row.rpartition(",")[2] for row in rows if row[:1].isdigit()]
    assert list(official.values()) == documents.official_folds(labels, 10).tolist()


def test_a_task_is_stored_with_its_official_folds_and_where_it_comes_from(openml: Server) -> None:
    get(openml, IRIS)
    genuine = documents.original("iris-splits.arff").decode().splitlines()
    for fold in range(10):
        split = load(f"{IRIS}/{fold}")
        for kind, rows in (("TRAIN", split.train_rows), ("TEST", split.eval_rows)):
            official = [int(line.split(",")[1]) for line in genuine if _is(line, kind, fold)]
            assert sorted(official) == rows.tolist()
    about = stored.read(stored.path("openml", "59")).about
    assert about.title == "iris" and about.licence == "Public"
    assert "task 59" in about.origin and openml.address in about.origin
    assert about.classes == ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
    with pytest.raises(BadInput, match="fold 10 .* expected 0 to 9"):
        load(f"{IRIS}/10")


def _is(line: str, kind: str, fold: int) -> bool:
    return line.startswith(kind) and line.endswith(f",0,{fold}")


def test_rows_train_validate_or_test_in_every_split_of_a_task(openml: Server) -> None:
    get(openml, ANNEAL)
    tested = []
    for fold in range(10):
        outer = load(f"{ANNEAL}/{fold}")
        tested.append(outer.eval_rows)
        assert not np.intersect1d(outer.train_rows, outer.eval_rows).size
        for inner in range(INNER_FOLDS):
            split = load(f"{ANNEAL}/{fold}/{inner}")
            both = np.concatenate([split.train_rows, split.eval_rows])
            assert (np.sort(both) == outer.train_rows).all()
    assert (np.sort(np.concatenate(tested)) == np.arange(898)).all()


def test_features_are_openml_s_own_qualities(openml: Server) -> None:
    """Those that OpenML publishes of anneal; it counts a sixth class, which no row has."""
    get(openml, ANNEAL)
    values = features(f"{ANNEAL}/0")
    assert values["NumberOfInstances"] == 898 and values["NumberOfFeatures"] == 39
    assert values["NumberOfNumericFeatures"] == 6 and values["NumberOfBinaryFeatures"] == 7
    assert values["NumberOfMissingValues"] == 22175
    assert values["NumberOfInstancesWithMissingValues"] == 898
    assert values["Dimensionality"] == round(0.043429844097995544, 6)
    assert values["MajorityClassPercentage"] == round(100 * 684 / 898, 6)
    assert all(np.isfinite(value) for value in values.values())


def test_the_features_of_cc18_are_those_of_the_data(openml: Server) -> None:
    """Of the one task whose rows are in OpenML's order here; fetched data: see test_contract.py."""
    files = documents.published(3, 3, "kr-vs-kp", documents.kr_vs_kp(), "class")
    openml.files |= files
    get(openml, "openml/3")
    folder = ROOT / "scenarios" / "cc18"
    before = (folder / "features.csv").read_text()
    assert "openml/3/0/halves/0" not in unfetched(folder)
    assert features_csv(folder) == before
    frame = documents.kr_vs_kp()
    frame["class"] = frame["class"].cat.rename_categories({"won": "nowin", "nowin": "won"})
    frame.loc[0, ["class", "bkblk"]] = [
        "won" if frame.loc[0, "class"] == "nowin" else "nowin",
        None,
    ]
    openml.files |= documents.published(3, 3, "kr-vs-kp", frame, "class")
    get(openml, "openml/3", refresh=True)
    changed = features_csv(folder)
    lines = list(zip(before.splitlines(), changed.splitlines(), strict=True))
    assert [old.partition(",")[0] for old, new in lines if old != new] == ["openml/3/0/halves/0"]


def test_gaps_and_categories_of_real_data_are_as_scikit_learn_treats_them(openml: Server) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    get(openml, ANNEAL)
    split = load(f"{ANNEAL}/3/1")
    content = documents.original("anneal.arff").decode().partition("@data")[2]
    rows = [line.split(",")[:-1] for line in content.splitlines() if line and line[0] != "%"]
    frame = pd.DataFrame(rows).replace("?", np.nan)
    kinds = documents.original("anneal-features.xml").decode().split("<oml:data_type>")[1:]
    numeric = [column for column, kind in enumerate(kinds[:38]) if kind.startswith("numeric")]
    nominal = [column for column in range(38) if column not in numeric]
    assert frame.shape[1] == 38
    values = SimpleImputer(keep_empty_features=True).fit(frame.iloc[split.train_rows][numeric])
    scaler = StandardScaler().fit(values.transform(frame.iloc[split.train_rows][numeric]))
    theirs = scaler.transform(values.transform(frame.iloc[split.eval_rows][numeric]))
    np.testing.assert_allclose(split.eval_x[:, : len(numeric)], theirs, atol=1e-5)
    # Ties between equally frequent categories are broken by OpenML's order, here by the alphabet:
    # compare the columns in which the two agree on the most frequent one.
    train, judge = (frame.iloc[rows][nominal] for rows in (split.train_rows, split.eval_rows))
    filled = SimpleImputer(strategy="most_frequent", keep_empty_features=True).fit(train)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder.fit(filled.transform(train))
    scaled = StandardScaler().fit(encoder.transform(filled.transform(train)))
    expected = scaled.transform(encoder.transform(filled.transform(judge)))
    varied = expected[:, scaled.var_ > 0]
    ours = split.eval_x[:, len(numeric) :]
    ours = ours[:, split.train_x[:, len(numeric) :].any(axis=0)]
    assert ours.shape == varied.shape
    of_ours, of_theirs = (np.lexsort(matrix.round(4)) for matrix in (ours, varied))
    np.testing.assert_allclose(ours[:, of_ours], varied[:, of_theirs], atol=1e-4)


def test_arff_and_parquet_hold_the_same_data(openml: Server) -> None:
    frame = documents.kr_vs_kp().iloc[:3200:8].reset_index(drop=True)
    frame = frame.assign(
        number=np.linspace(0, 1, 400), flag=pd.Categorical(["TRUE", "FALSE"] * 200)
    )
    frame.loc[3, "bkblk"] = None
    openml.files |= documents.published(71, 171, "chess", frame, "class")
    openml.files |= documents.published(72, 172, "chess", frame, "class", parquet=True)
    get(openml, "openml/71", "openml/72")
    assert any(line == "GET /bucket/172" for line in openml.asked)
    assert not any("arff/172" in line for line in openml.asked)
    # A Parquet file may hold texts and truths where the ARFF file has categories.
    plain = frame.astype(object).assign(flag=frame["flag"] == "TRUE")
    buffer = io.BytesIO()
    plain.to_parquet(buffer)
    openml.files |= documents.published(74, 174, "chess", frame, "class", parquet=True)
    openml.files["bucket/174"] = buffer.getvalue()
    get(openml, "openml/74")
    sums = {stored.read(stored.path("openml", name)).about.sha256 for name in ("71", "72", "74")}
    assert len(sums) == 1


def test_a_sparse_arff_file_is_refused_by_name(openml: Server) -> None:
    openml.files["data/61"] = openml.files["data/61"].replace(b">ARFF<", b">Sparse_ARFF<")
    line = problem(IRIS, Access(server=openml.address, retries=1))
    assert "its data are a sparse ARFF file" in line


def test_a_bucket_without_the_file_falls_back_on_arff(openml: Server) -> None:
    frame = documents.kr_vs_kp().iloc[:3200:32]
    openml.files |= documents.published(73, 173, "chess", frame, "class", parquet=True)
    missing = b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>Object does not exist'
    openml.faults["bucket/173"] = server.status(404, missing + b"</Message></Error>")
    get(openml, "openml/73")
    assert len(load("openml/73/0").train_rows) == 90


def test_the_same_task_has_the_same_sum_wherever_it_is_fetched(openml: Server, data: Path) -> None:
    get(openml, IRIS)
    first = stored.path("openml", "59").read_bytes()
    get(openml, IRIS, refresh=True)
    assert stored.path("openml", "59").read_bytes() == first


# What is there stays -----------------------------------------------------------------------------


def test_what_is_there_and_whole_is_left_alone_and_what_is_damaged_is_fetched_again(
    openml: Server,
) -> None:
    get(openml, IRIS)
    file = stored.path("openml", "59")
    whole, written = file.read_bytes(), file.stat().st_mtime_ns
    asked(openml)
    assert [outcome.state for outcome in fetch([IRIS], Access(server=openml.address))] == ["here"]
    assert asked(openml) == [] and file.stat().st_mtime_ns == written
    file.write_bytes(whole[:-77] + b"!" + whole[-76:])
    (damaged,) = entries()
    assert damaged.about is None
    with pytest.raises(BadInput, match="damaged"):
        load(f"{IRIS}/0")
    get(openml, IRIS)
    assert file.read_bytes() == whole


def test_a_content_that_is_not_the_committed_one_is_refused(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "known_sha256", lambda source, dataset: "0" * 64)
    assert "sha256" in problem(IRIS, Access(server=openml.address, retries=1))
    assert not stored.path("openml", "59").exists()


def test_a_fetch_that_failed_goes_on_where_it_stopped(openml: Server, data: Path) -> None:
    openml.faults["arff/2"] = server.truncated
    access = Access(server=openml.address, retries=1)
    assert "broke off" in problem(ANNEAL, access)
    first = asked(openml)
    assert {"/task/2867", "/data/2", "/splits/2867", "/arff/2"} <= set(first)
    assert not list(data.rglob("work-*")) and not stored.path("openml", "2867").exists()
    openml.faults.clear()
    get(openml, ANNEAL)
    assert asked(openml) == ["/arff/2"]
    assert tree(data).keys() == {"openml/2867.safetensors"}  # nothing is kept once it is stored


FAULTS = {
    "slow and then dead": ("arff/2", server.dies, "broke off|cannot be reached"),
    "broken off in the task": ("task/2867", server.truncated, "broke off"),
    "broken off in the features": ("data/features/2", server.truncated, "broke off"),
    "broken off in the splits": ("splits/2867", server.truncated, "broke off"),
    "broken off in the data": ("arff/2", server.truncated, "broke off"),
    "another md5": ("arff/2", server.altered, "another md5"),
    "no such data": ("data/2", server.status(412, server.error(111, "Unknown")), "such number"),
    "in trouble": (
        "data/2",
        server.status(412, server.error(107, "Database")),
        "refused .code 107",
    ),
    "a private data set": ("data/2", server.status(412, server.error(112, "No access")), "key"),
    "not found": ("arff/2", server.status(404), "answered with a page"),
    "a page of an error": ("task/2867", server.status(503), "answered with a page"),
    "not XML": ("task/2867", server.status(200), "cannot make sense"),
    "no splits": ("splits/2867", server.status(412, server.error(999, "gone")), "has no splits"),
    "splits of nothing": ("splits/2867", server.status(200, b"@relation x\n@data\n"), "no splits"),
    "no ARFF": ("data/features/2", server.status(200, b"<oml:none/>"), "cannot make sense"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_server_that_fails_leaves_everything_as_it_was_and_is_explained_in_one_line(
    openml: Server, data: Path, tmp_path: Path, case: str
) -> None:
    cache = tmp_path / "their cache"
    get(openml, ANNEAL)
    get(openml, IRIS)
    _cached(openml, cache, documents.iris())
    before, cached = tree(data), tree(cache)
    path, fault, message = FAULTS[case]
    openml.faults[path] = fault
    access = Access(server=openml.address, retries=1, refresh=True, cache=cache)
    assert re.search(message, problem(ANNEAL, access))
    after = {name: sum_ for name, sum_ in tree(data).items() if not name.startswith("downloads")}
    assert after == before and tree(cache) == cached
    load(f"{ANNEAL}/0")


def _cached(openml: Server, cache: Path, files: documents.Files) -> None:
    """Fills an openml cache for a server's address as openml-python would."""
    host = openml.base.removeprefix("http://").split(".")[::-1]
    folder = cache.joinpath(*host)
    names = {
        "task": "tasks/{}/task.xml",
        "splits": "tasks/{}/datasplits.arff",
        "data": "datasets/{}/description.xml",
        "data/features": "datasets/{}/features.xml",
        "arff": "datasets/{}/dataset.arff",
    }
    for path in files:
        kind, _, number = path.rpartition("/")
        file = folder / names[kind].format(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(openml.content(path) or b"")


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(openml: Server) -> None:
    openml.faults = {path: server.slow(0.2) for path in ("task/59", "data/61", "arff/61")}
    get(openml, IRIS)
    openml.faults = {"data/2": server.slow(3)}
    start = time.monotonic()
    line = problem(ANNEAL, Access(server=openml.address, retries=1, patience=0.3))
    assert "is silent" in line and time.monotonic() - start < 2


def test_what_has_come_of_a_large_answer_is_reported(openml: Server) -> None:
    steps: list[str] = []
    openml.files["splits/59"] += (b"\n" + b"%" * 99) * 30_000
    get(openml, IRIS, report=steps.append)
    assert f"{IRIS}: downloading, 2.1 MB" in steps and f"{IRIS}: downloading the splits" in steps


def test_a_silent_bucket_of_parquet_files_is_not_waited_for_either(openml: Server) -> None:
    frame = documents.kr_vs_kp().iloc[::40].reset_index(drop=True)
    openml.files |= documents.published(3, 3, "kr-vs-kp", frame, "class", parquet=True)
    openml.faults["bucket/3"] = server.slow(30)
    start = time.monotonic()
    get(openml, "openml/3", patience=0.3)  # from the ARFF file
    assert time.monotonic() - start < 10 and "/arff/3" in asked(openml)


def test_an_answer_that_does_not_fit_into_the_memory_is_broken_off(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparse_training.data.sources import openml as source

    monkeypatch.setattr(source, "_ROOM", 5_000_000)
    monkeypatch.setattr(source, "memory", lambda: 0)
    openml.faults["splits/59"] = server.zipped(b"%" * 10_000_000)
    line = problem(IRIS, Access(server=openml.address, retries=1))
    assert "is larger than 5 MB" in line and "expected a smaller one" in line


def test_all_copies_of_an_answer_take_a_quarter_of_the_memory(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of a thousandth of its size, as large as it may be: what is held of it is counted.

    The comments of an ARFF file, so that it is read to its end.
    """
    from sparse_training.data.sources import openml as source

    room = 24_000_000
    monkeypatch.setattr(source, "_ROOM", room // 3)
    monkeypatch.setattr(source, "memory", lambda: 0)
    comment = b"%" * 999 + b"\n"
    arff = openml.files["arff/61"] + comment * (room // 3 // 1000 - 20)
    openml.files["data/61"] = documents.description(61, "iris", "class", arff)
    openml.faults["arff/61"] = server.zipped(arff)
    get(openml, "openml/2867")  # imports what there is to import
    tracemalloc.start()
    try:
        get(openml, IRIS)
        assert room // 2 < tracemalloc.get_traced_memory()[1] < room * 1.2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["task/59", "arff/61", "bucket/75"])
def test_a_server_that_sends_a_byte_at_a_time_is_given_up_at_its_deadline(
    openml: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Each byte comes in time, and the answer has no end. Each reading takes a second here."""
    from sparse_training.data.sources import openml as source

    seconds = itertools.count()
    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    openml.files |= documents.published(75, 175, "c", documents.kr_vs_kp()[::40], "class")
    openml.files["data/175"] = documents.description(
        175, "c", "class", openml.files["arff/175"], parquet=True
    )
    openml.files["bucket/175"] = b""
    openml.faults[path.replace("bucket/75", "bucket/175")] = server.drips
    name = "openml/75" if path == "bucket/75" else IRIS
    line = problem(name, Access(server=openml.address, retries=1))
    assert "sends too slowly" in line or "Read timed out" in line


def test_a_fault_of_the_suite_is_one_line_and_keeps_no_other_data_set_back(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(dataset: str, access: Access) -> DataSet:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(sources.source("sklearn"), "read", read)
    failed, other = fetch(["sklearn/wine", IRIS], Access(server=openml.address, retries=1))
    assert failed.state == "failed" and other.state == "fetched"
    assert "sklearn/wine: the suite fails on what came (ZeroDivisionError: by zero)" in str(
        failed.problem
    )


def test_a_named_pipe_in_the_place_of_a_file_is_not_waited_for(openml: Server, data: Path) -> None:
    file, lock = data / "openml" / "59.safetensors", data / "downloads" / "openml-2867.lock"
    for pipe in (file, lock):
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
    (listed,) = entries()
    assert listed.about is None
    with pytest.raises(BadInput, match="cannot read .*no regular file"):
        load(f"{IRIS}/0")
    get(openml, IRIS)
    assert file.is_file() and len(load(f"{IRIS}/0").eval_rows) == 15
    (outcome,) = fetch([ANNEAL], Access(server=openml.address, retries=1))
    assert f"cannot write in {data}" in str(outcome.problem) and lock.name in str(outcome.problem)


@pytest.mark.parametrize("address", ["x", "ftp://x", "http://", "http://[::1", "http://h:99999"])
def test_an_address_that_is_none_is_named_once(address: str) -> None:
    outcomes = fetch([IRIS, ANNEAL], Access(server=address, retries=1))
    assert "the OpenML server is " in str(outcomes[0].problem)
    assert (outcomes[1].state, outcomes[1].problem) == ("untried", None)


def test_settings_of_openml_python_that_it_cannot_read_are_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "config" / "openml" / "config"
    settings.parent.mkdir(parents=True)
    settings.write_text("connection_n_retries = many\n")
    done = sparse_aclib("fetch", IRIS, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "openml-python does not start (ValueError" in done.stderr and "config" in done.stderr


def test_what_a_server_says_cannot_act_on_a_terminal(openml: Server) -> None:
    described = openml.files["data/61"].replace(b"<oml:name>iris", b"<oml:name>ir\xc2\x9b2Jis\nx")
    openml.files["data/61"] = described
    get(openml, IRIS)
    assert stored.read(stored.path("openml", "59")).about.title == "ir 2Jis x"


def test_splits_that_the_server_fails_to_give_are_its_fault_and_not_the_task_s(
    openml: Server,
) -> None:
    openml.faults["splits/59"] = server.status(500)
    assert "a page of an error" in problem(IRIS, Access(server=openml.address, retries=1))


def test_a_request_that_fails_is_made_again(openml: Server) -> None:
    openml.faults["arff/61"] = [server.truncated]
    (outcome,) = fetch([IRIS], Access(server=openml.address, retries=2))
    assert outcome.problem is None and asked(openml).count("/arff/61") == 2


def test_without_a_network_the_first_data_set_says_so_and_the_others_are_not_tried(
    openml: Server, data: Path
) -> None:
    get(openml, IRIS)
    nobody = Access(server="http://127.0.0.1:9", retries=1)
    outcomes = fetch([IRIS, ANNEAL, "openml/3", "sklearn/iris"], nobody)
    assert [outcome.state for outcome in outcomes] == ["here", "failed", "untried", "fetched"]
    assert "cannot be reached" in str(outcomes[1].problem)
    assert not (data / "openml" / "2867.safetensors").exists()


def test_a_host_that_only_one_data_set_needs_keeps_no_other_back(openml: Server) -> None:
    address = documents.BASE.encode()
    described = openml.files["data/61"]
    openml.files["data/61"] = described.replace(address + b"/arff", b"http://127.0.0.2:9/arff")
    away, other = fetch([IRIS, ANNEAL], Access(server=openml.address, retries=1))
    assert (away.state, other.state) == ("failed", "fetched")
    assert "127.0.0.2 cannot be reached" in str(away.problem)
    assert "its data lie there" in str(away.problem)


# An openml cache ---------------------------------------------------------------------------------


class Bomb:
    """Says so when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.file}'",)


def test_a_cache_of_openml_is_enough_is_not_changed_and_its_pickles_are_not_read(
    openml: Server, tmp_path: Path
) -> None:
    cache, trace = tmp_path / "their cache", tmp_path / "exploded"
    _cached(openml, cache, documents.anneal())
    for file in [*cache.rglob("datasplits.arff"), *cache.rglob("dataset.arff")]:
        file.with_suffix(".pkl.py3").write_bytes(pickle.dumps(Bomb(trace)))
    for file in cache.rglob("features.xml"):
        file.with_suffix(".xml.pkl").write_bytes(pickle.dumps(Bomb(trace)))
    before = tree(cache)
    asked(openml)
    get(openml, ANNEAL, cache=cache)
    assert asked(openml) == [] and tree(cache) == before and not trace.exists()
    assert len(load(f"{ANNEAL}/0").eval_rows) == 90


def test_a_cache_is_found_where_openml_s_own_variable_says(
    openml: Server, tmp_path: Path, data: Path
) -> None:
    cache = tmp_path / "their cache"
    _cached(openml, cache, documents.iris())
    done = sparse_aclib("fetch", IRIS, "--openml-server", openml.base, OPENML_CACHE_DIR=str(cache))
    assert done.returncode == 0, done.stderr
    assert asked(openml) == []


def test_damaged_data_in_a_cache_are_noticed_and_downloaded_on_request(
    openml: Server, tmp_path: Path
) -> None:
    cache = tmp_path / "their cache"
    _cached(openml, cache, documents.iris())
    (arff,) = cache.rglob("dataset.arff")
    arff.write_bytes(arff.read_bytes().replace(b"5.1,3.5", b"5.9,3.5"))
    line = problem(IRIS, Access(server=openml.address, retries=1, cache=cache))
    assert "md5" in line and "--again" in line
    get(openml, IRIS, cache=cache, refresh=True)


def test_a_folder_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder .*none, expected an openml cache"):
        Access(cache=tmp_path / "none")
    done = sparse_aclib("fetch", "vision_conv", "--local", str(tmp_path / "none"))
    assert done.returncode == 2 and done.stderr.count("error") == 1
    assert "none, expected one with files of data sets" in done.stderr


# A key -------------------------------------------------------------------------------------------

KEY = "0123456789abcdef0123456789abcdef"


def test_a_key_goes_to_the_server_and_into_no_file_and_no_message(
    openml: Server, data: Path, tmp_path: Path
) -> None:
    get(openml, IRIS, api_key=KEY)
    assert openml.asked and all(f"api_key={KEY}" in line for line in openml.asked)
    openml.faults["arff/2"] = server.truncated
    access = Access(server=openml.address, api_key=KEY, retries=1)
    lines = [problem(ANNEAL, access)]
    lines.append(problem("openml/3", Access(server="http://127.0.0.1:9", api_key=KEY, retries=1)))
    assert KEY not in " ".join(lines) and KEY not in repr(access)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_a_key_goes_to_the_servers_hosts_only(openml: Server) -> None:
    """Who publishes a data set says where its file lies."""
    from sparse_training.data.sources.openml import _same_owner

    home = "https://www.openml.org/api/v1/xml"
    assert _same_owner("https://www.openml.org/x", home)
    assert _same_owner("https://api.openml.org/x", home)
    assert not _same_owner("https://notopenml.org/x", home)
    assert not _same_owner("https://openml.org.example.com/x", home)
    assert not _same_owner("https://example.com\\@www.openml.org/x", home)
    assert not _same_owner("http://www.openml.org/x", home)
    elsewhere = openml.base.replace("127.0.0.1", "localhost").encode()
    address = documents.BASE.encode()
    described = openml.files["data/61"]
    openml.files["data/61"] = described.replace(address + b"/arff", elsewhere + b"/arff")
    get(openml, IRIS, api_key=KEY)
    assert all((KEY in line) == ("/arff/61" not in line) for line in openml.asked)
    assert "GET /arff/61" in openml.asked


# Tasks that cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task/59": documents.task(59, 61, "class", kind=2)},
            "is a task of supervised regression",
        ),
        ({"task/59": documents.task(59, 61, "class", kind=5)}, "is a task of clustering"),
        ({"task/59": documents.task(59, 61, "class", procedure=False)}, "is a task without splits"),
        ({"task/59": documents.task(59, 61, "klass")}, "target 'klass' is no column of the data"),
        ({"task/59": documents.task(59, 999, "class")}, "has no such number (code 111"),
    ],
)
def test_a_task_that_cannot_be_used_is_named(
    openml: Server, data: Path, changes: documents.Files, message: str
) -> None:
    openml.files |= changes
    assert message in problem(IRIS, Access(server=openml.address, retries=1))
    assert not stored.path("openml", "59").exists()


def test_an_unknown_task_is_named(openml: Server) -> None:
    line = problem("openml/999999", Access(server=openml.address, retries=1))
    assert "has no such number (code 151" in line and "is it right?" in line


def test_a_task_whose_data_have_one_class_or_a_row_without_one_is_refused(openml: Server) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0), "y": pd.Categorical(["a"] * 40)})
    openml.files |= documents.published(81, 181, "one", frame, "y")
    assert "has 1 class" in problem("openml/81", Access(server=openml.address, retries=1))
    frame = pd.DataFrame({"x": np.arange(8.0), "y": pd.Categorical([*"ab" * 4])})
    openml.files |= documents.published(83, 183, "few", frame, "y")
    line = problem("openml/83", Access(server=openml.address, retries=1))
    assert "fold 0 has 7 training and 1 test rows: expected at least 10" in line
    frame = pd.DataFrame({"x": np.arange(40.0), "y": pd.Categorical([None, *"ab" * 19, "a"])})
    openml.files |= documents.published(82, 182, "none", frame, "y")
    assert "1 rows without a class" in problem(
        "openml/82", Access(server=openml.address, retries=1)
    )


def test_a_task_larger_than_the_memory_is_refused_before_it_is_downloaded(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    line = problem(ANNEAL, Access(server=openml.address, retries=1))
    assert "when it is ready for training: this machine has" in line
    assert "/arff/2" not in asked(openml)


def test_a_task_with_texts_is_refused(openml: Server) -> None:
    openml.files["data/features/61"] = openml.files["data/features/61"].replace(
        b"<oml:data_type>numeric", b"<oml:data_type>string", 1
    )
    openml.files["arff/61"] = openml.files["arff/61"].replace(
        b"'sepallength'\tREAL", b"'sepallength'\tSTRING"
    )
    openml.files["data/61"] = documents.description(61, "iris", "class", openml.files["arff/61"])
    line = problem(IRIS, Access(server=openml.address, retries=1))
    assert "feature 'sepallength' is string: expected numbers or categories" in line


# The command -------------------------------------------------------------------------------------


def sparse_aclib(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return called(_command(*words), **variables)


def called(words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, env=_variables(**variables), cwd=ROOT, text=True, capture_output=True, timeout=60
    )


def started(words: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    # Where tests run in the background Ctrl-C is ignored, and would be by the process as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            words, env=_variables(), cwd=ROOT, text=True, stdout=pipe, stderr=pipe
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "commands", *words]


def _variables(**others: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **others}


def test_sets_and_instances_are_named_alike() -> None:
    assert named(["sklearn/digits/0/3", "digits", "scenarios/digits/"]) == ("sklearn/digits",)
    assert named(
        [scenario_name(), f"./scenarios/{scenario_name()}/", str(ROOT / "scenarios/digits")]
    ) == ("sklearn/digits",)
    assert named(["openml/31/0", "openml/31", "openml/3/1/2"]) == ("openml/31", "openml/3")
    assert named(["openml/31/0/30+50/1", "openml/31/0/30/1", "openml/31/0/halves/1"]) == (
        "openml/31",
    )
    assert named(["vision/mnist"]) == ("vision/mnist",)
    assert list(sets()) == sorted(sets())
    for word, message in (
        ("nosuch", f"no instance set 'nosuch', expected one of {', '.join(sorted(sets()))}, or an"),
        ("openml/x", "unknown data set 'x' of source 'openml': expected the number of a task"),
        ("nosuch/31/0", "unknown source 'nosuch'"),
        ("openml/31/0/99", "malformed instance"),
    ):
        with pytest.raises(BadInput, match=message):
            named([word])


def test_the_command_fetches_lists_and_ends_with_one_line_for_each_problem(openml: Server) -> None:
    words = ("fetch", IRIS, "openml/998", "sklearn/wine/0", "openml/999")
    done = sparse_aclib(*words, "--openml-server", openml.base, "--retries", "1")
    assert done.returncode == 2
    assert "2 of 4 data sets are in " in done.stdout and "2 fetched now" in done.stdout
    problems = [line for line in done.stderr.splitlines() if "error:" in line]
    assert [line.split()[2] for line in problems] == ["openml/998:", "openml/999:"]
    assert "Traceback" not in done.stderr
    listed = sparse_aclib("fetch", "--list").stdout
    assert "2 data sets" in listed and "task 59" in listed and "Public" in listed
    assert "BSD-3-Clause" in listed and "'sparse-aclib fetch digits' gets the others" in listed
    nothing = sparse_aclib("fetch")
    assert nothing.returncode == 2 and "nothing to fetch, expected sets" in nothing.stderr


def test_what_is_there_is_there_in_a_directory_that_cannot_be_written(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(["sklearn/wine"], Access())
    monkeypatch.setattr(Path, "mkdir", lambda *a, **k: os.mkdir("/proc/none"))
    wine, iris = fetch(["sklearn/wine", "sklearn/iris"], Access())
    assert wine.state == "here"
    assert "cannot write in" in str(iris.problem) and "SPARSE_ACLIB_DATA" in str(iris.problem)


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("fetch", "sklearn/iris", "sklearn/wine", "sklearn/digits")
    done = sparse_aclib(*words, SPARSE_ACLIB_DATA=str(tmp_path / "file"))
    assert done.returncode == 2 and done.stderr.count("error:") == 1
    assert f"cannot write in {tmp_path}" in done.stderr and "Traceback" not in done.stderr


def test_names_of_directories_are_no_markup(tmp_path: Path) -> None:
    strange = str(tmp_path / "data [/b] [red]")
    for words in (("fetch", "sklearn/iris"), ("fetch", "--list")):
        done = sparse_aclib(*words, SPARSE_ACLIB_DATA=strange)
        assert done.returncode == 0 and strange in done.stdout, done.stderr


def test_without_openml_python_one_line_says_how_to_install_it(
    openml: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openml", None)
    line = problem(IRIS, Access(server=openml.address))
    assert "openml-python cannot be imported" in line and "pip install -e '.[openml]'" in line
    (outcome,) = fetch(["sklearn/iris"], Access())
    assert outcome.problem is None


def test_two_fetches_at_once_download_once_and_trials_go_on_meanwhile(openml: Server) -> None:
    get(openml, IRIS)
    asked(openml)
    openml.faults = {"arff/2": server.slow(1), "arff/61": server.slow(1)}
    words = ("fetch", ANNEAL, IRIS, "--openml-server", openml.base)
    running = [started(_command(*words)) for _ in range(2)]
    loaded = 0
    while any(process.poll() is None for process in running):
        assert len(load(f"{IRIS}/0").eval_rows) == 15
        loaded += 1
        time.sleep(0.05)
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert loaded > 10 and asked(openml).count("/arff/2") == 1
    assert sorted("1 fetched now" in output for output, _ in outputs) == [False, True]


def test_a_fetch_that_is_killed_leaves_no_part_and_the_next_one_ends_it(
    openml: Server, data: Path
) -> None:
    status, last = _ended_by(signal.SIGKILL, openml)
    assert status == -signal.SIGKILL and "error" not in last
    assert list(data.rglob("work-*")) and not (data / "openml").exists()
    (data / "openml").mkdir()
    (data / "openml" / ".2867-abcdefgh").touch()  # of one that was killed while storing
    asked(openml)
    get(openml, ANNEAL)
    assert asked(openml) == ["/arff/2"]
    assert tree(data).keys() == {"openml/2867.safetensors"}


def test_ctrl_c_leaves_what_is_complete_and_says_how_to_go_on(openml: Server, data: Path) -> None:
    status, last = _ended_by(signal.SIGINT, openml)
    assert (status, last) == (130, "sparse-aclib: interrupted; the same command goes on")
    kept = {Path(name).name for name in tree(data)}
    assert kept == {"task.xml", "datasplits.arff", "description.xml", "features.xml"}


def _ended_by(number: int, openml: Server) -> tuple[int, str]:
    """Status and last line of a fetch of anneal that gets a signal while it downloads the data."""
    openml.faults["arff/2"] = [server.slow(30)]
    words = _command("fetch", ANNEAL, "--openml-server", openml.base)
    process = started(words)
    while "GET /arff/2" not in openml.asked:
        time.sleep(0.02)
    process.send_signal(number)
    lines = process.communicate(timeout=20)[1].splitlines()
    return process.returncode, lines[-1] if lines else ""


def test_a_full_disk_leaves_what_was_there_and_says_what_to_do(openml: Server, data: Path) -> None:
    get(openml, IRIS)
    before = tree(data)
    code = (
        "import resource, sys, openml, minio, sklearn, safetensors.numpy\n"
        "from wrappers.fetch import fetch; from sparse_training.data.raw import Access\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        f"print(fetch(['{ANNEAL}'], Access(server=sys.argv[1], retries=1))[0].problem)"
    )
    for limit in ("3000", "90000"):  # full while downloading, and while storing
        done = called([sys.executable, "-c", code, openml.base, limit])
        (line,) = done.stdout.splitlines()
        assert "make room" in line and ANNEAL.split("/")[1] in line, done.stderr
        assert not list(data.rglob("*.part"))
        after = {name: sum_ for name, sum_ in tree(data).items() if name[:9] != "downloads"}
        assert after == before
    get(openml, ANNEAL)


def test_a_trial_on_data_that_are_not_here_aborts_with_the_command_that_fetches_them() -> None:
    pairs = [word for k, v in config_of(BASELINE).items() for word in (f"-{k}", str(v))]
    fixed = "--active-weights 500 --training-samples 600 --hidden 32-32".split()
    words = [
        *(sys.executable, str(ROOT / "wrappers" / "target"), BASELINE.name, *fixed),
        *("--instance", "openml/31/0", "--cutoff", "60", "--seed", "1"),
        *("--config", *pairs),
    ]
    done = called(words, SPARSE_ACLIB_PYTHON=sys.executable)
    assert done.returncode == 1
    answer = json.loads(done.stdout.splitlines()[0].removeprefix("Result of this algorithm run: "))
    assert answer["status"] == "ABORT" and answer["runtime"] < 2
    assert "fetch it with 'sparse-aclib fetch openml/31'" in done.stderr


def test_a_run_asks_for_all_its_data_before_its_first_trial_and_records_their_sums(
    openml: Server, tmp_path: Path
) -> None:
    scenario = read(scenario_name(BASELINE, "cc18"))
    with pytest.raises(BadInput) as error:
        hashes(scenario, "")
    assert "15 of its 15 data sets are not in" in str(error.value)
    assert "(openml/146195, openml/146822, openml/14952, ...)" in str(error.value)
    assert "fetch them with 'sparse-aclib fetch cc18'" in str(error.value)
    get(openml, IRIS)
    root = tmp_path / "s"
    for name in ("digits", "spaces"):
        shutil.copytree(ROOT / "scenarios" / name, root / "scenarios" / name)
    test = root / "scenarios" / "digits" / "test.txt"
    test.write_text("openml/59/0\n")
    (test.parent / "features.csv").unlink()
    formats.write({test.parent / "features.csv": features_csv(test.parent)})
    sums = hashes(read(root / "scenarios" / scenario_name(BASELINE, "digits")), "").data
    assert sums.keys() == {"sklearn/digits", IRIS}
    for name, sha256 in sums.items():
        assert stored.digest_of(stored.read(stored.path(*name.split("/")))) == sha256


def test_a_data_set_is_fetched_once_however_many_of_its_samples_a_set_has(
    openml: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root" / "scenarios" / "own"
    folder.mkdir(parents=True)
    training = ["openml/59/0/30+50/0", "openml/59/0/30+50/1", "openml/59/0/halves/0"]
    (folder / "training.txt").write_text("\n".join(training) + "\n")
    (folder / "test.txt").write_text("openml/59/0/30/0\nopenml/59/0/30/1\n")
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(tmp_path / "root"))
    assert named(["own"]) == sets()["own"] == (IRIS,)
    get(openml, *named(["own"]))
    assert asked(openml).count("/task/59") == 1
    rows = [line.split(",") for line in features_csv(folder).splitlines()[1:]]
    assert [row[0] for row in rows] == [*training, "openml/59/0/30/0", "openml/59/0/30/1"]
    assert len({tuple(row[1:]) for row in rows}) == len(rows)


def test_export_writes_what_the_data_say_and_keeps_the_rows_of_data_that_are_not_here(
    openml: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "scenarios" / "own"
    folder.mkdir(parents=True)
    (folder / "training.txt").write_text("openml/59/0/0\nopenml/59/0/1\n")
    (folder / "test.txt").write_text("openml/2867/0\n")
    with pytest.raises(BadInput, match="fetch it with 'sparse-aclib fetch openml/59'"):
        features_csv(folder)
    get(openml, IRIS, ANNEAL)
    whole = features_csv(folder)
    assert whole.startswith("instance,NumberOfInstances,NumberOfFeatures,")
    (folder / "features.csv").write_text("instance,NumberOfClasses,ClassEntropy\n")
    formats.write({folder / "features.csv": features_csv(folder)})
    lines = (folder / "features.csv").read_text().splitlines()
    assert lines[0] == "instance,NumberOfClasses,ClassEntropy"
    assert lines[3].startswith("openml/2867/0,5,1.19")
    stored.path("openml", "2867").unlink()
    (folder / "features.csv").write_text("\n".join([*lines[:3], "openml/2867/0,7,7"]) + "\n")
    assert unfetched(folder) == ("openml/2867/0",)
    assert features_csv(folder).splitlines() == [*lines[:3], "openml/2867/0,7,7"]
    (folder / "features.csv").write_text("instance,Colour\n")
    get(openml, ANNEAL)
    with pytest.raises(BadInput, match="line 1: unknown feature 'Colour', expected some of Number"):
        features_csv(folder)


@pytest.mark.parametrize(
    "instances",
    [
        ("sklearn/digits/0/0", "sklearn/digits/0/1"),
        ("sklearn/wine/0", "sklearn/iris/0/3"),
        ("sklearn/digits/0/500+600/0", "sklearn/digits/0/500/1"),
    ],
)
def test_the_features_that_export_chooses_for_a_new_set_all_tell_instances_apart(
    tmp_path: Path, instances: tuple[str, str]
) -> None:
    """As the contract of every set has it."""
    for file, instance in zip(("training.txt", "test.txt"), instances, strict=True):
        (tmp_path / file).write_text(f"{instance}\n")
    header, *rows = (line.split(",") for line in features_csv(tmp_path).splitlines())
    assert len(header) > 1 and len(set(header)) == len(header)
    for column in list(zip(*rows, strict=True))[1:]:
        assert len(set(column)) > 1 and np.isfinite(np.array(column, float)).all()


def test_every_source_that_is_not_installed_can_be_fetched_by_a_set() -> None:
    names = {name.split("/")[0] for of_set in sets().values() for name in of_set}
    assert names <= set(sources.sources())
