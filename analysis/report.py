"""Write the report: tables as CSV, figures as PNG, and one HTML page that holds and explains them.

The one module of this package that writes files. Everything is computed from the record; the same
record gives the same report.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis import ablation, anytime, configurability, fanova, figures, records, surrogate, words
from analysis.records import RUN, RunFolder
from analysis.surrogate import Refusal, Surrogate
from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from target_algorithms import Role
from wrappers.records import ABLATION, AblationPath, read_whole
from wrappers.space import Space, config_id

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Table:
    """A table as the page shows it: text only, numbers right-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    file: str = ""
    """The CSV that has all of it."""


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    file: str
    data: str
    """The PNG in base64."""
    text: str
    """What it shows, for who cannot see it."""


@dataclass(frozen=True)
class Importance:
    """The surrogate of one variant and what it says."""

    variant: str
    quality: str
    words: str = ""
    picture: Picture | None = None
    table: Table | None = None


@dataclass(frozen=True)
class Ablation:
    """One ablation path."""

    words: str
    picture: Picture
    table: Table


@dataclass(frozen=True)
class Part:
    """What the page says of one instance set."""

    name: str
    short: list[str]
    combined: str
    gains: list[tuple[str, str]]
    references: list[str]
    combination: list[str]
    error: Picture | None
    error_table: Table | None
    combination_table: Table | None
    curves: Picture | None
    curves_words: list[str]
    importances: list[Importance]
    paths: list[Ablation]
    paths_refused: list[str]
    changed: Table | None


@dataclass
class _Tables:
    """The frames of a report, by the names of their CSV files."""

    folders: list[RunFolder]
    runs: pd.DataFrame
    trials: pd.DataFrame
    trajectories: pd.DataFrame
    validations: pd.DataFrame
    out: dict[str, pd.DataFrame] = field(default_factory=dict)
    surrogates: dict[tuple[str, str], Surrogate | Refusal] = field(default_factory=dict)
    spaces: dict[tuple[str, str], Space] = field(default_factory=dict)
    paths: list[tuple[dict[str, Any], AblationPath]] = field(default_factory=list)
    paths_refused: list[tuple[str, str]] = field(default_factory=list)


def write_report(
    results: Path, out: Path | None = None, *, missing: Mapping[str, str] | None = None
) -> Path:
    """Writes the report of a results folder and returns the path of the HTML page.

    `out` is that path, `<results>/report.html` if left out; `tables/` and `figures/` are written
    beside it. `missing` names the configurators that could not run, with the reason. Each file is
    replaced as a whole. Raises BadInput where there is no run, or a record that cannot be read.
    """
    page = out or results / "report.html"
    tables = _computed(results)
    drawn: dict[str, bytes] = {}
    parts = [_part(tables, name, drawn) for name in sorted(set(tables.runs["set"]))]
    for name, frame in tables.out.items():
        write_whole(page.parent / "tables" / f"{name}.csv", _csv(frame))
    for name, png in drawn.items():
        write_whole(page.parent / "figures" / name, png)
    html = _template().render(
        parts=parts,
        notes=_notes(tables, missing or {}),
        level=f"{configurability.LEVEL:.0%}".replace("%", " %"),
        resamples=f"{configurability.RESAMPLES:,}",
        least_r2=surrogate.LEAST_R2,
        facts=_facts(tables),
        effort=_shown(tables.out["effort"], "effort"),
        runs=_runs_table(tables),
        settings=_settings(tables.runs),
        scenarios=_scenarios(tables.folders),
        commands=list(dict.fromkeys(tables.runs["command"])),
        few=_few(tables.runs),
    )
    write_whole(page, html)
    return page


def _computed(results: Path) -> _Tables:
    """All tables of the report."""
    folders = records.run_folders(results)
    if not folders:
        raise BadInput(
            f"{results}: no run in it, expected <set>/<variant>/<configurator>/seed-<n>/run.json;"
            f" make one: {records.NEXT_COMMAND}"
        )
    # The combinations behind what they combine; otherwise the order of the record.
    folders.sort(key=lambda folder: folder.role is Role.COMBINATION)
    t = _Tables(
        folders,
        records.runs(folders),
        records.trials(folders),
        records.trajectories(folders),
        records.validations(folders),
    )
    per_run = configurability.per_run(t.runs, t.trials, t.trajectories, t.validations)
    t.out["runs"] = per_run
    t.out["configurability"] = configurability.configurability(
        t.runs, t.trajectories, t.validations
    )
    t.out["defaults"] = configurability.defaults(t.trajectories, t.validations)
    t.out["combination"] = configurability.against_single(
        per_run, t.runs, t.trajectories, t.validations
    )
    t.out["anytime"] = anytime.steps(t.runs, t.trajectories, t.validations)
    t.out["anytime_summary"] = anytime.summary(t.out["anytime"])
    t.out["changed_parameters"] = configurability.changed_parameters(t.trajectories)
    t.out["effort"] = configurability.effort(t.trials)
    _fit(t)
    _ablate(t)
    return t


def _configuring(t: _Tables, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs whose configurator tries more than the default."""
    return frame.merge(t.runs.loc[t.runs["configures"], RUN], on=RUN)


def _fit(t: _Tables) -> None:
    """Surrogates and importances of every variant that was configured."""
    quality, shares = [], []
    spaces_of = {(folder.info.set, folder.info.variant): folder for folder in t.folders}
    configured = _configuring(t, t.trials)
    for (set_, variant), own in configured.groupby(["set", "variant"], sort=False):
        fitted: Surrogate | Refusal
        try:
            t.spaces[set_, variant] = spaces_of[set_, variant].space
        except BadInput as error:
            fitted = Refusal(str(error))
        else:
            fitted = surrogate.fit(own, t.spaces[set_, variant])
        t.surrogates[set_, variant] = fitted
        table: pd.DataFrame | Refusal = fitted if isinstance(fitted, Refusal) else pd.DataFrame()
        if isinstance(fitted, Surrogate):
            table = fanova.importance(fitted, families=surrogate.families(t.spaces[set_, variant]))
        quality.append(
            {
                "set": set_,
                "variant": variant,
                "trials": len(own),
                "configurations": own["config_id"].nunique(),
                "r2": fitted.r2 if isinstance(fitted, Surrogate) else float("nan"),
                "refused": table.reason if isinstance(table, Refusal) else "",
            }
        )
        if isinstance(table, pd.DataFrame):
            shares.append(table.assign(set=set_, variant=variant))
    columns = ["set", "variant", "trials", "configurations", "r2", "refused"]
    t.out["surrogates"] = pd.DataFrame(quality, columns=columns)
    columns = ["set", "variant", *fanova.COLUMNS]
    t.out["importance"] = (
        pd.concat(shares, ignore_index=True)[columns] if shares else pd.DataFrame(columns=columns)
    )


def _ablate(t: _Tables) -> None:
    """Recorded paths; for variants without one, a path on the surrogate of the best run."""
    recorded = set()
    folders = t.runs.set_index(RUN)["folder"]
    for key, folder in folders.items():
        file = Path(folder) / ABLATION
        if not file.exists():
            continue
        t.paths.append((dict(zip(RUN, key, strict=True)), read_whole(file, AblationPath)))
        recorded.add(key[:2])
    best = _configuring(t, t.out["runs"])
    best = best[best["state"] == "finished"]
    for (set_, variant), own in best.groupby(["set", "variant"], sort=False):
        if (set_, variant) in recorded:
            continue
        fitted = t.surrogates[set_, variant]
        if not isinstance(fitted, Surrogate) or not fitted.r2 >= surrogate.LEAST_R2:
            t.paths_refused.append((set_, f"{variant}: no path, its surrogate is not good enough."))
            continue
        # The choice is by training error: the path explains a run, it does not select by test.
        row = own.sort_values("training_error", kind="stable").iloc[0]
        key = tuple(row[name] for name in RUN)
        mine = t.trajectories.set_index(RUN).loc[[key]]
        default, target = mine["config"].iloc[0], mine["config"].iloc[-1]
        if config_id(default) == config_id(target):
            t.paths_refused.append((set_, f"{variant}: no path, the incumbent is the default."))
            continue
        trials = t.trials[(t.trials["set"] == set_) & (t.trials["variant"] == variant)]
        costs = surrogate.configuration_costs(trials)
        refused = surrogate.far_off(fitted, costs, default, target)
        if refused:
            name = f"{variant}, {row['configurator']}, seed {row['run_seed']}"
            t.paths_refused.append((set_, f"{name}: no path on the surrogate: {refused.reason}."))
            continue
        path = ablation.ablate(t.spaces[set_, variant], default, target, fitted.predict)
        t.paths.append((dict(zip(RUN, key, strict=True)), path))
    frames = [
        ablation.table(path).assign(**key, evaluation=path.evaluation, pairs=path.pairs)
        for key, path in t.paths
    ]
    columns = [*RUN, "evaluation", "pairs", *ablation.COLUMNS]
    t.out["ablation"] = (
        pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
    )


def _part(t: _Tables, name: str, drawn: dict[str, bytes]) -> Part:
    """Sentences, tables and figures of one instance set; PNGs go into `drawn`."""
    own = {key: frame[frame["set"] == name] for key, frame in t.out.items() if "set" in frame}
    table, defaults = own["configurability"], own["defaults"]
    configured = set(table["variant"])
    of_set = t.runs[t.runs["set"] == name]
    baselines = set(of_set["variant"]) - set(of_set.loc[of_set["configures"], "variant"])
    outside = set(of_set.loc[of_set["role"] == Role.REFERENCE, "variant"])
    combined = words.listed(sorted(set(of_set.loc[of_set["role"] == Role.COMBINATION, "variant"])))
    defaults_shown = defaults[defaults["variant"].isin(configured | baselines)]
    curves = own["anytime_summary"]
    return Part(
        name=name,
        short=words.in_short(table, own["combination"]),
        combined=combined or "the combination",
        gains=[(v, words.configured(g)) for v, g in table.groupby("variant", sort=False)],
        references=words.references(defaults[defaults["variant"].isin(baselines)], outside),
        combination=[words.combination(row) for row in own["combination"].to_dict("records")],
        error=_picture(
            drawn,
            f"{name}-test-error.png",
            lambda: figures.test_error(table, own["runs"], defaults_shown),
            "Test error of default and configured, per variant and configurator; all numbers are"
            " in the table below.",
        )
        if len(table)
        else None,
        error_table=_error_table(table) if len(table) else None,
        combination_table=_shown(own["combination"].drop(columns="set"), "combination")
        if len(own["combination"])
        else None,
        curves=_picture(
            drawn,
            f"{name}-anytime.png",
            lambda: figures.anytime(curves),
            "Validated test error of the incumbent over trials consumed, per variant.",
        )
        if len(curves)
        else None,
        curves_words=_curves_words(curves),
        importances=[
            _importance(t, name, variant, drawn) for set_, variant in t.surrogates if set_ == name
        ],
        paths=[_path(key, path, drawn) for key, path in t.paths if key["set"] == name],
        paths_refused=[reason for set_, reason in t.paths_refused if set_ == name],
        changed=_shown(own["changed_parameters"].drop(columns="set"), "changed_parameters")
        if len(own["changed_parameters"])
        else None,
    )


def _importance(t: _Tables, name: str, variant: str, drawn: dict[str, bytes]) -> Importance:
    quality = words.surrogate_quality(variant, t.surrogates[name, variant])
    table = t.out["importance"]
    table = table[(table["set"] == name) & (table["variant"] == variant)]
    if table.empty:
        return Importance(variant, quality)
    shown = table[table["importance"] >= figures.LEAST_SHOWN].drop(columns=["set", "variant"])
    shown = pd.concat([shown[shown["kind"] == kind] for kind in ("family", "single", "pair")])
    return Importance(
        variant,
        quality,
        words.important(table),
        _picture(
            drawn,
            f"{name}-{variant}-importance.png",
            lambda: figures.importance(table),
            f"Importances of the parameters of {variant}; all numbers are in the table below.",
        ),
        _shown(shown.groupby("kind", sort=False).head(15), "importance"),
    )


def _path(key: dict[str, Any], path: AblationPath, drawn: dict[str, bytes]) -> Ablation:
    table = ablation.table(path)
    name = f"{key['variant']}, {key['configurator']}, seed {key['run_seed']}"
    file = "-".join(str(key[part]) for part in RUN) + "-ablation.png"
    measured = path.evaluation == "trials"
    unit = "mean error on training instances" if measured else "predicted training error"
    picture = _picture(
        drawn,
        file,
        lambda: figures.ablation(table, unit=unit),
        f"Ablation path of {name}; all numbers are in the table below.",
    )
    shown = table.drop(columns=["parameters"])
    return Ablation(words.path(name, path), picture, _shown(shown, "ablation"))


def _picture(drawn: dict[str, bytes], file: str, draw: Callable[[], Figure], text: str) -> Picture:
    figure = draw()
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white")
    plt.close(figure)
    drawn[file] = png.getvalue()
    return Picture(file, base64.b64encode(drawn[file]).decode(), text)


def _curves_words(curves: pd.DataFrame) -> list[str]:
    told = []
    for variant, own in curves.groupby("variant", sort=False):
        end = own["trial"].max()
        final = own[own["trial"] == end].sort_values("median", kind="stable")
        told.append(
            f"{variant}: after {end} trials the medians are "
            + words.listed(
                [
                    f"{words.percent(row['median'])} ({row['configurator']}"
                    + (
                        f", quartiles {words.percent(row['quartile_1'])} to"
                        f" {words.percent(row['quartile_3'])})"
                        if row["runs"] > 1
                        else ", one run)"
                    )
                    for row in final.to_dict("records")
                ]
            )
            + "."
        )
    return told


_PERCENTS = frozenset(
    {
        *("default_error", "configured_error", "single_error", "combined_error", "test_error"),
        *("training_error", "importance", "std", "share", "cost"),
    }
)
_POINTS = frozenset({"improvement", "gain", "low", "high"})


def _error_table(table: pd.DataFrame) -> Table:
    shown = table.drop(columns=["set", "configured_low", "configured_high"])
    return _shown(shown, "configurability")


def _runs_table(t: _Tables) -> Table:
    columns = [*RUN, "state", "trials", "trials_used", "incumbents", "found_at"]
    columns += ["training_error", "pairs", "default_error", "configured_error"]
    return _shown(t.out["runs"][columns], "runs")


def _shown(frame: pd.DataFrame, file: str) -> Table:
    """Errors and shares in per cent, differences in points, the rest as it is."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    rows = [
        [_cell(name, value) for name, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False)
    ]
    heads = [
        name.replace("_", " ") + (" (points)" if name in _POINTS else "") for name in frame.columns
    ]
    return Table(heads, rows, numeric, f"tables/{file}.csv")


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if name in _PERCENTS:
        return words.percent(value)
    if name in _POINTS:
        return f"{100 * value:+.1f}"
    if isinstance(value, float):
        return f"{int(value)}" if value == int(value) else f"{value:.3g}"
    return str(value)


def _notes(t: _Tables, missing: Mapping[str, str]) -> list[str]:
    """What a reader must know before the results: what is missing or half-way."""
    notes = [f"{name} is missing: {reason}" for name, reason in sorted(missing.items())]
    running = t.runs[t.runs["state"] != "finished"]
    if len(running):
        notes.append(
            f"{words.counted(len(running), 'run')} of {len(t.runs)} not finished, left out of all"
            f" comparisons: {_named(running)}."
        )
    per_run = t.out["runs"]
    bare = per_run[(per_run["state"] == "finished") & per_run["configured_error"].isna()]
    if len(bare):
        notes.append(
            f"{words.counted(len(bare), 'finished run')} without validation of default and"
            f" incumbent, left out: {_named(bare)}. 'sparse-aclib validate' adds it."
        )
    short = _configuring(t, per_run[per_run["state"] == "finished"])
    short = short[short["trials_used"] < short["trials"]]
    for name, own in short.groupby("configurator"):
        used = own["trials_used"].astype(int)
        span = f"{used.min()} to {used.max()}" if used.nunique() > 1 else f"{used.min()}"
        notes.append(
            f"{name} left a part of its budget unused in {words.counted(len(own), 'run')}: it used"
            f" {span} of {own['trials'].max()} trials."
        )
    failed = int(t.out["effort"]["failed"].sum()) if len(t.out["effort"]) else 0
    if failed:
        notes.append(
            f"{words.counted(failed, 'trial')} of {len(t.trials)} did not end with SUCCESS; they"
            " count with the worst cost."
        )
    for column, what in (("versions", "library versions"), ("hardware", "hardware")):
        if len(_distinct(t.runs[column])) > 1:
            notes.append(f"The runs differ in {what}; see the end of this page.")
    everything = pd.concat([t.trials, t.validations])
    for (variant, engine), own in everything.groupby(["variant", "engine"]):
        if own["code"].nunique(dropna=False) > 1:
            notes.append(
                f"Trials of {variant} on the {engine} engine were made with different code;"
                " compare with care."
            )
    for name, own in t.runs.groupby("configurator"):
        if len({hashes.get("configurator") for hashes in own["hashes"]}) > 1:
            notes.append(f"Runs of {name} were made with different code; compare with care.")
    return notes


def _named(runs: pd.DataFrame, most: int = 6) -> str:
    names = ["/".join(map(str, key)) for key in runs[RUN].itertuples(index=False)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _distinct(values: pd.Series) -> list[dict[str, Any]]:
    """The mappings that contradict each other; what some have more than others is joined."""
    found: list[dict[str, Any]] = []
    for value in values:
        for known in found:
            if all(known.get(name, text) == text for name, text in value.items()):
                known |= value
                break
        else:
            found.append(dict(value))
    return found


def _facts(t: _Tables) -> list[tuple[str, str]]:
    """Data, budgets, seeds, machine, versions: name and value."""
    runs = t.runs
    configured = runs[runs["configures"]]
    sources = {
        f"{name} (sha256 {str(value)[:12]})"
        for hashes in runs["hashes"]
        for name, value in (hashes.get("data") or {}).items()
    }
    pairs = t.validations[["instance", "seed"]].drop_duplicates()
    facts = [
        ("Data", ", ".join(sorted(sources)) or "not named in the record"),
        ("Instances configured on", str(t.trials["instance"].nunique())),
        (
            "Validation",
            f"{words.counted(pairs['instance'].nunique(), 'test instance')},"
            f" {words.counted(pairs['seed'].nunique(), 'seed')} that no configurator saw",
        ),
        ("Budget of a run", " or ".join(f"{n} trials" for n in sorted(set(configured["trials"])))),
        (
            "Configurator seeds",
            ", ".join(str(seed) for seed in sorted(set(configured["run_seed"]))),
        ),
        ("Trials recorded", f"{len(t.trials):,}, and {len(t.validations):,} validation trials"),
        ("Begun", str(runs["started"].min())[:16].replace("T", " ") + " UTC"),
    ]
    facts += [("Hardware", _told(values)) for values in _distinct(runs["hardware"])]
    facts += [("Versions", _told(values)) for values in _distinct(runs["versions"])]
    return [(name, value) for name, value in facts if value]


def _told(values: Mapping[str, Any]) -> str:
    told = [
        f"{name.removesuffix('_gib')} {value}{' GiB' if name.endswith('_gib') else ''}"
        for name, value in values.items()
    ]
    return ", ".join(told)


def _settings(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What each configurator changed of its own defaults, where the record says so."""
    found: dict[str, list[str]] = {}
    for name, settings in zip(runs["configurator"], runs["settings"], strict=True):
        told = _told(settings)
        if told and told not in found.setdefault(name, []):
            found[name].append(told)
    return [(name, "; or ".join(told)) for name, told in sorted(found.items()) if told]


def _scenarios(folders: Sequence[RunFolder]) -> list[tuple[str, str]]:
    """The command that each scenario fixes, from the runs' own copies."""
    told: dict[str, str] = {}
    for folder in folders:
        lines = folder.info.copies.get("scenario.txt", "").splitlines()
        algo = next((line for line in lines if line.startswith("algo = ")), "")
        command = algo.removeprefix("algo = ") or "not in the record, which is of version 0.2"
        told.setdefault(folder.info.scenario, command)
    return list(told.items())


def _few(runs: pd.DataFrame) -> str:
    """How many configurator seeds there are, for the limits of the comparison."""
    own = runs[runs["configures"] & (runs["state"] == "finished")]
    counts = own.groupby(RUN[:3])["run_seed"].nunique()
    if counts.empty:
        return "no finished run"
    return words.counted(int(counts.min()), "configurator seed")


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"))


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)
