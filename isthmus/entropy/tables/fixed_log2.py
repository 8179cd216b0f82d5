# SPDX-License-Identifier: Apache-2.0
"""Logarithms in integers: what a symbol costs is the same number on every machine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.kernels import tier
from isthmus.kernels.rans import plain
from isthmus.kernels.rans import tables as rans_tables

COST_ONE = 1 << rans_tables.ONE  # one bit in the fixed-point costs


def fixed_log2(values: ArrayLike) -> NDArray[np.int64]:
    """log2(v) * 65536 rounded down (14917 and 29834: one less), 1 <= v < 2**15; the same on every machine."""
    v = np.ascontiguousarray(values, np.int32)
    found = np.empty(v.shape, np.int64)
    log2 = tier.pick(rans_tables.fixed_log2, plain.fixed_log2, v.size * plain.LOGARITHM)
    log2(v.reshape(-1), found.reshape(-1))
    return found
