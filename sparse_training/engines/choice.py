"""Which engine trains: chosen by network, device and density, or as asked for.

Both give the same masks and the same weights but for rounding, so the choice is one of speed. It is
made without importing torch; the engine itself is imported when it is needed.
"""

import json
from pathlib import Path

from sparse_training.engines.interface import EngineFactory, Needs
from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from sparse_training.machine import memory
from sparse_training.networks.network import Network, Perceptron

ENGINES = ("auto", "masked", "sparse")
DEVICES = ("cpu", "cuda")

DEFAULT_CROSSOVER = 0.5
"""Density below which the truly sparse engine is the faster one where nothing was measured."""


def factory(
    wanted: str,
    network: Network,
    needs: Needs,
    *,
    density: float,
    starts_dense: bool = False,
    device: str,
) -> EngineFactory:
    """The engine for a run.

    wanted: one of `ENGINES`; needs: of all rules; density: of the whole network; starts_dense:
    whether the first mask looks at the dense network. Raises BadInput if an engine is asked for
    that cannot train it.
    """
    for name, value, expected in (("engine", wanted, ENGINES), ("device", device, DEVICES)):
        if value not in expected:
            raise BadInput(f"unknown {name} {value!r}: expected one of {', '.join(expected)}")
    lack = missing(network, device)
    if wanted == "sparse" and lack is not None:
        raise BadInput(f"the sparse engine has no {lack}: use --engine masked")
    sparse = wanted == "sparse" or (wanted == "auto" and lack is None and density <= crossover())
    held = 1.0 if starts_dense else density
    if sparse:
        _check_memory(network, "sparse", 40.0 * held + 4.0 * needs.every_position)
    else:
        _check_memory(network, "masked", 16.0)
    if sparse:
        from sparse_training.engines.sparse import SparseEngine

        return SparseEngine
    from sparse_training.engines.masked import MaskedEngine

    return MaskedEngine


def missing(network: Network, device: str) -> str | None:
    """What of all this the truly sparse engine cannot do here, None if it can do all."""
    if not isinstance(network.architecture, Perceptron):
        return f"convolutions ({network.architecture.name})"
    if device != "cpu":
        return f"device {device}"
    from sparse_training.engines import kernels

    unbuilt = kernels.available()
    return None if unbuilt is None else f"compiled kernels ({unbuilt})"


def _check_memory(network: Network, engine: str, weight: float) -> None:
    """Raises BadInput for a network that no machine like this one can hold.

    weight: bytes for each of the dense network's weights. Rough and low: the flat buffers of the
    masked engine, or what the truly sparse one keeps for an active weight and for any, and
    activations of a batch of 128. What a trial really takes is limited from outside.
    """
    sizes = [layer.size * weight + layer.neurons * 12 * 128 for layer in network.layers]
    if sum(sizes) > memory():
        largest = max(range(len(sizes)), key=lambda layer: sizes[layer])
        shape = "x".join(map(str, network.layers[largest].shape))
        raise BadInput(
            f"layer {largest + 1} of {shape} weights needs {sizes[largest] / 2**30:,.0f} GiB on "
            f"the {engine} engine: this machine has {memory() / 2**30:,.0f} GiB; expected fewer "
            "neurons" + ("" if engine == "sparse" else ", or --engine sparse")
        )


def crossover() -> float:
    """The density at which both engines are equally fast on this machine, as last measured."""
    try:
        return float(json.loads(_crossover_file().read_text())["density"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_CROSSOVER


def remember_crossover(density: float) -> None:
    """Keeps a measured crossover for this machine and build of the kernels."""
    write_whole(_crossover_file(), json.dumps({"density": density}) + "\n")


def _crossover_file() -> Path:
    from sparse_training.engines import kernels

    return kernels.file().with_suffix(".crossover.json")
