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

    step: optimiser steps made before this one; layer: hidden layer from 0. One hash decides about
    two samples, 16 apart: each has 16 of its bits, so the rate counts in 65,536ths.
    """
    key = _hash(np.uint32(seed & 0xFFFFFFFF))
    key = _hash(np.uint32(key ^ np.uint32(step & 0xFFFFFFFF)))
    key = _hash(np.uint32(key ^ np.uint32(layer)))
    pairs = -(-samples // 32)
    drawn = _hash(np.arange(neurons * pairs * 16, dtype=np.uint32) ^ key)
    halves = np.stack([drawn & np.uint32(0xFFFF), drawn >> np.uint32(16)])
    in_order = halves.reshape(2, neurons, pairs, 16).transpose(1, 2, 0, 3).reshape(neurons, -1)
    keep: NDArray[np.bool_] = in_order[:, :samples] >= min(round(rate * 2.0**16), 0xFFFF)
    return keep


def _hash(value: NDArray[np.uint32] | np.uint32) -> NDArray[np.uint32]:
    mixed = np.array(value, dtype=np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x7FEB352D)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x846CA68B)
    mixed ^= mixed >> np.uint32(16)
    return mixed
