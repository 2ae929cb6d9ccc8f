"""What a result depends on: the code that its trial runs, and nothing else of the repository.

The code is followed from definition to definition: a trial of RigL on the truly sparse engine runs
`trial.run`, RigL's `compose`, the rules that it names, the loop, that engine, and a data file's
reader. Another variant, another source of data, a comment or a docstring is no part of it, so a
result outlives changes there; a changed number in a rule that it uses gives it another fingerprint.

What is followed: names of the checkout's modules, in any definition that is reached. What is not:
annotations (a protocol names no rule), modules imported by a computed name (sources of data, whose
content has a sum of its own), and the engine that did not train. A file beside the code that it
names (sparse.c) counts without its comments and blanks.
"""

import ast
import contextlib
import functools
import hashlib
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sparse_training.errors import BadInput
from target_algorithms import ROOT, Variant
from wrappers.processes import code

PACKAGES = ("sparse_training", "target_algorithms", "wrappers")
"""What is followed; libraries have their versions."""

_ENGINES = {
    "masked": ("sparse_training.engines.masked",),
    "sparse": ("sparse_training.engines.sparse", "sparse_training.engines.kernels"),
}
"""The modules of the engines, the one with the engine first, by what results call them."""

Definition = tuple[Path, str]
"""A file and a name at its top level; "" for all of it."""


def trial_code(variant: Variant, engine: str) -> str:
    """The fingerprint of what a trial of a variant on an engine runs: 12 hexadecimal digits."""
    return _trial_code(variant.folder, engine)


@functools.cache
def _trial_code(folder: Path, engine: str) -> str:
    if engine not in _ENGINES:
        raise BadInput(f"unknown engine {engine!r}: expected one of {', '.join(_ENGINES)}")
    others = [_file_of(m) for name, modules in _ENGINES.items() if name != engine for m in modules]
    used = _file_of(_ENGINES[engine][0])
    roots = [
        (_file_of("target_algorithms.trial"), "run"),
        (folder / "algorithm.py", "compose"),
        (used, f"{engine.capitalize()}Engine"),
    ]
    return fingerprint(roots, stop=others)


@functools.cache
def configurator_code(file: Path) -> str:
    """The fingerprint of what a configurator's choices depend on: its files, spaces, pairs."""
    stop = [
        _file_of(f"wrappers.{name}")
        for name in ("evaluator", "worker", "records", "scenario", "provenance")
    ]
    space, pairs = _file_of("wrappers.space"), _file_of("wrappers.pairs")
    parts = sorted(file.parent.glob(f"_{file.stem}*.py"))
    roots = [(part, "") for part in (file, *parts)]
    roots += [(space, "Space"), (space, "Parameter"), (pairs, "training_pairs")]
    return fingerprint(roots, stop=stop)


@functools.cache
def whole_checkout() -> str:
    """A fingerprint of the content of all files that some trial may run, here and in private roots.

    Takes milliseconds where `trial_code` takes longer than a trial: what tells whether a worker on
    another machine runs what we do. A comment counts.
    """
    places = [str(ROOT), *filter(None, os.environ.get("SPARSE_ACLIB_PATH", "").split(os.pathsep))]
    digest = hashlib.sha256()
    for file in sorted(code()):
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        place = next((i for i, p in enumerate(places) if Path(file).is_relative_to(p)), 0)
        digest.update(f"{place} {os.path.relpath(file, places[place])} {content}\n".encode())
    return digest.hexdigest()[:12]


@functools.cache
def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that a trial computes with."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "scipy", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def fingerprint(roots: Sequence[Definition], stop: Sequence[Path] = ()) -> str:
    """12 hexadecimal digits of the SHA-256 of all code that is reached from some definitions."""
    digest = hashlib.sha256()
    for part in sorted(reached(roots, stop)):
        digest.update(part.encode())
    return digest.hexdigest()[:12]


def reached(roots: Sequence[Definition], stop: Sequence[Path] = ()) -> set[str]:
    """The code reached from some definitions: the text of each, after the name of its file.

    stop: files that are not followed into.
    """
    barred = {path.resolve() for path in stop}
    waiting, seen, texts = list(roots), set[Definition](), set[str]()
    while waiting:
        file, name = waiting.pop()
        if (file, name) in seen or file.resolve() in barred:
            continue
        seen.add((file, name))
        texts.add(f"{_shown(file)}:{name}\n{_text(file, name)}\n")
        waiting += _uses(file, name)
    return texts


def _shown(file: Path) -> str:
    """A file's name that is the same in every checkout."""
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else file.name


# Modules -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Module:
    """The definitions at the top level of a file."""

    file: Path
    definitions: dict[str, tuple[ast.stmt, ...]]
    """Statements that bind a name; "" has those that bind none, imports among them."""


@functools.cache
def _text(file: Path, name: str) -> str:
    """A definition without comments, docstrings and layout; C files that it names, likewise."""
    statements = _statements(file, name)
    texts = [repr(_plain(statement)) for statement in statements if not _is_docstring(statement)]
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts += _c_text(file.parent, node.value)
    return "\n".join(texts)


@functools.cache
def _uses(file: Path, name: str) -> tuple[Definition, ...]:
    """The definitions of the checkout that a definition names."""
    definitions = _module(file).definitions
    imported = dict(_imports(definitions.get("", ())))
    if name not in definitions and name in imported:  # handed on from another module
        return tuple(_resolved(imported[name], ()))
    uses: list[Definition] = []
    for statement in _statements(file, name):
        local = imported | dict(_imports([statement]))
        for path in _names(statement):
            first = path[0]
            if first in local:
                uses += _resolved(local[first], path[1:])
            elif first in definitions:
                uses.append((file, first))
    return tuple(uses)


def _statements(file: Path, name: str) -> tuple[ast.stmt, ...]:
    definitions = _module(file).definitions
    if name == "":
        return tuple(statement for group in definitions.values() for statement in group)
    return definitions.get(name, ())


def _imports(statements: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """(name, dotted path) of what statements import, in functions too."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    yield alias.asname or top, alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield alias.asname or alias.name, f"{node.module}.{alias.name}"


@functools.cache
def _module(file: Path) -> _Module:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise BadInput(f"{file}: cannot be read as Python ({error})") from None
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            definitions.setdefault(name, []).append(statement)
    return _Module(file, {name: tuple(group) for name, group in definitions.items()})


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top level binds, inside of `if` and `try` too."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return [statement.name]
    targets: Sequence[ast.expr] = ()
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    elif isinstance(statement, ast.Expr) and not _is_docstring(statement):
        targets = [statement.value]  # TABLE.update(...) changes TABLE
    names = [
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    ]
    for field in ("body", "handlers", "orelse", "finalbody"):
        for inner in getattr(statement, field, ()):
            names += [name for name in _bound(inner) if name]
    return names or [""]


def _names(statement: ast.stmt) -> Iterator[tuple[str, ...]]:
    """The dotted names that a statement reads, outside of annotations."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Name, ast.Attribute)):
            path = _path(node)
            if path:
                yield path
                continue
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns"):
                continue
            children = value if isinstance(value, list) else [value]
            waiting += [child for child in children if isinstance(child, ast.AST)]


def _path(node: ast.expr) -> tuple[str, ...]:
    """a.b.c as its parts; () for what is no chain of names."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        before = _path(node.value)
        return (*before, node.attr) if before else ()
    return ()


def _resolved(dotted: str, rest: Sequence[str]) -> list[Definition]:
    """The definition that an imported name means: `package.module.name`, as far as it is ours."""
    parts = [*dotted.split("."), *rest]
    if parts[0] not in PACKAGES:
        return []
    for length in range(len(parts), 0, -1):
        file = _file_of(".".join(parts[:length]))
        if file.is_file():
            name = parts[length] if length < len(parts) else ""
            # A module itself is named, to be handed on: all of it counts.
            return [(file, name)] if name or length == len(parts) else []
    return []


@functools.cache
def _file_of(dotted: str) -> Path:
    """The file of a module of the checkout; it need not exist."""
    place = ROOT.joinpath(*dotted.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _plain(node: object) -> object:
    """A syntax tree as nested tuples, the same under every version of Python; no docstrings."""
    if isinstance(node, ast.AST):
        parts = [
            (field, _plain(value))
            for field, value in ast.iter_fields(node)
            if value not in (None, []) and field not in ("ctx", "kind", "type_comment")
        ]
        return (type(node).__name__, *parts)
    if isinstance(node, list):
        return tuple(_plain(part) for part in node if not _is_docstring(part))
    return repr(node)


def _is_docstring(node: object) -> bool:
    """Whether a statement is nothing but a text, which says something and does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _c_text(folder: Path, name: str) -> list[str]:
    """The text of a C file beside the code, without comments and blanks; [] for other names."""
    file = folder / name
    if not re.fullmatch(r"\w+\.[ch]", name) or not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    return [" ".join(text.split())]
