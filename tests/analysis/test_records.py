import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import records
from analysis.frames import RUN, by_text
from sparse_training.errors import BadInput
from target_algorithms import Role
from tests.analysis.benchmark import (
    PLAIN_DEFAULT,
    change_lines,
    change_run,
    make_run,
    pcs_of,
    space_of,
)
from tests.examples import COMBINATION, DEFAULT_ONLY, PLAIN
from wrappers.records import RUNHISTORY, TRAJECTORY, VALIDATION
from wrappers.space import variant_space


def with_line(number: int, field: str, value: Any) -> Callable[[int, dict[str, Any]], None]:
    """What gives a field of one line another value."""

    def change(n: int, line: dict[str, Any]) -> None:
        if n == number:
            line[field] = value

    return change


def test_frames_have_a_row_for_every_record(tmp_path: Path) -> None:
    make_run(tmp_path, "beta", "model", 2, trials=40)
    make_run(tmp_path, "beta", "model", 10, trials=40)
    frames = records.read(tmp_path)
    assert frames.runs["run_seed"].to_list() == [2, 10]
    assert frames.trials.columns[:4].to_list() == RUN
    numbers = frames.trials.groupby("run_seed")["trial"].agg(list).map(sorted)
    assert numbers.to_list() == [list(range(1, 41))] * 2
    assert isinstance(frames.trials["config"][0], dict)
    for (_, path), (_, validated) in zip(
        by_text(frames.trajectories, "run_seed"),
        by_text(frames.validations, "run_seed"),
        strict=True,
    ):
        assert set(path["config_id"]) == set(validated["config_id"])


def test_a_record_within_a_record_is_a_dictionary_of_what_is_there(tmp_path: Path) -> None:
    make_run(tmp_path, "beta", "model", 1, trials=10)
    frames = records.read(tmp_path)
    assert frames.trials["misc"][0] == {"steps": 312, "updates": 3}
    assert frames.runs["hardware"][0]["processor"] == "a processor"


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "beta", "model", 1, trials=10)
    with open(folder / RUNHISTORY, "a") as file:
        file.write('{"trial": 11, "config_id": "ab')
    assert len(records.read(tmp_path).trials) == 10


def test_a_torn_line_in_the_middle_is_bad_input_with_file_and_line(tmp_path: Path) -> None:
    file = make_run(tmp_path, "beta", "model", 1, trials=10) / RUNHISTORY
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    with pytest.raises(BadInput, match=r"runhistory\.jsonl:2: .* expected a record"):
        records.read(tmp_path)


def test_a_missing_field_is_one_line_of_bad_input_that_names_file_line_and_field(
    tmp_path: Path,
) -> None:
    file = make_run(tmp_path, "beta", "model", 1, trials=10) / RUNHISTORY
    change_lines(file, lambda n, line: line.pop("cost") if n == 2 else None)
    with pytest.raises(
        BadInput, match=r"runhistory\.jsonl:3: .*missing required field `cost`"
    ) as error:
        records.read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cost", "problem"),
    [
        (None, "`float`, got `null` - at `.cost`"),
        ("0.5", "`float`, got `str` - at `.cost`"),
        (True, "`float`, got `bool` - at `.cost`"),
        (float("nan"), "JSON is malformed"),
        (1.5, "cost is 1.5, expected an error from 0 to 1"),
    ],
)
def test_a_cost_that_is_no_error_is_bad_input(tmp_path: Path, cost: object, problem: str) -> None:
    file = make_run(tmp_path, "beta", "model", 1, trials=10) / RUNHISTORY
    change_lines(file, with_line(4, "cost", cost))
    with pytest.raises(BadInput) as error:
        records.read(tmp_path)
    message = str(error.value).replace("$", "")
    assert "runhistory.jsonl:5: " in message and problem in message


def test_fields_of_a_later_version_do_not_hinder_reading(tmp_path: Path) -> None:
    file = make_run(tmp_path, "beta", "model", 1, trials=10) / RUNHISTORY
    before = records.read(tmp_path).trials
    change_lines(file, lambda _, line: line.update(energy=3.5))
    assert records.read(tmp_path).trials.equals(before)


def test_a_run_that_has_only_begun_gives_empty_frames(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "beta", "model", 1, trials=10, state="running")
    for file in folder.glob("*.jsonl"):
        file.unlink()
    frames = records.read(tmp_path)
    assert frames.runs["state"].to_list() == ["running"]
    for frame in (frames.trials, frames.trajectories, frames.validations):
        assert frame.empty
        assert frame.columns[:4].to_list() == RUN


def test_repeated_validations_count_once(tmp_path: Path) -> None:
    file = make_run(tmp_path, "beta", "model", 1, trials=30) / VALIDATION
    before = records.read(tmp_path).validations
    file.write_text(file.read_text() * 2)
    assert len(records.read(tmp_path).validations) == len(before)


def test_a_record_in_a_folder_of_another_name_is_bad_input(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "beta", "model", 1, trials=10)
    folder.rename(folder.parent / "seed-7")
    with pytest.raises(BadInput, match="record of digits/beta/model/seed-1"):
        records.read(tmp_path)


def test_results_that_do_not_exist_are_bad_input_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="sparse-aclib run"):
        records.read(tmp_path / "nowhere")


def test_reading_changes_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "beta", "model", 1, trials=10)
    with open(folder / VALIDATION, "a") as file:
        file.write('{"config_id"')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    records.read(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_combinations_come_behind_what_they_combine(tmp_path: Path) -> None:
    for variant in ("still", "alpha", "both"):
        make_run(tmp_path, variant, PLAIN_DEFAULT, 1, trials=1)
    make_run(tmp_path, "another", PLAIN_DEFAULT, 1, trials=1, role=Role.COMBINATION)
    frames = records.read(tmp_path)
    assert frames.runs["variant"].to_list() == ["alpha", "still", "another", "both"]
    assert [folder.info.variant for folder in frames.folders] == frames.runs["variant"].to_list()


def test_an_unknown_role_is_one_line_of_bad_input_with_the_roles_there_are(
    tmp_path: Path,
) -> None:
    file = make_run(tmp_path, "alpha", "model", 1, trials=1) / "run.json"
    info = json.loads(file.read_text()) | {"role": "captain"}
    file.write_text(json.dumps(info))
    with pytest.raises(BadInput, match=r"run\.json: role is 'captain', expected one of") as error:
        records.read(tmp_path)
    assert all(role in str(error.value) for role in Role)
    assert "\n" not in str(error.value)


def test_a_record_older_than_roles_has_those_of_this_checkout(tmp_path: Path) -> None:
    old: dict[str, Any] = {"format": 1, "role": None, "configures": None, "copies": {}}
    for variant in (COMBINATION.name, PLAIN.name, "gone"):
        make_run(tmp_path, variant, DEFAULT_ONLY.name, 1, trials=1, **old)
    make_run(tmp_path, "gone", "gone-too", 1, trials=1, **old)
    runs = records.read(tmp_path).runs.set_index(["variant", "configurator"])
    assert runs["role"].to_dict() == {
        (COMBINATION.name, DEFAULT_ONLY.name): COMBINATION.role,
        (PLAIN.name, DEFAULT_ONLY.name): PLAIN.role,
        ("gone", DEFAULT_ONLY.name): Role.COMPETITOR,
        ("gone", "gone-too"): Role.COMPETITOR,
    }
    assert runs.index[runs["configures"]].to_list() == [("gone", "gone-too")]


def test_the_space_of_a_run_is_that_of_its_own_copy(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", "model", 1, trials=1)
    assert records.read(tmp_path).folders[0].space == space_of("alpha")
    change_run(folder, copies={"params.pcs": pcs_of("alpha") + "a {b} [c]\n"})
    with pytest.raises(BadInput, match=r"run\.json: params\.pcs"):
        _ = records.read(tmp_path).folders[0].space


def test_a_run_without_a_copy_has_the_space_of_this_checkout(tmp_path: Path) -> None:
    fixed = {"density_path": "constant"}
    make_run(tmp_path, PLAIN.name, "model", 1, trials=1, copies={}, fixed=fixed)
    assert records.read(tmp_path).folders[0].space == variant_space(PLAIN).fixed(fixed)


def test_only_runs_that_try_something_are_configured(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=3)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=3)
    frames = records.read(tmp_path)
    for frame in (frames.trials, frames.trajectories, frames.validations):
        assert set(frame["variant"]) == {"alpha", "still"}
        assert set(frames.configured(frame)["variant"]) == {"alpha"}
    assert frames.trials.equals(records.read(tmp_path).trials)


def test_a_trajectory_with_another_name_for_its_configuration_is_bad_input(tmp_path: Path) -> None:
    file = make_run(tmp_path, "alpha", "model", 1, trials=3) / TRAJECTORY
    change_lines(file, with_line(0, "config_id", "000000000000"))
    with pytest.raises(BadInput, match=r"trajectory\.jsonl:1: config_id 000000000000 is not that"):
        records.read(tmp_path)
