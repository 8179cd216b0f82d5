# SPDX-License-Identifier: Apache-2.0
"""The container against its page: a stream typed by hand, round trips, appending, cuts, packets, the byte budget."""

import io
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.bitstream import (
    INDEX_LIMIT,
    METADATA_LIMIT,
    PROLOGUE,
    UNIT_LIMIT,
    WHOLE_STREAM,
    IndexEntry,
    StreamWriter,
    pack_chunk,
    pack_planes,
    pack_single,
    read_chunk,
    read_chunks,
    read_header,
    read_index,
    unpack_chunk,
    unpack_metadata,
    unpack_planes,
    unpack_single,
    write_chunk,
)
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.signals import AudioSignal, ImageSignal, VideoSignal
from isthmus.varint import pack_varint

PAGE = Path(__file__).parents[1] / "docs" / "format.md"
IMAGE = TrackHeader("walloc.1", "01234567", "00000000", ImageSignal(2, 300, "grey"), b"\x32")
SOUND = TrackHeader("walloc.1", "01234567", "89abcdef", AudioSignal(48_000, 2))
FILM = TrackHeader("stem.1", "01234567", "89abcdef", VideoSignal(8, 8))

writes = st.lists(
    st.one_of(
        st.tuples(st.just("D"), st.integers(0, 2), st.binary(max_size=200)),
        st.tuples(st.just("P"), st.integers(3, 4), st.integers(0, UNIT_LIMIT), st.binary(max_size=30)),
        st.tuples(st.just("m"), st.sampled_from([0, 7, WHOLE_STREAM]), st.dictionaries(st.text(), st.integers(0, 9))),
    ),
    max_size=12,
)


class Pipe(io.RawIOBase):
    """A stream that cannot seek and reads and writes a few bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = bytearray(data)

    def read(self, count: int = -1) -> bytes:
        count = min(count, 5)
        piece, self.buffer = bytes(self.buffer[:count]), self.buffer[count:]
        return piece

    def write(self, data) -> int:
        self.buffer += data[:3]
        return min(len(data), 3)

    def seekable(self) -> bool:
        return False


def perform(writer: StreamWriter, actions) -> None:
    for kind, track, *rest in actions:
        {"D": writer.data, "P": writer.packet, "m": lambda track, value: writer.metadata(value, track)}[kind](
            track, *rest
        )


def open_tracks(writer: StreamWriter) -> None:
    for track, header in enumerate([IMAGE, SOUND, FILM, FILM, SOUND]):
        writer.header(track, header)


def contents(source) -> list:
    """What was written, as `writes` gives it, without headers, ends and indexes."""
    found = []
    for kind, track, payload, _, unit in read_chunks(source):
        if kind == "m":
            found.append((kind, track, unpack_metadata(payload)))
        elif kind == "P":
            found.append((kind, track, unit, bytes(payload)))
        elif kind == "D":
            found.append((kind, track, bytes(payload)))
    return found


def sample() -> bytes:
    """A finished stream with every chunk type."""
    file = io.BytesIO()
    with StreamWriter(file) as writer:
        writer.metadata({"title": "ö"})
        writer.header(0, FILM)
        writer.header(9, SOUND)
        writer.data(0, b"frame 0")
        writer.packet(9, 300, b"sound")
        writer.index()
        writer.data(0, b"")
    return file.getvalue()


def typed_by_hand() -> bytes:
    block = re.search(r"```hex\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return bytes.fromhex(" ".join(line.split(";")[0] for line in block[1].splitlines()))


def test_the_page_is_parsed():
    data = typed_by_hand()
    reader = read_chunks(data)
    found = [(c.type, c.track, bytes(c.payload), c.offset, c.unit) for c in reader]
    assert found == [
        ("H", 0, IMAGE.pack(), 5, None),
        ("D", 0, b"\x0a\x0b\x0c", 35, 0),
        ("m", 255, b'{"a":12}', 45, None),
        ("E", 255, b"\x02", 60, None),
        ("I", 255, data[-21:-4], 68, None),
    ]
    assert reader.tracks == {0: IMAGE}
    assert reader.finished
    assert reader.cut is None
    assert reader.offset == len(data) == 92
    assert read_index(data) == tuple(IndexEntry(*c[:2], *c[3:]) for c in found[:-1])
    assert read_header(data) == IMAGE
    assert unpack_single(data) == (IMAGE, b"\x0a\x0b\x0c")


def test_the_page_is_written():
    file = io.BytesIO()
    with StreamWriter(file) as writer:
        writer.header(0, IMAGE)
        writer.data(0, b"\x0a\x0b\x0c")
        writer.metadata({"a": 12})
    assert file.getvalue() == typed_by_hand()


@given(writes)
def test_many_tracks_round_trip(actions):
    file = io.BytesIO()
    with StreamWriter(file) as writer:
        open_tracks(writer)
        perform(writer, actions)
    data = file.getvalue()
    assert contents(data) == contents(io.BytesIO(data)) == contents(Pipe(data)) == actions
    entries = read_index(data)
    in_order = [c for c in read_chunks(data) if c.type != "I"]
    assert [read_chunk(data, entry) for entry in entries] == in_order
    file.seek(0)
    assert [read_chunk(file, entry) for entry in entries] == in_order
    assert file.tell() == 0


@given(st.lists(st.tuples(writes, st.booleans()), min_size=1, max_size=4))
def test_appending_leaves_earlier_bytes(sessions):
    file = io.BytesIO(b"before")
    file.seek(6)
    done = []
    for number, (actions, with_index) in enumerate(sessions):
        before = file.getvalue()
        file.seek(6)
        with StreamWriter(file, append=number > 0, index=with_index) as writer:
            if number == 0:
                open_tracks(writer)
            perform(writer, actions)
        done += actions
        assert file.getvalue().startswith(before)
        data = file.getvalue()[6:]
        assert contents(data) == done
        reader = read_chunks(data)
        expected = tuple(IndexEntry(c.type, c.track, c.offset, c.unit) for c in reader if c.type != "I")
        assert read_index(data) == (expected if with_index else None)
        assert reader.finished


def test_append_to_a_real_file(tmp_path):
    path = tmp_path / "film.ist"
    with path.open("wb") as file, StreamWriter(file) as writer:
        writer.header(0, FILM)
        writer.data(0, b"zero")
    with path.open("r+b") as file, StreamWriter(file, append=True) as writer:
        assert writer.data(0, b"one") == 1
        with pytest.raises(ValueError, match="header already"):
            writer.header(0, FILM)
    with path.open("rb") as file:
        assert contents(file) == [("D", 0, b"zero"), ("D", 0, b"one")]


def test_a_cut_stream_cannot_be_appended_to_until_truncated():
    data = sample()[:-30]
    with pytest.raises(CorruptStreamError, match="is cut"):
        StreamWriter(io.BytesIO(data), append=True)
    reader = read_chunks(data, allow_truncated=True)
    whole = len(list(reader))
    file = io.BytesIO(data[: reader.offset])
    with StreamWriter(file, append=True) as writer:
        writer.data(0, b"more")
    assert len(list(read_chunks(file.getvalue()))) == whole + 3


def test_a_pipe_gets_the_same_bytes():
    pipe, file = Pipe(), io.BytesIO()
    for target in (pipe, file):
        with StreamWriter(target) as writer:
            writer.header(0, IMAGE)
            writer.data(0, b"in ", bytearray(b"several "), memoryview(b"parts"))
    assert bytes(pipe.buffer) == file.getvalue()
    assert contents(file.getvalue()) == [("D", 0, b"in several parts")]


@pytest.mark.parametrize("make", [bytes, io.BytesIO, Pipe])
def test_cut_at_every_byte(make):
    data = sample()
    ends = [*[len(PROLOGUE), *(c.offset for c in read_chunks(data))][1:], len(data)]
    chunks = list(read_chunks(data))
    for size in range(len(PROLOGUE), len(data)):
        reader = read_chunks(make(data[:size]), allow_truncated=True)
        whole = list(reader)
        assert whole == chunks[: sum(end <= size for end in ends[1:])]
        assert (reader.cut is None) == (size in ends)
        assert reader.offset == max(end for end in ends if end <= size)
        assert reader.finished == (size == chunks[-1].offset)
        if reader.cut is None:
            assert list(read_chunks(make(data[:size]))) == whole
        else:
            with pytest.raises(CorruptStreamError, match="is cut"):
                list(read_chunks(make(data[:size])))


def test_unfinished_is_told_apart():
    file = io.BytesIO()
    with pytest.raises(RuntimeError, match="camera"), StreamWriter(file) as writer:
        writer.header(0, FILM)
        writer.data(0, b"frame")
        raise RuntimeError("camera unplugged")
    reader = read_chunks(file.getvalue())
    assert [c.type for c in reader] == ["H", "D"]
    assert not reader.finished
    assert reader.cut is None


def test_a_stream_of_nothing():
    file = io.BytesIO()
    StreamWriter(file)
    assert file.getvalue() == PROLOGUE
    assert list(read_chunks(PROLOGUE)) == []
    assert read_index(PROLOGUE) is None
    with pytest.raises(CorruptStreamError, match="without a track header"):
        read_header(PROLOGUE)


def test_header_is_read_without_the_rest():
    header_end = len(PROLOGUE) + len(pack_chunk("H", 0, IMAGE.pack()))
    data = pack_single(IMAGE, bytes(1000))
    pipe = Pipe(data)
    assert read_header(pipe) == IMAGE
    assert len(pipe.buffer) == len(data) - header_end
    assert read_header(data[:header_end]) == IMAGE
    file = io.BytesIO(b"xx" + data)
    file.seek(2)
    assert read_header(file) == IMAGE
    assert file.tell() == 2


def test_unknown_ancillary_chunks_are_skipped():
    body = b"made by a later version"
    checksum_of = pack_chunk("m", 3, body)
    foreign = b"z" + checksum_of[1:-4]
    foreign += zlib.crc32(foreign).to_bytes(4, "little")
    single = pack_single(IMAGE, b"payload")
    data = PROLOGUE + foreign + single[5:] + foreign
    for source in (data, io.BytesIO(data), Pipe(data)):
        assert [c.type for c in read_chunks(source)] == ["H", "D"]
    assert unpack_single(data) == (IMAGE, b"payload")
    file = io.BytesIO(data)
    with StreamWriter(file, append=True) as writer:
        writer.data(0, b"next")
    entries = read_index(file.getvalue())
    assert [e.type for e in entries] == ["H", "D", "D", "E"]
    assert bytes(read_chunk(file.getvalue(), entries[2]).payload) == b"next"


def test_packets_stand_alone():
    datagram = pack_chunk("P", 4, pack_varint(70_000), b"patch")
    chunk = unpack_chunk(datagram)
    assert (chunk.type, chunk.track, bytes(chunk.payload), chunk.unit) == ("P", 4, b"patch", 70_000)
    with pytest.raises(CorruptStreamError, match="expected one chunk"):
        unpack_chunk(datagram + b"P")
    with pytest.raises(CorruptStreamError, match="expected one chunk"):
        unpack_chunk(b"")
    for size in range(1, len(datagram)):
        with pytest.raises(CorruptStreamError, match="is cut"):
            unpack_chunk(datagram[:size])


def test_lost_and_reordered_packets_leave_a_valid_stream():
    head = PROLOGUE + pack_chunk("H", 0, FILM.pack())
    packets = [pack_chunk("P", 0, pack_varint(unit), b"x" * unit) for unit in range(5)]
    data = head + packets[3] + packets[1] + packets[1] + pack_chunk("E", WHOLE_STREAM, pack_varint(1))
    reader = read_chunks(data)
    assert [c.unit for c in reader if c.type == "P"] == [3, 1, 1]
    assert reader.finished


def test_write_chunk_counts_its_bytes():
    file = io.BytesIO()
    assert write_chunk(file, "D", 1, b"a", b"", b"bc") == len(file.getvalue()) == 10
    assert file.getvalue() == pack_chunk("D", 1, b"abc")


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda w: w.data(1, b""), "no header yet"),
        (lambda w: w.packet(1, 0, b""), "no header yet"),
        (lambda w: w.header(0, FILM), "header already"),
        (lambda w: w.header(255, FILM), "cannot be of track 255"),
        (lambda w: w.header(-1, FILM), "cannot be of track -1"),
        (lambda w: w.packet(0, -1, b""), "unit is -1"),
        (lambda w: w.packet(0, UNIT_LIMIT + 1, b""), "unit is"),
        (lambda w: (w.data(0, b""), w.packet(0, 0, b"")), "carries 'D'"),
        (lambda w: w.metadata({"a": "x" * METADATA_LIMIT}), "limit is 1048576"),
        (lambda w: w.metadata({"a": float("nan")}), "JSON"),
        (lambda w: (w.end(), w.data(0, b"")), "is ended"),
        (lambda w: (w.end(), w.end()), "is ended"),
    ],
)
def test_writer_refuses(misuse, message):
    writer = StreamWriter(io.BytesIO())
    writer.header(0, FILM)
    with pytest.raises(ValueError, match=message):
        misuse(writer)


def test_an_index_over_the_limit_is_left_out():
    file = io.BytesIO()
    writer = StreamWriter(file)
    writer._entries = bytearray(INDEX_LIMIT)
    assert not writer.index()
    assert file.getvalue() == PROLOGUE


@given(st.binary(max_size=3000))
@example(b"")
@example(bytes(127))
@example(bytes(128))
def test_single_round_trip(payload):
    data = pack_single(IMAGE, payload)
    header, found = unpack_single(data)
    assert header == IMAGE
    assert found == payload
    assert unpack_single(bytearray(data)) == unpack_single(memoryview(data)) == (IMAGE, payload)


def test_single_gives_a_view_not_a_copy():
    data = pack_single(IMAGE, bytes(10_000))
    assert unpack_single(data)[1].obj is data


@pytest.mark.parametrize(
    "payload",
    [np.arange(6, dtype=np.int16).reshape(2, 3), np.arange(12, dtype=np.uint8)[::2], np.zeros((0, 3), np.uint8)],
)
def test_any_buffer_is_a_payload(payload):
    assert unpack_single(pack_single(IMAGE, payload))[1] == payload.tobytes()


@pytest.mark.parametrize("extra", ["nothing", "unit", "track", "packet"])
def test_single_refuses_other_streams(extra):
    file = io.BytesIO()
    with StreamWriter(file) as writer:
        writer.header(0, FILM)
        if extra == "unit":
            writer.data(0, b"")
            writer.data(0, b"")
        elif extra == "track":
            writer.data(0, b"")
            writer.header(1, FILM)
        elif extra == "packet":
            writer.packet(0, 0, b"")
            writer.packet(0, 1, b"")
    with pytest.raises(CorruptStreamError, match="expected one track with one unit"):
        unpack_single(file.getvalue())


SIDES = [1, 127, 128, 2**14 - 1, 2**14, 10_000, 2**20]


@pytest.mark.parametrize(("height", "width"), [(h, w) for h in SIDES for w in SIDES if h * w <= 100_000_000])
def test_at_most_48_bytes_around_an_image(height, width):
    header = TrackHeader("walloc.1", "ffffffff", "ffffffff", ImageSignal(height, width), b"\x64")
    before_the_length = len(pack_single(header, b"")) - 1  # an empty payload has a length of one byte
    for payload in (0, 20_000, 2**28):
        assert before_the_length + len(pack_varint(payload)) <= 48
    assert len(pack_single(header, bytes(70_000))) - 70_000 <= 46


def test_a_photograph_costs_45_bytes():
    header = TrackHeader("walloc.1", "ffffffff", "ffffffff", ImageSignal(512, 768), b"\x64")
    assert len(pack_single(header, bytes(20_000))) - 20_000 == 45


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_planes_round_trip(planes):
    assert unpack_planes(pack_planes(planes), len(planes)) == planes


def test_planes_that_are_not_there():
    packed = pack_planes([b"abc", b"", b"de"])
    assert packed == b"\x03abc\x00de"
    with pytest.raises(CorruptStreamError, match="plane 2 should have 100 bytes, 1 are there"):
        unpack_planes(packed, 4)
    with pytest.raises(CorruptStreamError, match="cut"):
        unpack_planes(b"", 2)


@given(
    st.dictionaries(
        st.text(max_size=5), st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_metadata_round_trip(value):
    file = io.BytesIO()
    StreamWriter(file).metadata(value)
    (chunk,) = read_chunks(file.getvalue())
    assert unpack_metadata(chunk.payload) == value == json.loads(json.dumps(value))


@settings(max_examples=25)
@given(st.integers(0, 3))
def test_a_repeated_walk_stays_over(extra):
    reader = read_chunks(sample())
    list(reader)
    assert [next(reader, None) for _ in range(extra)] == [None] * extra
