"""What training costs in floating-point operations, counted from the active weights.

**Source**: Evci et al. (RigL), ICML 2020, appendix on FLOPs: a step costs one forward pass and
twice that for the backward pass; an update with gradient growth costs the forward pass and the
gradient by the activations at the sparse price, the gradient by the weights at the dense one; an
optimiser state that follows the dense gradient (SNFS) makes every step cost that. A multiplication
with its addition counts as two; biases, normalisation and activation functions are left out.
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


def step_flops(sparse: float, dense: float, *, dense_weight_gradient: bool) -> float:
    """An optimiser step for one sample: 3 f_S, or 2 f_S + f_D if it takes all weights' gradient.

    The latter is the price of a dense optimiser state, of a batch whose gradient is accumulated
    for growth, and of a step that shares its pass with an update.
    """
    return 2.0 * sparse + (dense if dense_weight_gradient else sparse)


def update_flops(sparse: float, dense: float, looks_at: str, candidates: float | None) -> float:
    """The gradient of an update for one sample.

    looks_at: `all` weights' gradient, 2 f_S + f_D; that of `candidates` (so many times the active
    weights) and of the active ones, 2 f_S + f_C; that of `active` weights, 3 f_S; or `nothing`.
    """
    if looks_at == "nothing":
        return 0.0
    if looks_at == "active":
        return 3.0 * sparse
    if looks_at == "candidates":
        assert candidates is not None
        return 2.0 * sparse + min(dense, candidates * sparse)
    assert looks_at == "all", looks_at
    return 2.0 * sparse + dense
