# SPDX-License-Identifier: Apache-2.0
"""A codec of sound of a few channels, random where a trained one is fitted: made in a second, exact all the same."""

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

import isthmus
from isthmus.codecs.walloc.audio.codec import WallocAudioCodec
from isthmus.codecs.walloc.audio.weights import save_audio_weights
from isthmus.models.walloc.audio import WallocAudio, WallocAudioConfig
from isthmus.training.walloc.audio.klt import initialize
from tests.entropy.models.random_causal import random_causal

UNIT = 256 * 16  # samples of a unit of the tiny codec


@cache
def tiny_codec(transform: str = "mdct") -> WallocAudioCodec:
    """Of a hop of 16 samples, so that seconds of sound have many units."""
    torch.manual_seed(0)
    config = WallocAudioConfig(6, transform=transform, factor=16, width=8, blocks=2, kernel=3)
    model = WallocAudio(config)
    initialize(
        model, [torch.from_numpy(tones(2, 4096, seed)[None]) for seed in range(3)], [0.3 / 2**i for i in range(8)]
    )
    torch.nn.init.normal_(model.network.output.weight, std=0.1)
    path = Path(mkdtemp()) / "tiny.safetensors"
    noise = random_causal(2, config.signal_channels * config.noise_groups)
    save_audio_weights(path, model, random_causal(1, 6), noise)
    codec = isthmus.load(str(path))
    assert isinstance(codec, WallocAudioCodec)
    return codec


def tones(channels: int, count: int, seed: int = 0) -> np.ndarray:
    """float32 [channels, count]: tones in noise, louder and quieter."""
    rng = np.random.default_rng(seed)
    t = np.arange(count)
    waves = [np.sin(t * rng.uniform(0.02, 0.6) + c) * (1 + np.sin(t / 900)) for c in range(channels)]
    return (0.2 * np.array(waves).reshape(channels, count) + 0.02 * rng.standard_normal((channels, count))).astype(
        np.float32
    )


def cut_at(sound: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Blocks of the sizes given, then the rest."""
    at = 0
    for size in [*sizes, sound.shape[1]]:
        yield sound[:, at : at + size]
        at += size


class Pipe(io.RawIOBase):
    """Bytes that can be read once, forwards."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, count: int = -1) -> bytes:
        return self._data.read(count)
