"""An instance set of a user's own data: its lists, its README, what describes its data.

`sparse-aclib new set NAME --data FOLDER` is what uses it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from commands.list import budgets
from sparse_training.data.sources.file import DESCRIPTION, description, for_all, text_of
from sparse_training.data.splits import Outer
from sparse_training.data.stored import path, read
from sparse_training.errors import BadInput
from wrappers.fetch import OwnData
from wrappers.scenario import Scenario

SAMPLED = 10_000
"""Training rows from which instances are samples of 3,000 and 5,000, not halves."""
CONFIGURED, VALIDATED = 10, 5
"""Instances to configure on and to validate on, of all data sets together."""

_README = """\
# {name}

Say in one line what the data sets have in common, and what question the set asks.

| data set | instances | rows | classes | inputs | Licence | Origin |
|---|---|---|---|---|---|---|
{rows}

**Data**: no copy is in this folder. Who has the files puts them into a folder with this
`dataset.toml` and says `sparse-aclib fetch {name} --local FOLDER`; other data are refused.

```toml
{description}```

| file | SHA-256 |
|---|---|
{sums}

## Instances

{folds}
The digits behind a data set's name are the beginning of the SHA-256 of what is stored of it:
{contents}.

## Scenarios

{terms}.

Network, budgets and recipe are those of `{like}`, whose README says how they were found, on other
data. `python -m benchmarks.recipe {name}` finds a recipe on these; `sparse-aclib fitness {name}`
says whether rules of sparse training move the cost here further than chance does.
"""


def described_by(folder: Path, options: Mapping[str, str | Sequence[str]]) -> tuple[str, bool]:
    """(what describes the data of a folder, whether it is new): its dataset.toml, else the options.

    Raises BadInput for options that say something else than a dataset.toml that is there.
    """
    given = {key: value for key, value in options.items() if value}
    if not folder.is_dir():
        raise BadInput(f"no folder {folder}, expected one with files of data sets")
    text = description(folder)
    if text is None:
        if not {"target", "licence"} <= given.keys():
            raise BadInput(
                f"{folder} has no {DESCRIPTION}: expected --target COLUMN and --licence TEXT, or"
                " that file; a licence that nobody stated is 'unknown'"
            )
        return text_of(given), True
    said = for_all(folder, text)
    for key, value in given.items():
        if said.get(key) != value:
            told = f"says {key} = {said[key]!r}" if key in said else f"says no {key} of all"
            raise BadInput(
                f"{folder / DESCRIPTION} {told}, --{key} says {value!r}: expected the same; edit "
                "the file, or leave the option out"
            )
    return text, False


def lists(data: Sequence[OwnData], held_out: Sequence[str]) -> tuple[list[str], list[str]]:
    """(training, test) instances of the outer fold 0 of each data set.

    All data sets are on both sides, by rows of their training and their test part, unless some are
    held out: these are validated on, and only these. Raises BadInput for one that is not there.
    """
    names = [each.said.name for each in data]
    for name in held_out:
        if name not in names:
            raise BadInput(f"--test names {name!r}: expected some of {', '.join(names)}")
    configured = [each for each in data if each.said.name not in held_out]
    if not configured:
        raise BadInput("--test holds all data sets out: expected one to configure on")
    training, test = [], []
    for each in configured:
        rows = _training_rows(each)
        form, drawn = ("3000+5000", 3000) if rows >= SAMPLED else ("halves", (rows + 1) // 2)
        numbers = range(_share(CONFIGURED, configured))
        training += [f"{each.name}/0/{form}/{number}" for number in numbers]
        if not held_out:
            numbers = range(_share(VALIDATED, configured))
            test += [f"{each.name}/0/{drawn}/{number}" for number in numbers]
    test += [f"{each.name}/0" for each in data if each.said.name in held_out]
    return training, test


def _share(count: int, among: Sequence[object]) -> int:
    return -(-count // len(among))


def _training_rows(data: OwnData) -> int:
    trained, _ = Outer().rows(read(path(*data.name.split("/"))), 0)
    return len(trained)


def readme(
    name: str, members: Sequence[Scenario], text: str, data: Sequence[OwnData], held_out: bool
) -> str:
    """The README of the set, to be completed; `members` are the scenarios that it begins with."""
    part = "halves (from 10,000 rows on samples) of the training part of outer fold 0"
    folds = (
        f"Configured on {part} of some data sets,\nvalidated on the test part of others."
        if held_out
        else f"Configured on {part} of each data set.\nValidated on its test part, of which no "
        "training instance sees a row, after training on as many rows."
    )
    sums = [f"| {_cell(file)} | {sum_} |" for each in data for file, sum_ in each.sums]
    return _README.format(
        name=name,
        like=members[0].set,
        terms=_terms(members),
        description=text if text.endswith("\n") else f"{text}\n",
        rows="\n".join(map(_row, data)),
        sums="\n".join(sums),
        folds=folds,
        contents=",\n".join(f"`{each.name}` {each.about.sha256}" for each in data),
    )


def _terms(members: Sequence[Scenario]) -> str:
    cutoffs: dict[float, list[str]] = {}
    for each in members:
        cutoffs.setdefault(each.cutoff, []).append(f"`{each.variant.name}`")
    told = [f"{', '.join(names)} {cutoff:g} seconds" for cutoff, names in cutoffs.items()]
    granted = budgets(members)
    for network in {each.options.network for each in members if each.options.network}:
        granted = granted.replace(network, f"`{network}`")
    return f"{granted}.\nA trial may take: {'; '.join(told)}"


def _row(data: OwnData) -> str:
    stored, about = read(path(*data.name.split("/"))), data.about
    cells = (
        *(about.title, f"`{data.name}`", f"{len(stored.labels):,}", len(about.classes)),
        *(f"{stored.inputs:,}", about.licence, data.said.origin or "say where they come from"),
    )
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
