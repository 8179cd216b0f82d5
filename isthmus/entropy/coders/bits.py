# SPDX-License-Identifier: Apache-2.0
"""Raw bits: integers of a few bits each behind each other (payload `bits.1` of docs/format-entropy.md)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders.arguments import as_integers
from isthmus.errors import CorruptStreamError

BLOCK = 1 << 15  # integers spelt out as single bits at a time; a multiple of 8


def encode(values: Any, width: int) -> bytes:
    """Integers of any shape (in C order), 0 to 2**width - 1, width 1 to 32, in ceil(n width / 8) bytes.

    Raises TypeError for other dtypes, ValueError for integers or widths out of range.

    >>> encode([1, 0, 5], 3).hex(" ")
    '41 01'
    """
    _check_width(width)
    flat = as_integers(values, "bits.encode: values").reshape(-1)
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >> width):
        raise ValueError(f"bits.encode: values {flat.min()}..{flat.max()}, expected 0..{(1 << width) - 1}")
    parts = []
    for begin in range(0, flat.size, BLOCK):
        block = np.ascontiguousarray(flat[begin : begin + BLOCK].astype("<u4"))
        spelt = np.unpackbits(block.view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
        parts.append(np.packbits(spelt[:, :width], bitorder="little").tobytes())
    return b"".join(parts)


def decode(data: bytes | memoryview, width: int, count: int) -> NDArray[np.uint32]:
    """The inverse of `encode`: uint32 [count].

    Raises CorruptStreamError for bytes that are not exactly those of `count` integers, ValueError for a width out of
    range or a negative count.

    >>> decode(bytes.fromhex("4101"), 3, 3).tolist()
    [1, 0, 5]
    """
    _check_width(width)
    view = memoryview(data).cast("B")
    if count < 0:
        raise ValueError(f"bits.decode: {count} integers, expected 0 or more")
    if len(view) != -(-count * width // 8):
        raise CorruptStreamError(f"bits: {len(view)} bytes, expected those of {count} integers of {width} bits")
    if count * width % 8 and view[-1] >> count * width % 8:
        raise CorruptStreamError("bits: set bits follow the last integer; the stream is damaged, fetch it again")
    array = np.frombuffer(view, np.uint8)
    out = np.empty(count, np.uint32)
    for begin in range(0, count, BLOCK):
        length = min(BLOCK, count - begin)
        part = array[begin * width // 8 : -(-(begin + length) * width // 8)]
        spelt = np.zeros((length, 32), np.uint8)
        spelt[:, :width] = np.unpackbits(part, bitorder="little", count=length * width).reshape(length, width)
        out[begin : begin + length] = np.packbits(spelt, axis=1, bitorder="little").view("<u4")[:, 0]
    return out


def _check_width(width: int) -> None:
    if not 1 <= width <= 32:
        raise ValueError(f"bits: width {width}, expected 1..32")
