# SPDX-License-Identifier: Apache-2.0
"""Varints, signal specs and track headers: round trips, exact bytes, and every limit of docs/format.md."""

import json
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.bitstream.track import HEADER_LIMIT, TrackHeader
from isthmus.errors import CorruptStreamError
from isthmus.signals import (
    AREA_LIMIT,
    COUNT_LIMIT,
    LAYOUTS,
    RATE_LIMIT,
    SAMPLE_RATE_LIMIT,
    SIDE_LIMIT,
    AudioSignal,
    ImageSignal,
    TensorSignal,
    VideoSignal,
    unpack_signal,
)
from isthmus.varint import VARINT_LIMIT, pack_varint, unpack_varint

counts = st.none() | st.integers(0, COUNT_LIMIT)
pictures = {
    "height": st.integers(1, 2**15),
    "width": st.integers(1, 2**15),
    "layout": st.sampled_from(LAYOUTS),
    "bit_depth": st.integers(1, 16),
}
rates = st.builds(Fraction, st.integers(1, RATE_LIMIT), st.integers(1, RATE_LIMIT))
signals = st.one_of(
    st.builds(ImageSignal, **pictures),
    st.builds(AudioSignal, st.integers(1, SAMPLE_RATE_LIMIT), st.integers(1, 255), counts),
    st.builds(VideoSignal, **pictures, frame_rate=rates, frames=counts),
    st.just(TensorSignal()),
)
hashes = st.binary(min_size=4, max_size=4).map(bytes.hex)
codec_ids = st.from_regex(r"[a-z0-9]{1,15}(\.[a-z0-9]{1,15})?", fullmatch=True)
headers = st.builds(TrackHeader, codec_ids, hashes, hashes, signals, st.binary(max_size=40))


def header(**changes) -> TrackHeader:
    fields = {
        "codec_id": "walloc.1",
        "tables_hash": "01234567",
        "weights_hash": "89abcdef",
        "signal": ImageSignal(5, 7),
    }
    return TrackHeader(**{**fields, **changes})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (16384, "808001"),
        (VARINT_LIMIT, "ff" * 8 + "7f"),
    ],
)
def test_varint_bytes(value, expected):
    assert pack_varint(value).hex() == expected
    assert unpack_varint(bytes.fromhex(expected)) == (value, len(expected) // 2)


@given(st.integers(0, VARINT_LIMIT), st.binary(max_size=3), st.binary(max_size=12))
def test_varint_round_trip_anywhere(value, before, after):
    packed = pack_varint(value)
    assert unpack_varint(memoryview(before + packed + after), len(before)) == (value, len(before + packed))


@given(st.binary(max_size=12))
def test_any_bytes_are_one_minimal_varint_or_an_error(data):
    try:
        value, end = unpack_varint(data)
    except CorruptStreamError:
        return
    assert pack_varint(value) == data[:end]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "cut"),
        ("80", "cut"),
        ("ff" * 8, "cut"),
        ("8000", "not minimal"),
        ("ff80808000", "not minimal"),
        ("80" * 9, "longer than 9"),
        ("ff" * 9 + "01", "longer than 9"),
        ("ffff7f", "limit is 65536"),
    ],
)
def test_bad_varint(data, message):
    with pytest.raises(CorruptStreamError, match=message):
        unpack_varint(bytes.fromhex(data), 0, 65536)


@pytest.mark.parametrize("value", [-1, VARINT_LIMIT + 1])
def test_varint_out_of_range(value):
    with pytest.raises(ValueError, match="outside"):
        pack_varint(value)


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (ImageSignal(2, 300, "grey"), "0171 02 ac02"),
        (ImageSignal(1, 1, "rgba", 16), "01f4 01 01"),
        (AudioSignal(48_000, 2), "02 80f702 02 00"),
        (AudioSignal(8_000, 1, 0), "02 c03e 01 01"),
        (VideoSignal(8, 16, "rgb", 8, Fraction(30000, 1001), 4), "0373 08 10 b0ea01 e907 05"),
        (VideoSignal(8, 16, "rgb", 10, Fraction(50)), "0393 08 10 32 01 00"),
        (TensorSignal(), "04"),
    ],
)
def test_signal_bytes(signal, expected):
    assert signal.pack() == bytes.fromhex(expected)
    assert unpack_signal(bytes.fromhex("aa" + expected + "bb"), 1) == (signal, 1 + len(bytes.fromhex(expected)))


@given(headers)
def test_header_round_trip(original):
    packed = original.pack()
    assert TrackHeader.unpack(packed) == original
    assert TrackHeader.unpack(memoryview(packed)) == original
    assert TrackHeader.unpack(packed).pack() == packed


@given(headers, st.data())
def test_cut_header_never_reads_past_the_end(original, data):
    packed = original.pack()
    whole = len(packed) - len(original.options)
    cut = data.draw(st.integers(0, whole - 1))
    with pytest.raises(CorruptStreamError):
        TrackHeader.unpack(packed[:cut])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_an_error(data):
    for payload in (data, b"\x01a" + data, b"\x01a" + bytes(8) + data):
        try:
            found = TrackHeader.unpack(payload)
        except CorruptStreamError:
            continue
        assert found.pack() == payload  # no value has two spellings


@given(headers)
def test_describe_is_json(original):
    described = original.describe()
    assert json.loads(json.dumps(described)) == described


def test_describe_values():
    video = VideoSignal(4, 6, "grey_alpha", 12, Fraction(24000, 1001))
    assert header(signal=video, weights_hash="00000000", options=b"\x32").describe() == {
        "codec_id": "walloc.1",
        "tables_hash": "01234567",
        "weights_hash": None,
        "signal": {
            "kind": "video",
            "height": 4,
            "width": 6,
            "layout": "grey_alpha",
            "bit_depth": 12,
            "frame_rate": "24000/1001",
            "frames": None,
        },
        "options": "32",
    }
    assert AudioSignal(44100, 2, 9).describe() == {
        "kind": "audio", "sample_rate": 44100, "channels": 2, "samples": 9, "seconds": 0.000204
    }  # fmt: skip
    assert TensorSignal().describe() == {"kind": "tensors"}


def test_channels_follow_the_layout():
    assert [ImageSignal(1, 1, layout).channels for layout in LAYOUTS] == [1, 2, 3, 4]
    assert VideoSignal(1, 1, "rgba").channels == 4


def test_numpy_integers_become_plain_ones():
    signal = ImageSignal(np.int64(3), np.uint16(4))
    assert signal == ImageSignal(3, 4)
    assert type(signal.height) is int
    json.dumps(signal.describe())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageSignal(0, 5),
        lambda: ImageSignal(5, -1),
        lambda: ImageSignal(SIDE_LIMIT + 1, 1),
        lambda: ImageSignal(2**15 + 1, 2**15),
        lambda: ImageSignal(1, 1, "bgr"),
        lambda: ImageSignal(1, 1, "rgb", 17),
        lambda: ImageSignal(1, 1, "rgb", 0),
        lambda: AudioSignal(0, 1),
        lambda: AudioSignal(SAMPLE_RATE_LIMIT + 1, 1),
        lambda: AudioSignal(8000, 0),
        lambda: AudioSignal(8000, 256),
        lambda: AudioSignal(8000, 1, -1),
        lambda: AudioSignal(8000, 1, COUNT_LIMIT + 1),
        lambda: VideoSignal(1, 1, frame_rate=Fraction(0)),
        lambda: VideoSignal(1, 1, frame_rate=Fraction(1, RATE_LIMIT + 1)),
        lambda: VideoSignal(1, 1, frames=-1),
        lambda: header(codec_id=""),
        lambda: header(codec_id="Walloc.1"),
        lambda: header(codec_id="walloc..1"),
        lambda: header(codec_id="walloc.1\n"),
        lambda: header(codec_id="a" * 33),
        lambda: header(codec_id="wallöc"),
        lambda: header(tables_hash="0123456"),
        lambda: header(weights_hash="0123456G"),
        lambda: header(options=bytes(HEADER_LIMIT)),
    ],
)
def test_limits_refuse_arguments(make):
    with pytest.raises(ValueError, match="is |make|more than"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageSignal(1.5, 1),
        lambda: ImageSignal("1", 1),
        lambda: VideoSignal(1, 1, frame_rate=29.97),
        lambda: header(codec_id=None),
        lambda: header(signal="image"),
        lambda: header(options="32"),
    ],
)
def test_wrong_types(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("wrong", [True, 4.0, np.True_, np.float32(4), None])
def test_sizes_are_integers_by_name(wrong):
    assert ImageSignal(np.uint8(4), np.int64(5)) == ImageSignal(4, 5)
    with pytest.raises(TypeError, match=r"height is .*, must be an integer from 1 to 1048576"):
        ImageSignal(wrong, 5)


def test_limits_are_reachable():
    assert unpack_signal(ImageSignal(SIDE_LIMIT, AREA_LIMIT // SIDE_LIMIT).pack())[0].height == SIDE_LIMIT
    largest = HEADER_LIMIT - len(header().pack())
    assert len(header(options=bytes(largest)).pack()) == HEADER_LIMIT


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        ImageSignal(1, 1).height = 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "ends inside its signal kind"),
        ("00", "kind 0 is not known"),
        ("05", "kind 5 is not known"),
        ("01", "ends inside its picture format"),
        ("0170 01 01", "layout 0 is not known"),
        ("0175 01 01", "layout 5 is not known"),
        ("0173 00 01", "height is 0"),
        ("0173 01 00", "width is 0"),
        ("0173 818040 01", "height is 1048577"),
        ("0173 808040 818040", "width is 1048577"),
        ("0173 808040 818008", "pixels are more"),
        ("0173 8100 01", "not minimal"),
        ("02 00 01 00", "sample_rate is 0"),
        ("02 c03e", "ends inside its channels"),
        ("02 c03e 00 00", "channels is 0"),
        ("02 c03e 01 ffffffffffffffff7f", "samples is"),
        ("0373 01 01 01 00 00", "1/0 is not in lowest terms"),
        ("0373 01 01 00 01 00", "frame_rate is 0"),
        ("0373 01 01 3c 02 00", "60/2 is not in lowest terms"),
        ("0373 01 01 8080808008 01 00", "frame_rate is 2147483648"),
    ],
)
def test_bad_spec_in_a_stream(spec, message):
    with pytest.raises(CorruptStreamError, match=message):
        TrackHeader.unpack(b"\x01a" + bytes(8) + bytes.fromhex(spec))


@pytest.mark.parametrize("name", [b"", b"A", b"a.", b"a b", b"\xe9", b"a" * 33, b"a\n"])
def test_bad_codec_id_in_a_stream(name):
    with pytest.raises(CorruptStreamError, match="codec_id"):
        TrackHeader.unpack(bytes([len(name)]) + name + bytes(8) + TensorSignal().pack())
