"""A record with its surrogates, importances and ablation paths: what is too dear to do twice.

Each variant that was configured has a surrogate, fitted to the trials of all its runs, or a reason
why it has none. Ablation paths are those that were measured with trials; for a variant without one
the path of its best run is followed on the surrogate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import ablation, configurability, fanova, surrogate
from analysis.frames import RUN, RunKey, by_run, by_texts, joined, run_keys
from analysis.records import Frames
from analysis.surrogate import Refusal, Surrogate
from sparse_training.errors import BadInput
from target_algorithms import variants
from wrappers.records import AblationPath
from wrappers.space import Space, config_id, variant_space

VariantKey = tuple[str, str]
"""A set and a variant."""


@dataclass(frozen=True)
class NoPath:
    """Why no ablation path is shown of a variant."""

    set: str
    reason: str


@dataclass(frozen=True, eq=False)
class Study(Frames):
    """The record and what was made of it; `conduct` makes one."""

    surrogates: Mapping[VariantKey, Surrogate | Refusal]
    """Of every variant with trials of a configurator, with the whole training budget."""
    importances: Mapping[VariantKey, pd.DataFrame | Refusal]
    """The same variants."""
    paths: Mapping[RunKey, AblationPath]
    pathless: tuple[NoPath, ...]


def conduct(frames: Frames) -> Study:
    """Fits the surrogates of a record and follows its ablation paths."""
    surrogates = _surrogates(frames)
    importances = {key: _importance(key[1], fitted) for key, fitted in surrogates.items()}
    measured = _measured_paths(frames)
    predicted, pathless = _predicted_paths(frames, surrogates, measured)
    return Study(
        folders=frames.folders,
        runs=frames.runs,
        trials=frames.trials,
        trajectories=frames.trajectories,
        validations=frames.validations,
        left_out=frames.left_out,
        surrogates=surrogates,
        importances=importances,
        paths={**measured, **predicted},
        pathless=pathless,
    )


def surrogate_table(study: Study) -> pd.DataFrame:
    """One row a variant: how well its surrogate predicts, or why nothing is concluded from it."""
    table = []
    for (set_, variant), own in by_texts(study.configured(study.whole_trials), ["set", "variant"]):
        fitted, importance = study.surrogates[set_, variant], study.importances[set_, variant]
        table.append(
            {
                "set": set_,
                "variant": variant,
                "trials": len(own),
                "configurations": own["config_id"].nunique(),
                "r2": fitted.r2 if isinstance(fitted, Surrogate) else float("nan"),
                "refused": importance.reason if isinstance(importance, Refusal) else "",
            }
        )
    columns = ["set", "variant", "trials", "configurations", "r2", "refused"]
    return pd.DataFrame(table, columns=columns)


def importance_table(study: Study) -> pd.DataFrame:
    """The importances of all variants that have any."""
    tables = [
        table.assign(set=set_, variant=variant)
        for (set_, variant), table in study.importances.items()
        if not isinstance(table, Refusal)
    ]
    return joined(tables, ["set", "variant", *fanova.COLUMNS])


def ablation_table(study: Study) -> pd.DataFrame:
    """The steps of all paths."""
    tables = [
        ablation.table(path).assign(**key._asdict(), evaluation=path.evaluation, pairs=path.pairs)
        for key, path in study.paths.items()
    ]
    return joined(tables, [*RUN, "evaluation", "pairs", *ablation.COLUMNS])


def _surrogates(frames: Frames) -> dict[VariantKey, Surrogate | Refusal]:
    fitted: dict[VariantKey, Surrogate | Refusal] = {}
    folder_of = {folder.key[:2]: folder for folder in frames.folders}
    for (set_, variant), own in by_texts(
        frames.configured(frames.whole_trials), ["set", "variant"]
    ):
        try:
            space = folder_of[set_, variant].space
        except BadInput as error:
            fitted[set_, variant] = Refusal(str(error))
        else:
            fitted[set_, variant] = surrogate.fit(own, space)
    return fitted


def _importance(name: str, fitted: Surrogate | Refusal) -> pd.DataFrame | Refusal:
    if isinstance(fitted, Refusal):
        return fitted
    families = surrogate.families(fitted.space)
    return fanova.importance(
        fitted, groups=fanova.groups(families, _components(name, fitted.space))
    )


def _components(name: str, space: Space) -> dict[str, list[str]]:
    """The components of a variant's parameters: the headings in its files of today.

    The copy of the space that a run has is without comments.
    """
    if name not in variants():
        return {}
    today = variant_space(variants()[name]).by_name
    known = (today.get(each.name, each) for each in space.parameters)
    found = fanova.components(known, f"{name}'s own")
    return found if len(found) > 1 else {}


def _measured_paths(frames: Frames) -> dict[RunKey, AblationPath]:
    paths = {folder.key: folder.record.ablated for folder in frames.folders}
    return {key: path for key, path in paths.items() if path is not None}


def _predicted_paths(
    frames: Frames,
    surrogates: Mapping[VariantKey, Surrogate | Refusal],
    measured: Mapping[RunKey, AblationPath],
) -> tuple[dict[RunKey, AblationPath], tuple[NoPath, ...]]:
    """The path of the best run of each variant without a measured one, and why others have none."""
    paths: dict[RunKey, AblationPath] = {}
    pathless: list[NoPath] = []
    done = {key[:2] for key in measured}
    runs = frames.configured(configurability.per_run(frames))
    for (set_, variant), own in by_texts(runs[runs["state"] == "finished"], ["set", "variant"]):
        if (set_, variant) in done:
            continue
        # The choice is by training error: the path explains a run, it does not select by test.
        best = run_keys(own.sort_values("training_error", kind="stable"))[0]
        path = _predicted_path(frames, best, surrogates.get((set_, variant)))
        if isinstance(path, NoPath):
            pathless.append(path)
        else:
            paths[best] = path
    return paths, tuple(pathless)


def _predicted_path(
    frames: Frames, run: RunKey, fitted: Surrogate | Refusal | None
) -> AblationPath | NoPath:
    """The path of a run with the costs that the surrogate of its variant predicts."""
    if not isinstance(fitted, Surrogate) or not fitted.conclusive:
        reason = f"{run.variant}: no path, its surrogate is not good enough."
        return NoPath(run.set, reason)
    incumbents = dict(by_run(frames.trajectories))[run]["config"]
    default, final = incumbents.iloc[0], incumbents.iloc[-1]
    if config_id(default) == config_id(final):
        return NoPath(run.set, f"{run.variant}: no path, the incumbent is the default.")
    of_variant = dict(by_texts(frames.whole_trials, ["set", "variant"]))[run.set, run.variant]
    costs = surrogate.configuration_costs(of_variant)
    name = f"{run.variant}, {run.configurator}, seed {run.run_seed}"
    if refusal := surrogate.far_off(fitted, costs, default, final):
        return NoPath(run.set, f"{name}: no path on the surrogate: {refusal.reason}.")
    try:
        return ablation.ablate(fitted.space, default, final, fitted.predict)
    except BadInput as error:  # of another configurator, which may record what it likes
        return NoPath(run.set, f"{name}: no path: {error}.")
