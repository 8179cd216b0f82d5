# SPDX-License-Identifier: Apache-2.0
"""Filter banks of sound: n bands of each channel, one value a band for every n samples (a block).

A bank is its filters, whatever made them, so that an MDCT and wavelet packets are analysed, synthesised and streamed
alike: frame t is made of the blocks from t + analysis_first on, and adds to those from t + synthesis_first on.

    band[k, t] = sum over i of analysis[k, i] x[n (t + analysis_first) + i]
    x[n (t + synthesis_first) + i] += synthesis[k, i] band[k, t]

Samples beyond both ends are those of whole-sample symmetric extension (docs/format.md). What a signal of B blocks needs
are the frames -synthesis_last .. B - 1 - synthesis_first; they are numbered from 0.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.models.wavelet_packet import ALPHA, BETA, DELTA, GAMMA, LOW_SCALE

TRANSFORMS = ("mdct", "packets")
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FilterBank:
    """analysis: float64 [n, blocks * n]; synthesis the same; first: the block of the first tap, relative to frame."""

    analysis: Float64
    analysis_first: int
    synthesis: Float64
    synthesis_first: int

    @property
    def hop(self) -> int:
        """Samples of a block, n."""
        return len(self.analysis)

    @property
    def analysis_blocks(self) -> int:
        return self.analysis.shape[1] // self.hop

    @property
    def synthesis_blocks(self) -> int:
        return self.synthesis.shape[1] // self.hop

    @property
    def lead(self) -> int:
        """Frames before the one of the first block."""
        return self.synthesis_first + self.synthesis_blocks - 1

    def frames(self, samples: int) -> int:
        """Frames from which so many samples come back; none of none."""
        blocks = -(-samples // self.hop)
        return blocks + self.synthesis_blocks - 1 if blocks else 0

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """The blocks that the analysis of frames first .. last (exclusive) sees, also beyond the signal's ends."""
        begin = first - self.lead + self.analysis_first
        return begin, begin + last - first + self.analysis_blocks - 1

    @lru_cache(maxsize=8)  # noqa: B019 (banks are kept for ever, by `filter_bank`)
    def _taps(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The filters where they are needed, brought there once. Not of inference mode: trainings get them too."""
        with torch.inference_mode(False):
            return torch.from_numpy(getattr(self, name)).to(device, dtype)

    def analyze(self, x: Tensor) -> Tensor:
        """Samples [..., blocks * n] to bands [..., n, frames] of the frames that lie wholly inside them."""
        taps = self._taps("analysis", x.device, x.dtype)
        return (x.unfold(-1, self.analysis.shape[1], self.hop) @ taps.T).transpose(-1, -2)

    def synthesize(self, bands: Tensor) -> Tensor:
        """Bands [..., n, frames] to the samples [..., blocks * n] of blocks that all their frames are there of."""
        parts = bands.transpose(-1, -2) @ self._taps("synthesis", bands.device, bands.dtype)
        count, frames = self.synthesis_blocks, bands.shape[-1]
        parts = parts.reshape(*parts.shape[:-1], count, self.hop)  # [..., frames, blocks, n]
        inside = [parts[..., count - 1 - i : frames - i, i, :] for i in range(count)]
        return torch.stack(inside).sum(0).flatten(-2)


@lru_cache(maxsize=8)
def filter_bank(transform: str, hop: int) -> FilterBank:
    """The bank of a transform. Raises ValueError for others, and for packets of a hop that is no power of two."""
    if transform == "mdct":
        return _mdct(hop)
    if transform == "packets" and hop > 1 and hop & (hop - 1) == 0:
        return _packets(hop.bit_length() - 1)
    raise ValueError(
        f"no filter bank {transform!r} of {hop} bands; known: {', '.join(TRANSFORMS)} (2, 4, 8, ... bands)"
    )


def _mdct(n: int) -> FilterBank:
    """Modified DCT with a sine window: orthonormal (Princen, Johnson and Bradley, ICASSP 1987)."""
    t, k = np.arange(2 * n) + 0.5, np.arange(n)[:, None] + 0.5
    window = np.sin(np.pi / (2 * n) * t)
    rows = np.sqrt(2 / n) * window * np.cos(np.pi / n * (t + n / 2) * k)
    return FilterBank(rows, -1, rows, -1)


def _packets(levels: int) -> FilterBank:
    """Full wavelet packets of CDF 9/7, of unit-norm synthesis filters: nearly orthogonal."""
    low, high, low_back, high_back = _lifted_filters()
    analysis, analysis_first = _cascade(low, high, levels)
    synthesis, synthesis_first = _cascade(low_back, high_back, levels)
    norm = np.linalg.norm(synthesis, axis=1, keepdims=True)
    return FilterBank(analysis * norm, analysis_first, synthesis / norm, synthesis_first)


def _lifted_filters() -> tuple[Any, Any, Any, Any]:
    """(first tap, taps) of the low and high analysis and synthesis filters that the lifting steps amount to.

    A high value belongs to the odd sample, so its taps are counted from that of the even one before it.
    """

    def add(a: dict[int, float], b: dict[int, float], factor: float) -> dict[int, float]:
        return {k: a.get(k, 0.0) + factor * b.get(k, 0.0) for k in a.keys() | b.keys()}

    def shift(a: dict[int, float], by: int) -> dict[int, float]:
        return {k + 2 * by: v for k, v in a.items()}

    s, d = {0: 1.0}, {1: 1.0}  # which samples, relative to the even one, each is made of
    for factor, odd in ((ALPHA, True), (BETA, False), (GAMMA, True), (DELTA, False)):
        if odd:
            d = add(d, add(s, shift(s, 1), 1.0), factor)
        else:
            s = add(s, add(d, shift(d, -1), 1.0), factor)

    def taps(a: dict[int, float], scale: float) -> tuple[int, Float64]:
        first = min(a)
        return first, np.array([a.get(k, 0.0) * scale for k in range(first, max(a) + 1)])

    low, high = taps(s, LOW_SCALE), taps(d, 1 / LOW_SCALE)
    # Perfect reconstruction: the synthesis filters are the other channel's, modulated.
    low_back = (high[0] - 1, -_alternate(*high))
    high_back = (low[0] + 1, _alternate(*low))
    return low, high, low_back, high_back


def _alternate(first: int, taps: Float64) -> Float64:
    """Taps with the signs of those of odd places turned."""
    return np.where(np.arange(first, first + len(taps)) % 2, -taps, taps)


def _apart(taps: Float64, step: int) -> Float64:
    """Taps with step - 1 zeros between two."""
    wide = np.zeros((len(taps) - 1) * step + 1)
    wide[::step] = taps
    return wide


def _cascade(low: tuple[int, Float64], high: tuple[int, Float64], levels: int) -> tuple[Float64, int]:
    """Filters of all leaves, low before high at each level: [2**levels, blocks * 2**levels] and the first block."""
    nodes = [(0, np.ones(1))]
    for level in range(levels):
        nodes = [
            (start + first * 2**level, np.convolve(taps, _apart(branch, 2**level)))
            for start, taps in nodes
            for first, branch in (low, high)
        ]
    hop = 2**levels
    begin = min(start for start, _ in nodes) // hop
    end = -(-max(start + len(taps) for start, taps in nodes) // hop)
    bank = np.zeros((hop, (end - begin) * hop))
    for row, (start, taps) in zip(bank, nodes, strict=True):
        row[start - begin * hop :][: len(taps)] = taps
    return bank, begin
