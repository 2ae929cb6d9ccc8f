"""Runs: budget, record, resuming after a kill at any moment."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from target_algorithms.errors import BadInput
from wrappers import configurators
from wrappers.configurators import random_search
from wrappers.evaluator import environment
from wrappers.files import append_line, read_lines
from wrappers.run import (
    BudgetExhausted,
    open_run,
    run_folder,
    training_pairs,
    validation_pairs,
)
from wrappers.scenario import Scenario, read

VOLATILE = ("runtime", "cpu_time", "peak_memory", "started", "worker")
"""Columns of a runhistory that differ between two runs that are equal."""


@pytest.fixture
def rigl(suite: Path) -> Scenario:
    """RigL on digits, 600 samples a trial."""
    return read(suite / "scenarios/digits/rigl")


def stable(folder: Path) -> list[dict[str, Any]]:
    """A runhistory in the order of its trials without what the clock decides."""
    records = read_lines(folder / "runhistory.jsonl")
    kept = [{k: v for k, v in r.items() if k not in VOLATILE} for r in records]
    return sorted(kept, key=lambda record: record["trial"])


def test_all_runs_with_a_seed_share_pairs_in_blocks_of_all_training_instances(
    rigl: Scenario,
) -> None:
    pairs = training_pairs(rigl, seed=3, trials=25)
    assert pairs == training_pairs(rigl, seed=3, trials=25)
    assert len(pairs) == 30 and len(set(pairs)) == 30
    for block in (pairs[:10], pairs[10:20], pairs[20:]):
        assert sorted(instance for instance, _ in block) == sorted(rigl.training)
        assert len({seed for _, seed in block}) == 1
    assert pairs[:25] != training_pairs(rigl, seed=4, trials=25)[:25]


def test_validation_uses_test_instances_and_seeds_that_no_run_trains_with(rigl: Scenario) -> None:
    validation = validation_pairs(rigl, seeds=5)
    assert {instance for instance, _ in validation} == set(rigl.test)
    trained = {s for seed in range(30) for _, s in training_pairs(rigl, seed, 200)}
    assert not trained & {seed for _, seed in validation}


def test_a_configurator_cannot_exceed_its_budget_and_known_trials_are_free(
    rigl: Scenario, tmp_path: Path
) -> None:
    with open_run(tmp_path, rigl, "default", seed=1, trials=3, workers=1) as run:
        default = run.space.default
        first = run.evaluate(default, 0)
        assert run.evaluate(default, 0) == first and run.remaining == 2
        with pytest.raises(BudgetExhausted):
            run.evaluate_many([(default, pair) for pair in range(5)])
        assert run.remaining == 0
    # What was left of the budget is evaluated and recorded before the exception.
    assert [r["trial"] for r in stable(run.folder)] == [1, 2, 3]


def test_a_configurator_that_only_asks_for_known_trials_is_stopped(
    rigl: Scenario, tmp_path: Path
) -> None:
    with open_run(tmp_path, rigl, "default", seed=1, trials=2, workers=1) as run:
        with pytest.raises(BudgetExhausted):
            while True:
                run.evaluate(run.space.default, 0)


def test_the_same_seed_gives_the_same_run_whatever_the_number_of_workers(
    rigl: Scenario, tmp_path: Path
) -> None:
    folders = [
        configurators.execute(rigl, "random_search", 5, 12, workers, tmp_path / str(workers))
        for workers in (1, 2)
    ]
    one, two = map(stable, folders)
    assert one == two and len(one) == 12
    assert one[0]["config"] == read_lines(folders[0] / "trajectory.jsonl")[0]["config"]


def test_random_search_asks_other_configurations_with_another_seed(
    rigl: Scenario, tmp_path: Path
) -> None:
    runs = [
        {
            r["config_id"]
            for r in stable(configurators.execute(rigl, "random_search", n, 8, 1, tmp_path))
        }
        for n in (1, 2)
    ]
    assert len(runs[0] & runs[1]) == 1  # the default


@pytest.mark.parametrize("configurator", ["random_search", "smac"])
def test_a_run_killed_again_and_again_ends_like_an_uninterrupted_one(
    suite: Path, rigl: Scenario, tmp_path: Path, configurator: str
) -> None:
    trials = 16

    def command(results: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "wrappers.cli", "run", str(suite / "scenarios/digits/rigl")),
            *("--configurator", configurator, "--seed", "7", "--trials", str(trials), "--quiet"),
            *("--results", str(results)),
        ]

    # Another salt for text hashes in every process, as on any other day.
    uninterrupted = command(tmp_path / "whole")
    subprocess.run(uninterrupted, env=environment() | {"PYTHONHASHSEED": "2"}, check=True)
    whole = run_folder(tmp_path / "whole", rigl, configurator, 7)
    killed = command(tmp_path / "killed")
    folder = run_folder(tmp_path / "killed", rigl, configurator, 7)
    kills = 0
    for done in (2, 7, 11):
        process = subprocess.Popen(killed, env=environment() | {"PYTHONHASHSEED": str(done)})
        while process.poll() is None:
            history = folder / "runhistory.jsonl"
            if history.exists() and len(history.read_bytes().splitlines()) >= done:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        process.wait()
    before = (folder / "runhistory.jsonl").read_bytes()
    assert kills == 3 and 11 <= len(before.splitlines()) < trials
    subprocess.run(killed, env=environment(), check=True)
    after = (folder / "runhistory.jsonl").read_bytes()
    complete = before[: before.rfind(b"\n") + 1]
    assert after.startswith(complete), "a recorded trial was lost or evaluated again"
    assert stable(folder) == stable(whole)
    assert read_lines(folder / "trajectory.jsonl") == read_lines(whole / "trajectory.jsonl")
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"


def test_a_torn_last_line_is_dropped_with_a_word_and_its_trial_evaluated_again(
    rigl: Scenario, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = configurators.execute(rigl, "random_search", 1, 6, 1, tmp_path)
    expected = stable(folder)
    history = folder / "runhistory.jsonl"
    history.write_bytes(history.read_bytes()[:-40])
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"state": "running"}))
    configurators.execute(rigl, "random_search", 1, 6, 1, tmp_path)
    assert stable(folder) == expected
    assert "dropped a torn last line" in capfd.readouterr().err


def test_an_unreadable_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "runhistory.jsonl"
    append_line(file, {"trial": 1})
    with open(file, "a") as lines:
        lines.write("{oops\n")
    append_line(file, {"trial": 3})
    with pytest.raises(BadInput, match=r"runhistory\.jsonl:2: not a JSON record"):
        read_lines(file)


def test_a_finished_run_is_not_repeated_and_another_budget_in_its_folder_is_refused(
    rigl: Scenario, tmp_path: Path
) -> None:
    folder = configurators.execute(rigl, "random_search", 1, 4, 1, tmp_path)
    before = (folder / "runhistory.jsonl").read_bytes()
    configurators.execute(rigl, "random_search", 1, 4, 1, tmp_path)
    assert (folder / "runhistory.jsonl").read_bytes() == before
    with pytest.raises(BadInput, match="has trials 4, asked for was 9"):
        configurators.execute(rigl, "random_search", 1, 9, 1, tmp_path)


@pytest.mark.irace
def test_a_budget_too_small_for_irace_names_the_least_and_binds_no_later_run(
    rigl: Scenario, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="irace can't work with 20 trials, it needs 24 at least"):
        configurators.execute(rigl, "irace", 1, 20, 1, tmp_path)
    folder = configurators.execute(rigl, "irace", 1, 24, 1, tmp_path)
    assert 0 < len(stable(folder)) <= 24


def test_a_changed_scenario_does_not_go_on_in_the_old_record(
    suite: Path, rigl: Scenario, tmp_path: Path
) -> None:
    configurators.execute(rigl, "random_search", 1, 2, 1, tmp_path)
    file = suite / "scenarios/digits/rigl/scenario.txt"
    file.write_text(file.read_text().replace("--training-samples 600", "--training-samples 601"))
    with pytest.raises(BadInput, match="another version of scenario"):
        configurators.execute(read(file), "random_search", 1, 2, 1, tmp_path)


def test_changed_instances_do_not_go_on_in_the_old_record(
    suite: Path, rigl: Scenario, tmp_path: Path
) -> None:
    configurators.execute(rigl, "random_search", 1, 2, 1, tmp_path)
    file = suite / "scenarios/digits/training.txt"
    file.write_text("\n".join(file.read_text().splitlines()[1:]))
    with pytest.raises(BadInput, match="another version of instances"):
        configurators.execute(read(rigl.path), "random_search", 1, 2, 1, tmp_path)


def test_a_finished_run_keeps_what_it_says_of_its_machine_and_versions(
    rigl: Scenario, tmp_path: Path
) -> None:
    folder = configurators.execute(rigl, "default", 1, 2, 1, tmp_path)
    about = json.loads((folder / "run.json").read_text())
    about["versions"]["torch"] = about["hardware"]["processor"] = "of another machine"
    (folder / "run.json").write_text(json.dumps(about))
    configurators.execute(rigl, "default", 1, 2, 1, tmp_path)
    assert json.loads((folder / "run.json").read_text()) == about
    (folder / "run.json").write_text(json.dumps(about | {"state": "running"}))
    with pytest.raises(BadInput, match="another version of torch"):
        configurators.execute(rigl, "default", 1, 2, 1, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"state": "finished"}'])
def test_a_damaged_run_json_is_one_line(rigl: Scenario, tmp_path: Path, text: str) -> None:
    folder = configurators.execute(rigl, "default", 1, 2, 1, tmp_path)
    (folder / "run.json").write_text(text)
    with pytest.raises(BadInput, match="no readable run.json"):
        configurators.execute(rigl, "default", 1, 2, 1, tmp_path)


def test_two_processes_cannot_work_on_one_run(rigl: Scenario, tmp_path: Path) -> None:
    with open_run(tmp_path, rigl, "default", seed=1, trials=3, workers=1):
        with pytest.raises(BadInput, match="another process is working on this run"):
            with open_run(tmp_path, rigl, "default", seed=1, trials=3, workers=1):
                pass


def test_an_instance_that_cannot_be_read_stops_the_run_with_its_reason(
    suite: Path, tmp_path: Path
) -> None:
    folder = suite / "scenarios/digits"
    (folder / "training.txt").write_text("sklearn/digits/0/0\nsklearn/nosuch/0/1")
    rows = (folder / "features.csv").read_text().splitlines()
    rows.append(rows[1].replace("sklearn/digits/0/0", "sklearn/nosuch/0/1"))
    (folder / "features.csv").write_text("\n".join(rows))
    with pytest.raises(BadInput, match="nosuch"):
        configurators.execute(read(folder / "rigl"), "default", 1, 2, 1, tmp_path)


def test_the_columns_of_a_record_are_those_that_the_results_readme_documents(
    rigl: Scenario, tmp_path: Path
) -> None:
    folder = configurators.execute(rigl, "default", 1, 1, 1, tmp_path)
    text = (Path(__file__).resolve().parents[2] / "results/README.md").read_text()
    sections = {re.split(r"[:,\n]", part, maxsplit=1)[0]: part for part in text.split("\n## ")}
    for name in ("runhistory.jsonl", "trajectory.jsonl"):
        documented = set(re.findall(r"`(\w+)`", " ".join(_first_cells(sections[name]))))
        assert set(read_lines(folder / name)[0]) == documented, name
    about = json.loads((folder / "run.json").read_text())
    documented = set(re.findall(r"`(\w+)`", " ".join(_first_cells(sections["run.json"]))))
    assert set(about) == documented


def _first_cells(section: str) -> list[str]:
    return [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]


def test_random_search_is_short_enough_to_be_the_template() -> None:
    source = Path(random_search.__file__).read_text().splitlines()
    assert len(source) <= 50
