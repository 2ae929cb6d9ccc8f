"""Scenarios: what is configured, on which instances, within which budget.

**Source**: AClib2's `ADD_SCENARIOS.md` (key names, `execdir = .`, fixed file names).
**Differs**: only the strict form is read that every configurator of the AClib family takes: all
twelve keys, one spelling each, no comment and no blank line, no `=` and no `#` inside a value.
"""

import difflib
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sparse_training.data.instances import Id, parse
from sparse_training.errors import BadInput
from target_algorithms import ROOT, Variant, roots, variant
from target_algorithms.contract import Options
from wrappers.aclib import parse_options
from wrappers.records import MOST_TRIALS
from wrappers.space import Space, finite, read_pcs, variant_space

KEYS = (
    "algo",
    "execdir",
    "deterministic",
    "run_obj",
    "overall_obj",
    "cutoff_time",
    "wallclock_limit",
    "runcount_limit",
    "paramfile",
    "instance_file",
    "test_instance_file",
    "feature_file",
)
"""The keys of scenario.txt, in the order in which they are written."""

PROGRAM = ("python3", "./wrappers/target")
"""How every `algo` line begins; the variant and its options follow."""


@dataclass(frozen=True)
class Scenario:
    """One scenario: a variant on an instance set, with its budgets."""

    name: str
    """`<set>/<variant>`, as the folders are called."""
    set: str
    variant: Variant
    options: Options
    algo: str
    """The command that calls the target algorithm, without instance, seed and configuration."""
    deterministic: bool
    cutoff: float
    """Wall-clock seconds that one trial may take."""
    wallclock_limit: float
    """Wall-clock seconds that one run of a configurator may take."""
    runcount_limit: int
    """Trials that one run of a configurator may use."""
    training: tuple[str, ...]
    """Instances to configure on."""
    test: tuple[str, ...]
    """Instances to validate on, none of them in `training`."""
    features: Mapping[str, tuple[float, ...]]
    """The features of every instance, training and test, in the order of `feature_names`."""
    feature_names: tuple[str, ...]
    paramfile: str
    """Path of the parameter space in old PCS syntax, relative to `root`; scenarios share it."""
    instance_file: str
    """Path of the training instances, relative to `root`."""
    test_instance_file: str
    """Path of the test instances, relative to `root`."""
    feature_file: str
    """Path of the features, relative to `root`."""
    path: Path
    """scenario.txt itself, absolute."""
    root: Path
    """What the paths in scenario.txt are relative to: the folder that holds `scenarios`."""
    text: str
    """scenario.txt as it is."""

    @property
    def folder(self) -> Path:
        """Where scenario.txt and the files generated from it are."""
        return self.path.parent

    @property
    def shown(self) -> str:
        """Its folder, relative to the checkout if it is in it."""
        folder = self.folder
        return str(folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder)

    @cached_property
    def space(self) -> Space:
        """The variant's parameters as the scenario's options leave them."""
        return variant_space(self.variant, self.options)

    @property
    def copies(self) -> dict[str, str]:
        """The files that say what it is, by AClib's names for them."""
        files = {
            "scenario.txt": self.path,
            "training.txt": self.root / self.instance_file,
            "test.txt": self.root / self.test_instance_file,
            "features.csv": self.root / self.feature_file,
            "params.pcs": self.root / self.paramfile,
        }
        return {name: file.read_text(encoding="utf-8") for name, file in files.items()}


def scenarios() -> tuple[Path, ...]:
    """The folders of all scenarios, sorted by name: `scenarios/*/*/scenario.txt` in any root.

    Raises BadInput for a name that two folders have.
    """
    named: dict[tuple[str, str], Path] = {}
    for root in roots():
        for file in (root / "scenarios").glob("*/*/scenario.txt"):
            folder = file.parent
            set_, called = folder.parent.name, folder.name
            other = named.setdefault((set_, called), folder)
            if other != folder:
                raise BadInput(
                    f"two scenarios are called {set_}/{called}: {other} and {folder}; rename one"
                )
    return tuple(folder for _, folder in sorted(named.items()))


def sets() -> dict[str, Path]:
    """The folders of all instance sets by their names, sorted.

    A root may repeat a set of the checkout, to add a scenario to it: it is the same set if its
    lists are the same. Raises BadInput for a name that two different sets have.
    """
    named: dict[str, Path] = {}
    for root in roots():
        for file in sorted((root / "scenarios").glob("*/training.txt")):
            other = named.setdefault(file.parent.name, file.parent)
            if other != file.parent and set_instances(other) != set_instances(file.parent):
                raise BadInput(
                    f"two instance sets are called {file.parent.name}: {other} and {file.parent}; "
                    "rename one"
                )
    return dict(sorted(named.items()))


def read(path: str | Path, *, check_paramfile: bool = True) -> Scenario:
    """The scenario of a scenario.txt, of the folder that holds one, or of a name (`digits/rigl`).

    `check_paramfile=False` is for the one command that writes the parameter file.
    Raises BadInput, one line with file and line number, for whatever is wrong with it.
    """
    file = locate(Path(path))
    root = file.parents[3]
    where = os.path.relpath(file, root)
    text = _text(file, where)
    values: dict[str, str] = {}
    lines: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{where}, line {number}"
        key, separator, value = (part.strip() for part in line.partition("="))
        if not separator or "#" in line:
            raise BadInput(
                f"{place}: found {line!r}, expected 'key = value'; other readers stop at comments"
                " and blank lines"
            )
        if key not in KEYS:
            raise BadInput(f"{place}: unknown key {key!r}, expected one of {', '.join(KEYS)}")
        if key in values:
            raise BadInput(f"{place}: key {key} is given twice, first in {lines[key]}")
        if not value or "=" in value:
            raise BadInput(f"{place}: {key} is {value!r}, expected a value without '='")
        values[key], lines[key] = value, place
    for key in KEYS:
        if key not in values:
            raise BadInput(f"{where}, line {len(values) + 1}: key {key} is missing")

    for key, allowed in {
        "execdir": (".",),
        "deterministic": ("0", "1"),
        "run_obj": ("quality",),
        "overall_obj": ("mean",),
    }.items():
        if values[key] not in allowed:
            raise BadInput(
                f"{lines[key]}: {key} is {values[key]!r}, expected {' or '.join(allowed)}"
            )
    set_, called = file.parent.parent.name, variant(file.parent.name, also=[root])
    options = _algo(values["algo"], called.name, lines["algo"])
    training_file = _file(values["instance_file"], root, lines["instance_file"])
    training = read_instances(training_file, root)
    test_file = _file(values["test_instance_file"], root, lines["test_instance_file"])
    test = read_instances(test_file, root)
    trained = set(training)
    for number, instance in enumerate(test, start=1):
        if instance in trained:
            raise BadInput(
                f"{os.path.relpath(test_file, root)}, line {number}: test instance {instance}"
                f" is a training instance too, in {values['instance_file']}"
            )
    _check_leaks(
        _ids(training, os.path.relpath(training_file, root)),
        _ids(test, os.path.relpath(test_file, root)),
        os.path.relpath(test_file, root),
    )
    names, features = read_features(
        _file(values["feature_file"], root, lines["feature_file"]), root
    )
    for instance in training + test:
        if instance not in features:
            raise BadInput(
                f"{lines['feature_file']}: {values['feature_file']} has no features of"
                f" instance {instance}, expected a row for every training and test instance"
            )
    space = _space(called, options, lines["algo"])
    if check_paramfile:
        paramfile = _file(values["paramfile"], root, lines["paramfile"])
        written = read_pcs(_text(paramfile, values["paramfile"]), values["paramfile"])
        if written != space:
            raise BadInput(
                f"{lines['paramfile']}: {values['paramfile']} differs from the space of"
                f" {called.name} in target_algorithms; write it anew with"
                f" 'sparse-aclib export {file.parent}'"
            )
    return Scenario(
        name=f"{set_}/{called.name}",
        set=set_,
        variant=called,
        options=options,
        algo=" ".join(values["algo"].split()),
        deterministic=values["deterministic"] == "1",
        cutoff=_positive(values["cutoff_time"], "cutoff_time", lines["cutoff_time"]),
        wallclock_limit=_positive(
            values["wallclock_limit"], "wallclock_limit", lines["wallclock_limit"]
        ),
        runcount_limit=_trials(values["runcount_limit"], lines["runcount_limit"]),
        training=training,
        test=test,
        features=features,
        feature_names=names,
        paramfile=values["paramfile"],
        instance_file=values["instance_file"],
        test_instance_file=values["test_instance_file"],
        feature_file=values["feature_file"],
        path=file,
        root=root,
        text=text,
    )


def _ids(instances: Sequence[str], where: str) -> dict[str, Id]:
    """What the ids of a file say, in order. Raises BadInput for a malformed one."""
    ids = {}
    for number, instance in enumerate(instances, start=1):
        try:
            ids[instance] = parse(instance)
        except BadInput as error:
            raise BadInput(f"{where}, line {number}: {error}") from None
    return ids


def _check_leaks(training: Mapping[str, Id], test: Mapping[str, Id], where: str) -> None:
    """Refuse lists in which a training instance sees rows that a test one is evaluated on.

    Where a data set is on both sides, all must be of one outer fold, its test part must evaluate
    the test instances, and rows of its training part the training instances. A set called
    `set_2000` is a part of `set`, its folds parts of the folds.
    """
    # Of each data set: the outer folds trained on and whether their test part is seen, with the
    # first such instance.
    seen: dict[str, dict[tuple[int, bool], str]] = {}
    for trained, said in training.items():
        folds = seen.setdefault(_whole(said), {})
        folds.setdefault((said.fold, said.form.on_test_part), trained)
    for number, (tested, said) in enumerate(test.items(), start=1):
        for (fold, test_part_seen), trained in seen.get(_whole(said), {}).items():
            if fold != said.fold or test_part_seen or not said.form.on_test_part:
                raise BadInput(
                    f"{where}, line {number}: test instance {tested} is evaluated on rows that"
                    f" training instance {trained} sees; expected the test part of a fold to"
                    " evaluate the one and rows of its training part the other, or another data set"
                )


def _whole(said: Id) -> str:
    """The data set that an instance's data set is, or is a part of."""
    return re.sub(r"_\d+$", "", said.data_set)


def read_instances(file: Path, root: Path) -> tuple[str, ...]:
    """The instances of a file, one a line; `root` is what its path is shown relative to.

    Raises BadInput for an empty file, a blank line, a name with white space, a name given twice.
    """
    where = os.path.relpath(file, root)
    lines = _text(file, where).splitlines()
    if not lines:
        raise BadInput(f"{where}, line 1: no instance, expected one a line")
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise BadInput(f"{where}, line {number}: blank, expected one instance a line")
        if line.split() != [line] or set(line) & set("=#,\"'"):
            raise BadInput(
                f"{where}, line {number}: instance {line!r}, expected one word without quotes,"
                " commas, = and #"
            )
        if line in seen:
            raise BadInput(f"{where}, line {number}: instance {line} is given twice")
        seen.add(line)
    return tuple(lines)


def set_instances(folder: Path) -> tuple[str, ...]:
    """The training and the test instances of a set's folder, in order; see `read_instances`."""
    return tuple(
        instance
        for name in ("training.txt", "test.txt")
        for instance in read_instances(folder / name, folder.parents[1])
    )


def read_features(file: Path, root: Path) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]]]:
    """The names of the features, and the features of each instance, from a CSV with a header.

    Raises BadInput for a header that looks like data, a row of another length, an instance given
    twice, a cell that is not a finite number.
    """
    where = os.path.relpath(file, root)
    rows = [[cell.strip() for cell in line.split(",")] for line in _text(file, where).splitlines()]
    names = tuple(rows[0][1:]) if rows else ()
    if not names or len(set(names)) < len(names) or any(_float(name) is not None for name in names):
        raise BadInput(
            f"{where}, line 1: expected a header, 'instance' and then different names of features"
        )
    features: dict[str, tuple[float, ...]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise BadInput(
                f"{where}, line {number}: {len(row)} cells, expected {len(rows[0])} (the header)"
            )
        if row[0] in features:
            raise BadInput(f"{where}, line {number}: instance {row[0]} is given twice")
        numbers = [_float(cell) for cell in row[1:]]
        for name, cell, number_ in zip(names, row[1:], numbers, strict=True):
            if number_ is None:
                raise BadInput(
                    f"{where}, line {number}: {name} is {cell!r}, expected a finite number"
                )
        features[row[0]] = tuple(number_ for number_ in numbers if number_ is not None)
    return names, features


def locate(path: Path) -> Path:
    """The absolute path of the scenario.txt that is meant; BadInput if there is none."""
    named = [root / "scenarios" / path / "scenario.txt" for root in roots()]
    for candidate in (path, path / "scenario.txt", *named):
        if os.path.isfile(candidate):
            file = candidate.resolve()
            if len(file.parents) < 4:
                raise BadInput(
                    f"{file}: expected a path like scenarios/<set>/<variant>/scenario.txt"
                )
            return file
    existing = [f"{folder.parent.name}/{folder.name}" for folder in scenarios()]
    words = str(path).removeprefix("scenarios/").strip("/")
    near = [name for name in existing if words in name.split("/")][:4]
    near = near or [name for name in existing if name.startswith(words)][:4]
    near = near or difflib.get_close_matches(words, existing, n=4)
    meant = f"; did you mean {' or '.join(near)}?" if near else ";"
    raise BadInput(
        f"no scenario at {path}{meant} 'sparse-aclib list' shows all, and a folder with a"
        " scenario.txt is one"
    )


def _algo(value: str, name: str, place: str) -> Options:
    words = value.split()
    if tuple(words[:3]) != (*PROGRAM, name):
        raise BadInput(
            f"{place}: algo is {value!r}, expected '{' '.join(PROGRAM)} {name} ...'"
            " (the variant that the folder is named after)"
        )
    try:
        return parse_options(words[3:])
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None


def _space(called: Variant, options: Options, place: str) -> Space:
    variant_space(called)  # what is wrong in the variant's own files is said of them
    try:
        space = variant_space(called, options)
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None
    if not space.parameters:
        raise BadInput(f"{place}: no parameter is left to configure, expected one at least")
    return space


def _file(value: str, root: Path, place: str) -> Path:
    file = root / value
    if not os.path.isfile(file):  # Path.is_file raises for a name that no system takes
        raise BadInput(f"{place}: no file {value}, expected a path relative to {root}")
    return file


def _text(file: Path, where: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{where}: is not UTF-8 text") from None


def _float(text: str) -> float | None:
    try:
        return finite(text)
    except ValueError:
        return None


def _positive(value: str, key: str, place: str) -> float:
    number = _float(value)
    if number is None or number <= 0:
        raise BadInput(f"{place}: {key} is {value!r}, expected a positive number of seconds")
    return number


def _trials(value: str, place: str) -> int:
    trials = _count(value, "runcount_limit", place)
    if trials > MOST_TRIALS:
        raise BadInput(f"{place}: runcount_limit is {value}, expected at most {MOST_TRIALS:,}")
    return trials


def _count(value: str, key: str, place: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{,17}", value):
        raise BadInput(
            f"{place}: {key} is {reprlib.repr(value)}, expected a positive integer below 10^18"
        )
    return int(value)
