"""What training costs in floating-point operations, counted from the active weights.

**Source**: Evci et al. (RigL), ICML 2020, appendix on FLOPs: a step costs one forward pass and
twice that for the backward pass; an update with gradient growth costs the forward pass and the
gradient by the activations at the sparse price, the gradient by the weights at the dense one.
A multiplication with its addition counts as two; biases and activation functions are left out.
"""

from dataclasses import dataclass


@dataclass
class Ledger:
    """Adds up what a training run spends. Random growth and masks cost nothing."""

    weights: int
    """Number of weights of the dense network."""
    total: float = 0.0
    """FLOPs spent so far."""

    def charge_step(self, active_weights: int, samples: int) -> None:
        """An optimiser step on `samples` rows: 3 f_S a sample."""
        self.total += 3.0 * inference_flops(active_weights) * samples

    def charge_dense_gradient(self, active_weights: int, samples: int) -> None:
        """A pass that computes the dense gradient: 2 f_S + f_D a sample.

        Alone it is RigL's update step; where an optimiser step uses the same pass (an update after
        the step) it is the price of both.
        """
        sparse, dense = inference_flops(active_weights), inference_flops(self.weights)
        self.total += (2.0 * sparse + dense) * samples


def inference_flops(active_weights: int) -> float:
    """FLOPs of one forward pass for one sample (f_S; f_D if all weights are active)."""
    return 2.0 * active_weights
