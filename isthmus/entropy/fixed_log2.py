# SPDX-License-Identifier: Apache-2.0
"""Logarithms in integers: what a symbol costs is the same number on every machine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

COST_ONE = 1 << 16  # one bit in the fixed-point costs


def fixed_log2(values: ArrayLike) -> NDArray[np.int64]:
    """log2(v) * 65536 rounded down (14917 and 29834: one less), 1 <= v < 2**15; the same on every machine."""
    v = np.asarray(values, np.uint64)
    exponent = np.zeros(v.shape, np.int64)
    for shift in (16, 8, 4, 2, 1):
        large = v >> np.uint64(shift) > 0
        exponent += np.where(large, shift, 0)
        v = np.where(large, v >> np.uint64(shift), v)
    mantissa = np.asarray(values, np.uint64) << (31 - exponent).astype(np.uint64)  # in [2**31, 2**32)
    fraction = np.zeros(v.shape, np.int64)
    for _ in range(16):  # squaring doubles the logarithm: its next bit is whether that reaches 2
        mantissa = (mantissa * mantissa) >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        fraction = fraction * 2 + bit.astype(np.int64)
        mantissa >>= bit
    return exponent * COST_ONE + fraction
