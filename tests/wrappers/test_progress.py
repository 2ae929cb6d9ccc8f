"""How far runs are: planned, under way, left, finished."""

import os
import time
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from tests.wrappers.test_locks import leave
from wrappers import locks
from wrappers.locks import OWNER, locked
from wrappers.progress import OUTPUT, PLAN, Planned, State, note, progress
from wrappers.records import RUNHISTORY

PLANNED = [Planned(f"set/variant/by/seed-{seed}", 12) for seed in (1, 2, 3, 4)]


def test_what_is_planned_waits_and_what_is_begun_says_by_whom(tmp_path: Path) -> None:
    own = note(tmp_path, PLANNED)
    assert note(tmp_path, PLANNED[::-1]) == own != note(tmp_path, PLANNED[:1])
    first, second, third, _ = (tmp_path / each.folder for each in PLANNED)
    second.mkdir(parents=True)
    (second / OUTPUT).write_text("waiting\nsparse-aclib: error: no room\n")
    leave(third)
    with locked(first):
        one, two, three, four = progress(tmp_path)
        assert (one.state, one.done, one.trials) == (State.RUNNING, 0, 12)
        assert one.works and one.owner is not None and one.owner.pid == os.getpid()
        assert (two.state, two.words, two.owner) == (State.STOPPED, "no room", None)
        assert three.state is State.RUNNING and three.works
        assert (four.state, four.trials, four.name) == (State.WAITING, 12, PLANNED[3].folder)
    beat = time.time() - locks.STALE - 1
    os.utime(third / OWNER, (beat, beat))
    one, _, three, _ = progress(tmp_path)
    assert one.state is State.STOPPED and one.owner is None
    assert three.state is State.STOPPED and not three.works
    assert three.owner is not None and three.owner.host == "node7", "who has left it"
    assert (third / OWNER).exists(), "looking changes nothing"


def test_a_trial_counts_as_its_share_of_the_training_budget(tmp_path: Path) -> None:
    note(tmp_path, PLANNED[:1])
    folder = tmp_path / PLANNED[0].folder
    folder.mkdir(parents=True)
    (folder / RUNHISTORY).write_text('{"fidelity": 0.25}\n{"fidelity": 0.25}\n{"a": 1}\n{"fid')
    (run,) = progress(tmp_path)
    assert run.done == 1.5


def test_a_folder_without_anything_and_a_plan_that_is_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run in it and none planned"):
        progress(tmp_path)
    (note(tmp_path, PLANNED) / PLAN).write_text("[1]")
    with pytest.raises(BadInput, match=PLAN):
        progress(tmp_path)
