# SPDX-License-Identifier: Apache-2.0
"""Binary masks, singly or in eights, with a table made from their counts (payload `mask.1`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.numbers import as_array
from isthmus.entropy.coders import histogram
from isthmus.errors import CorruptStreamError

EIGHT = 8


def encode(mask: Any) -> bytes:
    """Codes booleans of any shape (in C order); docs/format-entropy.md, `mask.1`.

    Single bits suit masks without structure, eights those whose neighbours are alike: the shorter payload is taken.
    Raises TypeError for what is not boolean.

    >>> encode([True, False, True, True]).hex(" ")
    '01 0c 00 02 0a 00 02 ec 9f 12 00 b3 1f 5e 77 00 00 65 d8 04 00'
    """
    array = as_array(mask)
    if array.dtype != np.bool_ and array.size:
        raise TypeError(f"mask.encode: got dtype {array.dtype}, expected booleans")
    flat = array.reshape(-1)
    if flat.size == 0:
        return b""
    single = bytes([1]) + histogram.encode(flat.astype(np.int16))
    eights = bytes([EIGHT]) + histogram.encode(np.packbits(flat, bitorder="little").astype(np.int16))
    return min(single, eights, key=len)


def decode(data: bytes | memoryview, count: int) -> NDArray[np.bool_]:
    """The inverse of `encode`: bool [count].

    Raises CorruptStreamError for a payload that is not whole or too short for so many bits, ValueError for a negative
    count.

    >>> decode(encode([True, False, True, True]), 4).tolist()
    [True, False, True, True]
    """
    view = memoryview(data).cast("B")
    if count < 0:
        raise ValueError(f"mask.decode: {count} bits, expected 0 or more")
    if count == 0:
        if len(view):
            raise CorruptStreamError("mask: a payload without bits must be empty; fetch it again")
        return np.empty(0, np.bool_)
    if len(view) == 0 or view[0] not in (1, EIGHT):
        raise CorruptStreamError("mask: it does not begin with 1 or 8 bits a symbol; fetch it again")
    width = view[0]
    symbols = histogram.decode(view[1:], -(-count // width))
    spare = -count % width
    if symbols.min() < 0 or symbols.max() >> width or int(symbols[-1]) >> (width - spare):
        raise CorruptStreamError(f"mask: a symbol is not {width} bits, or bits follow the last; fetch it again")
    if width == 1:
        return symbols.astype(np.bool_)
    return np.unpackbits(symbols.astype(np.uint8), bitorder="little", count=count).astype(np.bool_)
