# SPDX-License-Identifier: Apache-2.0
"""Batches of unlike images, and what a header may claim before memory is taken for it."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

import isthmus
from isthmus.arrays.image import MAX_PIXELS
from isthmus.bitstream import pack_single, unpack_single
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.errors import CorruptStreamError
from isthmus.signals import ImageSignal


def test_batches_come_back_as_they_went(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    batch = torch.from_numpy(np.stack([astronaut[:24, :40], astronaut[40:64, 80:120]])).permute(0, 3, 1, 2)
    streams = tiny.encode(batch, quality=np.int64(80))
    found = tiny.decode(streams)
    assert found.dtype == torch.uint8 and found.shape == (2, 3, 24, 40)
    assert all(torch.equal(one, tiny.decode(data)) for one, data in zip(found, streams, strict=True))
    assert tiny.decode(streams, output="numpy").shape == (2, 24, 40, 3)
    assert isinstance(tiny.decode(streams, output="pil"), list)
    unlike = tiny.decode([*streams, tiny.encode(astronaut[:8, :8]), tiny.encode(astronaut[:24, :40, 0])])
    assert [tuple(one.shape) for one in unlike] == [(3, 24, 40), (3, 24, 40), (3, 8, 8), (1, 24, 40)]


def test_streams_of_several_codecs(astronaut: np.ndarray) -> None:
    crop = astronaut[:16, :24]
    names = ("walloc-image-f8c12", "walloc-image-f8c48")
    streams = [isthmus.encode(crop, codec=name) for name in names]
    found = isthmus.decode(streams)
    assert found.shape == (2, 3, 16, 24) and torch.equal(found[1], isthmus.decode(streams[1]))
    with pytest.raises(CorruptStreamError, match="stream 1 of 2"):
        isthmus.decode([streams[0], streams[1][:20]])
    assert isinstance(isthmus.decode([streams[0], isthmus.encode({"a": torch.ones(3)})]), list)


def claiming(data: bytes, height: int, width: int) -> bytes:
    header, payload = unpack_single(data)
    return pack_single(replace(header, signal=ImageSignal(height, width)), payload)


def test_too_many_pixels_are_refused_before_memory_is_taken(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    data = tiny.encode(astronaut[:64, :64])
    huge = claiming(data, 32768, 32768)
    tracemalloc.start()
    for call in (tiny.decode, lambda d: tiny.decode([data, d])):
        with pytest.raises(
            CorruptStreamError, match=r"32768x32768, 1,073,741,824 pixels; at most 268,435,456.*--max-pixels"
        ):
            call(huge)
    with pytest.raises(CorruptStreamError):  # no payload of so few bytes holds so many latents
        tiny.unpack(huge)
    with pytest.raises(CorruptStreamError):
        tiny.unpack_batch([data, huge])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6 and MAX_PIXELS == 1 << 28


def test_the_limit_is_an_option(tiny: WallocImageCodec, astronaut: np.ndarray) -> None:
    data = tiny.encode(astronaut[:10, :20])
    assert torch.equal(tiny.decode(data, max_pixels=200), tiny.decode(data))
    for call in (tiny.decode, lambda d, **o: tiny.synthesize(tiny.unpack(d), **o)):
        with pytest.raises(CorruptStreamError, match="20x10, 200 pixels; at most 199"):
            call(data, max_pixels=np.int32(199))
    with pytest.raises(ValueError, match="max_pixels True"):
        tiny.decode(data, max_pixels=True)
