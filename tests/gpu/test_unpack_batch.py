# SPDX-License-Identifier: Apache-2.0
"""`codec.unpack_batch(streams, device="cuda")`: the integers of the CPU, and a word for what the GPU does not do."""

import warnings

import numpy as np
import pytest
import torch

import isthmus
from isthmus.bitstream import pack_single, unpack_single
from isthmus.errors import CorruptStreamError

NAMES = ("walloc-image-f8c12", "walloc-image-f8c48")


@pytest.fixture(scope="module")
def streams(astronaut: np.ndarray) -> dict[str, list[bytes]]:
    """Streams of one size and several qualities, of each codec."""
    found = {}
    for name in NAMES:
        codec = isthmus.load(name)
        places = [(y, x) for y in (0, 90, 200) for x in (10, 150, 288)]
        found[name] = [
            codec.encode(astronaut[y : y + 120, x : x + 200], quality=5 + 11 * i, entropy="factorized")
            for i, (y, x) in enumerate(places)
        ]
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_unpacks_the_same_integers(device: torch.device, streams: dict[str, list[bytes]], name: str) -> None:
    codec, data = isthmus.load(name), streams[name]
    here = codec.unpack_batch(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there = codec.unpack_batch(data, device=str(device))
    assert there.planes["y"].device == device and there.planes["y"].dtype == torch.int16
    assert torch.equal(there.planes["y"].cpu(), here.planes["y"])
    assert [latent.spec for latent in there.latents] == [latent.spec for latent in here.latents]
    assert codec.pack_batch(there.latents) == data
    assert torch.equal(there.dequantize()["y"].cpu(), here.dequantize()["y"])


@pytest.mark.gpu
def test_sizes_in_any_order_and_broken_streams(device: torch.device, astronaut: np.ndarray) -> None:
    codec = isthmus.load(NAMES[0])
    shapes = [(8, 8), (64, 64), (8, 8), (1, 300), (64, 64)]
    data = [codec.encode(astronaut[:h, :w], quality=60, entropy="factorized") for h, w in shapes]
    header, payload = unpack_single(data[1])
    forged = pack_single(header, bytes(payload[:-2]) + b"\xff\xff")  # whole as a stream, not as a payload
    given = [data[0], forged, *data[1:], b"nothing"]
    batch = codec.unpack_batch(given, errors="return", device=str(device))
    assert list(batch.errors) == [1, 6] and len(batch) == 5
    for latent, stream in zip(batch.latents, data, strict=True):
        assert torch.equal(latent.planes["y"].cpu(), codec.unpack(stream).planes["y"])
    with pytest.raises(CorruptStreamError, match="stream 1 of 7"):
        codec.unpack_batch(given, device=str(device))


@pytest.mark.gpu
def test_contexts_are_left_to_the_cpu_with_a_word(device: torch.device, astronaut: np.ndarray) -> None:
    codec = isthmus.load(NAMES[0])
    data = [codec.encode(astronaut[:64, :64], quality=q) for q in (20, 80)]
    with pytest.warns(UserWarning, match="decoded on the CPU.*contexts"):
        batch = codec.unpack_batch(data, device=str(device))
    assert torch.equal(batch.planes["y"].cpu(), codec.unpack_batch(data).planes["y"])


@pytest.mark.gpu
def test_extreme_latents(device: torch.device, astronaut: np.ndarray) -> None:
    """Escapes, offsets and the ends of 16 bits."""
    codec = isthmus.load(NAMES[0])
    latent = codec.unpack(codec.encode(astronaut[:64, :64], entropy="factorized"))
    y = latent.planes["y"].clone()
    y[0, 0, :4] = torch.tensor([-(1 << 15), (1 << 15) - 1, 900, -900])
    y[3] += 1000
    data = codec.pack(isthmus.Latent({"y": y}, type(latent.spec)(latent.spec.header), codec))
    assert torch.equal(codec.unpack_batch([data] * 3, device=str(device)).planes["y"][2].cpu(), y)
