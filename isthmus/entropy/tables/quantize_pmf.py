# SPDX-License-Identifier: Apache-2.0
"""The one place where real-valued distributions become integer frequency tables."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.arrays.numbers import as_array
from isthmus.kernels.rans import tables as rans_tables

LOSS = 0.004  # of the entropy; with the escapes of families of distributions it stays below 0.5 %
ROUNDING = 1e-4  # by which probabilities in half or single precision may exceed 1 in sum
LEAST_ENTROPY = 0.1  # bits a symbol, below which LOSS is a share of this


def quantize_pmf(weights: ArrayLike, precision: int) -> NDArray[np.int32]:
    """Integer frequencies, each at least 1 and 2**precision in sum, that code `weights` in the fewest bits.

    `weights`: non-negative counts or probabilities [n], not all zero, n <= 2**precision <= 2**24. One more slot saves
    w * log2((f + 1) / f) bits. This falls with f, so the best table gives, one by one, the slot that saves most. All
    slots that save more than a common price are given at once, found by bisection, and the few that are left singly.

    Raises ValueError for negative, infinite or all-zero weights, or more symbols than slots.

    >>> quantize_pmf([1, 2, 0, 1], 4).tolist()
    [4, 7, 1, 4]
    """
    w = as_array(weights).astype(np.float64, copy=False)
    total = 1 << precision
    if w.ndim != 1 or not 0 < len(w) <= total or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise ValueError(
            f"quantize_pmf: expected 1 to {total} finite non-negative weights that are not all zero, "
            f"got an array of shape {w.shape}"
        )
    frequencies = np.empty(len(w))
    rans_tables.share_slots(w / w.max(), total, frequencies)
    return frequencies.astype(np.int32)


def with_escape(rows: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    """Each row of probabilities [n], n >= 1, and behind it what it lacks of 1. Raises ValueError that names the row."""
    weights = []
    for k, row in enumerate(rows):
        w = as_array(row).astype(np.float64, copy=False)
        if w.ndim != 1 or not w.size or not np.isfinite(w).all() or (w < 0).any() or w.sum() > 1 + ROUNDING:
            raise ValueError(f"TableFamily.from_pmf: row {k} must be probabilities [n], n >= 1, of at most 1 in sum")
        weights.append(np.append(w, max(0.0, 1 - float(w.sum()))))
    return weights


def quantize_rows(
    rows: Sequence[NDArray[np.float64]], precisions: Sequence[int]
) -> tuple[int, list[NDArray[np.int32]]]:
    """The least of rising `precisions` that codes every row of weights [n] within LOSS of its entropy, else the last.

    Returns it and the frequencies of each row. Raises ValueError for what `quantize_pmf` refuses at the last precision.
    """
    order = sorted(range(len(rows)), key=lambda k: -len(rows[k]))  # wide rows fail first
    for precision in precisions[:-1]:
        found = _within_loss([rows[k] for k in order], precision)
        if found:
            return precision, [found[i] for i in np.argsort(order)]
    return precisions[-1], [quantize_pmf(row, precisions[-1]) for row in rows]


def _within_loss(rows: list[NDArray[np.float64]], precision: int) -> list[NDArray[np.int32]]:
    """Frequencies of all rows, or nothing when one of them does not fit or loses too much."""
    found = []
    for row in rows:
        if len(row) > 1 << precision:
            return []
        frequencies = quantize_pmf(row, precision)
        p = row[row > 0] / row.sum()
        entropy = float(-(p * np.log2(p)).sum())
        cost = float((row * (precision - np.log2(frequencies))).sum() / row.sum())
        if cost - entropy > LOSS * max(entropy, LEAST_ENTROPY):
            return []
        found.append(frequencies)
    return found
