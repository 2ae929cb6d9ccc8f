"""What training costs in floating-point operations, counted from the active weights.

**Source**: Evci et al. (RigL), ICML 2020, appendix on FLOPs: a step costs one forward pass and
twice that for the backward pass; an update with gradient growth costs the forward pass and the
gradient by the activations at the sparse price, the gradient by the weights at the dense one; an
optimiser state that follows the dense gradient (SNFS) makes every step cost that. A multiplication
with its addition counts as two; biases, normalisation and activation functions are left out.
An update that uses the gradient of a step shares the step's pass.
"""

from collections.abc import Sequence

from target_algorithms.networks import Network


def forward_flops(network: Network, counts: Sequence[int]) -> float:
    """FLOPs of one forward pass for one sample; counts: active weights of every layer.

    f_S in the literature, f_D with all weights active.
    """
    return 2.0 * sum(
        layer.uses * count for layer, count in zip(network.layers, counts, strict=True)
    )


def pass_flops(
    sparse: float, dense: float, *, gradient_of: str, candidates: float | None = None
) -> float:
    """A forward and backward pass for one sample: 2 f_S and the gradient of the weights looked at.

    gradient_of: `active` weights f_S (an optimiser step costs 3 f_S), `all` f_D, `none` nothing.
    candidates: inactive weights that are looked at besides, as a multiple of the active ones.
    """
    weights = {"active": sparse, "all": dense, "none": 0.0}[gradient_of]
    more = 0.0 if candidates is None or gradient_of == "all" else candidates * sparse
    return 2.0 * sparse + weights + min(dense - sparse, more)
