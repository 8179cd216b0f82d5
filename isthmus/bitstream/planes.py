# SPDX-License-Identifier: Apache-2.0
"""Several integer planes in one data unit or packet."""

from collections.abc import Sequence

from isthmus.bitstream.frame import LENGTH_LIMIT
from isthmus.bitstream.source import as_bytes
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint


def pack_planes(payloads: Sequence[BytesLike]) -> bytes:
    """Several planes' entropy payloads as one: each but the last preceded by its varint length."""
    views = [as_bytes(payload) for payload in payloads]
    parts: list[BytesLike] = [part for view in views[:-1] for part in (pack_varint(len(view)), view)]
    return b"".join([*parts, *views[-1:]])


def unpack_planes(payload: BytesLike, count: int) -> list[memoryview]:
    """The `count` planes' payloads, as views. Raises `CorruptStreamError` when a length is more than what is there."""
    view, at = as_bytes(payload), 0
    planes: list[memoryview] = []
    for number in range(count - 1):
        length, at = unpack_varint(view, at, LENGTH_LIMIT)
        if length > len(view) - at:
            raise CorruptStreamError(f"plane {number} should have {length} bytes, {len(view) - at} are there")
        planes.append(view[at : at + length])
        at += length
    return [*planes, view[at:]]
