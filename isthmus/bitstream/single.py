# SPDX-License-Identifier: Apache-2.0
"""The smallest stream, of one image for instance: one track with one data unit."""

from collections.abc import Sequence
from zlib import crc32

from isthmus.bitstream.frame import LENGTH_LIMIT, frame_parts
from isthmus.bitstream.prologue import PROLOGUE
from isthmus.bitstream.reader import read_chunks
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint


def pack_single(header: TrackHeader, payload: BytesLike) -> bytes:
    """The smallest stream: prologue, the header of track 0, one data unit."""
    return b"".join([_beginning(header), *frame_parts("D", 0, payload)])


def pack_singles(headers: Sequence[TrackHeader], payloads: Sequence[bytes]) -> list[bytes]:
    """`pack_single` of many; a header that comes again as the same object is packed once."""
    begun = {key: _beginning(header) for key, header in {id(header): header for header in headers}.items()}
    streams = []
    for header, payload in zip(headers, payloads, strict=True):
        if len(payload) > LENGTH_LIMIT:
            frame_parts("D", 0, payload)  # which refuses it
        head = b"D\0" + pack_varint(len(payload))
        checksum = crc32(payload, crc32(head)).to_bytes(4, "little")
        streams.append(b"".join((begun[id(header)], head, payload, checksum)))
    return streams


def _beginning(header: TrackHeader) -> bytes:
    return b"".join([PROLOGUE, *frame_parts("H", 0, header.pack())])


def unpack_single(data: BytesLike) -> tuple[TrackHeader, memoryview]:
    """Header and payload of a stream of one track with one data unit; metadata, end and index may stand by.

    The payload is a view of `data`. Raises `CorruptStreamError` for a stream that holds more or less.
    """
    reader = read_chunks(data)
    units = [chunk for chunk in reader if chunk.type in "DP"]
    if len(reader.tracks) != 1 or len(units) != 1:
        of = ", ".join(f"{track.signal.describe()['kind']} of {track.codec_id}" for track in reader.tracks.values())
        raise CorruptStreamError(
            f"expected one track with one unit, found {len(reader.tracks)} with {len(units)} ({of}): "
            "isthmus.decode(data) finds the codec, isthmus.bitstream.read_chunks(data) reads the parts"
        )
    return reader.tracks[units[0].track], units[0].payload


Single = tuple[TrackHeader, memoryview]


def unpack_singles(data: Sequence[BytesLike]) -> list[Single | CorruptStreamError]:
    """`unpack_single` of many streams, the error in the place of one that is not whole.

    The streams of a data set begin alike: where the bytes up to the data unit are those of a stream before, as they
    were verified, and nothing follows the unit, only the unit is verified. Headers that are alike are one object.
    """
    known: dict[bytes, TrackHeader] = {}  # by what comes before the length of the unit
    lengths: list[int] = []
    head, header, begin = b"", None, 0  # of the last one
    found: list[Single | CorruptStreamError] = []
    for one in data:
        if type(one) is bytes:
            if header is None or not one.startswith(head):
                head = next((one[:n] for n in lengths if one[:n] in known), b"")
                header, begin = known.get(head), len(head)
            payload = _only_unit(one, begin) if header is not None else None
            if payload is not None:
                found.append((header, payload))  # type: ignore[arg-type]
                continue
        try:
            single = unpack_single(one)
        except CorruptStreamError as error:
            found.append(error)
            continue
        start = _beginning(single[0]) + b"D\0"
        if type(one) is bytes and one.startswith(start):
            single = known.setdefault(start, single[0]), single[1]
            if len(start) not in lengths:
                lengths.append(len(start))
        found.append(single)
    return found


def _only_unit(data: bytes, begin: int) -> memoryview | None:
    """The payload of the data unit whose length stands at `begin`, if it is whole and the last of the stream.

    None too for what the careful way must look at: a length of more than two bytes, or one that is not minimal.
    """
    if len(data) < begin + 6:
        return None
    length, at = data[begin], begin + 1
    if length > 0x7F:
        more = data[at]
        length, at = length & 0x7F | more << 7, at + 1
        if not 0 < more < 0x80:
            return None
    if at + length + 4 != len(data):
        return None
    view = memoryview(data)
    if crc32(view[begin - 2 : -4]) != int.from_bytes(data[-4:], "little"):
        return None
    return view[at:-4]
