# SPDX-License-Identifier: Apache-2.0
"""One chunk: type, track, length, payload and CRC-32. Read, it is verified; written, its payload is not copied."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from isthmus.bitstream.source import PIECE, CutStreamError, DamagedChunkError, Source, as_bytes, write_all
from isthmus.bitstream.track import HEADER_LIMIT
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint

WHOLE_STREAM = 255  # the track number of what is about no single track
LENGTH_LIMIT = 2**40  # bytes of a payload
UNIT_LIMIT = 2**40
INDEX_LIMIT = 2**24
METADATA_LIMIT = 2**20
PAYLOAD_LIMITS = {  # of the chunk types that this version knows
    "H": HEADER_LIMIT,
    "D": LENGTH_LIMIT,
    "P": LENGTH_LIMIT,
    "I": INDEX_LIMIT,
    "E": 9,
    "m": METADATA_LIMIT,
}
SMALLEST_CHUNK = 7


class Chunk(NamedTuple):
    """One chunk whose checksum is right. `offset` counts from the start of the stream."""

    type: str
    track: int
    payload: memoryview  # a packet's is without its unit number
    offset: int
    unit: int | None = None  # of D: its place in the track; of P: the number it carries


def fits(type_: str, track: int) -> bool:
    """Whether a chunk of this type may be of this track; unknown ones may be of any."""
    if type_ in "HDP":
        return 0 <= track < WHOLE_STREAM
    return track == WHOLE_STREAM if type_ in "IE" else 0 <= track <= WHOLE_STREAM


@contextmanager
def within(what: str) -> Iterator[None]:
    """Say where a refusal comes from."""
    try:
        yield
    except CorruptStreamError as refusal:
        raise CorruptStreamError(f"{what}: {refusal}") from None


def read_frame(source: Source) -> Chunk | None:
    """The next chunk, its checksum verified; `None` at the end; of an unknown type, without its payload.

    Raises `CutStreamError` when the source ends inside the chunk, `CorruptStreamError` when the chunk is bad.
    """
    offset = source.position
    head = bytearray(source.up_to(1))
    if not head:
        return None
    name, place = chr(head[0]), f"at byte {offset}"
    known = name in PAYLOAD_LIMITS
    if not (name.isascii() and name.isalpha()):
        raise CorruptStreamError(f"no chunk {place}: its type should be a letter, found 0x{head[0]:02x}")
    try:
        head += source.take(2)
        while head[-1] > 0x7F and len(head) < 11:
            head += source.take(1)
        with within(f"length of chunk {name!r} {place}"):
            length, _ = unpack_varint(head, 2, PAYLOAD_LIMITS.get(name, LENGTH_LIMIT))
        payload = source.take(length if known else 0)
        computed = zlib.crc32(payload, zlib.crc32(head))
        for start in range(0, 0 if known else length, PIECE):  # what is skipped is not held
            computed = zlib.crc32(source.take(min(PIECE, length - start)), computed)
        stored = int.from_bytes(source.take(4), "little")
    except CutStreamError as cut:
        raise CutStreamError(f"chunk {name!r} {place} is cut: {cut}") from None
    track = head[1]
    if stored != computed:
        sums = f"its checksum is {computed:08x}, stored is {stored:08x}"
        raise DamagedChunkError(f"chunk {name!r} of track {track} {place} is damaged: {sums}")
    if name.isupper() and not known:
        raise CorruptStreamError(f"critical chunk {name!r} {place} is not known to this isthmus: upgrade to read it")
    if not fits(name, track):
        raise CorruptStreamError(f"chunk {name!r} {place} cannot be of track {track}")
    if name != "P":
        return Chunk(name, track, payload, offset)
    with within(f"unit number of packet {place}"):
        unit, start = unpack_varint(payload, 0, UNIT_LIMIT)
    return Chunk(name, track, payload[start:], offset, unit)


def unpack_chunk(data: BytesLike) -> Chunk:
    """One chunk that stands alone, such as a packet in a datagram: its bytes and nothing else."""
    source = Source(as_bytes(data))
    chunk = read_frame(source)
    if chunk is None or source.position != source.size():
        raise CorruptStreamError(f"expected one chunk, got {source.size()} bytes of which it takes {source.position}")
    return chunk


def frame_parts(type_: str, track: int, *parts: BytesLike) -> list[BytesLike]:
    """The bytes of one chunk in several pieces, the payload's among them uncopied. Raises `ValueError`."""
    views = [as_bytes(part) for part in parts]
    length, limit = sum(map(len, views)), PAYLOAD_LIMITS[type_]
    if length > limit:
        raise ValueError(f"payload of chunk {type_!r} has {length} bytes, the limit is {limit}")
    if not fits(type_, track):
        raise ValueError(f"chunk {type_!r} cannot be of track {track}")
    head = type_.encode("ascii") + bytes([track]) + pack_varint(length)
    checksum = zlib.crc32(head)
    for view in views:
        checksum = zlib.crc32(view, checksum)
    return [head, *views, checksum.to_bytes(4, "little")]


def pack_chunk(type_: str, track: int, *parts: BytesLike) -> bytes:
    """One chunk whose payload is `parts` joined. A packet's first part is `pack_varint(unit)`."""
    return b"".join(frame_parts(type_, track, *parts))


def write_chunk(file: BinaryIO, type_: str, track: int, *parts: BytesLike) -> int:
    """Write one chunk without joining its parts in memory; returns its size in bytes."""
    pieces = frame_parts(type_, track, *parts)
    for piece in pieces:
        write_all(file, piece)
    return sum(map(len, pieces))
