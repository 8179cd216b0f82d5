# SPDX-License-Identifier: Apache-2.0
"""Sound as one tensor on the training device, and random crops gathered there without a Python loop."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.types import Float32
from isthmus.codecs.walloc.audio.scale import PEAK
from isthmus.codecs.walloc.audio.unit import coded_rate
from isthmus.errors import UnreadableFileError
from isthmus.kernels.resample.resampler import resample
from isthmus.media.audio import open_sound
from isthmus.training.data.reading import read_each

QUIETER, LOUDER = 0.5, 1.0  # factors of a crop: recordings are not all as loud below their peak
MONO = 0.1  # of crops


def pair_of(sound: Float32) -> Float32:
    """float32 [C, T] to [2, T], mean 0, peak 0.5 over both; one channel twice, of more than two the first two."""
    pair = np.broadcast_to(sound, (2, sound.shape[1])) if len(sound) == 1 else sound[:2]
    pair = pair - pair.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
    peak = float(np.abs(pair).max(initial=0.0))
    return pair * np.float32(PEAK / peak) if peak > 0 else pair


def load_sound(path: Path, longest: float) -> Float32:
    """The middle of a file, `longest` seconds at most, at the rate that the codec codes it at: float32 [C, T].

    Raises UnreadableFileError.
    """
    sound = open_sound(path)
    try:
        coded = coded_rate(sound.sample_rate)
    except ValueError as error:
        raise UnreadableFileError(f"{path}: {str(error).removeprefix('encode: ')}") from error
    most = int(longest * sound.sample_rate)
    skipped = 0 if sound.samples is None else max(0, (sound.samples - most) // 2)
    found: list[Float32] = []
    there = 0
    for block in sound.blocks():
        if there >= skipped + most:
            break
        found.append(block[:2, max(0, skipped - there) : skipped + most - there])
        there += block.shape[1]
    whole = np.concatenate(found, 1) if found else np.zeros((1, 0), np.float32)
    if not np.isfinite(whole).all():
        raise UnreadableFileError(f"{path}: holds NaN or infinite samples")
    return resample(whole, sound.sample_rate, coded)


def read_all(files: Sequence[Path], longest: float) -> Iterator[Float32]:
    """`load_sound` of files, as `read_each` says."""
    return read_each(lambda path: load_sound(path, longest), files, "sounds")


class SoundBank:
    """Recordings, at 44.1 or 48 kHz, as int16 one after another on a device.

    sounds: float32 [C, T] each; those shorter than `least` samples are left out. Raises ValueError if all are, and
    where all is silence.
    """

    def __init__(self, sounds: Iterable[Float32], least: int, device: torch.device) -> None:
        words = [np.rint(pair_of(x) * 65535).astype(np.int16) for x in sounds if x.shape[1] >= least]
        if not words:
            raise ValueError(f"no sound of at least {least} samples")
        if not any(x.any() for x in words):
            raise ValueError("only silence in these files, of which nothing can be learned")
        lengths = torch.tensor([x.shape[1] for x in words])
        self.words = torch.cat([torch.from_numpy(x.T.copy()) for x in words]).to(device)  # [P, 2]
        self.starts = (torch.cumsum(lengths, 0) - lengths).to(device)
        self.lengths = lengths.to(device)

    def __len__(self) -> int:
        return len(self.lengths)

    def sound(self, place: int) -> Tensor:
        """One recording: float32 [2, T]."""
        start, length = int(self.starts[place]), int(self.lengths[place])
        return self.words[start : start + length].T.float() / 65535

    def sample(self, batch: int, samples: int, generator: torch.Generator) -> Tensor:
        """Random crops, channels and signs turned at random, some mono: float32 [batch, 2, samples].

        Recordings are drawn in proportion to their length.
        """
        device = self.words.device

        def uniform(n: int = batch) -> Tensor:
            return torch.rand(n, device=device, generator=generator)

        which = torch.multinomial(self.lengths.float(), batch, replacement=True, generator=generator)
        begin = self.starts[which] + (uniform() * (self.lengths[which] - samples + 1)).long()
        x = self.words[begin[:, None] + torch.arange(samples, device=device)].transpose(1, 2).float() / 65535
        x = torch.where(uniform()[:, None, None] < 0.5, x, x.flip(1))
        x = torch.where(uniform()[:, None, None] < MONO, x.mean(1, keepdim=True), x)
        factor = QUIETER + (LOUDER - QUIETER) * uniform()
        return x * (factor * torch.where(uniform() < 0.5, 1.0, -1.0))[:, None, None]
