"""One benchmark by several processes, by job arrays and by a real SLURM: the same records."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from commands.benchmark import Benchmark, Shard
from tests.commands import fake_slurm
from tests.examples import BASELINE, DEFAULT_ONLY, PLAIN
from tests.slurm import said, two_nodes
from wrappers.configurators import TEMPLATE
from wrappers.locks import locked
from wrappers.processes import environment
from wrappers.progress import BENCHMARKS, OUTPUT, State, progress
from wrappers.records import RUNHISTORY, TRAJECTORY, VALIDATION

TRIALS = 40
WORDS = [
    *("digits", "--variants", f"{BASELINE.name},{PLAIN.name}"),
    *("--configurators", f"{DEFAULT_ONLY.name},{TEMPLATE.stem}", "--trials", str(TRIALS)),
    *("--seeds", "2", "--validation-seeds", "1"),
]
PLAN = Benchmark(
    sets=("digits",),
    variants=(BASELINE.name, PLAIN.name),
    configurators=(DEFAULT_ONLY.name, TEMPLATE.stem),
    trials=TRIALS,
    seeds=2,
    validation_seeds=1,
    workers=1,
    results=Path("results"),
)
"""The same as an object."""

ELSEWHERE = ("runtime", "cpu_time", "peak_memory", "started", "worker", "checksum")
"""What of a record the clock and the machine decide."""


def command(results: Path, *words: str) -> list[str]:
    own = ["benchmark", *WORDS, "--results", str(results), *words]
    return [sys.executable, "-m", "commands", *own]


def benchmark(results: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(results, *words), env=environment(), capture_output=True, text=True
    )


def begun(results: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(results, *words),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def records(results: Path) -> dict[str, list[str]]:
    """Of every run what the clock, the machine and the order of processes do not decide."""
    return {
        f"{path.parent.relative_to(results)}/{name}": sorted(
            json.dumps({k: v for k, v in json.loads(line).items() if k not in ELSEWHERE})
            for line in path.read_text().splitlines()
        )
        for name in (RUNHISTORY, TRAJECTORY, VALIDATION)
        for path in results.glob(f"*/*/*/seed-*/{name}")
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The records of one process that nobody disturbs."""
    results = tmp_path_factory.mktemp("alone")
    done = benchmark(results, "--workers", "2")
    assert done.returncode == 0, done.stderr
    found = records(results)
    assert len(found) == 3 * len(PLAN.jobs())
    return found


def wait_for(results: Path, trials: int) -> None:
    """Until so many trials are recorded."""
    end = time.monotonic() + 120
    while lines_of(results) < trials:
        assert time.monotonic() < end
        time.sleep(0.02)


def lines_of(results: Path) -> int:
    files = results.glob(f"*/*/*/seed-*/{RUNHISTORY}")
    return sum(len(path.read_bytes().splitlines()) for path in files)


# Without SLURM -----------------------------------------------------------------------------------


def test_shards_are_disjoint_and_together_everything_on_any_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = [job.folder for job in PLAN.jobs()]
    for of in (1, 3, 9):
        parts = [[job.folder for job in PLAN.jobs(Shard(i + 1, of))] for i in range(of)]
        assert sorted(sum(parts, [])) == sorted(everything)
    whole = replace(PLAN, configurators=None)
    there = [whole.jobs(Shard(i, 3)) for i in (1, 2, 3)]
    lost = there[0][-1].configurator
    monkeypatch.setattr(type(lost), "missing", property(lambda c: "x" if c == lost else None))
    here = [whole.jobs(Shard(i, 3)) for i in (1, 2, 3)]
    assert here == [[job for job in jobs if job.configurator != lost] for jobs in there]
    assert sum(map(len, here)) < sum(map(len, there))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--shard", "3/2"], "expected i/n such as 1/4"),
        (["--shard", "0/2"], "expected i/n such as 1/4"),
        (["--shard", "1/2", "--only", "report"], "there is one report"),
        (["--dry-run"], "--dry-run without --slurm"),
        (["--slurm", "--only", "runs"], "leave out --shard and --only"),
        (["--slurm", "--sbatch", "--array=1"], "this command sets itself"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    tmp_path: Path, words: Sequence[str], said: str
) -> None:
    done = benchmark(tmp_path / "results", *words)
    assert done.returncode == 2 and said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "results").exists()


def test_a_run_that_another_process_works_on_is_waited_for_without_beginning_it(
    tmp_path: Path,
) -> None:
    """It would load its libraries to be told that it is busy."""
    here = tmp_path / PLAN.jobs()[0].folder.relative_to("results")
    with locked(here):
        shard = begun(tmp_path, "--shard", f"1/{len(PLAN.jobs())}")
        time.sleep(6)
        assert shard.poll() is None and not (here / OUTPUT).exists()
    said, _ = shard.communicate(timeout=120)
    assert shard.returncode == 0 and "the same command without --shard" in said
    states = [run.state for run in progress(tmp_path)]
    assert states.count(State.FINISHED) == 1 and states.count(State.WAITING) == len(states) - 1


def test_a_shard_whose_time_ends_before_any_trial_says_so(tmp_path: Path) -> None:
    """Begun again as it is, it would never come further."""
    with locked(tmp_path / PLAN.jobs()[0].folder.relative_to("results")):
        shard = begun(tmp_path, "--shard", f"1/{len(PLAN.jobs())}")
        end = time.monotonic() + 60
        while not (tmp_path / BENCHMARKS).exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)
        shard.terminate()
        said, _ = shard.communicate(timeout=60)
    assert shard.returncode == 2 and "before any trial was finished; give it more time" in said


def test_status_shows_what_is_planned_and_who_works(tmp_path: Path) -> None:
    folder = PLAN.jobs()[0].folder.relative_to("results")
    with locked(tmp_path / folder):
        replace(PLAN, results=tmp_path).note()
        words = [sys.executable, "-m", "commands", "status", str(tmp_path)]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(str(folder))]
    assert line.split()[1:3] == ["running", "0/10"] and f"process {os.getpid()} on" in line
    number = len(PLAN.jobs())
    assert lines[-1].startswith(f"{number} runs: 1 running, {number - 1} waiting; 0 of ")


@pytest.mark.slow
@pytest.mark.faults
def test_two_processes_share_a_benchmark_and_one_goes_on_when_the_other_is_killed(
    tmp_path: Path, alone: dict[str, list[str]]
) -> None:
    both = [begun(tmp_path, "--workers", "1") for _ in range(2)]
    wait_for(tmp_path, 5)
    both[0].kill()
    said, _ = both[1].communicate(timeout=600)
    both[0].communicate()
    assert both[1].returncode == 0, said
    assert records(tmp_path) == alone
    assert {run.state for run in progress(tmp_path)} == {State.FINISHED}


# A SLURM that is played --------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a fake SLURM, its commands first on PATH."""
    folder, tools = tmp_path / "slurm", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    for tool in ("sbatch", "squeue", "scontrol", "srun"):
        (tools / tool).write_text(f"#!{sys.executable}\n{Path(fake_slurm.__file__).read_text()}")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    return folder


def calls(fake: Path, tool: str) -> list[list[str]]:
    file = fake / "calls.jsonl"
    told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [words for words in told if words[0] == tool]


def option(words: Sequence[str], name: str) -> str | None:
    found = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    return found[0] if found else None


def test_a_dry_run_shows_all_and_changes_nothing(tmp_path: Path, fake: Path) -> None:
    results = tmp_path / "it's a\nfolder"
    done = benchmark(results, "--slurm", "--dry-run", "--sbatch", "-A 'my account'")
    assert done.returncode == 0, done.stderr
    assert not results.exists() and not calls(fake, "sbatch") and not calls(fake, "srun")
    for shown in ("runs, 7 of 7 tasks", "--array=1-7", "'my account'", "afterany:JOB_OF_RUNS"):
        assert shown in done.stdout
    assert done.stdout.count("#!/bin/bash") == 3
    shutil.rmtree(tmp_path / "tools")
    assert benchmark(results, "--slurm", "--dry-run").stdout.count("#!/bin/bash") == 3


def test_each_part_waits_for_the_one_before_and_the_queue_is_left_alone(
    tmp_path: Path, fake: Path
) -> None:
    results = tmp_path / "results"
    done = benchmark(results, "--slurm", "--workers", "2", "--sbatch", "--time=5")
    assert done.returncode == 0, done.stderr
    runs, validation, report = calls(fake, "sbatch")
    assert option(runs, "array") == "1-4" and option(runs, "cpus-per-task") == "2"
    assert option(runs, "dependency") is None
    assert option(validation, "dependency") == "afterany:100"
    assert option(report, "dependency") == "afterany:101" and option(report, "array") is None
    assert all("--time=5" in words for words in (runs, validation, report))
    name = option(runs, "job-name")
    (fake / "queue").write_text("".join(f"100|{i}|{name}\n" for i in (1, 2, 4)))
    again = benchmark(results, "--slurm", "--workers", "2")
    assert "3 tasks are queued or under way" in again.stdout
    runs, validation, _ = calls(fake, "sbatch")[3:]
    assert option(runs, "array") == "3"
    assert option(runs, "dependency") == "afterany:100"


def test_what_slurm_says_is_the_answer_where_it_refuses(tmp_path: Path, fake: Path) -> None:
    (fake / "refuses").write_text("sbatch: error: invalid partition specified: nosuch\n")
    done = benchmark(tmp_path / "results", "--slurm", "--sbatch", "-p nosuch")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "sparse-aclib: error: sbatch: sbatch: error: invalid partition" in done.stderr
    assert "locks between nodes were not checked" in done.stdout


def test_a_folder_that_nodes_do_not_share_is_refused_before_anything_is_submitted(
    tmp_path: Path, fake: Path
) -> None:
    said = "locks: F: what one node writes there, another does not see\nsrun: error: n2: task 1"
    (fake / "refuses").write_text(said)
    done = benchmark(tmp_path / "results", "--slurm")
    assert done.returncode == 2 and not calls(fake, "sbatch")
    assert "error: F: what one node writes there, another does not see\n" in done.stderr


@pytest.mark.slow
@pytest.mark.faults
def test_an_array_of_which_tasks_are_killed_and_end_their_time_makes_the_same_records(
    tmp_path: Path, fake: Path, alone: dict[str, list[str]]
) -> None:
    results = tmp_path / "it's"
    (fake / "works").touch()
    array = begun(results, "--slurm", "--workers", "2")
    wait_for(results, 3)
    job, first = next(
        run.owner.job.split("_")
        for run in progress(results)
        if run.state is State.RUNNING and run.owner and run.owner.job
    )
    second = next(n for n in "1234" if n != first)
    bash = {n: int((fake / f"pid-{job}_{n}").read_text()) for n in (first, second)}
    children = Path(f"/proc/{bash[first]}/task/{bash[first]}/children")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    with suppress(ProcessLookupError):  # it may have ended
        os.kill(bash[second], signal.SIGUSR1)
    said, _ = array.communicate(timeout=600)
    assert array.returncode == 0, said
    assert (fake / f"ended-{job}_{first}").read_text() == "137\n"
    unfinished = [run for run in progress(results) if run.state is not State.FINISHED]
    assert unfinished, "the killed task's"
    (report,) = (results / BENCHMARKS).glob("*/report.txt")
    assert "is without" in report.read_text()
    before = len(calls(fake, "sbatch"))
    assert benchmark(results, "--slurm", "--workers", "2").returncode == 0
    assert option(calls(fake, "sbatch")[before], "array") == first
    assert records(results) == alone
    assert {run.state for run in progress(results)} == {State.FINISHED}
    assert benchmark(results, "--slurm", "--workers", "2").stdout.startswith("Nothing is left")


# A real one --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SLURM of two nodes on this machine, found by every command of it."""
    with two_nodes(tmp_path_factory.mktemp("slurm")):
        yield


def ended_early(results: Path) -> str:
    """A task in the middle of its run, which has been told that its wall time is over."""
    end = time.monotonic() + 120
    while True:
        for run in progress(results):
            if run.owner and run.owner.job and 0 < run.done < TRIALS / 2 and run.trials == TRIALS:
                assert run.owner.host in ("n1", "n2")
                # Its own status says nothing: the job may be on its way back to the queue.
                said("scancel", "--signal=USR1", "--batch", run.owner.job)
                return run.owner.job
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm")
def test_a_real_slurm_makes_the_same_records_with_a_task_ended_and_queued_again(
    tmp_path: Path, alone: dict[str, list[str]]
) -> None:
    """The end of its wall time is played by the same signal."""
    results = tmp_path / 'it\'s 100%j "of"\na $folder'
    done = benchmark(results, "--slurm", "--sbatch", "--time=10")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("locks hold from n1 to n2"), done.stdout
    job = ended_early(results)
    end = time.monotonic() + 400
    while queue := said("squeue", "-h", "-r", "-o", "%i %T %r"):
        assert time.monotonic() < end, queue
        if f"{job} PENDING BeginTime" in queue:  # for two minutes, else
            said("scontrol", "update", f"jobid={job}", "starttime=now")
        time.sleep(0.5)
    (report,) = (results / BENCHMARKS).glob("*/report.txt")
    assert "Report: " in report.read_text(), report.read_text()
    assert records(results) == alone
    (output,) = (results / BENCHMARKS).glob(f"*/runs-{job.partition('_')[2]}.txt")
    assert "queued again after status 143" in output.read_text()
    assert benchmark(results, "--slurm").stdout.startswith("Nothing is left to be submitted")
