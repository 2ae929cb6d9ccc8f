"""Scaffolds: a new variant, configurator or instance set, complete enough to pass its tests.

What is made works at once, as a copy of what it is like; what to edit next is printed. In a folder
outside the checkout (`--root`) the same files make a private one, which every command sees when
the folder is in SPARSE_ACLIB_PATH.
"""

import ast
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands._console import bar, say
from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from target_algorithms import ROOT, Role, Variant, variant, variants

if TYPE_CHECKING:
    from wrappers.scenario import Scenario

_ALWAYS = (Role.BASELINE, Role.COMBINATION)
"""Roles of the variants that every set has: what measures a set compares with the one the rules of
the other."""
_LIKE, _LIKE_OF_DATA = "mnist5k", "cc18"
"""The sets to begin with: of samples, and of data sets of any shape, by relative budgets."""

app = typer.Typer(no_args_is_help=True, help="Scaffolds: make a variant, a configurator, a set.")

RootOption = Annotated[
    Path | None,
    typer.Option(help="Folder outside the checkout to make it in; the checkout if not."),
]

_LAUNCHER = """\
#!/usr/bin/env python3
\"\"\"Calls the target algorithms of the checkout, with this folder's among them.\"\"\"
import os
import sys

root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
before = os.environ.get("SPARSE_ACLIB_PATH")
os.environ["SPARSE_ACLIB_PATH"] = root + (":" + before if before else "")
target = {target!r}
os.execv(sys.executable, [sys.executable, target, *sys.argv[1:]])
"""

_README_OF_SET = """\
# {name}

Say in one line what the data sets have in common, and what question the set asks.

**Origin**: where the data come from. **Licence**: theirs.

**Folds**: which rows train and which evaluate. `source/dataset/fold` is an outer fold,
`.../fold/inner`, `.../fold/3000+5000/number` and `.../fold/halves/number` split its training part
again. No row that a test instance is evaluated on may be in a training instance.

{terms}
"""


@app.command("variant")
def new_variant(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, _.")],
    like: Annotated[str, typer.Option(help="The variant to begin with.")],
    root: RootOption = None,
) -> None:
    """Make a target algorithm: a folder and its scenarios.

    In the checkout also its test, its row in README.md and its place in the combinations that can
    be the model; with --root the scenarios of the sets that need no download.
    """
    place = _place(root)
    _check_name(name, variants(), "variant")
    model = variant(like)
    folder = place / "target_algorithms" / name
    made = [_write(folder / file.name, _renamed(file, like, name)) for file in _files(model)]
    chosen = Variant(name, folder)
    made += _scenarios(model, chosen, place)
    made += _selections(place)
    if place == ROOT:
        made += _own_test(like, name)
        own = f"| [`{name}`](target_algorithms/{name}/README.md) | as `{model.name}` |\n"
        made += [*_row(model.name, own), *_presets(model, name)]
    else:
        made += _launcher(place)
    _said(made)
    say(
        f"Next: its rules in {_shown(folder / 'algorithm.py')} (one class in one file of"
        " sparse_training/rules for a rule that is missing), its parameters in params.pcs, its"
        " source in README.md; 'sparse-aclib export' after a change of params.pcs."
    )
    tries = [path.parent for path in made if path.name == "scenario.txt"]
    tries.sort(key=lambda scenario: not _offline(scenario.parent))  # data that are there come first
    if tries:
        say(f"Try: {_prefix(place)}sparse-aclib run {_shown(tries[0])}")
    tests = "tests/contracts" + " tests/target_algorithms" * (place == ROOT)
    say(f"Test: {_prefix(place)}./run_all.sh test {tests} -k {name}")


@app.command("configurator")
def new_configurator(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, _.")],
    root: RootOption = None,
) -> None:
    """Make a configurator: one file, random search until you change it."""
    from wrappers.configurators import TEMPLATE, configurators

    place = _place(root)
    _check_name(name, configurators(), "configurator")
    text = re.sub(
        r'\A""".*?"""',
        f'"""{name}: say in one line how it searches.\n\n'
        "Source: the paper that describes it.\n\n"
        "It begins as random search with racing; given the same seed and answers it must ask the\n"
        'same trials.\n"""',
        TEMPLATE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    file = place / "wrappers" / "configurators" / f"{name}.py"
    made = [_write(file, text)]
    if place == ROOT:
        made += _row(TEMPLATE.stem, f"| `{name}` | as `{TEMPLATE.stem}` |\n")
    _said(made)
    say(f"Next: `configure` in {_shown(file)}; budget, limits, record, resuming are the run's.")
    plain = next(each.name for each in variants().values() if each.role is Role.COMPETITOR)
    say(
        f"Try: {_prefix(place)}sparse-aclib run scenarios/mnist5k/{plain}"
        f" --configurator {name} --trials 40"
    )
    say(f"Test: {_prefix(place)}./run_all.sh test tests/wrappers/test_configurators.py -k {name}")


@app.command("set")
def new_set(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, _.")],
    like: Annotated[
        str | None,
        typer.Option(help="The instance set to begin with: mnist5k, with --data cc18."),
    ] = None,
    variants_: Annotated[
        str | None,
        typer.Option(
            "--variants",
            help="Some of its variants: rigl,meta. The baseline and the combination come with them:"
            " 'fitness' needs both.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with data of your own: CSV, Parquet, npz.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="With --data: the column (array of an npz) of the classes.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="With --data: the licence of the data.")
    ] = None,
    categorical: Annotated[
        str | None, typer.Option(help="With --data: columns of categories: a,b.")
    ] = None,
    numeric: Annotated[
        str | None, typer.Option(help="With --data: columns of numbers: a,b.")
    ] = None,
    ignore: Annotated[
        str | None, typer.Option(help="With --data: columns to leave out: a,b.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="With --data: data sets to validate on only, the others to configure on."
        ),
    ] = None,
    root: RootOption = None,
) -> None:
    """Make an instance set: its lists and a scenario for every variant of another set.

    With --data it is one of the data in a folder of yours, complete, and runs at once. What the
    options do not say of them says the folder's dataset.toml; where there is none they write it.
    """
    from wrappers.scenario import sets

    place = _place(root)
    existing = sets()
    _check_name(name, existing, "instance set")
    like = like or (_LIKE if data is None else _LIKE_OF_DATA)
    if like not in existing:
        raise BadInput(f"no instance set {like!r}, expected one of {', '.join(existing)}")
    folder = place / "scenarios" / name
    if folder.exists():
        raise BadInput(f"{folder} is there already; nothing is overwritten")
    members = _members(existing[like], _words(variants_))
    texts = _scenario_texts(members, folder)
    told = {"target": target, "licence": licence, "categorical": _words(categorical)}
    options = told | {"numeric": _words(numeric), "ignore": _words(ignore)}
    if data is not None:
        _own_set(folder, members, data, options, _words(test), texts)
        return
    for key, value in (*options.items(), ("test", test)):
        if value:
            raise BadInput(f"--{key} says what the data of a folder are: expected --data FOLDER")
    for file in ("training.txt", "test.txt", "features.csv"):
        texts[folder / file] = (existing[like] / file).read_text(encoding="utf-8")
    terms = (existing[like] / "README.md").read_text(encoding="utf-8").partition("\n## ")
    texts[folder / "README.md"] = _README_OF_SET.format(name=name, terms=f"## {terms[2]}")
    _said(_write_all(texts) + (_launcher(place) if place != ROOT else []))
    say(
        f"Next: the instances in {_shown(folder)}/training.txt and test.txt, the budgets on the"
        f" algo lines, the recipe there ('python -m benchmarks.recipe {name}' finds one),"
        " README.md; then"
        f" '{_prefix(place)}sparse-aclib fetch {name}', and '{_prefix(place)}sparse-aclib export'"
        " computes features.csv (remove it first, and it gets what tells these instances apart)."
    )
    say(f"Test: {_prefix(place)}./run_all.sh test tests/contracts/test_scenarios.py -k {name}")


def _own_set(
    folder: Path,
    members: "Sequence[Scenario]",
    data: Path,
    options: Mapping[str, str | Sequence[str] | None],
    held_out: Sequence[str],
    texts: Mapping[Path, str],
) -> None:
    """Makes a set of the data in a folder; nothing of it is there if any of them cannot be used."""
    from commands import _own_set
    from sparse_training.data.sources.file import DESCRIPTION
    from wrappers.features import new_features
    from wrappers.fetch import fetch_own

    name, place = folder.name, folder.parents[1]
    given = {key: value for key, value in options.items() if value}
    text, is_new = _own_set.described_by(data, given)
    with bar("reading", None) as update:
        made = fetch_own(data, text, report=lambda step: update(description=step))
        training, test = _own_set.lists(made, held_out)
        update(description="computing features")
        features = new_features([*training, *test])
    lists = {
        folder / "training.txt": "".join(f"{each}\n" for each in training),
        folder / "test.txt": "".join(f"{each}\n" for each in test),
        folder / "features.csv": features,
        folder / "README.md": _own_set.readme(name, members, text, made, bool(held_out)),
    }
    description = {data / DESCRIPTION: text} if is_new else {}
    files = _write_all({**description, **texts, **lists})
    _said(files + (_launcher(place) if place != ROOT else []))
    for each in made:
        for note in each.notes:
            say(f"{each.name}: {note}")
    prefix = _prefix(place)
    scenario = f"{name}/{min(path.parent.name for path in texts if path.name == 'scenario.txt')}"
    say(
        f"Next: what the set asks, in {_shown(folder / 'README.md')};"
        f" '{prefix}sparse-aclib fitness {name}' says whether it measures sparse training."
    )
    say(f"Try: {prefix}sparse-aclib run {scenario} --trials 50")


# What is written ---------------------------------------------------------------------------------


def _files(model: Variant) -> list[Path]:
    names = ("algorithm.py", "params.pcs", "README.md")
    return [file for name in names if (file := model.folder / name).exists()]


def _renamed(file: Path, like: str, name: str) -> str:
    """A variant's file for another one: its first line says what is to be said."""
    text = file.read_text(encoding="utf-8")
    if file.name == "algorithm.py":
        first = f'"""{name}: as {like} until it is changed; say in one line what it does.'
        return re.sub(r'\A"""[^\n]*?(?="""|\n)', first, text)
    if file.name == "README.md":
        return re.sub(r"\A# .*\n", f"# {name}\n\nAs `{like}` until it is changed.\n", text)
    return re.sub(r"\A#.*\n", f"# {name}'s own parameters; recipe.pcs follows.\n", text)


def _scenarios(model: Variant, chosen: Variant, place: Path) -> list[Path]:
    """The model's scenarios for another variant, and the spaces that they name."""
    from wrappers import formats
    from wrappers.scenario import read, scenarios

    made = []
    for path in scenarios():
        if path.name != model.name or (place != ROOT and not _offline(path.parent)):
            continue
        scenario = read(path)
        text = scenario.text.replace(
            f"./wrappers/target {model.name} ", f"./wrappers/target {chosen.name} "
        ).replace(f"/spaces/{model.name}", f"/spaces/{chosen.name}")
        folder = place / "scenarios" / scenario.set
        made.append(_write(folder / chosen.name / "scenario.txt", text))
        if place != ROOT:  # a set of the checkout, repeated to add a variant to it
            for file in ("training.txt", "test.txt", "features.csv", "README.md"):
                if not (folder / file).exists():
                    made.append(_write(folder / file, (path.parent / file).read_text()))
        written = read(folder / chosen.name, check_paramfile=False)
        made += formats.write(formats.committed(written))
    return made


def _selections(place: Path) -> list[Path]:
    """The spaces of the selections there, in which the new variant is a choice now."""
    from wrappers import formats
    from wrappers.scenario import read

    made: list[Path] = []
    for file in sorted((place / "scenarios").glob("*/*/scenario.txt")):
        if variant(file.parent.name, also=[place]).is_selection:
            made += formats.write(formats.committed(read(file, check_paramfile=False)))
    return made


def _offline(folder: Path) -> bool:
    """Whether packages bring a set's data."""
    from sparse_training.data.instances import parse
    from sparse_training.data.sources import source
    from wrappers.scenario import set_instances

    return all(source(parse(name).source).INSTALLED for name in set_instances(folder))


def _members(like: Path, chosen: Sequence[str]) -> "list[Scenario]":
    """The scenarios of a set, of all variants or of those chosen and what every set has."""
    from wrappers.scenario import read, scenarios

    of_model = {path.name: path for path in scenarios() if path.parent == like}
    for name in chosen:
        if name not in of_model:
            raise BadInput(
                f"--variants names {name!r}, of which {like.name} has no scenario: expected some "
                f"of {', '.join(of_model)}"
            )
    every = [read(path) for path in of_model.values()]
    return [
        each
        for each in every
        if not chosen or each.variant.name in chosen or each.variant.role in _ALWAYS
    ]


def _scenario_texts(members: "Sequence[Scenario]", folder: Path) -> dict[Path, str]:
    """Scenarios for another set, and the spaces that they name and its root lacks."""
    texts = {}
    for scenario in members:
        text = scenario.text.replace(f"scenarios/{scenario.set}/", f"scenarios/{folder.name}/")
        texts[folder / scenario.variant.name / "scenario.txt"] = text
        space = folder.parents[1] / scenario.paramfile
        if not space.exists():
            texts[space] = (scenario.root / scenario.paramfile).read_text(encoding="utf-8")
    return texts


def _own_test(like: str, name: str) -> list[Path]:
    folder = ROOT / "tests" / "target_algorithms"
    model = folder / f"test_{like}.py"
    if not model.is_file():
        return []
    text = model.read_text(encoding="utf-8").replace(f'NAME = "{like}"', f'NAME = "{name}"')
    return [_write(folder / f"test_{name}.py", text)]


def _row(like: str, own: str) -> list[Path]:
    """A row in README.md, below that of the model."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    row = re.search(rf"^\| [^|]*`{like}`[^|]*\|.*\n", text, re.MULTILINE)
    return [_replace(readme, text[: row.end()] + own + text[row.end() :])] if row else []


def _presets(model: Variant, name: str) -> list[Path]:
    """Its settings in the combinations that can be the model."""
    changed = []
    for combined in variants().values():
        if combined.role is Role.COMBINATION and model.name in combined.presets:
            changed.append(_add_preset(combined.folder / "algorithm.py", model.name, name))
    return changed


def _add_preset(file: Path, like: str, name: str) -> Path:
    """Repeats an entry of PRESETS under another name."""
    text = file.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == like and value.end_lineno:
                lines = text.splitlines(keepends=True)
                entry = f'    "{name}": {ast.get_source_segment(text, value)},\n'
                return _replace(
                    file, "".join([*lines[: value.end_lineno], entry, *lines[value.end_lineno :]])
                )
    raise BadInput(f"{file}: no entry {like!r} in PRESETS, expected one to repeat")


def _launcher(place: Path) -> list[Path]:
    """What `./wrappers/target` is in a private root, for other configurators."""
    file = place / "wrappers" / "target"
    if file.exists():
        return []
    _write(file, _LAUNCHER.format(target=str(ROOT / "wrappers" / "target")))
    file.chmod(0o755)
    return [file]


# Small things ------------------------------------------------------------------------------------


def _place(root: Path | None) -> Path:
    if root is None:
        return ROOT
    root.mkdir(parents=True, exist_ok=True)
    return root.resolve()


def _check_name(name: str, taken: Iterable[str], what: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput(
            f"name {name!r}, expected lower-case letters, digits and _, beginning with a letter"
        )
    if name in taken:
        raise BadInput(f"{what} {name} is there already; choose another name")


def _write(path: Path, text: str) -> Path:
    if path.exists():
        raise BadInput(f"{path} is there already; nothing is overwritten")
    write_whole(path, text)
    return path


def _write_all(texts: Mapping[Path, str]) -> list[Path]:
    """Writes new files, all or, whatever goes wrong, none of them."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            made.append(_write(path, text))
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        left = {parent for path in made for parent in list(path.parents)[:3]}
        for folder in sorted(left, key=lambda each: -len(each.parts)):
            with suppress(OSError):  # not empty: it was there
                folder.rmdir()
        raise
    return made


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _replace(path: Path, text: str) -> Path:
    write_whole(path, text)
    return path


def _shown(path: Path) -> str:
    return shlex.quote(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path))


def _prefix(place: Path) -> str:
    """What makes a command see a private root."""
    return "" if place == ROOT else f"SPARSE_ACLIB_PATH={shlex.quote(str(place))} "


def _said(paths: list[Path]) -> None:
    for path in paths:
        say(_shown(path))
