"""Does training reproduce the best known fact about it: dynamic beats static when very sparse?"""

import statistics

from benchmarks.evidence import run


def test_dynamic_beats_static_on_mnist_at_density_one_percent() -> None:
    """An independent implementation of the same recipe finds margins of .03; a seed's s.e. is .008.

    784-300-100-10, batches of 100, 1600 of them.
    """
    mean = {
        method: statistics.fmean(float(run(method, 0.01, seed)["accuracy"]) for seed in range(3))  # type: ignore[arg-type]
        for method in ("static", "set", "rigl")
    }
    assert mean["rigl"] > mean["static"] + 0.015
    assert mean["set"] > mean["static"] + 0.015
    assert mean["static"] > 0.75
