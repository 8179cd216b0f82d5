# SPDX-License-Identifier: Apache-2.0
"""The smallest stream, of one image for instance: one track with one data unit."""

from collections.abc import Sequence
from zlib import crc32

from isthmus.bitstream.frame import frame_parts
from isthmus.bitstream.prologue import PROLOGUE
from isthmus.bitstream.reader import read_chunks
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike


def pack_single(header: TrackHeader, payload: BytesLike) -> bytes:
    """The smallest stream: prologue, the header of track 0, one data unit."""
    return b"".join([_beginning(header), *frame_parts("D", 0, payload)])


def pack_singles(headers: Sequence[TrackHeader], payloads: Sequence[BytesLike]) -> list[bytes]:
    """`pack_single` of many; a header that comes again as the same object is packed once."""
    begun: dict[int, bytes] = {}
    for header in headers:
        if id(header) not in begun:
            begun[id(header)] = _beginning(header)
    pairs = zip(headers, payloads, strict=True)
    return [b"".join([begun[id(header)], *frame_parts("D", 0, payload)]) for header, payload in pairs]


def _beginning(header: TrackHeader) -> bytes:
    return b"".join([PROLOGUE, *frame_parts("H", 0, header.pack())])


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


Single = tuple[TrackHeader, memoryview]


def unpack_singles(data: Sequence[BytesLike]) -> list[Single | CorruptStreamError]:
    """`unpack_single` of many streams, the error in the place of one that is not whole.

    The streams of a data set begin alike: where the bytes up to the data unit are those of a stream before, as they
    were verified, and nothing follows the unit, only the unit is verified. Headers that are alike are one object.
    """
    known: dict[bytes, TrackHeader] = {}
    lengths: list[int] = []  # of the beginnings in `known`
    found: list[Single | CorruptStreamError] = []
    for one in data:
        if type(one) is bytes:
            for begin in lengths:
                header = known.get(one[:begin])
                if header is not None:
                    payload = _only_unit(one, begin)
                    break
            else:
                payload = None
            if payload is not None:
                found.append((header, payload))  # type: ignore[arg-type]
                continue
        try:
            single = unpack_single(one)
        except CorruptStreamError as error:
            found.append(error)
            continue
        head = _beginning(single[0]) + b"D\0"
        if type(one) is bytes and one.startswith(head):
            single = known.setdefault(head, single[0]), single[1]
            if len(head) not in lengths:
                lengths.append(len(head))
        found.append(single)
    return found


def _only_unit(data: bytes, begin: int) -> memoryview | None:
    """The payload of the data unit whose length stands at `begin`, if it is whole and the last of the stream."""
    length, shift, at = 0, 0, begin
    for byte in data[begin : begin + 6]:
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if at + length + 4 != len(data) or (byte == 0 and shift):
                return None
            payload = memoryview(data)[at:-4]
            checksum = crc32(payload, crc32(data[begin - 2 : at]))
            return payload if int.from_bytes(data[-4:], "little") == checksum else None
        shift += 7
    return None
