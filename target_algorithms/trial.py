"""One trial: a configuration of a variant, trained on an instance with a seed and judged.

The cost is 1 - balanced accuracy of the last iterate on the judging part, the mean over classes of
the share that is wrong; training that diverges costs 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from target_algorithms import architectures, engines
from target_algorithms.errors import BadInput
from target_algorithms.instances import Split, load
from target_algorithms.networks import Network
from target_algorithms.settings import Recipe, Topology
from target_algorithms.training import (
    Budget,
    multi_layer_perceptron,
    network_settings,
    train,
)
from target_algorithms.variants import topology_of


@dataclass(frozen=True)
class Options:
    """What the scenario fixes."""

    budget: Budget
    hidden: tuple[int, ...] | None
    """Widths of a multi-layer perceptron's hidden layers, or"""
    network: str | None
    """a convolutional architecture."""
    engine: str
    device: str


def run(request: Mapping[str, object]) -> dict[str, object]:
    """Trains and judges; the result has plain JSON values only.

    request: variant, options (training_samples or training_flops; active_weights, and perhaps
    peak_weights, unless dense; hidden or network; engine and device if not `auto` and `cpu`),
    instance, seed, config (values typed and already checked against the variant's space). Returns
    cost, active_weights, weights, density, training_flops, inference_flops, engine and misc.
    Raises BadInput for what no retry can mend.
    """
    variant = _text(request, "variant")
    topology, recipe = configured(variant, _mapping(request, "config"))
    options = _options(variant, topology, _mapping(request, "options"))
    seed = _integer(request, "seed", 0)
    split = load(_text(request, "instance"))
    network = _network(options, recipe, split)
    total = sum(network.sizes)
    density = min(1.0, (options.budget.active_weights or total) / total)
    outcome = train(
        engines.factory(options.engine, network, topology, density=density, device=options.device),
        recipe,
        topology,
        network,
        split,
        budget=options.budget,
        seed=seed,
        device=options.device,
    )
    diverged = outcome.judged is None
    cost = 1.0 if outcome.judged is None else balanced_error(split.judge_y, outcome.judged)
    paths = {}
    if outcome.disconnected is not None:
        neurons, outputs = outcome.disconnected
        paths = {"disconnected_neurons": neurons, "disconnected_outputs": outputs}
    return {
        "cost": cost,
        "active_weights": outcome.active_weights,
        "weights": outcome.total_weights,
        "density": outcome.active_weights / outcome.total_weights,
        "training_flops": outcome.training_flops,
        "inference_flops": outcome.inference_flops,
        "engine": outcome.engine,
        "misc": {
            "diverged": diverged,
            "samples": outcome.samples,
            "steps": outcome.steps,
            "updates": outcome.updates,
            "final_weights": outcome.final_weights,
            "explored": outcome.explored,
            "dead_neurons": outcome.dead_neurons,
            **paths,
            "test_rows": len(split.judge_y),
        },
    }


def _network(options: Options, recipe: Recipe, split: Split) -> Network:
    inputs = split.train_x.shape[1]
    if options.network is None:
        assert options.hidden is not None
        return multi_layer_perceptron(recipe, inputs, options.hidden, split.n_classes)
    return architectures.network(
        options.network,
        inputs,
        split.n_classes,
        recipe.width_factor,
        **network_settings(recipe),
    )


def warm_up(engine: str) -> None:
    """Trains a toy on the engine, so that processes forked from this one find it ready."""
    rows = np.arange(16)
    split = Split(
        train_x=np.random.default_rng(0).standard_normal((16, 4), dtype=np.float32),
        train_y=rows % 2,
        judge_x=np.zeros((1, 4), dtype=np.float32),
        judge_y=rows[:1],
        n_classes=2,
        train_rows=rows,
        judge_rows=rows[:1],
    )
    toy = Topology(update_interval=2)
    for recipe in (Recipe(batch_size=8), Recipe(optimizer="adamw", learning_rate_adamw=0.01)):
        network = multi_layer_perceptron(recipe, 4, (4,), 2)
        if engine == "sparse" and engines.missing(network, toy, "cpu") is not None:
            return
        train(
            engines.factory(engine, network, toy, density=0.5, device="cpu"),
            recipe,
            toy,
            network,
            split,
            budget=Budget(active_weights=12, training_samples=64),
            seed=0,
        )


def configured(variant: str, config: Mapping[str, object]) -> tuple[Topology, Recipe]:
    """The settings that a configuration stands for; inactive parameters are absent from it.

    Raises BadInput for an unknown variant and for parameters that do not fit the variant.
    """
    shared = {field.name for field in fields(Recipe)}
    inactive = {name: None for name in CONDITIONAL if name not in config}
    own = {name: value for name, value in config.items() if name not in shared}
    recipe = {name: value for name, value in config.items() if name in shared}
    try:
        return topology_of(variant)(**own), Recipe(**{**inactive, **recipe})  # type: ignore[arg-type]
    except TypeError as error:
        raise BadInput(f"configuration of {variant}: {error}") from error


CONDITIONAL = (
    "learning_rate_sgd",
    "momentum",
    "momentum_kind",
    "decay_kind",
    "learning_rate_adamw",
    "beta2",
    "all_relu_slope",
    "sparse_gradient_correction",
    "init_scaling",
)
"""Shared parameters that are active for some values of others only."""


def balanced_error(truth: NDArray[np.int64], judged: NDArray[np.int64]) -> float:
    """1 - balanced accuracy: the mean over the classes in truth of the share judged wrong."""
    rows = np.bincount(truth)
    wrong = np.bincount(truth, weights=(truth != judged).astype(np.float64))
    present = rows > 0
    return float((wrong[present] / rows[present]).mean())


def _options(variant: str, topology: Topology, given: Mapping[str, object]) -> Options:
    known = {"active_weights", "peak_weights", "training_samples", "training_flops"}
    unknown = set(given) - known - {"hidden", "network", "engine", "device"}
    if unknown:
        raise BadInput(f"unknown option {sorted(unknown)[0]!r} for {variant}")
    if topology.kind == "dense":
        for name in ("active_weights", "peak_weights"):
            if name in given:
                raise BadInput(f"{variant} is outside any budget: expected no {name}")
    for one, other in (("training_samples", "training_flops"), ("hidden", "network")):
        if (one in given) == (other in given):
            found = "both" if one in given else "neither"
            raise BadInput(f"expected either {one} or {other} for {variant}, found {found}")
    active = None if topology.kind == "dense" else _integer(given, "active_weights", 1)
    peak = _integer(given, "peak_weights", active or 1) if "peak_weights" in given else None
    samples = _integer(given, "training_samples", 1) if "training_samples" in given else None
    flops = _integer(given, "training_flops", 1) if "training_flops" in given else None
    hidden = given.get("hidden")
    if hidden is not None and (
        not isinstance(hidden, list | tuple)
        or not hidden
        or not all(
            isinstance(width, int) and not isinstance(width, bool) and width >= 1
            for width in hidden
        )
    ):
        raise BadInput(f"hidden is {hidden!r}: expected a list of widths, each at least 1")
    return Options(
        budget=Budget(
            active_weights=active,
            peak_weights=peak,
            training_samples=samples,
            training_flops=None if flops is None else float(flops),
        ),
        hidden=None if hidden is None else tuple(hidden),
        network=_text(given, "network") if "network" in given else None,
        engine=_text(given, "engine") if "engine" in given else "auto",
        device=_text(given, "device") if "device" in given else "cpu",
    )


def _integer(given: Mapping[str, object], name: str, least: int) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        found = repr(value) if name in given else "missing"
        raise BadInput(f"{name} is {found}: expected a whole number of at least {least}")
    return value


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise BadInput(f"{name} is {value!r}: expected a text")
    return value


def _mapping(given: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = given.get(name)
    if not isinstance(value, Mapping):
        raise BadInput(f"{name} is {value!r}: expected a mapping")
    return value
