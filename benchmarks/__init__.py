"""Measurements behind the numbers in the documents. One thread, as trials have it."""

import os
import sys
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy and torch are imported


def in_one_line(main: Callable[[], None]) -> None:
    """Runs a benchmark; bad input is one line and exit status 2, as of every command here."""
    from sparse_training.errors import BadInput

    try:
        main()
    except BadInput as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
