"""From recorded runs to tables, figures and one page; it reads files and trains nothing.

    records.py          a results folder as data frames (`Frames`)
    groups.py           which runs may be averaged
    configurability.py  defaults against configured, combinations against single variants
    intervals.py        what a mean over runs and evaluations says: intervals, p-values
    anytime.py          validated error over trials
    surrogate.py        a forest that predicts the cost of a configuration
    measure.py          configurations as a scenario draws them
    fanova.py           which parameters explain the cost, by a surrogate
    ablation.py         which changes lead from the default to an incumbent
    fitness.py          whether an instance set measures rules, or noise
    study.py            the frames with what the last three make of every variant (`Study`)
    facts.py            what is missing in a record or does not match, and where it comes from
    words.py            sentences from tables
    figures.py          figures from tables
    page.py             what the page is made of, and its HTML
    sections.py         the sections of the page
    report.py           the list of all analyses; writes the files
    frames.py           pandas with types: by run, by text, by row

A new analysis is one file here and one line in `ANALYSES` of `report.py`. The file has a function
from a `Study` (or just its `Frames`) to a table with a column `set`, and one from such a table to a
figure, drawn within `figures.style()`:

    def table(frames: Frames) -> pd.DataFrame
    def figure(table: pd.DataFrame) -> Figure

    sections.plain("energy", "energy over trials", energy.table, energy.figure, "What it shows.")

The report then has `tables/energy.csv`, and for each instance set a figure and a section with both.
No variant and no configurator has a name in this code: how a variant takes part (`runs["role"]`)
and whether a configurator tries anything (`runs["configures"]`) is in the record.
"""
