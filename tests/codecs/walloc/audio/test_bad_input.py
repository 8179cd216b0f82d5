# SPDX-License-Identifier: Apache-2.0
"""Samples that are none, streams that are cut, shuffled, incomplete or forged: a clear error, or the right thing."""

import dataclasses
import io

import numpy as np
import pytest
import torch

from isthmus.bitstream import StreamWriter, TrackHeader, read_chunks, read_header
from isthmus.bitstream.frame import pack_chunk
from isthmus.errors import CorruptStreamError, WeightsMismatchError
from tests.codecs.walloc.audio.tiny import UNIT, Pipe, tiny_codec, tones


def packets(data: bytes) -> list[tuple[int, bytes]]:
    return [(chunk.unit or 0, bytes(chunk.payload)) for chunk in read_chunks(data) if chunk.type == "P"]


def rebuilt(
    data: bytes, units: list[tuple[int, bytes]], *, index: bool = True, header: TrackHeader | None = None
) -> bytes:
    """The stream of other packets."""
    file = io.BytesIO()
    writer = StreamWriter(file)
    writer.header(0, header or read_header(data))
    for unit, payload in units:
        writer.packet(0, unit, payload)
    writer.end()
    if index:
        writer.index()
    return file.getvalue()


@pytest.fixture(scope="module")
def stream() -> bytes:
    return tiny_codec().encode(tones(2, 5 * UNIT + 10), sample_rate=44100)


def test_samples_that_are_none() -> None:
    codec, good = tiny_codec(), tones(2, 100)
    for wrong in (np.nan, np.inf, -np.inf):
        sound = good.copy()
        sound[1, 7] = wrong
        with pytest.raises(ValueError, match="first at sample 7 of channel 1"):
            codec.encode(sound, sample_rate=44100)
    with pytest.raises(ValueError, match="7 channels, expected 1 or 2"):
        codec.encode(tones(7, 100), sample_rate=44100)
    with pytest.raises(TypeError, match=r"got the path song.flac: files are read by isthmus.encode"):
        codec.encode("song.flac", sample_rate=44100)
    with pytest.raises(TypeError, match="sample_rate must be given"):
        codec.write([good], io.BytesIO())
    with pytest.raises(TypeError, match="sample_rate must be given"):
        codec.encode(good)
    with pytest.raises(ValueError, match="transpose"):
        codec.encode(np.zeros((1000, 2), np.float32), sample_rate=44100)
    for rate in (999, 768_001):
        with pytest.raises(ValueError, match="expected 1000 to 768000"):
            codec.encode(good, sample_rate=rate)
    for dtype in (np.int8, np.uint8, np.int64, np.complex64, bool):
        with pytest.raises(TypeError, match="expected torch or numpy floats"):
            codec.encode(good.astype(dtype), sample_rate=44100)
    with pytest.raises(ValueError, match="full scale is 1"):
        codec.encode(good * 1e6, sample_rate=44100)
    with pytest.raises(ValueError, match="after one of 2"):
        codec.write([good, good[:1]], io.BytesIO(), sample_rate=44100)
    with pytest.raises(ValueError, match="100 samples came, 99 were announced"):
        codec.write([good], io.BytesIO(), samples=99, sample_rate=44100)


def test_other_arrays_are_the_same_sound() -> None:
    codec = tiny_codec()
    words = np.rint(tones(2, 3000) * 32768).astype(np.int16)
    floats = words.astype(np.float32) / 32768
    data = codec.encode(floats, sample_rate=44100)
    for same in (
        words, words.astype(np.int32) * 65536, floats.astype(np.float64), torch.from_numpy(floats),
        np.asfortranarray(floats), np.concatenate([floats, floats], 1)[:, ::1][:, :3000],
    ):  # fmt: skip
        assert codec.encode(same, sample_rate=44100) == data
    assert codec.encode(floats[0], sample_rate=8000) == codec.encode(floats[:1], sample_rate=8000)


def test_silence_and_clipping() -> None:
    codec = tiny_codec()
    for sound in (np.zeros((2, 5000), np.float32), np.full((1, 5000), 0.25, np.float32)):
        found = codec.decode(codec.encode(sound, sample_rate=44100), output="numpy", synthesis="linear")
        assert np.abs(found - sound).max() < 0.02
    square = np.sign(tones(1, 5000))
    assert np.isfinite(codec.decode(codec.encode(square, sample_rate=44100), output="numpy")).all()


def test_units_in_another_order(stream: bytes) -> None:
    codec = tiny_codec()
    units = packets(stream)
    whole = codec.decode(stream)
    for index in (True, False):
        shuffled = rebuilt(stream, units[::-1] + units[2:3], index=index)
        assert torch.equal(codec.decode(shuffled), whole)
        with pytest.raises(CorruptStreamError, match="comes in its place"):
            list(codec.open(Pipe(shuffled)).blocks())


@pytest.mark.parametrize("index", [True, False])
def test_missing_units(stream: bytes, index: bool) -> None:
    codec, units = tiny_codec(), packets(stream)
    whole = codec.decode(stream, output="numpy")
    for gone in (0, 2, 5):
        holed = rebuilt(stream, [unit for unit in units if unit[0] != gone], index=index)
        for source in (holed, Pipe(holed)):
            with pytest.raises(CorruptStreamError, match=f"{gone}"):
                list(codec.open(source).blocks())
        with pytest.raises(CorruptStreamError):
            codec.unpack(holed)
        for source in (holed, Pipe(holed)):
            reader = codec.open(source, allow_loss=True)
            found = np.concatenate(list(reader.blocks()), 1)
            assert [lost.unit for lost in reader.lost] == [gone]
            assert found.shape[1] >= whole.shape[1] - 10 - 16
            silent = slice(gone * UNIT, min((gone + 1) * UNIT, found.shape[1]))
            assert not np.ptp(found[:, silent], 1).any() if gone < 5 else True
            far = slice(0, max(0, (gone - 1) * UNIT))
            assert np.array_equal(found[:, far], whole[:, far])
        assert codec.decode(holed, allow_loss=True).shape[0] == 2


def test_damaged_units(stream: bytes) -> None:
    """With an index and without one."""
    codec = tiny_codec()
    chunks = [chunk for chunk in read_chunks(stream) if chunk.type == "P"]
    place = chunks[3].offset + 30
    damaged = stream[:place] + bytes([stream[place] ^ 4]) + stream[place + 1 :]
    end = next(chunk.offset for chunk in read_chunks(stream) if chunk.type == "E")
    for data in (damaged, damaged[:end]):
        with pytest.raises(CorruptStreamError):
            codec.decode(data)
        reader = codec.open(data, allow_loss=True)
        found = np.concatenate(list(reader.blocks()), 1)
        assert [lost.unit for lost in reader.lost] == [3] and not np.ptp(found[:, 3 * UNIT : 4 * UNIT], 1).any()
        assert found.shape == (2, 5 * UNIT + 10)


def test_an_index_of_another_file(stream: bytes) -> None:
    """Whole chunks are gone from the middle, and what is left is found in order; the same where bytes are gone."""
    codec = tiny_codec()
    whole = codec.decode(stream, output="numpy")
    chunks = [chunk for chunk in read_chunks(stream) if chunk.type == "P"]
    for first, last, short in ((2, 3, 0), (1, 4, 0), (2, 3, 5), (0, 5, 0)):
        gone = stream[: chunks[first].offset] + stream[chunks[last].offset - short :]
        with pytest.raises(CorruptStreamError, match="allow_loss=True"):
            codec.decode(gone)
        for source in (gone, io.BytesIO(gone)):
            reader = codec.open(source, allow_loss=True)
            found = np.concatenate(list(reader.blocks()), 1)
            lost = [one.unit for one in reader.lost]
            assert found.shape == whole.shape and set(range(first, last)) <= set(lost)
            assert short or lost == list(range(first, last))
            assert np.array_equal(found[:, : max(0, first - 1) * UNIT], whole[:, : max(0, first - 1) * UNIT])
            if not short:
                after = slice((last + 1) * UNIT, None)
                assert np.array_equal(found[:, after], whole[:, after])


def test_damaged_metadata() -> None:
    """It costs no sound where loss is allowed, from wherever the stream comes and wherever in it that stands."""
    codec, file = tiny_codec(), io.BytesIO()
    codec.write([tones(1, 3 * UNIT)], file, sample_rate=44100, metadata={"tags": {"title": "T"}})
    data = file.getvalue()
    place = data.index(b"title")
    flipped = data[:place] + b"T" + data[place + 1 :]
    header = pack_chunk("H", 0, read_header(data).pack())
    head, told = data[: data.index(header)], pack_chunk("m", 255, b'{"tags": {"title": "T"}}')
    chunks = list(read_chunks(data))
    tail = data[next(c.offset for c in chunks if c.type == "P") : next(c.offset for c in chunks if c.type == "I")]
    for stream, found in (
        (data, {"tags": {"title": "T"}}),
        (flipped, {}),
        (head + header + pack_chunk("m", 255, b"no JSON") + tail, {}),
        (head + told + header + pack_chunk("m", 7, b'{"of": "another"}') + tail, {"tags": {"title": "T"}}),
    ):
        for source in (stream, Pipe(stream)):
            units = codec.open(source, allow_loss=True)
            assert np.array_equal(np.concatenate(list(units.blocks()), 1), codec.decode(data, output="numpy"))
            assert units.metadata == found and not units.lost
    with pytest.raises(CorruptStreamError, match="damaged"):
        codec.open(flipped)


def test_cut_streams_play_up_to_the_cut(stream: bytes) -> None:
    codec = tiny_codec()
    whole = codec.decode(stream, output="numpy")
    chunks = [chunk for chunk in read_chunks(stream) if chunk.type == "P"]
    cut = stream[: chunks[3].offset + 9]
    for source in (cut, Pipe(cut)):
        found = []
        with pytest.raises(CorruptStreamError, match="cut"):
            for block in codec.open(source).blocks():
                found.append(block)
        there = np.concatenate(found, 1)
        assert there.shape[1] >= 2 * UNIT - 16 and np.array_equal(there[:, : UNIT // 2], whole[:, : UNIT // 2])
    with pytest.raises(CorruptStreamError, match="allow_loss"):
        codec.decode(cut)
    reader = codec.open(cut, allow_loss=True)
    padded = np.concatenate(list(reader.blocks()), 1)  # silence in place of what is missing
    assert padded.shape == whole.shape and not np.ptp(padded[:, 3 * UNIT :], 1).any()
    assert np.array_equal(padded[:, : 2 * UNIT], whole[:, : 2 * UNIT])
    assert [lost.unit for lost in reader.lost] == [3, 4, 5] and reader.cut
    part = codec.open(cut, allow_loss=True).read(start=4 * UNIT / 44100, stop=4.5 * UNIT / 44100)
    assert part.shape == (2, UNIT // 2) and not np.ptp(part, 1).any()


def test_much_that_is_missing_is_not_made_up(stream: bytes) -> None:
    header = read_header(stream)
    forged = dataclasses.replace(header, signal=dataclasses.replace(header.signal, samples=1 << 40))
    data = rebuilt(stream, packets(stream)[:3], index=False, header=forged)
    reader = tiny_codec().open(data, allow_loss=True)
    assert sum(block.shape[1] for block in reader.blocks()) == 3 * UNIT - 16
    assert [lost.unit for lost in reader.lost] == [3]


def test_streams_of_unknown_length_that_are_cut() -> None:
    codec, file = tiny_codec(), io.BytesIO()
    codec.write([tones(1, 4 * UNIT)], file, sample_rate=44100)
    chunks = [chunk for chunk in read_chunks(file.getvalue()) if chunk.type == "P"]
    cut = file.getvalue()[: chunks[2].offset]
    with pytest.raises(CorruptStreamError, match="ends before unit 2"):
        codec.decode(cut)
    reader = codec.open(cut, allow_loss=True)
    assert reader.samples is None and sum(block.shape[1] for block in reader.blocks()) == 2 * UNIT - 16


def test_parts_beyond_the_end(stream: bytes) -> None:
    codec, seconds = tiny_codec(), (5 * UNIT + 10) / 44100
    with pytest.raises(ValueError, match="the sound ends at"):
        codec.decode(stream, start=seconds + 1)
    with pytest.raises(ValueError, match="an end behind the beginning"):
        codec.decode(stream, start=2, stop=1)
    assert codec.decode(stream, start=0.1, stop=1e6).shape[1] == 5 * UNIT + 10 - 4410
    assert codec.decode(stream, start=0.1, stop=0.1).shape == (2, 0)
    with pytest.raises(CorruptStreamError, match="max_samples"):
        codec.decode(stream, max_samples=1000)
    assert codec.decode(stream, max_samples=1000, stop=0.01).shape == (2, 441)


def test_units_that_lie(stream: bytes) -> None:
    codec, units = tiny_codec(), packets(stream)
    other = packets(codec.encode(tones(2, 100), sample_rate=44100))
    for forged in (
        [*units[:-1], (5, other[0][1])],  # another end
        [*units, (6, units[0][1])],  # more behind the end
        [*units[:2], (2, other[0][1]), *units[3:]],
        [(u, b"") for u, _ in units],
        [(u, b"\x00") for u, _ in units],
    ):
        with pytest.raises(CorruptStreamError):
            codec.decode(rebuilt(stream, forged))


def test_streams_of_other_weights(stream: bytes) -> None:
    with pytest.raises(WeightsMismatchError):
        tiny_codec("packets").decode(tiny_codec().encode(tones(1, 50), sample_rate=8000))
    assert tiny_codec().decode(stream).shape[0] == 2


def test_loud_blocks_of_unknown_level() -> None:
    """Without a first look a level is assumed; far beyond it integers would not fit."""
    codec, file = tiny_codec(), io.BytesIO()
    codec.write([tones(2, 3000) * 10], file, sample_rate=44100)
    with pytest.raises(ValueError, match="full scale is 1"):
        codec.write([tones(2, 3000) * 1000], io.BytesIO(), sample_rate=44100)


def test_numbers_and_rates_that_would_take_years(stream: bytes) -> None:
    codec, units = tiny_codec(), packets(stream)
    for unit in (2**40, 65_000):
        far = rebuilt(stream, [(unit, units[1][1])])
        for source in (far, Pipe(far)):
            with pytest.raises(CorruptStreamError, match="damaged"):
                list(codec.open(source, allow_loss=True).blocks())
    for rate in (44_099, 767_999):
        with pytest.raises(ValueError, match="no short ratio"):
            codec.encode(tones(1, 100), sample_rate=rate)


def test_lists_of_streams_take_all_options(stream: bytes) -> None:
    codec = tiny_codec()
    cut = stream[: len(stream) // 2]
    assert codec.decode([cut, cut], allow_loss=True).shape[:2] == (2, 2)
    assert codec.decode([stream, stream], stop=0.01).shape == (2, 2, 441)
    with pytest.raises(CorruptStreamError, match="stream 1 of 2"):
        codec.decode([stream, cut])
    for wrong in (float("inf"), 1e308, -1.0, float("nan")):
        with pytest.raises(ValueError, match="start .*, expected seconds from 0 to"):
            codec.decode(stream, start=wrong)
