# SPDX-License-Identifier: Apache-2.0
"""Boxes of ISO BMFF (ISO/IEC 14496-12) and HEIF (23008-12): the colour of the primary item, by `colr`.

Bounded: payloads are read only where they are small, and at most MAX_BOXES headers are looked at.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_BOXES = 4096
MAX_PAYLOAD = 1 << 20  # bytes of the associations of items and properties


class Box(NamedTuple):
    """`begin` and `end` of the payload in the file."""

    kind: bytes
    begin: int
    end: int


def boxes(file: BinaryIO, begin: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file. Raises ValueError where they do not fit, or are too many."""
    for _ in range(MAX_BOXES):
        if end - begin < 8:
            return
        file.seek(begin)
        size, kind = struct.unpack(">I4s", file.read(8))
        payload = begin + 8
        if size == 1:
            size, payload = int.from_bytes(file.read(8), "big"), begin + 16
        elif size == 0:  # to the end of the file
            size = end - begin
        if not payload <= begin + size <= end:
            raise ValueError(f"box {kind!r} of {size} bytes at byte {begin} does not fit")
        yield Box(kind, payload, begin + size)
        begin += size
    raise ValueError(f"more than {MAX_BOXES} boxes")


def first(file: BinaryIO, begin: int, end: int, kind: bytes) -> Box | None:
    """The first box of a kind between two places. Raises ValueError as `boxes`."""
    return next((box for box in boxes(file, begin, end) if box.kind == kind), None)


def payload(file: BinaryIO, box: Box, most: int = MAX_PAYLOAD) -> bytes:
    """The bytes of a box, the first `most` of them."""
    file.seek(box.begin)
    return file.read(min(box.end - box.begin, most))


def colours_of_primary_item(file: BinaryIO, size: int) -> list[bytes]:
    """The first 11 bytes of each `colr` box of the primary item of a file of `size` bytes, in order.

    Raises ValueError where the boxes of the item do not fit together.
    """
    inside = _of_meta(file, size)
    if not {b"pitm", b"iprp"} <= set(inside):
        return []
    properties = list(boxes(file, *inside[b"iprp"][1:]))
    container = next((box for box in properties if box.kind == b"ipco"), None)
    if container is None:
        return []
    known = list(boxes(file, container.begin, container.end))
    try:
        item = _primary(payload(file, inside[b"pitm"], 8))
        places = [p for box in properties if box.kind == b"ipma" for p in _places(payload(file, box), item)]
    except (struct.error, IndexError):
        raise ValueError("the properties of its primary item are cut off") from None
    if any(place > len(known) for place in places):
        raise ValueError(f"its primary item has property {max(places)}, there are {len(known)}")
    return [payload(file, known[p - 1], 11) for p in places if p and known[p - 1].kind == b"colr"]


def beginning_of_primary_item(file: BinaryIO, size: int, most: int) -> bytes:
    """The first bytes of what the primary item holds, at most `most`; none where they do not lie in the file itself.

    Raises ValueError where the boxes of the item do not fit together.
    """
    inside = _of_meta(file, size)
    if not {b"pitm", b"iloc"} <= set(inside):
        return b""
    try:
        place = _extent(payload(file, inside[b"iloc"]), _primary(payload(file, inside[b"pitm"], 8)))
    except (struct.error, IndexError):
        raise ValueError("the place of its primary item is cut off") from None
    if place is None or place[0] >= size:
        return b""
    file.seek(place[0])
    return file.read(min(place[1] or most, most))


def _of_meta(file: BinaryIO, size: int) -> dict[bytes, Box]:
    """The boxes of the `meta` box by their kinds."""
    meta = first(file, 0, size, b"meta")
    if meta is None:
        return {}
    return {box.kind: box for box in boxes(file, meta.begin + 4, meta.end)}  # behind version and flags


def _primary(pitm: bytes) -> int:
    """Item number; 16 bits in version 0, else 32."""
    return int(struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)[0])


def _places(ipma: bytes, item: int) -> list[int]:
    """Which properties, counted from 1, an item has."""
    version, wide = ipma[0], ipma[3] & 1
    count, at = struct.unpack_from(">I", ipma, 4)[0], 8
    for _ in range(count):
        number = struct.unpack_from(">I" if version else ">H", ipma, at)[0]
        at += 4 if version else 2
        own = ipma[at]
        found = struct.unpack_from(f">{own}{'H' if wide else 'B'}", ipma, at + 1)
        at += 1 + own * (2 if wide else 1)
        if number == item:
            return [place & (0x7FFF if wide else 0x7F) for place in found]
    return []


def _extent(iloc: bytes, item: int) -> tuple[int, int] | None:
    """Place in the file and length (0: to its end) of the first part of an item; None where it is not in the file."""
    version, sizes, at = iloc[0], iloc[4] << 8 | iloc[5], 6
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(iloc):
            raise IndexError
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        found = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        elsewhere, base = number(2), number(of_base)
        count = number(2)
        if found == item:
            if not count or method or elsewhere:
                return None
            number(of_index if version else 0)
            return base + number(of_offset), number(of_length)
        at += count * ((of_index if version else 0) + of_offset + of_length)
    return None
