"""Meta: every component of the other variants, and what lies between them, as a parameter.

**Source**: those of the other variants and of `sparse_training.rules`. At a variant's settings
(`PRESETS`) it is the same algorithm.
**Differs** from the papers where their variants do; a mixture of components has no paper.
"""

from typing import Any, Literal

from sparse_training.rules.amount import Fraction, LikeLearningRate, Rounding
from sparse_training.rules.densities import ErdosRenyi
from sparse_training.rules.density_path import (
    Cubic,
    Cyclic,
    DensityPath,
    SoftBound,
)
from sparse_training.rules.drop import (
    BelowThreshold,
    Chance,
    DropRule,
    Magnitude,
    MagnitudeAndGradient,
    MagnitudeAverage,
    NeuronAblation,
    RelativeImportance,
    Sensitivity,
    SignCounts,
    SignThresholds,
    Smallest,
    Within,
    WithStranded,
)
from sparse_training.rules.first_mask import FirstMask, MostSalient, RandomMask
from sparse_training.rules.grow import (
    AtRandom,
    EvenFanIn,
    Gradient,
    GradientAverage,
    GrowRule,
    GrowScore,
    Largest,
    Mixed,
    Momentum,
    Paths,
    Sampled,
)
from sparse_training.rules.neurons import ImportancePruning
from sparse_training.rules.new_weights import (
    GradientStep,
    LikeInitial,
    NewWeights,
    Normal,
    State,
    Value,
    Zero,
)
from sparse_training.rules.redistribution import (
    ActiveWeights,
    InProportion,
    MeanGradient,
    MeanMagnitude,
    MeanMomentum,
    Redistribution,
    Survivors,
    ToItsLayer,
    ToLargestScores,
)
from sparse_training.rules.saliency import Grasp, Snip, SynFlow
from sparse_training.rules.topology import Topology, Updates
from sparse_training.rules.when import Evenly, Place
from sparse_training.schedules import Constant, Cosine, Halved, Linear, Polynomial, Schedule
from target_algorithms import Role

ROLE = Role.COMBINATION

YesNo = Literal["yes", "no"]
LayerKind = Literal["sparse", "dense"]


def compose(
    *,
    topology: Literal["static", "dynamic"],
    init_mask: Literal["random", "snip", "grasp", "synflow"],
    layer_density_power: float = 1.0,
    first_layer: LayerKind = "sparse",
    last_layer: LayerKind = "sparse",
    fan_in: Literal["random", "constant"] = "random",
    drop_rule: str = "magnitude",
    mest_lambda: float = 1.0,
    drop_ema_beta: float = 0.5,
    drop_threshold: float = 1e-3,
    salient_share: float = 0.3,
    drop_scope: Literal["layer", "global"] = "layer",
    drop_rounding: Literal["floor", "ceil", "nearest"] = "floor",
    drop_fraction: float = 0.3,
    drop_schedule: str = "cosine",
    drop_power: float = 3.0,
    drop_final: float = 0.0,
    drop_stranded: YesNo = "no",
    grow: Literal["random", "score", "mixed", "sampled", "even"] = "score",
    grow_power: float = 1.0,
    grow_random_share: float = 0.5,
    grow_score: str = "gradient",
    grow_ema_beta: float = 0.9,
    candidates: Literal["all", "subset"] = "all",
    grow_candidates: float | None = None,
    gradient_accumulation: int = 1,
    regrow_dropped: YesNo = "yes",
    regrown_value: Literal["keep", "new"] = "keep",
    unfired_bias: float = 0.0,
    grown_init: str = "zero",
    grown_deviation: float = 0.1,
    grown_scale: float = 1.0,
    grown_state: Literal["zero", "keep", "gradient"] = "zero",
    inactive_state: Literal["masked", "dense"] = "masked",
    redistribution: str = "none",
    update_count: int = 30,
    update_at_start: YesNo = "no",
    update_start: float = 0.0,
    update_end: float = 0.75,
    update_mode: Literal["replace_step", "before_step", "after_step"] = "replace_step",
    evolve_last_layer: YesNo = "yes",
    density_path: Literal["constant", "cubic", "soft_bound", "cyclic"] = "constant",
    initial_factor: float = 4.0,
    path_end: float = 0.5,
    path_cycles: int = 2,
    importance_pruning: Literal["off", "on"] = "off",
    importance_share: float = 0.1,
    importance_start: float = 0.4,
    importance_count: int = 2,
) -> Topology:
    """The combination that the parameters name; those with a default are conditional."""
    first_masks: dict[str, FirstMask] = {
        "random": RandomMask(
            densities=ErdosRenyi(layer_density_power),
            dense_first_layer=first_layer == "dense",
            dense_last_layer=last_layer == "dense",
            constant_fan_in=fan_in == "constant",
        ),
        "snip": MostSalient(Snip()),
        "grasp": MostSalient(Grasp()),
        "synflow": MostSalient(SynFlow()),
    }
    first_mask = first_masks[init_mask]
    if topology == "static":
        return Topology(first_mask=first_mask)

    rounding, within = Rounding[drop_rounding.upper()], Within.A_LAYER
    if drop_scope == "global":
        within = Within.ALL_LAYERS
    drops: dict[str, DropRule] = {
        "magnitude": Smallest(Magnitude(), within, rounding),
        "sign": SignThresholds(),
        "sign_nominal": SignCounts(),
        "magnitude_ema": Smallest(MagnitudeAverage(drop_ema_beta), within, rounding),
        "mest": Smallest(MagnitudeAndGradient(mest_lambda), within, rounding),
        "snip": Smallest(Sensitivity(), within, rounding),
        "relative": Smallest(RelativeImportance(), within, rounding),
        "threshold": BelowThreshold(drop_threshold),
        "ablation": NeuronAblation(salient_share),
        "random": Smallest(Chance(), within, rounding),
    }
    schedules: dict[str, Schedule | LikeLearningRate] = {
        "constant": Constant(),
        "step": Halved(),
        "linear": Linear(),
        "cosine": Cosine(),
        "polynomial": Polynomial(drop_power),
        "learning_rate": LikeLearningRate(),
    }

    scores: dict[str, GrowScore] = {
        "gradient": Gradient(gradient_accumulation),
        "gradient_ema": GradientAverage(grow_ema_beta, gradient_accumulation),
        "momentum": Momentum(),
        "unfired_gradient": Gradient(gradient_accumulation),
        "ch2": Paths(internal=True),
        "ch3": Paths(internal=False),
    }
    largest = Largest(
        scores[grow_score],
        candidates_per_weight=grow_candidates if candidates == "subset" else None,
        never_active_first=grow_score == "unfired_gradient",
    )
    at_random = AtRandom(never_active=unfired_bias)
    grows: dict[str, GrowRule] = {
        "random": at_random,
        "score": largest,
        "mixed": Mixed(grow_random_share, largest, at_random),
        "sampled": Sampled(largest, grow_power),
    }
    if grow == "even":
        grows["even"] = EvenFanIn(largest)
    drop = drops[drop_rule]
    redistributions: dict[str, Redistribution] = {
        "none": ToItsLayer(),
        "score": ToLargestScores(),
        "momentum": InProportion(MeanMomentum(), excess_evenly=True),
        "gradient": InProportion(MeanGradient(), excess_evenly=True),
        "magnitude": InProportion(MeanMagnitude(), excess_evenly=True),
        "nonzeros": InProportion(ActiveWeights(), excess_evenly=True),
        "survivors": InProportion(Survivors()),
    }
    values: dict[str, Value] = {
        "zero": Zero(),
        "normal": Normal(grown_deviation),
        "layer_init": LikeInitial(grown_scale),
        "gradient_step": GradientStep(grown_scale),
    }
    states = {"zero": State.ZERO, "keep": State.KEPT, "gradient": State.GRADIENT}

    places = {
        "replace_step": Place.INSTEAD_OF_A_STEP,
        "before_step": Place.BEFORE_A_STEP,
        "after_step": Place.AFTER_A_STEP,
    }
    paths: dict[str, DensityPath | None] = {
        "constant": None,
        "cubic": Cubic(initial_factor, path_end),
        "soft_bound": SoftBound(initial_factor, path_end),
        "cyclic": Cyclic(initial_factor, path_end, path_cycles),
    }

    return Topology(
        first_mask=first_mask,
        updates=Updates(
            when=Evenly(
                count=update_count,
                place=places[update_mode],
                at_start=update_at_start == "yes",
                start=update_start,
                end=update_end,
            ),
            amount=Fraction(drop_fraction, schedules[drop_schedule], final=drop_final),
            drop=WithStranded(drop) if drop_stranded == "yes" else drop,
            grow=grows[grow],
            regrow_dropped=regrow_dropped == "yes",
            redistribution=redistributions[redistribution],
            new_weights=NewWeights(
                value=values[grown_init],
                state=states[grown_state],
                regrown_keep=regrown_value == "keep",
            ),
            dense_state=inactive_state == "dense",
            last_layer=evolve_last_layer == "yes",
            path=paths[density_path],
            neurons=ImportancePruning(
                fraction=importance_share,
                when=Evenly(
                    count=importance_count,
                    start=importance_start * update_end,
                    end=update_end,
                    at_start=True,
                ),
            )
            if importance_pruning == "on"
            else None,
        ),
    )


_AFTER = {"update_at_start": "no", "update_mode": "after_step"}
_NEW = {**_AFTER, "regrown_value": "new"}
_ITOP = {
    **_NEW,
    "drop_rounding": "ceil",
    "drop_fraction": 0.5,
    "drop_final": 0.005,
    "update_end": 1.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "rigl": {},
    "static": {"topology": "static"},
    "snip": {"topology": "static", "init_mask": "snip"},
    "set": {**_NEW, "update_count": 100, "drop_rule": "sign", "grow": "random"},
    "snfs": {
        **_NEW,
        "update_count": 100,
        "layer_density_power": 0.0,
        "drop_rounding": "ceil",
        "drop_fraction": 0.5,
        "drop_final": 0.005,
        "grow_score": "momentum",
        "grown_state": "keep",
        "inactive_state": "dense",
        "redistribution": "momentum",
        "update_end": 1.0,
    },
    "cht": {
        **_AFTER,
        "update_count": 100,
        "drop_stranded": "yes",
        "grow": "sampled",
        "grow_score": "ch2",
    },
    "srigl": {"fan_in": "constant", "drop_rule": "ablation", "grow": "even"},
    "itop": {**_ITOP, "update_count": 65, "grow": "random"},
    "mest": {
        **_NEW,
        "update_count": 24,
        "drop_rule": "mest",
        "mest_lambda": 0.001,
        "drop_fraction": 0.2,
        "drop_schedule": "step",
        "grow": "random",
    },
    "granet": {**_ITOP, "density_path": "cubic", "path_end": 0.7},
    "dsr": {
        **_AFTER,
        "update_count": 100,
        "drop_rule": "threshold",
        "drop_fraction": 0.113,
        "drop_schedule": "constant",
        "grow": "random",
        "regrow_dropped": "no",
        "redistribution": "survivors",
        "update_end": 0.95,
    },
    "gse": {
        **_AFTER,
        "update_count": 47,
        "drop_scope": "global",
        "drop_fraction": 0.2,
        "candidates": "subset",
        "regrow_dropped": "no",
        "redistribution": "score",
        "update_end": 0.6,
        "update_mode": "before_step",
    },
}
"""Changes of the default at which it is another variant at its default."""
