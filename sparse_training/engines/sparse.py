"""The truly sparse engine: multi-layer perceptrons on the CPU, of which only active weights exist.

Weights, gradients and optimiser state have one entry for every active weight; the gradient of all
weights is never held, growth scans it in chunks. All steps of a segment are one call of the
compiled kernels (sparse.c), which releases the interpreter's lock and uses one thread. Needs no
torch. Only rules that look at the momentum of inactive weights (SNFS) make it keep a state of every
position, which follows the gradient in chunks, step by step.

**Source**: the idea is that of Mocanu et al. (2018) and Curci et al. (2021),
https://arxiv.org/abs/2102.01732; of the kernels none is theirs.
"""

import ctypes
import functools
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_double, c_float, c_int, c_int32, c_int64, c_uint32, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_training.engines import kernels
from sparse_training.engines.interface import (
    SGD,
    AdamW,
    BudgetExceeded,
    Decay,
    DenseGradients,
    Diverged,
    Gradients,
    LayerChange,
    Segment,
    Setup,
    momentum,
)
from sparse_training.errors import BadInput
from sparse_training.networks.activations import (
    GELU,
    SRELU_START,
    Activation,
    AllReLU,
    LeakyReLU,
    Linear,
    ReLU,
    SReLU,
)
from sparse_training.networks.network import Norm
from sparse_training.positions import Positions, merged, no_positions, union
from sparse_training.ranking import TIE

EVALUATED_AT_ONCE = 128
"""Rows of one evaluation pass."""
CHUNK = 1 << 18
"""Gradients of so many positions are computed at a time."""
SCANNED = 1 << 16
"""Of so many while growth looks for the largest: they stay in the level-2 cache."""
SAMPLED = 64
"""Outputs, and inputs, whose gradients tell beforehand how large the largest may be."""
LANES = 16
"""Batches are padded to a multiple of this; buffers are aligned to as many floats."""
SPARE = 8
"""Room behind gradients that the kernels write zeros to."""

# The numbers that sparse.c knows these by.
_HEAVY_BALL, _NESTEROV, _ADAMW = range(3)
_DECAYS = {Decay.COUPLED: 0, Decay.DECOUPLED: 1, Decay.INDEPENDENT: 2}
_ACTIVATIONS: dict[type[Activation], int] = {ReLU: 0, LeakyReLU: 0, AllReLU: 0, SReLU: 1, GELU: 2}
_NORMS = {Norm.NONE: 0, Norm.BATCH: 1, Norm.LAYER: 2}


class _Layer(ctypes.Structure):
    """The `Layer` of sparse.c."""

    _fields_ = [
        *((name, c_int64) for name in ("outputs", "inputs", "count")),
        *(
            (name, c_void_p)
            for name in (
                *("start", "column", "in_start", "in_row", "place", "by_output"),
                *("weight", "first", "second", "gradient", "factor", "bias", "bias_gradient"),
                *("scale", "scale_gradient", "shift", "shift_gradient"),
                *("mean", "variance", "inverse", "srelu", "srelu_gradient"),
                *("input", "value", "passed", "delta"),
            )
        ),
        ("slope", c_float),
    ]


class _Net(ctypes.Structure):
    """The `Net` of sparse.c."""

    _fields_ = [
        ("layers", POINTER(_Layer)),
        *((name, c_int64) for name in ("depth", "padded", "extras", "biases", "steps")),
        *((f"extra{name}", c_void_p) for name in ("", "_gradient", "_first", "_second")),
        ("scratch", c_void_p),
        ("room", c_int64),
        *(
            (name, c_int32)
            for name in ("optimizer", "decay_kind", "decay_biases", "activation", "norm")
        ),
        ("seed", c_uint32),
        *((name, c_double) for name in ("momentum", "beta2", "decay", "dropout", "smoothing")),
        *((name, c_double) for name in ("faded_first", "faded_second")),
    ]


class _Best(ctypes.Structure):
    """The `Best` of sparse.c."""

    _fields_ = [
        *((name, c_int64) for name in ("wanted", "held", "room", "n_taken")),
        *((name, c_float) for name in ("threshold", "tie")),
        *((name, c_void_p) for name in ("size", "scratch", "position", "taken")),
    ]


class _Array:
    """The type of an argument: a contiguous array of one dtype, or None.

    Passed as its address: ctypes' own type for it takes longer than most kernels.
    """

    def __init__(self, dtype: type[object]) -> None:
        self._dtype = np.dtype(dtype)

    def from_param(self, array: NDArray[np.generic] | None) -> c_void_p | None:
        if array is None:
            return None
        if array.dtype != self._dtype or not array.flags.c_contiguous:
            raise TypeError(f"a contiguous array of {self._dtype} expected, not of {array.dtype}")
        return c_void_p(array.ctypes.data)


_F32, _F64 = _Array(np.float32), _Array(np.float64)
_I32, _I64 = _Array(np.int32), _Array(np.int64)
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "panel_size": (c_int64, []),
    "size_of": (c_int64, [c_int32]),
    "train": (c_int, [POINTER(_Net), _F32, _I32, _I64, _I64, _F64, c_int64]),
    "backward": (c_int, [POINTER(_Net), _F32, _I32, _I64, c_int64]),
    "evaluate": (None, [POINTER(_Net), _F32, _I64, c_int64]),
    "sampled": (None, [c_int64, _I64, _I32, _F32, _F32, _F32, c_int64]),
    "pattern": (None, [_I64, c_int64, c_int64, c_int64, _I64, _I32]),
    "rewire": (
        None,
        [POINTER(_Layer), _I64, c_int64, _I64, c_int64]
        + [_I64, _I32, _I64, _I32, _I32, _F32, _F32, _F32],
    ),
    "nth_largest": (c_float, [_F32, c_int64, c_int64]),
    "locate": (None, [_I64, c_int64, _I64, c_int64, _I64]),
    "scan_products": (
        None,
        [POINTER(_Best), c_int64, c_int64, c_int64, _F32, _F32, _F32, c_int64],
    ),
    "packed_size": (c_int64, [c_int64, c_int64]),
    "pack": (None, [c_int64, c_int64, _F32, _F32]),
    "dense_products": (None, [c_int64, c_int64, c_int64, _F32, _F32, _F32]),
    "follow": (None, [POINTER(_Net), _F32, c_int64, _F32, _F32]),
    "shrink": (None, [POINTER(_Best), c_int32]),
}


@functools.cache
def _kernels() -> ctypes.CDLL:
    """The compiled library; its functions check the types of the arrays they are given."""
    library = kernels.library()
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    for number, structure in enumerate((_Layer, _Net, _Best)):
        if library.size_of(number) != ctypes.sizeof(structure):
            raise RuntimeError(f"{structure.__name__} differs between the kernels and Python")
    return library


class SparseEngine:
    """A truly sparse multi-layer perceptron; see `interface.Engine` for what it does.

    Raises OSError if the kernels cannot be built.
    """

    name = "sparse"

    def __init__(self, setup: Setup) -> None:
        network, optimizer = setup.network, setup.optimizer
        rule = optimizer.rule
        self._kernels = _kernels()
        self._network = network
        self._budget = setup.budget
        self._corrects = optimizer.gradient_correction and network.norm is not Norm.NONE
        self._x = np.ascontiguousarray(setup.train_x, dtype=np.float32)
        self._y = setup.train_y.astype(np.int32)
        self._active = [no_positions() for _ in setup.active]

        depth = len(network.layers)
        self._layers = (_Layer * depth)()
        self._arrays: list[dict[str, NDArray[np.generic]]] = [{} for _ in range(depth)]
        biases = sum(layer.neurons for layer in network.layers)
        extras = biases + network.neuron_parameters
        self._extra = [np.zeros(extras + SPARE, dtype=np.float32) for _ in range(4)]
        self._net = _Net(
            layers=self._layers,
            depth=depth,
            extras=extras,
            biases=biases,
            **{
                f"extra{name}": array.ctypes.data
                for name, array in zip(
                    ("", "_gradient", "_first", "_second"), self._extra, strict=True
                )
            },
            optimizer=_optimizer_number(rule),
            decay_kind=_DECAYS[rule.decay] if isinstance(rule, SGD) else 0,
            decay_biases=optimizer.decay_biases,
            activation=_ACTIVATIONS[type(network.activation)],
            norm=_NORMS[network.norm],
            seed=setup.seed & 0xFFFFFFFF,
            momentum=rule.momentum if isinstance(rule, SGD) else 0.0,
            beta2=rule.beta2 if isinstance(rule, AdamW) else 0.0,
            decay=optimizer.weight_decay,
            dropout=network.dropout,
            smoothing=network.label_smoothing,
            faded_first=1.0,
            faded_second=1.0,
        )
        self._place_extras()
        self._inactive = [
            [np.zeros(layer.size, dtype=np.float32) for _ in self._state]
            for layer in network.layers
            if optimizer.dense_state
        ]
        """The state of every position, layer by layer; what it holds at active ones is stale."""
        self._capacity = 0
        for number, (layer, positions, drawn) in enumerate(
            zip(network.layers, setup.active, setup.values, strict=True)
        ):
            struct = self._layers[number]
            struct.outputs, struct.inputs = layer.neurons, layer.fan_in
            struct.slope = _slope(network.activation, number)
            if len(drawn) != len(positions):
                raise ValueError(
                    f"layer {number} has {len(positions)} active weights, {len(drawn)} values"
                )
            self._connect(number, positions)
            place = self._arrays[number].get("place", slice(None))
            self._arrays[number]["weight"][place] = drawn
        self._check_budget()

    def _place_extras(self) -> None:
        """Biases, then scales, shifts and SReLU parameters, as views of the flat buffers."""
        place = 0

        def take(layer: int, name: str, count: int, start: NDArray[np.float32] | float) -> None:
            nonlocal place
            values, gradient = (array[place : place + count] for array in self._extra[:2])
            values[:] = start
            self._show(layer, **{name: values, f"{name}_gradient": gradient})
            place += count

        layers = list(enumerate(self._network.layers))
        for number, layer in layers:
            take(number, "bias", layer.neurons, 0.0)
        for number, layer in layers[:-1]:
            if self._network.norm is not Norm.NONE:
                take(number, "scale", layer.neurons, 1.0)
                take(number, "shift", layer.neurons, 0.0)
                self._show(
                    number,
                    mean=np.zeros(layer.neurons, dtype=np.float32),
                    variance=np.ones(layer.neurons, dtype=np.float32),
                )
        for number, layer in layers[:-1]:
            if isinstance(self._network.activation, SReLU):
                start = np.repeat(np.array(SRELU_START, dtype=np.float32), layer.neurons)
                take(number, "srelu", 4 * layer.neurons, start)

    def _show(self, layer: int, **arrays: NDArray[np.generic]) -> None:
        """Gives the kernels these arrays, and keeps them alive."""
        for name, array in arrays.items():
            if not array.flags.c_contiguous:
                raise ValueError(f"{name} of layer {layer} must be contiguous for the kernels")
            self._arrays[layer][name] = array
            setattr(self._layers[layer], name, array.ctypes.data)

    @property
    def _state(self) -> tuple[str, ...]:
        """The names of the optimiser's state."""
        return ("first", "second") if self._net.optimizer == _ADAMW else ("first",)

    # Steps ---------------------------------------------------------------------------------------

    def _reserve(self, batch: int) -> None:
        """Buffers for activations of so many rows."""
        padded = -(-batch // LANES) * LANES
        if padded <= self._capacity:
            return
        self._capacity = padded
        for number, layer in enumerate(self._network.layers):
            self._show(
                number,
                input=_aligned(layer.fan_in * padded),
                value=_aligned(layer.neurons * padded),
                passed=_aligned(layer.neurons * padded),
                delta=_aligned(layer.neurons * padded),
                inverse=_aligned(max(layer.neurons, padded)),
            )
        self._net.room = max(padded, *(layer.neurons for layer in self._network.layers)) + LANES
        self._net.room -= self._net.room % LANES
        self._scratch = _aligned(2 * self._net.room)
        self._net.scratch = self._scratch.ctypes.data

    def train(self, segment: Segment) -> None:
        rows = np.ascontiguousarray(segment.rows, dtype=np.int64)
        sizes = np.array(segment.sizes, dtype=np.int64)
        rates = np.array(segment.learning_rates, dtype=np.float64)
        self._reserve(int(sizes.max()))
        at_once = 1 if self._inactive else len(sizes)
        begin = 0
        for first in range(0, len(sizes), at_once):
            part = sizes[first : first + at_once]
            end = begin + int(part.sum())
            if self._kernels.train(
                byref(self._net),
                *(self._x, self._y, rows[begin:end], part, rates[first : first + at_once]),
                len(part),
            ):
                raise Diverged
            begin = end
            for layer, states in enumerate(self._inactive):
                self._follow(layer, states)

    def _follow(self, layer: int, states: Sequence[NDArray[np.float32]]) -> None:
        """What the step just made does to the state of inactive weights."""
        inputs, delta = self._buffer(layer, "input"), self._buffer(layer, "delta")
        if "factor" in self._arrays[layer]:
            delta *= self._arrays[layer]["factor"].astype(np.float32)[:, np.newaxis]
        for first, product in products(inputs, delta):
            parts = [state[first : first + product.size] for state in states]
            self._kernels.follow(byref(self._net), product, product.size, parts[0], parts[-1])

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        self._reserve(EVALUATED_AT_ONCE)
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        outputs = np.empty((len(rows), self._network.classes), dtype=np.float32)
        for start in range(0, len(rows), EVALUATED_AT_ONCE):
            part = rows[start : start + EVALUATED_AT_ONCE]
            order = np.arange(len(part), dtype=np.int64)
            self._kernels.evaluate(byref(self._net), part, order, len(part))
            outputs[start : start + len(part)] = self._buffer(-1, "value")[:, : len(part)].T
        if not np.isfinite(outputs).all():
            raise Diverged
        return outputs

    def _buffer(self, layer: int, name: str) -> NDArray[np.float32]:
        """A layer's activations or deltas of the last pass, (neurons, padded batch)."""
        padded, panel = int(self._net.padded), int(self._kernels.panel_size())
        array = self._arrays[layer][name]
        neurons = self._network.layers[layer].shape[1 if name == "input" else 0]
        whole = _aligned(neurons * padded).reshape(neurons, padded)
        for first in range(0, padded, panel):
            last = min(first + panel, padded)
            part = array[neurons * first : neurons * last]
            whole[:, first:last] = part.reshape(neurons, last - first)
        return whole

    # What the rules look at ----------------------------------------------------------------------

    def _values(self, layer: int, name: str) -> NDArray[np.float32]:
        """A copy of what belongs to the active weights, in ascending position."""
        values, place = self._arrays[layer][name], self._arrays[layer].get("place")
        ordered: NDArray[np.float32] = values.copy() if place is None else values[place]  # type: ignore[assignment]
        return ordered

    def weights(self, layer: int) -> NDArray[np.float32]:
        return self._values(layer, "weight")

    def biases(self, layer: int) -> NDArray[np.float32]:
        copied: NDArray[np.float32] = self._arrays[layer]["bias"].copy()  # type: ignore[assignment]
        return copied

    def momenta(self, layer: int) -> NDArray[np.float32]:
        return momentum([self._values(layer, name) for name in self._state])

    def gradients(self, rows: NDArray[np.int64]) -> "ChunkedGradients":
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        self._reserve(len(rows))
        diverged = self._kernels.backward(byref(self._net), self._x, self._y, rows, len(rows))
        depth = len(self._network.layers)
        inputs = [self._buffer(layer, "input") for layer in range(depth)]
        deltas = [self._buffer(layer, "delta") for layer in range(depth)]
        if diverged or not all(np.isfinite(array).all() for array in (*inputs, *deltas)):
            raise Diverged
        return ChunkedGradients(inputs, deltas)

    def dense_momenta(self) -> DenseGradients:
        if not self._inactive:
            raise BadInput("the momentum of inactive weights needs a dense optimiser state")
        scores = []
        for layer in range(len(self._layers)):
            self._remember(layer)
            scores.append(momentum(self._inactive[layer]))
        if not all(np.isfinite(layer).all() for layer in scores):
            raise Diverged
        return DenseGradients(scores)

    def _remember(self, layer: int) -> None:
        """Puts the state of the active weights beside that of the others."""
        for name, state in zip(self._state, self._inactive[layer], strict=True):
            state[self._active[layer]] = self._values(layer, name)

    # The mask ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[LayerChange]) -> None:
        for layer, change in enumerate(changes):
            if self._inactive:
                self._remember(layer)
            self._connect(layer, change.active)
            where = np.empty(len(change.new), dtype=np.int64)
            self._kernels.locate(
                change.new, len(change.new), change.active, len(change.active), where
            )
            place = self._arrays[layer].get("place")
            if place is not None:
                where = place[where]  # type: ignore[assignment]
            self._arrays[layer]["weight"][where] = change.values
            for power, name in enumerate(self._state, 1):
                state: NDArray[np.float32] | float = 0.0
                if change.state is not None:
                    state = change.state**power
                elif self._inactive:
                    state = self._inactive[layer][power - 1][change.new]
                self._arrays[layer][name][where] = state
        self._check_budget()

    def _connect(self, layer: int, positions: Positions) -> None:
        """Makes these the layer's active weights; those that were not active are zero."""
        struct, count, before = self._layers[layer], len(positions), self._active[layer]
        outputs, inputs = int(struct.outputs), int(struct.inputs)
        arrays: dict[str, NDArray[Any]] = {
            "start": np.empty(outputs + 1, dtype=np.int64),
            "column": np.empty(count, dtype=np.int32),
        }
        if layer > 0:  # nothing is propagated to the features
            arrays["in_start"] = np.empty(inputs + 1, dtype=np.int64)
            arrays["in_row"], arrays["place"] = np.empty((2, count), dtype=np.int32)
            arrays["by_output"] = np.empty(count, dtype=np.float32)
        for name in ("weight", *self._state):
            arrays[name] = np.empty(count, dtype=np.float32)
        self._kernels.rewire(
            *(byref(struct), before, len(before), positions, count),
            *(arrays.get(name) for name in ("start", "column", "in_start", "in_row", "place")),
            *(arrays.get(name) for name in ("weight", "first", "second")),
        )
        self._active[layer], struct.count = positions, count
        self._show(layer, gradient=np.empty(count + SPARE, dtype=np.float32), **arrays)
        if self._corrects and layer < len(self._layers) - 1:
            counts = np.diff(arrays["start"])
            mean = max(1, count) / outputs
            self._show(layer, factor=np.sqrt(counts / mean).astype(np.float32))

    def _check_budget(self) -> None:
        used = sum(len(positions) for positions in self._active)
        if used > self._budget:
            raise BudgetExceeded(f"{used} active weights, the budget is {self._budget}")


class ChunkedGradients:
    """The gradient of all weights as what it is the product of; see `interface.Gradients`."""

    def __init__(
        self, inputs: Sequence[NDArray[np.float32]], deltas: Sequence[NDArray[np.float32]]
    ) -> None:
        """inputs, deltas: of every layer, (neurons, padded batch), in memory by `_aligned`."""
        self._inputs, self._deltas = inputs, deltas

    def at(self, layer: int, positions: Positions) -> NDArray[np.float32]:
        inputs, delta = self._inputs[layer], self._deltas[layer]
        start, column = _pattern(positions, len(delta), len(inputs))
        values = np.zeros(len(positions) + SPARE, dtype=np.float32)
        _kernels().sampled(len(delta), start, column, delta, inputs, values, delta.shape[1])
        if not np.isfinite(values[: len(positions)]).all():
            raise Diverged
        return values[: len(positions)]

    def dense(self, layer: int) -> NDArray[np.float32]:
        return all_products(self._inputs[layer], self._deltas[layer])

    def averaged(self, earlier: Sequence[Gradients]) -> "ChunkedGradients":
        """Still products: of the batches side by side."""
        parts = [part for part in (*earlier, self) if isinstance(part, ChunkedGradients)]
        if len(parts) <= len(earlier):
            raise TypeError("gradients of another engine cannot be averaged with these")
        inputs = [_side_by_side(layer) for layer in zip(*(p._inputs for p in parts), strict=True)]
        deltas = [_side_by_side(layer) for layer in zip(*(p._deltas for p in parts), strict=True)]
        for delta in deltas:
            delta /= np.float32(len(parts))
        return ChunkedGradients(inputs, deltas)

    def largest(
        self, layer: int, count: int, taken: Positions, fired: Positions | None = None
    ) -> Positions:
        if fired is None:
            return self._largest(layer, count, taken)
        barred = merged(taken, fired)
        free = len(self._deltas[layer]) * len(self._inputs[layer]) - len(barred)
        first = self._largest(layer, min(count, free), barred)
        rest = self._largest(layer, count - len(first), union(taken, first))
        return union(first, rest)

    def _largest(self, layer: int, count: int, taken: Positions) -> Positions:
        if count == 0:
            return no_positions()
        free = len(self._deltas[layer]) * len(self._inputs[layer]) - len(taken)
        if count > free:
            raise ValueError(f"{count} positions asked for, {free} are free")
        largest = self._above(self._floor(layer, count), layer, count, taken)
        if largest is None:  # the guess was too high
            largest = self._above(-1.0, layer, count, taken)
        if largest is None:  # finite activations and deltas, but not all of their products
            raise Diverged
        return largest

    def _floor(self, layer: int, count: int) -> float:
        """A size that some times as many values exceed as are wanted, by a sample of them."""
        inputs, delta = self._inputs[layer], self._deltas[layer]
        if len(inputs) * len(delta) <= 4 * SAMPLED**2:
            return -1.0
        rows, columns = (part[:: len(part) // SAMPLED + 1] for part in (delta, inputs))
        sample = np.abs(all_products(columns, rows))
        rank = round(3 * count * len(sample) / (len(delta) * len(inputs))) + 16
        if rank >= len(sample):
            return -1.0
        return float(_kernels().nth_largest(sample, len(sample), rank - 1))

    def _above(self, floor: float, layer: int, count: int, taken: Positions) -> Positions | None:
        """The largest values, None if they or what ties with them are not all above the floor."""
        inputs, delta = self._inputs[layer], self._deltas[layer]
        room = 6 * count + 4096
        size, scratch = np.empty((2, room), dtype=np.float32)
        position = np.empty(room, dtype=np.int64)
        arrays = (size, scratch, position, taken)
        best = _Best(
            count, 0, room, len(taken), floor, TIE, *(array.ctypes.data for array in arrays)
        )
        outputs, samples = delta.shape
        at_once = max(1, SCANNED // len(inputs))
        _kernels().scan_products(
            *(byref(best), outputs, len(inputs), samples, delta, _packed(inputs)),
            *(np.empty(at_once * len(inputs), dtype=np.float32), at_once),
        )
        _kernels().shrink(byref(best), True)
        complete = best.held == count and (floor < 0.0 or best.threshold > floor)
        return position[:count].copy() if complete else None


def products(
    inputs: NDArray[np.float32], delta: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The gradient of all weights of a layer, some outputs at a time: (first position, values).

    One buffer has all of them in turn. No library's product: theirs differ between processors.
    """
    at_once = max(1, CHUNK // len(inputs))
    columns = _packed(inputs)
    buffer = np.empty((min(at_once, len(delta)), len(inputs)), dtype=np.float32)
    for first in range(0, len(delta), at_once):
        part = np.ascontiguousarray(delta[first : first + at_once])
        _kernels().dense_products(*(len(part), *inputs.shape, part, columns, buffer))
        yield first * len(inputs), buffer[: len(part)]


def _packed(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Activations (neurons, samples) in the order in which the kernels read them."""
    columns = _aligned(_kernels().packed_size(*inputs.shape))
    _kernels().pack(*inputs.shape, np.ascontiguousarray(inputs), columns)
    return columns


def all_products(inputs: NDArray[np.float32], delta: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same in one array, flat."""
    return np.concatenate([part.flatten() for _, part in products(inputs, delta)])


def _optimizer_number(rule: SGD | AdamW) -> int:
    if isinstance(rule, AdamW):
        return _ADAMW
    return _NESTEROV if rule.nesterov else _HEAVY_BALL


def _slope(activation: Activation, layer: int) -> float:
    return 0.0 if isinstance(activation, (SReLU, GELU, Linear)) else activation.slope(layer)


def _pattern(
    positions: Positions, outputs: int, inputs: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """CSR of ascending flat positions: where every output's weights begin, and their inputs."""
    start = np.empty(outputs + 1, dtype=np.int64)
    column = np.empty(len(positions), dtype=np.int32)
    _kernels().pattern(positions, len(positions), outputs, inputs, start, column)
    return start, column


def _side_by_side(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Arrays of as many rows in one, aligned."""
    rows, columns = len(parts[0]), sum(part.shape[1] for part in parts)
    whole = _aligned(rows * columns).reshape(rows, columns)
    return np.concatenate(parts, axis=1, out=whole)


def _aligned(count: int) -> NDArray[np.float32]:
    """Zeros that begin at a multiple of the kernels' vectors."""
    raw = np.zeros(count + LANES, dtype=np.float32)
    skip = -raw.ctypes.data // 4 % LANES
    return raw[skip : skip + count]
