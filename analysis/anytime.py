"""Validated anytime curves: the test error of the incumbent after every number of trials.

**Source**: validation of trajectories as in AClib and SMAC: each incumbent is evaluated again, on
the test instances with fresh seeds; the configurator's own estimate plays no part.
**Differs**: time is counted in trials consumed, the budget that all configurators share; a trial
with a share of the training budget counts as that share.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frames import CASE, RUN, by_run, by_text, by_texts, joined, run_keys
from analysis.records import Frames
from wrappers.records import plain


def steps(frames: Frames) -> pd.DataFrame:
    """One row a change of incumbent: `test_error` holds from `trial` until the next row's.

    The first incumbent, the default, holds from trial 1 whenever it was recorded. A last row at
    the run's budget closes the curve: a configurator that stops early keeps its incumbent. Runs
    under way and runs with an incumbent that is not validated are left out; errors are means over
    the (instance, seed) pairs that all incumbents of the run share.
    """
    rows: list[dict[str, object]] = []
    runs = frames.runs
    finished = runs[(runs["state"] == "finished") & runs["configures"]]
    budgets = dict(zip(run_keys(finished), finished["trials"].astype(int), strict=True))
    validated = dict(by_run(frames.validations))
    for key, path in by_run(frames.trajectories):
        if key not in budgets or key not in validated:
            continue
        costs = validated[key].pivot_table(
            index=["instance", "seed"], columns="config_id", values="cost"
        )
        if not set(path["config_id"]) <= set(costs.columns):
            continue
        errors = costs[list(dict.fromkeys(path["config_id"]))].dropna().mean()
        if errors.isna().any():
            continue
        at = [plain(trial) for trial in path["trial"]]
        at[0] = 1
        points = [*zip(at, path["config_id"], strict=True)]
        if at[-1] < budgets[key]:
            points.append((budgets[key], points[-1][1]))
        rows += [
            key._asdict()
            | {"trial": trial, "config_id": config, "test_error": float(errors[config])}
            for trial, config in points
        ]
    return pd.DataFrame(rows, columns=[*RUN, "trial", "config_id", "test_error"])


def summary(frames: Frames) -> pd.DataFrame:
    """Median, quartiles and mean over configurator seeds at every trial where any run changes.

    Ends at the smallest budget of the runs of a variant, so that all are compared up to there.
    """
    tables = []
    for (set_, variant), own in by_texts(steps(frames), ["set", "variant"]):
        end = own.groupby(["configurator", "run_seed"])["trial"].max().min()
        for configurator, curves in by_text(own, "configurator"):
            grid = np.unique([1, *curves.loc[curves["trial"] <= end, "trial"], end])
            errors = np.array([_at(curve, grid) for _, curve in curves.groupby("run_seed")])
            first, median, third = np.quantile(errors, [0.25, 0.5, 0.75], axis=0)
            tables.append(
                pd.DataFrame(
                    {
                        "set": set_,
                        "variant": variant,
                        "configurator": configurator,
                        "trial": grid,
                        "runs": len(errors),
                        "median": median,
                        "quartile_1": first,
                        "quartile_3": third,
                        "mean": errors.mean(axis=0),
                    }
                )
            )
    columns = [*CASE, "trial", "runs", "median", "quartile_1", "quartile_3", "mean"]
    return joined(tables, columns)


def _at(curve: pd.DataFrame, grid: NDArray[np.int64]) -> NDArray[np.float64]:
    """The step function of one run at the trials of `grid`."""
    # Of two incumbents recorded at the same trial the later one holds.
    place = np.searchsorted(curve["trial"].to_numpy(), grid, side="right") - 1
    return np.asarray(curve["test_error"].to_numpy(float)[place])
