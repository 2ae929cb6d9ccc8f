"""What a result depends on: edits of a copy of the checkout, and which fingerprints they change.

All edits are fingerprinted in one process, each in a fork of its own, because starting one for each
would take most of the time.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from sparse_training.errors import BadInput
from target_algorithms import ROOT, variants
from tests.examples import OTHER, PLAIN, scenario_name
from wrappers.configurators import TEMPLATE, configurators
from wrappers.provenance import fingerprint, trial_code

PACKAGES = ("sparse_training", "target_algorithms", "wrappers", "analysis", "commands")
ENGINES = ("masked", "sparse")
TRIALS = frozenset(f"{variant} {engine}" for variant in variants() for engine in ENGINES)
"""Names of the fingerprints of trials; configurators' are their names."""
ALL = TRIALS | set(configurators())

Texts = dict[str, str]
"""Files with their new texts."""
Edit = Callable[[Path], Texts]
"""What to write into a copy of the checkout, by names relative to it."""

PROGRAM = """\
import json, os, sys
from pathlib import Path
from target_algorithms import variants
from wrappers.configurators import configurators
from wrappers.provenance import configurator_code, trial_code

def codes():
    made = {
        f"{name} {engine}": trial_code(variant, engine)
        for name, variant in variants().items()
        for engine in ("masked", "sparse")
    }
    return made | {name: configurator_code(c.file) for name, c in configurators().items()}

def of_a_fork(texts):
    before = {Path(name): Path(name).read_bytes() for name in texts if Path(name).exists()}
    for name, text in texts.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    sys.stdout.flush()
    if os.fork() == 0:
        try:
            print(json.dumps(codes()), flush=True)
        finally:
            os._exit(0)
    os.wait()
    for name in texts:
        Path(name).unlink()
    for path, content in before.items():
        path.write_bytes(content)

for line in sys.stdin:
    of_a_fork(json.loads(line))
"""


# Edits -------------------------------------------------------------------------------------------


def replaced(name: str, old: str, new: str) -> Edit:
    """Another text in a file."""

    def edit(root: Path) -> Texts:
        text = (root / name).read_text()
        assert text.count(old) == 1, f"{old!r} in {name}"
        return {name: text.replace(old, new)}

    return edit


def everywhere(change: Callable[[str], str]) -> Edit:
    """All Python files of what is followed, changed alike."""

    def edit(root: Path) -> Texts:
        files = [file for package in PACKAGES[:3] for file in (root / package).rglob("*.py")]
        return {str(file.relative_to(root)): change(file.read_text()) for file in files}

    return edit


def commented(text: str) -> str:
    """A comment and a blank line behind every statement of the file, a comment at its end."""
    lines = text.splitlines()
    ends = {node.end_lineno for node in ast.parse(text).body}
    return "".join(
        f"{line}\n" + "# A number: 7\n\n" * (number in ends)
        for number, line in enumerate(lines, start=1)
    )


def laid_out_anew(text: str) -> str:
    """As the compiler reads it: no comment, another layout."""
    return ast.unparse(ast.parse(text)) + "\n"


def explained_otherwise(text: str) -> str:
    """With another text in every docstring."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                node.value.value = "Said in another way."
    return ast.unparse(tree) + "\n"


def with_more(name: str, definition: str) -> Edit:
    """One more statement in a function or class."""

    def edit(root: Path) -> Texts:
        tree = ast.parse((root / name).read_text())
        (node,) = [
            node
            for node in tree.body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == definition
        ]
        node.body += ast.parse("edited = 7").body
        return {name: ast.unparse(tree) + "\n"}

    return edit


def copied(name: str, new: str) -> Edit:
    """A file or the files of a folder a second time, under another name."""

    def edit(root: Path) -> Texts:
        if (root / name).is_file():
            return {new: (root / name).read_text()}
        return {
            f"{new}/{file.name}": file.read_text()
            for file in (root / name).iterdir()
            if file.is_file()
        }

    return edit


def both(*edits: Edit) -> Edit:
    return lambda root: {name: text for edit in edits for name, text in edit(root).items()}


def of_variants(*names: str, engines: Iterable[str] = ENGINES) -> frozenset[str]:
    """The fingerprints of some variants' trials."""
    return frozenset(f"{name} {engine}" for name in names for engine in engines)


def on(engine: str) -> frozenset[str]:
    """The fingerprints of all trials on an engine."""
    return of_variants(*variants(), engines=(engine,))


def naming(word: str) -> tuple[str, ...]:
    """The variants whose algorithm.py has a word, or is made of one that has it."""
    texts = {each.name: (each.folder / "algorithm.py").read_text() for each in variants().values()}
    named = [name for name, text in texts.items() if re.search(rf"\b{word}\b", text)]
    parts = [f"target_algorithms.{name}.algorithm" for name in named]
    return tuple(
        name for name, text in texts.items() if name in named or any(p in text for p in parts)
    )


def rules_of_variants_alone() -> Iterator[tuple[str, str]]:
    """(file, class) of the first rule a file that only variants name, none of the library."""
    library = [file.read_text() for file in (ROOT / "sparse_training").rglob("*.py")]
    for file in sorted((ROOT / "sparse_training" / "rules").glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                word = re.compile(rf"\b{node.name}\b")
                if sum(len(word.findall(text)) for text in library) == 1:
                    yield str(file.relative_to(ROOT)), node.name
                    break


OWN = f"target_algorithms/{PLAIN.name}"
SOURCES = "sparse_training/data/sources"
FIRST_SOURCE = next((ROOT / SOURCES).glob("[!_]*.py")).name
ENGINE = "sparse_training/engines"
KERNELS = f"{ENGINE}/sparse.c"
NOTHING: frozenset[str] = frozenset()

CASES: dict[str, tuple[Edit, frozenset[str]]] = {
    "a comment behind every statement": (everywhere(commented), NOTHING),
    "another layout of every file": (everywhere(laid_out_anew), NOTHING),
    "other docstrings everywhere": (everywhere(explained_otherwise), NOTHING),
    "more of everything": (
        both(
            copied(OWN, "target_algorithms/mine"),
            copied(f"{SOURCES}/{FIRST_SOURCE}", f"{SOURCES}/mine.py"),
            copied(f"wrappers/configurators/{TEMPLATE.name}", "wrappers/configurators/mine.py"),
            copied("wrappers/formats/pcs.py", "wrappers/formats/mine.py"),
            copied("commands/list.py", "commands/mine.py"),
            copied("analysis/ablation.py", "analysis/mine.py"),
        ),
        NOTHING,
    ),
    "another command": (with_more("commands/validate.py", "command"), NOTHING),
    "another source of data": (
        replaced(f"{SOURCES}/{FIRST_SOURCE}", "def read(", "x = 7\n\n\ndef read("),
        NOTHING,
    ),
    "a rule that nobody uses": (
        lambda root: {
            "sparse_training/rules/when.py": (root / "sparse_training/rules/when.py").read_text()
            + "\n\nclass Never:\n    interval = 7\n"
        },
        NOTHING,
    ),
    "the page of a variant": (
        lambda root: {f"{OWN}/README.md": "Another page.\n"},
        NOTHING,
    ),
    "a comment in the kernels": (
        lambda root: {KERNELS: "/* 7 */\n" + (root / KERNELS).read_text() + "\n// 8\n"},
        NOTHING,
    ),
    "code in the kernels": (
        lambda root: {KERNELS: (root / KERNELS).read_text() + "\nint edited = 7;\n"},
        on("sparse"),
    ),
    "the sparse engine": (
        with_more("sparse_training/engines/sparse.py", "SparseEngine"),
        on("sparse"),
    ),
    "the masked engine": (
        with_more("sparse_training/engines/masked.py", "MaskedEngine"),
        on("masked"),
    ),
    "the loop": (with_more("sparse_training/loop/training.py", "train"), TRIALS),
    "the trial": (with_more("target_algorithms/trial.py", "balanced_error"), TRIALS),
    "the recipe": (replaced("target_algorithms/recipe.py", "float = 0.6", "float = 0.5"), TRIALS),
    "the reading of data": (with_more("sparse_training/data/stored.py", "Stored"), TRIALS),
    "a number that ranking uses": (
        replaced("sparse_training/ranking.py", "TIE = 1e-5", "TIE = 1e-4"),
        TRIALS,  # the loop updates any mask that has updates
    ),
    "a number of a path": (
        replaced("sparse_training/rules/density_path.py", "progress < 0.75", "progress < 0.5"),
        of_variants(*naming("SoftBound")),
    ),
    "a variant's own rules": (with_more(f"{OWN}/algorithm.py", "compose"), of_variants(PLAIN.name)),
    "a configurator": (
        with_more(f"wrappers/configurators/{TEMPLATE.name}", "configure"),
        frozenset({TEMPLATE.stem}),
    ),
    "the pairs of a run": (
        with_more("wrappers/pairs.py", "training_pairs"),
        frozenset(configurators()),
    ),
    "sampling": (with_more("wrappers/space.py", "Space"), frozenset(configurators())),
} | {
    f"rule {rule}": (with_more(file, rule), of_variants(*naming(rule)))
    for file, rule in rules_of_variants_alone()
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout's code and of what a run on digits needs."""
    root = tmp_path_factory.mktemp("copy") / "checkout"
    for name in (*PACKAGES, "scenarios/digits", "scenarios/spaces"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def in_copy(
    checkout: Path, *words: str, told: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Python on the copy's code."""
    environment = {name: value for name, value in os.environ.items() if name != "SPARSE_ACLIB_PATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env=environment | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        input=told,
    )


@pytest.fixture(scope="module")
def codes(checkout: Path) -> dict[str, dict[str, str]]:
    """The fingerprints after each edit, and after none (`""`)."""
    edits: dict[str, Texts] = {"": {}}
    edits |= {name: edit(checkout) for name, (edit, _) in CASES.items()}
    lines = "".join(json.dumps(texts) + "\n" for texts in edits.values())
    done = in_copy(checkout, "-c", PROGRAM, told=lines)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return dict(zip(edits, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_an_edit_changes_the_fingerprints_of_what_it_is_a_part_of(
    case: str, codes: dict[str, dict[str, str]]
) -> None:
    before, after, expected = codes[""], codes[case], CASES[case][1]
    assert set(before) == ALL <= set(after)
    assert {name for name in ALL if before[name] != after[name]} == expected


def test_a_copy_of_the_checkout_has_its_fingerprints(codes: dict[str, dict[str, str]]) -> None:
    for name, variant in variants().items():
        for engine in ENGINES:
            assert codes[""][f"{name} {engine}"] == trial_code(variant, engine)


def test_variants_and_engines_have_fingerprints_of_their_own(
    codes: dict[str, dict[str, str]],
) -> None:
    assert len(set(codes[""].values())) == len(ALL)
    assert all(re.fullmatch("[0-9a-f]{12}", code) for code in codes[""].values())


def test_an_engine_that_there_is_not_is_named() -> None:
    with pytest.raises(BadInput, match="unknown engine 'nosuch': expected one of masked, sparse"):
        trial_code(PLAIN, "nosuch")


# What is followed ---------------------------------------------------------------------------------


def code(folder: Path, text: str) -> str:
    """The fingerprint of `compose` in a file with a text."""
    folder.mkdir()
    (folder / "algorithm.py").write_text(text)
    return fingerprint([(folder / "algorithm.py", "compose")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("N = 1\ndef compose(): return N", "N = 2\ndef compose(): return N"),
        ("def compose(): return N\nN = 1", "def compose(): return N\nN = 2"),
        (
            "N = [1]\nN += [2]\ndef compose(): return N",
            "N = [1]\nN += [3]\ndef compose(): return N",
        ),
        (
            "try:\n    N = 1\nexcept OSError:\n    N = 2\ndef compose(): return N",
            "try:\n    N = 1\nexcept OSError:\n    N = 3\ndef compose(): return N",
        ),
        (
            "if compose:\n    N = 1\nelse:\n    N = 2\ndef compose(): return N",
            "if compose:\n    N = 1\nelse:\n    N = 3\ndef compose(): return N",
        ),
        (
            "def a(): return 1\ndef b(): return a()\ndef compose(): return b()",
            "def a(): return 2\ndef b(): return a()\ndef compose(): return b()",
        ),
        (
            "class A:\n    n = 1\nclass B(A): pass\ndef compose(): return B.n",
            "class A:\n    n = 2\nclass B(A): pass\ndef compose(): return B.n",
        ),
        ("def compose(n=1): return n", "def compose(n=2): return n"),
        ("def compose(): return f'{1}'", "def compose(): return f'{2}'"),
        (
            "from sparse_training.ranking import TIE\ndef compose(): return TIE",
            "from sparse_training.rules.amount import rounded as TIE\ndef compose(): return TIE",
        ),
        (
            "import sparse_training.ranking\ndef compose(): return sparse_training.ranking.TIE",
            "import sparse_training.ranking\ndef compose(): return sparse_training.ranking.keep",
        ),
    ],
)
def test_what_a_definition_names_counts(one: str, other: str, tmp_path: Path) -> None:
    assert code(tmp_path / "one", one) != code(tmp_path / "other", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("N = 1\ndef compose(): return 7", "N = 2\ndef compose(): return 7"),
        ("def compose(): return 7", "def compose():\n    'Seven.'\n\n    return 7  # or so"),
        (
            "class A:\n    n = 1\ndef compose(a: A) -> A: return a",
            "class A:\n    n = 2\ndef compose(a: A) -> A: return a",
        ),
        (
            "from math import pi\ndef compose(): return 7",
            "import math\nprint(math.e)\ndef compose(): return 7",
        ),
    ],
)
def test_nothing_else_does(one: str, other: str, tmp_path: Path) -> None:
    assert code(tmp_path / "one", one) == code(tmp_path / "other", other)


def test_code_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"algorithm\.py: cannot be read as Python \("):
        code(tmp_path / "broken", "def compose(:")


# From run to report ------------------------------------------------------------------------------


def test_runs_outlive_what_they_do_not_depend_on_and_nothing_else(
    checkout: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"

    def sparse_aclib(*words: str) -> tuple[int, list[str]]:
        done = in_copy(checkout, "-m", "commands", *words)
        return done.returncode, done.stderr.strip().splitlines()

    def run(trials: int) -> tuple[int, list[str]]:
        words = ("--trials", str(trials), "--results", str(results), "--quiet")
        return sparse_aclib("run", f"scenarios/{scenario_name()}", *words)

    assert run(6) == (0, [])
    assert sparse_aclib("validate", str(results), "--seeds", "1")[0] == 0

    edit = both(
        copied(f"target_algorithms/{OTHER.name}", "target_algorithms/mine"),
        replaced("sparse_training/ranking.py", "TIE = 1e-5", "# Another comment.\nTIE = 1e-5"),
    )
    for name, text in edit(checkout).items():
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(text)
    assert run(6) == (0, [])
    assert sparse_aclib("validate", str(results), "--seeds", "2")[0] == 0
    assert sparse_aclib("report", str(results))[0] == 0

    ranking = checkout / "sparse_training/ranking.py"
    ranking.write_text(ranking.read_text().replace("TIE = 1e-5", "TIE = 1e-4"))
    status, said = sparse_aclib("validate", str(results), "--seeds", "3")
    assert (status, len(said)) == (2, 1)
    assert re.fullmatch(
        rf"sparse-aclib: error: {results}/\S+/seed-1: made with another version of what trials of "
        rf"{PLAIN.name} run on the (masked|sparse) engine than this checkout has; .*",
        said[0],
    )
