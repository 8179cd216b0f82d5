# SPDX-License-Identifier: Apache-2.0
"""The container: a prologue and self-framed chunks, as docs/format.md defines them.

    payload --StreamWriter or pack_single--> bytes --read_chunks or unpack_single--> payload

A source is bytes-like or a binary file; a file's position at the call is the start of the stream. `read_chunks` and
`read_header` work on pipes too; `read_header`, `read_index` and `read_chunk` leave a seekable file where it was.
Wrong arguments raise `ValueError` or `TypeError`, bad bytes `CorruptStreamError`. With `isthmus.signals`,
`isthmus.varint` and `isthmus.errors` this is all that another program needs to read and write the format.
"""

from isthmus.bitstream.frame import (
    INDEX_LIMIT,
    LENGTH_LIMIT,
    METADATA_LIMIT,
    PAYLOAD_LIMITS,
    SMALLEST_CHUNK,
    UNIT_LIMIT,
    WHOLE_STREAM,
    Chunk,
    pack_chunk,
    unpack_chunk,
    write_chunk,
)
from isthmus.bitstream.index import IndexEntry, read_chunk, read_index
from isthmus.bitstream.metadata import unpack_metadata
from isthmus.bitstream.planes import pack_planes, unpack_planes
from isthmus.bitstream.prologue import MAGIC, PROLOGUE, VERSION
from isthmus.bitstream.reader import ChunkReader, read_chunks, read_header
from isthmus.bitstream.single import pack_single, pack_singles, unpack_single, unpack_singles
from isthmus.bitstream.source import PIECE
from isthmus.bitstream.track import HEADER_LIMIT, NO_HASH, TrackHeader
from isthmus.bitstream.writer import StreamWriter
from isthmus.signatures import FOREIGN

__all__ = [
    "FOREIGN",
    "HEADER_LIMIT",
    "INDEX_LIMIT",
    "LENGTH_LIMIT",
    "MAGIC",
    "METADATA_LIMIT",
    "NO_HASH",
    "PAYLOAD_LIMITS",
    "PIECE",
    "PROLOGUE",
    "SMALLEST_CHUNK",
    "UNIT_LIMIT",
    "VERSION",
    "WHOLE_STREAM",
    "Chunk",
    "ChunkReader",
    "IndexEntry",
    "StreamWriter",
    "TrackHeader",
    "pack_chunk",
    "pack_planes",
    "pack_single",
    "pack_singles",
    "read_chunk",
    "read_chunks",
    "read_header",
    "read_index",
    "unpack_chunk",
    "unpack_metadata",
    "unpack_planes",
    "unpack_single",
    "unpack_singles",
    "write_chunk",
]
