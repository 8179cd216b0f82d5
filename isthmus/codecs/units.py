# SPDX-License-Identifier: Apache-2.0
"""The units of one track: read one at a time by their numbers, or in order while they arrive.

A unit is a data unit or a packet. Packets carry their numbers, so that from a file they may come in any order, and one
that is lost is known to be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from isthmus.bitstream.frame import WHOLE_STREAM, Chunk
from isthmus.bitstream.index import IndexEntry, read_chunk, read_index
from isthmus.bitstream.metadata import unpack_metadata
from isthmus.bitstream.reader import ChunkReader, read_header
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError, UnreadableFileError

MOST_GAP = 4096  # units in a row that may be lost: a damaged number must not ask for years
ADVICE = "fetch the stream again, or decode what is there with allow_loss=True (--allow-loss)"


class UnitCodec(Protocol):
    """What units ask of a codec."""

    def unpack_unit(self, header: TrackHeader, unit: int, payload: bytes | memoryview) -> Any:
        """One unit to a latent."""


@dataclass(frozen=True)
class Lost:
    """A unit that could not be read, and why."""

    unit: int
    reason: str


class Units(Sequence[Any], AbstractContextManager["Units"]):
    """Latents of the units of a stream's first track, each read when it is asked for.

    source: bytes, a path, or a binary file; a pipe can only be iterated over. allow_loss: units that are missing or
    damaged are passed over and listed in `lost`, else they raise CorruptStreamError.

    header: of the track. metadata: of the stream, so far. cut: what is missing at the end of the stream, in words.
    total: units of a file up to the last one that is there, missing ones among them.
    """

    def __init__(self, codec: UnitCodec, source: Any, *, allow_loss: bool = False) -> None:
        self.codec, self.allow_loss = codec, allow_loss
        self.lost: list[Lost] = []
        self._known_lost: set[int] = set()
        self.metadata: dict[str, Any] = {}
        self.cut: str | None = None
        self._stack = ExitStack()
        if isinstance(source, str | os.PathLike):
            try:
                source = self._stack.enter_context(open(source, "rb"))  # noqa: SIM115
            except OSError as error:
                raise UnreadableFileError(f"{source}: cannot be read: {error.strerror or error}") from error
        self._source: Any = source
        self._arriving: ChunkReader | None = None
        self._places: dict[int, IndexEntry] = {}
        self.total, self._track = 0, WHOLE_STREAM
        with self._stack:  # closed if anything is raised
            self._arriving = self._begin()
            self._stack = self._stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> ChunkReader | None:
        """Reads the header, and where units lie; from a pipe the header alone, and what reads on."""
        pipe = hasattr(self._source, "read") and not self._source.seekable()
        if pipe:
            reader = ChunkReader(self._source, allow_truncated=True, allow_damage=self.allow_loss)
            self._read_header(reader)
            return reader
        self.header = read_header(self._source)
        entries, stale = self._told()
        if entries is None or stale:
            entries = (*self._scanned(stale), *(entries or ()))  # what was seen goes before what was told
        self._track = next((entry.track for entry in entries if entry.type == "H"), 0)
        for entry in entries:
            if entry.type in "DP" and entry.track == self._track:
                self._places.setdefault(entry.unit or 0, entry)  # a packet that comes again says the same
            elif entry.type == "m":
                self._take_metadata(entry)
        for unit in sorted(self._places):
            self.total = self._within_reach(unit, self.total) + 1
        return None

    def _told(self) -> tuple[tuple[IndexEntry, ...] | None, bool]:
        """What an index tells, and whether it is of another file, as where chunks are gone: with `allow_loss` alone."""
        entries = None
        try:
            entries = read_index(self._source)
            if entries and self.allow_loss:
                read_chunk(self._source, entries[-1])
        except CorruptStreamError as error:
            if not self.allow_loss:
                raise CorruptStreamError(f"{error}: {ADVICE}") from error
            return entries, True
        return entries, False

    def _scanned(self, stale: bool) -> list[IndexEntry]:
        """What is found from the beginning on; stale: as far as it can be read."""
        start = self._source.tell() if hasattr(self._source, "tell") else None
        found: list[IndexEntry] = []
        reader = ChunkReader(self._source, allow_truncated=True, allow_damage=self.allow_loss)
        try:
            found += (IndexEntry(c.type, c.track, c.offset, c.unit) for c in reader)
            self.cut = reader.cut
        except CorruptStreamError as error:
            if not stale:
                raise
            self.cut = str(error)
        finally:
            if start is not None:
                self._source.seek(start)
        return found

    def _read(self, entry: IndexEntry) -> memoryview:
        return read_chunk(self._source, entry).payload

    def _take_metadata(self, found: IndexEntry | Chunk) -> None:
        """Of this track and the whole stream; what is damaged is no reason to lose the units that are not."""
        if found.track not in (self._track, WHOLE_STREAM):
            return
        try:
            self.metadata |= unpack_metadata(found.payload if isinstance(found, Chunk) else self._read(found))
        except CorruptStreamError:
            if not self.allow_loss:
                raise

    def _read_header(self, reader: ChunkReader) -> None:
        for chunk in reader:
            if chunk.type == "H":
                self.header, self._track = reader.tracks[chunk.track], chunk.track
                return
            if chunk.type == "m":
                self._take_metadata(chunk)
        raise CorruptStreamError(f"the stream ends at byte {reader.offset} without a track header")

    @property
    def is_pipe(self) -> bool:
        return self._arriving is not None

    def __len__(self) -> int:
        if self.is_pipe:
            raise TypeError("units of a pipe cannot be counted before they have arrived; iterate over them")
        return self.total

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        unit = place + len(self) if place < 0 else place
        if not 0 <= unit < len(self):
            raise IndexError(f"unit {place} of {len(self)}")
        payload = self.payload(unit)
        if payload is None:
            raise CorruptStreamError(self.lost[-1].reason)
        return self.codec.unpack_unit(self.header, unit, payload)

    def __iter__(self) -> Iterator[Any]:
        """Latents in order; those that are lost are left out with `allow_loss`."""
        for unit, payload in self.payloads():
            if payload is not None:
                yield self.codec.unpack_unit(self.header, unit, payload)
        self.check_end()

    def check_end(self) -> None:
        """Raises CorruptStreamError where all was read and bytes are missing at the end, unless that is allowed."""
        if self.cut and not self.allow_loss:
            raise CorruptStreamError(f"{self.cut}: {ADVICE}")

    def payload(self, unit: int) -> memoryview | None:
        """What unit `unit` of a file holds; None where it is lost and that is allowed."""
        if unit not in self._places:
            self.lose(unit, f"unit {unit} of {self.total} is missing")
            return None
        try:
            return self._read(self._places[unit])
        except CorruptStreamError as error:
            self.lose(unit, f"unit {unit} of {self.total}: {error}")
            return None

    def payloads(self, first: int = 0) -> Iterator[tuple[int, memoryview | None]]:
        """Number and payload of each unit from `first` on, in order; None in place of one that is lost."""
        if self._arriving is None:
            yield from ((unit, self.payload(unit)) for unit in range(first, self.total))
            return
        following = 0
        for chunk in self._arriving:
            if chunk.type == "m":
                self._take_metadata(chunk)
            if chunk.type not in "DP" or chunk.track != self._track:
                continue
            unit = chunk.unit or 0
            if unit < following:
                self.lose(unit, f"unit {unit} comes after unit {following - 1}: units of a pipe must come in order")
                continue
            for missing in range(following, self._within_reach(unit, following)):
                self.lose(missing, f"unit {missing} is missing, {unit} comes in its place")
                yield missing, None
            following = unit + 1
            if unit >= first:
                yield unit, chunk.payload
        self.cut = self._arriving.cut

    def _within_reach(self, unit: int, following: int) -> int:
        if unit - following > MOST_GAP:
            raise CorruptStreamError(f"unit {unit} comes after unit {following - 1}: the stream is damaged; {ADVICE}")
        return unit

    def lose(self, unit: int, reason: str) -> None:
        """Lists a unit as lost. Raises CorruptStreamError unless that is allowed."""
        if not self.allow_loss:
            raise CorruptStreamError(f"{reason}: {ADVICE}")
        if unit not in self._known_lost:
            self._known_lost.add(unit)
            self.lost.append(Lost(unit, reason))
