"""What a reader must know of a record: what is missing or does not match, where it comes from."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from analysis import words
from analysis.frames import CASE, by_text, by_texts, run_keys
from analysis.groups import Facet, differing
from analysis.records import Frames
from target_algorithms import CHOSEN


def notes(
    frames: Frames, tables: Mapping[str, pd.DataFrame], missing: Mapping[str, str]
) -> list[str]:
    """What must be known before the results: what is missing, half-way or does not match.

    `missing` names the configurators that could not run, with the reason.
    """
    return [
        *(f"{name} is missing: {reason}" for name, reason in sorted(missing.items())),
        *(f"Left out: {fault}" for fault in frames.left_out),
        *_groups(frames),
        *_incomplete(frames, tables["runs"]),
        *_unused_budget(frames, tables["runs"]),
        *_shares(frames),
        *_failed(frames),
        *_differences(frames),
    ]


def facts(frames: Frames) -> list[tuple[str, str]]:
    """Data, budgets, seeds, machine, versions: name and value."""
    runs, trials, validations = frames.runs, frames.trials, frames.validations
    configured = runs[runs["configures"]]
    data = {
        f"{name} (sha256 {sha256[:12]})"
        for folder in frames.folders
        for name, sha256 in folder.info.hashes.data.items()
    }
    pairs = validations[["instance", "seed"]].drop_duplicates()
    told = [
        ("Data", ", ".join(sorted(data)) or "not named in the record"),
        ("Instances configured on", str(trials["instance"].nunique())),
        (
            "Validation",
            f"{words.counted(pairs['instance'].nunique(), 'test instance')},"
            f" {words.counted(pairs['seed'].nunique(), 'seed')} that no configurator saw",
        ),
        ("Budget of a run", " or ".join(f"{n} trials" for n in sorted(set(configured["trials"])))),
        ("Configurator seeds", ", ".join(map(str, sorted(set(configured["run_seed"]))))),
        ("Trials recorded", f"{len(trials):,}, and {len(validations):,} validation trials"),
        ("Begun", str(runs["started"].min())[:16].replace("T", " ") + " UTC"),
    ]
    told += [("Hardware", _pairs(values)) for values in _distinct(runs["hardware"])]
    told += [("Versions", _pairs(values)) for values in _distinct(runs["versions"])]
    return [(name, value) for name, value in told if value]


def settings(frames: Frames) -> list[tuple[str, str]]:
    """What each configurator changed of its own defaults, where the record says so."""
    told = []
    for name, own in sorted(by_text(frames.runs, "configurator")):
        texts = dict.fromkeys(_pairs(settings) for settings in own["settings"])
        if any(texts):
            told.append((name, "; or ".join(filter(None, texts))))
    return told


def scenarios(frames: Frames) -> list[tuple[str, str]]:
    """The command that each scenario fixes, from the runs' own copies."""
    told: dict[str, str] = {}
    for folder in frames.folders:
        lines = folder.info.copies.get("scenario.txt", "").splitlines()
        algo = next((line for line in lines if line.startswith("algo = ")), "")
        command = algo.removeprefix("algo = ") or "not in the record, which is of version 0.2"
        told.setdefault(f"{folder.set}/{folder.info.variant}", command)
    return list(told.items())


def fewest_seeds(frames: Frames) -> str:
    """How many configurator seeds the least replicated comparison has."""
    runs = frames.runs[frames.runs["configures"] & (frames.runs["state"] == "finished")]
    counts = [own["run_seed"].nunique() for _, own in by_texts(runs, CASE)]
    return words.counted(min(counts), "configurator seed") if counts else "no finished run"


def _incomplete(frames: Frames, per_run: pd.DataFrame) -> list[str]:
    told = []
    running = frames.runs[frames.runs["state"] != "finished"]
    if len(running):
        told.append(
            f"{words.counted(len(running), 'run')} of {len(frames.runs)} not finished, left out of"
            f" all comparisons: {_named(running)}."
        )
    bare = per_run[(per_run["state"] == "finished") & per_run["configured_error"].isna()]
    if len(bare):
        told.append(
            f"{words.counted(len(bare), 'finished run')} without validation of default and"
            f" incumbent, left out: {_named(bare)}. 'sparse-aclib validate' adds it."
        )
    return told


def _unused_budget(frames: Frames, per_run: pd.DataFrame) -> list[str]:
    told = []
    short = frames.configured(per_run[per_run["state"] == "finished"])
    short = short[short["budget_used"] <= short["trials"] - 1]
    for name, own in sorted(by_text(short, "configurator")):
        used = own["budget_used"].astype(float)
        span = f"{used.min():g} to {used.max():g}" if used.nunique() > 1 else f"{used.min():g}"
        told.append(
            f"{name} left a part of its budget unused in {words.counted(len(own), 'run')}: it used"
            f" {span} of {own['trials'].max()} trials."
        )
    return told


def _shares(frames: Frames) -> list[str]:
    """Of configurators that give trials a share of the training budget."""
    told = []
    for name, own in sorted(by_text(frames.trials, "configurator")):
        if shortened := int((own["fidelity"] < 1).sum()):
            told.append(
                f"{name} gave {shortened} of its {len(own)} trials a share of the training budget,"
                " and was charged that share. Importance and training errors are computed from"
                " whole trials."
            )
    return told


def _failed(frames: Frames) -> list[str]:
    told = []
    for kind, trials in (("trial", frames.trials), ("validation trial", frames.validations)):
        if failed := int((trials["status"] != "SUCCESS").sum()):
            told.append(
                f"{words.counted(failed, kind)} of {len(trials)} did not end with SUCCESS; they"
                " count with the worst cost."
            )
        errors = trials["misc"][trials["status"] == "SUCCESS"].map(lambda misc: misc.get("error"))
        if unpaid := int(errors.notna().sum()):
            told.append(
                f"The budget does not pay for the configurations of {words.counted(unpaid, kind)}"
                f" of {len(trials)}; they count with the worst cost."
            )
    return told


def _differences(frames: Frames) -> list[str]:
    """In what the record is not of one piece."""
    told = []
    for column, what in (("versions", "library versions"), ("hardware", "hardware")):
        if len(_distinct(frames.runs[column])) > 1:
            told.append(f"The runs differ in {what}; see the end of this page.")
    evaluated = pd.concat([frames.trials, frames.validations])
    # A selection runs the code of whatever it chooses.
    evaluated["chosen"] = [config.get(CHOSEN, "") for config in evaluated["config"]]
    differing = dict.fromkeys(
        (set_, variant, engine)
        for (set_, variant, engine, _), own in sorted(
            by_texts(evaluated, ["set", "variant", "engine", "chosen"])
        )
        if own["code"].nunique(dropna=False) > 1
    )
    told += [
        f"Runs of {variant} on {set_} were themselves made with different code on the {engine}"
        " engine, in their trials or in their validation; compare with care."
        for set_, variant, engine in differing
    ]
    return told


def _groups(frames: Frames) -> list[str]:
    """Sets whose runs contradict each other: in what, and which runs are in which group."""
    told = []
    for name in sorted({folder.info.set for folder in frames.folders if folder.group is not None}):
        own = [folder for folder in frames.folders if folder.info.set == name]
        facets = differing(folder.facets for folder in own)
        what = words.listed([str(facet) for facet in facets[:6]])
        more = f" and {len(facets) - 6} more" if len(facets) > 6 else ""
        members = []
        for group in sorted({folder.set for folder in own}):
            runs = frames.runs[frames.runs["set"] == group]
            budgets = sorted(set(runs.loc[runs["configures"], "trials"]))
            of = f" of {budgets[0]:,} trials" if Facet("budget") in facets and budgets else ""
            members.append(f"{group} is {words.counted(len(runs), 'run')}{of} ({_named(runs)})")
        told.append(
            f"Runs on {name} differ in {what}{more}. They are never averaged: {'; '.join(members)}."
        )
    return told


def _named(runs: pd.DataFrame, most: int = 6) -> str:
    names = ["/".join(map(str, key)) for key in run_keys(runs)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _distinct(mappings: Iterable[Mapping[str, Hashable]]) -> list[dict[str, Hashable]]:
    """The mappings that contradict each other; what some have more than others is joined."""
    distinct: list[dict[str, Hashable]] = []
    for values in mappings:
        for other in distinct:
            if all(other.get(name, value) == value for name, value in values.items()):
                other |= values
                break
        else:
            distinct.append(dict(values))
    return distinct


def _pairs(values: Mapping[str, Any]) -> str:
    told = [
        f"{name.removesuffix('_gib')} {value}{' GiB' if name.endswith('_gib') else ''}"
        for name, value in values.items()
    ]
    return ", ".join(told)
