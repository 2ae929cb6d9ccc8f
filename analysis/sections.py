"""The sections of the page, and what a section is made from.

A section is a function from the `SetResults` of one instance set to headings, sentences, tables and
figures; `plain` makes one of a table and a figure. Which there are says `analysis/report.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis import ablation, fanova, figures, words
from analysis.configurability import QUESTIONS, TESTED
from analysis.frames import by_text, joined, rows
from analysis.page import Block, Folded, Heading, Items, Section, Text, picture, table
from analysis.study import Study
from analysis.surrogate import LEAST_R2, Refusal
from target_algorithms import Role


@dataclass(frozen=True)
class SetResults:
    """What there is of one instance set."""

    name: str
    """The set's."""
    study: Study
    """Of all sets."""
    tables: Mapping[str, pd.DataFrame]
    """The set's rows of every table, by its name."""

    @property
    def runs(self) -> pd.DataFrame:
        """The set's runs."""
        return self.study.runs[self.study.runs["set"] == self.name]

    def variants(self, role: Role) -> set[str]:
        """The set's variants with a role."""
        return set(self.runs.loc[self.runs["role"] == role, "variant"])

    @property
    def combination(self) -> str:
        """The names of the selections and combinations."""
        names = [*sorted(self.variants(Role.SELECTION)), *sorted(self.variants(Role.COMBINATION))]
        return words.listed(names) or "the combination"


@dataclass(frozen=True)
class Analysis:
    """A table of the report and, where there is one, the section of the page that shows it."""

    name: str
    """Of `tables/<name>.csv`."""
    table: Callable[[Study], pd.DataFrame]
    """Of all sets, which a column `set` names."""
    section: Callable[[SetResults], Section] | None = None


def plain(
    name: str,
    title: str,
    make: Callable[[Study], pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure] | None = None,
    text: str = "",
) -> Analysis:
    """An analysis whose section shows the set's rows of the table that `make` makes, the figure
    that `draw` draws of them, and a text that explains them."""

    def section(results: SetResults) -> Section:
        own = results.tables[name]
        blocks: list[Block] = [Text(text)] if text else []
        if own.empty:
            blocks.append(Text("There is nothing to show yet."))
        else:
            if draw is not None:
                shown = f"{title}; all numbers are in the table below."
                blocks.append(picture(f"{results.name}-{name}.png", draw(own), shown))
            blocks.append(table(own.drop(columns="set"), name))
        return Section(title, blocks, anchor=name, link=title[:1].upper() + title[1:])

    return Analysis(name, make, section)


def gain(results: SetResults) -> Section:
    """Default against configured, with the baselines and references."""
    compared, defaults = results.tables["configurability"], results.tables["defaults"]
    runs = results.runs
    baselines = set(runs["variant"]) - set(runs.loc[runs["configures"], "variant"])
    shown = defaults[defaults["variant"].isin(set(compared["variant"]) | baselines)]
    beside = words.references(
        defaults[defaults["variant"].isin(baselines)], results.variants(Role.REFERENCE)
    )
    blocks: list[Block] = [Text(f"For reference: {' '.join(beside)}")] if beside else []
    if compared.empty:
        nothing = "No finished run of a configurator is validated yet; there is nothing to compare."
        blocks = [Text(nothing), *blocks]
    else:
        figure = figures.test_error(compared, results.tables["runs"], shown)
        blocks = [
            Items(
                [
                    Markup("<strong>{}</strong>: {}").format(variant, words.configured(own))
                    for variant, own in by_text(compared, "variant")
                ]
            ),
            *blocks,
            picture(
                f"{results.name}-test-error.png",
                figure,
                "Test error of default and configured, per variant and configurator; all numbers"
                " are in the table below.",
            ),
            table(
                _as_shown(compared).drop(columns=["configured_low_these", "configured_high_these"]),
                "configurability",
            ),
            Text(
                Markup(
                    "Improvement is the error of the default minus that of the final incumbent, on"
                    " the same (instance, seed) pairs: more is better. {}"
                    " <code>runs better</code> counts the configurator seeds whose incumbent has"
                    " the lower error."
                ).format(_bounds(compared))
            ),
        ]
    return Section("default against configured", blocks, anchor="gain", link="Configurability")


def _as_shown(compared: pd.DataFrame) -> pd.DataFrame:
    """A table of improvements without what the page has no room for, and without empty bounds."""
    hidden = {"set", "instances", *(f"p_{question}" for question in QUESTIONS)}
    hidden |= {name for name in TESTED if compared[name].isna().all()}
    return compared.drop(columns=list(hidden))


def _bounds(compared: pd.DataFrame) -> Markup:
    """What bounds the improvements of a table, and which question that answers."""
    if compared[TESTED].isna().all(axis=None):
        return Markup("There is no interval: a single run, or evaluation, says nothing of another.")
    these = (
        "<code>low these</code> and <code>high these</code> bound the mean over further runs and"
        " further seeds on the instances of this set; sentences and figures are about that."
    )
    like = (
        " <code>low like</code> and <code>high like</code> bound the mean on further instances of"
        " which these are a sample."
    )
    holm = " <code>holm</code>: the p-value of no difference, corrected for all rows counted."
    answered = [
        text
        for text, question in zip((these, like), QUESTIONS, strict=True)
        if compared[f"low_{question}"].notna().any()
    ]
    return Markup("".join([*answered, holm]))


def combination(results: SetResults) -> Section:
    """The selections and combinations against the best single variant, and against each other."""
    compared, name = results.tables["combination"], results.combination
    blocks: list[Block]
    if compared.empty:
        blocks = [
            Text(
                f"This needs finished, validated runs of {name} and of every single variant with"
                " the same configurator and seed; there are none yet."
            )
        ]
    else:
        blocks = [
            *(
                block
                for question, own in by_text(compared, "question")
                for block in (
                    Heading(f"What {question} gains"),
                    Items([words.combination(row) for row in rows(own)]),
                )
            ),
            table(_as_shown(compared), "combination"),
            Text(
                Markup(
                    "{} The rival is chosen for every configurator seed by the mean error of its"
                    " incumbent in training; test errors play no part in the choice. Choosing among"
                    " several single variants took one budget for each of them, {} took one{}."
                ).format(_bounds(compared), name, " each" if " and " in name else "")
            ),
        ]
    return Section(
        f"{name} against the best single variant", blocks, anchor="combination", link="Combination"
    )


def over_time(results: SetResults) -> Section:
    """Validated anytime curves."""
    curves = results.tables["anytime_summary"]
    blocks: list[Block]
    if curves.empty:
        blocks = [Text("No finished run has all of its incumbents validated yet.")]
    else:
        blocks = [
            Items([words.curves(variant, own) for variant, own in by_text(curves, "variant")]),
            picture(
                f"{results.name}-anytime.png",
                figures.anytime(curves),
                "Validated test error of the incumbent over trials consumed, per variant.",
            ),
            Text(
                Markup(
                    "Every incumbent was validated afterwards; a curve shows what stopping after so"
                    " many trials would have given. Line: median over configurator seeds, band:"
                    " between the quartiles. Curves can rise: what looks better in training may be"
                    " worse in the test. Data: <code>tables/anytime.csv</code>,"
                    " <code>tables/anytime_summary.csv</code>."
                )
            ),
        ]
    return Section("validated test error over trials", blocks, anchor="anytime", link="Over time")


def importance(results: SetResults) -> Section:
    """Importances of the parameters of every variant that was configured."""
    blocks: list[Block] = [
        Text(
            Markup(
                "Functional ANOVA (fANOVA) of a random forest fitted to all whole trials of"
                " a variant: the fraction of the variance of the error, over the whole parameter"
                " space as the scenario samples it, that a parameter explains. Much of that"
                " variance lies between bad and very bad configurations; what leads from the"
                " default to the best one is the ablation's matter. A parameter that depends on"
                " others is looked at where it is active, and its share is what it explains there;"
                " whether it is active is its parent's share. Parameters, pairs and what is beyond"
                " them add up to 100 %; what two parameters that forbidden combinations tie explain"
                " alike is counted for both. A component is a section of the parameter file: it has"
                " what its members explain alone and among each other, parents in another component"
                " given. Intervals are over data (95 %, a bootstrap of the configurations);"
                " a share is sampled and off by up to a point. Below an"
                " out-of-bag R² of {} nothing is concluded."
            ).format(LEAST_R2)
        )
    ]
    variants = [variant for set_, variant in results.study.surrogates if set_ == results.name]
    for variant in variants:
        blocks += _importance(results, variant)
    if not variants:
        blocks.append(Text("No trial of a configurator is recorded yet."))
    return Section("which parameters matter", blocks, anchor="importance", link="Importance")


def _importance(results: SetResults, variant: str) -> list[Block]:
    quality = words.surrogate_quality(variant, results.study.surrogates[results.name, variant])
    explained = results.study.importances[results.name, variant]
    if isinstance(explained, Refusal):
        return [Heading(variant), Text(quality)]
    shown = explained[explained["importance"] >= figures.LEAST_SHOWN]
    of_kind = dict(by_text(shown, "kind"))
    kinds = ("component", "family", "single", "pair")
    leading = [of_kind[kind].head(15) for kind in kinds if kind in of_kind]
    leading.append(explained[explained["kind"] == fanova.REST])
    numbers = table(joined(leading, fanova.COLUMNS), "importance")
    return [
        Heading(variant),
        Text(f"{quality} {words.important(explained)} {_left_over(explained)}"),
        picture(
            f"{results.name}-{variant}-importance.png",
            figures.importance(explained),
            f"Importances of the parameters of {variant}; all numbers are in the table below.",
        ),
        Folded("Numbers", numbers),
    ]


def _left_over(explained: pd.DataFrame) -> str:
    """What parameters alone, the pairs of the table and the rest come to; what components do."""
    by_kind = explained.groupby("kind")["importance"].sum()
    rest = explained[explained["kind"] == fanova.REST].set_index("parameter")["importance"]
    left = rest["single + pair"]
    told = (
        f"Parameters alone explain {words.percent(by_kind['single'])}, the pairs shown add"
        f" {words.percent(by_kind.get('pair', 0.0))}"
        + _beyond("other pairs and what takes more than two parameters", left)
    )
    components = explained[explained["kind"] == "component"].head(3)
    if len(components):
        leading = [f"{r['parameter']} ({words.percent(r['importance'])})" for r in rows(components)]
        told += f" By component: {words.listed(leading)}"
        told += _beyond("what takes more than one component", rest["component"])
    return told


def _beyond(what: str, left: float) -> str:
    if left >= 0:
        return f"; {what}: {words.percent(left)}."
    return f"; {words.percent(-left)} of that is counted twice, or by chance of the sample."


def ablations(results: SetResults) -> Section:
    """Paths from the default to an incumbent, and all that the incumbents changed."""
    blocks: list[Block] = [
        Text(
            Markup(
                "From the default, the change that helps most is made first, then the next, until"
                " the incumbent is reached; a parameter changes together with those that it makes"
                " active or inactive. Each step is the best of several noisy candidates, so a"
                " step's gain is on the bright side; the gains add up to the whole difference."
                " Paths are measured with trials where that was asked for (<code>sparse-aclib"
                " ablate</code>); for another variant the run with the least training error is"
                " followed on the surrogate, if that predicts both ends well enough."
            )
        )
    ]
    paths = {run: path for run, path in results.study.paths.items() if run.set == results.name}
    for run, path in paths.items():
        name = f"{run.variant}, {run.configurator}, seed {run.run_seed}"
        measured = path.evaluation == "trials"
        unit = "mean error on training instances" if measured else "predicted training error"
        steps = ablation.table(path)
        blocks += [
            Heading(name),
            Text(words.path(path)),
            picture(
                "-".join(map(str, run)) + "-ablation.png",
                figures.ablation(steps, unit=unit),
                f"Ablation path of {name}; all numbers are in the table below.",
            ),
            Folded("Numbers", table(steps.drop(columns="parameters"), "ablation")),
        ]
    reasons = [each.reason for each in results.study.pathless if each.set == results.name]
    if reasons:
        blocks.append(Items(reasons))
    if not paths and not reasons:
        blocks.append(Text("No finished run of a configurator is recorded yet."))
    changed = results.tables["changed_parameters"]
    if len(changed):
        summary = f"All changes of the final incumbents of {results.name}"
        blocks.append(Folded(summary, table(changed.drop(columns="set"), "changed_parameters")))
    return Section("from the default to the incumbent", blocks, anchor="ablation", link="Ablation")
