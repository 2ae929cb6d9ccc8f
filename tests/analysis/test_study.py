import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import ablation, configurability, records, study
from analysis.frames import RunKey, rows
from analysis.surrogate import Refusal, Surrogate
from tests.analysis.benchmark import (
    PLAIN_DEFAULT,
    change_lines,
    end_with_the_default,
    make_run,
    space_of,
)
from wrappers.records import (
    ABLATION,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    AblationPath,
    Incumbent,
    read_lines,
    to_json,
)


@pytest.fixture
def three_runs(tmp_path: Path) -> Path:
    """Runs of one variant that are enough for a surrogate, and a baseline."""
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=3)
    for seed in (1, 2, 3):
        make_run(tmp_path, "alpha", "model", seed, trials=60)
    return tmp_path


def of(results: Path) -> study.Study:
    return study.conduct(records.read(results))


def folder(results: Path, seed: int) -> Path:
    return results / "digits" / "alpha" / "model" / f"seed-{seed}"


def with_cost(cost: Callable[[], float]) -> Callable[[int, dict[str, Any]], None]:
    def change(_: int, line: dict[str, Any]) -> None:
        line["cost"] = cost()

    return change


def measured(run: Path) -> None:
    """An ablation path, as if measured with trials."""
    incumbents = read_lines(run / TRAJECTORY, Incumbent)
    default, final = incumbents[0].config, incumbents[-1].config
    path = ablation.race(space_of("alpha"), default, final, lambda ts: [0.5] * len(ts), [("i", 1)])
    (run / ABLATION).write_text(to_json(path))


def test_a_variant_that_was_configured_has_a_surrogate_of_all_its_trials(three_runs: Path) -> None:
    done = of(three_runs)
    assert list(done.surrogates) == [("digits", "alpha")]
    fitted = done.surrogates["digits", "alpha"]
    assert isinstance(fitted, Surrogate) and fitted.conclusive
    assert fitted.trials == 180
    row = rows(study.surrogate_table(done))[0]
    assert (row["variant"], row["trials"], row["refused"]) == ("alpha", 180, "")
    assert row["r2"] == fitted.r2
    table = study.importance_table(done)
    assert set(table["variant"]) == {"alpha"}
    assert set(table["kind"]) == {"family", "single", "pair", "rest"}


def test_without_a_measured_path_that_of_the_run_best_in_training_is_predicted(
    three_runs: Path,
) -> None:
    before = configurability.per_run(records.read(three_runs))
    before = before[before["variant"] == "alpha"].sort_values("training_error")
    best = int(before["run_seed"].iloc[0])
    # In the test it is the worst: that must not matter.
    change_lines(folder(three_runs, best) / VALIDATION, with_cost(lambda: 0.9))
    done = of(three_runs)
    assert list(done.paths) == [RunKey("digits", "alpha", "model", best)]
    assert [path.evaluation for path in done.paths.values()] == ["surrogate"]
    table = study.ablation_table(done)
    assert set(table["run_seed"]) == {best} and len(table) > 1


def test_a_measured_path_is_shown_instead_of_a_predicted_one(three_runs: Path) -> None:
    measured(folder(three_runs, 3))
    done = of(three_runs)
    assert list(done.paths) == [RunKey("digits", "alpha", "model", 3)]
    assert [path.evaluation for path in done.paths.values()] == ["trials"]
    assert done.pathless == ()


def test_nothing_is_concluded_from_a_surrogate_that_explains_too_little(three_runs: Path) -> None:
    rng = random.Random(1)
    for seed in (1, 2, 3):
        change_lines(folder(three_runs, seed) / RUNHISTORY, with_cost(rng.random))
    done = of(three_runs)
    fitted, importance = done.surrogates["digits", "alpha"], done.importances["digits", "alpha"]
    assert isinstance(fitted, Surrogate) and not fitted.conclusive
    assert isinstance(importance, Refusal)
    assert study.surrogate_table(done)["refused"].to_list() == [importance.reason]
    assert study.importance_table(done).empty and study.ablation_table(done).empty
    assert [each.reason for each in done.pathless] == [
        "alpha: no path, its surrogate is not good enough."
    ]


def test_an_incumbent_that_is_the_default_has_no_path(three_runs: Path) -> None:
    for seed in (1, 2, 3):
        end_with_the_default(folder(three_runs, seed))
    done = of(three_runs)
    assert not done.paths
    assert [each.reason for each in done.pathless] == [
        "alpha: no path, the incumbent is the default."
    ]


def test_any_other_incumbent_has_one_whatever_its_name(three_runs: Path) -> None:
    """Identities are digests: some come before the default's, some after."""
    frames, fitted = records.read(three_runs), of(three_runs).surrogates["digits", "alpha"]
    trials = frames.trials[frames.trials["variant"] == "alpha"].drop_duplicates("config_id")
    of_run = frames.trajectories[frames.trajectories["variant"] == "alpha"].iloc[:1]
    default = of_run["config_id"].iloc[0]
    for before in (True, False):
        others = trials[(trials["config_id"] < default) == before]
        other = others[others["config_id"] != default].iloc[0]
        final = of_run.assign(config=[other["config"]], config_id=other["config_id"])
        changed = replace(frames, trajectories=pd.concat([of_run, final]))
        run = RunKey(*of_run.iloc[0][["set", "variant", "configurator", "run_seed"]])
        path = study._predicted_path(changed, run, fitted)
        assert isinstance(path, AblationPath) and path.target == other["config"]


def test_runs_under_way_are_in_the_surrogate_and_have_no_path(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=60, state="running")
    done = of(tmp_path)
    assert ("digits", "alpha") in done.surrogates
    assert not done.paths and not done.pathless


def test_empty_tables_have_their_columns(tmp_path: Path) -> None:
    make_run(tmp_path, "still", PLAIN_DEFAULT, 1, trials=3)
    done = of(tmp_path)
    tables: list[pd.DataFrame] = [
        make(done) for make in (study.surrogate_table, study.importance_table, study.ablation_table)
    ]
    for table in tables:
        assert table.empty
        assert table.columns[:2].to_list() == ["set", "variant"]
