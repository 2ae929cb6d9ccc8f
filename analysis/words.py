"""Sentences built from the numbers of the tables; the report's prose."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.configurability import OVER_SELECTING, Interval
from analysis.frames import by_texts, rows
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


def change(row: Mapping[str, Any]) -> str:
    """`by 4.7 points [4.0, 5.5]`, of an improvement or a worsening."""
    low, high = sorted((row["low"], row["high"]), key=abs)
    return f"by {points(row['improvement'])} points [{points(low)}, {points(high)}]"


def doubtful(row: Mapping[str, Any]) -> str:
    """The difference with its sign, for intervals that cover zero."""
    numbers = (row["improvement"], row["low"], row["high"])
    mean, low, high = (f"{100 * value:+.1f}" for value in numbers)
    return f"the improvement is {mean} points [{low}, {high}]"


def gain(row: Mapping[str, Any]) -> str:
    """What a configurator did for a variant; a row of `configurability`."""
    improvement = Interval(row["improvement"], row["low"], row["high"])
    ends = f"from {percent(row['default_error'])} to {percent(row['configured_error'])}"
    who = row["configurator"]
    if improvement.low == improvement.high == 0:
        return f"{who} ends with the default itself ({percent(row['default_error'])})."
    if improvement.covers_zero:
        return f"{who}: no difference to the default is shown ({ends}; {doubtful(row)})."
    verb = "lowers" if improvement.mean > 0 else "raises"
    return f"{who} {verb} the test error {ends}, {change(row)}."


def in_short(table: pd.DataFrame, against: pd.DataFrame) -> list[str]:
    """The answers of one instance set in a sentence each; none where there is nothing to say.

    `table` is that of `configurability`, `against` that of `against_single`.
    """
    told = []
    if len(table):
        better, worse, undecided = _verdicts(table)
        best = table.iloc[int(table["improvement"].argmax())]
        told.append(
            f"Configuration gains over the default in {better} of"
            f" {counted(len(table), 'case')} (variant and configurator)"
            + (f", loses in {worse}" if worse else "")
            + (f"; in {undecided} no difference is shown" if undecided else "")
            + f". The largest mean improvement is {100 * best['improvement']:.1f} points"
            f" ({best['variant']} with {best['configurator']})."
        )
    for (question, combined), own in by_texts(against, ["question", "combined"]):
        better, worse, undecided = _verdicts(own)
        told.append(
            f"What {question} gains: {combined} is better than {_rival(question)} with {better} of"
            f" {counted(len(own), 'configurator')}"
            + (f", worse with {worse}" if worse else "")
            + (f"; with {undecided} no difference is shown" if undecided else "")
            + "."
        )
    return told


def _verdicts(table: pd.DataFrame) -> tuple[int, int, int]:
    """How many rows show an improvement, how many the contrary, how many no difference."""
    better, worse = int((table["low"] > 0).sum()), int((table["high"] < 0).sum())
    return better, worse, len(table) - better - worse


def configured(table: pd.DataFrame) -> str:
    """All configurators on one variant."""
    told = " ".join(gain(row) for row in rows(table))
    runs, pairs = sorted(set(table["runs"])), sorted(set(table["pairs"]))
    basis = f"{_numbers(runs, 'run')} each, {_numbers(pairs, 'paired evaluation')} a run"
    return f"{told} ({basis})"


def _numbers(numbers: Sequence[int], noun: str) -> str:
    if len(numbers) == 1:
        return counted(int(numbers[0]), noun)
    return f"{min(numbers)} to {max(numbers)} {noun}s"


def references(defaults: pd.DataFrame, no_rivals: Collection[str]) -> list[str]:
    """The baselines, one sentence each; the references among them are named as such."""
    told = []
    for row in rows(defaults):
        aside = ", which is no rival," if row["variant"] in no_rivals else ""
        told.append(
            f"{row['variant']}{aside} has {percent(row['test_error'])}"
            f" [{points(row['low'])}, {points(row['high'])}] at its defaults"
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
    improvement = Interval(row["improvement"], row["low"], row["high"])
    chosen = f"the rival was {listed(str(row['single']).split('; '))}"
    if row["selected"]:
        chosen += f"; {combined} selected {listed(str(row['selected']).split('; '))}"
    if improvement.covers_zero:
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
