"""Runs: budget, record, resuming after a kill at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sparse_training.errors import BadInput, Busy
from target_algorithms import ROOT
from target_algorithms.contract import Result, Trial, failure
from tests.examples import CONFIGURING, DEFAULT_ONLY, each_of, scenario_name
from tests.wrappers.cases import FIRST, execute, of_other_code, timeless
from wrappers.configurators import TEMPLATE, Configurator
from wrappers.evaluator import Evaluator
from wrappers.pairs import Pair, ablation_pairs, training_pairs, validation_pairs
from wrappers.processes import environment
from wrappers.records import (
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    Incumbent,
    Numbered,
    RunInfo,
    read_lines,
    read_run,
    write_run,
)
from wrappers.run import Ask, BudgetExhausted, Run, open_run, run_folder
from wrappers.scenario import Scenario, read
from wrappers.space import Config
from wrappers.validation import runs_below, validate


def opened(scenario: Scenario, results: Path, trials: int) -> AbstractContextManager[Run]:
    """A run that the test is the configurator of."""
    info = DEFAULT_ONLY.describe(scenario, seed=1, trials=trials, workers=1)
    return open_run(results, scenario, info)


def stable(folder: Path) -> list[Numbered]:
    """A runhistory in the order of its trials without what the clock decides."""
    kept = map(timeless, read_lines(folder / RUNHISTORY, Numbered))
    return sorted(kept, key=lambda record: record.trial)


def test_all_runs_with_a_seed_share_pairs_in_blocks_of_all_training_instances(
    scenario: Scenario,
) -> None:
    pairs = training_pairs(scenario, seed=3, trials=25)
    assert pairs == training_pairs(scenario, seed=3, trials=25)
    assert len(pairs) == 30 and len(set(pairs)) == 30
    for block in (pairs[:10], pairs[10:20], pairs[20:]):
        assert sorted(instance for instance, _ in block) == sorted(scenario.training)
        assert len({seed for _, seed in block}) == 1
    assert pairs[:25] != training_pairs(scenario, seed=4, trials=25)[:25]


def test_validation_uses_test_instances_and_seeds_that_no_run_trains_with(
    scenario: Scenario,
) -> None:
    validation = validation_pairs(scenario, seeds=5)
    assert {instance for instance, _ in validation} == set(scenario.test)
    trained = {s for seed in range(30) for _, s in training_pairs(scenario, seed, 200)}
    assert not trained & {seed for _, seed in validation}
    ablation = ablation_pairs(scenario)
    assert [instance for instance, _ in ablation] == list(scenario.training)
    assert not {*trained, *(seed for _, seed in validation)} & {seed for _, seed in ablation}


def test_a_configurator_cannot_exceed_its_budget_and_known_trials_are_free(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=3) as run:
        default = run.space.default
        first = run.evaluate(default, 0)
        assert run.evaluate(default, 0) == first and run.remaining == 2
        with pytest.raises(BudgetExhausted):
            run.evaluate_many([Ask(default, pair) for pair in range(5)])
        assert run.remaining == 0
    # What was left of the budget is evaluated and recorded before the exception.
    assert [record.trial for record in stable(run.folder)] == [1, 2, 3]


def test_a_configurator_that_only_asks_for_known_trials_is_stopped(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=2) as run:
        with pytest.raises(BudgetExhausted):
            while True:
                run.evaluate(run.space.default, 0)


def test_a_configurator_that_takes_every_exception_for_a_failed_trial_ends(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=2) as run:
        with pytest.raises(BudgetExhausted):
            for pair in range(9):
                with suppress(Exception):
                    run.evaluate(run.space.default, pair)
            pytest.fail("went on without a budget")


def test_a_trial_that_is_none_of_the_run_is_refused_and_not_recorded(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=3) as run:
        default = run.space.default
        outside: list[tuple[Config, int, float, str]] = [
            (default, -1, 1.0, f"asked for pair -1, expected one from 0 to {len(run.pairs) - 1}"),
            (default, len(run.pairs), 1.0, f"asked for pair {len(run.pairs)}, expected"),
            (default, 0, 1.5, "the fidelity is 1.5"),
            (default | {"dropout": 7.0}, 0, 1.0, "not of the space: parameter dropout is 7.0"),
        ]
        for config, pair, fidelity, words in outside:
            with pytest.raises(BadInput, match=words):
                run.evaluate(config, pair, fidelity)
        assert run.used == 0
    assert not (run.folder / RUNHISTORY).exists()


def test_a_run_begins_with_the_default_as_its_incumbent_and_ends_with_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    with opened(scenario, tmp_path, trials=3) as run:
        run.evaluate(run.space.default, 0)
        with pytest.raises(BadInput, match="named no incumbent, expected at least the default"):
            run.finish()
        with pytest.raises(BadInput, match="first incumbent is .*, expected the default"):
            run.new_incumbent(run.sample(), 0.5)
        assert not run.finished
        run.new_incumbent(run.space.default, 0.5)
        run.finish()
        assert run.finished


@pytest.mark.parametrize("doomed", [(0, 1), (0,), (1,), ()])
@pytest.mark.parametrize("anyway", [False, True])
@pytest.mark.parametrize("status", ["CRASHED", "SUCCESS"])
def test_a_run_whose_default_fails_on_its_first_two_pairs_stops_and_says_why(
    scenario: Scenario,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    doomed: tuple[int, ...],
    anyway: bool,
    status: str,
) -> None:
    """SUCCESS of a trial that nothing was trained in: the budget does not pay for the default."""
    pairs = training_pairs(scenario, 1, 4)
    kept = Evaluator.submit
    probed: list[Pair] = []

    def submit(evaluator: Evaluator, trial: Trial) -> Future[Result]:
        probed.append((trial.instance, trial.seed))
        if probed[-1] not in [pairs[place] for place in doomed]:
            return kept(evaluator, trial)
        future: Future[Result] = Future()
        future.set_result(failure(status, "no luck"))
        return future

    monkeypatch.setattr(Evaluator, "submit", submit)
    info = DEFAULT_ONLY.describe(scenario, seed=1, trials=4, workers=1)
    for _ in range(2):  # what is recorded makes no difference
        with open_run(tmp_path, scenario, info, anyway=anyway) as run:
            if doomed == (0, 1) and not anyway:
                with pytest.raises(BadInput, match=r"default .* fails on .* and .*'--anyway'"):
                    run.evaluate(run.space.default, 0)
            else:
                run.evaluate(run.space.default, 0)
                run.evaluate(run.space.default, 2)
    recorded = read_lines(run.folder / RUNHISTORY, Numbered)
    stopped = doomed == (0, 1) and not anyway
    assert [(each.instance, each.seed) for each in recorded] == (
        [pairs[0]] if stopped else [pairs[0], pairs[2]]
    )
    looked = 0 in doomed and not anyway
    assert (pairs[1] in probed) == looked, "the second pair is looked at only where it is needed"


def test_the_same_seed_gives_the_same_run_whatever_the_number_of_workers(
    scenario: Scenario, tmp_path: Path
) -> None:
    folders = [
        execute(scenario, tmp_path / str(workers), 12, seed=5, workers=workers)
        for workers in (1, 2)
    ]
    one, two = map(stable, folders)
    assert one == two and len(one) == 12
    assert one[0].config == read_lines(folders[0] / TRAJECTORY, Incumbent)[0].config


@pytest.mark.parametrize("configurator", each_of(CONFIGURING))
def test_a_run_killed_again_and_again_ends_like_an_uninterrupted_one(
    suite: Path, scenario: Scenario, tmp_path: Path, configurator: Configurator
) -> None:
    trials = 24

    def command(results: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "commands", "run", str(suite / "scenarios" / scenario_name())),
            *("--configurator", configurator.name, "--seed", "7", "--trials", str(trials)),
            *("--quiet", "--results", str(results)),
        ]

    # Another salt for text hashes in every process, as on any other day.
    uninterrupted = command(tmp_path / "whole")
    subprocess.run(uninterrupted, env=environment() | {"PYTHONHASHSEED": "2"}, check=True)
    whole = run_folder(tmp_path / "whole", scenario, configurator.name, 7)
    killed = command(tmp_path / "killed")
    folder = run_folder(tmp_path / "killed", scenario, configurator.name, 7)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    settings = environment() | {"TMPDIR": str(temporary)}
    kills = 0
    for done in (2, 7, 11):
        process = subprocess.Popen(killed, env=settings | {"PYTHONHASHSEED": str(done)})
        while process.poll() is None:
            history = folder / RUNHISTORY
            if history.exists() and len(history.read_bytes().splitlines()) >= done:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        process.wait()
    before = (folder / RUNHISTORY).read_bytes()
    assert kills == 3 and 11 <= len(before.splitlines()) < len(stable(whole))
    assert runs_below([tmp_path / "killed"]) == [folder]
    subprocess.run(killed, env=settings, check=True)
    after = (folder / RUNHISTORY).read_bytes()
    complete = before[: before.rfind(b"\n") + 1]
    assert after.startswith(complete), "a recorded trial was lost or evaluated again"
    assert stable(folder) == stable(whole)
    assert (folder / TRAJECTORY).read_bytes() == (whole / TRAJECTORY).read_bytes()
    assert read_run(folder).state == "finished"
    # Temporary files of the killed lay in the run's folder, and went when it went on.
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in whole.iterdir()
    )
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_in_the_scratch_folder_is_swept(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 2)
    (folder / ".scratch" / "deep").mkdir(parents=True)
    (folder / ".scratch" / "deep" / "file").touch()
    info = read_run(folder)
    with open_run(tmp_path, scenario, info) as run, run.scratch() as place:
        assert place.parent == folder and list(place.iterdir()) == []
        (place / "file").touch()
    assert not place.exists()


def test_a_torn_last_line_is_dropped_with_a_word_and_its_trial_evaluated_again(
    scenario: Scenario, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = execute(scenario, tmp_path, 6)
    expected = stable(folder)
    history = folder / RUNHISTORY
    history.write_bytes(history.read_bytes()[:-40])
    write_run(folder, replace(read_run(folder), state="running"))
    execute(scenario, tmp_path, 6)
    assert stable(folder) == expected
    assert "dropped a torn last line" in capfd.readouterr().err


def test_a_last_line_that_lacks_only_its_end_is_kept_and_gets_it(
    scenario: Scenario, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = execute(scenario, tmp_path, 4)
    history = folder / RUNHISTORY
    whole = history.read_bytes()
    history.write_bytes(whole[:-1])
    write_run(folder, replace(read_run(folder), state="running"))
    execute(scenario, tmp_path, 4)
    assert history.read_bytes() == whole and capfd.readouterr().err == ""


def test_a_finished_run_is_not_repeated_and_another_budget_in_its_folder_is_refused(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 4)
    before = (folder / RUNHISTORY).read_bytes()
    execute(scenario, tmp_path, 4)
    assert (folder / RUNHISTORY).read_bytes() == before
    with pytest.raises(BadInput, match="has trials 4, asked for was 9"):
        execute(scenario, tmp_path, 9)


Change = Callable[[Path], None]


def replaced(name: str, old: str, new: str) -> Change:
    """Replaces a text in a file below `scenarios`."""

    def change(suite: Path) -> None:
        file = suite / "scenarios" / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return change


def without_the_first_line(name: str) -> Change:
    def change(suite: Path) -> None:
        file = suite / "scenarios" / name
        file.write_text("\n".join(file.read_text().splitlines()[1:]))

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            replaced(
                f"{scenario_name()}/scenario.txt",
                "--training-samples 600",
                "--training-samples 601",
            ),
            "scenario",
        ),
        (
            replaced(f"{scenario_name()}/scenario.txt", "cutoff_time = 60", "cutoff_time = 61"),
            "scenario",
        ),
        (without_the_first_line("digits/training.txt"), "instances"),
        (replaced("digits/features.csv", "sklearn/digits/0/0,", "sklearn/digits/0/0,1"), "instanc"),
    ],
)
def test_a_changed_scenario_does_not_go_on_in_the_old_record(
    suite: Path, scenario: Scenario, tmp_path: Path, change: Change, what: str
) -> None:
    execute(scenario, tmp_path, 2)
    change(suite)
    with pytest.raises(BadInput, match=f"another version of {what}"):
        execute(read(scenario.path), tmp_path, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runcount_limit = 1200", "runcount_limit = 700"),
        ("wallclock_limit = 7200", "wallclock_limit = 9000"),
    ],
)
def test_what_no_trial_depends_on_may_change(
    suite: Path, scenario: Scenario, tmp_path: Path, old: str, new: str
) -> None:
    folder = execute(scenario, tmp_path, 2)
    replaced(f"{scenario_name()}/scenario.txt", old, new)(suite)
    assert execute(read(scenario.path), tmp_path, 2) == folder


def test_a_record_of_other_code_is_not_gone_on_with(scenario: Scenario, tmp_path: Path) -> None:
    folder = execute(scenario, tmp_path, 2)
    write_run(folder, replace(read_run(folder), state="running"))
    history = folder / RUNHISTORY
    history.write_text(of_other_code(history.read_text()))
    with pytest.raises(BadInput, match="made with another version of what trials of .* run on the"):
        execute(scenario, tmp_path, 2)


def test_a_finished_run_keeps_what_it_says_of_its_machine_and_versions(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 2, by=DEFAULT_ONLY)
    about = read_run(folder)
    about = replace(
        about,
        versions=about.versions | {"torch": "of another machine"},
        hardware=replace(about.hardware, processor="of another machine"),
    )
    write_run(folder, about)
    execute(scenario, tmp_path, 2, by=DEFAULT_ONLY)
    assert read_run(folder) == about
    write_run(folder, replace(about, state="running"))
    with pytest.raises(BadInput, match="another version of torch"):
        execute(scenario, tmp_path, 2, by=DEFAULT_ONLY)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"state": "finished"}'])
def test_a_damaged_run_json_is_one_line(scenario: Scenario, tmp_path: Path, text: str) -> None:
    folder = execute(scenario, tmp_path, 2, by=DEFAULT_ONLY)
    (folder / RUN).write_text(text)
    with pytest.raises(BadInput, match=r"/run\.json: .*; expected a record as results/README") as e:
        execute(scenario, tmp_path, 2, by=DEFAULT_ONLY)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("lost", [(RUNHISTORY,), (RUNHISTORY, TRAJECTORY)])
def test_what_is_left_of_another_run_does_not_become_a_new_ones(
    scenario: Scenario, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    folder = execute(scenario, tmp_path, 3)
    validate([folder], seeds=1, workers=1)
    for name in lost:
        (folder / name).unlink()
    with pytest.raises(BadInput, match="0 lines, expected the 3 of trials_used"):
        execute(scenario, tmp_path, 3)
    (folder / RUN).unlink()
    with pytest.raises(BadInput, match="run.json: no such file"):
        execute(scenario, tmp_path, 3)


@pytest.mark.parametrize("name", [RUN, RUNHISTORY, TRAJECTORY, ".lock"])
def test_a_pipe_in_the_place_of_a_record_is_refused_and_not_waited_for(
    scenario: Scenario, tmp_path: Path, name: str
) -> None:
    folder = execute(scenario, tmp_path, 3)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises((BadInput, OSError), match="regular file|cannot be read|No such device"):
        execute(scenario, tmp_path, 3)


def test_what_a_writer_that_was_killed_left_goes_when_the_run_goes_on(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 3)
    left, kept = folder / ".run-abcd_123", folder / ".notes-of-mine"
    left.touch()
    kept.touch()
    execute(scenario, tmp_path, 3)
    assert not left.exists() and kept.exists()


def test_a_runhistory_without_a_run_json_is_nobodys_to_go_on_with(
    scenario: Scenario, tmp_path: Path
) -> None:
    folder = execute(scenario, tmp_path, 3)
    (folder / RUN).unlink()
    with pytest.raises(BadInput, match="run.json: no such file, expected the record of a run"):
        execute(scenario, tmp_path, 3)


def test_two_processes_cannot_work_on_one_run(scenario: Scenario, tmp_path: Path) -> None:
    with opened(scenario, tmp_path, trials=3):
        with pytest.raises(Busy, match="another process is working on it"):
            with opened(scenario, tmp_path, trials=3):
                pass


def test_an_instance_that_cannot_be_read_stops_the_run_with_its_reason(
    suite: Path, scenario: Scenario, tmp_path: Path
) -> None:
    folder = suite / "scenarios/digits"
    (folder / "training.txt").write_text("sklearn/digits/0/0\nsklearn/nosuch/0/1")
    rows = (folder / "features.csv").read_text().splitlines()
    rows.append(rows[1].replace("sklearn/digits/0/0", "sklearn/nosuch/0/1"))
    (folder / "features.csv").write_text("\n".join(rows))
    with pytest.raises(BadInput, match="nosuch"):
        execute(read(scenario.path), tmp_path, 2, by=DEFAULT_ONLY)


def test_a_run_explains_itself(scenario: Scenario, tmp_path: Path) -> None:
    info = read_run(execute(scenario, tmp_path, 2, by=DEFAULT_ONLY))
    assert info.copies == scenario.copies and info.copies["params.pcs"]
    assert (info.format, info.role, info.configures) == (2, scenario.variant.role.value, False)
    assert info.product is not None and info.product.version[0].isdigit()
    assert info.hashes.target_algorithms is None
    assert (info.trials_used, info.state) == (2, "finished")
    assert info.finished is not None and info.finished > info.started
    assert {field.name for field in fields(RunInfo)} >= {"command", "versions", "hardware"}
    assert f"--configurator {DEFAULT_ONLY.name} --seed 1 --trials 2" in info.command


def test_the_template_is_short() -> None:
    assert len(TEMPLATE.read_text().splitlines()) <= 50
    assert FIRST.configures and FIRST.missing is None and FIRST.file.is_relative_to(ROOT)
