"""What the house asks of what is committed here: pages, sources, names, structure.

A variant or a set outside this checkout need not keep to it.
"""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from target_algorithms import CHOSEN, ROOT, SHARED_PCS, Role, Variant, variants
from target_algorithms.contract import Trial
from target_algorithms.trial import run
from tests.examples import config_of, options_for, topology_at, whole, within_budget
from wrappers import configurators
from wrappers.scenario import read, scenarios, sets
from wrappers.space import read_pcs, variant_space

PACKAGES = ("commands", "analysis", "wrappers", "target_algorithms", "sparse_training")
"""From the top down: each imports itself and those behind it."""

SHARED = read_pcs(SHARED_PCS.read_text(), SHARED_PCS.name)
VARIANTS = [each for each in variants().values() if each.folder.is_relative_to(ROOT)]
CONFIGURATORS = [c for c in configurators.configurators().values() if c.file.is_relative_to(ROOT)]

every_variant = pytest.mark.parametrize("chosen", VARIANTS, ids=[each.name for each in VARIANTS])


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


# Variants ----------------------------------------------------------------------------------------


@every_variant
def test_a_variant_has_a_page_that_names_its_source_and_every_parameter(chosen: Variant) -> None:
    page = (chosen.folder / "README.md").read_text()
    assert "Source" in page
    for name in variant_space(chosen).by_name:
        own = chosen.pcs.read_text() if chosen.pcs.is_file() else f"{CHOSEN} {{"
        if re.search(rf"^{name} *[\[{{]", own, re.MULTILINE):
            assert f"`{name}`" in page, name


@every_variant
def test_a_variants_code_says_its_source_and_where_it_differs(chosen: Variant) -> None:
    """At the code, not only on the page."""
    said = ast.get_docstring(ast.parse((chosen.folder / "algorithm.py").read_text())) or ""
    if chosen.role in (Role.REFERENCE, Role.BASELINE):
        return  # nothing published that it could differ from
    assert "**Source**" in said and "**Differs**" in said


@every_variant
def test_a_variant_has_a_test_of_its_own_by_hand(chosen: Variant) -> None:
    file = ROOT / "tests" / "target_algorithms" / f"test_{chosen.name}.py"
    assert file.is_file(), f"expected one update worked out by hand in {file}"


@every_variant
def test_a_combination_can_be_every_other_variant_of_this_checkout(chosen: Variant) -> None:
    if chosen.role is not Role.COMBINATION:
        pytest.skip("no combination")
    single = {each.name for each in VARIANTS if each.role in (Role.COMPETITOR, Role.BASELINE)}
    assert set(chosen.presets) == single


@every_variant
def test_shared_parameters_are_the_same_for_all_variants(chosen: Variant) -> None:
    """But for those that it leaves out, which the next test is about."""
    space = variant_space(chosen)
    shared = [parameter for parameter in space.parameters if parameter.name in SHARED.by_name]
    left_out = set(SHARED.by_name) - set(space.by_name)
    assert shared == [p for p in SHARED.parameters if p.name not in left_out]


@every_variant
def test_what_a_variant_leaves_out_of_the_recipe_would_change_nothing(chosen: Variant) -> None:
    if chosen.role is Role.REFERENCE and within_budget(chosen):
        pytest.skip("what it fixes is what it is a reference for")
    space = variant_space(chosen)
    for name in set(SHARED.by_name) - set(space.by_name):
        parameter = SHARED.by_name[name]
        values = parameter.choices or (parameter.low, parameter.high)
        parents = {c.parent: c.values[0] for c in SHARED.conditions_of(name)}
        peak = "peak_weights" in chosen.requires
        base = whole(chosen, config_of(chosen, peak=peak, **parents))
        trial = Trial(
            variant=chosen.name,
            folder=str(chosen.folder),
            options=options_for(chosen),
            instance="sklearn/digits/0/3",
            seed=17,
            config=base,
        )
        results = [run(replace(trial, config={**base, name: value})) for value in values]
        assert all(result == results[0] for result in results), name


def test_a_set_has_every_variant_that_its_budget_allows() -> None:
    for folder in sets().values():
        if not folder.is_relative_to(ROOT):
            continue
        of_set = [read(path) for path in scenarios() if path.parent == folder]
        granted = {
            name
            for scenario in of_set
            for name in ("peak_weights",)
            if scenario.options.grants(name)
        }
        by_flops = any(s.options.static_samples or s.options.training_flops for s in of_set)
        expected = {
            each.name
            for each in VARIANTS
            if set(each.requires) <= granted
            # Where every step costs a dense gradient a budget of FLOPs pays for a few dozen.
            and not (by_flops and topology_at(each).dense_state)
        }
        assert {scenario.variant.name for scenario in of_set} >= expected, folder.name


# Structure ---------------------------------------------------------------------------------------


def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere in it, dotted."""

    def named() -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: a relative import"
                yield node.module or ""
                yield from (f"{node.module}.{name.name}" for name in node.names)

    return set(named())


def users(package: str, module: str) -> set[str]:
    """The files of a package that import a module or something in it."""
    return {
        str(file.relative_to(ROOT))
        for file in python_files(package)
        if any(name == module or name.startswith(f"{module}.") for name in imports(file))
    }


def test_imports_point_one_way_and_in_no_circle() -> None:
    """The layers of pyproject.toml, and no circle among the modules of any package."""
    command = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
    # It does not look into the variants' folders, which are no packages.
    for higher in ("wrappers", "analysis", "commands", "tests", "benchmarks"):
        assert not users("target_algorithms", higher)


def test_each_package_opens_with_a_map_of_its_modules() -> None:
    for package in PACKAGES:
        for folder in {file.parent for file in python_files(package)}:
            opening = folder / "__init__.py"
            if not opening.is_file():
                assert (folder / "algorithm.py").is_file(), folder  # a variant, not a package
                continue
            text = ast.get_docstring(ast.parse(opening.read_text())) or ""
            modules = [file.name for file in folder.glob("[!_]*.py")]
            if len(modules) > 3 and folder.name not in ("sources", "configurators"):
                for name in modules:
                    assert name in text or name.removesuffix(".py") in text, f"{folder}: {name}"


def test_only_the_masked_engine_and_what_differentiates_imports_torch() -> None:
    assert users("sparse_training", "torch") == {
        "sparse_training/engines/masked.py",
        "sparse_training/engines/forward.py",
        "sparse_training/rules/saliency_autograd.py",
    }
    for package in ("target_algorithms", "wrappers", "analysis", "commands"):
        assert users(package, "torch") == set()


def test_only_the_worker_calls_a_trial() -> None:
    assert users("wrappers", "target_algorithms.trial") == {"wrappers/worker.py"}
    for package in ("analysis", "commands"):
        assert users(package, "target_algorithms.trial") == set()


def test_an_engine_knows_no_rule_and_the_library_no_variant() -> None:
    assert users("sparse_training/engines", "sparse_training.rules") == set()
    assert users("sparse_training", "target_algorithms") == set()


@pytest.mark.parametrize("configurator", CONFIGURATORS, ids=[c.name for c in CONFIGURATORS])
def test_only_its_own_files_import_a_configurators_library(
    configurator: configurators.Configurator,
) -> None:
    own = {configurator.file, *configurator.file.parent.glob(f"_{configurator.name}*.py")}
    libraries = {
        name.split(".")[0]
        for file in own
        for name in imports(file)
        if name.split(".")[0] not in (*sys.stdlib_module_names, *PACKAGES)
    }
    shared = {str(file.relative_to(ROOT)) for file in own}
    for library in libraries - {"numpy", "pandas", "msgspec"}:
        assert set().union(*(users(package, library) for package in PACKAGES)) <= shared, library


def test_what_every_call_imports_is_light() -> None:
    """The standard library, msgspec and ourselves: a cold call must not pay for more."""
    code = (
        "import sys; import wrappers.call\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}"
        " & {'numpy', 'torch', 'pandas', 'scipy', 'sklearn', 'ConfigSpace', 'smac', 'rich',"
        " 'typer', 'psutil'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_shared_code_and_tests_know_no_variant_and_no_configurator_by_name() -> None:
    """Roles are declared by who has them. (Words of plain English are let pass.)"""
    names = {each.name for each in VARIANTS} | {each.name for each in CONFIGURATORS}
    names -= {"set", "static", "dense", "default"}
    own = [each.folder for each in VARIANTS]
    own += [file for c in CONFIGURATORS for file in c.file.parent.glob(f"*{c.name}*.py")]
    own += [ROOT / "tests" / "target_algorithms" / f"test_{each.name}.py" for each in VARIANTS]
    own += [file for c in CONFIGURATORS for file in (ROOT / "tests").rglob(f"test_{c.name}*.py")]
    strangers = []
    for file in python_files(*PACKAGES, "tests"):
        if any(file == path or file.is_relative_to(path) for path in own):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in names:
                strangers.append(f"{file.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert strangers == []


# Code and documents ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_the_code_is_clean(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_no_guard_is_an_assertion() -> None:
    """With `python -O` an assertion checks nothing."""
    guards = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in python_files(*PACKAGES)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert guards == []


def test_every_rule_says_what_its_fields_mean() -> None:
    """A text below each public field, unless its name and the class's text say all."""
    for file in python_files("sparse_training/rules", "sparse_training/loop"):
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", "") == module.__name__ and not name.startswith("_"):
                assert thing.__doc__, f"{module.__name__}.{name}"


def test_what_is_data_cannot_be_changed() -> None:
    """Rules, recipes, trials, records: frozen, so that equal ones are equal and stay so."""
    for file in python_files(*PACKAGES):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if "dataclass" in ast.unparse(decorator):
                        where = f"{file.relative_to(ROOT)}:{node.lineno}: {node.name}"
                        assert "frozen=True" in ast.unparse(decorator), where


def project() -> dict[str, object]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert isinstance(table, dict)
    return table


def test_the_lock_has_every_dependency_and_no_cuda_package() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*table["dependencies"], *sum(table["optional-dependencies"].values(), [])]
    lines = (ROOT / "requirements.lock").read_text().lower().splitlines()
    locked = {line.split("==")[0].replace("_", "-") for line in lines if "==" in line}
    for requirement in wanted:
        assert re.split(r"[=<>]", requirement)[0].lower().replace("_", "-") in locked
    assert not [name for name in locked if "nvidia" in name or "cuda" in name]


def test_the_citation_can_be_read_and_has_the_projects_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project()["version"]
    assert citation["license"] == project()["license"]
    assert f"## {project()['version']} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_names_every_variant_and_configurator() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*(each.name for each in VARIANTS), *(each.name for each in CONFIGURATORS)):
        assert f"`{name}`" in text, name


def test_files_are_few_and_those_of_a_variant_or_set_are_its_own() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    names = "|".join(each.name for each in VARIANTS)
    of_variants = re.compile(
        rf"target_algorithms/({names})/\w+\.\w+"
        rf"|scenarios/\w+/({names})/scenario\.txt|scenarios/spaces/({names})[\w-]*\.pcs"
        r"|scenarios/\w+/(README\.md|training\.txt|test\.txt|features\.csv)"
        rf"|tests/target_algorithms/test_({names})\.py"
    )
    others = [name for name in done.stdout.splitlines() if not of_variants.fullmatch(name)]
    assert len(others) < 350


@pytest.mark.parametrize(
    "document",
    sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("[a-z]*/**/*.md")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
        if "://" not in target:
            path = document.parent / target if target else document
            assert path.exists(), target
            assert not heading or heading in _headings(path), f"{target}#{heading}"


def _headings(document: Path) -> set[str]:
    """As links name them: lower case, words joined by hyphens."""
    lines = [line for line in document.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines}


def test_the_example_of_the_library_trains(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "sparse_training" / "README.md").read_text()
    example = re.findall(r"```python\n(from .*?)```", text, re.DOTALL)
    exec(compile(example[0], "sparse_training/README.md", "exec"), {})
    assert re.fullmatch(r"30 updates, 0\.9\d+ right\n", capsys.readouterr().out)
