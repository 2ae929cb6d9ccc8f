"""Everything that can be set about sparse training: topology and recipe, as frozen dataclasses.

The published algorithms are values of `Topology`; where papers and their codes differ in silence,
the difference is a field here. Defaults are RigL's. Settings that cannot matter keep their
defaults, so two equal values are two equal algorithms.

**Source**: SET: Mocanu et al., Nature Communications 2018, https://arxiv.org/abs/1707.04780; RigL:
Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134; SNFS: Dettmers & Zettlemoyer, 2019,
https://arxiv.org/abs/1907.04840; ITOP: Liu et al., ICML 2021, https://arxiv.org/abs/2102.02887;
GraNet: Liu et al., NeurIPS 2021, https://arxiv.org/abs/2106.10404; MEST: Yuan et al., NeurIPS
2021, https://arxiv.org/abs/2110.14032; DSR: Mostafa & Wang, ICML 2019,
https://arxiv.org/abs/1902.05967; GSE: Heddes et al., 2024, https://arxiv.org/abs/2401.06898;
drop criteria compared: Nowak et al., NeurIPS 2023, https://arxiv.org/abs/2306.12230; importance
pruning: Curci et al., 2021, https://arxiv.org/abs/2102.01732.
"""

from dataclasses import dataclass
from typing import Literal

DropRule = Literal[
    "magnitude",
    "sign",
    "sign_nominal",
    "magnitude_ema",
    "mest",
    "snip",
    "reciprocal",
    "threshold",
    "random",
]
YesNo = Literal["yes", "no"]
InitMask = Literal["random", "snip", "grasp", "synflow"]
Rounding = Literal["floor", "ceil", "nearest"]
GrownInit = Literal["zero", "normal", "layer_init", "gradient_step"]
GrownState = Literal["zero", "keep", "gradient"]
UpdateMode = Literal["replace_step", "before_step", "after_step"]
DensityPath = Literal["constant", "cubic", "soft_bound", "cyclic"]
LayerKind = Literal["sparse", "dense"]
DropSchedule = Literal["constant", "step", "linear", "cosine", "polynomial", "learning_rate"]
GrowScore = Literal["gradient", "gradient_ema", "momentum", "unfired_gradient"]
Redistribution = Literal["none", "score", "momentum", "gradient", "magnitude", "nonzeros"]


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How the set of active weights is chosen and changed during training."""

    kind: Literal["dense", "static", "dynamic"] = "dynamic"
    """`dense`: all weights, outside any budget; `static`: a mask that never changes; `dynamic`:
    the mask is updated by the rules below."""

    # The first mask

    layer_density_power: float = 1.0
    """Exponent of the Erdos-Renyi raw density, in [0, 1]: 1 is ER/ERK (a layer's density is
    proportional to (n_in + n_out) / (n_in * n_out)), 0 the same density everywhere."""
    first_layer: LayerKind = "sparse"
    """`dense` pays for the layer from the budget, up to half of it: a layer that is larger gets
    half of the budget."""
    last_layer: LayerKind = "sparse"
    """The same for the output layer."""
    init_mask: InitMask = "random"
    """Random with the counts above, or the largest saliencies of the dense initial network over
    all layers, at least one weight a layer (`saliency`)."""

    # Dropping

    drop_rule: DropRule = "magnitude"
    """What stays: `magnitude` large |w| (RigL); `sign` the thresholds of SET's code;
    `sign_nominal` all but the floor(zeta n) weights closest to zero of either sign;
    `magnitude_ema` large moving averages of |w| over the updates; `mest` |w| + lambda |g|; `snip`
    |w g|; `reciprocal` |w| / |g|; `threshold` |w| above an adaptive threshold (DSR); `random`."""
    mest_lambda: float = 1.0
    """Weight of |g| in `mest`, >= 0."""
    drop_ema_beta: float = 0.5
    """Share of the past in `magnitude_ema`, in [0, 1); a new weight starts at its first |w|."""
    drop_threshold: float = 1e-3
    """First threshold of `threshold`, > 0; halved after an update that dropped more than 1.1 times
    the share wanted of all active weights, doubled after one below 0.9 times."""
    drop_scope: Literal["layer", "global"] = "layer"
    """Is the share dropped in every layer, or of all layers together (at least one weight of each
    stays)? The sign rules are by layer, the threshold is global."""
    drop_rounding: Rounding = "floor"
    """Rounding of the number to drop: RigL floor, SNFS ceil, JaxPruner nearest."""
    drop_fraction: float = 0.3
    """Share of the active weights that the first update replaces, in [0, 1] (alpha in RigL, zeta
    in SET)."""
    drop_schedule: DropSchedule = "cosine"
    """How the share falls from the start to `update_end`: RigL cosine, SET constant, MEST `step`
    (half of it after 3/4 of that time); with `learning_rate` it is proportional to the learning
    rate."""
    drop_power: float = 3.0
    """Exponent of `polynomial`: share (1 - progress)^power."""
    drop_final: float = 0.0
    """Share at `update_end`, where the schedule falls (SNFS and ITOP 0.005)."""

    # Growing

    grow_random_share: float = 0.0
    """Share of the grown weights drawn uniformly, in [0, 1]: 1 is SET, 0 is RigL."""
    grow_score: GrowScore = "gradient"
    """What the rest is ranked by: |dense gradient| (RigL), its moving average over the updates,
    |momentum| (SNFS; needs a dense state), or |dense gradient| with positions that have never been
    active before all others (after ITOP)."""
    grow_ema_beta: float = 0.9
    """Share of the past in `gradient_ema`, in [0, 1)."""
    grow_candidates: float | None = None
    """Growth looks at a random subset of the free positions only, so many times the layer's active
    weights, > 0 (GSE's gamma); None: at all."""
    gradient_accumulation: int = 1
    """The gradient is a mean over so many batches up to the update, >= 1 (rigl-torch); none of
    them before `update_start`."""
    regrow_dropped: YesNo = "yes"
    """May an update grow what it has just dropped? `no` is DSR; where a layer has too few other
    free positions they may."""
    regrown_value: Literal["keep", "new"] = "keep"
    """Does a weight that is dropped and grown by the same update keep its value and optimiser
    state (RigL's code) or start as a new one (SET)?"""
    unfired_bias: float = 0.0
    """Share of the random growth that goes to positions that have never been active, in [0, 1]
    (ITOP's random_unfired is 1)."""

    # Values and optimiser state of grown weights

    grown_init: GrownInit = "zero"
    """zero (RigL); N(0, scale^2) (SET's code, 0.1); scale times a draw from the layer's initial
    distribution; a step of scale times the learning rate down the gradient."""
    grown_scale: float = 1.0
    """> 0; see `grown_init`."""
    grown_state: GrownState = "zero"
    """Optimiser state of new weights: zero (RigL); `keep` what a dense state holds (SNFS), zero
    without one; `gradient` velocity or first moment the gradient, second moment its square."""
    inactive_state: Literal["masked", "dense"] = "masked"
    """Does the optimiser's state follow the dense gradient at inactive positions (SNFS)? Costs a
    dense gradient every step."""

    # Between layers and over time

    redistribution: Redistribution = "none"
    """Where dropped weights are grown: every layer gets its own back; `score` where the largest
    growth scores of all layers are (GSE); or in proportion to the mean |momentum| (SNFS),
    |gradient| or |weight| of a layer's active weights or to their number (DSR)."""
    update_unit: Literal["steps", "epochs"] = "steps"
    """Unit of `update_interval`: optimiser steps (RigL) or passes over the training part (SET)."""
    update_interval: int = 100
    """Steps or epochs between two updates, >= 1 (Delta T)."""
    update_at_start: YesNo = "yes"
    """Is an update due before the first step (RigL's and JaxPruner's code)?"""
    update_start: float = 0.0
    """Share of the training budget before which no update is made, in [0, 1]."""
    update_end: float = 0.75
    """Share of the training budget after which the mask stays, in [0, 1] (T_end / T)."""
    update_mode: UpdateMode = "replace_step"
    """`replace_step`: an update spends a batch, on which no optimiser step is made (RigL's code);
    `before_step`: it spends a batch, on which the next step is then made as well, which counts
    twice against the budget; `after_step`: it follows a step and uses the gradient of that step's
    batch, taken before the step (SET, ITOP)."""
    evolve_last_layer: YesNo = "yes"
    """Is the output layer updated too (SET 2018: yes; Curci et al. 2021: no)?"""
    density_path: DensityPath = "constant"
    """Number of active weights over time, down to the budget: `cubic` GraNet's schedule, pruned
    over all layers by magnitude; `soft_bound` MEST's EM&S, the initial density for 3/4 of the path,
    then the mean of both, each update dropping down to the budget and growing up again; `cyclic`
    back and forth between the two in equal halves (after AC/DC). Never more than the scenario's
    peak, without which there is no path."""
    initial_density: float = 0.5
    """Density at the start of a path, in (0, 1]; or"""
    initial_factor: float | None = None
    """the number of active weights at its start as a multiple of the budget, > 1."""
    path_end: float = 0.5
    """Share of the training budget at which a path has reached the budget of active weights, in
    (0, 1)."""
    path_cycles: int = 2
    """Periods of `cyclic`, >= 1."""
    importance_share: float = 0.0
    """Share of the hidden neurons that lose all incoming weights for good, those of the smallest
    sum of incoming |w|, in [0, 1); 0 is off. What is lost is not grown elsewhere, but for what a
    density path still asks for."""
    importance_start: float = 0.4
    """Share of the training budget before which importance pruning rests."""
    importance_interval: int = 10
    """Updates between two importance prunings, >= 1."""

    @property
    def grows_by_gradient(self) -> bool:
        """Does growth rank positions by a gradient?"""
        ranked = self.kind == "dynamic" and self.grow_random_share < 1.0
        return ranked and self.grow_score != "momentum"

    @property
    def needs_gradient(self) -> bool:
        """Does an update look at a gradient?"""
        return self.grows_by_gradient or self.update_gradient != "none"

    @property
    def update_gradient(self) -> Literal["all", "active", "none"]:
        """The weights whose gradient an update looks at besides `grow_candidates`."""
        if self.kind != "dynamic":
            return "none"
        if self.grows_by_gradient and (
            self.grow_candidates is None
            or self.grow_score == "gradient_ema"
            or self.gradient_accumulation > 1
        ):
            return "all"
        if (
            self.drop_rule in ("mest", "snip", "reciprocal")
            or self.redistribution == "gradient"
            or self.grown_init == "gradient_step"
            or self.grown_state == "gradient"
        ):
            return "active"
        return "none"

    @property
    def needs_masked_engine(self) -> str | None:
        """The setting that only the masked engine has, if there is one.

        It keeps a value for every position all the time, or differentiates twice.
        """
        if self.kind == "dynamic":
            if self.inactive_state == "dense":
                return "inactive_state = dense"
            if self.grows_by_gradient and self.grow_score == "gradient_ema":
                return "grow_score = gradient_ema"
        return "init_mask = grasp" if self.init_mask == "grasp" else None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser and network, the parameters that all variants share (training.pcs)."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW with beta1 .9."""
    learning_rate_sgd: float | None = 0.1
    """Initial learning rate of sgd, > 0."""
    momentum: float | None = 0.9
    """Momentum of sgd, in [0, 1)."""
    momentum_kind: Literal["heavy_ball", "nesterov"] | None = "nesterov"
    """Form of sgd's momentum."""
    learning_rate_adamw: float | None = None
    """Initial learning rate of adamw, > 0."""
    beta2: float | None = 0.999
    """Of adamw, in [0, 1)."""
    learning_rate_schedule: Literal["constant", "step", "linear", "cosine"] = "cosine"
    """How the learning rate falls over the training budget: `linear` and `cosine` to 0, `step` to
    a tenth at 1/2 and again at 3/4."""
    warmup: float = 0.0
    """Share of the budget over which the learning rate first rises linearly, in [0, 1)."""
    learning_rate_density_power: float = 0.0
    """x in learning rate times density^-x, x >= 0, with the density of the whole network; after
    SuPar (Dey et al., 2024), which scales learning rates by the density."""
    weight_decay: float = 0.0005
    """Decay of weights, >= 0."""
    decay_kind: Literal["coupled", "decoupled", "independent"] | None = "coupled"
    """Of sgd: added to the gradient; times the learning rate, past the momentum; or past both, as
    in SET's code. That of adamw is decoupled."""
    decay_biases: YesNo = "no"
    """Do biases decay as well (SET's code)?"""
    batch_size: int = 64
    """Rows of a batch, >= 1; the last of an epoch and of the budget may be smaller."""
    activation: Literal["relu", "leaky_relu", "all_relu", "srelu", "gelu"] = "relu"
    """Activation of the hidden layers."""
    all_relu_slope: float | None = 0.6
    """Slope of all_relu, > 0."""
    norm: Literal["none", "batch", "layer"] = "none"
    """Normalisation of the hidden layers."""
    sparse_gradient_correction: YesNo | None = "no"
    """Undoes what normalisation does to the gradient of sparse neurons (SparseOpt); see
    `engine.Optimizer.gradient_correction`."""
    dropout: float = 0.0
    """Of the hidden layers, in [0, 1)."""
    label_smoothing: float = 0.0
    """In [0, 1)."""
    weight_init: Literal["he_normal", "he_uniform", "xavier", "normal_0.1"] = "he_normal"
    """Distribution of the initial weights."""
    init_scaling: Literal["none", "layer", "neuron"] | None = "layer"
    """Is the variance of the initial weights divided by the density of the layer or neuron?
    None, for a mask by saliency and for normal_0.1: no."""
    width_factor: float = 1.0
    """Multiplies every hidden width, > 0; the budget of active weights stays."""
    depth_change: int = 0
    """Hidden layers more than the scenario's, as wide as its last one, or fewer; one stays."""

    @property
    def learning_rate(self) -> float:
        """The initial learning rate of the optimiser in use."""
        rate = self.learning_rate_adamw if self.optimizer == "adamw" else self.learning_rate_sgd
        assert rate is not None
        return rate
