"""Would the tests notice? Breaks the rules and the report, one place at a time, and runs the tests.

    pip install cosmic-ray
    python -m benchmarks.mutations                      # 20 mutations, some 12 minutes
    python -m benchmarks.mutations --count 60 --seed 2

Works in a copy of the checkout. The places are drawn at random from the seed, half of them among
the rules and half in the analysis, and cosmic-ray makes one change at each: another operator,
another number, a condition turned round, a loop left out. Each change that no test notices is
printed in full: either a test is missing or the change makes no difference.
"""

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

OF_NO_INTEREST = ("Bit", "Shift", "RemoveDecorator", "ExceptionReplacer")
"""Operators that no number here takes, or whose places are nearly all in declarations."""


@dataclass(frozen=True)
class Part:
    """Some of the code, and the tests that answer for it."""

    name: str
    code: str
    tests: str

    @property
    def command(self) -> str:
        """What runs its tests."""
        pytest = "-m pytest -x -q -p no:cacheprovider"
        return f"{shlex.quote(sys.executable)} {pytest} {self.tests}"


PARTS = (
    Part(
        "rules",
        code="sparse_training/rules/*.py",
        tests="tests/sparse_training tests/target_algorithms tests/contracts/test_variants.py",
    ),
    Part("report", code="analysis/*.py", tests="tests/analysis"),
)


def places(part: Part, root: Path, count: int, rng: random.Random) -> list[Any]:
    """Some mutations of this part, each at a place of its own, as cosmic-ray specifies them."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    by_place: dict[tuple[str, tuple[int, int]], list[Any]] = {}
    with tempfile.TemporaryDirectory() as directory:
        with use_db(Path(directory) / "session.sqlite", WorkDB.Mode.create) as work:
            init(sorted(root.glob(part.code)), work, {})
            for item in work.work_items:
                for mutation in item.mutations:
                    if not any(name in mutation.operator_name for name in OF_NO_INTEREST):
                        place = (str(mutation.module_path), mutation.start_pos)
                        by_place.setdefault(place, []).append(mutation)
    drawn = rng.sample(sorted(by_place), min(count, len(by_place)))
    return [
        rng.choice(sorted(by_place[place], key=lambda one: (one.operator_name, one.occurrence)))
        for place in drawn
    ]


def copy_of_checkout(target: Path) -> None:
    """What git tracks, as it lies here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line a mutation, then those that no test noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="mutations in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one run of tests")
    options = parser.parse_args(arguments)
    try:
        from cosmic_ray.mutating import mutate_and_test
    except ImportError:
        sys.exit("cosmic-ray is not installed: pip install cosmic-ray")
    rng = random.Random(options.seed)
    survivors = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy_of_checkout(root)
        os.chdir(root)
        for number, part in enumerate(PARTS):
            if subprocess.run(shlex.split(part.command), capture_output=True).returncode:
                sys.exit(f"the tests fail before any mutation: {part.command}")
            number_of = options.count // len(PARTS) + (number < options.count % len(PARTS))
            for mutation in places(part, root, number_of, rng):
                result = mutate_and_test([mutation], part.command, options.timeout)
                survived = not result.is_killed
                where = f"{mutation.module_path.relative_to(root)}:{mutation.start_pos[0]}"
                change = mutation.operator_name.removeprefix("core/")
                print(f"{'SURVIVED' if survived else 'noticed':9} {where:45} {change}", flush=True)
                if survived:
                    survivors.append(result.diff)
    print(f"\n{options.count - len(survivors)} of {options.count} mutations noticed")
    for diff in survivors:
        print(f"\n{diff}")


if __name__ == "__main__":
    main()
