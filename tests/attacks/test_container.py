# SPDX-License-Identifier: Apache-2.0
"""Streams made to hurt: each is refused with one clear `CorruptStreamError`, in bounded memory."""

import io
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.bitstream import (
    PROLOGUE,
    IndexEntry,
    StreamWriter,
    pack_chunk,
    pack_single,
    read_chunk,
    read_chunks,
    read_header,
    read_index,
    unpack_metadata,
    unpack_single,
)
from isthmus.bitstream.track import TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.signals import ImageSignal, TensorSignal
from isthmus.varint import pack_varint

HEADER = TrackHeader("walloc.1", "01234567", "89abcdef", ImageSignal(64, 96), b"\x32")
H = pack_chunk("H", 0, HEADER.pack())
D = pack_chunk("D", 0, b"payload")


def finished() -> bytes:
    file = io.BytesIO()
    with StreamWriter(file) as writer:
        writer.header(0, HEADER)
        writer.data(0, b"some payload")
        writer.header(3, TrackHeader("dfloat.1", "01234567", "00000000", TensorSignal()))
        writer.packet(3, 200, b"a packet")
        writer.metadata({"a": 1})
    return file.getvalue()


def frame(head: bytes, payload: bytes) -> bytes:
    """A chunk with a right checksum around any head: type, track and length bytes."""
    return head + payload + zlib.crc32(head + payload).to_bytes(4, "little")


def refused(data: bytes, message: str, **options) -> None:
    for source in (data, io.BytesIO(data)):
        with pytest.raises(CorruptStreamError, match=message):
            list(read_chunks(source, **options))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"\x89", "too short: 1 bytes"),
        (b"\x89IST", "too short: 4 bytes"),
        (b"\x89IST\x02", "version 2, this isthmus reads 1: upgrade"),
        (b"\x89IST\x00", "version 0"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image.*encode it first"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image.*encode it first"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a WebP image"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a WAV recording"),
        (b"\x00\x00\x00\x20ftypavif", "an AVIF image"),
        (b"\x00\x00\x00\x20ftypisom", "an MP4, MOV or HEIF file"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"weight":{}}', "a safetensors file"),
        (b"PK\x03\x04\x14\x00", "a zip archive"),
        (b"hello, this is not an image\n", "looks like text"),
        (b"{}", "looks like text"),
        (b"\xc2\x89IST\x01H", "transferred as text"),
        (b"\xef\xbf\xbdIST\x01H", "transferred as text"),
        (b"\x09IST\x01H", "transferred as text"),
        (bytes(64), "begins with 00 00 00 00 00 00 00 00"),
    ],
)
def test_what_is_not_a_stream(data, message):
    for read in (read_chunks, read_header, read_index, unpack_single):
        with pytest.raises(CorruptStreamError, match=message):
            read(data)
    refused(data, message, allow_truncated=True)


def test_paths_and_text_files_are_wrong_arguments(tmp_path):
    path = tmp_path / "a.ist"
    path.write_bytes(pack_single(HEADER, b""))
    for wrong in (str(path), path):
        with pytest.raises(TypeError, match="open it with 'rb'"):
            read_chunks(wrong)
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match="binary file"):
        read_chunks(file)
    for other in (17, None, [], (b for b in [b""])):
        with pytest.raises(TypeError, match=f"bytes of a stream or a binary file, got {type(other).__name__}"):
            read_chunks(other)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (H + D + b"\x00", "no chunk at byte .*: its type should be a letter, found 0x00"),
        (H + D + b"\xc8" + bytes(30), "found 0xc8"),
        (H + D + pack_chunk("E", 255, b"\x02") + b"\n", "no chunk at byte .* 0x0a"),
        (H + H, "second header of track 0"),
        (D, "its track 0 has no header yet"),
        (H + pack_chunk("D", 1, b""), "its track 1 has no header yet"),
        (pack_chunk("P", 0, b"\x00"), "its track 0 has no header yet"),
        (H + D + pack_chunk("P", 0, b"\x00"), "mixes data units and packets"),
        (H + pack_chunk("P", 0, b""), "unit number of packet at byte 34: .* is cut"),
        (H + pack_chunk("P", 0, b"\x80\x00"), "not minimal"),
        (H + pack_chunk("P", 0, pack_varint(2**40 + 1)), "limit is"),
        (pack_chunk("H", 0, b""), "chunk 'H' at byte 5: track header of 0 bytes ends inside its codec id length"),
        (frame(b"H\xff" + bytes([len(HEADER.pack())]), HEADER.pack()), "cannot be of track 255"),
        (frame(b"E\x00\x01", b"\x00"), "'E' at byte 5 cannot be of track 0"),
        (frame(b"Q\x00\x02", b"??"), "critical chunk 'Q' at byte 5 is not known .* upgrade"),
        (frame(b"D\x00\x80\x00", b""), "length of chunk 'D' at byte 5: .* not minimal"),
        (frame(b"D\x00" + b"\x80" * 9, b"\x01"), "longer than 9 bytes"),
        (frame(b"D\x00" + pack_varint(2**40 + 1), b""), "the limit is 1099511627776"),
        (frame(b"H\x00" + pack_varint(2**16 + 1), bytes(2**16 + 1)), "the limit is 65536"),
        (frame(b"m\xff" + pack_varint(2**20 + 1), bytes(2**20 + 1)), "the limit is 1048576"),
        (H + D + pack_chunk("E", 255, b"\x01"), "counts 1 headers and data units, 2 came"),
        (H + pack_chunk("E", 255, b"\x02"), "counts 2 headers and data units, 1 came"),
        (H + pack_chunk("E", 255, b"\x01\x00"), "end at byte 34 counts"),
        (pack_chunk("E", 255, b""), "count of end at byte 5: .* is cut"),
        (H + D[:-1] + bytes([D[-1] ^ 1]), "chunk 'D' of track 0 at byte 34 is damaged: its checksum is"),
    ],
)
def test_bad_chunks(data, message):
    refused(PROLOGUE + data, message)
    refused(PROLOGUE + data, message, allow_truncated=True)


def test_after_an_error_a_reader_is_over():
    reader = read_chunks(PROLOGUE + H + b"\x00" + D)
    assert next(reader).type == "H"
    with pytest.raises(CorruptStreamError):
        next(reader)
    assert next(reader, None) is None
    assert not reader.finished


def test_every_flipped_bit_is_noticed():
    data = finished()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(CorruptStreamError):
                list(read_chunks(damaged))


def test_a_flip_never_passes_for_anything_but_a_cut():
    data = finished()
    chunks = list(read_chunks(data))
    for position in range(len(PROLOGUE), len(data)):
        for flip in (1, 0x20, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            reader = read_chunks(damaged, allow_truncated=True)
            found = []
            try:
                found.extend(reader)
            except CorruptStreamError:
                assert reader.cut is None
            else:
                assert reader.cut is not None
            assert found == chunks[: len(found)]
            assert reader.offset <= position


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_after_a_prologue(tail, allow_truncated):
    for data in (PROLOGUE + tail, PROLOGUE + H + tail):
        for read in (lambda data: list(read_chunks(data, allow_truncated=allow_truncated)), read_index, unpack_single):
            try:
                read(data)
            except CorruptStreamError:
                continue


@given(st.sampled_from("HDPIEmQz"), st.sampled_from([0, 1, 254, 255]), st.binary(max_size=40))
def test_any_payload_under_a_right_checksum(name, track, payload):
    chunk = frame(name.encode() + bytes([track]) + pack_varint(len(payload)), payload)
    try:
        found = list(read_chunks(PROLOGUE + H + chunk))
    except CorruptStreamError:
        return
    assert len(found) == (1 if name == "z" else 2)
    try:
        read_index(PROLOGUE + H + chunk)
    except CorruptStreamError:
        assert name == "I"


class Pipe:
    """Reads only forwards, and gives as many zeros as are asked for after its bytes, up to `size` in all."""

    def __init__(self, data: bytes, size: int = 0) -> None:
        self.data, self.left = io.BytesIO(data), size - len(data)

    def read(self, count: int) -> bytes:
        assert count <= 2**20, "asks for more than a bounded piece"
        piece = self.data.read(count)
        zeros = max(0, min(count - len(piece), self.left))
        self.left -= zeros
        return piece + bytes(zeros)


def peak_bytes(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [bytes, io.BytesIO, Pipe])
@pytest.mark.parametrize("name", [b"D", b"P", b"z"])
def test_a_lying_length_takes_no_memory(make, name):
    data = PROLOGUE + H + name + b"\x00" + pack_varint(2**40) + bytes(3000)

    def read() -> None:
        for allow_truncated in (False, True):
            with pytest.raises(CorruptStreamError, match="is cut: .* bytes should follow, 3000 are there|is cut"):
                list(read_chunks(make(data), allow_truncated=allow_truncated))
                raise CorruptStreamError("is cut, and allowed")

    assert peak_bytes(read) < 2**20


def test_a_lying_length_on_disk_is_refused_unread(tmp_path):
    path = tmp_path / "lying.ist"
    path.write_bytes(PROLOGUE + H + b"D\x00" + pack_varint(2**39) + bytes(8 * 2**20))

    def read() -> None:
        with (
            path.open("rb") as file,
            pytest.raises(CorruptStreamError, match="549755813888 bytes should follow, 8388608"),
        ):
            list(read_chunks(file))

    assert peak_bytes(read) < 2**20


def test_a_large_ancillary_chunk_is_skipped_in_pieces():
    size = 32 * 2**20
    head = b"z\xff" + pack_varint(size)
    checksum = zlib.crc32(head)
    for _ in range(32):
        checksum = zlib.crc32(bytes(2**20), checksum)

    class Long(Pipe):
        def read(self, count: int) -> bytes:
            piece = super().read(count)
            return piece if self.left or piece != bytes(4) else checksum.to_bytes(4, "little")

    source = Long(PROLOGUE + head, len(PROLOGUE + head) + size + 4)
    assert peak_bytes(lambda: list(read_chunks(source))) < 6 * 2**20


def indexed(body: bytes, before: bytes = H + D) -> bytes:
    """A stream whose index is `body` with a right total length and checksum."""
    length = len(body) + 4
    head = b"I\xff" + pack_varint(length)
    return PROLOGUE + before + frame(head, body + (len(head) + length + 4).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x01", "ends inside entry 0 of 1"),
        (b"\x00\x00", "1 bytes are left after 0 entries"),
        (pack_varint(2**40), "the limit is"),
        (b"\x08" + b"H\x00\x05" * 8, "the limit is"),
        (b"\x01H\x00\x04", "entry 0 cannot be a chunk"),
        (b"\x02H\x00\x05D\x00\x06", "entry 1 cannot be a chunk"),
        (b"\x02H\x00\x05H\x00\x1d", "entry 1 cannot be a chunk"),
        (b"\x01D\x00\x22", "entry 0 cannot be a chunk"),
        (b"\x01I\xff\x05", "entry 0 cannot be a chunk"),
        (b"\x01H\xff\x05", "entry 0 cannot be a chunk"),
        (b"\x01\xe9\x00\x05", "entry 0 cannot be a chunk"),
        (b"\x01H\x00\x7f", "the limit is"),
        (b"\x02H\x00\x05P\x00\x1d", "varint .* is cut"),
    ],
)
def test_lying_indexes(body, message):
    data = indexed(body)
    with pytest.raises(CorruptStreamError, match=message):
        read_index(data)
    with pytest.raises(CorruptStreamError, match=message):
        StreamWriter(io.BytesIO(data), append=True)


def test_an_index_that_is_not_one_is_none():
    plain = pack_single(HEADER, b"x" * 40)
    for total in (0, 7, 12, 40, 54, 60, 2**32 - 1):
        assert read_index(plain[:-8] + total.to_bytes(4, "little") + plain[-4:]) is None
    assert read_index(indexed(b"")) is None
    whole = indexed(b"\x01H\x00\x05")
    assert read_index(whole) == (IndexEntry("H", 0, 5),)
    for position in range(len(PROLOGUE + H + D), len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        assert read_index(damaged) is None


def test_a_data_unit_that_points_at_an_earlier_index():
    data = finished()
    start = list(read_chunks(data))[-1].offset
    total = len(data) - start + len(pack_chunk("D", 0, bytes(4)))
    appended = data + pack_chunk("D", 0, total.to_bytes(4, "little"))
    assert read_index(appended) is None
    assert list(read_chunks(appended))[-1].type == "D"


def test_an_index_is_checked_against_the_chunks():
    data = finished()
    entries = read_index(data)
    wrong = [
        entries[1]._replace(offset=entries[0].offset),
        entries[0]._replace(track=1),
        entries[3]._replace(unit=5),
        entries[1]._replace(type="P"),
        entries[1]._replace(offset=len(data) + 100),
        entries[1]._replace(offset=entries[1].offset + 1),
    ]
    for entry in wrong:
        for source in (data, io.BytesIO(data)):
            with pytest.raises(CorruptStreamError):
                read_chunk(source, entry)
    with pytest.raises(CorruptStreamError, match="is cut"):
        read_chunk(data[: entries[2].offset + 9], entries[2])


def test_random_access_needs_seeking():
    for read in (read_index, lambda source: read_chunk(source, IndexEntry("H", 0, 5))):
        with pytest.raises(ValueError, match="seekable"):
            read(Pipe(finished()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1}{}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        json.dumps({"a": 1}).encode("utf-16"),
    ],
)
def test_bad_metadata(payload):
    with pytest.raises(CorruptStreamError, match="metadata is"):
        unpack_metadata(payload)
