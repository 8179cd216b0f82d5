# SPDX-License-Identifier: Apache-2.0
"""Contexts along time on a GPU: the integers of the CPU, or its errors, for every payload."""

import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

import isthmus
from isthmus.bitstream import StreamWriter
from isthmus.codecs.walloc.audio.writer import write_units
from isthmus.entropy.models import device_causal
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.causal_predictor import CausalPredictor
from isthmus.entropy.models.context_tables import ContextChoices
from isthmus.entropy.models.device_causal import Places
from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.context import causal as kernels
from isthmus.kernels.cuda.rans.status import BAD_BOUNDS, OK
from tests.codecs.walloc.audio.tiny import tones
from tests.entropy.models.random_causal import random_causal, random_causal_arrays
from tests.entropy.models.random_context import laplace_tables

pytestmark = pytest.mark.gpu
NAMES = ("walloc-audio-f256c27", "walloc-audio-f256c108")
HOP, UNIT = 256, 1 << 16
LENGTHS = (0, 1, 255, 256, 257, 255 * HOP, UNIT - 1, UNIT, UNIT + 1, 257 * HOP, 3 * UNIT + 777)
Item = tuple[bytes, int, int]  # payload, frames, row


def assert_unpacks_alike(codec: isthmus.Codec, data: Sequence[bytes], device: torch.device) -> int:
    """Streams on the GPU as on the CPU; returns how many were whole."""
    here = codec.unpack_batch(data, errors="return")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there = codec.unpack_batch(data, errors="return", device=str(device))
    assert [(p, str(e)) for p, e in there.errors.items()] == [(p, str(e)) for p, e in here.errors.items()]
    for one, other in zip(there.latents, here.latents, strict=True):
        assert all(plane.device == device and plane.dtype == torch.int16 for plane in one.planes.values())
        assert one == other and one.spec.choices == other.spec.choices
    return len(there)


def rebuilt(codec: isthmus.Codec, data: bytes, change: Callable[[int, bytes], bytes]) -> bytes:
    """The stream with other payloads of its units, whole as a stream."""
    units = codec.open(data)
    file = io.BytesIO()
    writer = StreamWriter(file)
    writer.header(0, units.header)
    write_units(writer, 0, [change(unit, bytes(p or b"")) for unit, p in units.payloads()], last=True)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_length_at_once(device: torch.device, name: str, channels: int) -> None:
    codec = isthmus.load(name)
    data = [
        codec.encode(tones(channels, length, i), sample_rate=44100, quality=1 + 9 * i, noise=with_noise)
        for i, length in enumerate(LENGTHS)
        for with_noise in (True, False)
    ]
    assert assert_unpacks_alike(codec, data, device) == len(data)
    there = codec.unpack_batch(data, device=str(device))
    assert codec.pack_batch(there.latents) == data
    assert torch.equal(there.latents[-1].dequantize()["y"].cpu(), codec.unpack(data[-1]).dequantize()["y"])


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_units(device: torch.device, name: str) -> None:
    codec, rng = isthmus.load(name), np.random.default_rng(0)
    kinds = [
        codec.encode(tones(2, int(n), i), sample_rate=(44100, 48000)[i % 2], quality=10 * i + 5)
        for i, n in enumerate(rng.integers(1, 5 * UNIT, 8))
    ]
    order = rng.integers(0, len(kinds), 1200)
    here = [codec.unpack(one) for one in kinds]
    there = codec.unpack_batch([kinds[i] for i in order], device=str(device))
    assert all(latent == here[i] for i, latent in zip(order, there.latents, strict=True))
    stacked = codec.unpack_batch([kinds[3]] * 50, device=str(device)).planes
    for plane, expected in stacked.items():
        assert stacked[plane].shape[0] == 50 and (expected.cpu() == here[3].planes[plane]).all()


@pytest.mark.parametrize("name", NAMES)
def test_extreme_latents(device: torch.device, name: str) -> None:
    """Escapes and the ends of 16 bits."""
    codec, rng = isthmus.load(name), np.random.default_rng(1)
    latent = codec.unpack(codec.encode(tones(2, UNIT + 5000, 1), sample_rate=44100))
    y = latent.planes["y"].clone()
    y[torch.from_numpy(rng.random(y.shape) < 0.05)] = 3000
    y[0, :4] = torch.tensor([-(1 << 15), (1 << 15) - 1, 900, -900])
    y[-1] = torch.from_numpy(rng.integers(-(1 << 15), 1 << 15, y.shape[1]).astype(np.int16))
    data = codec.pack(isthmus.Latent({**latent.planes, "y": y}, type(latent.spec)(latent.spec.header), codec))
    assert assert_unpacks_alike(codec, [data] * 3, device) == 3
    assert torch.equal(codec.unpack_batch([data], device=str(device)).planes["y"][0].cpu(), y)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_payloads(device: torch.device, name: str) -> None:
    codec, rng = isthmus.load(name), np.random.default_rng(2)
    good = codec.encode(tones(2, UNIT + 3000, 2), sample_rate=44100, quality=40)

    def flip(unit: int, payload: bytes) -> bytes:
        if unit != chosen or not payload:
            return payload
        damaged = bytearray(payload)
        at = int(rng.integers(min(len(damaged), 40 if rng.random() < 0.5 else len(damaged))))
        damaged[at] ^= 1 << rng.integers(8)
        return bytes(damaged[: rng.integers(len(damaged))] if rng.random() < 0.1 else damaged)

    given = [good]
    for i in range(150):
        chosen = i % 2
        given.append(rebuilt(codec, good, flip))
    raw = [bytearray(good) for _ in range(20)]
    for one in raw:
        one[rng.integers(len(one))] ^= 1 << rng.integers(8)
    given += [*map(bytes, raw), good, good[:-5], b""]
    whole = assert_unpacks_alike(codec, given, device)
    assert 2 <= whole < 60
    with pytest.raises(CorruptStreamError, match="stream 2 of 3: unit 1"):
        broken = rebuilt(codec, good, lambda unit, payload: payload[: -1 - unit] if unit else payload)
        codec.unpack_batch([good, good, broken], device=str(device))


def decode_all(model: CausalModel, items: Sequence[Item], device: torch.device, group: int) -> int:
    """Payloads with their frames and rows as the CPU decodes them; returns how many are whole."""
    channels = model.predictor.channels
    fits = device_causal.has_room(model, [item[0] for item in items], np.array([item[1] for item in items]))
    there = [item for item, fit in zip(items, fits, strict=True) if fit]
    frames, rows = (np.array([item[i] for item in there], np.int64) for i in (1, 2))
    strides = frames + 3  # gaps, which must stay as they are
    ends = np.cumsum(channels * strides)
    out = torch.full((int(ends[-1]),), 7777, dtype=torch.int16, device=device)
    places = Places(frames, ends - channels * strides, strides, rows)
    with pytest.MonkeyPatch.context() as patch:
        p = model.predictor
        biases, lags = (p.mean_bias, p.scale_bias, p.scale_offset), int(p.tap_lags.max(initial=0))
        uploaded = kernels.DeviceCausal.upload(p.weights, biases, lags, model.family, device, group)
        patch.setattr(device_causal, "_uploaded", lambda *_: uploaded)
        offsets, whole = device_causal.decode_units(model, [item[0] for item in there], places, out)
    found, number = out.cpu().numpy(), 0
    for (payload, count, row), fit in zip(items, fits, strict=True):
        try:
            planes, choices = model.decode(payload, (channels, count), row)
        except CorruptStreamError:
            assert not fit or not whole[number]
        else:
            assert fit and whole[number] and tuple(offsets[number].tolist()) == choices.offsets
            part = found[places.firsts[number] : ends[number]].reshape(channels, count + 3)
            assert np.array_equal(part[:, :count], planes)
        if fit:
            part = found[places.firsts[number] : ends[number]].reshape(channels, -1)
            assert (part[:, -3:] == 7777).all()
        number += bool(fit)
    return int(whole.sum())


@pytest.mark.parametrize("group", [1, 4, 8, 32])
@pytest.mark.parametrize("channels", [1, 6, 27, 108, 512])
def test_random_models(device: torch.device, channels: int, group: int) -> None:
    model, rng = random_causal(channels, channels), np.random.default_rng(channels)
    items: list[Item] = []
    for i, frames in enumerate((0, 1, 4, 16, 33)):
        for scale in (0.3, 3, 40):
            y = np.rint(rng.laplace(0, scale, (channels, frames))).astype(np.int16)
            if frames and scale == 40:
                y.flat[0], y.flat[-1] = (1 << 15) - 1, -(1 << 15)
            offsets = tuple(rng.integers(-6, 7, channels).tolist())
            for lanes in (1, 2, 4, 8, 16, 32):
                row = 1 + 24 * i
                items.append((model.encode(y, row, ContextChoices(lanes, offsets)), frames, row))
    assert decode_all(model, items, device, group) == len(items)
    damaged: list[Item] = []
    for payload, frames, row in items[:: 1 if channels < 512 else 7]:
        for kind in range(5):
            changed = bytearray(payload)
            if kind == 0:
                changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
            elif kind == 1:
                changed = changed[: rng.integers(len(changed))]
            elif kind == 2:
                changed += rng.bytes(int(rng.integers(1, 9)))
            elif kind == 3:
                changed = bytearray([int(rng.integers(7)), *rng.bytes(int(rng.integers(0, 200)))])
            else:
                frames, row = frames + int(rng.integers(4)), int(rng.integers(1, 101))
            damaged.append((bytes(changed), frames, row))
    assert decode_all(model, damaged, device, group) < len(damaged) / 2


def test_taps_as_far_and_as_heavy_as_they_may_be(device: torch.device) -> None:
    arrays, rng = random_causal_arrays(5, 512, most=1), np.random.default_rng(5)
    of_means = int(arrays["tap_counts"][0].sum())
    arrays["tap_lags"][::2], arrays["tap_planes"][::2] = 15, 0
    signs = rng.choice((-1, 1), len(arrays["tap_weights"])).astype(np.int32)
    heavy = signs * np.where(np.arange(len(signs)) < of_means, 16000, 32767) - (signs < 0)
    arrays["tap_weights"] = heavy.astype(np.int16)
    model = CausalModel(CausalPredictor(**arrays), laplace_tables())
    items: list[Item] = []
    for frames in (1, 15, 16, 17, 40):
        y = rng.integers(-1100, 1100, (512, frames)).astype(np.int16)
        items.append((model.encode(y, 7), frames, 7))
    assert decode_all(model, items, device, kernels.GROUP) == len(items)


def test_bounds_that_are_none(device: torch.device) -> None:
    model = random_causal(3, 4)
    p = model.predictor
    there = kernels.DeviceCausal.upload(
        p.weights, (p.mean_bias, p.scale_bias, p.scale_offset), 15, model.family, device
    )
    payload = model.encode(np.ones((4, 5), np.int16), 1)
    data = torch.tensor(list(payload), dtype=torch.uint8, device=device)
    fine = [0, len(payload), 5, 0, 5, 0]
    wrong = {0: (-1, 1, 1 << 62), 1: (-1, len(payload) + 1, 1 << 62), 2: (-1, 6, 1 << 40), 3: (-1, 1, 1 << 62)}
    wrong |= {4: (-1, 4, 6, 1 << 50), 5: (-1, 100)}
    units = [fine, *([*fine[:i], value, *fine[i + 1 :]] for i, values in wrong.items() for value in values)]
    out = torch.zeros(20, dtype=torch.int16, device=device)
    status = kernels.decode(data, torch.tensor(units, device=device), there, out)[1].cpu().tolist()
    assert status == [OK] + [BAD_BOUNDS] * (len(units) - 1) and (out == 1).all()
    for given in ((data.cpu(), out), (data, out.int()), (data, out.view(4, 5)), (data, out[::2])):
        with pytest.raises(ValueError, match="int64 units"):
            kernels.decode(given[0], torch.tensor([fine], device=device), there, given[1])
