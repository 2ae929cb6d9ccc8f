"""A benchmark as SLURM's jobs: what is submitted, and the texts."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT
from wrappers.processes import environment
from wrappers.slurm import (
    Queued,
    Stage,
    Submission,
    call,
    most_tasks,
    options,
    queued,
    ranges,
    settings,
    shares,
    stages,
    submitted,
)

ODD = "two  words $HOME `id` 'q' \"d\" 100%a;&\nline"
"""A name that a shell, or SLURM, would make something else of."""


def planned(runs: str, validation: str, there: list[Queued], *, reported: bool) -> list[Stage]:
    """x is a share that is not finished."""
    first, second = ([c == "x" for c in text] for text in (runs, validation))
    return stages(["benchmark", "digits"], first, second, there, reported=reported)


def test_what_is_not_finished_is_submitted_part_after_part() -> None:
    runs, validation, report = planned("x.x", ".x", [], reported=True)
    assert runs == Stage("runs", ("benchmark", "digits", "--only", "runs"), 3, (1, 3))
    assert (validation.name, validation.shares, validation.tasks) == ("validation", 2, (2,))
    assert (report.name, report.shares, report.words[-1]) == ("report", None, "report")


def test_what_is_queued_is_not_submitted_again() -> None:
    there = [Queued("7", 1, "runs"), Queued("8", 1, "validation"), Queued("9", None, "report")]
    assert planned("x..", "x", there, reported=False) == []
    runs, validation, report = planned("xx.", "x", there, reported=False)
    assert runs.tasks == (2,)
    assert validation.tasks == (1,), "the one queued does not wait for the new runs"
    assert report.name == "report"


def test_where_all_is_finished_only_a_report_that_lacks_is_made() -> None:
    def names(validation: str, *, reported: bool) -> list[str]:
        return [stage.name for stage in planned("..", validation, [], reported=reported)]

    assert names(".", reported=True) == []
    assert names(".", reported=False) == ["report"]
    assert names("x", reported=True) == ["validation", "report"]


def test_shares_fill_their_cores_and_are_no_more_than_an_array_holds() -> None:
    assert shares(7, 1, 1000) == 7
    assert shares(7, 4, 1000) == 2
    assert shares(2500, 1, 1000) == 1000
    assert shares(0, 4, 1000) == 1
    assert most_tasks("MaxArraySize            = 5001\nMaxDBDMsgs = 1\n") == 5000
    assert most_tasks("") == 1000


def test_numbers_are_told_in_ranges() -> None:
    assert ranges([3, 1, 2, 7, 9, 8, 11]) == "1-3,7-9,11"
    assert ranges([]) == ""


def test_the_queue_is_read_whatever_else_is_in_it() -> None:
    listed = (
        "12|3|sparse-aclib-0a1b2c3d-runs\n"
        "13|N/A|sparse-aclib-0a1b2c3d-report\n"
        "slurm_load_jobs warning\n\n14|4|other\n"
    )
    assert queued(listed) == [Queued("12", 3, "runs"), Queued("13", None, "report")]
    assert submitted("12;cluster\n") == submitted("sbatch: a word\n12\n") == "12"


@pytest.mark.parametrize(
    "text",
    ["--array=1-3", "--arr 1", "-a1-3", "--wrap=x", "-J name", "--output=x", "--dependency=1"],
)
def test_what_the_command_sets_itself_cannot_be_set(text: str) -> None:
    with pytest.raises(BadInput, match="which this command sets itself"):
        options(text)


def test_options_for_sbatch_are_words() -> None:
    assert options("--time=4:00:00 -A 'my account' -w n1 --mem-per-cpu 1G") == (
        *("--time=4:00:00", "-A", "my account", "-w", "n1", "--mem-per-cpu", "1G"),
    )
    assert options("") == ()
    for wrong in ("long", "--time='4"):
        with pytest.raises(BadInput, match="--sbatch"):
            options(wrong)


# Texts -------------------------------------------------------------------------------------------


def submission(folder: Path) -> Submission:
    return Submission(folder=folder, cores=2, extra=("--time=5",))


def run_script(text: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    (folder / "job.sh").write_text(text)
    return subprocess.run(
        ["bash", str(folder / "job.sh")],
        env={"PATH": "/usr/bin:/bin", "SLURMD_NODENAME": "n1", **variables},
        capture_output=True,
        text=True,
    )


def test_every_word_reaches_the_command_as_it_is_in_the_suites_environment(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    stage = Stage("runs", (ODD, "--results", str(folder)), 12, (1, 2))
    asked = submission(folder)
    asked.script_file(stage).touch()
    told = settings(environment() | {"SPARSE_ACLIB_DATA": ODD, "SPARSE_ACLIB_COMMAND": "1"})
    assert "SPARSE_ACLIB_COMMAND" not in told, "the number of this process"
    text = asked.script(stage, told).replace(f"{shlex.quote(sys.executable)} -m commands", "show")
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
    text = f'show() {{ {shlex.join([sys.executable, "-c", show])} "$@"; }}\n{text}'
    done = run_script(
        text, tmp_path, SLURM_ARRAY_TASK_ID="3", PYTHONPATH="/theirs", PYTHONHOME="/theirs"
    )
    words, found, place = json.loads(done.stdout)
    assert words == [*stage.words, "--shard", "3/12"]
    assert found["SPARSE_ACLIB_DATA"] == ODD and found["PYTHONHASHSEED"] == "0"
    assert found["PYTHONPATH"] == str(ROOT) and "PYTHONHOME" not in found
    assert place == str(ROOT)


def test_sbatch_gets_names_as_arguments_with_its_own_signs_doubled(tmp_path: Path) -> None:
    asked = submission(tmp_path / ODD)
    words = asked.sbatch(Stage("runs", (), 12, (1, 2, 5)), after=["7", "8"])
    assert "--array=1-2,5" in words and "--dependency=afterany:7:8" in words
    assert f"--output={tmp_path / ODD}/runs-%a.txt".replace("100%", "100%%") in words
    assert words[-2:] == ["--time=5", str(tmp_path / ODD / "runs.sh")]
    report = asked.sbatch(Stage("report", (), None, ()))
    assert not [word for word in report if word.startswith(("--array", "--dependency"))]
    with pytest.raises(BadInput, match="no name with a backslash"):
        replace(asked, folder=tmp_path / "a\\b").sbatch(Stage("report", (), None, ()))


def scripted(tmp_path: Path, command: str, *, ends: bool) -> tuple[int, str]:
    """Status of a job whose command is this one, and what it told scontrol.

    ends: whether the end of its wall time comes as soon as the command has said that it is there.
    """
    asked, stage = submission(tmp_path), Stage("runs", (), 4, (1,))
    asked.script_file(stage).touch()
    text = asked.script(stage, {})
    line = next(line for line in text.splitlines() if line.endswith(" &"))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >>{shlex.quote(str(tmp_path))}/told\n')
    (tools / "scontrol").chmod(0o755)
    (tmp_path / "job.sh").write_text(text.replace(line, f"bash -c {shlex.quote(command)} &"))
    with subprocess.Popen(
        ["bash", str(tmp_path / "job.sh")],
        env={
            "PATH": f"{tools}:/usr/bin:/bin",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_JOB_ID": "12",  # as the last task of an array has it
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout is not None and job.stdout.readline() == "there\n"
        if ends:
            subprocess.run(["kill", "-USR1", str(job.pid)], check=True)
        status = job.wait(20)
    told = tmp_path / "told"
    return status, told.read_text() if told.exists() else ""


ENDS = "trap 'kill $!; exit {}' TERM; echo there; sleep 30 & wait"


def test_at_the_end_of_its_wall_time_a_task_ends_its_command_and_is_queued_again(
    tmp_path: Path,
) -> None:
    assert scripted(tmp_path, ENDS.format(143), ends=True) == (0, "requeue 12_3\n")


def test_a_command_that_needs_a_person_is_not_queued_again(tmp_path: Path) -> None:
    assert scripted(tmp_path, ENDS.format(2), ends=True) == (2, "")


@pytest.mark.parametrize("status, told", [(0, ""), (2, ""), (137, ""), (75, "requeue 12_3\n")])
def test_a_task_ends_as_its_command_unless_another_process_was_at_it(
    tmp_path: Path, status: int, told: str
) -> None:
    expected = 0 if told else status
    assert scripted(tmp_path, f"echo there; exit {status}", ends=False) == (expected, told)


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    asked = submission(tmp_path / "elsewhere")
    done = run_script(asked.script(Stage("runs", (), 4, (1,)), {}), tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"n1 does not see {tmp_path / 'elsewhere'}, expected --results")


def test_a_machine_without_slurm_is_told_what_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="no sbatch on PATH.*'--shard i/n'"):
        call(["sbatch"])
