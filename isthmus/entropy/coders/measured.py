# SPDX-License-Identifier: Apache-2.0
"""Tables made from measured counts: their frequencies from weights, their compact form, and how fine they must be."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.arrays.numbers import as_array
from isthmus.entropy.coders import rans
from isthmus.entropy.tables.family import MAX_LOW, MAX_PRECISION, MIN_PRECISION, TableFamily
from isthmus.entropy.tables.quantize_pmf import quantize_pmf
from isthmus.errors import CorruptStreamError
from isthmus.kernels.rans import tables as rans_tables
from isthmus.varint import pack_varint, unpack_varint

MOST_LEVEL = 111
WIDEST = 1 << 13  # integers of an alphabet that the encoders here choose; what lies beyond is escaped
NARROWEST = 64
LOSS = 0.005  # of the entropy, what rounding to frequencies may cost

PRECISIONS = np.arange(MIN_PRECISION, MAX_PRECISION + 1)

Int64 = NDArray[np.int64]


def table_of(weights: Int64, low: int, precision: int) -> TableFamily:
    """The table that "frequencies from weights" of docs/format-entropy.md gives; weights: int64 [size + 1], >= 0.

    Raises ValueError where that is no table: no weight above 0, more entries than slots, low beyond +-2**24.
    """
    n, total = len(weights), int(weights.sum())
    if total < 1 or n > 1 << precision:
        raise ValueError(
            f"entropy tables: {n} weights that sum to {total}, expected at most 2**{precision} and above 0"
        )
    frequencies = np.empty(n, np.int64)
    rans_tables.share_by_weights(weights, precision, frequencies)
    return TableFamily(precision, np.array([low]), np.array([n - 1]), frequencies.astype(np.int32))


@cache
def level_table() -> TableFamily:
    """The fixed table of differences of levels."""
    half = [max(2, 580 >> a // 2) for a in range(1, 17)]
    return TableFamily(12, np.array([-16]), np.array([33]), np.array([*half[::-1], 580, *half, 56]))


@cache
def level_weights() -> Int64:
    """The weight of each level: below 8 itself, then eight steps to a doubling."""
    return np.array([k if k < 8 else (8 + k % 8) << (k // 8 - 1) for k in range(MOST_LEVEL + 1)], np.int64)


def alphabet_of(symbols: NDArray[np.int32]) -> tuple[int, Int64]:
    """Lowest integer of an alphabet for symbols [n], n >= 1, and the counts of its integers and of the rest [size + 1].

    It has at most n (or 64) and 8,192 integers about the median, without rare ones (below 1 in 65,536) at its ends.
    """
    widest = min(WIDEST, max(NARROWEST, len(symbols)))
    lowest, highest = int(symbols.min()), int(symbols.max())
    if highest - lowest >= widest:
        middle = int(np.partition(symbols, len(symbols) // 2)[len(symbols) // 2])
        lowest = max(lowest, middle - widest // 2)
        highest = min(highest, lowest + widest - 1)
    lowest = min(max(lowest, -MAX_LOW), MAX_LOW)
    highest = max(lowest, min(highest, MAX_LOW))
    size = highest - lowest + 1
    counts = np.zeros(size, np.int64)
    rans_tables.count_between(symbols, lowest, counts)
    kept = np.flatnonzero(counts * (1 << 16) >= len(symbols))
    begin, end = (int(kept[0]), int(kept[-1]) + 1) if kept.size else (0, 1)
    counts = counts[begin:end]
    return lowest + begin, np.append(counts, len(symbols) - counts.sum())


def choose_precision(counts: ArrayLike, *, loss: float = LOSS) -> int:
    """The least precision, 12 to 15, whose best table codes counts [n] within `loss` of their entropy; else the best.

    counts: non-negative, not all zero, n <= 2**15, the escape's the last. Raises ValueError for others.

    >>> choose_precision([1, 2, 1]), choose_precision([1, 9999])
    (12, 13)
    """
    w = as_array(counts).astype(np.float64, copy=False)
    best, least = MAX_PRECISION, np.inf
    some = w[w > 0]
    entropy = float((some * np.log2(some.sum() / some)).sum())
    for precision in range(MIN_PRECISION, MAX_PRECISION + 1):
        if len(w) > 1 << precision and precision < MAX_PRECISION:
            continue
        cost = float((w * (precision - np.log2(quantize_pmf(w, precision)))).sum())
        if cost <= (1 + loss) * entropy:
            return precision
        if cost < least:
            best, least = precision, cost
    return best


def fit(symbols: NDArray[np.int32]) -> tuple[TableFamily, bytes]:
    """A table for symbols [n], n >= 1, and its compact form (head of `histogram.1`).

    The precision is the least of 12 to 15 with which the table, as its levels round it, costs at most 0.5 % more than
    the counts' entropy, or the one that costs least.
    """
    low, counts = alphabet_of(symbols)
    some = counts[counts > 0]
    entropy = float((some * np.log2(some.sum() / some)).sum())
    levels = np.empty(len(counts), np.int64)
    precision = rans_tables.choose_levels(counts, level_weights(), (1 + LOSS) * entropy, PRECISIONS, levels)
    table = table_of(level_weights()[levels], low, precision)
    return table, _pack(table, levels)


def _pack(table: TableFamily, levels: Int64) -> bytes:
    payload = rans.encode(np.diff(levels, prepend=0), 0, level_table())
    return pack_alphabet(table) + pack_varint(len(payload)) + payload


def pack_alphabet(table: TableFamily) -> bytes:
    """Precision, low and size."""
    low = int(table.low[0])
    zigzag = 2 * low if low >= 0 else -2 * low - 1
    return bytes([table.precision]) + pack_varint(zigzag) + pack_varint(int(table.size[0]))


def unpack_alphabet(view: memoryview, what: str) -> tuple[int, int, int, int]:
    """Precision, low, size and the place behind them. Raises CorruptStreamError for those no table can have."""
    if len(view) == 0 or not MIN_PRECISION <= view[0] <= MAX_PRECISION:
        raise CorruptStreamError(f"{what}: no precision {MIN_PRECISION}..{MAX_PRECISION} at its start; fetch it again")
    zigzag, at = unpack_varint(view, 1, 2 * MAX_LOW)
    size, at = unpack_varint(view, at, (1 << view[0]) - 1)
    if size == 0:
        raise CorruptStreamError(f"{what}: an alphabet of no integers, expected 1 or more; fetch it again")
    return view[0], zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2, size, at


def unpack(view: memoryview, what: str) -> tuple[TableFamily, int]:
    """The inverse of what `fit` packs: the table and the place behind it. Raises CorruptStreamError."""
    precision, low, size, at = unpack_alphabet(view, what)
    length, at = unpack_varint(view, at)
    if length > len(view) - at:
        raise CorruptStreamError(f"{what}: {length} bytes of levels, but {len(view) - at} are left; fetch it again")
    differences = rans.decode(view[at : at + length], 0, level_table(), size + 1)
    levels = np.cumsum(differences, dtype=np.int64)
    if levels.min() < 0 or levels.max() > MOST_LEVEL or levels.max() == 0:
        raise CorruptStreamError(f"{what}: a level is outside 0..{MOST_LEVEL}, or all are 0; fetch it again")
    return table_of(level_weights()[levels], low, precision), at + length
