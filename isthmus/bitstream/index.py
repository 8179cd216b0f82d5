# SPDX-License-Identifier: Apache-2.0
"""The index at the end of a stream: where each chunk begins, for reading one without those before it."""

from typing import BinaryIO, NamedTuple

from isthmus.bitstream.frame import (
    INDEX_LIMIT,
    SMALLEST_CHUNK,
    UNIT_LIMIT,
    WHOLE_STREAM,
    Chunk,
    fits,
    pack_chunk,
    read_frame,
)
from isthmus.bitstream.prologue import PROLOGUE, read_prologue
from isthmus.bitstream.source import Source
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint


class IndexEntry(NamedTuple):
    """Where a chunk begins; fields as in `Chunk`."""

    type: str
    track: int
    offset: int
    unit: int | None = None


def pack_entry(entry: IndexEntry, previous: int) -> bytes:
    """The bytes of one entry; `previous`: the offset of the entry before it, 0 for the first."""
    unit = pack_varint(entry.unit or 0) if entry.type == "P" else b""
    return entry.type.encode("ascii") + bytes([entry.track]) + pack_varint(entry.offset - previous) + unit


def pack_index(count: int, entries: BytesLike) -> bytes:
    """The chunk of an index of `count` packed entries; nothing when it would be over the limit."""
    body = pack_varint(count) + entries
    length = len(body) + 4
    if length > INDEX_LIMIT:
        return b""
    total = 2 + len(pack_varint(length)) + length + 4
    return pack_chunk("I", WHOLE_STREAM, body, total.to_bytes(4, "little"))


def read_index(source: BytesLike | BinaryIO) -> tuple[IndexEntry, ...] | None:
    """The index at the end of bytes or of a seekable file, or `None`: then `read_chunks` finds everything in order."""
    smallest = SMALLEST_CHUNK + 5  # the count and the total length
    with Source(source).restored() as stream:
        size = stream.size()
        read_prologue(stream)
        if size < len(PROLOGUE) + smallest:
            return None
        stream.seek(size - 8)
        start = size - int.from_bytes(stream.take(4), "little")
        if not len(PROLOGUE) <= start <= size - smallest:
            return None
        stream.seek(start)
        if bytes(stream.take(1)) != b"I":
            return None
        stream.seek(start)
        try:
            chunk = read_frame(stream)
        except CorruptStreamError:
            return None  # the last bytes of a data unit may look like the length of an index
        return _unpack_index(chunk) if chunk and stream.position == size else None


def _unpack_index(chunk: Chunk) -> tuple[IndexEntry, ...]:
    body, where = chunk.payload[:-4], f"index at byte {chunk.offset}"
    # every entry's chunk fills bytes before the index, so that a count takes no memory that is not paid for
    count, at = unpack_varint(body, 0, (chunk.offset - len(PROLOGUE)) // SMALLEST_CHUNK)
    entries: list[IndexEntry] = []
    units: dict[int, int] = {}  # how many data units each opened track has
    offset = 0
    for number in range(count):
        if len(body) - at < 3:
            raise CorruptStreamError(f"{where} ends inside entry {number} of {count}")
        name, track, unit = chr(body[at]), body[at + 1], None
        distance, at = unpack_varint(body, at + 2, chunk.offset - SMALLEST_CHUNK - offset)
        near = distance < (SMALLEST_CHUNK if entries else len(PROLOGUE))
        misplaced = name in "HDP" and (track in units) == (name == "H")
        if near or misplaced or name not in "HDPEm" or not fits(name, track):
            raise CorruptStreamError(f"{where}: entry {number} cannot be a chunk")
        offset += distance
        if name == "H":
            units[track] = 0
        elif name == "D":
            unit = units[track]
            units[track] += 1
        elif name == "P":
            unit, at = unpack_varint(body, at, UNIT_LIMIT)
        entries.append(IndexEntry(name, track, offset, unit))
    if at != len(body):
        raise CorruptStreamError(f"{where}: {len(body) - at} bytes are left after {count} entries")
    return tuple(entries)


def read_chunk(source: BytesLike | BinaryIO, entry: IndexEntry) -> Chunk:
    """The chunk that an index entry points to, in bytes or a seekable file, verified and held against the entry."""
    with Source(source).restored() as stream:
        stream.seek(entry.offset)
        chunk = read_frame(stream)
    if chunk is not None and chunk.type == "D":
        chunk = chunk._replace(unit=entry.unit)
    if chunk is None or (chunk.type, chunk.track, chunk.unit) != (entry.type, entry.track, entry.unit):
        raise CorruptStreamError(f"index: no chunk {entry.type!r} at byte {entry.offset}; read the stream in order")
    return chunk
