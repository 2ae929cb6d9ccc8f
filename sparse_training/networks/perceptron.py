"""Multi-layer perceptrons: widths to layers."""

from collections.abc import Sequence

from sparse_training.networks.network import Layer


def perceptron_layers(widths: Sequence[int]) -> tuple[Layer, ...]:
    """Fully connected layers; widths: neurons from the inputs to the outputs, at least two."""
    return tuple(
        Layer((outputs, inputs)) for inputs, outputs in zip(widths[:-1], widths[1:], strict=True)
    )


def hidden_widths(nominal: Sequence[int], factor: float, depth_change: int) -> tuple[int, ...]:
    """Hidden widths after `depth_change` layers more or fewer, each times the factor.

    Further layers are as wide as the last one; one layer stays. Widths are rounded, at least 1.
    """
    deeper = [*nominal, *[nominal[-1]] * depth_change] if nominal else []
    kept = deeper[: max(1, len(nominal) + depth_change)]
    return tuple(max(1, round(width * factor)) for width in kept)
