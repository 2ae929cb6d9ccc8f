"""The truly sparse engine by itself: kernels, growth in chunks, what it holds and what it needs."""

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_training.crossover import crossing
from sparse_training.data.instances import load
from sparse_training.engines import choice, kernels, sparse
from sparse_training.engines.interface import (
    AdamW,
    BudgetExceeded,
    Diverged,
    EngineFactory,
    LayerChange,
    Needs,
    Optimizer,
    Segment,
    Setup,
    momentum,
)
from sparse_training.engines.masked import MaskedEngine
from sparse_training.engines.sparse import SparseEngine
from sparse_training.errors import BadInput
from sparse_training.networks.convolutional import LeNet5
from sparse_training.networks.initial_weights import InitialWeights
from sparse_training.networks.network import Network
from sparse_training.networks.perceptron import perceptron_layers
from sparse_training.positions import no_positions, random_positions
from sparse_training.ranking import largest_free
from sparse_training.rules.densities import layer_counts
from sparse_training.rules.topology import Topology
from tests.sparse_training.cases import RIGL


def setup_of(
    widths: tuple[int, ...] = (30, 40, 20, 5),
    density: float = 0.2,
    rows: int = 200,
    optimizer: Optimizer | None = None,
) -> Setup:
    rng = np.random.default_rng(2)
    network = Network(layers=perceptron_layers(widths))
    counts = layer_counts(network.shapes, round(density * sum(network.sizes)), 1.0)
    active = [random_positions(n, k, rng) for n, k in zip(network.sizes, counts, strict=True)]
    return Setup(
        network=network,
        optimizer=optimizer or Optimizer(),
        active=active,
        values=InitialWeights().draw(network, active, rng),
        budget=sum(counts),
        train_x=rng.standard_normal((rows, widths[0]), dtype=np.float32),
        train_y=rng.integers(widths[-1], size=rows),
    )


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 16, 33, 100, 128, 200])
def test_gradients_of_any_batch_size_agree_in_chunks_at_positions_and_whole(batch: int) -> None:
    engine = SparseEngine(setup_of())
    engine.train(Segment(np.arange(100), [50, 50], [0.1, 0.1]))
    gradients = engine.gradients(np.arange(batch))
    for layer, (size, active) in enumerate(zip(engine._network.sizes, engine._active, strict=True)):
        whole = gradients.dense(layer)
        assert whole.shape == (size,)
        positions = random_positions(size, size // 2, np.random.default_rng(batch))
        np.testing.assert_allclose(
            gradients.at(layer, positions), whole[positions], rtol=1e-3, atol=1e-6
        )
        largest = gradients.largest(layer, size // 10, active)
        assert (largest == largest_free(np.abs(whole), active, size // 10)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 2**32), st.booleans(), st.data())
def test_the_largest_of_chunks_are_those_of_one_array(
    outputs: int, inputs: int, seed: int, whole_numbers: bool, data: st.DataObject
) -> None:
    """Whole numbers make many ties, which the lowest positions win."""
    rng = np.random.default_rng(seed)
    if whole_numbers:
        rows = [rng.integers(-1, 2, (n, 16)).astype(np.float32) for n in (inputs, outputs)]
    else:
        rows = [rng.standard_normal((n, 16), dtype=np.float32) for n in (inputs, outputs)]
    gradients = sparse.ChunkedGradients([rows[0]], [rows[1]])
    size = inputs * outputs
    taken = random_positions(size, data.draw(st.integers(0, size)), rng)
    fired = random_positions(size, data.draw(st.integers(0, size)), rng)
    count = data.draw(st.integers(0, size - len(taken)))
    scores = np.abs(gradients.dense(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "CHUNK", data.draw(st.integers(1, 2 * size)))
        patch.setattr(sparse, "SAMPLED", data.draw(st.integers(1, 80)))
        assert (gradients.largest(0, count, taken) == largest_free(scores, taken, count)).all()
        fresh_first = gradients.largest(0, count, taken, fired)
        assert (fresh_first == largest_free(scores, taken, count, fired)).all()


def test_many_positions_are_ranked_as_in_one_array() -> None:
    """More than the buffer holds at once, so that it is shrunk again and again."""
    rng = np.random.default_rng(0)
    inputs, deltas = (rng.standard_normal((500, 32), dtype=np.float32) for _ in range(2))
    gradients = sparse.ChunkedGradients([inputs], [deltas])
    taken = random_positions(250_000, 20_000, rng)
    for count in (1, 1000, 30_000):
        expected = largest_free(np.abs(gradients.dense(0)), taken, count)
        assert (gradients.largest(0, count, taken) == expected).all()


# Steps and changes -------------------------------------------------------------------------------


def test_training_does_not_write_into_the_arrays_it_was_given() -> None:
    """SET's SciPy code overwrites its weights by a gradient that shares their memory."""
    setup = setup_of()
    handed_in: list[NDArray[Any]] = [*setup.values, *setup.active, setup.train_x]
    before = [array.copy() for array in handed_in]
    engine = SparseEngine(setup)
    engine.train(Segment(np.arange(200), [100, 100], [0.1, 0.1]))
    assert all((a == b).all() for a, b in zip(before, handed_in, strict=True))
    handed_out = engine.weights(1)
    handed_out[:] = 7.0
    assert not (engine.weights(1) == 7.0).any()


@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer(rule=AdamW())], ids=["sgd", "adamw"])
def test_weights_that_stay_keep_value_and_state_when_others_change(optimizer: Optimizer) -> None:
    setup = setup_of(optimizer=optimizer)
    engine = SparseEngine(setup)
    engine.train(Segment(np.arange(200), [50] * 4, [0.05] * 4))
    rng = np.random.default_rng(0)
    changes, expected = [], []
    for layer, (size, active) in enumerate(zip(setup.network.sizes, setup.active, strict=True)):
        dropped = np.sort(rng.choice(active, len(active) // 3, replace=False))
        kept = np.setdiff1d(active, dropped)
        new = np.sort(rng.choice(np.setdiff1d(np.arange(size), active), min(9, len(dropped))))
        new = np.unique(new)
        after = np.sort(np.concatenate([kept, new]))
        values = rng.standard_normal(len(new), dtype=np.float32)
        state = rng.standard_normal(len(new), dtype=np.float32) if layer == 1 else None
        changes.append(LayerChange(after, dropped, new, values, state))
        weights, momenta = (
            dict(zip(active.tolist(), of_engine.tolist(), strict=True))
            for of_engine in (engine.weights(layer), engine.momenta(layer))
        )
        weights |= dict(zip(new.tolist(), values.tolist(), strict=True))
        momenta |= dict.fromkeys(new.tolist(), 0.0)
        if state is not None:
            moments = (state, state**2)[: 1 + isinstance(optimizer.rule, AdamW)]
            momenta |= dict(zip(new.tolist(), momentum(moments).tolist(), strict=True))
        expected.append(([weights[p] for p in after], [momenta[p] for p in after]))
    engine.apply(changes)
    for layer, (weights_after, momenta_after) in enumerate(expected):
        assert engine.weights(layer).tolist() == weights_after
        assert engine.momenta(layer).tolist() == momenta_after
    engine.train(Segment(np.arange(50), [50], [0.05]))  # and training goes on


@pytest.mark.parametrize("of_setup", [MaskedEngine, SparseEngine])
def test_the_momentum_of_adamw_is_that_of_its_step(of_setup: EngineFactory) -> None:
    """After one step m is .1 g and v .01 g^2, so it is 1, however large the gradient."""
    setup = setup_of(optimizer=Optimizer(rule=AdamW(beta2=0.99)))
    engine, rows = of_setup(setup), np.arange(50)
    gradients = engine.gradients(rows)
    signs = [np.sign(gradients.at(layer, own)) for layer, own in enumerate(setup.active)]
    counted = [abs(gradients.at(layer, own)) > 1e-4 for layer, own in enumerate(setup.active)]
    engine.train(Segment(rows, [50], [0.01]))
    for layer, (sign, large) in enumerate(zip(signs, counted, strict=True)):
        assert large.sum() > 5
        assert engine.momenta(layer)[large] == pytest.approx(sign[large], abs=2e-3)


def test_a_layer_may_lose_all_its_weights() -> None:
    setup = setup_of()
    engine = SparseEngine(setup)
    nothing = np.zeros(0, dtype=np.int64)
    values = np.zeros(0, dtype=np.float32)
    changes = [LayerChange(active, nothing, nothing, values) for active in setup.active]
    changes[1] = LayerChange(nothing, setup.active[1], nothing, values)
    engine.apply(changes)
    engine.train(Segment(np.arange(100), [50, 50], [0.1, 0.1]))
    assert len(engine.weights(1)) == 0
    logits = engine.logits(setup.train_x[:9])
    assert np.allclose(logits, logits[0])  # the same for every row


def test_more_weights_than_the_budget_are_a_fault() -> None:
    setup = setup_of()
    engine = SparseEngine(setup)
    nothing, values = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    changes = [LayerChange(active, nothing, nothing, values) for active in setup.active]
    grown = np.setdiff1d(np.arange(setup.network.sizes[0]), setup.active[0])[:1]
    more = np.union1d(setup.active[0], grown)
    changes[0] = LayerChange(more, nothing, grown, np.ones(1, dtype=np.float32))
    with pytest.raises(BudgetExceeded, match="active weights, the budget is"):
        engine.apply(changes)


def test_a_loss_that_is_not_finite_is_divergence() -> None:
    engine = SparseEngine(setup_of())
    with pytest.raises(Diverged):
        engine.train(Segment(np.arange(200), [20] * 10, [1e30] * 10))


def test_gradients_too_large_for_a_number_are_divergence() -> None:
    """Though activations and deltas are numbers, each by itself."""
    large = sparse._aligned(5 * 16).reshape(5, 16)
    large[:] = 1e20
    gradients = sparse.ChunkedGradients([large], [large])
    with np.errstate(over="ignore"):
        with pytest.raises(Diverged):
            gradients.largest(0, 3, no_positions())
        with pytest.raises(Diverged):
            gradients.at(0, np.arange(3))


def test_training_releases_the_interpreters_lock() -> None:
    """Two threads of training make progress side by side: a counter runs meanwhile."""
    engine = SparseEngine(setup_of((200, 400, 400, 5), 0.3, rows=1000))
    steps = 200
    segment = Segment(np.tile(np.arange(100), steps), [100] * steps, [1e-3] * steps)
    worker = threading.Thread(target=engine.train, args=(segment,))
    counted = 0
    worker.start()
    while worker.is_alive():
        counted += 1
    worker.join()
    assert counted > 1000


# What it holds and what it needs -----------------------------------------------------------------


@pytest.mark.parametrize("looked_at", [1e-3, 1.0, 1e3])
def test_what_the_sample_makes_believe_changes_nothing(looked_at: float) -> None:
    """The outputs that the first guess looks at are larger or smaller than all others."""
    rng = np.random.default_rng(2)
    inputs, deltas = (rng.standard_normal((400, 16), dtype=np.float32) for _ in range(2))
    deltas[:: 400 // sparse.SAMPLED + 1] *= np.float32(looked_at)
    gradients = sparse.ChunkedGradients([inputs], [deltas])
    scores, taken = np.abs(gradients.dense(0)), random_positions(160_000, 9_000, rng)
    for count in (10, 3_000, 40_000):
        largest = gradients.largest(0, count, taken)
        assert (largest == largest_free(scores, taken, count)).all()


def test_no_array_is_as_large_as_the_dense_matrix() -> None:
    """A layer of 20,000 x 10,000 positions with 5,000 weights, updated by gradient."""
    rng = np.random.default_rng(0)
    network = Network(layers=perceptron_layers((10_000, 20_000, 3)))
    active = [random_positions(n, k, rng) for n, k in zip(network.sizes, (5000, 900), strict=True)]
    tracemalloc.start()
    engine = SparseEngine(
        Setup(
            network=network,
            optimizer=Optimizer(),
            active=active,
            values=InitialWeights().draw(network, active, rng),
            budget=6000,
            train_x=rng.standard_normal((32, 10_000), dtype=np.float32),
            train_y=np.arange(32) % 3,
        )
    )
    engine.train(Segment(np.arange(32), [16, 16], [0.1, 0.1]))
    grown = engine.gradients(np.arange(16)).largest(0, 100, active[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(grown) == 100
    assert peak < 40e6  # one dense float32 array would be 800 MB


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return done.stdout.strip()


def test_a_trial_on_it_imports_no_torch() -> None:
    load("sklearn/digits/0/3")  # prepares the data, for which libraries may import what they like
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from sparse_training.data.instances import load\n"
        "from sparse_training.engines import choice\n"
        "from sparse_training.engines.sparse import SparseEngine\n"
        "from sparse_training.loop.budget import Budget\n"
        "from sparse_training.loop.recipe import Recipe\n"
        "from sparse_training.loop.training import train\n"
        "from sparse_training.rules.amount import Fraction\n"
        "from sparse_training.rules.drop import Smallest\n"
        "from sparse_training.rules.first_mask import RandomMask\n"
        "from sparse_training.rules.grow import Largest\n"
        "from sparse_training.rules.topology import Topology, Updates\n"
        "from sparse_training.rules.when import Evenly\n"
        "from target_algorithms import trial\n"
        "updates = Updates(when=Evenly(count=3), amount=Fraction(.3), drop=Smallest(),"
        " grow=Largest())\n"
        "topology = Topology(first_mask=RandomMask(), updates=updates)\n"
        "split = load('sklearn/digits/0/3')\n"
        "network = Recipe().perceptron(64, (24, 16), 10)\n"
        "engine = choice.factory('auto', network, topology.needs, density=.1, device='cpu')\n"
        "outcome = train(engine, Recipe(), topology, network, split, seed=1,"
        " budget=Budget(active_weights=200, training_samples=2000))\n"
        "print(outcome.engine, outcome.samples, outcome.updates)"
    )
    assert run(code) == "sparse 2000 3"


@pytest.mark.parametrize(
    ("compiler", "message"),
    [("false", "false failed: without a word"), ("no-such-compiler", "no-such-compiler: No such")],
)
def test_without_a_compiler_the_masked_engine_is_used_and_the_reason_named(
    compiler: str, message: str, tmp_path: Path
) -> None:
    code = (
        "from sparse_training.engines import choice, kernels\n"
        "from sparse_training.engines.interface import Needs\n"
        "from sparse_training.networks.network import Network\n"
        "from sparse_training.networks.perceptron import perceptron_layers\n"
        "kernels.COMPILERS = ()\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "network = Network(layers=perceptron_layers((4, 3, 2)))\n"
        "print(choice.missing(network, 'cpu'))\n"
        "print(choice.factory('auto', network, Needs(), density=.1, device='cpu').__name__)"
    )
    # A folder on PATH that may not be read would make another message of it.
    settings = {"CC": compiler, "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    reason, used = run(code, **settings).splitlines()
    assert message in reason and used == "MaskedEngine"


BUILT = "from sparse_training.engines import kernels; print(kernels.file())"


def test_the_kernels_are_built_once_and_again_for_another_source_or_compiler(
    tmp_path: Path,
) -> None:
    here = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = Path(run(BUILT, **here))
    stamp = first.stat().st_mtime_ns
    assert Path(run(BUILT, **here)) == first and first.stat().st_mtime_ns == stamp
    assert [path.name for path in first.parent.iterdir()] == [first.name]

    changed = tmp_path / "sparse.c"
    changed.write_text(kernels.SOURCE.read_text() + "\n")
    elsewhere = f"kernels.SOURCE = kernels.Path({str(changed)!r}); print(kernels.file())"
    assert Path(run(BUILT.replace("print(kernels.file())", elsewhere), **here)) != first

    other = tmp_path / "other-cc"
    other.write_text('#!/bin/sh\nexec cc "$@"\n')
    other.chmod(0o755)
    second = Path(run(BUILT, CC=str(other), **here))
    assert second != first
    other.write_text('#!/bin/sh\n# of another version\nexec cc "$@"\n')
    assert Path(run(BUILT, CC=str(other), **here)) not in (first, second)


def test_without_a_compiler_the_library_that_one_left_is_used(tmp_path: Path) -> None:
    built = run(BUILT, XDG_CACHE_HOME=str(tmp_path))
    without = "kernels._compilers = lambda: (); print(kernels.file())"
    code = BUILT.replace("print(kernels.file())", without)
    assert run(code, XDG_CACHE_HOME=str(tmp_path)) == built


def availability(**environment: str) -> str:
    return run(
        "from sparse_training.engines import kernels; print(kernels.available())", **environment
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        lambda content: b"no library" * 1000,
        lambda content: content[:-32],
        lambda content: content[:-32] + bytes(32),
    ],
    ids=["empty", "truncated", "one bit", "no library", "without seal", "another's seal"],
)
def test_damaged_or_foreign_kernels_are_built_anew(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    library = Path(run(BUILT, XDG_CACHE_HOME=str(tmp_path)))
    whole = library.read_bytes()
    library.write_bytes(damage(whole))
    assert availability(XDG_CACHE_HOME=str(tmp_path)) == "None"
    assert len(library.read_bytes()) == len(whole)


def test_a_cache_that_cannot_be_written_is_named_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reason = availability(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert reason.startswith(f"cannot write to {tmp_path}/file/sparse-aclib (Not a directory)")
    assert reason.endswith("set XDG_CACHE_HOME to a directory for the kernels")


def test_a_user_without_a_home_is_told_what_helps() -> None:
    code = (
        "import pathlib\n"
        "def home(): raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = home\n"
        "from sparse_training.engines import choice, kernels\n"
        "print(kernels.available(), choice.crossover())"
    )
    said = run(code, XDG_CACHE_HOME="")
    assert said == "no home directory: set XDG_CACHE_HOME to one for the kernels 0.5"


# Choice ------------------------------------------------------------------------------------------

PERCEPTRON = Network(layers=perceptron_layers((64, 24, 16, 10)))
LENET = Network(architecture=LeNet5(), layers=PERCEPTRON.layers)


def chosen(needs: Needs = RIGL.needs, density: float = 0.1, device: str = "cpu") -> EngineFactory:
    """The engine that is chosen for a perceptron."""
    return choice.factory("auto", PERCEPTRON, needs, density=density, device=device)


@pytest.mark.parametrize(
    ("network", "topology", "device", "message"),
    [
        (LENET, RIGL, "cpu", "the sparse engine has no convolutions (lenet5)"),
        (PERCEPTRON, RIGL, "cuda", "the sparse engine has no device cuda"),
    ],
)
def test_what_it_lacks_is_named_with_the_engine_that_has_it(
    network: Network, topology: Topology, device: str, message: str
) -> None:
    with pytest.raises(BadInput) as error:
        choice.factory("sparse", network, topology.needs, density=0.1, device=device)
    assert message in str(error.value) and "use --engine masked" in str(error.value)
    used = choice.factory("auto", network, topology.needs, density=0.1, device=device)
    assert used is MaskedEngine


def test_the_engine_is_chosen_by_the_density_measured_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernels.available() is None  # they are there, and need not be built beside the file
    monkeypatch.setattr(kernels, "file", lambda: tmp_path / "kernels.so")
    assert choice.crossover() == choice.DEFAULT_CROSSOVER
    choice.remember_crossover(0.2)
    assert choice.crossover() == 0.2
    assert (chosen(density=0.19), chosen(density=0.21)) == (SparseEngine, MaskedEngine)
    (tmp_path / "kernels.crossover.json").write_text("not JSON")
    assert choice.crossover() == choice.DEFAULT_CROSSOVER


def test_the_crossing_is_interpolated_between_the_densities_measured() -> None:
    assert crossing([(0.1, 4.0), (0.2, 2.0), (0.4, 0.5)]) == pytest.approx(0.2 * 2**0.5)
    assert crossing([(0.1, 4.0), (1.0, 1.5)]) == 1.0
    assert crossing([(0.1, 0.5), (1.0, 0.1)]) == 0.1


def test_unknown_engines_and_devices_are_named() -> None:
    for name, device in (("fast", "cpu"), ("auto", "tpu")):
        with pytest.raises(BadInput, match="unknown (engine 'fast'|device 'tpu'): expected one of"):
            choice.factory(name, PERCEPTRON, Needs(), density=0.1, device=device)


def test_a_layer_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    huge = Network(layers=perceptron_layers((10**6, 10**7, 10)))
    with pytest.raises(BadInput, match=r"layer 1 of 10000000x1000000 weights needs [\d,]+ GiB"):
        choice.factory("masked", huge, Needs(), density=1e-6, device="cpu")
    # The truly sparse engine holds active weights and activations only.
    small = Network(layers=perceptron_layers((10**6, 10**6, 10)))
    assert choice.factory("auto", small, Needs(), density=1e-6, device="cpu") is SparseEngine
    # But for a first mask that looks at the dense network.
    with pytest.raises(BadInput, match=r"layer 1 of 1000000x1000000 weights needs [\d,]+ GiB"):
        choice.factory("sparse", small, Needs(), density=1e-6, starts_dense=True, device="cpu")
