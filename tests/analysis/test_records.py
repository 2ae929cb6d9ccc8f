import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import records
from target_algorithms.errors import BadInput

MakeRun = Callable[..., Path]


def test_frames_have_a_row_for_every_record(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path, "rigl", "smac", 2, trials=40)
    make_run(tmp_path, "rigl", "smac", 10, trials=40)
    assert records.runs(tmp_path)["run_seed"].tolist() == [2, 10]
    trials = records.trials(tmp_path)
    assert trials.columns[:5].tolist() == [*records.RUN, "trial"]
    assert (
        trials.groupby("run_seed")["trial"].agg(list).map(sorted).tolist()
        == [list(range(1, 41))] * 2
    )
    assert isinstance(trials["config"][0], dict)
    paths = records.trajectories(tmp_path)
    validated = records.validations(tmp_path)
    for (_, own), (_, mine) in zip(
        paths.groupby("run_seed"), validated.groupby("run_seed"), strict=True
    ):
        assert set(own["config_id"]) == set(mine["config_id"])


def test_a_torn_last_line_is_ignored_with_a_warning_of_its_own_name(
    tmp_path: Path, make_run: MakeRun
) -> None:
    folder = make_run(tmp_path, "rigl", "smac", 1, trials=10)
    with open(folder / "runhistory.jsonl", "a") as file:
        file.write('{"trial": 11, "config_id": "ab')
    with pytest.warns(records.TornLine, match=r"runhistory\.jsonl:11"):
        assert len(records.trials(tmp_path)) == 10


def test_a_torn_line_in_the_middle_is_bad_input_with_file_and_line(
    tmp_path: Path, make_run: MakeRun
) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=10) / "runhistory.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    with pytest.raises(BadInput, match=r"runhistory\.jsonl:2: not a JSON record"):
        records.trials(tmp_path)


def test_a_missing_field_is_one_line_of_bad_input_that_names_file_line_and_field(
    tmp_path: Path, make_run: MakeRun
) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=10) / "runhistory.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    del lines[2]["cost"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BadInput, match=r"runhistory\.jsonl:3: field cost is missing") as error:
        records.trials(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cost", [None, "0.5", float("nan"), True])
def test_a_cost_that_is_no_finite_number_is_bad_input(
    tmp_path: Path, make_run: MakeRun, cost: object
) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=10) / "runhistory.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[4]["cost"] = cost
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BadInput, match=r"runhistory\.jsonl:5: cost is"):
        records.trials(tmp_path)


def test_unknown_fields_are_kept_behind_the_known_ones(tmp_path: Path, make_run: MakeRun) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=10) / "runhistory.jsonl"
    lines = [json.loads(line) | {"energy": 3.5} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trials = records.trials(tmp_path)
    assert trials.columns[-1] == "energy"
    assert (trials["energy"] == 3.5).all()


def test_a_run_that_has_only_begun_gives_empty_frames(tmp_path: Path, make_run: MakeRun) -> None:
    folder = make_run(tmp_path, "rigl", "smac", 1, trials=10, state="running")
    for file in folder.glob("*.jsonl"):
        file.unlink()
    assert records.runs(tmp_path)["state"].tolist() == ["running"]
    for read in (records.trials, records.trajectories, records.validations):
        assert read(tmp_path).empty
        assert read(tmp_path).columns[:4].tolist() == records.RUN


def test_repeated_validations_count_once(tmp_path: Path, make_run: MakeRun) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=30) / "validation.jsonl"
    before = records.validations(tmp_path)
    file.write_text(file.read_text() * 2)
    assert len(records.validations(tmp_path)) == len(before)


def test_a_record_in_a_folder_of_another_name_is_bad_input(
    tmp_path: Path, make_run: MakeRun
) -> None:
    folder = make_run(tmp_path, "rigl", "smac", 1, trials=10)
    folder.rename(folder.parent / "seed-7")
    with pytest.raises(BadInput, match="record of digits/rigl/smac/seed-1"):
        records.runs(tmp_path)


def test_results_that_do_not_exist_are_bad_input_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="sparse-aclib run"):
        records.runs(tmp_path / "nowhere")


def test_reading_changes_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    folder = make_run(tmp_path, "rigl", "smac", 1, trials=10)
    with open(folder / "validation.jsonl", "a") as file:
        file.write('{"config_id"')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", records.TornLine)
        records.validations(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
