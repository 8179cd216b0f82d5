# SPDX-License-Identifier: Apache-2.0
"""The one place where real-valued distributions become integer frequency tables."""

import heapq
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantize_pmf(weights: ArrayLike, precision: int) -> NDArray[np.int32]:
    """Integer frequencies, each at least 1 and 2**precision in sum, that code `weights` in the fewest bits.

    `weights`: non-negative counts or probabilities [n], not all zero, n <= 2**precision. Starts at the rounded-down
    shares and moves one slot at a time to where it saves most, d bits = w * log2((f + 1) / f), which is optimal
    because the gain of each slot falls with f.

    Raises ValueError for negative, infinite or all-zero weights, or more symbols than slots.
    """
    w = np.asarray(weights, np.float64)
    total = 1 << precision
    if w.ndim != 1 or not 0 < len(w) <= total or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise ValueError(
            f"quantize_pmf: expected 1 to {total} finite non-negative weights that are not all zero, "
            f"got an array of shape {w.shape}"
        )
    share = w / w.sum() * total
    frequencies = np.maximum(1, np.floor(share)).astype(np.int64)
    missing = total - int(frequencies.sum())
    sign = 1 if missing > 0 else -1

    def price(i: int) -> float:
        """Bits that the next move at i costs (negative: saves)."""
        f = int(frequencies[i])
        if sign < 0 and f == 1:
            return math.inf
        return float(-w[i] * math.log2((f + sign) / f))

    heap = [(price(i), i) for i in range(len(w))]
    heapq.heapify(heap)
    for _ in range(abs(missing)):
        _, i = heapq.heappop(heap)
        frequencies[i] += sign
        heapq.heappush(heap, (price(i), i))
    return frequencies.astype(np.int32)
