"""Validated anytime curves: the test error of the incumbent after every number of trials.

**Source**: validation of trajectories as in AClib and SMAC: each incumbent is evaluated again, on
the test instances with fresh seeds; the configurator's own estimate plays no part.
**Differs**: time is counted in trials consumed, the budget that all configurators share.
"""

import numpy as np
import pandas as pd

from analysis.records import RUN


def steps(
    runs: pd.DataFrame, trajectories: pd.DataFrame, validations: pd.DataFrame
) -> pd.DataFrame:
    """One row a change of incumbent: `test_error` holds from `trial` until the next row's.

    The first incumbent, the default, holds from trial 1 whenever it was recorded. A last row at
    the run's budget closes the curve: a configurator that stops early keeps its incumbent. Runs
    under way and runs with an incumbent that is not validated are left out; errors are means over
    the (instance, seed) pairs that all incumbents of the run share.
    """
    rows: list[dict[str, object]] = []
    wanted = runs[(runs["state"] == "finished") & runs["configures"]]
    budgets = {tuple(row[:-1]): row[-1] for row in wanted[[*RUN, "trials"]].itertuples(index=False)}
    groups = {key: own for key, own in validations.groupby(RUN, sort=False)}
    for key, path in trajectories.groupby(RUN, sort=False):
        if key not in budgets or key not in groups:
            continue
        table = groups[key].pivot_table(
            index=["instance", "seed"], columns="config_id", values="cost"
        )
        if not set(path["config_id"]) <= set(table.columns):
            continue
        errors = table[list(dict.fromkeys(path["config_id"]))].dropna().mean()
        if errors.isna().any():
            continue
        at = path["trial"].astype(int).to_list()
        at[0] = 1
        points = [*zip(at, path["config_id"], strict=True)]
        if at[-1] < budgets[key]:
            points.append((int(budgets[key]), points[-1][1]))
        rows += [
            dict(zip(RUN, key, strict=True))
            | {"trial": trial, "config_id": config, "test_error": float(errors[config])}
            for trial, config in points
        ]
    return pd.DataFrame(rows, columns=[*RUN, "trial", "config_id", "test_error"])


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Median, quartiles and mean over configurator seeds at every trial where any run changes.

    Ends at the smallest budget of the runs of a variant, so that all are compared up to there.
    """
    rows = []
    for (set_, variant), own in curves.groupby(["set", "variant"], sort=False):
        end = own.groupby(["configurator", "run_seed"])["trial"].max().min()
        for configurator, mine in own.groupby("configurator", sort=False):
            grid = np.unique([1, *mine.loc[mine["trial"] <= end, "trial"], end])
            values = np.array([_at(run, grid) for _, run in mine.groupby("run_seed")])
            first, median, third = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            rows.append(
                pd.DataFrame(
                    {
                        "set": set_,
                        "variant": variant,
                        "configurator": configurator,
                        "trial": grid,
                        "runs": len(values),
                        "median": median,
                        "quartile_1": first,
                        "quartile_3": third,
                        "mean": values.mean(axis=0),
                    }
                )
            )
    columns = ["set", "variant", "configurator", "trial", "runs"]
    columns += ["median", "quartile_1", "quartile_3", "mean"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def _at(run: pd.DataFrame, grid: np.ndarray) -> np.ndarray:
    """The step function of one run at the trials of `grid`."""
    # Of two incumbents recorded at the same trial the later one holds.
    place = np.searchsorted(run["trial"].to_numpy(), grid, side="right") - 1
    return np.asarray(run["test_error"].to_numpy(float)[place])
