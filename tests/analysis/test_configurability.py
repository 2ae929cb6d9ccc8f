from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import anytime, configurability
from analysis.frames import RUN, RunKey
from analysis.records import Frames
from target_algorithms import CHOSEN, Role

KEY = RunKey("digits", "beta", "model", 1)

ROLES = {
    **{"both": Role.COMBINATION, "either": Role.COMBINATION, "full": Role.REFERENCE},
    "any": Role.SELECTION,
}
"""Of the variants in these tests that are no competitors."""


def frames(runs: list[dict[str, Any]]) -> Frames:
    """Frames of runs given as costs of configurations: training, trajectory, validation."""
    about, trials, paths, validated = [], [], [], []
    for run in runs:
        variant = run.get("variant", "beta")
        key = {
            "set": "digits",
            "variant": variant,
            "configurator": run.get("configurator", "model"),
            "run_seed": run.get("seed", 1),
        }
        about.append(
            key
            | {"state": run.get("state", "finished"), "trials": 50}
            | {"budget_used": run.get("used", 50), "configures": run.get("configures", True)}
            | {"role": str(ROLES.get(variant, Role.COMPETITOR))}
        )
        for config, costs in run.get("training", {}).items():
            trials += [
                key
                | {"config_id": config, "instance": f"i{k}", "seed": 1, "fidelity": 1.0}
                | {"cost": cost}
                for k, cost in enumerate(costs)
            ]
        paths += [
            key | {"trial": at, "config_id": config, "config": {"x": config, CHOSEN: "alpha"}}
            for at, config in run["path"]
        ]
        for config, costs in run.get("validation", {}).items():
            validated += [
                key
                | {"config_id": config, "instance": "t", "seed": k, "cost": cost}
                | {"active_weights": 1000, "weights": 5000, "density": 0.2, "training_flops": 1e6}
                for k, cost in enumerate(costs)
                if cost is not None
            ]
    columns = [*RUN, "config_id", "instance", "seed", "fidelity", "cost"]
    weights = ["active_weights", "weights", "density", "training_flops"]
    return Frames(
        folders=(),
        runs=pd.DataFrame(about),
        trials=pd.DataFrame(trials, columns=columns),
        trajectories=pd.DataFrame(paths),
        validations=pd.DataFrame(validated, columns=columns + weights).assign(fidelity=1.0),
    )


def with_trajectory(rows: list[dict[str, Any]]) -> Frames:
    """Frames that hold nothing but a trajectory."""
    nothing = pd.DataFrame()
    return Frames((), nothing, nothing, pd.DataFrame(rows), nothing)


def with_trials(rows: list[dict[str, Any]]) -> Frames:
    """Frames that hold nothing but trials."""
    nothing = pd.DataFrame()
    return Frames((), nothing, pd.DataFrame(rows), nothing, nothing)


TWO_RUNS: list[dict[str, Any]] = [
    {
        "seed": 1,
        "path": [(1, "d"), (10, "a"), (30, "b")],
        "training": {"d": [0.30, 0.32], "a": [0.25], "b": [0.20, 0.24]},
        "validation": {"d": [0.30, 0.34], "a": [0.28, 0.30], "b": [0.20, 0.26]},
    },
    {
        "seed": 2,
        "path": [(1, "d"), (20, "c")],
        "training": {"d": [0.31], "c": [0.27, 0.29, 0.28]},
        "validation": {"d": [0.30, 0.34], "c": [0.26, 0.28]},
    },
]


def test_the_table_of_a_small_record_is_the_golden_one() -> None:
    table = configurability.per_run(frames(TWO_RUNS))
    text = table.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    assert (
        text
        == """\
set,variant,configurator,run_seed,state,trials,budget_used,config_id,incumbents,found_at,training_error,training_trials,pairs,default_error,configured_error,improvement
digits,beta,model,1,finished,50,50,b,3,30,0.22,2,2,0.32,0.23,0.09
digits,beta,model,2,finished,50,50,c,2,20,0.28,3,2,0.32,0.27,0.05
"""
    )


def test_improvement_is_the_mean_paired_difference() -> None:
    row = configurability.configurability(frames(TWO_RUNS)).iloc[0]
    assert (row["runs"], row["pairs"], row["runs_better"]) == (2, 2, 2)
    assert row["default_error"] == pytest.approx(0.32)
    assert row["configured_error"] == pytest.approx(0.25)
    assert row["improvement"] == pytest.approx(0.07)
    assert row["low_these"] < row["improvement"] < row["high_these"]


def test_only_pairs_that_all_runs_have_are_compared() -> None:
    uneven = [TWO_RUNS[0], TWO_RUNS[1] | {"validation": {"d": [0.3, 0.34], "c": [None, 0.28]}}]
    row = configurability.configurability(frames(uneven)).iloc[0]
    assert row["pairs"] == 1
    assert row["improvement"] == pytest.approx(((0.34 - 0.26) + (0.34 - 0.28)) / 2)


def test_runs_under_way_and_runs_not_validated_are_left_out() -> None:
    half = [TWO_RUNS[0] | {"state": "running"}, TWO_RUNS[1] | {"validation": {"d": [0.3, 0.3]}}]
    record = frames(half)
    assert configurability.configurability(record).empty
    assert configurability.per_run(record)["configured_error"].isna().all()
    assert anytime.steps(record).empty
    assert anytime.summary(record).empty


def rated(variant: str, training: float, test: list[float], **more: Any) -> dict[str, Any]:
    """A run whose incumbent has these errors."""
    run = {"variant": variant, "path": [(1, "d"), (9, "b")], "training": {"b": [training]}}
    return run | {"validation": {"d": [0.5] * len(test), "b": test}} | more


def test_the_rival_is_chosen_by_training_and_never_by_test() -> None:
    record = frames(
        [
            rated("both", 0.2, [0.21, 0.21]),
            # Better in training, worse in the test.
            rated("beta", 0.1, [0.30, 0.32]),
            rated("alpha", 0.3, [0.01, 0.01]),
            rated("full", 0.0, [0.0, 0.0]),
        ]
    )
    row = configurability.against_single(record).iloc[0]
    assert row["single"] == "beta (1)"
    assert row["variants_tried"] == 2
    assert row["improvement"] == pytest.approx(0.10)


def test_several_combinations_are_each_compared_with_the_single_variants_only() -> None:
    record = frames(
        [
            rated("alpha", 0.2, [0.30, 0.30]),
            # Better than every single variant in training: it is nobody's rival all the same.
            rated("both", 0.1, [0.20, 0.22]),
            rated("either", 0.3, [0.34, 0.36]),
        ]
    )
    table = configurability.against_single(record).set_index("combined")
    assert table["single"].to_dict() == {"both": "alpha (1)", "either": "alpha (1)"}
    assert table["variants_tried"].to_list() == [1, 1]
    assert table["improvement"].to_dict() == pytest.approx({"both": 0.09, "either": -0.05})


def test_a_selection_is_nobody_s_single_rival_and_is_told_from_a_combination() -> None:
    record = frames(
        [
            rated("alpha", 0.2, [0.30, 0.30]),
            rated("any", 0.1, [0.25, 0.27]),
            rated("both", 0.3, [0.20, 0.22]),
            rated("full", 0.0, [0.0, 0.0]),
        ]
    )
    table = configurability.against_single(record).set_index("question")
    assert table["combined"].to_dict() == {
        "selecting": "any",
        "combining": "both",
        "combining over selecting": "both",
    }
    assert table["single"].to_list() == ["alpha (1)", "alpha (1)", "any (1)"]
    assert table["selected"].to_list() == ["alpha (1)", "", ""]
    assert table["improvement"].to_list() == pytest.approx([0.04, 0.09, 0.05])


def test_a_selection_without_a_combination_is_compared_all_the_same() -> None:
    record = frames([rated("alpha", 0.2, [0.3, 0.3]), rated("any", 0.1, [0.4, 0.4])])
    (row,) = configurability.against_single(record).to_dict("records")
    assert (row["question"], row["improvement"]) == ("selecting", pytest.approx(-0.1))


def test_a_configurator_that_configures_nothing_is_in_no_comparison() -> None:
    plain = {"configurator": "plain-default", "configures": False}
    record = frames([rated(name, 0.2, [0.2, 0.3], **plain) for name in ("alpha", "both")])
    assert configurability.configurability(record).empty
    assert configurability.against_single(record).empty
    assert anytime.steps(record).empty
    tried = frames([rated("alpha", 0.2, [0.2, 0.3])])
    assert len(configurability.configurability(tried)) == 1
    assert len(anytime.steps(tried)) == 3


def test_without_a_combination_there_is_no_row() -> None:
    assert configurability.against_single(frames(TWO_RUNS)).empty


def test_defaults_of_all_runs_count_once() -> None:
    row = configurability.defaults(frames(TWO_RUNS)).iloc[0]
    assert row["pairs"] == 2
    assert row["test_error"] == pytest.approx(0.32)


def test_changed_parameters_name_what_became_inactive() -> None:
    configs: list[dict[str, Any]] = [{"a": 1, "b": "x", "c": 2}, {"a": 1, "b": "y", "d": 0.5}]
    record = with_trajectory([KEY._asdict() | {"config": config} for config in configs])
    table = configurability.changed_parameters(record)
    assert table[["parameter", "default", "configured"]].to_numpy().tolist() == [
        ["b", "x", "y"],
        ["c", "2", ""],
        ["d", "", "0.5"],
    ]


def test_one_run_has_no_interval_and_no_p_value() -> None:
    row = configurability.configurability(frames(TWO_RUNS[:1])).iloc[0]
    assert row["improvement"] == pytest.approx(0.09)
    assert row[configurability.TESTED].isna().all()
    assert np.isnan(row["configured_low_these"])


def test_a_default_has_an_interval_over_seeds_as_it_is_no_run() -> None:
    row = configurability.defaults(frames(TWO_RUNS)).iloc[0]
    # Two costs .02 from their mean: half the width is 12.706 * .02.
    assert row["high_these"] - row["test_error"] == pytest.approx(12.706 * 0.02, rel=1e-4)
    assert np.isnan(row["low_like"])


def test_seeds_of_one_instance_are_a_cluster_of_instances_like_it() -> None:
    """Instances differ by far more than seeds do: more seeds tell nothing of other instances."""
    runs: list[dict[str, Any]] = []
    for seed, shift in ((1, 0.0), (2, 0.004), (3, -0.004)):
        gains = {f"t{k}": 0.02 * k + shift for k in range(6)}
        runs.append({"seed": seed, "path": [(1, "d"), (9, "b")], "gains": gains})
    widths = {}
    for seeds in (2, 20):
        record = frames([run | {"validation": {"d": [], "b": []}} for run in runs])
        rows = [
            {"set": "digits", "variant": "beta", "configurator": "model", "run_seed": run["seed"]}
            | {"config_id": config, "instance": instance, "seed": k}
            | {"cost": 0.5 + 0.001 * (-1) ** k - (gain if config == "b" else 0)}
            for run in runs
            for config in "db"
            for instance, gain in run["gains"].items()
            for k in range(seeds)
        ]
        record = replace(record, validations=pd.DataFrame(rows))
        row = configurability.configurability(record).iloc[0]
        assert (row["instances"], row["pairs"]) == (6, 6 * seeds)
        widths[seeds] = row["high_like"] - row["low_like"]
        assert row["high_these"] - row["low_these"] < widths[seeds]
    assert widths[20] == pytest.approx(widths[2])


def test_p_values_are_corrected_within_a_set() -> None:
    more = [run | {"configurator": name} for run in TWO_RUNS for name in ("model", "racing")]
    one = configurability.configurability(frames(TWO_RUNS)).iloc[0]
    table = configurability.configurability(frames(more))
    assert one["holm_these"] == one["p_these"] < 1 / 2
    assert table["holm_these"].to_list() == pytest.approx([2 * one["p_these"]] * 2)


def test_anytime_curves_begin_at_trial_one_and_end_at_the_budget() -> None:
    late = [TWO_RUNS[0] | {"path": [(10, "d"), (12, "a"), (30, "b")]}, TWO_RUNS[1]]
    curves = anytime.steps(frames(late))
    first = curves[curves["run_seed"] == 1]
    assert first["trial"].tolist() == [1, 12, 30, 50]
    assert first["test_error"].to_numpy() == pytest.approx([0.32, 0.29, 0.23, 0.23])


def test_the_summary_is_a_step_function_of_the_runs() -> None:
    table = anytime.summary(frames(TWO_RUNS)).set_index("trial")
    assert table.index.tolist() == [1, 10, 20, 30, 50]
    assert table.loc[10, "mean"] == pytest.approx((0.29 + 0.32) / 2)
    assert table.loc[20, "median"] == pytest.approx((0.29 + 0.27) / 2)
    assert table.loc[50, "quartile_1"] == pytest.approx(0.23 + 0.25 * 0.04)
    assert (table["runs"] == 2).all()


def test_effort_counts_failed_and_diverged_trials_apart() -> None:
    ends: list[tuple[str, dict[str, bool]]] = [
        ("SUCCESS", {}),
        ("SUCCESS", {"diverged": True}),
        ("TIMEOUT", {}),
    ]
    record = with_trials(
        [
            KEY._asdict()
            | {"status": status, "misc": misc, "config_id": "a", "cost": 1.0, "runtime": 1200.0}
            for status, misc in ends
        ]
    )
    row = configurability.effort(record).iloc[0]
    assert (row["trials"], row["failed"], row["diverged"], row["hours"]) == (3, 1, 1, 1.0)
    assert row["configurations"] == 1
