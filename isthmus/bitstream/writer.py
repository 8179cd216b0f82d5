# SPDX-License-Identifier: Apache-2.0
"""Writing a stream of several chunks, and appending to one, without going back."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from os import SEEK_END
from typing import Any, BinaryIO

from isthmus.bitstream.frame import UNIT_LIMIT, WHOLE_STREAM, write_chunk
from isthmus.bitstream.index import IndexEntry, pack_entry, pack_index, read_index
from isthmus.bitstream.metadata import pack_metadata
from isthmus.bitstream.prologue import PROLOGUE
from isthmus.bitstream.reader import read_chunks
from isthmus.bitstream.source import write_all
from isthmus.bitstream.track import TrackHeader
from isthmus.varint import BytesLike, pack_varint


class StreamWriter(AbstractContextManager["StreamWriter"]):
    """Writes a stream, chunk by chunk, to a binary file or pipe; leaving its `with` block writes the end and the index.

    `append` continues the stream that starts at the position of a file open for reading and writing, and leaves every
    byte of it in place. After an exception in the block nothing more is written: readers then see an unfinished
    stream. The file stays open. Raises `ValueError` for what the format forbids.
    """

    def __init__(self, file: BinaryIO, *, append: bool = False, index: bool = True) -> None:
        self._file = file
        self._index_at_exit = index
        self._offset = len(PROLOGUE)
        self._tracks: dict[int, tuple[str, int]] = {}  # D, P or nothing yet; how many
        self._counted = 0  # H and D chunks
        self._entries = bytearray()
        self._entry_count = self._last_entry = 0
        self._ended = False
        if append:
            self._resume()
        else:
            write_all(file, PROLOGUE)

    def _resume(self) -> None:
        entries = read_index(self._file)
        start = self._file.tell()
        if entries is None:
            chunks = read_chunks(self._file)
            entries = tuple(IndexEntry(c.type, c.track, c.offset, c.unit) for c in chunks if c.type != "I")
        for entry in entries:
            self._note(entry)
        self._offset = self._file.seek(0, SEEK_END) - start

    def header(self, track: int, header: TrackHeader) -> None:
        """Open a track, 0 to 254."""
        if track in self._tracks:
            raise ValueError(f"track {track} has a header already")
        self._put("H", track, header.pack())

    def data(self, track: int, *parts: BytesLike) -> int:
        """Write the next data unit of a track, its payload in one or more parts; returns its unit number."""
        unit = self._count(track, "D")
        self._put("D", track, *parts)
        return unit

    def packet(self, track: int, unit: int, *parts: BytesLike) -> None:
        """Write a packet that decodes alone; `unit` numbers are the codec's to give, 0 to 2**40."""
        if not 0 <= unit <= UNIT_LIMIT:
            raise ValueError(f"unit is {unit}, must be 0 to {UNIT_LIMIT}")
        self._count(track, "P")
        self._put("P", track, pack_varint(unit), *parts, unit=unit)

    def metadata(self, value: Mapping[str, Any], track: int = WHOLE_STREAM) -> None:
        """Write a JSON object about a track or the whole stream."""
        self._put("m", track, pack_metadata(value))

    def end(self) -> None:
        """Mark the stream as finished. Only an index may follow, until the stream is appended to."""
        self._put("E", WHOLE_STREAM, pack_varint(self._counted))
        self._ended = True

    def index(self) -> bool:
        """Write an index of all before it, unless it would be over the limit; returns whether it was written."""
        chunk = pack_index(self._entry_count, self._entries)
        write_all(self._file, chunk)
        self._offset += len(chunk)
        return bool(chunk)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if not self._ended:
                self.end()
            if self._index_at_exit:
                self.index()

    def _count(self, track: int, carried: str) -> int:
        """How many units an open track has. Raises `ValueError` when it may not carry another of this type."""
        if track not in self._tracks:
            raise ValueError(f"track {track} has no header yet")
        before, count = self._tracks[track]
        if before not in ("", carried):
            raise ValueError(f"track {track} carries {before!r} chunks, it cannot carry {carried!r} too")
        return count

    def _put(self, type_: str, track: int, *parts: BytesLike, unit: int | None = None) -> None:
        if self._ended:
            raise ValueError("the stream is ended; append to it with StreamWriter(file, append=True)")
        size = write_chunk(self._file, type_, track, *parts)
        self._note(IndexEntry(type_, track, self._offset, unit))
        self._offset += size

    def _note(self, entry: IndexEntry) -> None:
        if entry.type == "H":
            self._tracks[entry.track] = "", 0
        elif entry.type in "DP":
            self._tracks[entry.track] = entry.type, self._tracks[entry.track][1] + 1
        self._counted += entry.type in "HD"
        self._entries += pack_entry(entry, self._last_entry)
        self._entry_count += 1
        self._last_entry = entry.offset
