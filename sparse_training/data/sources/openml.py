"""OpenML tasks by their number: `openml/31/0` is fold 0 of task 31, as OpenML splits it.

openml-python does the talking, and some of its habits (0.15.1) are kept away from the user's
files. It deletes folders of its cache when something fails, it reads pickles that it finds there,
and it writes files in place; so it works in a cache of its own in the data directory, for one data
set at a time. What it has downloaded completely is kept beside that until the data set is stored,
so that a fetch that was interrupted goes on. An openml cache that exists is copied from, but for
its pickles, and never written to. It also waits for ever
for a server that is silent or slow, takes an answer of any size, and sends a user's key to whatever
host the data are said to lie on; here it does not. What it makes of the files it brings is not used
(`_openml_tables.py` says why).
"""

import errno
import hashlib
import io
import logging
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.raw import Access, DataSet, Unreachable, check_memory
from sparse_training.data.sources._openml_tables import (
    Table,
    coded,
    columns,
    described,
    inputs_of,
    line,
    read_arff,
    read_parquet,
    table,
    target_of,
)
from sparse_training.data.stored import data_directory, downloads
from sparse_training.errors import BadInput
from sparse_training.machine import memory

INSTALLED = False

_FILES = {".xml", ".arff", ".pq"}  # of a cache; everything else in it is a pickle or a log
_UNKNOWN = (111, 151)  # OpenML's codes for a data set and a task that there is not
_ROOM = 1 << 28  # bytes that any answer may have
_COPIES = 3  # of an answer, decoded and encoded again by openml-python
_SLOWEST = 1 << 12  # bytes a second, after the first ones were waited for
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def expected(dataset: str) -> str | None:
    """None for what can be a task's number, else what is expected."""
    return None if re.fullmatch(r"[1-9]\d{0,8}", dataset) else "the number of a task, such as 31"


def read(dataset: str, access: Access) -> DataSet:
    """A supervised classification task: its data, its classes, the splits of its first repeat.

    Raises BadInput for a task that there is not, that is no classification, that has no splits, and
    for whatever the server or the network prevents.
    """
    name = f"openml/{dataset}"
    with session(name, access) as openml:
        task = openml.task(int(dataset))
        folds = openml.folds(task)
        data = openml.data(task.dataset_id, task.target_name, rows=_rows(folds))
        labels, names = coded(data.target, data.classes)
        if (labels < 0).any():
            raise BadInput(f"{name} has {(labels < 0).sum():,} rows without a class: expected none")
        numeric, nominal = columns(name, data)
    return DataSet(
        numeric=numeric,
        nominal=nominal,
        labels=labels,
        classes=names,
        title=data.title,
        origin=f"OpenML task {dataset}, {data.origin}",
        licence=data.licence,
        folds=folds,
    )


def _rows(folds: Sequence[tuple[Any, Any]]) -> int:
    return 1 + max((int(rows.max(initial=0)) for fold in folds for rows in fold), default=0)


# Talking to OpenML -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """openml-python at work on one data set. Made by `session`."""

    _openml: Any
    _cache: "_Cache"
    _name: str
    _access: Access

    def task(self, number: int) -> Any:
        """A classification task, as openml-python describes it."""
        self._access.report(f"{self._name}: asking for the task")
        self._cache.bring("tasks", number)
        if (described := self._cache.work / "tasks" / str(number) / "task.xml").exists():
            root = ElementTree.parse(described).getroot()
            for element in root.iter("{http://openml.org/openml}data_set_id"):
                self._cache.bring("datasets", int(element.text or 0))
        try:
            task = self._openml.tasks.functions._get_task_description(number)
        except NotImplementedError:
            raise BadInput(f"{self._name} is no classification task") from None
        except KeyError as error:
            if "estimation_procedure" in str(error) or "data_splits_url" in str(error):
                raise BadInput(f"{self._name} is a task without splits: {_OTHER_TASK}") from None
            raise
        if task.task_type_id.name != "SUPERVISED_CLASSIFICATION":
            kind = line(task.task_type or task.task_type_id.name).lower().replace("_", " ")
            raise BadInput(
                f"{self._name} is a task of {kind}: expected one of supervised classification"
            )
        self._cache.keep()
        return task

    def folds(self, task: Any) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
        """(training, test) rows of the folds of a task's first repeat."""
        self._access.report(f"{self._name}: downloading the splits")
        from arff import ArffException
        from openml.exceptions import OpenMLServerException

        try:
            folds = task.download_split().split[0]
        except (OpenMLServerException, ArffException, KeyError, ValueError) as error:
            if isinstance(error, OSError) or "oml:error" in str(error):
                raise  # of the network or the server, not of the splits
            raise BadInput(
                f"{self._name} has no splits that can be read ({line(error)}): {_OTHER_TASK}"
            ) from None
        self._cache.keep()
        return tuple(
            tuple(np.asarray(rows, dtype=np.int64) for rows in folds[number][0])  # type: ignore[misc]
            for number in sorted(folds)
        )

    def data(self, number: int, target: str | None = None, rows: int = 0) -> Table:
        """A data set; its target is the default one if none is named.

        Refuses before it is downloaded what this machine cannot hold, with so many rows.
        """
        self._cache.bring("datasets", number)
        datasets = self._openml.datasets
        dataset = datasets.get_dataset(number)
        features = described(
            self._name, datasets.functions._get_dataset_features_file(None, number)
        )
        wanted = target_of(self._name, target or dataset.default_target_attribute or "", features)
        description = self._cache.work / "datasets" / str(number) / "description.xml"
        inputs = inputs_of(self._name, description, features, wanted)
        width = sum(len(each.categories) if each.kind == "nominal" else 1 for each in inputs)
        check_memory(self._name, rows, width)
        self._cache.keep()
        with _watched(self._cache.work, f"{self._name}: downloading the data", self._access):
            dataset = datasets.get_dataset(number, download_data=True)
        self._check_sum(dataset)
        self._cache.keep()
        if dataset.parquet_file is None and str(dataset.format).lower() == "sparse_arff":
            raise BadInput(
                f"{self._name}: its data are a sparse ARFF file, of which nothing here makes a "
                "table: expected ARFF or Parquet"
            )
        self._access.report(f"{self._name}: reading the data")
        frame = (
            read_arff(self._name, Path(dataset.data_file))
            if dataset.parquet_file is None
            else read_parquet(self._name, Path(dataset.parquet_file))
        )
        return table(
            self._name,
            frame,
            features,
            inputs,
            wanted,
            title=line(dataset.name),
            origin=f"data {number} version {dataset.version} of {self._openml.config.server}",
            licence=line(dataset.licence or "not stated"),
        )

    def _check_sum(self, dataset: Any) -> None:
        """openml-python compares what it downloads; what lay in a cache it takes as it is."""
        if dataset.data_file is None or not dataset.md5_checksum:
            return
        md5 = hashlib.md5(Path(dataset.data_file).read_bytes()).hexdigest()
        if md5 != dataset.md5_checksum:
            raise BadInput(
                f"{self._name}: the data in the openml cache have md5 {md5}, expected "
                f"{dataset.md5_checksum}: add --again to download them"
            )


_OTHER_TASK = "expected one with cross-validation or a hold-out"


@contextmanager
def session(name: str, access: Access) -> Iterator[Session]:
    """openml-python set up for one data set, its settings put back afterwards.

    Raises BadInput, one line, for whatever goes wrong within; `Unreachable` if no server answers.
    """
    try:
        import openml
    except ImportError as error:
        raise Unreachable(
            f"{name} comes from OpenML, and openml-python cannot be imported ({line(error)}): "
            "install it with './run_all.sh setup' or pip install -e '.[openml]'"
        ) from None
    except Exception as error:  # it reads its settings when it is imported
        raise Unreachable(
            f"{name}: openml-python does not start ({type(error).__name__}: {line(error)}): look "
            "at its settings, HOME, OPENML_CACHE_DIR and the file ~/.config/openml/config"
        ) from None
    config = openml.config
    before = {key: getattr(config, key) for key in ("server", "apikey", "_root_cache_directory")}
    retries = config.retry_policy, config.connection_n_retries
    level = logging.root.manager.disable
    place = downloads(*name.split("/"))
    try:
        config.server = _address(access.server or config.server)
        config.apikey = access.api_key or config.apikey
        config.set_retry_policy("human", access.retries)
        if access.cache is not None:
            config.set_root_cache_directory(access.cache)
        theirs = Path(config.get_cache_directory())
        # It warns of every answer that is not compressed.
        logging.disable(logging.WARNING)
        with _explained(name, config.server, config.apikey), _guarded(name, config.server, access):
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix="work-") as work:
                config.set_root_cache_directory(work)
                ours = Path(config.get_cache_directory())
                complete = place / "complete" / ours.relative_to(work)
                cache = _Cache(ours, complete, () if access.refresh else (complete, theirs))
                yield Session(openml, cache, name, access)
    finally:
        with suppress(OSError):  # something was kept, or it was never made
            place.rmdir()
        for key, value in before.items():
            setattr(config, key, value)
        config.set_retry_policy(*retries)
        logging.disable(level)


def _address(server: str) -> str:
    """The address of the XML interface of a server that may be named without it."""
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Unreachable(
            f"the OpenML server is {server!r}, expected an address such as https://www.openml.org: "
            "name it with --openml-server"
        )
    return server if "/api/" in server else server.rstrip("/") + "/api/v1/xml"


@dataclass(frozen=True)
class _Cache:
    """The cache that openml-python works in, and those that it is filled from."""

    work: Path
    complete: Path
    """What was downloaded completely by a fetch that did not come to its end."""
    sources: tuple[Path, ...]

    def bring(self, kind: str, number: int) -> None:
        """Copies what caches hold of a task or a data set."""
        for source in self.sources:
            for file in sorted((source / kind / str(number)).glob("*")):
                copy = self.work / kind / str(number) / file.name
                if file.suffix in _FILES and file.is_file() and not copy.exists():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)

    def keep(self) -> None:
        """Keeps what has been downloaded; only called when all of it is complete."""
        for file in sorted(self.work.glob("*/*/*")):
            kept = self.complete / file.relative_to(self.work)
            if file.suffix in _FILES and not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                part = kept.with_name(f".{kept.name}.part")
                try:
                    shutil.copyfile(file, part)
                    part.replace(kept)
                finally:
                    part.unlink(missing_ok=True)


@contextmanager
def _watched(folder: Path, step: str, access: Access) -> Iterator[None]:
    """Reports a step, and how many megabytes have come to a folder whenever they are more."""
    done = threading.Event()

    def look() -> None:
        seen = 0
        while not done.wait(0.5):
            with suppress(OSError):  # a file that was renamed between listing and looking
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                if size > seen:
                    access.report(f"{step}, {size / 1e6:.1f} MB")
                seen = size

    access.report(step)
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def _guarded(name: str, server: str, access: Access) -> Iterator[None]:
    """Guards the requests of this process: their time, the size of an answer, the user's key."""
    import requests
    import urllib3

    request, urlopen = requests.Session.request, urllib3.HTTPConnectionPool.urlopen
    plain = socket.SocketIO
    most = max(memory() // 4 // _COPIES, _ROOM)

    class Timed(plain):  # type: ignore[misc,valid-type]
        """What an answer is read from; it has an end although each byte comes in time."""

        def __init__(self, *words: Any) -> None:
            super().__init__(*words)
            self._began, self._came = time.monotonic(), 0

        def readinto(self, buffer: Any) -> int | None:
            allowed = access.patience + self._came / _SLOWEST
            if time.monotonic() - self._began > allowed:
                raise TimeoutError(f"{self._came:,} bytes in {allowed:,.1f} s are too few")
            count: int | None = super().readinto(buffer)
            self._came += count or 0
            return count

    def guarded(self: Any, method: Any, url: Any, params: Any = None, **options: Any) -> Any:
        if not _same_owner(url, server):
            params = {key: value for key, value in (params or {}).items() if key != "api_key"}
        answer = request(self, method, url, params=params, stream=True, **options)
        content = io.BytesIO()  # gives its bytes away without a copy
        for part in answer.iter_content(1 << 20):
            if content.tell() + len(part) > most:
                raise BadInput(
                    f"{name}: an answer of {server} is larger than {most / 1e6:,.0f} MB, of which "
                    f"{_COPIES} copies are a quarter of the memory here: expected a smaller one"
                )
            content.write(part)
            if content.tell() > 1 << 20:
                access.report(f"{name}: downloading, {content.tell() / 1e6:.1f} MB")
        answer._content = content.getvalue()  # where its `content` looks first
        return answer

    # Parquet files are not asked for through requests.
    def patient(
        self: Any,
        method: Any,
        url: Any,
        body: Any = None,
        headers: Any = None,
        retries: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        tries = urllib3.Retry.from_int(retries, default=self.retries)
        tries = tries.new(total=min(int(tries.total or 0), access.retries - 1))
        options["timeout"] = access.patience
        return urlopen(self, method, url, body, headers, tries, *rest, **options)

    requests.Session.request = guarded  # type: ignore[method-assign,assignment]
    urllib3.HTTPConnectionPool.urlopen = patient  # type: ignore[method-assign]
    socket.SocketIO = Timed  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        requests.Session.request = request  # type: ignore[method-assign]
        urllib3.HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign]
        socket.SocketIO = plain  # type: ignore[misc]


def _same_owner(url: str, server: str) -> bool:
    """Whether an address is on the server's host, or one of its domain: api.openml.org.

    It is taken apart as requests takes it apart: others see another host in some addresses.
    """
    from urllib3.util import parse_url

    asked, home = parse_url(url), parse_url(server)
    host, domain = asked.host or "", (home.host or "").removeprefix("www.")
    safe = asked.scheme in ("https", home.scheme)
    return safe and (host == domain or host.endswith(f".{domain}"))


@contextmanager
def _explained(name: str, server: str, api_key: str) -> Iterator[None]:
    """Turns what openml-python raises into one line that says what to do, without a user's key."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        kind, message = _explanation(name, server, error)
        raise kind(message.replace(api_key, "***") if api_key else message) from None


def _explanation(name: str, server: str, error: Exception) -> tuple[type[BadInput], str]:
    import minio
    import requests
    import urllib3
    from openml import exceptions

    again = "what is here stays as it is; the same command tries again"
    # A file may lie on another host, whose silence says nothing of the server's other data.
    asked = getattr(getattr(error, "request", None), "url", None)
    away = asked is not None and not _same_owner(asked, server)
    unreachable, host = (
        (BadInput, str(urlsplit(str(asked)).hostname)) if away else (Unreachable, server)
    )
    match error:
        case KeyError() if "oml:error" in str(error):
            return BadInput, f"{name}: {server} answered with a page of an error; {again}"
        case exceptions.OpenMLHashException():
            return (
                BadInput,
                f"{name}: the data that came have another md5 than {server} states; {again}",
            )
        case exceptions.OpenMLNotAuthorizedError() | exceptions.OpenMLPrivateDatasetError():
            key = "give your key by OPENML_APIKEY or --api-key"
            return BadInput, f"{name}: {server} asks for an API key: {key}"
        case exceptions.OpenMLServerException():
            said = f"code {error.code}: {line(error.message).removesuffix(' - None')}"
            if error.code in _UNKNOWN:
                return BadInput, f"{name}: {server} has no such number ({said}); is it right?"
            return BadInput, f"{name}: {server} refused ({said}); {again}"
        case exceptions.OpenMLServerError():
            return BadInput, f"{name}: {server} answered with an error ({line(error)}); {again}"
        case requests.exceptions.Timeout():
            return unreachable, f"{name}: {host} is silent; {again}"
        case requests.exceptions.ConnectionError() if "Max retries exceeded" in str(error):
            reason = type(getattr(error.args[0], "reason", error)).__name__
            cause = "its data lie there" if away else "no network, or a wrong --openml-server"
            return unreachable, f"{name}: {host} cannot be reached ({reason}): {cause}; {again}"
        case requests.exceptions.ConnectionError() if "timed out" in str(error):
            return BadInput, f"{name}: {server} fell silent, or sends too slowly; {again}"
        case requests.exceptions.RequestException():
            return BadInput, f"{name}: {server} broke off its answer ({line(error)}); {again}"
        case urllib3.exceptions.HTTPError() | minio.error.MinioException():
            return BadInput, (
                f"{name}: the data could not be downloaded ({line(error)}); {again}, with "
                "OPENML_SKIP_PARQUET=true from another file"
            )
        case OSError() if error.errno in _FULL:
            return BadInput, (
                f"{name}: no room for it in {data_directory()} ({error.strerror}): make room, or "
                "set SPARSE_ACLIB_DATA to another directory; the same command goes on"
            )
        case OSError():
            return (
                BadInput,
                f"{name}: cannot use {error.filename or data_directory()} ({line(error)})",
            )
    cause = f"{type(error).__name__}: {line(error)}"
    return (
        BadInput,
        f"{name}: cannot make sense of what came ({cause}); --again downloads anew",
    )
