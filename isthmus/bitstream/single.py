# SPDX-License-Identifier: Apache-2.0
"""The smallest stream, of one image for instance: one track with one data unit."""

from isthmus.bitstream.frame import frame_parts
from isthmus.bitstream.prologue import PROLOGUE
from isthmus.bitstream.reader import read_chunks
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike


def pack_single(header: TrackHeader, payload: BytesLike) -> bytes:
    """The smallest stream: prologue, the header of track 0, one data unit."""
    return b"".join([PROLOGUE, *frame_parts("H", 0, header.pack()), *frame_parts("D", 0, payload)])


def unpack_single(data: BytesLike) -> tuple[TrackHeader, memoryview]:
    """Header and payload of a stream of one track with one data unit; metadata, end and index may stand by.

    The payload is a view of `data`. Raises `CorruptStreamError` for a stream that holds more or less.
    """
    reader = read_chunks(data)
    units = [chunk for chunk in reader if chunk.type in "DP"]
    if len(reader.tracks) != 1 or len(units) != 1:
        raise CorruptStreamError(
            f"expected one track with one unit, found {len(reader.tracks)} with {len(units)}: use read_chunks"
        )
    return reader.tracks[units[0].track], units[0].payload
