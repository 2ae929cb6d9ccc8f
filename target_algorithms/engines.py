"""Which engine trains: chosen by network, device, settings and density, or as asked for.

Both give the same masks and the same weights but for rounding, so the choice is one of speed. It is
made without importing torch; the engine itself is imported when it is needed.
"""

import json
import os
from pathlib import Path

from target_algorithms.engine import EngineFactory
from target_algorithms.errors import BadInput
from target_algorithms.machine import memory
from target_algorithms.networks import Network
from target_algorithms.settings import Topology

ENGINES = ("auto", "masked", "sparse")
DEVICES = ("cpu", "cuda")

DEFAULT_CROSSOVER = 0.5
"""Density below which the truly sparse engine is the faster one where nothing was measured."""


def factory(
    wanted: str, network: Network, topology: Topology, *, density: float, device: str
) -> EngineFactory:
    """The engine for a run; wanted: one of `ENGINES`; density: of the whole network.

    Raises BadInput if an engine is asked for that cannot do what the settings say.
    """
    for name, value, known in (("engine", wanted, ENGINES), ("device", device, DEVICES)):
        if value not in known:
            raise BadInput(f"unknown {name} {value!r}: expected one of {', '.join(known)}")
    lack = missing(network, topology, device)
    if wanted == "sparse" and lack is not None:
        raise BadInput(f"the sparse engine has no {lack}: use --engine masked")
    sparse = wanted == "sparse" or (wanted == "auto" and lack is None and density <= crossover())
    # Saliency looks at the dense network once.
    most = density if topology.init_mask == "random" else 1.0
    _check_memory(network, most, sparse=sparse)
    if sparse:
        from target_algorithms.sparse import SparseEngine

        return SparseEngine
    from target_algorithms.masked import MaskedEngine

    return MaskedEngine


def missing(network: Network, topology: Topology, device: str) -> str | None:
    """What of the settings the truly sparse engine cannot do here, None if it can do all."""
    if network.architecture != "mlp":
        return f"convolutions ({network.architecture})"
    if device != "cpu":
        return f"device {device}"
    if topology.needs_masked_engine:
        return topology.needs_masked_engine
    from target_algorithms import compiled

    unbuilt = compiled.available()
    return None if unbuilt is None else f"compiled kernels ({unbuilt})"


def _check_memory(network: Network, density: float, *, sparse: bool) -> None:
    """Raises BadInput for a network that no machine like this one can hold.

    Rough and low: the flat buffers of the masked engine, or what the truly sparse one keeps for an
    active weight, and activations of a batch of 128. What a trial really takes is limited from
    outside.
    """
    name, weight = ("sparse", 40.0 * density) if sparse else ("masked", 16.0)
    sizes = [layer.size * weight + layer.neurons * 12 * 128 for layer in network.layers]
    if sum(sizes) > memory():
        largest = max(range(len(sizes)), key=lambda layer: sizes[layer])
        shape = "x".join(map(str, network.layers[largest].shape))
        raise BadInput(
            f"layer {largest + 1} of {shape} weights needs {sizes[largest] / 2**30:,.0f} GiB on "
            f"the {name} engine: this machine has {memory() / 2**30:,.0f} GiB; expected fewer "
            "neurons" + ("" if sparse else ", or --engine sparse")
        )


def crossover() -> float:
    """The density at which both engines are equally fast on this machine, as last measured."""
    try:
        return float(json.loads(_crossover_file().read_text())["density"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_CROSSOVER


def remember_crossover(density: float) -> None:
    """Keeps a measured crossover for this machine and build of the kernels."""
    file = _crossover_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"density": density}) + "\n")
    os.replace(temporary, file)


def _crossover_file() -> Path:
    from target_algorithms import compiled

    return compiled.cached_file().with_suffix(".crossover.json")
