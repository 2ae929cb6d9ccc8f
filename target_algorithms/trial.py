"""One trial: a configuration of a variant, trained on an instance with a seed and judged.

The cost is 1 - balanced accuracy of the last iterate on the judging part, the mean over classes of
the share that is wrong; training that diverges costs 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from target_algorithms.errors import BadInput
from target_algorithms.instances import Split, load
from target_algorithms.masked import MaskedEngine
from target_algorithms.topology import Topology
from target_algorithms.training import Recipe, train
from target_algorithms.variants import topology_of


@dataclass(frozen=True)
class Options:
    """What the scenario fixes."""

    active_weights: int | None
    """Budget of active weights, None for dense."""
    training_samples: int
    hidden: tuple[int, ...]


def run(request: Mapping[str, object]) -> dict[str, object]:
    """Trains and judges; the result has plain JSON values only.

    request: variant, options (active_weights unless dense, training_samples, hidden), instance,
    seed, config (values typed and already checked against the variant's space). Returns cost,
    active_weights, weights, density, training_flops, inference_flops, engine and misc. Raises
    BadInput for what no retry can mend.
    """
    variant = _text(request, "variant")
    topology, recipe = configured(variant, _mapping(request, "config"))
    options = _options(variant, topology, _mapping(request, "options"))
    seed = _integer(request, "seed", 0)
    split = load(_text(request, "instance"))
    outcome = train(
        MaskedEngine,
        recipe,
        topology,
        split,
        active_weights=options.active_weights,
        training_samples=options.training_samples,
        hidden=options.hidden,
        seed=seed,
    )
    diverged = outcome.judged is None
    cost = 1.0 if outcome.judged is None else balanced_error(split.judge_y, outcome.judged)
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
            "steps": outcome.steps,
            "updates": outcome.updates,
            "explored": outcome.explored,
            "dead_neurons": outcome.dead_neurons,
            "test_rows": len(split.judge_y),
        },
    }


def warm_up() -> None:
    """Trains a toy, so that processes forked from this one find torch's operations ready."""
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
        train(
            MaskedEngine,
            recipe,
            toy,
            split,
            active_weights=12,
            training_samples=64,
            hidden=(4,),
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


CONDITIONAL = ("learning_rate_sgd", "momentum", "momentum_kind", "learning_rate_adamw")
"""Shared parameters that depend on the optimiser."""


def balanced_error(truth: NDArray[np.int64], judged: NDArray[np.int64]) -> float:
    """1 - balanced accuracy: the mean over the classes in truth of the share judged wrong."""
    rows = np.bincount(truth)
    wrong = np.bincount(truth, weights=(truth != judged).astype(np.float64))
    present = rows > 0
    return float((wrong[present] / rows[present]).mean())


def _options(variant: str, topology: Topology, given: Mapping[str, object]) -> Options:
    unknown = set(given) - {field.name for field in fields(Options)}
    if unknown:
        raise BadInput(f"unknown option {sorted(unknown)[0]!r} for {variant}")
    if topology.kind == "dense":
        if "active_weights" in given:
            raise BadInput(f"{variant} is outside any budget: expected no active_weights")
        budget = None
    else:
        budget = _integer(given, "active_weights", 1)
    hidden = given.get("hidden")
    if not isinstance(hidden, list | tuple) or not all(
        isinstance(width, int) and not isinstance(width, bool) and width >= 1 for width in hidden
    ):
        raise BadInput(f"hidden is {hidden!r}: expected a list of widths, each at least 1")
    return Options(budget, _integer(given, "training_samples", 1), tuple(hidden))


def _integer(given: Mapping[str, object], name: str, least: int) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadInput(f"{name} is {value!r}: expected a whole number of at least {least}")
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
