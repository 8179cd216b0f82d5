# SPDX-License-Identifier: Apache-2.0
"""Latents of units back to samples, unit by unit: each sees the frames around it, and depends on no other part.

Linear synthesis and noise are sums of the kernels, in a fixed order; the network alone is torch's.
"""

from typing import NamedTuple

import numpy as np
import torch

from isthmus.arrays.types import Float32, Int16
from isthmus.models.walloc.audio import ResidualNetwork, WallocAudio
from isthmus.models.walloc.audio_linear import AudioLinear

NEAR = 2  # frames around coded ones where the network may add: what is silent stays silent


class Window(NamedTuple):
    """What a unit is made of: frames from `low` on, of which the unit's own begin at `first`.

    q: int16 [c, frames]; deviations: of the noise in each band, [n, frames]; blocks: that it gives.
    """

    low: int
    first: int
    blocks: int
    q: Int16
    deviations: Float32


class UnitSynthesis:
    """The samples [2, n] of a unit at the coded rate and the model's level.

    model: None for the linear synthesis alone. noise: whether noise is filled in.
    """

    def __init__(
        self,
        linear: AudioLinear,
        model: WallocAudio | None,
        device: torch.device,
        quality: int,
        noise: bool,
        mono: bool,
    ) -> None:
        self.linear, self.model, self.device = linear, model, device
        self.noise, self.mono = noise, mono
        self.step = linear.step(quality)
        self.level = linear.level(quality).to(device)
        self.reach = ResidualNetwork.reach(linear.config) if model is not None else 0

    def unit(self, window: Window) -> Float32:
        """Samples [2, blocks * hop]. To be called by `run_each` where there is a network on the CPU."""
        begin = window.first - window.low
        frames = slice(begin, begin + window.blocks + self.linear.config.bank.synthesis_blocks - 1)
        x = self.linear.synthesize(window.q[:, frames] * self.step[:, None])
        coded = np.pad(window.q.any(0), NEAR)
        near = np.logical_or.reduce(np.lib.stride_tricks.sliding_window_view(coded, 2 * NEAR + 1), 1)[frames]
        bands = []
        if self.model is not None and near.any():
            bands.append(np.where(near, self._residual(self.model, window.q)[:, frames], np.float32(0)))
        if self.noise and window.deviations.any():
            white = self._white(window.first, frames.stop - frames.start)
            bands.append(window.deviations[:, frames] * white)
        return x + self.linear.samples_of(sum(bands[1:], bands[0])) if bands else x

    def _residual(self, model: WallocAudio, q: Int16) -> Float32:
        """What the network adds to bands, [n, frames]."""
        found: Float32 = model.residual(torch.from_numpy(q).to(self.device).float()[None], self.level)[0].cpu().numpy()
        return found

    def _white(self, first: int, count: int) -> Float32:
        """Noise of variance 1, [n, count], a function of frame and band alone; one channel gets the same twice."""
        config = self.linear.config
        bands = config.factor if self.mono else config.bands
        place = np.arange(first, first + count, dtype=np.uint64) * np.uint64(config.bands)
        word = place + np.arange(1, bands + 1, dtype=np.uint64)[:, None]
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # of SplitMix64
            word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor)
        uniform = (word >> np.uint64(32)).astype(np.float32) * np.float32(2**-31) - np.float32(1)
        white = uniform * np.float32(3**0.5)
        return np.concatenate([white] * config.signal_channels) if self.mono else white
