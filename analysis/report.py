"""Write the report: tables as CSV, figures as PNG, and one HTML page that holds and explains them.

The one module of this package that writes files. Everything is computed from the record; the same
record gives the same report.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from analysis import anytime, configurability, facts, intervals, page, records, sections, words
from analysis.sections import Analysis, SetResults
from analysis.study import Study, ablation_table, conduct, importance_table, surrogate_table
from sparse_training.files import sweep, write_whole
from wrappers.locks import locked

ANALYSES = (
    Analysis("runs", configurability.per_run),
    Analysis("configurability", configurability.configurability, sections.gain),
    Analysis("defaults", configurability.defaults),
    Analysis("combination", configurability.against_single, sections.combination),
    Analysis("anytime", anytime.steps),
    Analysis("anytime_summary", anytime.summary, sections.over_time),
    Analysis("surrogates", surrogate_table),
    Analysis("importance", importance_table, sections.importance),
    Analysis("ablation", ablation_table, sections.ablations),
    Analysis("changed_parameters", configurability.changed_parameters),
    Analysis("effort", configurability.effort),
    Analysis("statuses", configurability.statuses),
)
"""All tables, and the sections of the page in their order. An analysis is one line here:
`sections.plain` makes one of a function that makes a table and one that draws it."""


def write_report(
    results: Path,
    out: Path | None = None,
    *,
    missing: Mapping[str, str] | None = None,
    left_out: Callable[[str], object] = lambda fault: None,
) -> Path:
    """Writes the report of a results folder and returns the path of the HTML page.

    `out` is that path, `<results>/report.html` if left out; `tables/` and `figures/` are written
    beside it. `missing` names the configurators that could not run, with the reason. Each file is
    replaced as a whole. A run with a fault in its record is not in the report: `left_out` is told
    each, and the page too. Raises BadInput where no run is left.
    """
    frames = records.read(results)
    for fault in frames.left_out:
        left_out(fault)
    study = conduct(frames)
    tables = {analysis.name: analysis.table(study) for analysis in ANALYSES}
    parts = [_part(study, tables, name) for name in sorted(set(study.runs["set"]))]
    html = page.render(
        parts=parts,
        notes=facts.notes(study, tables, missing or {}),
        level=f"{intervals.LEVEL:.0%}".replace("%", " %"),
        facts=facts.facts(study),
        effort=page.table(tables["effort"], "effort"),
        statuses=page.table(tables["statuses"], "statuses"),
        runs=_runs(tables["runs"]),
        settings=facts.settings(study),
        scenarios=facts.scenarios(study),
        commands=list(dict.fromkeys(study.runs["command"])),
        few=facts.fewest_seeds(study),
    )
    path = out or results / "report.html"
    with locked(path.parent, patience=math.inf):  # so that all files are of one report
        for name, frame in tables.items():
            write_whole(path.parent / "tables" / f"{name}.csv", _csv(frame))
        for part in parts:
            for picture in part.pictures:
                write_whole(path.parent / "figures" / picture.file, picture.png)
        write_whole(path, html)
        for folder in (path.parent / "tables", path.parent / "figures"):
            sweep(folder)
    return path


def _part(study: Study, tables: Mapping[str, pd.DataFrame], name: str) -> page.Part:
    """The page's part on one instance set."""
    own = {key: frame[frame["set"] == name] for key, frame in tables.items()}
    shown = [analysis.section for analysis in ANALYSES if analysis.section is not None]
    return page.Part(
        name=name,
        short=words.in_short(own["configurability"], own["combination"]),
        sections=[section(SetResults(name, study, own)) for section in shown],
    )


def _runs(per_run: pd.DataFrame) -> page.Table:
    """All runs, in the columns that fit on the page."""
    hidden = ["config_id", "training_trials", "improvement"]
    return page.table(per_run.drop(columns=hidden), "runs")


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n", float_format="%.10g"))
