"""The parameters that all variants share: from the words of recipe.pcs to a `Recipe`.

recipe.pcs has their ranges, defaults and sources.
"""

from typing import Literal

from sparse_training.engines.interface import SGD, AdamW, Decay, Optimizer
from sparse_training.errors import BadInput
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.networks.activations import (
    GELU,
    Activation,
    AllReLU,
    LeakyReLU,
    ReLU,
    SReLU,
)
from sparse_training.networks.initial_weights import Distribution, InitialWeights, Scaling
from sparse_training.networks.network import Norm
from sparse_training.schedules import Constant, Cosine, Linear, Schedule, Tenths

YesNo = Literal["yes", "no"]


def compose(
    *,
    optimizer: Literal["sgd", "adamw"],
    learning_rate_sgd: float | None = None,
    momentum: float | None = None,
    momentum_kind: Literal["heavy_ball", "nesterov"] | None = None,
    learning_rate_adamw: float | None = None,
    beta2: float | None = None,
    learning_rate_schedule: Literal["constant", "step", "linear", "cosine"],
    warmup: float,
    learning_rate_density_power: float = 0.0,
    weight_decay: float,
    decay_kind: Literal["coupled", "decoupled", "independent"] = "coupled",
    decay_biases: YesNo,
    batch_size: int,
    activation: Literal["relu", "leaky_relu", "all_relu", "srelu", "gelu"],
    all_relu_slope: float = 0.6,
    norm: Literal["none", "batch", "layer"],
    sparse_gradient_correction: YesNo = "no",
    dropout: float,
    label_smoothing: float,
    weight_init: Literal["he_normal", "he_uniform", "xavier", "normal_0.1"],
    init_scaling: Literal["none", "layer", "neuron"] = "none",
    width_factor: float,
    depth_change: int = 0,
) -> Recipe:
    """The recipe of a configuration.

    Those with a default are conditional, or mean nothing to some variant or network.
    """
    if optimizer == "adamw":
        rate = _active("learning_rate_adamw", learning_rate_adamw, optimizer)
        rule: SGD | AdamW = AdamW(beta2=_active("beta2", beta2, optimizer))
    else:
        rate = _active("learning_rate_sgd", learning_rate_sgd, optimizer)
        rule = SGD(
            momentum=_active("momentum", momentum, optimizer),
            nesterov=momentum_kind == "nesterov",
            decay=Decay[decay_kind.upper()],
        )
    schedules: dict[str, Schedule] = {
        "constant": Constant(),
        "step": Tenths(),
        "linear": Linear(),
        "cosine": Cosine(),
    }
    activations: dict[str, Activation] = {
        "relu": ReLU(),
        "leaky_relu": LeakyReLU(),
        "all_relu": AllReLU(all_relu_slope),
        "srelu": SReLU(),
        "gelu": GELU(),
    }
    distributions = {
        "he_normal": Distribution.HE_NORMAL,
        "he_uniform": Distribution.HE_UNIFORM,
        "xavier": Distribution.XAVIER,
        "normal_0.1": Distribution.NORMAL_TENTH,
    }
    return Recipe(
        optimizer=Optimizer(
            rule=rule,
            weight_decay=weight_decay,
            decay_biases=decay_biases == "yes",
            gradient_correction=sparse_gradient_correction == "yes",
        ),
        learning_rate=LearningRate(
            initial=rate,
            schedule=schedules[learning_rate_schedule],
            warmup=warmup,
            density_power=learning_rate_density_power,
        ),
        batch_size=batch_size,
        activation=activations[activation],
        norm=Norm[norm.upper()],
        dropout=dropout,
        label_smoothing=label_smoothing,
        initial_weights=InitialWeights(
            distribution=distributions[weight_init],
            scaling=Scaling[init_scaling.upper()],
        ),
        width_factor=width_factor,
        depth_change=depth_change,
    )


def _active(name: str, value: float | None, optimizer: str) -> float:
    if value is None:
        raise BadInput(f"parameter {name} is missing, expected with optimizer {optimizer}")
    return value
