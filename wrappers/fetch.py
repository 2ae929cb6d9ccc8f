"""Fetch data sets: from OpenML, from files, from installed packages, into the data directory.

What is there and whole is left alone; what is missing or damaged is prepared. One process at a time
works on a data set, a second one waits and then finds it there. A file is replaced as a whole, so a
trial may run meanwhile. Whatever fails leaves everything as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_training.data import stored
from sparse_training.data.instances import parse
from sparse_training.data.preparation import alone, prepare, prepare_own
from sparse_training.data.raw import Access, Unreachable
from sparse_training.data.sources import known_sha256, source_of
from sparse_training.data.sources.file import Said, described, read_own
from sparse_training.errors import BadInput
from target_algorithms import roots
from wrappers.scenario import set_instances
from wrappers.scenario import sets as folders_of_sets


@dataclass(frozen=True)
class Entry:
    """A data set in the data directory."""

    name: str
    """`source/dataset`"""
    size: int
    """Bytes of its file."""
    about: stored.About | None
    """None for a file that cannot be read."""


@dataclass(frozen=True)
class Outcome:
    """What became of one data set."""

    name: str
    state: str
    """`here` (it was), `fetched`, `failed`, or `untried` after a server could not be reached."""
    problem: str | None = None
    """One line, for one that failed."""


def sets() -> dict[str, tuple[str, ...]]:
    """The data sets of every instance set, sorted by the sets' names."""
    return {name: _data_sets_of(folder) for name, folder in folders_of_sets().items()}


def named(words: Sequence[str]) -> tuple[str, ...]:
    """The data sets (`source/dataset`) that sets, scenarios or instances need, in order, each once.

    Raises BadInput for a word that is none.
    """
    of_set = sets()
    wanted: list[str] = []
    for word in words:
        plain = word.rstrip("/").rpartition("scenarios/")[2]
        set_ = plain.partition("/")[0]
        if plain == set_ in of_set or _is_scenario(plain):
            wanted += of_set[set_]
            continue
        if plain.count("/") == 0:
            raise BadInput(
                f"no instance set {word!r}, expected one of {', '.join(of_set)}, or an instance "
                "such as openml/31/0"
            )
        said = parse(plain if plain.count("/") > 1 else f"{plain}/0")
        source_of(said.source, said.dataset)
        wanted.append(said.data_set)
    return tuple(dict.fromkeys(wanted))


def _is_scenario(name: str) -> bool:
    return any((root / "scenarios" / name / "scenario.txt").is_file() for root in roots())


def fetch(
    names: Sequence[str],
    access: Access,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Outcome]:
    """Makes data sets available; the outcome of each, in order.

    `progress` is told how many are done. One that fails does not keep the others back, but for a
    server that cannot be reached: it is not asked again.
    """
    outcomes: list[Outcome] = []
    unreachable = False
    progress(0)
    for name in names:
        if unreachable and not source_of(*_parts(name)).INSTALLED and not _whole(name):
            outcomes.append(Outcome(name, "untried"))
            continue
        try:
            outcomes.append(Outcome(name, _provide(name, access)))
        except BadInput as error:
            outcomes.append(Outcome(name, "failed", str(error)))
            unreachable = unreachable or isinstance(error, Unreachable)
        except Exception as error:  # a fault of the suite, from which the others do not suffer
            said = " ".join(f"{type(error).__name__}: {error}".split())
            problem = f"{name}: the suite fails on what came ({said:.160}): please report it"
            outcomes.append(Outcome(name, "failed", problem))
        progress(len(outcomes))
    return outcomes


@dataclass(frozen=True)
class OwnData:
    """A data set of the user's own, in the data directory."""

    name: str
    """`file/<name>-<sum>`, as instances call it."""
    said: Said
    """What its description says."""
    about: stored.About
    sums: tuple[tuple[str, str], ...]
    """(name, SHA-256) of each of its files."""
    notes: tuple[str, ...]
    """What was found and inferred, a line each."""


def fetch_own(
    folder: Path, text: str | None = None, report: Callable[[str], None] = lambda step: None
) -> list[OwnData]:
    """Stores all data sets of a folder, which are called by their content.

    `text` stands in for the folder's dataset.toml. Raises BadInput, one line, for whatever cannot
    be used, and where two of them are the same data.
    """
    made: list[OwnData] = []
    for name, said in described(folder, text).items():
        report(f"file/{name}: reading {said.file}")
        own = read_own(folder, said)
        dataset, about = prepare_own("file", name, own.data)
        same = [each.said.name for each in made if each.about.sha256 == about.sha256]
        if same:
            raise BadInput(f"{folder}: {same[0]} and {name} are the same data: expected one")
        made.append(OwnData(f"file/{dataset}", said, about, own.sums, own.notes))
    return made


def entries() -> list[Entry]:
    """What is in the data directory, sorted by name."""
    listed = []
    for file in sorted(stored.data_directory().glob("*/[!.]*.safetensors")):
        try:
            about = stored.read(file).about
        except (OSError, stored.Damaged):
            about = None
        listed.append(Entry(f"{file.parent.name}/{file.stem}", file.lstat().st_size, about))
    return listed


def _provide(name: str, access: Access) -> str:
    # Without the lock first: what is there is there in a directory that cannot be written, too.
    if not access.refresh and _whole(name):
        return "here"
    source, dataset = _parts(name)
    with alone(source, dataset, access):
        if not access.refresh and _whole(name):
            return "here"
        prepare(source, dataset, access)
        return "fetched"


def _whole(name: str) -> bool:
    """Whether a data set is there, with the content that it was stored with and should have."""
    source, dataset = _parts(name)
    try:
        data = stored.read(stored.path(source, dataset))
    except (OSError, stored.Damaged):
        return False
    sha256 = stored.digest_of(data)
    return sha256 == data.about.sha256 and sha256.startswith(known_sha256(source, dataset))


def _parts(name: str) -> tuple[str, str]:
    source, dataset = name.split("/")
    return source, dataset


def _data_sets_of(folder: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse(name).data_set for name in set_instances(folder)))
