"""features.csv of an instance set: what configurators are told of its instances."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.scenario import set_instances
from wrappers.space import number_text


def features_csv(set_folder: str | Path) -> str:
    """The text of features.csv for all instances of a set, computed from their data.

    The header of the file says which features describe the set; a set without the file gets those
    that tell its instances apart. Instances whose data have not been fetched keep the row that they
    have. Raises BadInput for an unknown feature, and where there is neither a row nor data.
    """
    folder = Path(set_folder)
    instances, kept = set_instances(folder), set(unfetched(folder))
    file = folder / "features.csv"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    row_of = {line.partition(",")[0]: line for line in lines}
    # What is asked for first is what there must be: it raises if it is not.
    of_instance = _features([each for each in instances if each not in kept or each not in row_of])
    defined = tuple(next(iter(of_instance.values()), {}))
    if lines:
        names: Sequence[str] = lines[0].split(",")[1:]
        for name in names if defined else ():
            if name not in defined:
                raise BadInput(
                    f"{file}, line 1: unknown feature {name!r}, expected some of "
                    f"{', '.join(defined)}"
                )
    else:
        names = _telling(of_instance)
    rows = [",".join(("instance", *names))]
    for instance in instances:
        values = of_instance.get(instance)
        if values is None:
            rows.append(row_of[instance])
        else:
            rows.append(_row(instance, values, names))
    return "".join(f"{row}\n" for row in rows)


def new_features(instances: Sequence[str]) -> str:
    """The text of features.csv for a new set: the features that tell its instances apart."""
    of_instance = _features(instances)
    names = _telling(of_instance)
    rows = [_row(instance, values, names) for instance, values in of_instance.items()]
    return "".join(f"{row}\n" for row in (",".join(("instance", *names)), *rows))


def _features(instances: Sequence[str]) -> dict[str, dict[str, float]]:
    from sparse_training.data.features import features

    return {instance: features(instance) for instance in instances}


def _telling(of_instance: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The features that tell instances apart; all where none does, as there must be one."""
    defined = list(next(iter(of_instance.values()), {}))
    different = {name: {values[name] for values in of_instance.values()} for name in defined}
    return [name for name in defined if len(different[name]) > 1] or defined


def _row(instance: str, values: Mapping[str, float], names: Sequence[str]) -> str:
    return ",".join((instance, *(number_text(values[name]) for name in names)))


def unfetched(set_folder: str | Path) -> tuple[str, ...]:
    """The instances of a set whose data are not here."""
    from sparse_training.data.instances import at_hand

    return tuple(name for name in set_instances(Path(set_folder)) if not at_hand(name))
