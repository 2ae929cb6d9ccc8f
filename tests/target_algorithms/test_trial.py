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
from tests.target_algorithms.cases import OWN, SGD, request


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
    assert misc["explored"] > result["density"]  # type: ignore[operator]


def test_divergence_costs_one_and_is_no_error() -> None:
    for variant in ("rigl", "set", "static", "dense"):
        config = {**SGD, **OWN[variant], "learning_rate_sgd": 1e9}
        result = run(request(variant, config=config))
        assert result["cost"] == 1.0
        assert result["misc"]["diverged"] is True  # type: ignore[index]


def test_a_wider_network_does_not_get_more_active_weights() -> None:
    wide = run(request("rigl", config={**SGD, **OWN["rigl"], "width_factor": 4.0}))
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
        ({"variant": "snip"}, "unknown variant 'snip'"),
        ({"instance": "sklearn/digits/7"}, "fold 7"),
        ({"seed": -1}, "seed is -1: expected a whole number of at least 0"),
        ({"seed": "1"}, "seed is '1'"),
        ({"options": {**OPTIONS, "active_weights": 2}}, "at least one weight a layer"),
        ({"options": {**OPTIONS, "active_weights": 0}}, "active_weights is 0"),
        ({"options": {**OPTIONS, "training_samples": 0.5}}, "training_samples is 0.5"),
        ({"options": {**OPTIONS, "hidden": "24-16"}}, "hidden is '24-16': expected a list"),
        ({"options": {**OPTIONS, "hidden": [0]}}, "hidden is"),
        ({"options": {"training_samples": 9, "hidden": []}}, "active_weights is None"),
        ({"options": {**OPTIONS, "density": 0.1}}, "unknown option 'density'"),
        ({"config": SGD}, "configuration of rigl: .*missing"),
        ({"config": {**SGD, **OWN["rigl"], "zeta": 0.3}}, "zeta"),
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


def test_no_hidden_layer_is_a_linear_model() -> None:
    linear = run(request("static", options={**OPTIONS, "hidden": []}))
    assert linear["weights"] == 640 and linear["active_weights"] == 300


def test_a_fault_is_not_taken_for_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> float:
        raise AssertionError("fault")

    monkeypatch.setattr(training, "learning_rate_at", wrong)
    with pytest.raises(AssertionError, match="fault"):
        run(request("static"))


def test_a_trial_imports_no_compiler_and_no_data_library() -> None:
    """Importing torch alone brings torch.optim; torch._dynamo would double the start-up time."""
    run(request("meta"))  # prepares the data set
    requests = [request(variant) for variant in ("meta", "set", "dense")]
    code = (
        "import json, sys\n"
        "from target_algorithms.trial import run\n"
        f"for request in json.loads({json.dumps(requests)!r}): run(request)\n"
        "print([name for name in ('torch._dynamo', 'torchvision', 'sklearn', 'scipy', 'pandas',"
        " 'openml', 'safetensors', 'wrappers', 'analysis') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


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
