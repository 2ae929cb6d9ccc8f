"""How long does a trial wait for its data, mapped, imputed, encoded and standardised?

    python -m benchmarks.loading                                  # what is in the data directory
    python -m benchmarks.loading openml/146195/0 vision/mnist/0/3000+5000/0

The best of some loads in one process, as a warm worker has it but for the first touch of the file
(some 2 ms); other jobs on the machine can only add to it.
"""

import argparse
import time

from sparse_training.data.instances import load
from wrappers.fetch import entries


def milliseconds(instance: str, repeats: int) -> float:
    """The shortest of some loads."""
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        load(instance)
        took.append(time.perf_counter() - start)
    return 1000 * min(took)


def main() -> None:
    """Prints a line an instance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("instances", nargs="*", help="fold 0 of all that was fetched if left out")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    instances = arguments.instances or [f"{entry.name}/0" for entry in entries()]
    for instance in instances:
        split = load(instance)
        rows, inputs = len(split.train_x) + len(split.eval_x), split.train_x.shape[1]
        took = milliseconds(instance, arguments.repeats)
        print(f"{instance:28} {rows:>7,} rows x {inputs:>5,} inputs {took:8.2f} ms")


if __name__ == "__main__":
    main()
