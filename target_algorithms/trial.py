"""One trial: a configuration of a variant, trained on an instance with a seed and evaluated.

The cost is 1 - balanced accuracy of the last iterate on the evaluation rows, the mean over classes
of the fraction that is wrong; training that diverges costs 1.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_training.data.instances import Split, load
from sparse_training.engines import choice
from sparse_training.engines.interface import AdamW, Optimizer
from sparse_training.errors import BadInput
from sparse_training.loop.budget import Budget, static_price
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.training import Outcome, train
from sparse_training.networks.network import Network
from sparse_training.positions import Positions
from sparse_training.rules.amount import Fraction
from sparse_training.rules.drop import Smallest
from sparse_training.rules.first_mask import RandomMask
from sparse_training.rules.grow import Largest
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly
from target_algorithms import Variant, recipe
from target_algorithms.contract import Details, Options, Trained, Trial, Value


def run(
    trial: Trial, on_change: Callable[[Sequence[Positions]], None] = lambda active: None
) -> Trained:
    """Trains and evaluates; on_change: is shown the mask at the start and after every change.

    Raises BadInput for what no retry can mend.
    """
    options = trial.options
    variant = Variant(trial.variant, Path(trial.folder))
    topology, chosen = configured(variant, trial.config)
    _check_budget(variant, topology, options)
    split = load(trial.instance)
    network = _network(options, chosen, split)
    budget = granted(options, _network(options, Recipe(), split)).part(trial.fidelity)
    bound = budget.active_weights if topology.first_mask.within_budget else None
    outcome = train(
        choice.factory(
            options.engine,
            network,
            topology.needs,
            density=min(1.0, (bound or network.size) / network.size),
            starts_dense=topology.first_mask.starts_dense,
            device=options.device,
        ),
        chosen,
        topology,
        network,
        split,
        budget=budget,
        seed=trial.seed,
        device=options.device,
        on_change=on_change,
    )
    return _answer(outcome, split)


def configured(variant: Variant, config: Mapping[str, Value]) -> tuple[Topology, Recipe]:
    """The algorithm that a configuration stands for; inactive parameters are absent from it.

    Raises BadInput for parameters that do not fit the variant, or contradict each other.
    """
    shared = _signature(recipe.compose).parameters
    own = {name: value for name, value in config.items() if name not in shared}
    of_recipe = {name: value for name, value in config.items() if name in shared}
    try:
        _signature(variant.compose).bind(**own)
        _signature(recipe.compose).bind(**of_recipe)
    except TypeError as error:
        raise BadInput(f"configuration of {variant.name}: {error}") from error
    return variant.compose(**own), recipe.compose(**of_recipe)  # type: ignore[arg-type]


@functools.cache
def _signature(function: Callable[..., object]) -> inspect.Signature:
    return inspect.signature(function)


def balanced_error(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """1 - balanced accuracy: the mean over the classes in truth of the fraction that is wrong."""
    rows = np.bincount(truth)
    wrong = np.bincount(truth, weights=(truth != predicted).astype(np.float64))
    present = rows > 0
    return float((wrong[present] / rows[present]).mean())


def _check_budget(variant: Variant, topology: Topology, options: Options) -> None:
    if not topology.first_mask.within_budget:
        if options.grants("peak_weights"):
            raise BadInput(f"{variant.name} is outside any budget: expected no peak_weights")
        if options.grants("active_weights") and options.static_samples is None:
            raise BadInput(
                f"{variant.name} is outside any budget: expected no active_weights or density but "
                "for the price of --static-samples"
            )
    elif not options.grants("active_weights"):
        raise BadInput(
            f"active_weights is missing, or density: expected a budget for {variant.name}"
        )


def granted(options: Options, nominal: Network) -> Budget:
    """The numbers that options stand for; nominal: the network before width and depth change."""
    active, peak, flops = options.active_weights, options.peak_weights, options.training_flops
    if options.density is not None:
        active = max(len(nominal.layers), round(options.density * nominal.size))
    if active is not None and options.peak is not None:
        peak = round(options.peak * active)
    price = float(flops) if flops is not None else None
    if active is not None and options.static_samples is not None:
        price = static_price(nominal, active) * options.static_samples
    return Budget(
        active_weights=active,
        peak_weights=peak,
        training_samples=options.training_samples,
        training_flops=price,
    )


def _network(options: Options, chosen: Recipe, split: Split) -> Network:
    inputs = split.train_x.shape[1]
    if options.network is not None:
        return chosen.convolutional(options.network, inputs, split.n_classes)
    return chosen.perceptron(inputs, options.hidden or (), split.n_classes)


def _answer(outcome: Outcome, split: Split) -> Trained:
    cost = 1.0
    if outcome.predicted is not None:
        cost = balanced_error(split.eval_y, outcome.predicted)
    neurons, outputs = outcome.disconnected or (None, None)
    return Trained(
        cost=cost,
        active_weights=outcome.active_weights,
        weights=outcome.total_weights,
        density=outcome.active_weights / outcome.total_weights,
        training_flops=outcome.training_flops,
        inference_flops=outcome.inference_flops,
        engine=outcome.engine,
        misc=Details(
            diverged=outcome.predicted is None,
            samples=outcome.samples,
            steps=outcome.steps,
            updates=outcome.updates,
            final_weights=outcome.final_weights,
            explored=outcome.explored,
            dead_neurons=outcome.dead_neurons,
            disconnected_neurons=neurons,
            disconnected_outputs=outputs,
            test_rows=len(split.eval_y),
        ),
    )


def warm_up(engine: str) -> None:
    """Trains a toy on the engine, so that processes forked from this one find it ready."""
    rows = np.arange(16)
    split = Split(
        train_x=np.random.default_rng(0).standard_normal((16, 4), dtype=np.float32),
        train_y=rows % 2,
        eval_x=np.zeros((1, 4), dtype=np.float32),
        eval_y=rows[:1],
        n_classes=2,
        train_rows=rows,
        eval_rows=rows[:1],
    )
    toy = Topology(
        first_mask=RandomMask(),
        updates=Updates(
            when=Evenly(count=2), amount=Fraction(0.3), drop=Smallest(), grow=Largest()
        ),
    )
    for chosen in (Recipe(batch_size=8), Recipe(batch_size=8, optimizer=Optimizer(rule=AdamW()))):
        network = chosen.perceptron(4, (4,), 2)
        if engine == "sparse" and choice.missing(network, "cpu") is not None:
            return
        train(
            choice.factory(engine, network, toy.needs, density=0.5, device="cpu"),
            chosen,
            toy,
            network,
            split,
            budget=Budget(active_weights=12, training_samples=64),
            seed=0,
        )
