"""Dropout masks that any engine can compute in any order: a hash of where and when.

**Source**: Srivastava et al., JMLR 2014; the hash is the 32-bit finaliser `lowbias32` of C.
Wellons.
"""

import numpy as np
from numpy.typing import NDArray


def dropout_keep(
    seed: int, step: int, layer: int, neurons: int, samples: int, rate: float
) -> NDArray[np.bool_]:
    """Which activations stay, shape (neurons, samples).

    step: optimiser steps made before this one; layer: hidden layer from 0; the index of an
    activation is neuron * samples + sample.
    """
    key = _hash(np.uint32(seed & 0xFFFFFFFF))
    key = _hash(np.uint32(key ^ np.uint32(step & 0xFFFFFFFF)))
    key = _hash(np.uint32(key ^ np.uint32(layer)))
    index = np.arange(neurons * samples, dtype=np.uint32)
    threshold = np.uint32(round(rate * 2.0**32) if rate < 1.0 else 0xFFFFFFFF)
    keep: NDArray[np.bool_] = (_hash(index ^ key) >= threshold).reshape(neurons, samples)
    return keep


def _hash(value: NDArray[np.uint32] | np.uint32) -> NDArray[np.uint32]:
    mixed = np.array(value, dtype=np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x7FEB352D)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x846CA68B)
    mixed ^= mixed >> np.uint32(16)
    return mixed
