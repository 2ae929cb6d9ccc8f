"""The masked engine: dense PyTorch tensors whose inactive weights are held at zero.

All weights and then all biases lie in one flat buffer, their gradients in a second one and the
optimiser's state in others, so that masking, optimiser and checks are a handful of operations a
step, whatever the network. Layers are views of the buffers; gradients come from autograd.

**Differs** from torch.optim: the optimisers are written out here because constructing one of
torch's imports its compiler, which costs a trial more time than training. AdamW corrects its bias
by the step of the run, for weights grown later too.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from target_algorithms.engine import Diverged, LayerChange, Segment
from target_algorithms.networks import Network
from target_algorithms.topology import Positions

ADAMW_BETAS = (0.9, 0.999)
ADAMW_EPSILON = 1e-8


class MaskedEngine:
    """A masked multi-layer perceptron on the CPU; see `engine.Engine` for what it does.

    network: the shapes; optimizer: sgd_heavy_ball, sgd_nesterov or adamw; active, values: per
    layer the active positions and their initial weights; budget: the most weights that may be
    non-zero; train_x: features, float32 (rows, inputs); train_y: classes, int64 (rows,).
    """

    name = "masked"

    def __init__(
        self,
        network: Network,
        *,
        optimizer: str,
        momentum: float,
        weight_decay: float,
        active: Sequence[Positions],
        values: Sequence[NDArray[np.float32]],
        budget: int,
        train_x: NDArray[np.float32],
        train_y: NDArray[np.int64],
    ) -> None:
        torch.set_num_threads(1)
        self._network = network
        self._budget = budget
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._active = [positions.copy() for positions in active]
        self._counts = [len(positions) for positions in active]
        self._x = torch.from_numpy(train_x)
        self._y = torch.from_numpy(train_y)

        ends = np.cumsum([0, *network.sizes])
        self._starts = [int(end) for end in ends[:-1]]
        self._count = int(ends[-1])
        total = self._count + sum(network.widths[1:])
        self._flat = torch.zeros(total)
        self._gradient = torch.zeros(total)
        self._mask = torch.ones(total)
        self._state = [torch.zeros(total) for _ in range(2 if optimizer == "adamw" else 1)]
        self._steps = 0
        self._step: Callable[[float], None] = {
            "adamw": self._adamw,
            "sgd_heavy_ball": self._heavy_ball,
            "sgd_nesterov": self._nesterov,
        }[optimizer]

        # Numpy sees the same memory: counting and indexing are several times faster there.
        self._weights = self._flat[: self._count].numpy()
        self._weight_mask = self._mask[: self._count].numpy()
        self._weight_gradient = self._gradient[: self._count].numpy()
        self._weight_state = [state[: self._count].numpy() for state in self._state]
        self._decayed = self._flat[: self._count]
        self._decayed_gradient = self._gradient[: self._count]
        self._weight_mask[:] = 0.0
        for start, positions, drawn in zip(self._starts, active, values, strict=True):
            self._weight_mask[start + positions] = 1.0
            self._weights[start + positions] = drawn

        self._matrices: list[Tensor] = []
        self._bias_vectors: list[Tensor] = []
        place = self._count
        for start, (rows, columns) in zip(self._starts, network.shapes, strict=True):
            self._matrices.append(self._leaf(start, (rows, columns)))
            self._bias_vectors.append(self._leaf(place, (rows,)))
            place += rows
        self._check_topology()

    def _leaf(self, start: int, shape: tuple[int, ...]) -> Tensor:
        end = start + int(np.prod(shape))
        leaf = self._flat[start:end].view(shape).requires_grad_()
        # Autograd adds to a gradient that exists in place, so it lands in the flat buffer.
        leaf.grad = self._gradient[start:end].view(shape)
        return leaf

    # Network -------------------------------------------------------------------------------------

    def _logits(self, features: Tensor) -> Tensor:
        last = len(self._matrices) - 1
        for layer, (matrix, bias) in enumerate(
            zip(self._matrices, self._bias_vectors, strict=True)
        ):
            features = F.linear(features, matrix, bias)
            if layer < last:
                features = self._activate(features, layer)
        return features

    def _activate(self, values: Tensor, layer: int) -> Tensor:
        if self._network.activation == "gelu":
            return F.gelu(values)
        slope = self._network.negative_slope(layer)
        return F.leaky_relu(values, slope) if slope else torch.relu(values)

    def _backward(self, rows: Tensor) -> None:
        """Fills the gradient buffer with the dense gradient of the mean loss on the rows."""
        self._gradient.zero_()
        logits = self._logits(self._x.index_select(0, rows))
        loss = F.cross_entropy(logits, self._y.index_select(0, rows))
        if not np.isfinite(loss.item()):
            raise Diverged
        loss.backward()  # type: ignore[no-untyped-call]

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            logits = self._logits(torch.from_numpy(rows))
        if not bool(torch.isfinite(logits).all()):
            raise Diverged
        classes: NDArray[np.int64] = logits.argmax(dim=1).numpy()
        return classes

    # Steps ---------------------------------------------------------------------------------------

    def train(self, segment: Segment) -> None:
        rows = torch.from_numpy(segment.rows)
        start = 0
        # Optimiser state that fades away would become denormal and slow. The setting is the whole
        # thread's, so it does not outlast the steps.
        torch.set_flush_denormal(True)
        try:
            for size, learning_rate in zip(segment.sizes, segment.learning_rates, strict=True):
                self._backward(rows[start : start + size])
                start += size
                self._steps += 1
                with torch.no_grad():
                    self._gradient.mul_(self._mask)
                    self._step(learning_rate)
                self._check_budget()
        finally:
            torch.set_flush_denormal(False)

    def _heavy_ball(self, learning_rate: float) -> None:
        self._decayed_gradient.add_(self._decayed, alpha=self._weight_decay)
        self._state[0].mul_(self._momentum).add_(self._gradient)
        self._flat.add_(self._state[0], alpha=-learning_rate)

    def _nesterov(self, learning_rate: float) -> None:
        self._decayed_gradient.add_(self._decayed, alpha=self._weight_decay)
        self._state[0].mul_(self._momentum).add_(self._gradient)
        self._gradient.add_(self._state[0], alpha=self._momentum)
        self._flat.add_(self._gradient, alpha=-learning_rate)

    def _adamw(self, learning_rate: float) -> None:
        first, second = self._state
        beta1, beta2 = ADAMW_BETAS
        self._decayed.mul_(1.0 - learning_rate * self._weight_decay)
        first.lerp_(self._gradient, 1.0 - beta1)
        second.mul_(beta2).addcmul_(self._gradient, self._gradient, value=1.0 - beta2)
        torch.sqrt(second, out=self._gradient)
        correction = 1.0 - beta2**self._steps
        self._gradient.div_(correction**0.5).add_(ADAMW_EPSILON)
        rate = learning_rate / (1.0 - beta1**self._steps)
        self._flat.addcdiv_(first, self._gradient, value=-rate)

    def _check_budget(self) -> None:
        used = np.count_nonzero(self._weights != 0.0)
        if used > self._budget:
            if not np.isfinite(self._weights).all():
                raise Diverged
            raise AssertionError(f"{used} weights in use, the budget is {self._budget}")

    # Topology ------------------------------------------------------------------------------------

    def weights(self, layer: int) -> NDArray[np.float32]:
        chosen: NDArray[np.float32] = self._weights[self._starts[layer] + self._active[layer]]
        return chosen

    def biases(self, layer: int) -> NDArray[np.float32]:
        copied: NDArray[np.float32] = self._bias_vectors[layer].detach().numpy().copy()
        return copied

    def dense_gradients(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        self._backward(torch.from_numpy(rows))
        if not np.isfinite(self._weight_gradient).all():
            raise Diverged
        for start, (outputs, inputs) in zip(self._starts, self._network.shapes, strict=True):
            layer = self._weight_gradient[start : start + outputs * inputs]
            yield layer.reshape(outputs, inputs)

    def apply(self, changes: Sequence[LayerChange]) -> None:
        for layer, (start, change) in enumerate(zip(self._starts, changes, strict=True)):
            self._active[layer] = change.active
            self._weight_mask[start + change.dropped] = 0.0
            self._weights[start + change.dropped] = 0.0
            self._weight_mask[start + change.new] = 1.0
            self._weights[start + change.new] = change.values
            for state in self._weight_state:
                state[start + change.dropped] = 0.0
                state[start + change.new] = 0.0
        self._check_topology()

    def _check_topology(self) -> None:
        """Counts per layer as at the start, and nothing at all outside the mask."""
        for start, size, positions, count in zip(
            self._starts, self._network.sizes, self._active, self._counts, strict=True
        ):
            mask = self._weight_mask[start : start + size]
            assert len(positions) == count == np.count_nonzero(mask), "layer count changed"
            assert mask[positions].all(), "positions and mask disagree"
        outside = self._weight_mask == 0.0
        for values in (self._weights, *self._weight_state):
            assert not values[outside].any(), "inactive weights or optimiser state not zero"
