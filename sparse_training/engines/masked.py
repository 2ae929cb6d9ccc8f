"""The masked engine: dense PyTorch tensors whose inactive weights are held at zero.

All weights, then all biases, then the parameters of normalisation and activation lie in one flat
buffer, their gradients in a second one and the optimiser's state in others, so that masking,
optimiser and checks are a handful of operations a step, whatever the network. Layers are views of
the buffers; gradients come from autograd.

**Differs** from torch.optim: the optimisers are written out here because constructing one of
torch's imports its compiler, which costs a trial more time than training. AdamW corrects its bias
by the step of the run, for weights grown later too.
"""

import math
import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sparse_training.engines import forward
from sparse_training.engines.interface import (
    SGD,
    AdamW,
    BudgetExceeded,
    Decay,
    DenseGradients,
    Diverged,
    LayerChange,
    Segment,
    Setup,
    momentum,
)
from sparse_training.errors import BadInput
from sparse_training.networks.activations import SRELU_START, SReLU
from sparse_training.networks.network import Norm
from sparse_training.positions import Positions

ADAMW_BETA1 = 0.9
ADAMW_EPSILON = 1e-8
EVALUATED_AT_ONCE = 1024
"""Rows of one evaluation pass."""


class MaskedEngine:
    """A masked network on CPU or CUDA; see `interface.Engine` for what it does.

    Raises BadInput for a device that is not there.
    """

    name = "masked"

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(1)
        self._device = _device(setup.device)
        self._network = network = setup.network
        self._optimizer = setup.optimizer
        self._seed = setup.seed
        self._budget = setup.budget
        self._active = [positions.copy() for positions in setup.active]
        self._x = torch.from_numpy(setup.train_x).to(self._device)
        self._y = torch.from_numpy(setup.train_y).to(self._device)
        self._steps = 0

        ends = np.cumsum([0, *network.sizes])
        self._starts = [int(end) for end in ends[:-1]]
        self._count = int(ends[-1])
        channels = network.sites
        norms = channels if network.norm is not Norm.NONE else ()
        srelus = channels if isinstance(network.activation, SReLU) else ()
        biases = sum(layer.neurons for layer in network.layers)
        total = self._count + biases + network.neuron_parameters
        self._flat, self._gradient, self._mask = (self._zeros(total) for _ in range(3))
        self._state = [
            self._zeros(total) for _ in range(2 if isinstance(self._optimizer.rule, AdamW) else 1)
        ]
        self._mask[self._count :] = 1.0
        self._correction: Tensor | None = None
        if self._optimizer.gradient_correction and network.norm is not Norm.NONE:
            self._correction = self._zeros(self._count)
        decayed = self._count + (biases if self._optimizer.decay_biases else 0)
        self._decayed, self._decayed_gradient = self._flat[:decayed], self._gradient[:decayed]

        for start, positions, drawn in zip(self._starts, setup.active, setup.values, strict=True):
            self._write(self._mask, start, positions, 1.0)
            self._write(self._flat, start, positions, drawn)
        place = self._count
        for number, layer in enumerate(network.layers):
            if not network.has_bias(number):
                self._mask[place : place + layer.neurons] = 0.0
            place += layer.neurons
        place = 0

        def leaf(*shape: int) -> Tensor:
            nonlocal place
            end = place + math.prod(shape)
            view = self._flat[place:end].view(shape).requires_grad_()
            # Autograd adds to a gradient that exists in place, so it lands in the flat buffer.
            view.grad = self._gradient[place:end].view(shape)
            place = end
            return view

        self._parameters = forward.Parameters(
            weights=[leaf(*layer.shape) for layer in network.layers],
            biases=[leaf(layer.neurons) for layer in network.layers],
            norms=[(leaf(number), leaf(number)) for number in norms],
            running=[(self._zeros(number), self._zeros(number) + 1.0) for number in norms],
            srelus=[leaf(4, number) for number in srelus],
        )
        with torch.no_grad():
            for scale, _ in self._parameters.norms:
                scale.fill_(1.0)
            for values in self._parameters.srelus:
                values.copy_(torch.tensor(SRELU_START).view(4, 1))
        self._check_mask()

    # Buffers: on the CPU numpy sees them, and counts and indexes several times faster -----------

    def _zeros(self, count: int) -> Tensor:
        return torch.zeros(count, device=self._device)

    def _write(
        self, buffer: Tensor, start: int, positions: Positions, values: NDArray[np.float32] | float
    ) -> None:
        if self._device.type == "cpu":
            buffer.detach().numpy()[start + positions] = values
            return
        there = torch.as_tensor(values, dtype=torch.float32, device=self._device)
        with torch.no_grad():
            buffer[torch.from_numpy(start + positions).to(self._device)] = there

    def _read(self, buffer: Tensor, start: int, positions: Positions) -> NDArray[np.float32]:
        chosen: NDArray[np.float32]
        if self._device.type == "cpu":
            chosen = buffer.detach().numpy()[start + positions]
        else:
            there = torch.from_numpy(start + positions).to(self._device)
            chosen = buffer.detach()[there].cpu().numpy()
        return chosen

    # Steps ---------------------------------------------------------------------------------------

    def _backward(self, rows: Tensor, *, track: bool) -> None:
        """Fills the gradient buffer with the dense gradient of the mean loss on the rows."""
        self._gradient.zero_()
        mode = forward.Mode(training=True, step=self._steps, track=track)
        features = self._x.index_select(0, rows)
        logits = forward.logits(self._network, self._parameters, features, mode, self._seed)
        loss = F.cross_entropy(
            logits,
            self._y.index_select(0, rows),
            label_smoothing=self._network.label_smoothing,
        )
        if not math.isfinite(loss.item()):
            raise Diverged
        loss.backward()  # type: ignore[no-untyped-call]

    def train(self, segment: Segment) -> None:
        rows = torch.from_numpy(segment.rows).to(self._device)
        dense_state = self._optimizer.dense_state
        start = 0
        # Optimiser state that fades away would become denormal and slow. The setting is the whole
        # thread's, so it does not outlast the steps.
        torch.set_flush_denormal(True)
        try:
            for size, learning_rate in zip(segment.sizes, segment.learning_rates, strict=True):
                self._backward(rows[start : start + size], track=True)
                start += size
                self._steps += 1
                with torch.no_grad():
                    if not dense_state:
                        self._gradient.mul_(self._mask)
                    if self._correction is not None:
                        self._gradient[: self._count].mul_(self._correction)
                    self._step(learning_rate)
                    if dense_state:
                        self._flat.mul_(self._mask)
                self._check_budget()
        finally:
            torch.set_flush_denormal(False)

    def _step(self, learning_rate: float) -> None:
        rule = self._optimizer.rule
        if isinstance(rule, AdamW):
            self._adamw(rule, learning_rate)
        else:
            self._sgd(rule, learning_rate)

    def _sgd(self, rule: SGD, learning_rate: float) -> None:
        decay = self._optimizer.weight_decay
        if rule.decay is Decay.COUPLED:
            self._decayed_gradient.add_(self._decayed, alpha=decay)
        else:
            rate = 1.0 if rule.decay is Decay.INDEPENDENT else learning_rate
            self._decayed.mul_(1.0 - rate * decay)
        self._state[0].mul_(rule.momentum).add_(self._gradient)
        if rule.nesterov:
            self._gradient.add_(self._state[0], alpha=rule.momentum)
            self._flat.add_(self._gradient, alpha=-learning_rate)
        else:
            self._flat.add_(self._state[0], alpha=-learning_rate)

    def _adamw(self, rule: AdamW, learning_rate: float) -> None:
        first, second = self._state
        beta2 = rule.beta2
        self._decayed.mul_(1.0 - learning_rate * self._optimizer.weight_decay)
        first.lerp_(self._gradient, 1.0 - ADAMW_BETA1)
        second.mul_(beta2).addcmul_(self._gradient, self._gradient, value=1.0 - beta2)
        torch.sqrt(second, out=self._gradient)
        correction = 1.0 - beta2**self._steps
        self._gradient.div_(correction**0.5).add_(ADAMW_EPSILON)
        rate = learning_rate / (1.0 - ADAMW_BETA1**self._steps)
        self._flat.addcdiv_(first, self._gradient, value=-rate)

    def _check_budget(self) -> None:
        weights = self._flat[: self._count]
        if self._device.type == "cpu":
            used = int(np.count_nonzero(weights.numpy() != 0.0))
        else:
            used = int(torch.count_nonzero(weights))
        if used > self._budget:
            if not bool(torch.isfinite(weights).all()):
                raise Diverged
            raise BudgetExceeded(f"{used} weights in use, the budget is {self._budget}")

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        mode = forward.Mode(training=False)
        with torch.no_grad():
            parts = [
                forward.logits(
                    self._network, self._parameters, part.to(self._device), mode, self._seed
                )
                for part in torch.split(torch.from_numpy(rows), EVALUATED_AT_ONCE)
            ]
            logits = torch.cat(parts)
        if not bool(torch.isfinite(logits).all()):
            raise Diverged
        outputs: NDArray[np.float32] = logits.cpu().numpy()
        return outputs

    # What the rules look at ----------------------------------------------------------------------

    def weights(self, layer: int) -> NDArray[np.float32]:
        return self._read(self._flat, self._starts[layer], self._active[layer])

    def biases(self, layer: int) -> NDArray[np.float32]:
        copied: NDArray[np.float32] = self._parameters.biases[layer].detach().cpu().numpy().copy()
        return copied

    def momenta(self, layer: int) -> NDArray[np.float32]:
        start, positions = self._starts[layer], self._active[layer]
        return momentum([self._read(state, start, positions) for state in self._state])

    def gradients(self, rows: NDArray[np.int64]) -> DenseGradients:
        self._backward(torch.from_numpy(rows).to(self._device), track=False)
        return self._scores(self._of_weights(self._gradient))

    def dense_momenta(self) -> DenseGradients:
        if not self._optimizer.dense_state:
            raise BadInput("the momentum of inactive weights needs a dense optimiser state")
        return self._scores(momentum([self._of_weights(state) for state in self._state]))

    def _of_weights(self, buffer: Tensor) -> NDArray[np.float32]:
        copied: NDArray[np.float32] = buffer[: self._count].detach().cpu().numpy().copy()
        return copied

    def _scores(self, values: NDArray[np.float32]) -> DenseGradients:
        if not np.isfinite(values).all():
            raise Diverged
        return DenseGradients(np.split(values, self._starts[1:]))

    # The mask ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[LayerChange]) -> None:
        for layer, (start, change) in enumerate(zip(self._starts, changes, strict=True)):
            self._active[layer] = change.active
            for buffer in (self._mask, self._flat):
                self._write(buffer, start, change.dropped, 0.0)
            self._write(self._mask, start, change.active, 1.0)
            self._write(self._flat, start, change.new, change.values)
            self._write_state(start, change)
        self._check_mask()

    def _write_state(self, start: int, change: LayerChange) -> None:
        keeps = self._optimizer.dense_state
        values = change.state
        if values is None and not keeps:
            values = np.zeros(len(change.new), dtype=np.float32)
        for power, state in enumerate(self._state, 1):
            if not keeps:
                self._write(state, start, change.dropped, 0.0)
            if values is not None:
                self._write(state, start, change.new, values**power)

    def _check_mask(self) -> None:
        """Counts within the budget, and nothing at all outside the mask."""
        used = sum(len(positions) for positions in self._active)
        if used > self._budget:
            raise BudgetExceeded(f"{used} active weights, the budget is {self._budget}")
        for start, layer, positions in zip(
            self._starts, self._network.layers, self._active, strict=True
        ):
            mask = self._mask[start : start + layer.size]
            if int(torch.count_nonzero(mask)) != len(positions):
                raise BudgetExceeded("positions and mask disagree")
        outside = self._mask == 0.0
        states = [] if self._optimizer.dense_state else self._state
        for values in (self._flat, *states):
            if bool(values[outside].any()):
                raise BudgetExceeded("an inactive weight, or its optimiser state, is not zero")
        if self._correction is not None:
            self._correct(self._correction)

    def _correct(self, correction: Tensor) -> None:
        """SparseOpt's factor of every weight; 1 in the last layer, which is not normalised."""
        correction.fill_(1.0)
        layers = list(zip(self._starts, self._network.layers, self._active, strict=True))
        for start, layer, positions in layers[:-1]:
            counts = np.bincount(positions // layer.fan_in, minlength=layer.neurons)
            mean = max(1, len(positions)) / layer.neurons
            factors = np.repeat(np.sqrt(counts / mean), layer.fan_in).astype(np.float32)
            correction[start : start + layer.size] = torch.from_numpy(factors).to(self._device)


def _device(name: str) -> torch.device:
    if name == "cuda":
        if not torch.cuda.is_available():
            raise BadInput(
                "device cuda was asked for, but PyTorch finds none here: use --device cpu"
            )
        # cuBLAS is deterministic with a workspace of a fixed size only.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)
