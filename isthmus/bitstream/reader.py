# SPDX-License-Identifier: Apache-2.0
"""Reading a stream from its start: each chunk verified and held against those before it."""

from collections.abc import Iterator
from typing import BinaryIO

from isthmus.bitstream.frame import PAYLOAD_LIMITS, Chunk, read_frame, within
from isthmus.bitstream.prologue import PROLOGUE, read_prologue
from isthmus.bitstream.source import CutStreamError, DamagedChunkError, Source
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, unpack_varint


class ChunkReader(Iterator[Chunk]):
    """Iterates over the chunks of a stream in order; unknown ancillary chunks are verified and skipped.

    tracks    headers met so far, by track
    offset    where the last whole chunk ends; a cut stream truncated to it can be appended to
    finished  whether an end chunk is the last but for an index
    cut       what is missing at the end, in words, or None; only with `allow_truncated`, once iteration is over
    damaged   what is wrong with each chunk that was passed over; only with `allow_damage`
    """

    def __init__(
        self, source: BytesLike | BinaryIO, *, allow_truncated: bool = False, allow_damage: bool = False
    ) -> None:
        self.tracks: dict[int, TrackHeader] = {}
        self.offset = len(PROLOGUE)
        self.finished = False
        self.cut: str | None = None
        self.damaged: list[str] = []
        self._allow_truncated, self._allow_damage = allow_truncated, allow_damage
        self._source = Source(source)
        self._units: dict[int, tuple[str, int]] = {}  # D or P, how many
        self._counted = 0  # H and D chunks
        self._over = False
        read_prologue(self._source)

    def __next__(self) -> Chunk:
        while not self._over:
            self._over = True  # stays so if anything is raised
            try:
                chunk = read_frame(self._source)
            except DamagedChunkError as damage:
                if not self._allow_damage:
                    raise
                self.damaged.append(str(damage))
                self._over = False
                continue
            except CutStreamError as cut:
                if not self._allow_truncated:
                    advice = "fetch it again (read_chunks(..., allow_truncated=True) reads what comes before)"
                    raise CorruptStreamError(f"{cut}: {advice}") from None
                self.cut = str(cut)
                self.finished = False
                break
            if chunk is None:
                break
            known = chunk.type in PAYLOAD_LIMITS
            if known:
                chunk = self._follow(chunk)
            self._over = False
            self.offset = self._source.position
            self.finished = chunk.type == "E" or (self.finished and chunk.type == "I")
            if known:
                return chunk
        raise StopIteration

    def _follow(self, chunk: Chunk) -> Chunk:
        """Hold the chunk against those before it and number it."""
        type_, track, place = chunk.type, chunk.track, f"at byte {chunk.offset}"
        if type_ == "H":
            if track in self.tracks:
                raise CorruptStreamError(f"second header of track {track} {place}: a track has one")
            with within(f"chunk 'H' {place}"):
                self.tracks[track] = TrackHeader.unpack(chunk.payload)
        elif type_ in "DP":
            if track not in self.tracks:
                raise CorruptStreamError(f"chunk {type_!r} {place}: its track {track} has no header yet")
            carried, count = self._units.get(track, (type_, 0))
            if carried != type_:
                raise CorruptStreamError(f"track {track} mixes data units and packets, {type_!r} {place}")
            self._units[track] = carried, count + 1
            if type_ == "D":
                chunk = chunk._replace(unit=count)
        elif type_ == "E":
            with within(f"count of end {place}"):
                told, end = unpack_varint(chunk.payload)
            if end != len(chunk.payload) or told != self._counted:
                raise CorruptStreamError(
                    f"end {place} counts {told} headers and data units, {self._counted} came: chunks are missing"
                )
        self._counted += type_ in "HD"
        return chunk


def read_chunks(
    source: BytesLike | BinaryIO, *, allow_truncated: bool = False, allow_damage: bool = False
) -> ChunkReader:
    """Iterate over the chunks of a stream, each verified before it is given.

    `allow_truncated`: a stream that ends inside a chunk gives the whole chunks before and then says so in `.cut`,
    instead of raising. `allow_damage`: a chunk whose checksum is wrong is passed over and told in `.damaged`, as long
    as a chunk follows where its length says. Raises `CorruptStreamError` at once for a bad prologue, later at the first
    bad chunk.
    """
    return ChunkReader(source, allow_truncated=allow_truncated, allow_damage=allow_damage)


def read_header(source: BytesLike | BinaryIO) -> TrackHeader:
    """The first track's header, reading no further than it."""
    with Source(source).restored():
        reader = ChunkReader(source)
        for chunk in reader:
            if chunk.type == "H":
                return reader.tracks[chunk.track]
    raise CorruptStreamError(f"the stream ends at byte {reader.offset} without a track header")
