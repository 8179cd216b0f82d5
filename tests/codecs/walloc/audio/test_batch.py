# SPDX-License-Identifier: Apache-2.0
"""Sounds in batches as a GPU decodes them, its kernel stood in for: what lies where, lengths, noise, broken streams."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from isthmus.codecs.base import LatentBatch
from isthmus.codecs.walloc.audio import batch, device_planes
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.device_causal import Places
from isthmus.errors import CorruptStreamError
from isthmus.models.walloc import noise
from tests.codecs.walloc.audio.tiny import UNIT, tiny_codec, tones

LENGTHS = (0, 1, 15, 16, 17, UNIT - 1, UNIT, UNIT + 1, 3 * UNIT + 40)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA decoder, unit by unit with the decoder of the CPU; "cuda" is the CPU by another name."""

    def decode_units(
        model: CausalModel, payloads: Sequence[memoryview], places: Places, out: torch.Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        channels = model.predictor.channels
        offsets, whole = np.full((len(payloads), channels), 99, np.int8), np.zeros(len(payloads), bool)
        for i, (payload, frames, first, stride, row) in enumerate(zip(payloads, *places, strict=True)):
            try:
                planes, choices = model.decode(payload, (channels, int(frames)), int(row))
            except CorruptStreamError:
                continue
            offsets[i], whole[i] = choices.offsets, True
            for c in range(channels):
                out[first + c * stride :][:frames] = torch.from_numpy(planes[c])
        return offsets, whole

    monkeypatch.setattr(device_planes, "decode_units", decode_units)
    monkeypatch.setattr(batch, "check_device", lambda device: "cpu" if device == "cpu" else "cpu:0")
    monkeypatch.setattr(batch.on_gpu, "refusal", lambda _: None)


def streams(codec: WallocAudioCodec) -> list[bytes]:
    """Mono and stereo, with and without noise, of several qualities and lengths."""
    return [
        codec.encode(tones(1 + i % 2, length, i), sample_rate=44100, quality=20 + 7 * i, noise=i % 3 > 0)
        for i, length in enumerate(LENGTHS)
    ]


def assert_equal(codec: WallocAudioCodec, there: LatentBatch, here: LatentBatch) -> None:
    assert len(there) == len(here)
    assert {place: str(error) for place, error in there.errors.items()} == {
        place: str(error) for place, error in here.errors.items()
    }
    for one, other in zip(there.latents, here.latents, strict=True):
        assert one == other and one.spec.choices == other.spec.choices
        assert all(plane.is_contiguous() for plane in one.planes.values())
    assert codec.pack_batch(there.latents) == codec.pack_batch(here.latents)


@pytest.mark.usefixtures("stand_in")
def test_equals_the_cpu() -> None:
    codec = tiny_codec()
    data = streams(codec)
    there = codec.unpack_batch(data, device="cuda")
    assert_equal(codec, there, codec.unpack_batch(data))
    assert codec.pack_batch(there.latents) == data
    assert there.latents[4] is there.latents[4]
    with pytest.raises(ValueError, match="different shapes"):
        _ = there.planes


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("with_noise", [False, True])
def test_equal_lengths_are_stacked(with_noise: bool) -> None:
    codec = tiny_codec()
    data = [codec.encode(tones(2, UNIT + 99, i), sample_rate=44100, noise=with_noise) for i in range(3)]
    there, here = codec.unpack_batch(data, device="cuda"), codec.unpack_batch(data)
    for name, plane in here.planes.items():
        assert torch.equal(there.planes[name], plane) and there.planes[name].is_contiguous()


@pytest.mark.usefixtures("stand_in")
def test_broken_streams_are_named_as_on_the_cpu() -> None:
    codec, rng = tiny_codec(), np.random.default_rng(0)
    data = streams(codec)
    given: list[bytes] = [b"", b"nothing", *data]
    for one in data[1:]:
        damaged = bytearray(one)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        given += [bytes(damaged), one[: rng.integers(len(one))]]
    there = codec.unpack_batch(given, errors="return", device="cuda")
    assert_equal(codec, there, codec.unpack_batch(given, errors="return"))
    assert len(there.errors) >= 2 * len(data)
    with pytest.raises(CorruptStreamError, match="stream 0 of"):
        codec.unpack_batch(given, device="cuda")
    assert len(codec.unpack_batch(given[:2], errors="return", device="cuda")) == 0
    assert len(codec.unpack_batch([], device="cuda")) == 0
    with pytest.raises(ValueError, match="errors"):
        codec.unpack_batch(data, errors="ignore", device="cuda")  # type: ignore[arg-type]


def test_levels_wrap_as_on_the_cpu() -> None:
    rng = np.random.default_rng(1)
    for groups in (1, 2, 7, 12):
        differences = rng.integers(-(1 << 15), 1 << 15, (5, groups, 4)).astype(np.int16)
        expected = np.stack([noise.levels_of(one) for one in differences])
        assert np.array_equal(device_planes.levels_of(torch.from_numpy(differences)).numpy(), expected)


def test_what_the_gpu_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = tiny_codec()
    data = streams(codec)[:3]
    monkeypatch.setattr(batch, "check_device", lambda device: device)
    monkeypatch.setattr(batch.on_gpu, "refusal", lambda _: "no compiler")
    monkeypatch.setattr(batch, "unpack_each", lambda unpack, data, errors, device: [unpack(one) for one in data])
    with pytest.warns(UserWarning, match="decoded on the CPU.*no compiler"):
        assert len(codec.unpack_batch(data, device="cuda")) == 3
