# SPDX-License-Identifier: Apache-2.0
"""Sound that a codec on a GPU decodes: the samples of the CPU, but for the rounding of floats."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import isthmus
from isthmus.media import audio
from isthmus.samples import SPEECH

pytestmark = pytest.mark.gpu
NAMES = ("walloc-audio-f256c27", "walloc-audio-f256c108")
NEAR = 1e-3  # of full scale
UNIT = 1 << 16


@pytest.fixture(params=["highest", "high"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of float32 products, as callers may have set it; "high" is TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


def speech(channels: int, count: int) -> tuple[np.ndarray, int]:
    """As much of the speech that ships, again and again; the second channel is another moment of it."""
    sound, told = audio.read(SPEECH, {})
    long = np.tile(sound[0], 2 + 2 * count // sound.shape[1])
    return np.stack([long[c * 20000 : c * 20000 + count] for c in range(channels)]), told["sample_rate"]


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.device == expected.device and found.dtype == expected.dtype and found.shape == expected.shape
    assert torch.isfinite(found).all() and (found.numel() == 0 or (found - expected).abs().max() <= NEAR)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("noise", [True, False])
def test_samples_are_those_of_the_cpu(
    device: torch.device, name: str, channels: int, noise: bool, precision: str
) -> None:
    here, there = isthmus.load(name), isthmus.load(name, device=str(device))
    for count in (0, 1, 255, 4000, UNIT // 2, UNIT):  # up to 3 units of 1.5 s
        sound, rate = speech(channels, count)
        data = here.encode(sound, sample_rate=rate, quality=40, noise=noise)
        assert there.encode(sound, sample_rate=rate, quality=40, noise=noise) == data
        for options in ({}, {"noise": False}, {"synthesis": "linear"}):
            assert_near(there.decode(data, **options), here.decode(data, **options))


@pytest.mark.parametrize("name", NAMES)
def test_parts_blocks_and_latents_on_the_gpu(device: torch.device, name: str) -> None:
    here, there = isthmus.load(name), isthmus.load(name, device=str(device))
    sound, rate = speech(2, 3 * UNIT)
    data = here.encode(sound, sample_rate=rate)
    whole = here.decode(data)
    for start, stop in ((0.0, 0.01), (1.0, 7.5), (2.96, 2.98), (8.2, None)):
        part = whole[:, round(start * rate) : None if stop is None else round(stop * rate)]
        assert_near(there.decode(data, start=start, stop=stop), part)
    with there.open(data) as units:
        blocks = [torch.as_tensor(block) for block in units.blocks()]
    assert len(blocks) > 2
    assert_near(torch.cat(blocks, 1), whole)
    latent = there.unpack_batch([data], device=str(device)).latents[0]
    assert latent.planes["y"].device == device
    assert_near(there.synthesize(latent), whole)
    assert torch.equal(torch.stack(list(there.decode([data, data]))), torch.stack([there.decode(data)] * 2))
