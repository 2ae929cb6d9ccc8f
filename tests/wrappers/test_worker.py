"""Limits and faults of a trial, with a stand-in for the training in the forked child."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import target_algorithms.trial as trial
from target_algorithms.errors import BadInput
from wrappers.evaluator import Workers, environment
from wrappers.space import variant_space
from wrappers.worker import run_limited

REQUEST: dict[str, Any] = {"cutoff": 20.0, "memory_limit": 4096}
Training = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Training], None]:
    """Replaces what the child does by a function of the test's."""
    return lambda function: monkeypatch.setattr(trial, "run", function)


def test_a_result_comes_back_with_what_was_measured_outside(
    training: Callable[[Training], None],
) -> None:
    training(lambda request: {"cost": 0.25, "misc": {}})
    result = run_limited(REQUEST)
    assert (result["status"], result["cost"], result["error"]) == ("SUCCESS", 0.25, None)
    assert 0 < result["runtime"] < 20 and result["peak_memory"] > 1 and result["cpu_time"] >= 0


def test_a_trial_past_its_cutoff_is_killed_and_has_the_worst_cost(
    training: Callable[[Training], None],
) -> None:
    training(lambda request: time.sleep(60) or {})
    start = time.monotonic()
    result = run_limited(REQUEST | {"cutoff": 0.3})
    assert (result["status"], result["cost"], result["runtime"]) == ("TIMEOUT", 1.0, 0.3)
    assert time.monotonic() - start < 5
    assert "cutoff of 0.3 s" in result["error"]


def test_a_trial_past_its_memory_is_killed(training: Callable[[Training], None]) -> None:
    def hoard(request: Mapping[str, Any]) -> dict[str, Any]:
        kept = []
        while True:
            kept.append(b"x" * (8 << 20))
            time.sleep(0.001)

    training(hoard)
    before = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    result = run_limited(REQUEST | {"memory_limit": before + 200})
    assert (result["status"], result["cost"]) == ("TIMEOUT", 1.0)
    assert "memory limit" in result["error"]


def test_a_trial_that_is_over_its_memory_between_two_looks_does_not_get_by(
    training: Callable[[Training], None],
) -> None:
    def spike(request: Mapping[str, Any]) -> dict[str, Any]:
        kept = b"x" * (300 << 20)
        return {"cost": 0.25, "misc": {"kept": len(kept)}}

    training(spike)
    before = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    for limit, status in ((before + 100, "TIMEOUT"), (before + 2000, "SUCCESS")):
        assert run_limited(REQUEST | {"memory_limit": limit})["status"] == status


def test_python_running_out_of_memory_counts_as_the_memory_limit(
    training: Callable[[Training], None],
) -> None:
    def fail(request: Mapping[str, Any]) -> dict[str, Any]:
        raise MemoryError

    training(fail)
    assert "memory limit" in run_limited(REQUEST)["error"]


def test_a_fault_is_crashed_bad_input_is_abort_and_both_say_why(
    training: Callable[[Training], None],
) -> None:
    def crash(request: Mapping[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("of\nthe weights")

    training(crash)
    result = run_limited(REQUEST)
    assert (result["status"], result["cost"]) == ("CRASHED", 1.0)
    assert result["error"] == "ZeroDivisionError: of the weights"

    def refuse(request: Mapping[str, Any]) -> dict[str, Any]:
        raise BadInput("unknown instance x")

    training(refuse)
    result = run_limited(REQUEST)
    assert (result["status"], result["error"]) == ("ABORT", "unknown instance x")


def test_a_child_that_is_killed_from_outside_is_crashed(
    training: Callable[[Training], None],
) -> None:
    training(lambda request: os.kill(os.getpid(), signal.SIGKILL) or {})
    assert run_limited(REQUEST)["error"] == "the trial ended without a result (signal 9)"


def test_children_of_the_trial_end_with_it(
    training: Callable[[Training], None], tmp_path: Path
) -> None:
    def leave_a_child(request: Mapping[str, Any]) -> dict[str, Any]:
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "pid").write_text(str(child.pid))
        return {"cost": 0.5, "misc": {}}

    training(leave_a_child)
    assert run_limited(REQUEST)["cost"] == 0.5
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


def test_a_worker_that_dies_costs_at_most_one_trial_and_is_replaced() -> None:
    request = {
        "variant": "dense",
        "options": {"training_samples": 200, "hidden": [16]},
        "instance": "sklearn/digits/0/0",
        "seed": 1,
        "config": variant_space("dense").default,
        "cutoff": 20.0,
        "memory_limit": 4096,
    }
    with Workers(1) as workers:
        first = workers.submit(request).result()
        os.kill(int(first["worker"].split(":")[1]), signal.SIGKILL)
        lost, last = (workers.submit(request).result() for _ in range(2))
    assert lost["status"] in ("SUCCESS", "CRASHED")
    assert first["status"] == last["status"] == "SUCCESS" and first["cost"] == last["cost"]
    assert last["worker"] != first["worker"]


def test_a_worker_and_its_trial_end_with_the_process_that_asked() -> None:
    asker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json, sys, time\n"
            "from wrappers.evaluator import Worker\n"
            "worker = Worker(); worker.start(); print(worker.pid, flush=True); time.sleep(60)\n",
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
