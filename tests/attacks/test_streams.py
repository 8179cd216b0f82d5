# SPDX-License-Identifier: Apache-2.0
"""Image streams made to hurt: decoding raises only children of IsthmusError, in bounded memory and time."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus
from isthmus.bitstream import MAGIC, PROLOGUE, pack_chunk, pack_single, unpack_single
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.entropy.coders.rans_decoder import RansDecoder
from isthmus.errors import CorruptStreamError, IsthmusError, UnknownCodecError, WeightsMismatchError
from isthmus.signals import AudioSignal, ImageSignal, Signal, TensorSignal, VideoSignal

HEADER_END = 5 + 7 + 1 + len("walloc.1") + 8 + 4 + 1  # prologue, a chunk's frame, the header's fields


@pytest.fixture(scope="module", params=["context", "factorized"])
def stream(tiny: WallocImageCodec, astronaut: np.ndarray, request: pytest.FixtureRequest) -> bytes:
    """A valid stream of a 37x53 image."""
    return tiny.encode(astronaut[100:137, 200:253], quality=70, entropy=request.param)


@pytest.fixture(scope="module")
def header(stream: bytes) -> TrackHeader:
    return unpack_single(stream)[0]


def decode_or_refuse(codec: WallocImageCodec, data: bytes) -> bool:
    """True when `data` decoded, to an image that fits its header; anything but IsthmusError fails the test."""
    try:
        image = codec.decode(data)
    except IsthmusError as error:
        assert str(error).strip()
        return False
    signal = unpack_single(data)[0].signal
    assert isinstance(signal, ImageSignal)
    assert image.shape == (signal.channels, signal.height, signal.width)
    return True


def test_every_cut_header_is_refused(stream: bytes) -> None:
    for length in range(HEADER_END):
        with pytest.raises(CorruptStreamError):
            isthmus.inspect(stream[:length])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_refused(tiny: WallocImageCodec, stream: bytes, data: st.DataObject) -> None:
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    if damaged != stream:
        assert not decode_or_refuse(tiny, bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=300), height=st.integers(1, 40), width=st.integers(1, 40))
def test_garbage_payload_with_a_right_checksum(
    tiny: WallocImageCodec, header: TrackHeader, payload: bytes, height: int, width: int
) -> None:
    """The container is whole, so the entropy decoder itself meets the garbage."""
    forged = replace(header, signal=ImageSignal(height, width))
    decode_or_refuse(tiny, pack_single(forged, payload))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_payload_with_a_right_checksum(
    tiny: WallocImageCodec, stream: bytes, header: TrackHeader, data: st.DataObject
) -> None:
    """Nearly right payloads come further than garbage: past the head, into tables, offsets and escapes."""
    payload = bytearray(unpack_single(stream)[1])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.one_of(st.integers(0, 15), st.integers(0, len(payload) - 1)))
        payload[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 1, 2, len(payload) // 2]))
    decode_or_refuse(tiny, pack_single(header, bytes(payload[: len(payload) - cut])))


@settings(max_examples=100, deadline=None)
@given(payload=st.binary(min_size=1, max_size=200), lanes=st.integers(0, 6), count=st.integers(0, 2**40))
def test_entropy_layer_raises_only_its_own_error(
    tiny: WallocImageCodec, payload: bytes, lanes: int, count: int
) -> None:
    states = (b"\x00\x80\x01\x00" * (1 << min(lanes, 5)))[: 4 << lanes]
    for data in (payload, bytes([lanes, 0]) + states + payload):
        try:
            decoder = RansDecoder(data, tiny.weights.entropy.family)
            decoder.decode(0, count)
            decoder.finish()
        except CorruptStreamError as error:
            assert str(error)


@settings(max_examples=100, deadline=None)
@given(noise=st.binary(max_size=200), prefix=st.integers(0, 60))
def test_random_bytes_after_a_right_beginning(tiny: WallocImageCodec, stream: bytes, noise: bytes, prefix: int) -> None:
    data = stream[:prefix] + noise
    for decode in (tiny.decode, isthmus.decode, isthmus.unpack):
        try:
            decode(data)
        except IsthmusError as error:
            assert str(error)
        else:
            assert data == stream


@pytest.mark.parametrize("data", [b"", b"\x00", MAGIC, b"\x89PNG\r\n\x1a\n" + bytes(40), b"text, not a stream\n" * 9])
@pytest.mark.parametrize("call", [isthmus.decode, isthmus.unpack, isthmus.inspect])
def test_what_is_no_stream(call: object, data: bytes) -> None:
    with pytest.raises(CorruptStreamError):
        call(data)  # type: ignore[operator]


def test_more_than_the_stream(tiny: WallocImageCodec, stream: bytes) -> None:
    for tail in (b"\x00", b"tail", stream, stream[5:], bytes(1000)):
        with pytest.raises(CorruptStreamError):
            tiny.decode(stream + tail)


def test_left_over_payload_bytes(tiny: WallocImageCodec, stream: bytes, header: TrackHeader) -> None:
    payload = bytes(unpack_single(stream)[1])
    for tail in (b"\x00", b"\x00\x00", b"\xff" * 64):
        with pytest.raises(CorruptStreamError):
            tiny.decode(pack_single(header, payload + tail))


@pytest.mark.parametrize(("height", "width"), [(1 << 20, 1 << 10), (1 << 10, 1 << 20), (1 << 15, 1 << 15)])
def test_huge_image_over_a_tiny_payload_takes_no_memory(
    tiny: WallocImageCodec, stream: bytes, header: TrackHeader, height: int, width: int
) -> None:
    payload = bytes(unpack_single(stream)[1])
    for content in (payload, payload[:20], b"\x00\x00" + b"\x00\x80\x00\x00", b""):
        forged = pack_single(replace(header, signal=ImageSignal(height, width)), content)
        tracemalloc.start()
        with pytest.raises(CorruptStreamError):
            tiny.decode(forged)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 << 20


def test_sides_beyond_the_limits_are_refused_with_the_header(header: TrackHeader, stream: bytes) -> None:
    for height, width in ((1 << 20, 1 << 11), ((1 << 20) + 1, 1)):
        with pytest.raises(ValueError):
            ImageSignal(height, width)
    packed = header.pack()
    small = ImageSignal(37, 53).pack()
    lying = packed.replace(small, small[:2] + b"\xff\xff\xff\xff\x7f" + small[3:])
    assert lying != packed
    with pytest.raises(CorruptStreamError):
        isthmus.inspect(PROLOGUE + pack_chunk("H", 0, lying) + pack_chunk("D", 0, b""))


def test_a_shape_that_is_not_the_payloads(tiny: WallocImageCodec, stream: bytes, header: TrackHeader) -> None:
    payload = bytes(unpack_single(stream)[1])
    for height, width in ((1, 1), (29, 53), (37, 61), (400, 400)):
        with pytest.raises(CorruptStreamError):
            tiny.unpack(pack_single(replace(header, signal=ImageSignal(height, width)), payload))


@pytest.mark.parametrize("options", [b"", b"\x00", b"\x65", b"\xff", b"\x32\x32"])
def test_bad_quality_in_the_options(tiny: WallocImageCodec, stream: bytes, header: TrackHeader, options: bytes) -> None:
    forged = pack_single(replace(header, options=options), bytes(unpack_single(stream)[1]))
    with pytest.raises(CorruptStreamError, match="decode: .*quality.*fetch it again"):
        tiny.decode(forged)
    assert isthmus.inspect(forged)["options"] == options.hex()  # what is there can still be looked at


@pytest.mark.parametrize(
    "signal",
    [
        ImageSignal(37, 53, "grey", 16),
        ImageSignal(37, 53, "rgb", 16),
        ImageSignal(37, 53, "rgb", 1),
        ImageSignal(37, 53, "rgba"),
        ImageSignal(37, 53, "grey_alpha"),
        AudioSignal(48000, 2, 100),
        VideoSignal(37, 53),
        TensorSignal(),
    ],
    ids=lambda signal: "-".join(str(v) for v in signal.describe().values()),
)
def test_signals_that_the_codec_does_not_carry(
    tiny: WallocImageCodec, stream: bytes, header: TrackHeader, signal: Signal
) -> None:
    with pytest.raises(CorruptStreamError, match="8-bit grey or RGB"):
        tiny.decode(pack_single(replace(header, signal=signal), bytes(unpack_single(stream)[1])))


def test_other_weights_are_named(tiny: WallocImageCodec, stream: bytes, header: TrackHeader) -> None:
    payload = bytes(unpack_single(stream)[1])
    other_tables = pack_single(replace(header, tables_hash="0badf00d"), payload)
    with pytest.raises(WeightsMismatchError, match=r"0badf00d.*load"):
        tiny.decode(other_tables)
    with pytest.raises(WeightsMismatchError, match=r"0badf00d.*isthmus\.load"):
        isthmus.decode(other_tables)
    with pytest.raises(WeightsMismatchError, match="do not ship"):
        isthmus.decode(stream)  # the tiny codec ships with nothing
    other_weights = pack_single(replace(header, weights_hash="0badf00d"), payload)
    torch.testing.assert_close(tiny.unpack(other_weights).planes["y"], tiny.unpack(stream).planes["y"])
    with pytest.raises(WeightsMismatchError, match="0badf00d"):
        tiny.decode(other_weights)
    for call in (isthmus.decode, tiny.decode):
        with pytest.raises((UnknownCodecError, WeightsMismatchError), match=r"walloc\.99"):
            call(pack_single(replace(header, codec_id="walloc.99"), payload))


def test_a_stream_of_one_codec_handed_to_another(shipped: WallocImageCodec, stream: bytes) -> None:
    with pytest.raises(WeightsMismatchError, match=shipped.name):
        shipped.decode(stream)
