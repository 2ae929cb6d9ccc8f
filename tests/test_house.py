"""The rules of the house that a machine can check: imports, types, lint, documents."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from target_algorithms.variants import variants
from wrappers import configurators

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("target_algorithms", "wrappers", "analysis")


def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere in it, dotted."""

    def found() -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: a relative import"
                yield node.module or ""
                yield from (f"{node.module}.{name.name}" for name in node.names)

    return set(found())


def users(package: str, module: str) -> set[str]:
    """The files of a package that import a module or something in it."""
    return {
        str(file.relative_to(ROOT))
        for file in (ROOT / package).rglob("*.py")
        if any(name == module or name.startswith(f"{module}.") for name in imports(file))
    }


def test_imports_point_one_way() -> None:
    for lower in ("wrappers", "analysis"):
        assert users("target_algorithms", lower) == set()
    assert users("wrappers", "analysis") == {"wrappers/cli.py"}
    assert users("wrappers", "torch") == users("analysis", "torch") == set()
    assert users("wrappers", "target_algorithms.trial") == {"wrappers/worker.py"}
    assert users("analysis", "target_algorithms.trial") == set()


def test_only_its_own_file_imports_a_configurators_library() -> None:
    for library, files in {
        "smac": {"wrappers/configurators/smac.py"},
        "rpy2": {"wrappers/irace_child.py"},
    }.items():
        assert set().union(*(users(package, library) for package in PACKAGES)) == files


def test_what_every_trial_imports_is_the_standard_library_and_ourselves() -> None:
    for name in ("aclib", "space", "options", "scenario", "worker", "evaluator", "call", "files"):
        found = {module.split(".")[0] for module in imports(ROOT / "wrappers" / f"{name}.py")}
        assert found <= set(sys.stdlib_module_names) | {"wrappers", "target_algorithms"}, name


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_the_code_is_clean(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_lock_has_every_dependency_and_no_cuda_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    lines = (ROOT / "requirements.lock").read_text().lower().splitlines()
    locked = {line.split("==")[0].replace("_", "-") for line in lines if "==" in line}
    for requirement in wanted:
        assert re.split(r"[=<>]", requirement)[0].lower().replace("_", "-") in locked
    assert not [name for name in locked if "nvidia" in name or "cuda" in name]


def test_the_citation_can_be_read_and_has_the_projects_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert f"## {project['version']} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_names_every_variant_and_configurator() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*variants(), *configurators.names()):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("[a-z]*/**/README.md")), ids=str
)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
