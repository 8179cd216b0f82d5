# SPDX-License-Identifier: Apache-2.0
"""Integers of which nothing is known beforehand, with a table made from their counts (payload `histogram.1`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders import measured, rans
from isthmus.entropy.coders.arguments import flat_symbols
from isthmus.errors import CorruptStreamError


def encode(symbols: Any) -> bytes:
    """Codes integers of any shape (in C order) that fit int32; docs/format-entropy.md, `histogram.1`.

    The table costs about 4 bits for each integer of the alphabet, the rounding of its frequencies about 0.1 %. Raises
    TypeError for other dtypes, ValueError for symbols beyond int32.

    >>> encode([0, 1, -1, 0, 0, 0]).hex(" ")
    '0c 01 03 0c 00 02 d0 9f 02 00 c6 0f d0 9f 54 55 00 00 34 db 5c 00'
    """
    flat = flat_symbols(symbols, "histogram.encode: symbols")
    if flat.size == 0:
        return b""
    table, head = measured.fit(flat)
    return head + rans.encode(flat, 0, table)


def decode(data: bytes | memoryview, count: int) -> NDArray[np.int32]:
    """The inverse of `encode`: int32 [count].

    Raises CorruptStreamError for a payload that is not whole or too short for so many symbols, ValueError for a
    negative count.

    >>> decode(encode([0, 1, -1, 0, 0, 0]), 6).tolist()
    [0, 1, -1, 0, 0, 0]
    """
    view = memoryview(data).cast("B")
    if count < 0:
        raise ValueError(f"histogram.decode: {count} symbols, expected 0 or more")
    if count == 0:
        if len(view):
            raise CorruptStreamError("histogram: a payload without symbols must be empty; fetch it again")
        return np.empty(0, np.int32)
    table, at = measured.unpack(view, "histogram")
    return rans.decode(view[at:], 0, table, count)
