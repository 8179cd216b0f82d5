# SPDX-License-Identifier: Apache-2.0
"""The level of a sound: models know sounds of one peak and no mean, headers keep both."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.arrays.audio import to_audio
from isthmus.arrays.types import Float32
from isthmus.errors import CorruptStreamError
from isthmus.varint import BytesLike, pack_varint, unpack_varint

PEAK = 0.5  # of what the models see
UNITY, OCTAVE = 128, 8  # gain code of a factor of 1, and codes a factor of 2
STREAMED = UNITY - OCTAVE  # of a sound whose peak is not known before its end: it is taken to be full scale
LOUDEST = 2.0**15
FRACTION = 1 << 24  # sums of samples are exact in this unit, so that means do not depend on blocks
MEAN_UNIT = 1 << 16
MEAN_LIMIT = 1 << 49  # of a mean's spelling: the loudest at the largest factor takes 2^48


@dataclass(frozen=True)
class Scale:
    """y = factor x - mean; gain: code of the factor, 0..255; means: of each channel of y, in 1/65536."""

    gain: int = STREAMED
    means: tuple[int, ...] = ()

    @property
    def factor(self) -> float:
        return float(2.0 ** ((self.gain - UNITY) / OCTAVE))

    def apply(self, x: Float32) -> Float32:
        """Samples [C, T] as the model sees them."""
        return x * np.float32(self.factor) - self._means()

    def undo(self, y: Float32) -> Float32:
        """The inverse of `apply`."""
        return (y + self._means()) * np.float32(1 / self.factor)

    def _means(self) -> Float32:
        return (np.array(self.means or (0,), np.float32) / np.float32(MEAN_UNIT))[:, None]

    def describe(self) -> dict[str, Any]:
        """As JSON values: what is coded is `gain` times the sound, less the means of its channels."""
        return {"gain": round(self.factor, 6), "means": [round(mean / MEAN_UNIT, 6) for mean in self.means]}

    def pack(self) -> bytes:
        """The gain, then each mean, zigzag; no means at all where all are 0, nothing for the scale of a stream."""
        means = self.means if any(self.means) else ()
        if self.gain == STREAMED and not means:
            return b""
        return bytes([self.gain]) + b"".join(pack_varint(2 * m if m >= 0 else -2 * m - 1) for m in means)

    @classmethod
    def unpack(cls, data: BytesLike) -> "Scale":
        """The inverse of `pack`. Raises CorruptStreamError."""
        if not len(data):
            return cls()
        at, means = 1, []
        while at < len(data):
            code, at = unpack_varint(data, at, MEAN_LIMIT)
            means.append(-(code + 1) // 2 if code & 1 else code // 2)
        if len(means) > 2 or (means and not any(means)) or (data[0] == STREAMED and not means):
            raise CorruptStreamError(f"gain {data[0]} and {len(means)} means, which are spelled otherwise")
        return cls(data[0], tuple(means))


class Loudness:
    """What a first look at a sound finds out: its means and its peak about them; then `scale`."""

    def __init__(self, channels: int) -> None:
        self.samples = 0
        self._sums = [0] * channels
        self._low, self._high = np.zeros(channels), np.zeros(channels)

    def add(self, block: Float32) -> None:
        """The next samples [C, n], finite. Raises ValueError where they are far beyond full scale."""
        if not block.shape[1]:
            return
        low, high = block.min(1).astype(np.float64), block.max(1).astype(np.float64)
        if max(-low.min(), high.max()) > LOUDEST:
            raise ValueError(
                f"encode: samples reach {max(-low.min(), high.max()):g}; full scale is 1, expected at most {LOUDEST:g}"
            )
        self._low = np.minimum(self._low, low) if self.samples else low
        self._high = np.maximum(self._high, high) if self.samples else high
        for start in range(0, block.shape[1], 1 << 18):
            words = np.rint(block[:, start : start + (1 << 18)].astype(np.float64) * FRACTION).astype(np.int64)
            self._sums = [a + int(b) for a, b in zip(self._sums, words.sum(1), strict=True)]
        self.samples += block.shape[1]

    def scale(self) -> Scale:
        """The scale that brings the sound to mean 0 and a peak of PEAK, or a little less."""
        means = [s / FRACTION / max(1, self.samples) for s in self._sums]
        peak = max(max(h - m, m - low) for low, h, m in zip(self._low, self._high, means, strict=True))
        gain = min(255, max(0, math.floor(UNITY + OCTAVE * math.log2(PEAK / peak)))) if peak > 0 else UNITY
        factor = Scale(gain).factor
        codes = tuple(round(m * factor * MEAN_UNIT) for m in means)
        return Scale(gain, codes if any(codes) else ())


def first_look(blocks: Iterable[Any]) -> tuple[int, Scale]:
    """How many samples of each channel blocks [C, n] have, and their scale: for `write`, at a second reading.

    With both, `write` makes the bytes that `encode` makes of the whole.
    """
    loudness: Loudness | None = None
    for block in blocks:
        samples = to_audio(block)
        loudness = loudness or Loudness(len(samples))
        loudness.add(samples)
    return (loudness.samples, loudness.scale()) if loudness else (0, Scale())
