# SPDX-License-Identifier: Apache-2.0
"""LEB128 integers, as docs/format.md demands them: minimal and bounded."""

from operator import index

from isthmus.errors import CorruptStreamError

BytesLike = bytes | bytearray | memoryview
VARINT_LIMIT = 2**63 - 1  # nine bytes of seven bits


def pack_varint(value: int) -> bytes:
    """LEB128 of `value`, 0 to 2**63 - 1: one to nine bytes. Raises `ValueError` outside that range."""
    value = index(value)
    if not 0 <= value <= VARINT_LIMIT:
        raise ValueError(f"pack_varint: {value} is outside 0 to {VARINT_LIMIT}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpack_varint(data: bytes | bytearray | memoryview, offset: int = 0, limit: int = VARINT_LIMIT) -> tuple[int, int]:
    """The varint at `data[offset:]` and the offset behind it.

    Raises `CorruptStreamError` when it is cut, longer than nine bytes, not minimal, or greater than `limit`.
    """
    value = 0
    for position in range(offset, min(len(data), offset + 9)):
        byte = data[position]
        value |= (byte & 0x7F) << 7 * (position - offset)
        if byte < 0x80:
            if byte == 0 and position > offset:
                raise CorruptStreamError(f"varint at byte {offset} has needless trailing zeros: not minimal")
            if value > limit:
                raise CorruptStreamError(f"varint at byte {offset} is {value}, the limit is {limit}")
            return value, position + 1
    if len(data) >= offset + 9:
        raise CorruptStreamError(f"varint at byte {offset} is longer than 9 bytes")
    raise CorruptStreamError(f"varint at byte {offset} is cut: the data end at byte {len(data)}")
