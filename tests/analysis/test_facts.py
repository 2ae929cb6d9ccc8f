"""What the report says of a record before its results."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import configurability, facts, records
from tests.analysis.benchmark import PLAIN_DEFAULT, change_lines, change_run, make_run
from wrappers.records import RUNHISTORY, VALIDATION, Hardware, read_run


def notes(results: Path, missing: Mapping[str, str] | None = None) -> list[str]:
    """The notes on a results folder."""
    frames = records.read(results)
    return facts.notes(frames, {"runs": configurability.per_run(frames)}, missing or {})


def two_runs(results: Path, *changes: Mapping[str, Any]) -> tuple[Path, Path]:
    """Runs of one variant and configurator with two seeds, changed by what is passed for each."""
    first, second = (
        make_run(results, "alpha", "model", seed, trials=8, **each)
        for seed, each in zip((1, 2), (*changes, {}, {}), strict=False)
    )
    return first, second


def with_configurator_code(folder: Path, code: str) -> None:
    """A run as if by other code of its configurator."""
    change_run(folder, hashes=replace(read_run(folder).hashes, configurator=code))


def test_a_record_of_one_piece_needs_no_note(tmp_path: Path) -> None:
    two_runs(tmp_path)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=2, code="0123456789ab")
    assert notes(tmp_path) == []


def groups(results: Path) -> dict[str, list[int]]:
    """The seeds of the runs that are averaged, by the name of their group."""
    runs = records.read(results).runs
    return {str(name): list(own["run_seed"]) for name, own in runs.groupby("set")}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ("scenario", "scenario of alpha"),
        ("space", "space of alpha"),
        ("instances", "instances"),
        ("configurator", "code of model"),
    ],
)
def test_runs_with_other_hashes_are_never_averaged(tmp_path: Path, changed: str, what: str) -> None:
    _, second = two_runs(tmp_path)
    other: dict[str, Any] = {changed: "1" * 64}
    change_run(second, hashes=replace(read_run(second).hashes, **other))
    assert groups(tmp_path) == {"digits.1": [1], "digits.2": [2]}
    table = configurability.configurability(records.read(tmp_path))
    assert table[["set", "runs"]].to_numpy().tolist() == [["digits.1", 1], ["digits.2", 1]]
    assert notes(tmp_path) == [
        f"Runs on digits differ in {what}. They are never averaged: digits.1 is 1 run"
        " (digits.1/alpha/model/1); digits.2 is 1 run (digits.2/alpha/model/2)."
    ]


def test_runs_on_other_content_of_the_same_data_are_never_averaged(tmp_path: Path) -> None:
    _, second = two_runs(tmp_path)
    data = {"sklearn/digits": "1" * 64}
    change_run(second, hashes=replace(read_run(second).hashes, data=data))
    assert groups(tmp_path) == {"digits.1": [1], "digits.2": [2]}


def test_trials_by_different_code_are_never_averaged_and_named_with_their_engine(
    tmp_path: Path,
) -> None:
    two_runs(tmp_path, {"engine": "sparse"}, {"engine": "sparse", "code": "0123456789ab"})
    make_run(tmp_path, "beta", "model", 1, trials=8, engine="sparse", code="ba9876543210")
    # beta contradicts neither and is with the first.
    assert groups(tmp_path) == {"digits.1": [1, 1], "digits.2": [2]}
    assert notes(tmp_path)[0].startswith(
        "Runs on digits differ in code of alpha on the sparse engine. They are never averaged:"
        " digits.1 is 2 runs ("
    )


def test_the_code_of_one_engine_may_differ_from_that_of_another(tmp_path: Path) -> None:
    two_runs(tmp_path, {"engine": "sparse", "code": "0123456789ab"}, {"engine": "masked"})
    assert notes(tmp_path) == []


def test_a_run_of_two_codes_is_averaged_with_no_run_of_one(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)
    change_lines(first / RUNHISTORY, lambda n, line: line.update(code="0123456789ab") if n else 0)
    assert groups(tmp_path) == {"digits.1": [1], "digits.2": [2]}
    assert notes(tmp_path)[1] == (
        "Runs of alpha on digits.1 were themselves made with different code on the masked engine,"
        " in their trials or in their validation; compare with care."
    )


def test_validation_by_other_code_than_the_trials_is_noted(tmp_path: Path) -> None:
    for folder in two_runs(tmp_path):
        change_lines(folder / VALIDATION, lambda _, line: line.update(code="0123456789ab"))
    assert groups(tmp_path) == {"digits": [1, 2]}
    assert notes(tmp_path) == [
        "Runs of alpha on digits were themselves made with different code on the masked engine, in"
        " their trials or in their validation; compare with care."
    ]


def test_records_of_version_0_2_that_name_no_code_are_averaged_among_themselves_only(
    tmp_path: Path,
) -> None:
    first, second = two_runs(tmp_path)
    for name in (RUNHISTORY, VALIDATION):
        change_lines(first / name, lambda _, line: line.pop("code"))
    assert groups(tmp_path) == {"digits.1": [1], "digits.2": [2]}
    for name in (RUNHISTORY, VALIDATION):
        change_lines(second / name, lambda _, line: line.pop("code"))
    assert groups(tmp_path) == {"digits": [1, 2]}
    assert notes(tmp_path) == []


def test_a_trial_that_no_engine_trained_says_nothing_of_code(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)
    failed = {"engine": None, "code": None, "cost": 1.0, "status": "CRASHED"}
    change_lines(first / RUNHISTORY, lambda n, line: line.update(failed) if n == 3 else None)
    assert notes(tmp_path) == [
        "1 trial of 16 did not end with SUCCESS; they count with the worst cost."
    ]


def test_trials_over_the_budget_are_noted_beside_those_that_failed(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)

    def unpaid(number: int, line: dict[str, Any]) -> None:
        if number in (3, 4):
            line.update(engine=None, code=None, cost=1.0)
            line["misc"]["error"] = "norm batch takes 40 of 9 active weights"

    change_lines(first / RUNHISTORY, unpaid)
    assert notes(tmp_path) == [
        "The budget does not pay for the configurations of 2 trials of 16; they count with the"
        " worst cost."
    ]


def test_a_run_is_with_those_that_it_has_most_in_common_with(tmp_path: Path) -> None:
    """The new code of the configurator tells which release a run of another variant is of."""
    _, second = two_runs(tmp_path)
    with_configurator_code(second, "1" * 64)
    with_configurator_code(make_run(tmp_path, "beta", "model", 2, trials=8), "1" * 64)
    make_run(tmp_path, "beta", "model", 1, trials=8)
    assert groups(tmp_path) == {"digits.1": [1, 1], "digits.2": [2, 2]}


def test_configurators_may_differ_in_code_from_each_other(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=8)
    with_configurator_code(make_run(tmp_path, "alpha", "racing", 1, trials=8), "1" * 64)
    assert notes(tmp_path) == []


def test_only_contradicting_versions_are_told_apart(tmp_path: Path) -> None:
    _, second = two_runs(tmp_path)
    versions = read_run(second).versions
    change_run(second, versions=versions | {"R": "4.2.2"})
    assert notes(tmp_path) == []
    told = [text for name, text in facts.facts(records.read(tmp_path)) if name == "Versions"]
    assert told == ["python 3.11.7, torch 2.13.0, numpy 2.4.6, R 4.2.2"]
    change_run(second, versions=versions | {"torch": "2.9"})
    assert notes(tmp_path) == ["The runs differ in library versions; see the end of this page."]
    told = [text for name, text in facts.facts(records.read(tmp_path)) if name == "Versions"]
    assert len(told) == 2 and "torch 2.9" in told[1]


def test_runs_on_different_machines_are_noted(tmp_path: Path) -> None:
    _, second = two_runs(tmp_path)
    machine = Hardware(processor="another one", cores=64, memory_gib=256.0, system="Linux")
    change_run(second, hardware=machine)
    assert notes(tmp_path) == ["The runs differ in hardware; see the end of this page."]
    told = [text for name, text in facts.facts(records.read(tmp_path)) if name == "Hardware"]
    assert told == [
        "processor a processor, cores 2, memory 8.0 GiB, system Linux",
        "processor another one, cores 64, memory 256.0 GiB, system Linux",
    ]


def test_runs_of_different_budgets_are_never_averaged(tmp_path: Path) -> None:
    first, _ = two_runs(tmp_path)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=3)  # has no budget to speak of
    change_run(first, trials=1208)
    assert groups(tmp_path) == {"digits.1": [1, 1], "digits.2": [2]}
    assert any(
        note
        == "Runs on digits differ in budget. They are never averaged: digits.1 is 2 runs of 1,208"
        " trials (digits.1/alpha/model/1, digits.1/still/plain-default/1); digits.2 is 1 run of 8"
        " trials (digits.2/alpha/model/2)."
        for note in notes(tmp_path)
    )


def test_a_budget_that_was_not_used_up_is_told(tmp_path: Path) -> None:
    for seed, used in ((1, 25), (2, 31)):
        folder = make_run(tmp_path, "alpha", "racing", seed, trials=used)
        change_run(folder, trials=40)
    change_run(make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=1), trials=10)
    assert notes(tmp_path) == [
        "racing left a part of its budget unused in 2 runs: it used 25 to 31 of 40 trials."
    ]


def test_what_is_missing_or_half_way_is_told(tmp_path: Path) -> None:
    two_runs(tmp_path, {"state": "running"}, {"validated": False})
    told = notes(tmp_path, {"engine-less": "there is none"})
    assert told == [
        "engine-less is missing: there is none",
        "1 run of 2 not finished, left out of all comparisons: digits/alpha/model/1.",
        "1 finished run without validation of default and incumbent, left out:"
        " digits/alpha/model/2. 'sparse-aclib validate' adds it.",
    ]


@pytest.mark.parametrize(("runs", "told"), [(6, "model/6."), (8, "model/6 and 2 more.")])
def test_many_runs_are_counted_instead_of_named(tmp_path: Path, runs: int, told: str) -> None:
    for seed in range(1, runs + 1):
        make_run(tmp_path, "alpha", "model", seed, trials=1, state="running")
    assert notes(tmp_path)[0].endswith(told)


def test_facts_name_data_budget_seeds_and_trials(tmp_path: Path) -> None:
    two_runs(tmp_path)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 7, trials=2)
    told = dict(facts.facts(records.read(tmp_path)))
    assert told["Data"] == "sklearn/digits (sha256 999999999999)"
    assert told["Budget of a run"] == "8 trials"
    assert told["Configurator seeds"] == "1, 2"
    assert told["Trials recorded"].startswith("18, and ")
    assert told["Begun"] == "2026-01-01 10:00 UTC"


def test_each_scenario_is_told_with_the_command_that_it_fixed(tmp_path: Path) -> None:
    two_runs(tmp_path)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=2, copies={})
    assert facts.scenarios(records.read(tmp_path)) == [
        ("digits/alpha", "sparse-aclib eval alpha --active-weights 1000"),
        ("digits/still", "not in the record, which is of version 0.2"),
    ]


def test_settings_are_told_once_each(tmp_path: Path) -> None:
    for seed, settings in ((1, {"n_min": 2}), (2, {"n_min": 2}), (3, {"n_min": 4}), (4, {})):
        make_run(tmp_path, "alpha", "racing", seed, trials=1, settings=settings)
    make_run(tmp_path, "alpha", "model", 1, trials=1)
    assert facts.settings(records.read(tmp_path)) == [("racing", "n_min 2; or n_min 4")]


def test_the_least_replicated_case_is_counted(tmp_path: Path) -> None:
    two_runs(tmp_path)
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=2)
    assert facts.fewest_seeds(records.read(tmp_path)) == "2 configurator seeds"
    make_run(tmp_path, "beta", "model", 1, trials=2)
    assert facts.fewest_seeds(records.read(tmp_path)) == "1 configurator seed"
