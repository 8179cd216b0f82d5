# SPDX-License-Identifier: Apache-2.0
"""Huffman tables of bytes: made from counts, chosen among, and packed (docs/format-dfloat.md, "Tables").

A table is uint8 [256], the length of each symbol's code: 1 to 12, 0 for a symbol that is alone, `ABSENT` for none.
"""

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.kernels.huffman import tables as kernels
from isthmus.kernels.huffman.tables import ABSENT, LIMIT, MOST_TABLES, RECENT, SYMBOLS

Lengths = NDArray[np.uint8]


def fit(counts: NDArray[np.int64]) -> Lengths:
    """The table of at most 12 bits a symbol that costs least, for counts [256] of which one is above 0.

    >>> counts = np.zeros(256, np.int64)
    >>> counts[120:124] = 5, 30, 60, 1
    >>> fit(counts)[119:125].tolist()
    [15, 3, 2, 1, 3, 15]
    """
    lengths = np.empty(SYMBOLS, np.uint8)
    kernels.code_lengths(np.ascontiguousarray(counts, np.int64), lengths)
    return lengths


def choose(counts: NDArray[np.int64], own: Lengths, first: int) -> tuple[Lengths, NDArray[np.int64]]:
    """Tables for runs of symbols: uint8 [K, 256], and which of them each run takes, int64 [runs].

    counts: int64 [runs, 256]; own: the table that `fit` gives each; first: how many tables the file has already. A run
    takes its own table if that, with its bytes in the file, costs less than the best of the last `RECENT`. A run is
    given -1 where the file would have too many tables.
    """
    if len(own) == 1 and first < MOST_TABLES:
        return own, np.zeros(1, np.int64)  # as it would be below, for which a kernel is to be compiled
    coded = own != ABSENT
    width = SYMBOLS - coded[:, ::-1].argmax(axis=1) - coded.argmax(axis=1)  # from the first to the last with a code
    alone = (counts * own).sum(axis=1) + 8 * (2 + np.where(width == 1, 0, (width + 1) // 2))
    tables, chosen = np.empty(own.shape, np.uint8), np.empty(len(own), np.int64)
    size = kernels.choose_tables(counts, own, alone, first, tables, chosen)
    return tables[:size], chosen


def pack(tables: Lengths) -> bytes:
    """Tables, uint8 [K, 256], as bytes.

    >>> counts = np.zeros(256, np.int64)
    >>> counts[120:124] = 5, 30, 60, 1
    >>> pack(fit(counts)[None]).hex(" ")
    '78 7b 23 31'
    """
    return b"".join(map(_pack_one, tables))


def _pack_one(lengths: Lengths) -> bytes:
    coded = np.flatnonzero(lengths != ABSENT)
    first, last = int(coded[0]), int(coded[-1])
    if first == last:
        return bytes([first, last])
    found = np.zeros((last - first) // 2 * 2 + 2, np.uint8)
    found[: last - first + 1] = np.where(lengths == ABSENT, 0, lengths)[first : last + 1]
    return bytes([first, last]) + (found[::2] | found[1::2] << 4).tobytes()


def unpack(data: bytes | memoryview, count: int) -> Lengths:
    """The inverse of `pack`: uint8 [count, 256]. Raises CorruptStreamError for bytes that are not `count` tables."""
    bytes_ = np.frombuffer(data, np.uint8)
    if 2 * count > len(bytes_):
        raise CorruptStreamError(f"Huffman tables: {len(bytes_)} bytes for {count} tables; fetch the file again")
    tables = np.empty((count, SYMBOLS), np.uint8)
    bad = kernels.unpack_tables(bytes_, tables)
    if bad >= 0:
        what = "bytes follow the last" if bad == count else f"table {bad} is cut or no complete code"
        raise CorruptStreamError(f"Huffman tables: of {count} in {len(bytes_)} bytes, {what}; fetch the file again")
    return tables


__all__ = ["ABSENT", "LIMIT", "RECENT", "SYMBOLS", "choose", "fit", "pack", "unpack"]
