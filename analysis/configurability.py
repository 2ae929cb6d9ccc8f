"""What configuration, selecting and combining gain: defaults, configured, single variants, all.

Errors are validated: on the test instances, with seeds that no configurator saw. The default of a
variant and the final incumbent of a run (the last line of its trajectory) meet on the same
(instance, seed) pairs.

**Source**: the protocol of AClib and SMAC: the unit of replication is a run of a configurator.
**Differs** in the intervals, which know that the validation pairs are the same for every run, and
so is the default that all runs start from. They answer two questions, in columns of their own:
`_these` of the instances of the set, `_like` of instances like these (`analysis/intervals.py`).
`p` is that of no difference, `holm` the same after Holm's correction for all rows that one sentence
of the report counts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis import intervals
from analysis.frames import CASE, RUN, RunKey, by_run, by_text, by_texts
from analysis.records import Frames
from target_algorithms import CHOSEN, Role
from wrappers.records import STATUSES, plain

Costs = dict[tuple[RunKey, str], "pd.Series[float]"]
"""Validated costs by (instance, seed), of each run and configuration."""

QUESTIONS = ("these", "like")
"""Of an interval: these instances, or instances like these."""

BOUNDS = [f"{bound}_{question}" for question in QUESTIONS for bound in ("low", "high")]
TESTED = [f"{name}_{question}" for question in QUESTIONS for name in ("low", "high", "p", "holm")]
"""The columns of an improvement."""


def per_run(frames: Frames) -> pd.DataFrame:
    """One row a run: its incumbent, the training estimate and the validated errors.

    `training_error` is the mean cost of the incumbent over the run's own trials, computed from the
    runhistory so that it means the same for every configurator. `default_error` and
    `configured_error` are means over the `pairs` on which both are validated; NaN where there are
    none, and for a run that is under way.
    """
    rows = []
    costs = _validated(frames)
    trials = dict(by_run(frames.whole_trials))
    for key, path in by_run(frames.trajectories):
        default, final = path.iloc[0], path.iloc[-1]
        seen = trials.get(key, frames.trials.iloc[:0])
        seen = seen[seen["config_id"] == final["config_id"]]
        both = _paired(costs.get((key, default["config_id"])), costs.get((key, final["config_id"])))
        rows.append(
            key._asdict()
            | {
                "config_id": final["config_id"],
                "incumbents": len(path),
                "found_at": plain(final["trial"]),
                "training_error": seen["cost"].mean(),
                "training_trials": len(seen),
                "pairs": len(both),
                "default_error": both["before"].mean(),
                "configured_error": both["after"].mean(),
            }
        )
    columns = ["config_id", "incumbents", "found_at", "training_error", "training_trials"]
    columns += ["pairs", "default_error", "configured_error"]
    incumbents = pd.DataFrame(rows, columns=[*RUN, *columns])
    runs = frames.runs[[*RUN, "state", "trials", "budget_used"]]
    table = runs.merge(incumbents, on=RUN, how="left")
    unfinished = table["state"] != "finished"
    table.loc[unfinished, ["default_error", "configured_error"]] = np.nan
    table["improvement"] = table["default_error"] - table["configured_error"]
    return table


def defaults(frames: Frames) -> pd.DataFrame:
    """One row a variant: the validated test error of its default configuration.

    The bounds are of the default itself, which is one configuration; the weights are means.
    """
    rows = []
    firsts = frames.trajectories.drop_duplicates(RUN)[[*RUN, "config_id"]]
    validated = frames.validations.merge(firsts, on=[*RUN, "config_id"])
    validated = validated.drop_duplicates(["set", "variant", "config_id", "instance", "seed"])
    for (set_, variant), own in by_texts(validated, ["set", "variant"]):
        costs, instances = own["cost"].to_numpy(float), own["instance"].tolist()
        error = intervals.these_of_one(costs, instances).within(0.0, 1.0)
        like = intervals.like_of_one(costs, instances).within(0.0, 1.0)
        rows.append(
            {
                "set": set_,
                "variant": variant,
                "instances": own["instance"].nunique(),
                "pairs": len(own),
                "test_error": error.mean,
                **dict(zip(BOUNDS, (error.low, error.high, like.low, like.high), strict=True)),
                "active_weights": own["active_weights"].astype(float).mean(),
                "weights": own["weights"].astype(float).mean(),
                "density": own["density"].astype(float).mean(),
                "training_flops": own["training_flops"].astype(float).mean(),
            }
        )
    columns = ["set", "variant", "instances", "pairs", "test_error", *BOUNDS]
    columns += ["active_weights", "weights", "density", "training_flops"]
    return pd.DataFrame(rows, columns=columns)


def configurability(frames: Frames) -> pd.DataFrame:
    """One row a variant and configurator: test error of the default and of the configured.

    `improvement` = default - configured, so more is better, with its intervals. Only finished runs
    whose default and incumbent are both validated count, on the pairs that all of them share; with
    one run there is no interval. `holm` corrects for the rows of the set.
    """
    rows = []
    costs = _validated(frames)
    for case, own in by_texts(frames.configured(_finished(frames)), CASE):
        tables = []
        for key, path in by_run(own):
            ids = path["config_id"]
            tables.append(_paired(costs.get((key, ids.iloc[0])), costs.get((key, ids.iloc[-1]))))
        default, configured, instances = _crossed(tables)
        if not default.size:
            continue
        error = intervals.these(configured, instances).within(0.0, 1.0)
        rows.append(
            dict(zip(CASE, case, strict=True))
            | {
                "runs": default.shape[0],
                "instances": len(set(instances)),
                "pairs": default.shape[1],
                "default_error": default.mean(),
                "configured_error": error.mean,
                "configured_low_these": error.low,
                "configured_high_these": error.high,
                **_tested(default - configured, instances),
                "runs_better": int((configured.mean(1) < default.mean(1)).sum()),
            }
        )
    columns = ["runs", "instances", "pairs", "default_error", "configured_error"]
    columns += ["configured_low_these", "configured_high_these", "improvement", *TESTED]
    table = pd.DataFrame(rows, columns=[*CASE, *columns, "runs_better"])
    return _corrected(table, ["set"])


COMBINING, SELECTING, OVER_SELECTING = "combining", "selecting", "combining over selecting"
"""What a row of `against_single` asks the gain of."""

_QUESTIONS = (
    (SELECTING, Role.SELECTION, (Role.COMPETITOR, Role.BASELINE)),
    (COMBINING, Role.COMBINATION, (Role.COMPETITOR, Role.BASELINE)),
    (OVER_SELECTING, Role.COMBINATION, (Role.SELECTION,)),
)
"""Each with the role of whom it is about, and those of the rivals."""


def against_single(frames: Frames) -> pd.DataFrame:
    """One row a question, variant and configurator: a selection or a combination against the best
    single variant, and a combination against a selection, which had one budget as it had.

    The rival is chosen anew for every configurator seed, as a user would have to: the variant whose
    incumbent has the least `training_error`, of equal ones the first by name. Test errors play no
    part in the choice. `improvement` = rival - combined, more is better. `selected` counts the
    variants that the incumbents of a selection name. `holm` corrects for the configurators.
    """
    rows = []
    costs = _validated(frames)
    finals = {key: path.iloc[-1] for key, path in by_run(_finished(frames))}

    def validated(key: RunKey) -> "pd.Series[float] | None":
        """Costs of the run's final incumbent."""
        return costs.get((key, finals[key]["config_id"]))

    table = per_run(frames).merge(frames.runs[[*RUN, "role", "configures"]], on=RUN)
    rated = table[
        (table["state"] == "finished") & table["configures"] & table["training_error"].notna()
    ]
    asked = [
        (question, case, own, of_rivals)
        for question, role, of_rivals in _QUESTIONS
        for case, own in by_texts(rated[rated["role"] == role], CASE)
    ]
    for question, (set_, combined, configurator), own, of_rivals in asked:
        singles = rated[
            (rated["set"] == set_)
            & (rated["configurator"] == configurator)
            & rated["role"].isin(of_rivals)
        ]
        tables, chosen, selected = [], [], []
        for seed in sorted(own["run_seed"].astype(int)):
            rivals = singles[singles["run_seed"] == seed]
            # A seed where a variant is still missing would choose among fewer than the others.
            if rivals.empty or set(rivals["variant"]) != set(singles["variant"]):
                continue
            rival = str(rivals.sort_values(["training_error", "variant"]).iloc[0]["variant"])
            both = _paired(
                validated(RunKey(set_, rival, configurator, seed)),
                validated(RunKey(set_, combined, configurator, seed)),
            )
            if len(both):
                tables.append(both)
                chosen.append(rival)
                config = finals[RunKey(set_, combined, configurator, seed)]["config"]
                selected += [config[CHOSEN]] if question == SELECTING else []
        theirs, ours, instances = _crossed(tables)
        if not ours.size:
            continue
        rows.append(
            {
                "set": set_,
                "question": question,
                "combined": combined,
                "configurator": configurator,
                "runs": ours.shape[0],
                "instances": len(set(instances)),
                "pairs": ours.shape[1],
                "selected": _counted(selected),
                "single": _counted(chosen),
                "variants_tried": singles["variant"].nunique(),
                "single_error": theirs.mean(),
                "combined_error": ours.mean(),
                **_tested(theirs - ours, instances),
            }
        )
    columns = ["set", "question", "combined", "configurator", "runs", "instances", "pairs"]
    columns += ["selected", "single", "variants_tried", "single_error", "combined_error"]
    table = pd.DataFrame(rows, columns=[*columns, "improvement", *TESTED])
    return _corrected(table, ["set", "question", "combined"])


def _tested(improvements: intervals.Array, instances: Sequence[str]) -> dict[str, float]:
    """The mean of a (runs, pairs) table and both of its intervals, as columns."""
    these, like = (
        make(improvements, instances).within(-1.0, 1.0)
        for make in (intervals.these, intervals.like)
    )
    columns = {"improvement": these.mean}
    for question, made in zip(QUESTIONS, (these, like), strict=True):
        columns |= {f"low_{question}": made.low, f"high_{question}": made.high}
        columns |= {f"p_{question}": made.p}
    return columns


def _corrected(table: pd.DataFrame, counted: Sequence[str]) -> pd.DataFrame:
    """The table with Holm's p-values, those with the same values in `counted` being a family."""
    for question in QUESTIONS:
        adjusted = pd.Series(np.nan, index=table.index)
        for _, own in by_texts(table, counted):
            adjusted[own.index] = intervals.holm(own[f"p_{question}"].to_numpy(float))
        table[f"holm_{question}"] = adjusted
    return table


def _counted(names: Iterable[str]) -> str:
    return "; ".join(f"{name} ({n})" for name, n in sorted(Counter(names).items()))


def changed_parameters(frames: Frames) -> pd.DataFrame:
    """One row a run and parameter in which the final incumbent differs from the default.

    A value that is inactive on one side is an empty text there.
    """
    rows = []
    for key, path in by_run(frames.trajectories):
        before, after = path.iloc[0]["config"], path.iloc[-1]["config"]
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                rows.append(
                    key._asdict()
                    | {
                        "parameter": name,
                        "default": str(before.get(name, "")),
                        "configured": str(after.get(name, "")),
                    }
                )
    return pd.DataFrame(rows, columns=[*RUN, "parameter", "default", "configured"])


def effort(frames: Frames) -> pd.DataFrame:
    """One row a variant and configurator: how many trials, what became of them, how long.

    `failed` trials have another status than SUCCESS; `diverged` ones succeed with the worst cost;
    `hours` is the sum of the trials' wall-clock time.
    """
    trials = frames.trials
    marked = trials.assign(
        failed=trials["status"] != "SUCCESS",
        diverged=[bool(misc.get("diverged")) for misc in trials["misc"]],
        run=trials["run_seed"],
    )
    table = marked.groupby(CASE, sort=False, as_index=False).agg(
        runs=("run", "nunique"),
        trials=("cost", "size"),
        configurations=("config_id", "nunique"),
        failed=("failed", "sum"),
        diverged=("diverged", "sum"),
        mean_runtime=("runtime", "mean"),
        hours=("runtime", lambda seconds: seconds.sum() / 3600),
    )
    return pd.DataFrame(table)


def statuses(frames: Frames) -> pd.DataFrame:
    """One row a variant and configurator, once of its runs and once of their validation: how many
    trials ended how. Those that `diverged` are among the successful ones.
    """
    tables = []
    for of, trials in (("run", frames.trials), ("validation", frames.validations)):
        marked = trials.assign(
            of=of, diverged=[bool(misc.get("diverged")) for misc in trials["misc"]]
        )
        ended = {name.lower(): trials["status"] == name for name in STATUSES}
        counts = {name: (name, "sum") for name in (*ended, "diverged")}
        grouped = marked.assign(**ended).groupby([*CASE, "of"], sort=False, as_index=False)
        tables.append(grouped.agg(trials=("cost", "size"), **counts))
    return frames.runs[CASE].drop_duplicates().merge(pd.concat(tables), on=CASE)


def _validated(frames: Frames) -> Costs:
    return {
        (key, config): own.set_index(["instance", "seed"])["cost"].sort_index()
        for key, of_run in by_run(frames.validations)
        for config, own in by_text(of_run, "config_id")
    }


def _finished(frames: Frames) -> pd.DataFrame:
    """The trajectories of finished runs."""
    done = frames.runs.loc[frames.runs["state"] == "finished", RUN]
    return frames.trajectories.merge(done, on=RUN)


def _paired(before: "pd.Series[float] | None", after: "pd.Series[float] | None") -> pd.DataFrame:
    """Two costs on the (instance, seed) pairs that both have; none where one is not validated."""
    if before is None or after is None:
        return pd.DataFrame({"before": [], "after": []}, dtype=np.float64)
    return pd.DataFrame({"before": before, "after": after}).dropna()


def _crossed(
    tables: list[pd.DataFrame],
) -> tuple[intervals.Array, intervals.Array, list[str]]:
    """(runs, pairs) arrays of both costs, on the pairs that all runs with any have, and the
    instance of each pair."""
    tables = [table for table in tables if len(table)]
    if not tables:
        return np.empty((0, 0)), np.empty((0, 0)), []
    shared = tables[0].index
    for table in tables[1:]:
        shared = shared.intersection(table.index)
    shared = shared.sort_values()
    before = np.array([table.loc[shared, "before"] for table in tables], dtype=np.float64)
    after = np.array([table.loc[shared, "after"] for table in tables], dtype=np.float64)
    return before, after, [str(instance) for instance, _ in shared]
