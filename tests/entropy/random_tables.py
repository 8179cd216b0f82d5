# SPDX-License-Identifier: Apache-2.0
"""Random table families, and payloads made with the reference alone."""

import numpy as np

from isthmus.entropy import TableFamily
from isthmus.entropy.tables.family import quantize_pmf
from isthmus.kernels.rans import reference as rans_reference
from isthmus.varint import pack_varint


def random_family(rng: np.random.Generator, precision: int, count: int, largest: int = 40) -> TableFamily:
    """`count` tables of random sizes, places and peakedness; the least skewed costs p bits, the most almost none."""
    size = rng.integers(1, largest + 1, count)
    low = rng.integers(-50, 50, count)
    rows = [quantize_pmf(rng.random(n + 1) ** rng.integers(0, 40), precision) for n in size]
    return TableFamily(precision, low, size, np.concatenate(rows))


def laplacian_family(scales: np.ndarray, precision: int = 12, reach: int = 200) -> TableFamily:
    """One table for each scale b: counts in proportion to exp(-|v| / b)."""
    values = np.arange(-reach, reach + 1)
    return TableFamily.from_counts(
        [np.exp(-np.abs(values) / b) for b in scales], [-reach] * len(scales), precision=precision
    )


def frequencies_of(tables: TableFamily, k: int) -> list[int]:
    """The frequencies of table k, its escape last."""
    start = int(tables.starts[k])
    return tables.frequencies[start : start + int(tables.size[k]) + 1].tolist()


def reference_payload(symbols: list[int], indices: list[int], tables: TableFamily, lanes: int) -> bytes:
    """What docs/format-entropy.md says, by way of `rans.reference`."""
    if not symbols:
        return b""
    intervals, escapes = [], b""
    for value, k in zip(symbols, indices, strict=True):
        frequencies, low, size = frequencies_of(tables, k), int(tables.low[k]), int(tables.size[k])
        entry = value - low
        if not 0 <= entry < size:
            escapes += pack_varint(2 * (entry - size) if entry >= size else 2 * (-1 - entry) + 1)
            entry = size
        intervals.append((frequencies[entry], sum(frequencies[:entry])))
    states, words = rans_reference.encode(intervals, tables.precision, lanes)
    body = np.array(states, "<u4").tobytes() + np.array(words, "<u2").tobytes()
    return bytes([lanes.bit_length() - 1]) + pack_varint(len(escapes)) + body + escapes


def random_symbols(rng: np.random.Generator, tables: TableFamily, indices: np.ndarray, escapes: float) -> np.ndarray:
    """int32 symbols of the tables' alphabets, a share `escapes` of them from all of int32."""
    inside = tables.low[indices] + rng.integers(0, 1 << 30, indices.shape) % tables.size[indices]
    anywhere = rng.integers(-(2**31), 2**31, indices.shape)
    return np.where(rng.random(indices.shape) < escapes, anywhere, inside).astype(np.int32)
