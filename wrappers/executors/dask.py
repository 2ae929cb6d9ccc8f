"""Workers in a Dask cluster, for who has one. Needs `distributed`, which SMAC brings along.

A trial is a task: its text goes to a Dask worker, which has a warm worker of ours beside it, and a
text comes back. Dask is made for tasks that may run twice and for machines that trust each other,
so a cluster is looked at when it is connected to, and refused where it would run a trial again
without saying so or listens to strangers: whoever reaches a scheduler can run code as its user.
README.md has the settings that are asked for.
"""

import contextlib
import logging
import re
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from target_algorithms.contract import Result, Trial
from wrappers.processes import environment, travelling
from wrappers.warm import Start, WorkerDied, WorkerProcess, apart, ours
from wrappers.worker import Checkout

try:
    from distributed import Client, Future, Security, get_worker
    from distributed.comm.utils import get_tcp_server_addresses
    from distributed.scheduler import KilledWorker
except ImportError as error:
    raise BadInput(
        f"executor 'dask': {error}; 'pip install dask distributed' or './run_all.sh setup'"
    ) from None

CONNECTING = 10.0
"""Seconds to reach a scheduler."""
ARRIVING = 60.0
"""Seconds to wait for a first worker, and for another when there is none left."""
_LOOK = 2.0  # seconds between two looks at the cluster while a trial runs

LOOPBACK = ("127.0.0.1", "::1", "localhost")

START = (
    "dask worker ADDRESS --nthreads 1 --memory-limit 0 --no-nanny --host HOST "
    "--dashboard-address 127.0.0.1:0"
)
"""How a worker is started that is not refused."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What goes to a Dask worker."""

    trial: Trial
    environment: dict[str, str]
    """What the trial needs of the environment of who asks."""
    checkout: Checkout
    """What the trial must run."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes back; one of these is set."""

    result: Result | None = None
    refused: str | None = None
    """Why this Dask worker evaluates nothing for us."""
    died: str | None = None
    """How the warm worker beside it ended."""


# On a Dask worker --------------------------------------------------------------------------------

_warm: dict[bytes, WorkerProcess] = {}
"""The one warm worker of this process, by what it was started for."""


def evaluate(text: str) -> str:
    """Evaluates a trial beside the Dask worker that this runs on: `Asked` to `Answer`, as JSON."""
    return msgspec.json.encode(_evaluate(text)).decode()


def _evaluate(text: str) -> Answer:
    asked = msgspec.json.decode(text, type=Asked)
    host = get_worker()
    if fault := _exposed(host):
        return Answer(refused=fault)
    place = f"Dask worker {host.address}"
    settings = environment() | asked.environment
    key = msgspec.json.encode((asked.environment, asked.checkout))
    if key not in _warm:
        for other in _warm.values():
            other.close()
        _warm.clear()
        _warm[key] = WorkerProcess(Start(apart(()), settings, place, checkout=asked.checkout))
    task = host.get_current_task()

    def wanted() -> bool:
        """Whether somebody waits for it: dropped tasks run on, in Dask, to their end."""
        state = host.state.tasks.get(task)
        alive = host.status.name in ("running", "paused")
        return alive and state is not None and state.state == "executing"

    try:
        return Answer(result=_warm[key].run(asked.trial, wanted))
    except WorkerDied as died:
        return Answer(died=f"{place}: {died}")
    except BadInput as error:
        return Answer(refused=str(error))


def _exposed(host: Any) -> str | None:
    """What is wrong with a Dask worker as the place of a trial, None if nothing is."""
    place = f"Dask worker {host.address}"
    if host.state.nthreads != 1:
        return (
            f"{place} has {host.state.nthreads} threads, expected one: start it with --nthreads 1"
        )
    pages = [address[0] for address in get_tcp_server_addresses(host.http_server)]
    if reason := open_to_others(host.listener.listen_address, pages):
        return f"{place} {reason}"
    return None


def open_to_others(address: str, pages: Sequence[str]) -> str | None:
    """Where a Dask process listens to strangers, None if nowhere.

    address: of its own protocol; pages: hosts on which it serves pages.
    """
    protocol, _, where = address.partition("://")
    if protocol != "tls" and (protocol != "tcp" or _host(where) not in LOOPBACK):
        return (
            f"listens on {address} without TLS, where whoever reaches it can run code: "
            "start it with TLS, or with --host 127.0.0.1 where all is on this machine"
        )
    if public := [page for page in pages if page not in LOOPBACK]:
        return (
            f"shows its pages on {public[0]}, expected 127.0.0.1: start it with "
            "--dashboard-address 127.0.0.1:0"
        )
    return None


def _host(where: str) -> str:
    """The host of `host:port`."""
    return where.rpartition(":")[0].strip("[]")


# On our side -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dask:
    """A cluster, by the address of its scheduler."""

    address: str

    @contextmanager
    def workers(self, count: int) -> Iterator[Sequence["DaskWorker"]]:
        """See `Executor`. The cluster is connected to with the first trial."""
        cluster = _Cluster(self.address)
        try:
            yield [DaskWorker(cluster) for _ in range(count)]
        finally:
            cluster.close()


class DaskWorker:
    """One trial at a time, on whichever worker of the cluster is free."""

    def __init__(self, cluster: "_Cluster") -> None:
        self._cluster = cluster

    def run(self, trial: Trial) -> Result:
        """Evaluates one trial. Raises WorkerDied, and BadInput for a cluster that is refused."""
        answer = self._cluster.ask(Asked(trial=trial, environment=travelling(), checkout=ours()))
        if answer.result is not None:
            return answer.result
        if answer.died is not None:
            raise WorkerDied(answer.died)
        raise BadInput(answer.refused or "a Dask worker without an answer")


class _Cluster:
    """The connection to a cluster, which all workers share."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._closed = False

    def _connected(self) -> Client:
        with self._lock:
            if self._closed:
                raise CancelledError
            if self._client is None:
                client = _connect(self._address)
                try:
                    check(self._address, settings(client))
                    _wait_for_workers(client, self._address)
                except BaseException:
                    client.close(timeout=CONNECTING)
                    raise
                self._client = client
            return self._client

    def ask(self, asked: Asked) -> Answer:
        """Has a trial evaluated. Raises WorkerDied, BadInput."""
        client = self._connected()
        future: Future = client.submit(
            evaluate,
            msgspec.json.encode(asked).decode(),
            key=f"sparse-aclib-{uuid.uuid4().hex}",  # no two trials are the same task
            pure=False,
            retries=0,
        )
        try:
            return msgspec.json.decode(self._result(client, future), type=Answer)
        finally:
            with contextlib.suppress(Exception):  # whatever Dask has to say to that
                future.release()

    def _result(self, client: Client, future: Future) -> str:
        alone: float | None = None
        while True:
            try:
                text: str = future.result(timeout=_LOOK)
                return text
            except TimeoutError:
                if self._closed or client.status != "running":
                    raise WorkerDied(f"{self._address}: the scheduler is gone") from None
                alone = (alone or time.monotonic()) if _none_left(client) else None
                if alone is not None and time.monotonic() - alone > ARRIVING:
                    raise WorkerDied(f"{self._address}: no worker is left") from None
            except KilledWorker as killed:
                last = getattr(killed, "last_worker", None)
                name = getattr(last, "address", "a worker")
                raise WorkerDied(f"Dask worker {name} is gone") from None
            except CancelledError:
                raise WorkerDied(f"{self._address}: the scheduler is gone") from None
            except (ImportError, AttributeError) as error:
                raise BadInput(
                    f"{self._address}: a Dask worker cannot import the suite ({error}): start it "
                    f"with PYTHONPATH={ROOT} and the Python of this checkout"
                ) from None
            except Exception as error:
                told = " ".join(str(error).split())
                raise BadInput(
                    f"{self._address}: no trial can run there ({type(error).__name__}: {told}); "
                    f"its workers need PYTHONPATH={ROOT} and the Python of this checkout"
                ) from None

    def close(self) -> None:
        """Drops what is under way: the Dask workers end those trials."""
        self._closed = True
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it may be gone
                client.close(timeout=CONNECTING)


def _connect(address: str) -> Client:
    for name in list(logging.root.manager.loggerDict):  # what matters is said in one line
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    security = Security()
    if address.startswith("tls://"):
        needed = {
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": security.tls_ca_file,
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": security.tls_client_cert,
        }
        if missing := [name for name, value in needed.items() if not value]:
            raise BadInput(
                f"executor 'dask:{address}': {missing[0]} is not set, expected the file with "
                "the cluster's certificate"
            )
        security = Security(require_encryption=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions: what a trial runs is looked at
            return Client(
                address, security=security, timeout=CONNECTING, set_as_default=False, name="trials"
            )
    except Exception as error:  # of sockets, of TLS, of Dask's own
        cause = error.__cause__ or error
        told = re.sub(r"in <.*?>: ", "", " ".join(str(cause).split())) or type(cause).__name__
        raise BadInput(
            f"executor 'dask:{address}': no scheduler there within {CONNECTING:g} s ({told}): "
            "is it running, with these certificates?"
        ) from None


def settings(client: Client) -> Mapping[str, Any]:
    """How a scheduler is set up."""

    def look(dask_scheduler: Any = None) -> dict[str, Any]:
        # Goes there as it is: a scheduler needs nothing of the suite.
        from distributed.comm.utils import get_tcp_server_addresses

        return {
            "allowed-failures": dask_scheduler.allowed_failures,
            "work-stealing": "stealing" in dask_scheduler.extensions,
            "worker-saturation": float(dask_scheduler.WORKER_SATURATION),
            "worker-ttl": dask_scheduler.worker_ttl,
            "addresses": [each.listen_address for each in dask_scheduler.listeners],
            "pages": [each[0] for each in get_tcp_server_addresses(dask_scheduler.http_server)],
        }

    found: dict[str, Any] = client.run_on_scheduler(look)
    return found


WANTED: Mapping[str, tuple[object, str]] = {
    "allowed-failures": (0, "it would run a trial again whose worker has died"),
    "work-stealing": (False, "it would take trials away from workers that have them"),
    "worker-saturation": (1.0, "a worker would hold trials that it does not run"),
}


def check(address: str, found: Mapping[str, Any]) -> None:
    """Raises BadInput for a scheduler that would run trials twice or listens to strangers."""
    for name, (wanted, why) in WANTED.items():
        if found[name] != wanted:
            variable = "DASK_DISTRIBUTED__SCHEDULER__" + name.upper().replace("-", "_")
            raise BadInput(
                f"Dask scheduler {address}: {name} is {found[name]}, expected {wanted} ({why}): "
                f"start it with {variable}={wanted}"
            )
    if not found["worker-ttl"]:
        raise BadInput(
            f"Dask scheduler {address}: worker-ttl is not set, expected seconds: a worker that "
            "hangs would be waited for without end"
        )
    for each in found["addresses"]:
        if reason := open_to_others(each, found["pages"]):
            raise BadInput(f"Dask scheduler {address} {reason}")


def _wait_for_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=ARRIVING)
    except TimeoutError:
        raise BadInput(
            f"Dask scheduler {address} has no worker after {ARRIVING:g} s: start some with "
            f"'{START.replace('ADDRESS', address)}'"
        ) from None


def _none_left(client: Client) -> bool:
    try:
        return not client.scheduler_info(n_workers=-1)["workers"]
    except Exception:  # of a scheduler that is going: the next look tells
        return False


def executor(rest: str) -> Dask:
    """`tls://HOST:PORT`, or `tcp://127.0.0.1:PORT`. Raises BadInput for anything else."""
    protocol, _, where = rest.partition("://")
    if protocol not in ("tls", "tcp") or not _host(where) or not where.rpartition(":")[2].isdigit():
        raise BadInput(
            f"executor 'dask:{rest}', expected the address of a scheduler such as "
            "dask:tls://HOST:8786 or dask:tcp://127.0.0.1:8786"
        )
    if protocol == "tcp" and _host(where) not in LOOPBACK:
        raise BadInput(
            f"executor 'dask:{rest}': without TLS whoever reaches a scheduler can run code as its "
            "user; start it with certificates and give dask:tls://..., or keep all of it on this "
            "machine (tcp://127.0.0.1:PORT)"
        )
    return Dask(rest)
