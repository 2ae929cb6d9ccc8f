"""From which density on the truly sparse engine is the faster one: measured, and kept.

    python -m sparse_training.crossover

Times optimiser steps of both engines in turn, in CPU time, and keeps the density at which they
cost the same beside the compiled kernels, for this machine and build.
"""

import statistics
import sys
import time

import numpy as np

from sparse_training.engines import choice, kernels
from sparse_training.engines.interface import Engine, EngineFactory, Optimizer, Segment, Setup
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.positions import random_positions
from sparse_training.rules.densities import layer_counts

WIDTHS = (784, 300, 100, 10)
DENSITIES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
BATCH = 128
STEPS = 20
ROUNDS = 7


def measure() -> list[tuple[float, float]]:
    """(density, time of a masked step / time of a truly sparse one), ascending by density."""
    from sparse_training.engines.masked import MaskedEngine
    from sparse_training.engines.sparse import SparseEngine

    return [(density, _ratio(density, MaskedEngine, SparseEngine)) for density in DENSITIES]


def crossing(ratios: list[tuple[float, float]]) -> float:
    """The density at which the ratio falls to 1, interpolated in the logarithm of both.

    The lowest density measured if the truly sparse engine is never faster, 1 if always.
    """
    for (lower, before), (upper, after) in zip(ratios[:-1], ratios[1:], strict=True):
        if after < 1.0 <= before:
            way = np.log(before) / np.log(before / after)
            return float(lower * (upper / lower) ** way)
    return 1.0 if ratios[-1][1] >= 1.0 else ratios[0][0]


def _ratio(density: float, masked: EngineFactory, sparse: EngineFactory) -> float:
    rng = np.random.default_rng(0)
    network = Network(layers=perceptron_layers(WIDTHS))
    counts = layer_counts(network.shapes, round(density * network.size), 1.0)
    active = [
        random_positions(size, count, rng)
        for size, count in zip(network.sizes, counts, strict=True)
    ]
    setup = Setup(
        network=network,
        optimizer=Optimizer(),
        active=active,
        values=InitialWeights().draw(network, active, rng),
        budget=sum(counts),
        train_x=rng.standard_normal((1024, WIDTHS[0]), dtype=np.float32),
        train_y=rng.integers(WIDTHS[-1], size=1024),
    )
    pair = masked(setup), sparse(setup)
    ratios = []
    for number in range(ROUNDS + 1):
        rows = np.random.default_rng(number).integers(1024, size=BATCH * STEPS)
        segment = Segment(rows, [BATCH] * STEPS, [0.01] * STEPS)
        slow, fast = (_seconds(engine, segment) for engine in pair)
        ratios.append(slow / fast)
    return statistics.median(ratios[1:])  # the first round warms up


def _seconds(engine: Engine, segment: Segment) -> float:
    start = time.process_time()
    engine.train(segment)
    return time.process_time() - start


def main() -> int:
    lack = kernels.available()
    if lack is not None:
        print(f"The truly sparse engine is missing, all trials use the masked one: {lack}")
        return 0
    ratios = measure()
    for density, ratio in ratios:
        print(f"density {density:4}: a truly sparse step is {ratio:5.1f} times as fast")
    density = crossing(ratios)
    choice.remember_crossover(density)
    print(f"Trials up to density {density:.2f} use the truly sparse engine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
