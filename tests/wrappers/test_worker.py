"""Limits and faults of a trial, with a stand-in for the training in the forked child."""

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import target_algorithms.trial as trials
from sparse_training.errors import BadInput, OverBudget
from target_algorithms.contract import Details, Options, Trained, Trial
from tests.examples import REFERENCE, config_of
from wrappers.evaluator import Evaluator, Lost
from wrappers.processes import ONE_THREAD, environment
from wrappers.warm import WorkerProcess
from wrappers.worker import run_limited

ASKED = Trial(
    variant=REFERENCE.name,
    folder=str(REFERENCE.folder),
    options=Options(training_samples=200, hidden=(16,)),
    instance="sklearn/digits/0/0",
    seed=1,
    config=config_of(REFERENCE),
    cutoff=20.0,
)
Training = Callable[[Trial], Trained]


def within(memory_limit: int) -> Trial:
    """The trial with another limit of memory, MiB."""
    return replace(ASKED, options=replace(ASKED.options, memory_limit=memory_limit))


def trained(cost: float = 0.25) -> Trained:
    return Trained(
        cost=cost,
        active_weights=1184,
        weights=1184,
        density=1.0,
        training_flops=1e6,
        inference_flops=2368.0,
        engine="sparse",
        misc=Details(test_rows=2),
    )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Training], None]:
    """Replaces what the child does by a function of the test's."""
    return lambda function: monkeypatch.setattr(trials, "run", function)


def resting(training: Callable[[Training], None]) -> int:
    """Memory of a child that does nothing, MiB: less than its parent's, whose files it lacks."""
    training(lambda asked: trained())
    return int(run_limited(ASKED).peak_memory) + 1


def test_a_result_comes_back_with_what_was_measured_outside(
    training: Callable[[Training], None],
) -> None:
    training(lambda asked: trained())
    result = run_limited(ASKED)
    assert (result.status, result.trained, result.error) == ("SUCCESS", trained(), None)
    assert result.cost == 0.25
    assert 0 < result.runtime < 20 and result.peak_memory > 1 and result.cpu_time >= 0


def test_a_trial_past_its_cutoff_is_killed_and_has_the_worst_cost(
    training: Callable[[Training], None],
) -> None:
    def sleep(asked: Trial) -> Trained:
        time.sleep(60)
        return trained()

    training(sleep)
    start = time.monotonic()
    result = run_limited(replace(ASKED, cutoff=0.3))
    assert (result.status, result.cost) == ("TIMEOUT", 1.0) and result.runtime >= 0.3
    assert time.monotonic() - start < 5
    assert "cutoff of 0.3 s" in str(result.error)


def test_a_trial_past_its_memory_is_killed(training: Callable[[Training], None]) -> None:
    def hoard(asked: Trial) -> Trained:
        kept = []
        while True:
            kept.append(b"x" * (8 << 20))
            time.sleep(0.001)

    before = resting(training)
    training(hoard)
    result = run_limited(within(before + 200))
    assert (result.status, result.cost) == ("TIMEOUT", 1.0)
    assert "memory limit" in str(result.error)


def test_a_trial_that_is_over_its_memory_between_two_looks_does_not_get_by(
    training: Callable[[Training], None],
) -> None:
    def spike(asked: Trial) -> Trained:
        kept = b"x" * (300 << 20)
        return replace(trained(), weights=len(kept))

    before = resting(training)
    training(spike)
    for limit, status in ((before + 100, "TIMEOUT"), (before + 2000, "SUCCESS")):
        assert run_limited(within(limit)).status == status


def test_python_running_out_of_memory_counts_as_the_memory_limit(
    training: Callable[[Training], None],
) -> None:
    def fail(asked: Trial) -> Trained:
        raise MemoryError

    training(fail)
    assert "memory limit" in str(run_limited(ASKED).error)


def test_a_configuration_over_the_budget_has_the_worst_cost_and_stops_nobody(
    training: Callable[[Training], None],
) -> None:
    def refuse(asked: Trial) -> Trained:
        raise OverBudget("norm batch takes 40 of 9 active weights: expected less")

    training(refuse)
    result = run_limited(ASKED)
    assert (result.status, result.cost, result.trained) == ("SUCCESS", 1.0, None)
    assert result.error == "norm batch takes 40 of 9 active weights: expected less"
    assert result.runtime > 0.0


def test_a_fault_is_crashed_bad_input_is_abort_and_both_say_why(
    training: Callable[[Training], None],
) -> None:
    def crash(asked: Trial) -> Trained:
        raise ZeroDivisionError("of\nthe weights")

    training(crash)
    result = run_limited(ASKED)
    assert (result.status, result.cost) == ("CRASHED", 1.0)
    assert result.error == "ZeroDivisionError: of the weights"

    def refuse(asked: Trial) -> Trained:
        raise BadInput("unknown instance x")

    training(refuse)
    result = run_limited(ASKED)
    assert (result.status, result.error) == ("ABORT", "unknown instance x")


def dying(times: int, number: int, counted: Path) -> Training:
    """A training that a signal ends so many times."""

    def die(asked: Trial) -> Trained:
        with counted.open("a") as file:
            file.write("x")
        if counted.stat().st_size <= times:
            faulthandler.disable()
            os.kill(os.getpid(), number)
            time.sleep(60)
        return trained()

    return die


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU, signal.SIGBUS])
def test_a_child_that_somebody_else_ends_is_no_result_but_run_again(
    training: Callable[[Training], None], tmp_path: Path, number: int
) -> None:
    training(dying(1, number, tmp_path / "once"))
    result = run_limited(ASKED)
    assert (result.status, result.trained) == ("SUCCESS", trained())
    training(dying(2, number, tmp_path / "twice"))
    result = run_limited(ASKED)
    assert result.status == "ABORT" and "was ended from outside twice" in str(result.error)
    assert (tmp_path / "twice").stat().st_size == 2


def test_a_child_that_ends_itself_by_a_fault_is_crashed(
    training: Callable[[Training], None], tmp_path: Path
) -> None:
    training(dying(1, signal.SIGSEGV, tmp_path / "times"))
    result = run_limited(ASKED)
    assert (result.status, result.cost) == ("CRASHED", 1.0)
    assert result.error == "the trial ended without a result (signal 11)"
    assert (tmp_path / "times").stat().st_size == 1


def test_a_trial_without_a_process_is_no_result(
    training: Callable[[Training], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    result = run_limited(ASKED)
    assert result.status == "ABORT" and "Resource temporarily unavailable" in str(result.error)


def test_a_process_with_several_threads_does_not_become_one_that_forks_trials() -> None:
    """Locks that others hold at a fork could stay closed in the child for ever."""
    code = (
        "import threading, wrappers.worker as worker\n"
        "worker.load()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "worker.load()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: a process that forks trials has 2 threads, expected 1"
    )
    assert done.stderr.count("in <module>") == 1 and "line 4, in <module>" in done.stderr


def test_a_worker_has_one_thread_whatever_its_caller_has_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "4")
    masked = replace(ASKED, options=replace(ASKED.options, engine="masked"))
    with closing(WorkerProcess()) as worker:
        for trial in (ASKED, masked):
            assert worker.run(trial).status == "SUCCESS"
            assert len(os.listdir(f"/proc/{worker.pid}/task")) == 1


def test_children_of_the_trial_end_with_it(
    training: Callable[[Training], None], tmp_path: Path
) -> None:
    def leave_a_child(asked: Trial) -> Trained:
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "pid").write_text(str(child.pid))
        return trained(0.5)

    training(leave_a_child)
    assert run_limited(ASKED).cost == 0.5
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} outlived its trial")


def killer(evaluator: Evaluator, times: int) -> threading.Thread:
    """Kills the evaluator's worker as soon as it is at work, so many times."""

    def kill() -> None:
        killed = {0}
        while len(killed) <= times:
            worker = evaluator.workers[0]
            pid = worker.pid if isinstance(worker, WorkerProcess) else 0
            children = f"/proc/{pid}/task/{pid}/children"
            if pid not in killed and os.path.exists(children) and Path(children).read_text():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.001)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


LONG = replace(ASKED, options=replace(ASKED.options, training_samples=10_000_000))


def test_a_worker_that_is_killed_costs_no_trial() -> None:
    with Evaluator(1) as evaluator:
        first = evaluator.submit(ASKED).result()
        os.kill(int(first.worker.split(":")[1]), signal.SIGKILL)
        second, third = (evaluator.submit(ASKED).result() for _ in range(2))
    assert first.status == second.status == third.status == "SUCCESS"
    assert first.trained == second.trained == third.trained
    assert second.worker != first.worker


def test_a_trial_whose_worker_is_killed_twice_stops_the_run_without_a_record() -> None:
    with Evaluator(1) as evaluator:
        thread = killer(evaluator, 2)
        with pytest.raises(
            Lost, match=r"lost its worker twice \(killed\).*the same command goes on"
        ):
            evaluator.submit(LONG).result()
        thread.join()
        assert evaluator.submit(ASKED).result().status == "SUCCESS"


def test_a_worker_and_its_trial_end_with_the_process_that_asked() -> None:
    asker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "from wrappers.warm import WorkerProcess\n"
            "worker = WorkerProcess(); worker.start()\n"
            "print(worker.pid, flush=True); time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert asker.stdout
    pid = int(asker.stdout.readline())
    asker.kill()
    asker.wait()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.02)
    raise AssertionError("the worker outlived its parent")
