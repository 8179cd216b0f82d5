# SPDX-License-Identifier: Apache-2.0
"""Integers whose distribution drifts: a table made anew, block after block, from those before (`adaptive.1`)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders import measured, rans, rans_decoder
from isthmus.entropy.coders.arguments import flat_symbols
from isthmus.entropy.tables.family import TableFamily
from isthmus.errors import CorruptStreamError

FIRST, MOST, GROWTH = 256, 1 << 12, 32  # symbols of a block: see the page
STEP = 16  # weight of a symbol
NARROW = 48  # integers for which 12 bits of precision do
PRECISIONS = (12, 13)  # so that the tables of 2**31 symbols make a family
WIDEST = 1 << 12  # integers of an alphabet: each starts with a weight, and so a slot, of its own


def _blocks(count: int) -> Iterator[slice]:
    """The symbols of each block."""
    begin = 0
    while begin < count:
        end = min(count, begin + max(FIRST, min(begin, MOST), begin // GROWTH))
        yield slice(begin, end)
        begin = end


def _learn(weights: NDArray[np.int64], block: NDArray[Any], low: int, first: bool) -> None:
    """Weights [size + 1] after a block."""
    places = block.astype(np.int64) - low
    escape = len(weights) - 1
    places = np.where((places < 0) | (places > escape), escape, places)
    if not first:
        weights >>= 1
    weights += STEP * np.bincount(places, minlength=len(weights))
    np.maximum(weights, 1, out=weights)


def encode(symbols: Any) -> bytes:
    """Codes integers of any shape (in C order) that fit int32; docs/format-entropy.md, `adaptive.1`.

    Raises TypeError for other dtypes, ValueError for symbols beyond int32.

    >>> encode([0, 1, -1, 0, 0, 0]).hex(" ")
    '0c 01 03 00 00 00 24 15 08'
    """
    flat = flat_symbols(symbols, "adaptive.encode: symbols")
    if flat.size == 0:
        return b""
    low, counts = measured.alphabet_of(flat)
    size = min(len(counts) - 1, WIDEST)
    precision = PRECISIONS[size > NARROW]
    weights = np.ones(size + 1, np.int64)
    blocks = list(_blocks(flat.size))
    rows = []
    for i, block in enumerate(blocks):
        rows.append(measured.table_of(weights, low, precision).frequencies)
        _learn(weights, flat[block], low, i == 0)
    ones = np.ones(len(blocks), np.int32)
    family = TableFamily(precision, low * ones, size * ones, np.concatenate(rows))
    segments = [(flat[block], k) for k, block in enumerate(blocks)]
    return measured.pack_alphabet(family) + rans.encode_segments(segments, family)


def decode(data: bytes | memoryview, count: int) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 [count].

    Raises CorruptStreamError for a payload that is not whole or too short for so many symbols, ValueError for a
    negative count.

    >>> decode(encode([0, 1, -1, 0, 0, 0]), 6).tolist()
    [0, 1, -1, 0, 0, 0]
    """
    view = memoryview(data).cast("B")
    if count < 0:
        raise ValueError(f"adaptive.decode: {count} symbols, expected 0 or more")
    if count == 0:
        if len(view):
            raise CorruptStreamError("adaptive: a payload without symbols must be empty; fetch it again")
        return np.empty(0, np.int32)
    precision, low, size, at = measured.unpack_alphabet(view, "adaptive")
    weights = np.ones(size + 1, np.int64)
    decoder = rans_decoder.RansDecoder(view[at:], measured.table_of(weights, low, precision))
    parts = []
    for i, block in enumerate(_blocks(count)):
        if i:
            decoder.use(measured.table_of(weights, low, precision))
        parts.append(decoder.decode(0, block.stop - block.start))
        _learn(weights, parts[-1], low, i == 0)
    decoder.finish()
    return np.concatenate(parts)
