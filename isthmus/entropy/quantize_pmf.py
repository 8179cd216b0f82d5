# SPDX-License-Identifier: Apache-2.0
"""The one place where real-valued distributions become integer frequency tables."""

import heapq
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALVINGS = 80  # of the price; the float64 interval is exhausted before


def quantize_pmf(weights: ArrayLike, precision: int) -> NDArray[np.int32]:
    """Integer frequencies, each at least 1 and 2**precision in sum, that code `weights` in the fewest bits.

    `weights`: non-negative counts or probabilities [n], not all zero, n <= 2**precision <= 2**24. One more slot saves
    w * log2((f + 1) / f) bits. This falls with f, so the best table gives, one by one, the slot that saves most. All
    slots that save more than a common price are given at once, found by bisection, and the few that are left singly.

    Raises ValueError for negative, infinite or all-zero weights, or more symbols than slots.

    >>> quantize_pmf([1, 2, 0, 1], 4).tolist()
    [4, 7, 1, 4]
    """
    w = np.asarray(weights, np.float64)
    total = 1 << precision
    if w.ndim != 1 or not 0 < len(w) <= total or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(
            f"quantize_pmf: expected 1 to {total} finite non-negative weights that are not all zero, "
            f"got an array of shape {w.shape}"
        )
    w = w / w.max()

    def frequencies_at(price: float) -> NDArray[np.float64]:
        """The least f >= 1 where one more slot saves at most `price` nats: w * log1p(1 / f) <= price."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.maximum(1.0, np.ceil(1 / np.expm1(price / w)))

    low, high = 0.0, 1.0  # at the price 1 > log(2) every frequency is 1
    for _ in range(HALVINGS):
        price = (low + high) / 2
        if frequencies_at(price).sum() > total:
            low = price
        else:
            high = price
    frequencies = frequencies_at(high).astype(np.int64)

    def cost(i: int) -> float:
        """Minus the saving of one more slot for symbol i."""
        return float(-w[i] * math.log1p(1 / frequencies[i]))

    heap = [(cost(i), i) for i in range(len(w))]
    heapq.heapify(heap)
    for _ in range(total - int(frequencies.sum())):
        _, i = heapq.heappop(heap)
        frequencies[i] += 1
        heapq.heappush(heap, (cost(i), i))
    return frequencies.astype(np.int32)
