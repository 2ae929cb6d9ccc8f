"""The server behind `./wrappers/target`: answers of a cold call, and a cold call where it fails."""

import contextlib
import fcntl
import os
import resource
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sparse_training.data.stored import data_directory
from target_algorithms import ROOT
from tests.examples import PLAIN, config_of
from tests.wrappers.test_call import FIXED, INSTANCE, words_of
from wrappers import server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="servers are for Linux")

CONFIG = words_of(config_of(PLAIN))
LONG = [*FIXED[:2], "--training-samples", "2000000000", *FIXED[4:]]
"""Options of a trial that takes minutes."""
REFUSED = bytes(4)
"""A message of no bytes."""
PYTHON = Path(sys.executable).resolve()


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder for sockets, whose paths may not be long; its servers end with the test."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    for pid in servers(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)


def servers(runtime: Path) -> list[int]:
    """The processes that serve there, without the forks that answer a call."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            inside = any(word.startswith(os.fsencode(runtime)) for word in words)
            if b"--serve" in words and inside and state != "Z":
                parents[int(process.name)] = int(parent)
    return [pid for pid, parent in parents.items() if parent not in parents]


def environment(runtime: Path, **more: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    del plain["SPARSE_ACLIB_SERVER"]
    ours = {"SPARSE_ACLIB_PYTHON": sys.executable, "XDG_RUNTIME_DIR": str(runtime)}
    return plain | ours | more


def positional(*config: str, options: list[str] = FIXED, cutoff: str = "60") -> list[str]:
    return [PLAIN.name, *options, INSTANCE, "0", cutoff, "0", "17", *config]


def command(words: list[str]) -> list[str]:
    return [str(PYTHON), str(ROOT / "wrappers/target"), *words]


def target(
    runtime: Path, words: list[str], cwd: Path = ROOT, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(words),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(runtime, **more),
        timeout=120,
    )


def started(runtime: Path, cwd: Path = ROOT, **more: str) -> int:
    """A server that answers: its process. The second call that misses one starts it."""
    before = servers(runtime)
    for _ in range(2):
        target(runtime, [PLAIN.name, "malformed"], cwd, **more)
    return new_server(runtime, before)


def new_server(runtime: Path, before: list[int]) -> int:
    """A server that answers, beside those that did."""
    for _ in range(200):
        now = servers(runtime)
        new = [pid for pid in now if pid not in before]
        if new and len(sockets(runtime)) == len(now):
            return new[0]
        time.sleep(0.05)
    raise AssertionError("no server has started")


def sockets(runtime: Path) -> list[Path]:
    """Those of servers that are ready."""
    return [file for file in runtime.glob("*/*") if file.is_socket() and not file.suffix]


def path(runtime: Path) -> Path:
    """The socket of the one server there."""
    (found,) = sockets(runtime)
    return found


def is_served(process: "subprocess.Popen[str]", runtime: Path) -> bool:
    """Whether a call waits for a server: it has not become the project's Python."""
    for _ in range(100):
        time.sleep(0.05)
        children = [int(pid) for server in servers(runtime) for pid in children_of(server)]
        if children:
            return process.poll() is None
    return False


def children_of(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def cost_of(line: str) -> str:
    """An answer without its times."""
    status, _, *rest = line.split(", ")
    return ", ".join([status, *rest])


CALLS = {
    "success": positional(*CONFIG),
    "named": [
        *(PLAIN.name, *FIXED, "--instance", INSTANCE, "--cutoff", "60", "--seed", "17"),
        *("--config", *CONFIG),
    ],
    "unknown parameter": positional(*CONFIG, "-no_such", "1"),
    "unknown instance": [
        *(PLAIN.name, *FIXED, "sklearn/no_such/0", "0", "60", "0", "17", *CONFIG),
    ],
    "timeout": positional(*CONFIG, options=LONG, cutoff="0.3"),
    "memory": positional(*CONFIG, options=[*LONG, "--memory-limit", "30"]),
    "masked": positional(*CONFIG, options=[*FIXED, "--engine", "masked"]),
    "masked again": positional(*CONFIG, options=[*FIXED, "--engine", "masked"]),
}


def test_a_served_call_is_answered_as_a_cold_one(runtime: Path) -> None:
    server_pid = started(runtime)
    for name, words in CALLS.items():
        cold = target(runtime, words, SPARSE_ACLIB_SERVER="off")
        served = target(runtime, words)
        assert served.returncode == cold.returncode, name
        if name == "named":
            assert served.stdout.count("\n") == cold.stdout.count("\n") == 2
            assert '"status": "SUCCESS"' in served.stdout
        else:
            assert cost_of(served.stdout) == cost_of(cold.stdout), name
        assert served.stderr == cold.stderr, name
    assert servers(runtime) == [server_pid]


def test_a_served_call_takes_a_fraction_of_the_time_of_a_cold_one(runtime: Path) -> None:
    """A served one imports nothing of the project: no compiled file of it is opened."""
    started(runtime)
    shown = subprocess.run(
        [str(PYTHON), "-v", str(ROOT / "wrappers/target"), *positional(*CONFIG)],
        capture_output=True,
        text=True,
        env=environment(runtime),
    )
    assert "SUCCESS" in shown.stdout
    assert "import 'numpy'" not in shown.stderr and "sparse_training" not in shown.stderr


def test_a_module_of_the_callers_is_not_imported_however_its_path_is_written(
    runtime: Path, tmp_path: Path
) -> None:
    server_pid = started(runtime)
    for module in ("resource", "socket", "wrappers"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('{module} of the caller')\n")
    for written in (str(tmp_path), f"{tmp_path}//", "", ":", ".", f"../{tmp_path.name}"):
        done = target(runtime, positional(*CONFIG), tmp_path, PYTHONPATH=written)
        assert "SUCCESS" in done.stdout and done.stderr == "", written
    assert servers(runtime) == [server_pid]


@pytest.mark.parametrize("name, value", [("INSPECT", "1"), ("IOENCODING", "utf-16")])
def test_no_switch_of_the_callers_python_changes_an_answer(
    name: str, value: str, runtime: Path
) -> None:
    started(runtime)
    for words in (positional(*CONFIG), positional(*CONFIG, "-no_such", "1")):
        plain = target(runtime, words)
        switched = target(runtime, words, ROOT, **{f"PYTHON{name}": value})
        assert cost_of(switched.stdout) == cost_of(plain.stdout)
        assert (switched.stderr, switched.returncode) == (plain.stderr, plain.returncode)


def test_an_answer_is_whole_where_its_pipe_is_full_or_its_words_are_no_text(runtime: Path) -> None:
    started(runtime)
    long = [*positional(*CONFIG), "-" + "x" * 100_000 + "\udcff", "1"]
    for switch in ("on", "off"):
        readable, writable = os.pipe2(os.O_NONBLOCK)
        os.set_blocking(readable, True)
        caller = subprocess.Popen(
            command(long),
            env=environment(runtime, SPARSE_ACLIB_SERVER=switch),
            stdout=writable,
            stderr=subprocess.DEVNULL,
        )
        os.close(writable)
        time.sleep(1.0)  # it has written as much as the pipe holds
        with os.fdopen(readable, "rb") as pipe:
            answer = pipe.read()
        assert caller.wait() == 1
        assert answer.startswith(b"Result for ParamILS: ABORT, ") and answer.endswith(b"\n")
        assert len(answer) > 100_000


CRASHES = """\
def compose(**parameters: object) -> object:
    raise LookupError("a fault of its own")
"""


@pytest.mark.parametrize("errors", ["2>/dev/full", "2>&-", "2> >(exec 0<&-)"])
@pytest.mark.parametrize("server", ["on", "off"])
def test_a_standard_error_that_fails_costs_no_trial(
    server: str, errors: str, runtime: Path, tmp_path: Path
) -> None:
    """Neither what the trial says, nor what there is to say of it."""
    folder = tmp_path / "target_algorithms" / "own"
    shutil.copytree(PLAIN.folder, folder)
    (folder / "algorithm.py").write_text(CRASHES)
    (tmp_path / "file").touch()
    more = {"SPARSE_ACLIB_PATH": str(tmp_path), "SPARSE_ACLIB_RECORD": str(tmp_path / "calls")}
    more["SPARSE_ACLIB_DATA"] = str(data_directory())
    more["XDG_CACHE_HOME"] = str(tmp_path / "file")  # no kernels, which it says
    if server == "on":
        started(runtime, ROOT, **more)
    said = {}
    for words in (positional(*CONFIG), ["own", *positional(*CONFIG)[1:]]):
        done = subprocess.run(
            ["bash", "-c", f'sleep 0.1; "$@" {errors}', "bash", *command(words)],
            capture_output=True,
            text=True,
            env=environment(runtime, SPARSE_ACLIB_SERVER=server, **more),
        )
        said[words[0]] = done.stdout
    assert "SUCCESS" in said[PLAIN.name] and "engine=masked" in said[PLAIN.name]
    assert "CRASHED" in said["own"] and "LookupError: a fault of its own" in said["own"]
    lines = [file.read_text().count("\n") for file in (tmp_path / "calls").iterdir()]
    assert lines == [1, 1]


@pytest.mark.parametrize("server", ["on", "off"])
def test_an_answer_that_cannot_be_written_is_one_line_and_its_trial_is_made_once(
    server: str, runtime: Path, tmp_path: Path
) -> None:
    more = {"SPARSE_ACLIB_SERVER": server, "SPARSE_ACLIB_RECORD": str(tmp_path / "calls")}
    if server == "on":
        started(runtime, ROOT, **more)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(positional(*CONFIG)),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(runtime, **more),
        )
    assert done.returncode == 1
    assert done.stderr == "target: the answer cannot be written (No space left on device)\n"
    (file,) = (tmp_path / "calls").iterdir()
    assert file.read_text().count("\n") == 1


def test_as_many_trials_run_at_once_as_there_are_callers(runtime: Path) -> None:
    server_pid = started(runtime)
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(target, runtime, positional(*CONFIG)) for _ in range(6)]
        answers = {cost_of(call.result().stdout) for call in calls}
    assert len(answers) == 1 and "SUCCESS" in answers.pop()
    assert servers(runtime) == [server_pid]


def test_many_first_calls_start_one_server(runtime: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(target, runtime, positional(*CONFIG)) for _ in range(4)]
        assert all("SUCCESS" in call.result().stdout for call in calls)
    new_server(runtime, [])
    time.sleep(1.0)
    assert len(servers(runtime)) == 1


def test_a_caller_that_ignores_what_becomes_of_children_is_answered(runtime: Path) -> None:
    ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    words = [sys.executable, "-c", f"{ignoring}; os.execv(sys.argv[1], sys.argv[1:])"]
    for switch in ("off", "on", "on", "on"):
        done = subprocess.run(
            [*words, *command(positional(*CONFIG))],
            env=environment(runtime, SPARSE_ACLIB_SERVER=switch),
            capture_output=True,
            text=True,
        )
        assert "SUCCESS" in done.stdout and done.stderr == "", switch
    new_server(runtime, [])


def test_it_can_be_switched_off(runtime: Path) -> None:
    answer = target(runtime, positional(*CONFIG), SPARSE_ACLIB_SERVER="off")
    assert "SUCCESS" in answer.stdout
    assert list(runtime.iterdir()) == [] and servers(runtime) == []


def test_a_trial_ends_with_its_caller(runtime: Path) -> None:
    server_pid = started(runtime)
    caller = subprocess.Popen(
        command(positional(*CONFIG, options=LONG)), env=environment(runtime), text=True
    )
    assert is_served(caller, runtime)
    caller.kill()
    caller.wait()
    for _ in range(100):
        if not children_of(server_pid):
            break
        time.sleep(0.05)
    assert children_of(server_pid) == []
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGXCPU])
def test_a_call_that_is_told_to_end_says_so(number: signal.Signals, runtime: Path) -> None:
    started(runtime)
    caller = subprocess.Popen(
        command(positional(*CONFIG, options=LONG)),
        env=environment(runtime),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert is_served(caller, runtime)
    time.sleep(0.3)
    caller.send_signal(number)
    output, errors = caller.communicate(timeout=20)
    assert output.startswith("Result for ParamILS: CRASHED, ")
    assert errors == f"target: CRASHED: stopped by {number.name}\n" and caller.returncode == 1


def test_a_killed_server_loses_no_trial(runtime: Path) -> None:
    server_pid = started(runtime)
    slow = [*FIXED[:2], "--training-samples", "300000", *FIXED[4:]]
    caller = subprocess.Popen(
        command(positional(*CONFIG, options=slow)),
        env=environment(runtime),
        text=True,
        stdout=subprocess.PIPE,
    )
    assert is_served(caller, runtime)
    os.kill(server_pid, signal.SIGKILL)
    output, _ = caller.communicate(timeout=100)
    assert output.count("SUCCESS") == 1 and caller.returncode == 0
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout


def test_a_call_that_is_told_to_end_is_not_begun_anew(runtime: Path) -> None:
    """Where its process in the server has no time to answer."""
    server_pid = started(runtime)
    caller = subprocess.Popen(
        command(positional(*CONFIG, options=LONG)),
        env=environment(runtime),
        text=True,
        stdout=subprocess.PIPE,
    )
    assert is_served(caller, runtime)
    time.sleep(0.5)
    (answering,) = children_of(server_pid)
    os.kill(answering, signal.SIGSTOP)
    caller.terminate()
    time.sleep(0.2)
    os.kill(server_pid, signal.SIGKILL)
    assert caller.communicate(timeout=20)[0] == ""
    assert caller.returncode == -signal.SIGTERM


def listening(runtime: Path, answer: bytes) -> socket.socket:
    """Somebody at the place of a server, who says something else to the first caller."""
    pid = started(runtime)
    place = path(runtime)
    os.kill(pid, signal.SIGKILL)
    place.unlink()
    impostor = socket.socket(socket.AF_UNIX)
    impostor.bind(str(place))
    impostor.listen(1)
    if answer:

        def say() -> None:
            with impostor.accept()[0] as connection:
                connection.sendall(answer)

        ThreadPoolExecutor(1).submit(say)
    else:
        impostor.close()
    return impostor


@pytest.mark.parametrize("answer", [b"", b"nonsense" * 100, b"\0\0\0\4none", b"\0\0\0\5"], ids=repr)
def test_whatever_is_strange_ends_in_a_cold_call(answer: bytes, runtime: Path) -> None:
    with listening(runtime, answer):
        call = target(runtime, positional(*CONFIG))
    assert call.stdout.count("SUCCESS") == 1 and call.stderr == ""


@pytest.mark.parametrize(
    "request_", [b"", b"\0\0\0\1x", b"\xff\xff\xff\xff", b"\0\0\0\7a\0b\0c\0d"], ids=repr
)
def test_strange_requests_get_no_answer_and_do_no_harm(request_: bytes, runtime: Path) -> None:
    server_pid = started(runtime)
    place = path(runtime)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(place))
        stranger.sendall(request_)
        stranger.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(100) in (b"", REFUSED)
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    assert servers(runtime) == [server_pid]


def test_a_server_of_other_code_or_another_environment_is_not_asked(
    runtime: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "target_algorithms" / "own"
    shutil.copytree(PLAIN.folder, folder)
    first = started(runtime, SPARSE_ACLIB_PATH=str(tmp_path))
    unknown = target(runtime, ["own", *positional(*CONFIG)[1:]])
    assert "unknown variant 'own'" in unknown.stderr
    second = started(runtime)
    with (folder / "algorithm.py").open("a") as file:
        file.write("\n# changed\n")
    words = ["own", *positional(*CONFIG)[1:]]
    assert "SUCCESS" in target(runtime, words, SPARSE_ACLIB_PATH=str(tmp_path)).stdout
    third = new_server(runtime, [first, second])
    assert set(servers(runtime)) == {second, third}


def test_a_server_is_started_by_the_second_call_that_misses_it(runtime: Path) -> None:
    """Where each has an environment of its own, none would be asked."""
    for number in range(3):
        target(runtime, positional(*CONFIG), ROOT, TMPDIR=f"/tmp/{number}")
    time.sleep(1.0)
    assert servers(runtime) == []
    target(runtime, positional(*CONFIG), ROOT, TMPDIR="/tmp/1")
    new_server(runtime, [])


def identity_of(*before: str, **more: str) -> str:
    """Of a process that has been started so."""
    code = "import os; from wrappers import client; print(client.identity([], os.environ))"
    words = [*before, sys.executable, "-c", code]
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=plain | more)
    return done.stdout


def test_what_a_trial_may_depend_on_is_of_a_servers_identity() -> None:
    same = identity_of()
    for name in ("LC_CTYPE", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TMPDIR", "SLURM_JOB_ID"):
        assert identity_of(**{name: "0"}) != same, name
    assert identity_of(A="1", B="2") != identity_of(A="1\nB=2")
    for start in ("nice -n 1", "prlimit --nofile=1000", "prlimit --cpu=900", "chrt --batch 0"):
        assert identity_of(*start.split()) != same, start
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("cgroup", "mnt", "pid", "user")]
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    assert all(each in same for each in (*spaces, *groups))


def test_what_it_cannot_depend_on_is_not() -> None:
    same = identity_of()
    for name in ("SSH_CONNECTION", "TERM", "SHLVL", "OLDPWD", "SLURM_STEP_ID", "SLURM_TASK_PID"):
        assert identity_of(**{name: "0"}) == same, name
    for start in ("prlimit --nofile=1000:", "prlimit --cpu=900:", "taskset 1", "env -C /"):
        assert identity_of(*start.split()) == same, start


def test_a_caller_in_other_namespaces_is_told_to_end(runtime: Path) -> None:
    """There a server's process has no number by which it could be told."""
    started(runtime)
    inside = ["unshare", "-Urpf", "--mount-proc", "timeout", "-s", "TERM", "3"]
    if subprocess.run([*inside[:3], "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    done = subprocess.run(
        [*inside, *command(positional(*CONFIG, options=LONG))],
        env=environment(runtime),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.startswith("Result for ParamILS: CRASHED, ")
    assert done.stderr == "target: CRASHED: stopped by SIGTERM\n"


def test_a_stopped_server_is_given_up_at_once_and_its_place_taken(runtime: Path) -> None:
    stopped = started(runtime)
    os.kill(stopped, signal.SIGSTOP)
    start = time.monotonic()
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    assert time.monotonic() - start < 8.0
    for _ in range(100):
        place, pids = path(runtime), servers(runtime)
        if len(pids) == 2 and answers(place):
            break
        time.sleep(0.05)
    (new,) = set(pids) - {stopped}
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    os.kill(stopped, signal.SIGCONT)
    assert alone(runtime, new)
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    assert alone(runtime, new)


def alone(runtime: Path, server: int) -> bool:
    """Whether it is the only one soon; the fork that has answered a call is gone a moment later."""
    for _ in range(150):
        if servers(runtime) == [server]:
            return True
        time.sleep(0.1)
    return False


def answers(place: Path) -> bool:
    """Whether a server there takes what is sent, and ends the connection."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(0.2)
        try:
            stranger.connect(str(place))
            stranger.shutdown(socket.SHUT_WR)
            return stranger.recv(100) == REFUSED
        except OSError:
            return False


def test_a_caller_that_cannot_be_served_leaves_the_server_to_others(
    runtime: Path, tmp_path: Path
) -> None:
    pid = started(runtime)
    gone = [
        "bash",
        "-c",
        'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"',
        str(tmp_path / "gone"),
    ]
    for _ in range(3):
        done = subprocess.run(
            [*gone, *command(positional(*CONFIG))],
            env=environment(runtime),
            capture_output=True,
            text=True,
        )
        assert "SUCCESS" in done.stdout, done.stderr
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(path(runtime)))
        content = b"another\0/\x0018\x000\0\0own"
        socket.send_fds(stranger, [struct.pack("!I", len(content)) + content], [2])
        assert stranger.recv(100) == REFUSED
    time.sleep(1.5)
    assert servers(runtime) == [pid]


def test_a_server_holds_nothing_of_its_first_caller(runtime: Path, tmp_path: Path) -> None:
    """Neither its folder nor what it has open; nor do its softer limits bind it."""
    files = [os.open(ROOT, os.O_RDONLY) for _ in range(3)]
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 1500) for file in files]
    before = servers(runtime)
    for _ in range(2):
        subprocess.run(
            ["prlimit", "--cpu=900:", *command([PLAIN.name, "malformed"])],
            cwd=tmp_path,
            env=environment(runtime),
            pass_fds=[*files, *high],
        )
    pid = new_server(runtime, before)
    held = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
    assert str(ROOT) not in held and os.readlink(f"/proc/{pid}/cwd") == "/"
    soft, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
    assert soft == hard
    for file in (*files, *high):
        os.close(file)


def test_the_callers_folder_and_limits_hold(runtime: Path, tmp_path: Path) -> None:
    """A relative folder of data is in the caller's; who may write no file prepares no data."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    pid = started(runtime, here, SPARSE_ACLIB_DATA="data")
    for folder in (here, there):
        done = target(runtime, positional(*CONFIG), folder, SPARSE_ACLIB_DATA="data")
        assert "SUCCESS" in done.stdout and (folder / "data").is_dir()
    limited = f"ulimit -S -f 0; exec {shlex.join(command(positional(*CONFIG)))}"
    shutil.rmtree(there / "data")
    answer = subprocess.run(
        ["bash", "-c", limited],
        capture_output=True,
        text=True,
        cwd=there,
        env=environment(runtime, SPARSE_ACLIB_DATA="data"),
    )
    assert "SUCCESS" not in answer.stdout
    assert servers(runtime) == [pid]


def test_a_folder_that_others_can_write_to_is_not_used(runtime: Path) -> None:
    folder = runtime / f"sparse-aclib-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    assert "SUCCESS" in target(runtime, positional(*CONFIG)).stdout
    assert servers(runtime) == [] and list(folder.iterdir()) == []


def serving(place: Path, idle: float) -> "subprocess.Popen[bytes]":
    code = f"from wrappers import server; server.IDLE = {idle}; server.main({str(place)!r}, '')"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ))


def test_a_server_ends_when_nobody_calls_and_leaves_no_socket(runtime: Path) -> None:
    assert serving(runtime / "s", 0.3).wait(timeout=30) == 0
    assert [file.name for file in runtime.iterdir()] == ["missed"]


def test_whom_it_refuses_does_not_keep_a_server(runtime: Path) -> None:
    process = serving(runtime / "s", 1.0)
    until = time.monotonic() + 30.0
    while process.poll() is None and time.monotonic() < until:
        answers(runtime / "s")
        time.sleep(0.3)
    assert process.poll() == 0


def test_the_number_of_servers_is_bounded_and_the_one_not_used_for_longest_leaves(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_SERVERS", 2)
    first, second = (server._Place(runtime / name) for name in ("first", "second"))
    for place, age in ((first, 20), (second, 10)):
        os.utime(place.path, (time.time() - age,) * 2)
    first.used()
    third = server._Place(runtime / "third")
    assert [place.is_ours for place in (first, second, third)] == [True, False, True]
    again = server._Place(runtime / "third")
    assert [place.is_ours for place in (first, third, again)] == [True, False, True]
    third.leave()
    assert again.is_ours
    for place in (first, second, third, again):
        place.listener.close()


def test_requests_are_parsed_to_the_letter() -> None:
    content = b"same\0/folder\x0018\x000 1\x007:1024\0own\0-a\0b c"
    request = server.parse(content)
    assert request == server.Request(
        "same", "/folder", 18, (0, 1), ((7, 1024),), ("own", "-a", "b c")
    )
    for damaged in (b"", b"a\0b\0c\0d\0e", content.replace(b"7:1024", b"7")):
        with pytest.raises(ValueError):
            server.parse(damaged)
