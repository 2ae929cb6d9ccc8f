"""Sentences built from the numbers of the tables; the report's prose."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.configurability import OVER_SELECTING, QUESTIONS
from analysis.frames import by_texts, rows
from analysis.intervals import LEVEL, Interval
from analysis.surrogate import LEAST_R2, Refusal, Surrogate
from wrappers.records import AblationPath


def percent(value: float) -> str:
    """An error or a fraction, in per cent with one decimal."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of errors, in percentage points with one decimal and no sign."""
    return f"{abs(100 * value):.1f}"


def counted(number: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def shown(row: Mapping[str, Any]) -> tuple[Interval, str]:
    """The interval of a row's improvement that the page shows, and how it names the question.

    That of these instances; where no instance has two seeds there is none, and that of instances
    like these is shown and named. Empty where neither is possible.
    """
    these, like = (
        Interval(row["improvement"], row[f"low_{question}"], row[f"high_{question}"])
        for question in QUESTIONS
    )
    return (like, " on instances like these") if these.empty and not like.empty else (these, "")


def change(row: Mapping[str, Any]) -> str:
    """`by 4.7 points [4.0, 5.5]`, of an improvement or a worsening."""
    interval, where = shown(row)
    low, high = sorted((interval.low, interval.high), key=abs)
    return f"by {points(interval.mean)} points [{points(low)}, {points(high)}]{where}"


def doubtful(row: Mapping[str, Any]) -> str:
    """The difference with its sign, for intervals that cover zero or are empty."""
    interval, where = shown(row)
    told = f"the improvement is {100 * interval.mean:+.1f} points"
    if interval.empty:
        return told + no_interval(row)
    return f"{told} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]{where}"


def no_interval(row: Mapping[str, Any]) -> str:
    """Why a row has none, behind a number."""
    if row["runs"] < 2:
        return " in a single run, which says nothing of another"
    return ", on a single evaluation a run: no interval is possible"


def gain(row: Mapping[str, Any]) -> str:
    """What a configurator did for a variant; a row of `configurability`."""
    improvement, _ = shown(row)
    ends = f"from {percent(row['default_error'])} to {percent(row['configured_error'])}"
    who = row["configurator"]
    if improvement.mean == 0 and (improvement.empty or improvement.low == improvement.high):
        return f"{who} ends with the default itself ({percent(row['default_error'])})."
    if improvement.empty:
        return f"{who}: {ends}; {doubtful(row)}."
    if improvement.covers_zero:
        return f"{who}: no difference to the default is shown ({ends}; {doubtful(row)})."
    verb = "lowers" if improvement.mean > 0 else "raises"
    return f"{who} {verb} the test error {ends}, {change(row)}."


def in_short(table: pd.DataFrame, against: pd.DataFrame) -> list[str]:
    """The answers of one instance set in a sentence each; none where there is nothing to say.

    `table` is that of `configurability`, `against` that of `against_single`. Only rows with an
    interval are counted, by Holm's p-values.
    """
    told = []
    if len(table):
        told += _headline(
            table,
            "",
            "Configuration gains over the default in",
            ("case (variant and configurator)", "cases (variant and configurator)"),
            ("loses in", "in"),
        )
        if len(decided := table[_is_counted(table)]):
            best = decided.iloc[int(decided["improvement"].argmax())]
            among = f", picked among {len(decided)} and so on the bright side,"
            told.append(
                f"The largest mean improvement{among if len(decided) > 1 else ''} is"
                f" {100 * best['improvement']:.1f} points ({best['variant']} with"
                f" {best['configurator']})."
            )
    for (question, combined), own in by_texts(against, ["question", "combined"]):
        told += _headline(
            own,
            f"What {question} gains: ",
            f"{combined} is better than {_rival(question)} with",
            ("configurator", "configurators"),
            ("worse with", "with"),
        )
    return told


_WHERE = {"these": "on these test instances", "like": "on instances like these"}


def _headline(
    table: pd.DataFrame,
    topic: str,
    claim: str,
    nouns: tuple[str, str],
    others: tuple[str, str],
) -> list[str]:
    """How many rows show an improvement, how many the contrary, how many no difference, of each
    question that has an answer; what they are made from, and how many rows are not counted.

    `others`: what stands before the number of the contrary, and of no difference.
    """
    parts: list[str] = []
    for question in QUESTIONS:
        own = table[table[f"holm_{question}"].notna()]
        if own.empty:
            continue
        clear = own[f"holm_{question}"] < 1 - LEVEL
        better, worse = (int((clear & sign).sum()) for sign in _signs(own))
        noun = nouns[0] if len(own) == 1 else nouns[1]
        of = f"{better} of {len(own)} {noun} {_WHERE[question]}"
        if parts:
            of = f"{_WHERE[question]} {others[1]} {better} of {len(own)}"
        part = of + (f", {others[0]} {worse}" if worse else "")
        if undecided := len(own) - better - worse:
            part += f"; {others[1]} {undecided} no difference is shown"
        parts.append(part)
    counted_ = table[_is_counted(table)]
    left_out = len(table) - len(counted_)
    if not parts:
        nothing = f"{'nothing' if topic else 'Nothing'} is counted of {left_out}"
        return [
            f"{topic}{nothing} {nouns[left_out > 1]}: {'each' if left_out > 1 else 'it'} has a"
            " single run, or evaluation, which says nothing of another ('--seeds' makes more runs)."
        ]
    told = [f"{topic}{claim} {'; '.join(parts)} ({_basis(counted_)}; Holm's correction)."]
    if left_out:
        told.append(
            f"{left_out} more {'has' if left_out == 1 else 'have'} a single run and"
            f" {'is' if left_out == 1 else 'are'} not counted."
        )
    return told


def _signs(table: pd.DataFrame) -> "tuple[pd.Series[bool], pd.Series[bool]]":
    return table["improvement"] > 0, table["improvement"] < 0


def _is_counted(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows have an interval."""
    return table[[f"holm_{question}" for question in QUESTIONS]].notna().any(axis=1)


def _basis(table: pd.DataFrame) -> str:
    """`3 runs each, 10 paired evaluations a run on 5 instances`."""
    runs, pairs, instances = (
        sorted(set(table[column])) for column in ("runs", "pairs", "instances")
    )
    on = "" if instances == [1] else f" on {_numbers(instances, 'instance')}"
    return f"{_numbers(runs, 'run')} each, {_numbers(pairs, 'paired evaluation')} a run{on}"


def configured(table: pd.DataFrame) -> str:
    """All configurators on one variant."""
    told = " ".join(gain(row) for row in rows(table))
    return f"{told} ({_basis(table)})"


def _numbers(numbers: Sequence[int], noun: str) -> str:
    if len(numbers) == 1:
        return counted(int(numbers[0]), noun)
    return f"{min(numbers)} to {max(numbers)} {noun}s"


def references(defaults: pd.DataFrame, no_rivals: Collection[str]) -> list[str]:
    """The baselines, one sentence each; the references among them are named as such."""
    told = []
    for row in rows(defaults):
        aside = ", which is no rival," if row["variant"] in no_rivals else ""
        bounds = f" [{points(row['low_these'])}, {points(row['high_these'])}]"
        told.append(
            f"{row['variant']}{aside} has {percent(row['test_error'])}"
            f"{bounds if row['low_these'] == row['low_these'] else ''} at its defaults"
            f" ({counted(int(row['pairs']), 'evaluation')},"
            f" {row['active_weights']:,.0f} of {row['weights']:,.0f} weights active, density"
            f" {row['density']:.2g})."
        )
    return told


def _rival(question: str) -> str:
    return "the selection" if question == OVER_SELECTING else "the single variant best in training"


def combination(row: Mapping[str, Any]) -> str:
    """A combination or selection against its rival; a row of `against_single`."""
    combined = row["combined"]
    improvement, _ = shown(row)
    chosen = f"the rival was {listed(str(row['single']).split('; '))}"
    if row["selected"]:
        chosen += f"; {combined} selected {listed(str(row['selected']).split('; '))}"
    if improvement.empty:
        verdict = doubtful(row)
    elif improvement.covers_zero:
        verdict = f"no difference is shown; {doubtful(row)}"
    else:
        verdict = f"{combined} is {'better' if improvement.mean > 0 else 'worse'} {change(row)}"
    return (
        f"{row['configurator']}: {combined} reaches {percent(row['combined_error'])},"
        f" {_rival(row['question'])} {percent(row['single_error'])}: {verdict}"
        f" ({counted(int(row['runs']), 'configurator seed')}; {chosen})."
    )


def surrogate_quality(variant: str, fitted: Surrogate | Refusal) -> str:
    """How good the forest is, or why there is none."""
    if isinstance(fitted, Refusal):
        return f"{variant}: no surrogate: {fitted.reason}."
    told = (
        f"{variant}: a random forest on {fitted.configurations} configurations"
        f" ({counted(fitted.trials, 'trial')}) explains an out-of-bag R² of {fitted.r2:.2f}"
    )
    if not fitted.conclusive:
        return told + f", less than the {LEAST_R2} that conclusions need: no importances are shown."
    return told + "."


def important(table: pd.DataFrame) -> str:
    """The leading families and the leading pair of an importance table."""
    leading = rows(table[table["kind"] == "family"].head(3))
    told = listed(
        [
            f"{row['parameter']}{' with what depends on it' if row['other'] else ''}"
            f" ({percent(row['importance'])})"
            for row in leading
        ]
    )
    told = f"The largest shares of the variance of the error belong to {told}."
    pairs = table[table["kind"] == "pair"]
    if len(pairs):
        row = pairs.iloc[0]
        told += (
            f" The pair that adds most is {row['parameter']} × {row['other']}"
            f" ({percent(row['importance'])})."
        )
    return told


def path(taken: AblationPath) -> str:
    """What an ablation path says."""
    how = (
        f"measured with trials on {counted(taken.pairs, 'training pair')}"
        if taken.evaluation == "trials"
        else "predicted by the surrogate, not measured"
    )
    ends = f"from {percent(taken.source_cost)} to {percent(taken.target_cost)}"
    lead = "leads" if len(taken.steps) == 1 else "lead"
    told = f"{counted(len(taken.steps), 'change')} {lead} {ends} ({how}). "
    best = max(taken.steps, key=lambda step: step.gain)
    if best.gain <= 0:
        return told + "None of them lowers the error."
    share = f", {percent(best.share)} of the whole difference" if best.share else ""
    if taken.target_cost >= taken.source_cost:
        share = ""
        told += "The incumbent is not better than the default on these pairs. "
    told += (
        f"The largest single gain is {points(best.gain)} points{share}, from"
        f" {' + '.join(best.parameters)}."
    )
    worse = [step for step in taken.steps if step.gain < 0]
    if worse:
        came = "where it came" if len(worse) == 1 else "where they came"
        told += f" {counted(len(worse), 'change')} made the error worse {came}."
    return told


def curves(variant: str, summary: pd.DataFrame) -> str:
    """Where the anytime curves of a variant end."""
    end = summary["trial"].max()
    final = summary[summary["trial"] == end].sort_values("median", kind="stable")
    return f"{variant}: after {end:g} trials the medians are {listed(_medians(final))}."


def _medians(final: pd.DataFrame) -> list[str]:
    told = []
    for row in rows(final):
        quartiles = f"quartiles {percent(row['quartile_1'])} to {percent(row['quartile_3'])}"
        spread = quartiles if row["runs"] > 1 else "one run"
        told.append(f"{percent(row['median'])} ({row['configurator']}, {spread})")
    return told
