"""Activations of hidden layers, as values that an engine knows how to compute.

**Source**: All-ReLU: Curci et al., "Truly Sparse Neural Networks at Scale", 2021,
https://arxiv.org/abs/2102.01732; SReLU: Jin et al., AAAI 2016.
"""

from dataclasses import dataclass

# `parameters` of a class: how many trainable ones it has of every neuron.


@dataclass(frozen=True)
class ReLU:
    """max(z, 0)."""

    parameters = 0

    def slope(self, layer: int) -> float:
        """Slope below zero."""
        return 0.0


@dataclass(frozen=True)
class LeakyReLU:
    """z where it is positive, a hundredth of it elsewhere."""

    parameters = 0

    def slope(self, layer: int) -> float:
        """Slope below zero."""
        return 0.01


@dataclass(frozen=True)
class AllReLU:
    """z where it is positive, else z times a slope whose sign alternates with the layers."""

    parameters = 0

    negative_slope: float = 0.6
    """> 0."""

    def slope(self, layer: int) -> float:
        """Slope below zero of hidden layer `layer`, from 0; the first one's is negative."""
        return self.negative_slope if layer % 2 else -self.negative_slope


SRELU_START = (0.0, 0.2, 1.0, 1.0)
"""Initial SReLU parameters of every neuron: left threshold and slope, right threshold and slope."""


@dataclass(frozen=True)
class SReLU:
    """t_l + a_l (z - t_l) below the left threshold, t_r + a_r (z - t_r) above the right one.

    The four are parameters of every neuron, from `SRELU_START`; they are trained as biases are,
    without weight decay.
    """

    parameters = len(SRELU_START)


@dataclass(frozen=True)
class GELU:
    """z times the normal distribution function of z, exactly (with erf)."""

    parameters = 0


@dataclass(frozen=True)
class Linear:
    """z itself; for the passes of SynFlow only."""

    parameters = 0


Activation = ReLU | LeakyReLU | AllReLU | SReLU | GELU | Linear
