"""Workers elsewhere: the same records, and one line or none where something fails.

Programs of a cluster are stood in for by scripts on PATH that run the command in another session;
SLURM itself, a real one where it is installed, and Dask are in the slow tests.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import psutil
import pytest

from commands.ablate import ablate
from commands.ablate import command as ablate_command
from sparse_training.errors import BadInput
from target_algorithms import ROOT
from tests.examples import BASELINE, COMBINATION, DEFAULT_ONLY, scenario_name
from tests.slurm import two_nodes
from tests.wrappers.cases import FIRST, timeless
from tests.wrappers.test_worker import ASKED, LONG
from wrappers import configurators, warm
from wrappers.evaluator import LOCAL, Evaluator, Lost
from wrappers.executors import Executor, executor
from wrappers.executors.srun import processors
from wrappers.fitness import measure
from wrappers.processes import environment
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    RUNHISTORY,
    STATUSES,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Numbered,
    Record,
    append_line,
    read_lines,
)
from wrappers.scenario import Scenario, read
from wrappers.space import config_id
from wrappers.validation import validate
from wrappers.warm import (
    Start,
    Worker,
    WorkerDied,
    WorkerProcess,
    difference,
    here,
    ours,
    processes,
)
from wrappers.worker import Checkout

SRUN = """\
#!/bin/bash
# A step on the one node of an allocation.
while [[ $1 == -* ]]; do [[ $1 == --nodes=1 ]] && one=yes; shift; done
[ "$one" ] && [ ! -e "$BUSY" ] || { echo "srun: error: Requested nodes are busy" >&2; exit 1; }
export SLURMD_NODENAME=node7
exec setsid --wait "$@"
"""
SSH = """\
#!/bin/bash
# Logs in to a host whose shell has nothing of ours in its environment.
while [[ $1 != -- ]]; do [[ $1 == BatchMode=yes ]] && silent=yes; shift; done
host=$2; command=$3
[ "$silent" ] || read -r password
case $host in
    nowhere) echo "ssh: Could not resolve hostname nowhere: Name or service not known" >&2
             exit 255 ;;
    closed) echo "me@closed: Permission denied (publickey)." >&2; exit 255 ;;
    strange) echo "Host key verification failed." >&2; exit 255 ;;
    bare) echo "env: '/x/python': No such file or directory" >&2; exit 127 ;;
    greeting) echo "Welcome to greeting."; printf "Have a nice day" ;;
    dying) setsid --wait sh -c "$command" | head --lines=2; exit 1 ;;
    talking) echo "This account is not available."; exit 1 ;;
esac
exec setsid --wait env -i HOME="$HOME" PATH=/usr/bin:/bin PYTHONHASHSEED=7 sh -c "$command"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for srun and ssh, and what SLURM says of an allocation of two processors."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("srun", SRUN), ("ssh", SSH)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("BUSY", str(tmp_path / "busy"))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "1(x2)")
    return tmp_path


@pytest.fixture
def scenario(suite: Path) -> Scenario:
    return read(suite / "scenarios" / scenario_name())


def run_on(
    where: Executor, scenario: Scenario, results: Path, trials: int, workers: int = 2
) -> Path:
    return configurators.execute(
        scenario, FIRST, seed=1, trials=trials, workers=workers, results=results, executor=where
    )


def recorded(run: Path) -> tuple[list[Numbered], list[Incumbent]]:
    """What a run has recorded, but for what the clock and the machine decide."""
    records = read_lines(run / RUNHISTORY, Numbered)
    ordered = sorted(map(timeless, records), key=lambda record: record.trial)
    return ordered, read_lines(run / TRAJECTORY, Incumbent)


def ends(pid: int, within: float = 20.0) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


# What a user sees --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["srun", "ssh:one,two"])
def test_a_run_has_the_same_records_wherever_its_trials_run(
    cluster: Path, scenario: Scenario, where: str
) -> None:
    run_here = run_on(LOCAL, scenario, cluster / "here", 16)
    there = run_on(executor(where), scenario, cluster / "there", 16)
    assert recorded(there) == recorded(run_here)
    workers = {record.worker for record in read_lines(there / RUNHISTORY, Numbered)}
    node = "node7" if where == "srun" else os.uname().nodename
    assert {str(worker).split(":")[0] for worker in workers} == {node} and len(workers) == 2


def test_the_command_takes_an_executor_and_its_workers_end_with_it(
    cluster: Path, scenario: Scenario
) -> None:
    words = [sys.executable, "-m", "commands", "run", str(scenario.folder), "--trials", "4"]
    words += ["--quiet", "--results", str(cluster / "results"), "--executor"]

    def done(where: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, where], env=environment(), capture_output=True, text=True, timeout=60
        )

    refused = done("ssh:nowhere")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert "host nowhere: no worker there (ssh: Could not resolve hostname" in refused.stderr
    fine = done("ssh:one")
    assert (fine.returncode, fine.stderr) == (0, "")
    folder = next((cluster / "results").rglob(RUNHISTORY))
    assert ends(int(str(read_lines(folder, Numbered)[0].worker).split(":")[1]))


def test_what_a_trial_depends_on_goes_along_to_another_host(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = cluster / 'it\'s $HOME; a "folder"'
    monkeypatch.setenv("SPARSE_ACLIB_DATA", os.path.relpath(data))
    with Evaluator(1, executor("ssh:one")) as evaluator:
        assert evaluator.submit(ASKED).result().status == "SUCCESS"
    assert [file for file in data.rglob("*") if file.is_file()], "it prepares its data there"


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("ssh:nowhere", r"host nowhere: .*Could not resolve.*: no host has this name here"),
        ("ssh:closed", r"host closed: .*Permission denied.*'ssh-copy-id closed'"),
        ("ssh:strange", r"host strange: .*Host key verification failed.*'ssh strange true'"),
        ("ssh:bare", r"host bare: .*No such file.*must be in the same folder there"),
        ("ssh:talking", r"host talking: .*\(This account is not available\.\): 'ssh -o Batch"),
        ("ssh:-oProxyCommand=x", r"'-oProxyCommand=x' is no host"),
        ("ssh:", r"'' is no host, expected such as ssh:node1,node2"),
        ("srun:4", r"expected 'srun'"),
        ("slurm", r"unknown executor 'slurm', expected one of dask, local, srun, ssh"),
    ],
)
def test_what_cannot_work_is_one_line_that_says_what_to_do(
    cluster: Path, where: str, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as raised, Evaluator(1, executor(where)) as evaluator:
        evaluator.submit(ASKED).result()
    assert "\n" not in str(raised.value)


def test_a_greeting_of_a_login_shell_is_no_answer(cluster: Path) -> None:
    with Evaluator(1, executor("ssh:greeting")) as evaluator:
        assert evaluator.submit(ASKED).result().status == "SUCCESS"


def test_srun_without_a_free_processor_of_an_allocation_is_one_line(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    srun = executor("srun")
    with pytest.raises(BadInput, match="3 workers in job 12 with 2 processors: give --workers 2"):
        Evaluator(3, srun).__enter__()
    (cluster / "busy").touch()
    with pytest.raises(BadInput, match=r"job 12: .*nodes are busy.*fewer --workers"):  # noqa: SIM117
        with Evaluator(2, srun) as evaluator:
            evaluator.submit(ASKED).result()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BadInput, match="no program srun in PATH"):
        Evaluator(1, srun).__enter__()
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(BadInput, match="outside an allocation .* 'salloc --ntasks=1'"):
        Evaluator(1, srun).__enter__()


def test_processors_of_an_allocation_are_counted_over_its_nodes() -> None:
    assert processors("4(x2),2") == 10 and processors("8") == 8 and processors("") is None


# What runs there ---------------------------------------------------------------------------------


def test_a_worker_of_another_checkout_is_refused(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = cluster / "copy"
    for package in ("sparse_training", "target_algorithms", "wrappers"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    elsewhere = {**environment(), "PYTHONPATH": str(copy)}
    words = (sys.executable, "-c", f"import sys; sys.argv[1:] = ['apart']\n{AS_ITSELF}")

    def trial() -> str:
        with contextlib.closing(WorkerProcess(Start(words, elsewhere, "host x"))) as worker:
            return worker.run(
                replace(ASKED, folder=str(copy / "target_algorithms" / ASKED.variant))
            ).status

    assert trial() == "SUCCESS", "a copy that is the same is as good"
    rules = copy / "sparse_training" / "errors.py"
    rules.write_text(rules.read_text() + "\n# another one\n")
    with pytest.raises(BadInput, match="host x: another version of the suite is there"):
        trial()


AS_ITSELF = """\
import wrappers.worker as worker
worker.isolate = lambda words: None  # it would be what this environment says
worker.main()
"""


def test_a_worker_with_another_library_is_refused() -> None:
    wanted = ours()
    assert difference(wanted, wanted) is None
    changed = {**wanted.libraries, "numpy": "1.0"}
    told = str(difference(replace(wanted, libraries=changed), wanted))
    assert told.startswith(f"numpy 1.0 is there and {wanted.libraries['numpy']} here")
    without = {name: version for name, version in changed.items() if name != "numpy"}
    assert "numpy none is there" in str(
        difference(Checkout(code=wanted.code, libraries=without), wanted)
    )
    older = (
        sys.executable,
        "-c",
        'input(print(\'{"pid": 1, "no_sparse_engine": null}\', flush=True))',
    )
    with contextlib.closing(WorkerProcess(Start(older, environment(), "host x"))) as worker:
        with pytest.raises(BadInput, match="host x: another version of the suite is there"):
            worker.run(ASKED)


# Who ends ----------------------------------------------------------------------------------------


def asker(where: str, before: Sequence[str] = ()) -> tuple[subprocess.Popen[str], int]:
    """A process with a long trial under way elsewhere, and its worker, its second one."""
    code = (
        "import os, signal\n"
        # Where the tests run in the background it is ignored, and their children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.wrappers.test_worker import ASKED, LONG\n"
        "from wrappers.evaluator import Evaluator\n"
        "from wrappers.executors import executor\n"
        f"with Evaluator(1, executor({where!r})) as evaluator:\n"
        "    os.kill(int(evaluator.submit(ASKED).result().worker.split(':')[1]), 9)\n"
        "    print(evaluator.submit(ASKED).result().worker, flush=True)\n"
        "    evaluator.submit(LONG).result()\n"
    )
    words: list[str] = [*before, sys.executable, "-c", code]
    process = subprocess.Popen(
        words,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    return process, int(process.stdout.readline().split(":")[1])


def trial_of(pid: int) -> int:
    """The process of the trial that a worker is at."""
    for _ in range(500):
        if children := psutil.Process(pid).children():
            return children[0].pid
        time.sleep(0.01)
    raise AssertionError("no trial")


@pytest.mark.parametrize(
    ("where", "number"),
    [("srun", signal.SIGKILL), ("ssh:one", signal.SIGKILL), ("ssh:one", signal.SIGINT)],
)
def test_a_worker_elsewhere_and_its_trial_end_with_the_command(
    cluster: Path, where: str, number: int
) -> None:
    process, pid = asker(where)
    trial = trial_of(pid)
    process.send_signal(number)
    assert ends(pid) and ends(trial)
    process.communicate(timeout=10)


def test_a_worker_hears_a_socket_hang_up_as_well_as_a_pipe() -> None:
    """What sshd gives to a command is a socket where it is built so."""
    mine, its = socket.socketpair()
    worker = subprocess.Popen(
        here().words, stdin=its.fileno(), stdout=subprocess.PIPE, env=environment(), text=True
    )
    its.close()
    assert worker.stdout and "pid" in worker.stdout.readline()
    mine.sendall(msgspec.json.encode(LONG) + b"\n")
    trial = trial_of(worker.pid)
    mine.shutdown(socket.SHUT_WR)
    assert ends(trial)
    worker.communicate(timeout=10)
    mine.close()


def test_who_is_silent_is_lost_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "PATIENCE", 0.3)
    words = (sys.executable, "-c", "import time; time.sleep(60)")
    mute = WorkerProcess(Start(words, environment(), "host x", otherwise="do this"))
    monkeypatch.setattr(warm, "_GOODBYE", 0.1)
    with contextlib.closing(mute), pytest.raises(BadInput, match=r"within 0.3 s; do this"):
        mute.run(ASKED)
    monkeypatch.setattr(warm, "PATIENCE", 20.0)
    hanging = WorkerProcess(Start(stub("time.sleep(60)"), environment(), "host x"))
    with contextlib.closing(hanging):
        hanging.start()
        monkeypatch.setattr(warm, "PATIENCE", 0.3)
        with pytest.raises(WorkerDied, match="host x"):
            hanging.run(replace(ASKED, cutoff=0.1))


# A worker that is lost ---------------------------------------------------------------------------


def stub(instead: str) -> tuple[str, ...]:
    """A worker elsewhere that does something before each trial."""
    code = (
        "import os, signal, sys, time; import wrappers.worker as worker\n"
        "sys.argv[1:] = ['apart']; worker.isolate = lambda words: None\n"
        "kept = worker.run_limited\n"
        f"def run(trial, parent):\n    {instead}\n    return kept(trial, parent)\n"
        "worker.run_limited = run\nworker.main()\n"
    )
    return (sys.executable, "-c", code)


@dataclass(frozen=True)
class Dying:
    """Workers that are killed at every trial as soon as a file has a line for each of `after`."""

    counted: Path
    after: int

    def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
        """See `Executor`."""
        file = str(self.counted)
        words = stub(
            f"f = open({file!r}, 'a+'); f.seek(0); f.read().count('x') >= {self.after} and "
            "os.kill(os.getpid(), signal.SIGKILL); f.write('x'); f.close()"
        )
        return processes(Start(words, environment(), "host x") for _ in range(count))


Work = Callable[[Scenario, Path, Executor], tuple[Path, object]]
"""Evaluates trials; returns their file, and what came of it all."""


def a_run(scenario: Scenario, folder: Path, where: Executor) -> tuple[Path, object]:
    run = run_on(where, scenario, folder, 12, workers=1)
    return run / RUNHISTORY, recorded(run)


def a_validation(scenario: Scenario, folder: Path, where: Executor) -> tuple[Path, object]:
    run = configurators.execute(scenario, DEFAULT_ONLY, seed=1, trials=1, workers=1, results=folder)
    validate([run], seeds=12, workers=1, executor=where)
    return run / VALIDATION, None


def an_ablation(scenario: Scenario, folder: Path, where: Executor) -> tuple[Path, object]:
    run = configurators.execute(scenario, DEFAULT_ONLY, seed=1, trials=1, workers=1, results=folder)
    config = scenario.space.default | {"batch_size": 32, "learning_rate_sgd": 0.05}
    if len(read_lines(run / TRAJECTORY, Incumbent)) == 1:
        entry = Incumbent(trial=1, config_id=config_id(config), config=config, estimate=0.1)
        append_line(run / TRAJECTORY, entry)
    ablate(run, workers=1, trials=500, executor=where)
    return run / ABLATION_TRIALS, (run / ABLATION).read_text()


def a_fitness(scenario: Scenario, folder: Path, where: Executor) -> tuple[Path, object]:
    of_set = [read(scenario.folder.parent / variant.name) for variant in (COMBINATION, BASELINE)]
    measure(of_set, folder, configurations=4, seeds=1, workers=1, executor=where)
    return folder / f"{BASELINE.name}.jsonl", None


@pytest.mark.parametrize("work", [a_run, a_validation, an_ablation, a_fitness])
def test_a_trial_that_loses_its_worker_twice_stops_all_without_a_record_and_all_goes_on(
    scenario: Scenario, tmp_path: Path, work: Work
) -> None:
    file, wanted = work(scenario, tmp_path / "undisturbed", LOCAL)
    dying = Dying(tmp_path / "counted", 5)
    with pytest.raises(Lost, match=r"lost its worker twice \(host x: .*the same command goes on"):
        work(scenario, tmp_path / "lost", dying)
    trials = [
        record
        for log in (tmp_path / "lost").rglob("*.jsonl")
        if log.name not in (TRAJECTORY, *[RUNHISTORY] * (work is not a_run))
        for record in read_lines(log, Record if work is not a_run else Numbered)
    ]
    assert len(trials) == 5 and {record.status for record in trials} <= set(STATUSES)
    assert "ABORT" not in {record.status for record in trials}
    again, got = work(scenario, tmp_path / "lost", LOCAL)
    assert got == wanted
    kind = Numbered if work is a_run else Record
    assert {timeless(r).key: timeless(r) for r in read_lines(again, kind)} == {
        timeless(r).key: timeless(r) for r in read_lines(file, kind)
    }


def test_a_lost_worker_ends_a_command_for_several_runs_as_well(
    cluster: Path, scenario: Scenario
) -> None:
    """It is of the machines: what is refused of one run would be passed over for the others."""
    an_ablation(scenario, cluster / "one", LOCAL)
    with pytest.raises(Lost):
        an_ablation(scenario, cluster / "two", executor("ssh:dying"))
    with pytest.raises(Lost, match="with seed .* lost its worker twice"):
        ablate_command([cluster / "one", cluster / "two"], 500, 1, "ssh:dying")


def test_a_trial_that_loses_its_worker_once_is_evaluated_on_another(tmp_path: Path) -> None:
    """The next one in the row, so that a machine that fails does not get it again."""
    flag = tmp_path / "first"
    words = stub(
        f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), "
        "os.kill(os.getpid(), signal.SIGKILL))"
    )

    @dataclass(frozen=True)
    class Two:
        def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
            return processes(Start(words, environment(), f"host {i}") for i in range(count))

    with Evaluator(2, Two()) as evaluator:
        first, second = evaluator.workers
        result = evaluator.submit(ASKED).result()
        assert isinstance(first, WorkerProcess) and isinstance(second, WorkerProcess)
        assert result.status == "SUCCESS" and second.pid and not first.pid


# SLURM itself ------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[list[str]]:
    """A SLURM of two nodes on this machine; what a command line in an allocation begins with."""
    (tmp_path / "slurm").mkdir()
    with two_nodes(tmp_path / "slurm"):
        yield ["salloc", "--quiet", "--nodes=2", "--ntasks=2", "--mem=500"]


@pytest.mark.slow
@pytest.mark.faults
def test_a_run_in_an_allocation_of_slurm_is_the_same_and_survives_its_workers(
    slurm: list[str], scenario: Scenario, tmp_path: Path
) -> None:
    here_run = run_on(LOCAL, scenario, tmp_path / "here", 40)
    words = [*slurm, sys.executable, "-m", "commands", "run", str(scenario.folder)]
    words += ["--trials", "40", "--workers", "2", "--quiet", "--results", str(tmp_path / "there")]
    done = subprocess.run(
        [*words, "--executor", "srun"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "there").rglob(RUNHISTORY)).parent
    assert recorded(run) == recorded(here_run)
    records = read_lines(run / RUNHISTORY, Numbered)
    assert {str(record.worker).split(":")[0] for record in records} == {"n1", "n2"}

    process, pid = asker("srun", slurm)
    trial = trial_of(pid)
    psutil.Process(process.pid).children()[0].kill()  # the command in the allocation
    assert ends(pid) and ends(trial)
    process.communicate(timeout=20)


@pytest.mark.slow
def test_more_workers_than_slurm_has_processors_for_is_one_line(
    slurm: list[str], scenario: Scenario, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "commands", "run", str(scenario.folder), "--trials", "4"]
    words += ["--workers", "2", "--quiet", "--results", str(tmp_path), "--executor", "srun"]
    other = "srun -Q -n1 -c1 --exact --mem=0 sleep 60"
    taken = f"{other} & sleep 1; {shlex.join(words)}; echo =$?; kill %1"
    for command in (shlex.join(words).replace("--workers 2", "--workers 3") + "; echo =$?", taken):
        done = subprocess.run(
            [*slurm, "bash", "-c", command],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout.strip() == "=2"
        assert done.stderr.count("sparse-aclib: error: ") == 1 and "--workers" in done.stderr


# Dask --------------------------------------------------------------------------------------------

GOOD = {
    "allowed-failures": 0,
    "work-stealing": False,
    "worker-saturation": 1.0,
    "worker-ttl": 300.0,
    "addresses": ["tcp://127.0.0.1:8786"],
    "pages": ["127.0.0.1"],
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"allowed-failures": 3}, r"allowed-failures is 3, expected 0 .*ALLOWED_FAILURES=0$"),
        ({"work-stealing": True}, r"work-stealing is True, expected False"),
        ({"worker-saturation": 1.1}, r"worker-saturation is 1.1, expected 1.0"),
        ({"worker-ttl": None}, r"worker-ttl is not set"),
        ({"addresses": ["tcp://0.0.0.0:8786"]}, r"listens on tcp://0.0.0.0:8786 without TLS"),
        (
            {"addresses": ["tls://0.0.0.0:8786"], "pages": ["0.0.0.0"]},
            r"shows its pages on 0.0.0.0",
        ),
        ({"addresses": ["ucx://127.0.0.1:8786"]}, r"listens on ucx"),
    ],
)
def test_a_dask_scheduler_that_runs_trials_twice_or_is_open_is_refused(
    changed: dict[str, object], told: str
) -> None:
    from wrappers.executors.dask import check

    check("tcp://127.0.0.1:8786", GOOD)
    check("tls://10.0.0.1:8786", {**GOOD, "addresses": ["tls://0.0.0.0:8786", "tls://[::]:8786"]})
    with pytest.raises(BadInput, match=told):
        check("tcp://127.0.0.1:8786", {**GOOD, **changed})


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("dask", "expected the address of a scheduler such as dask:tls"),
        ("dask:tcp://10.0.0.1:8786", "without TLS whoever reaches a scheduler can run code"),
        ("dask:tls://:8786", "expected the address of a scheduler"),
        ("dask:tls://10.0.0.1:8786", "TLS__CA_FILE is not set"),
        ("dask:tcp://127.0.0.1:9", r"no scheduler there within 10 s \(.+\): is it running"),
    ],
)
def test_a_dask_cluster_that_cannot_be_used_is_one_line(
    where: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wrappers.executors import dask

    monkeypatch.setattr(dask, "CONNECTING", 1.0)
    told = told.replace("10 s", "1 s")
    with pytest.raises(BadInput, match=told) as raised, Evaluator(1, executor(where)) as evaluator:
        evaluator.submit(ASKED).result()
    assert "\n" not in str(raised.value)


@dataclass(frozen=True)
class Processes:
    """A Dask cluster of processes."""

    address: str
    scheduler: int
    workers: tuple[int, ...]
    environment: dict[str, str]


SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s",
}


def certificate(folder: Path) -> dict[str, str]:
    """A key of a cluster's own, and how Dask is told of it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=trials"]
    subprocess.run(made, check=True, capture_output=True)
    told = {"REQUIRE_ENCRYPTION": "True", "TLS__CA_FILE": str(cert)}
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        told |= {f"TLS__{who}__CERT": str(cert), f"TLS__{who}__KEY": str(key)}
    return {f"DASK_DISTRIBUTED__COMM__{name}": value for name, value in told.items()}


@pytest.fixture(params=["tcp", "tls"])
def dask_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Processes]:
    """A scheduler and two workers, on this machine only or with TLS."""
    protocol: str = request.param
    if protocol == "tls" and shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    settings = {**environment(), **SETTINGS}
    settings |= certificate(tmp_path) if protocol == "tls" else {}
    pages = ["--dashboard-address", "127.0.0.1:0"]
    host = ["--host", "127.0.0.1"]
    file = tmp_path / "scheduler.json"
    with contextlib.ExitStack() as stack:

        def started(*words: str) -> int:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, *pages],
                env=settings,
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process.pid

        all_of_them = ["--protocol", "tls"] if protocol == "tls" else host
        scheduler = started("scheduler", "--port", "0", "--scheduler-file", str(file), *all_of_them)
        until = time.monotonic() + 60
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < until, "no scheduler"
            time.sleep(0.1)
        port = json.loads(file.read_text())["address"].rpartition(":")[2]
        address = f"{protocol}://127.0.0.1:{port}"
        worker = ["worker", address, "--nthreads", "1", "--memory-limit", "0", "--no-nanny"]
        workers = tuple(started(*worker, *host) for _ in range(2))
        yield Processes(address, scheduler, workers, settings)


@pytest.mark.slow
def test_a_run_in_a_dask_cluster_is_the_same(
    dask_cluster: Processes, scenario: Scenario, tmp_path: Path
) -> None:
    here_run = run_on(LOCAL, scenario, tmp_path / "here", 40)
    words = [sys.executable, "-m", "commands", "run", str(scenario.folder), "--trials", "40"]
    words += ["--workers", "2", "--quiet", "--results", str(tmp_path / "there")]
    done = subprocess.run(
        [*words, "--executor", f"dask:{dask_cluster.address}"],
        env=dask_cluster.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    run = next((tmp_path / "there").rglob(RUNHISTORY)).parent
    assert recorded(run) == recorded(here_run)
    records = read_lines(run / RUNHISTORY, Numbered)
    assert len({record.worker for record in records}) == 2


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("dask_cluster", ["tcp"], indirect=True)
@pytest.mark.parametrize("how", ["killed", "stopped", "scheduler", "asker"])
def test_what_dask_loses_is_lost_and_nothing_runs_on(dask_cluster: Processes, how: str) -> None:
    where = f"dask:{dask_cluster.address}"

    left = list(dask_cluster.workers)

    def at_work() -> tuple[int, int, int]:
        """The Dask worker that has the trial, the warm worker beside it, the trial."""
        for _ in range(4000):
            for pid in left:
                with contextlib.suppress(psutil.Error):
                    for warm_one in psutil.Process(pid).children():
                        for trial in warm_one.children():
                            return pid, warm_one.pid, trial.pid
            time.sleep(0.01)
        raise AssertionError("no trial")

    if how == "asker":
        process, _ = asker(where)
        *_, trial = at_work()
        process.kill()
        assert ends(trial)
        process.communicate(timeout=10)
        with Evaluator(2, executor(where)) as evaluator:
            assert evaluator.submit(ASKED).result().status == "SUCCESS", "it serves others"
        return
    with Evaluator(2, executor(where)) as evaluator:
        future = evaluator.submit(LONG)
        for _ in range(1 if how == "scheduler" else 2):
            pid, warm_one, trial = at_work()
            victim = dask_cluster.scheduler if how == "scheduler" else pid
            os.kill(victim, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
            left.remove(pid)
        with pytest.raises(Lost, match="lost its worker twice"):
            future.result(timeout=60)
    assert how == "stopped" or (ends(trial) and ends(warm_one))
