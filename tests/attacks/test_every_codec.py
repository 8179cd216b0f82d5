# SPDX-License-Identifier: Apache-2.0
"""Damage to the streams of every family: only children of IsthmusError, whatever is cut, flipped, added or forged."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isthmus
from isthmus.bitstream import pack_single, read_header, unpack_single
from isthmus.errors import CorruptStreamError, IsthmusError
from tests.codecs.case import Case, all_ship, every_case

each_case = pytest.mark.parametrize("case", every_case(), ids=lambda case: case.name)
MOST_PLACES = 1500  # that are tried one by one


@pytest.fixture(autouse=True, scope="module")
def every_family() -> Iterator[None]:
    with all_ship():
        yield


def places(count: int) -> range:
    """All places of a small stream, some of a larger one."""
    return range(0, count, max(1, count // MOST_PLACES))


@each_case
def test_every_truncation_is_refused(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    for length in places(len(data)):
        with pytest.raises(CorruptStreamError):
            codec.decode(data[:length])


@each_case
def test_every_bit_flip_is_refused(case: Case) -> None:
    """A flip hits the magic, a chunk's head or what a CRC-32 covers, and a CRC-32 finds every single flipped bit."""
    codec, data = isthmus.load(case.codec), case.encode()
    for place in places(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        for call in (codec.decode, isthmus.decode):
            with pytest.raises(IsthmusError):
                call(bytes(damaged))


@each_case
def test_more_than_the_stream_is_refused(case: Case) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    for tail in (b"\x00", b"tail", data):
        with pytest.raises(CorruptStreamError):
            codec.decode(data + tail)


@each_case
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.data())
def test_forged_payloads(case: Case, random: st.DataObject) -> None:
    """The container is whole, its checksum right: a clear error, or samples."""
    codec, data = isthmus.load(case.codec), case.encode()
    header, payload = unpack_single(data)
    changed = bytearray(payload)
    for _ in range(random.draw(st.integers(1, 3)) if changed else 0):
        changed[random.draw(st.integers(0, len(changed) - 1))] = random.draw(st.integers(0, 255))
    changed = changed[: random.draw(st.integers(0, len(changed)))] if random.draw(st.booleans()) else changed
    try:
        codec.decode(pack_single(header, changed))
    except IsthmusError as error:
        assert str(error)


@each_case
@pytest.mark.parametrize("options", [b"", b"\xff", b"\xff\xff\x03", b"\x80\x00", bytes(40)])
def test_forged_options(case: Case, options: bytes) -> None:
    codec, data = isthmus.load(case.codec), case.encode()
    header, payload = unpack_single(data)
    forged = pack_single(replace(header, options=options), payload)
    if options != header.options:
        with pytest.raises(CorruptStreamError):
            codec.decode(forged)
        assert isthmus.inspect(forged)["options"] == options.hex()  # what is there can still be looked at


@each_case
def test_another_codec_refuses_it(case: Case) -> None:
    data = case.encode()
    for name in isthmus.list_codecs():
        codec = isthmus.load(name)
        if read_header(data).codec_id not in type(codec).__module__ and codec.kind != isthmus.load(case.codec).kind:
            with pytest.raises(IsthmusError):
                codec.decode(data)
