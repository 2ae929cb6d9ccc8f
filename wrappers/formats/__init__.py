"""Parameter spaces and scenarios in every configurator's own form, all written from one source.

A format is a module here with `files(scenario, folder) -> dict[str, str]`: texts by their names, to
be written into the folder.

    pcs.py              old PCS (SMAC 2.08, SMAC 2.10, SMAC3 up to 1.4): committed
    irace_3_5.py        irace 3.5
    irace_4.py          irace 4
    pcs_new.py          new PCS (SMAC 2.10, ConfigSpace's `pcs_new`)
    configspace.py      ConfigSpace 1.x, JSON
    smac_script.py      SMAC 2.x, where it calls a program: a script and the space
    crace.py            crace
    carps.py            CARP-S: a task, and its objective function
    paramils.py         ParamILS, RamParILS: the space in choices only
    gps.py              GPS: the space with a copy of a parameter for each condition, and a script

Each distinct space is committed once, as the `paramfile` that its scenarios name; `sparse-aclib
export` keeps it equal to its source, and writes the other forms where it is told to. irace itself
runs any scenario through scenarios/irace.txt, which reads scenario.txt and the old PCS.
"""

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from wrappers.formats import pcs
from wrappers.scenario import Scenario


def names() -> tuple[str, ...]:
    """All formats, as command lines call them."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"]
    return tuple(sorted(_word(name) for name in modules))


def files(name: str, scenario: Scenario, folder: Path) -> dict[Path, str]:
    """The files of a format for a folder, by their paths. Raises BadInput for an unknown format."""
    for module in pkgutil.iter_modules(__path__):
        if module.name[0] != "_" and _word(module.name) == name:
            function: Callable[[Scenario, Path], dict[str, str]] = import_module(
                f"{__name__}.{module.name}"
            ).files
            return {folder / file: text for file, text in function(scenario, folder).items()}
    raise BadInput(f"unknown format {name!r}: expected one of {', '.join(names())}")


def committed(scenario: Scenario) -> dict[Path, str]:
    """The file of a scenario's space, by its path; one for all scenarios that have it."""
    return {scenario.root / scenario.paramfile: pcs.old_pcs(scenario.space)}


def write(texts: Mapping[Path, str]) -> tuple[Path, ...]:
    """Writes files whose text is new or different; returns their paths."""
    changed = []
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)
            changed.append(path)
        if text.startswith("#!"):
            path.chmod(0o755)
    return tuple(changed)


def _word(module: str) -> str:
    """`irace_3_5` as `irace-3.5`."""
    head, _, version = module.partition("_")
    return head if not version else f"{head}-{version.replace('_', '.')}"
