"""Golden trials: what the truly sparse engine trains, to the bit, on any machine.

    python -m tests.golden.trials          # makes trials.jsonl anew: results have changed
    python -m tests.golden.trials --check  # prints which differ here

Every variant at its default and at random configurations of its whole space, `meta` most often,
with budgets of samples and of FLOPs, on data that scikit-learn brings, on odd widths and batches. A
line has what a trial is and what came of it: a checksum of all masks on the way, one of the final
weights and biases, the cost, the FLOPs. Lines say the values of a configuration that are not the
default's.
"""

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from sparse_training.engines import kernels
from sparse_training.errors import OverBudget
from sparse_training.loop import training
from sparse_training.loop.training import Outcome
from sparse_training.positions import Positions
from target_algorithms import Role, Variant, trial, variants
from target_algorithms.contract import Options, Trial, Value
from tests.examples import within_budget
from wrappers.space import variant_space

FILE = Path(__file__).with_name("trials.jsonl")

DATA = (
    ("sklearn/digits/0/3", (24, 16)),
    ("sklearn/iris/0/0", (17, 9)),
    ("sklearn/wine/0/1", (33, 7)),
    ("sklearn/breast_cancer/0/2", (31, 1)),
)
"""Instances and hidden widths."""

Line = dict[str, object]


def drawn() -> Iterator[Line]:
    """What is trained."""
    for variant in variants().values():
        if variant.is_selection or not within_budget(variant):
            continue
        rng = random.Random(variant.name)
        space = variant_space(variant)
        for number in range(110 if variant.role is Role.COMBINATION else 14):
            config = space.default if number == 0 else space.sample(rng)
            instance, hidden = DATA[number % len(DATA)]
            options: dict[str, object] = {"active_weights": 300, "peak_weights": 700}
            options |= {"hidden": hidden, "engine": "sparse"}
            options |= {"training_samples": 4000} if number % 3 else {"training_flops": 7_000_000}
            default = space.default
            changes = {name: value for name, value in config.items() if default.get(name) != value}
            yield {
                "variant": variant.name,
                "options": options,
                "instance": instance,
                "seed": number,
                "changes": changes,
            }


def trained(line: Mapping[str, object]) -> Line:
    """What comes of it: 'over budget' where the budget does not pay."""
    chosen = variants()[str(line["variant"])]
    masks = hashlib.sha256()
    outcomes: list[Outcome] = []

    def look(active: Sequence[Positions]) -> None:
        for positions in active:
            masks.update(positions.tobytes())

    def train(*arguments: object, **named: object) -> Outcome:
        outcomes.append(training.train(*arguments, **named))  # type: ignore[arg-type]
        return outcomes[-1]

    with mock.patch("target_algorithms.trial.train", train):
        try:
            answer = trial.run(_trial(chosen, line), on_change=look)
        except OverBudget:
            return {"masks": "over budget", "weights": None, "cost": None, "training_flops": None}
    weights = hashlib.sha256()
    for array in (*outcomes[0].weights, *outcomes[0].biases):
        weights.update(array.tobytes())
    return {
        "masks": masks.hexdigest()[:12],
        "weights": weights.hexdigest()[:12],
        "cost": answer.cost,
        "training_flops": answer.training_flops,
    }


def _trial(variant: Variant, line: Mapping[str, object]) -> Trial:
    space = variant_space(variant)
    changes: dict[str, Value] = line["changes"]  # type: ignore[assignment]
    options: dict[str, object] = line["options"]  # type: ignore[assignment]
    return Trial(
        variant=variant.name,
        folder=str(variant.folder),
        options=Options(**{**options, "hidden": tuple(options["hidden"])}),  # type: ignore[arg-type]
        instance=str(line["instance"]),
        seed=int(str(line["seed"])),
        config=space.complete(space.changed(changes)),
        cutoff=None,
    )


def lines() -> list[Line]:
    """The golden trials with what came of them."""
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def differing(golden: Sequence[Line]) -> list[str]:
    """Those of which something else comes here, in words."""
    found = []
    for number, line in enumerate(golden, 1):
        now = trained(line)
        others = [
            f"{name} {value} ({line[name]})" for name, value in now.items() if value != line[name]
        ]
        if others:
            found.append(f"line {number}, {line['variant']}: {', '.join(others)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--flags", nargs="*", default=(), help="more flags for the compiler")
    given = parser.parse_args()
    kernels.FLAGS = (*kernels.FLAGS, *(f"-{flag}" for flag in given.flags))
    if given.check:
        golden = lines()
        found = differing(golden)
        print("\n".join([*found, f"{len(found)} of {len(golden)} differ"]))
        raise SystemExit(bool(found))
    FILE.write_text("".join(json.dumps({**line, **trained(line)}) + "\n" for line in drawn()))


if __name__ == "__main__":
    main()
