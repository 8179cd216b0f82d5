# SPDX-License-Identifier: Apache-2.0
"""The container: a prologue and self-framed chunks, as docs/format.md defines them.

    payload --StreamWriter or pack_single--> bytes --read_chunks or unpack_single--> payload

A source is bytes-like or a binary file; a file's position at the call is the start of the stream. `read_chunks` and
`read_header` work on pipes too; `read_header`, `read_index` and `read_chunk` leave a seekable file where it was.
Wrong arguments raise `ValueError` or `TypeError`, bad bytes `CorruptStreamError`. One long file, because this is all
that another program needs, with signals.py, to read and write the format.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from os import SEEK_END
from typing import Any, BinaryIO, NamedTuple

from isthmus.errors import CorruptStreamError
from isthmus.signals import HEADER_LIMIT, BytesLike, TrackHeader
from isthmus.varint import pack_varint, unpack_varint

MAGIC = b"\x89IST"
VERSION = 1
PROLOGUE = MAGIC + bytes([VERSION])
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
PIECE = 2**20  # a file is asked for no more than this at once, so that a lying length takes no memory
FOREIGN = (  # offset, first bytes, name: for the message only
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WAVE", "a WAV recording"),
    (0, b"fLaC", "a FLAC recording"),
    (0, b"OggS", "an Ogg recording"),
    (0, b"ID3", "an MP3 recording"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "an MP4, MOV or HEIF file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (8, b'{"', "a safetensors file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"%PDF", "a PDF document"),
)


class Chunk(NamedTuple):
    """One chunk whose checksum is right. `offset` counts from the start of the stream."""

    type: str
    track: int
    payload: memoryview  # a packet's is without its unit number
    offset: int
    unit: int | None = None  # of D: its place in the track; of P: the number it carries


class IndexEntry(NamedTuple):
    """Where a chunk begins; fields as in `Chunk`."""

    type: str
    track: int
    offset: int
    unit: int | None = None


class _Source:
    """Bytes or a binary file, read forwards; `position` counts from the start of the stream."""

    def __init__(self, source: BytesLike | BinaryIO) -> None:
        self.position = 0
        self._file: BinaryIO | None = None
        self._start: int | None = None
        if isinstance(source, (bytes, bytearray, memoryview)) or not hasattr(source, "read"):
            self._view = _view(source)
        else:
            self._file = source
            if getattr(source, "seekable", bool)():
                self._start = source.tell()

    def up_to(self, count: int) -> memoryview:
        """The next `count` bytes, or what is there of them."""
        if self._file is None:
            piece = self._view[self.position : self.position + count]
        else:
            buffer = bytearray()
            while len(buffer) < count:
                got = self._file.read(min(count - len(buffer), PIECE))
                if not isinstance(got, bytes):
                    raise TypeError(f"expected a blocking binary file, its read() gave {type(got).__name__}")
                if not got:
                    break
                buffer += got
            piece = memoryview(buffer)
        self.position += len(piece)
        return piece

    def take(self, count: int) -> memoryview:
        """The next `count` bytes. Raises `EOFError` when fewer are there, before reading any where that is known."""
        there = self.size() - self.position if count > PIECE and self.seekable else count
        if there >= count:
            piece = self.up_to(count)
            there = len(piece)
        if there < count:
            raise EOFError(f"{count} bytes should follow, {there} are there")
        return piece

    @property
    def seekable(self) -> bool:
        return self._file is None or self._start is not None

    def size(self) -> int:
        """Bytes from the start of the stream to the end of a seekable source."""
        if self._file is None:
            return len(self._view)
        start = self._origin
        size = self._file.seek(0, SEEK_END) - start
        self.seek(self.position)
        return size

    def seek(self, position: int) -> None:
        if self._file is not None:
            start = self._origin
            self._file.seek(start + position)
        self.position = position

    @contextmanager
    def restored(self) -> Iterator["_Source"]:
        """Leave a seekable file where the stream starts."""
        try:
            yield self
        finally:
            if self.seekable:
                self.seek(0)

    @property
    def _origin(self) -> int:
        if self._start is None:
            raise ValueError("this call needs bytes or a seekable file")
        return self._start


def _view(data: BytesLike | Any) -> memoryview:
    """The bytes of any buffer; a copy where they are not contiguous."""
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        raise TypeError(f"expected the bytes of a stream or a binary file, got the path {data!s}: open it with 'rb'")
    view = memoryview(data)
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(bytes(view))


def _resembles(head: bytes) -> str:
    for offset, magic, name in FOREIGN:
        if head[offset:].startswith(magic):
            return f"it looks like {name}"
    if b"IST" in head[1:8]:
        return "it looks like a stream that was transferred as text; transfer it as binary"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "it looks like text"
    return f"it begins with {head[:8].hex(' ')}"


def _read_prologue(source: _Source) -> None:
    head = bytes(source.up_to(len(PROLOGUE)))
    if not head:
        raise CorruptStreamError("the stream is empty: 0 bytes")
    if not head.startswith(MAGIC[: len(head)]):
        head += bytes(source.up_to(59))
        raise CorruptStreamError(f"not an isthmus stream: {_resembles(head)}. To compress a file, encode it first")
    if len(head) < len(PROLOGUE):
        raise CorruptStreamError(f"the stream is too short: {len(head)} bytes, the prologue alone has {len(PROLOGUE)}")
    if head[4] != VERSION:
        advice = "upgrade isthmus to read it" if head[4] > VERSION else "no such version exists, it is damaged"
        raise CorruptStreamError(f"the stream is of format version {head[4]}, this isthmus reads {VERSION}: {advice}")


def _fits(type_: str, track: int) -> bool:
    """Whether a chunk of this type may be of this track; unknown ones may be of any."""
    if type_ in "HDP":
        return 0 <= track < WHOLE_STREAM
    return track == WHOLE_STREAM if type_ in "IE" else 0 <= track <= WHOLE_STREAM


@contextmanager
def _within(what: str) -> Iterator[None]:
    """Say where a refusal comes from."""
    try:
        yield
    except CorruptStreamError as refusal:
        raise CorruptStreamError(f"{what}: {refusal}") from None


def _read_frame(source: _Source) -> Chunk | None:
    """The next chunk, its checksum verified; `None` at the end; of an unknown type, without its payload.

    Raises `EOFError` when the source ends inside the chunk, `CorruptStreamError` when the chunk is bad.
    """
    offset = source.position
    head = bytearray(source.up_to(1))
    if not head:
        return None
    name, place = chr(head[0]), f"at byte {offset}"
    if not (name.isascii() and name.isalpha()):
        raise CorruptStreamError(f"no chunk {place}: its type should be a letter, found 0x{head[0]:02x}")
    try:
        head += source.take(2)
        while head[-1] > 0x7F and len(head) < 11:
            head += source.take(1)
        with _within(f"length of chunk {name!r} {place}"):
            length, _ = unpack_varint(head, 2, PAYLOAD_LIMITS.get(name, LENGTH_LIMIT))
        computed = zlib.crc32(head)
        if name in PAYLOAD_LIMITS:
            payload = source.take(length)
            computed = zlib.crc32(payload, computed)
        else:
            payload = memoryview(b"")
            for start in range(0, length, PIECE):
                computed = zlib.crc32(source.take(min(PIECE, length - start)), computed)
        stored = int.from_bytes(source.take(4), "little")
    except EOFError as cut:
        raise EOFError(f"chunk {name!r} {place} is cut: {cut}") from None
    if stored != computed:
        sums = f"its checksum is {computed:08x}, stored is {stored:08x}"
        raise CorruptStreamError(f"chunk {name!r} of track {head[1]} {place} is damaged: {sums}")
    if name.isupper() and name not in PAYLOAD_LIMITS:
        raise CorruptStreamError(f"critical chunk {name!r} {place} is not known to this isthmus: upgrade to read it")
    if not _fits(name, head[1]):
        raise CorruptStreamError(f"chunk {name!r} {place} cannot be of track {head[1]}")
    chunk = Chunk(name, head[1], payload, offset)
    if name == "P":
        with _within(f"unit number of packet {place}"):
            unit, start = unpack_varint(payload, 0, UNIT_LIMIT)
        chunk = chunk._replace(payload=payload[start:], unit=unit)
    return chunk


class ChunkReader(Iterator[Chunk]):
    """Iterates over the chunks of a stream in order; unknown ancillary chunks are verified and skipped.

    tracks    headers met so far, by track
    offset    where the last whole chunk ends; a cut stream truncated to it can be appended to
    finished  whether an end chunk is the last but for an index
    cut       what is missing at the end, in words, or None; only with `allow_truncated`, once iteration is over
    """

    def __init__(self, source: BytesLike | BinaryIO, *, allow_truncated: bool = False) -> None:
        self.tracks: dict[int, TrackHeader] = {}
        self.offset = len(PROLOGUE)
        self.finished = False
        self.cut: str | None = None
        self._allow_truncated = allow_truncated
        self._source = _Source(source)
        self._units: dict[int, tuple[str, int]] = {}  # D or P, how many
        self._counted = 0  # H and D chunks
        self._over = False
        _read_prologue(self._source)

    def __next__(self) -> Chunk:
        while not self._over:
            self._over = True  # stays so if anything is raised
            try:
                chunk = _read_frame(self._source)
            except EOFError as cut:
                if not self._allow_truncated:
                    raise CorruptStreamError(f"{cut}; allow_truncated=True reads what comes before") from None
                self.cut = str(cut)
                self.finished = False
                break
            if chunk is None:
                break
            if chunk.type in PAYLOAD_LIMITS:
                chunk = self._follow(chunk)
            self._over = False
            self.offset = self._source.position
            self.finished = chunk.type == "E" or (self.finished and chunk.type == "I")
            if chunk.type in PAYLOAD_LIMITS:
                return chunk
        raise StopIteration

    def _follow(self, chunk: Chunk) -> Chunk:
        """Hold the chunk against those before it and number it."""
        place = f"at byte {chunk.offset}"
        if chunk.type == "H":
            if chunk.track in self.tracks:
                raise CorruptStreamError(f"second header of track {chunk.track} {place}: a track has one")
            with _within(f"chunk 'H' {place}"):
                self.tracks[chunk.track] = TrackHeader.unpack(chunk.payload)
        elif chunk.type in "DP":
            if chunk.track not in self.tracks:
                raise CorruptStreamError(f"chunk {chunk.type!r} {place}: its track {chunk.track} has no header yet")
            carried, count = self._units.get(chunk.track, (chunk.type, 0))
            if carried != chunk.type:
                raise CorruptStreamError(f"track {chunk.track} mixes data units and packets, {chunk.type!r} {place}")
            self._units[chunk.track] = carried, count + 1
            chunk = chunk._replace(unit=count) if chunk.type == "D" else chunk
        elif chunk.type == "E":
            with _within(f"count of end {place}"):
                told, end = unpack_varint(chunk.payload)
            if end != len(chunk.payload) or told != self._counted:
                raise CorruptStreamError(
                    f"end {place} counts {told} headers and data units, {self._counted} came: chunks are missing"
                )
        self._counted += chunk.type in "HD"
        return chunk


def read_chunks(source: BytesLike | BinaryIO, *, allow_truncated: bool = False) -> ChunkReader:
    """Iterate over the chunks of a stream, each verified before it is given.

    `allow_truncated`: a stream that ends inside a chunk gives the whole chunks before and then says so in `.cut`,
    instead of raising. Raises `CorruptStreamError` at once for a bad prologue, later at the first bad chunk.
    """
    return ChunkReader(source, allow_truncated=allow_truncated)


def read_header(source: BytesLike | BinaryIO) -> TrackHeader:
    """The first track's header, reading no further than it."""
    with _Source(source).restored():
        reader = ChunkReader(source)
        for chunk in reader:
            if chunk.type == "H":
                return reader.tracks[chunk.track]
    raise CorruptStreamError(f"the stream ends at byte {reader.offset} without a track header")


def read_index(source: BytesLike | BinaryIO) -> tuple[IndexEntry, ...] | None:
    """The index at the end of bytes or of a seekable file, or `None`: then `read_chunks` finds everything in order."""
    with _Source(source).restored() as stream:
        size = stream.size()
        _read_prologue(stream)
        if size < len(PROLOGUE) + SMALLEST_CHUNK + 5:
            return None
        stream.seek(size - 8)
        start = size - int.from_bytes(stream.take(4), "little")
        if not len(PROLOGUE) <= start <= size - SMALLEST_CHUNK - 5:
            return None
        stream.seek(start)
        if stream.take(1)[0] != ord("I"):
            return None
        stream.seek(start)
        try:
            chunk = _read_frame(stream)
        except (EOFError, CorruptStreamError):
            return None  # the last bytes of a data unit may look like the length of an index
        if chunk is None or stream.position != size:
            return None
        return _unpack_index(chunk)


def _unpack_index(chunk: Chunk) -> tuple[IndexEntry, ...]:
    body = chunk.payload[:-4]
    # every entry's chunk fills bytes before the index, so that a count takes no memory that is not paid for
    count, at = unpack_varint(body, 0, (chunk.offset - len(PROLOGUE)) // SMALLEST_CHUNK)
    entries: list[IndexEntry] = []
    units: dict[int, int] = {}
    offset = 0
    for _ in range(count):
        if len(body) - at < 3:
            raise CorruptStreamError(f"index at byte {chunk.offset} ends inside entry {len(entries)} of {count}")
        name, track, unit = chr(body[at]), body[at + 1], None
        known = track in units  # the tracks opened, with the number of their last data unit
        distance, at = unpack_varint(body, at + 2, chunk.offset - SMALLEST_CHUNK - offset)
        if (
            distance < (SMALLEST_CHUNK if entries else len(PROLOGUE))
            or name not in "HDPEm"
            or (name in "HDP" and known == (name == "H"))
            or not _fits(name, track)
        ):
            raise CorruptStreamError(f"index at byte {chunk.offset}: entry {len(entries)} cannot be a chunk")
        offset += distance
        if name == "P":
            unit, at = unpack_varint(body, at, UNIT_LIMIT)
        elif name == "D":
            unit = units[track] = units[track] + 1
        elif name == "H":
            units[track] = -1
        entries.append(IndexEntry(name, track, offset, unit))
    if at != len(body):
        raise CorruptStreamError(f"index at byte {chunk.offset}: {len(body) - at} bytes are left after {count} entries")
    return tuple(entries)


def read_chunk(source: BytesLike | BinaryIO, entry: IndexEntry) -> Chunk:
    """The chunk that an index entry points to, in bytes or a seekable file, verified and held against the entry."""
    with _Source(source).restored() as stream:
        stream.seek(entry.offset)
        try:
            chunk = _read_frame(stream)
        except EOFError as cut:
            raise CorruptStreamError(str(cut)) from None
    if chunk is not None and chunk.type == "D":
        chunk = chunk._replace(unit=entry.unit)
    if chunk is None or (chunk.type, chunk.track, chunk.unit) != (entry.type, entry.track, entry.unit):
        raise CorruptStreamError(f"index: no chunk {entry.type!r} at byte {entry.offset}; read the stream in order")
    return chunk


def unpack_chunk(data: BytesLike) -> Chunk:
    """One chunk that stands alone, such as a packet in a datagram: its bytes and nothing else."""
    stream = _Source(_view(data))
    try:
        chunk = _read_frame(stream)
    except EOFError as cut:
        raise CorruptStreamError(str(cut)) from None
    if chunk is None or stream.position != stream.size():
        raise CorruptStreamError(f"expected one chunk, got {stream.size()} bytes of which it takes {stream.position}")
    return chunk


def unpack_metadata(payload: BytesLike) -> dict[str, Any]:
    """The JSON object in the payload of an `m` chunk. Raises `CorruptStreamError` for anything else."""
    try:
        value = json.loads(bytes(payload).decode("utf-8"), parse_constant=int)  # int refuses NaN
    except (ValueError, RecursionError) as refusal:
        raise CorruptStreamError(f"metadata is not JSON in UTF-8: {refusal}") from None
    if not isinstance(value, dict):
        raise CorruptStreamError(f"metadata is a JSON {type(value).__name__}, expected an object")
    return value


def _frame(type_: str, track: int, parts: Sequence[BytesLike]) -> list[BytesLike]:
    views = [_view(part) for part in parts]
    length, limit = sum(map(len, views)), PAYLOAD_LIMITS[type_]
    if length > limit:
        raise ValueError(f"payload of chunk {type_!r} has {length} bytes, the limit is {limit}")
    if not _fits(type_, track):
        raise ValueError(f"chunk {type_!r} cannot be of track {track}")
    head = type_.encode("ascii") + bytes([track]) + pack_varint(length)
    checksum = zlib.crc32(head)
    for view in views:
        checksum = zlib.crc32(view, checksum)
    return [head, *views, checksum.to_bytes(4, "little")]


def pack_chunk(type_: str, track: int, *parts: BytesLike) -> bytes:
    """One chunk whose payload is `parts` joined. A packet's first part is `pack_varint(unit)`."""
    return b"".join(_frame(type_, track, parts))


def write_chunk(file: BinaryIO, type_: str, track: int, *parts: BytesLike) -> int:
    """Write one chunk without joining its parts in memory; returns its size in bytes."""
    pieces = _frame(type_, track, parts)
    for piece in pieces:
        _write_all(file, piece)
    return sum(map(len, pieces))


def _write_all(file: BinaryIO, data: BytesLike) -> None:
    """All of `data`, also to an unbuffered file, which may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


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
            _write_all(file, PROLOGUE)

    def _resume(self) -> None:
        entries = read_index(self._file)
        if entries is None:
            reader = read_chunks(self._file)
            for chunk in reader:
                if chunk.type != "I":
                    self._note(IndexEntry(chunk.type, chunk.track, chunk.offset, chunk.unit))
            self._offset = reader.offset
        else:
            for entry in entries:
                self._note(entry)
            self._offset = -self._file.tell()
            self._offset += self._file.seek(0, SEEK_END)

    def header(self, track: int, header: TrackHeader) -> None:
        """Open a track, 0 to 254."""
        if track in self._tracks:
            raise ValueError(f"track {track} has a header already")
        self._put("H", track, None, header.pack())

    def data(self, track: int, *parts: BytesLike) -> int:
        """Write the next data unit of a track, its payload in one or more parts; returns its unit number."""
        unit = self._opened(track, "D")
        self._put("D", track, unit, *parts)
        return unit

    def packet(self, track: int, unit: int, *parts: BytesLike) -> None:
        """Write a packet that decodes alone; `unit` numbers are the codec's to give, 0 to 2**40."""
        if not 0 <= unit <= UNIT_LIMIT:
            raise ValueError(f"unit is {unit}, must be 0 to {UNIT_LIMIT}")
        self._opened(track, "P")
        self._put("P", track, unit, pack_varint(unit), *parts)

    def metadata(self, value: Mapping[str, Any], track: int = WHOLE_STREAM) -> None:
        """Write a JSON object about a track or the whole stream."""
        text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._put("m", track, None, text.encode("utf-8"))

    def end(self) -> None:
        """Mark the stream as finished. Only an index may follow, until the stream is appended to."""
        self._put("E", WHOLE_STREAM, None, pack_varint(self._counted))
        self._ended = True

    def index(self) -> bool:
        """Write an index of all before it, unless it would be over the limit; returns whether it was written."""
        body = pack_varint(self._entry_count) + self._entries
        length = len(body) + 4
        if length > INDEX_LIMIT:
            return False
        total = 2 + len(pack_varint(length)) + length + 4
        self._offset += write_chunk(self._file, "I", WHOLE_STREAM, body, total.to_bytes(4, "little"))
        return True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if not self._ended:
                self.end()
            if self._index_at_exit:
                self.index()

    def _opened(self, track: int, carried: str) -> int:
        if track not in self._tracks:
            raise ValueError(f"track {track} has no header yet")
        before, count = self._tracks[track]
        if before not in ("", carried):
            raise ValueError(f"track {track} carries {before!r} chunks, it cannot carry {carried!r} too")
        return count

    def _put(self, type_: str, track: int, unit: int | None, *parts: BytesLike) -> None:
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
        distance = pack_varint(entry.offset - self._last_entry)
        unit = pack_varint(entry.unit) if entry.type == "P" and entry.unit is not None else b""
        self._entries += entry.type.encode("ascii") + bytes([entry.track]) + distance + unit
        self._entry_count += 1
        self._last_entry = entry.offset


def pack_single(header: TrackHeader, payload: BytesLike) -> bytes:
    """The smallest stream: prologue, the header of track 0, one data unit."""
    return b"".join([PROLOGUE, *_frame("H", 0, [header.pack()]), *_frame("D", 0, [payload])])


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


def pack_planes(payloads: Sequence[BytesLike]) -> bytes:
    """Several planes' entropy payloads as one: each but the last preceded by its varint length."""
    views = [_view(payload) for payload in payloads]
    parts: list[BytesLike] = [part for view in views[:-1] for part in (pack_varint(len(view)), view)]
    return b"".join([*parts, *views[-1:]])


def unpack_planes(payload: BytesLike, count: int) -> list[memoryview]:
    """The `count` planes' payloads, as views. Raises `CorruptStreamError` when a length is more than what is there."""
    view, at = _view(payload), 0
    planes: list[memoryview] = []
    for _ in range(count - 1):
        length, at = unpack_varint(view, at, LENGTH_LIMIT)
        if length > len(view) - at:
            raise CorruptStreamError(f"plane {len(planes)} should have {length} bytes, {len(view) - at} are there")
        planes.append(view[at : at + length])
        at += length
    return [*planes, view[at:]]
