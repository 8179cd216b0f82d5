# SPDX-License-Identifier: Apache-2.0
"""Latents of units back to samples, unit by unit: each sees the frames around it, and depends on no other part.

Linear synthesis and noise are sums of the kernels, in a fixed order; the network alone is torch's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.arrays.types import Float32, Int16
from isthmus.devices import usual_settings
from isthmus.inference import run_each
from isthmus.kernels import threads
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

    def units(self, windows: Sequence[Window]) -> list[Float32]:
        """Samples [2, blocks * hop] of each, on as many threads as torch would use."""
        if self.model is None:
            return threads.run(self._unit, windows, torch.get_num_threads())
        if self.device.type == "cpu":
            return run_each(lambda window: self._unit(window, self._residual(window)), windows)
        with usual_settings(), torch.inference_mode():  # all have begun before one is waited for
            begun = [self._residual(window) for window in windows]
            found = [residual if residual is None else residual.cpu() for residual in begun]
        return threads.run(
            lambda two: self._unit(*two), list(zip(windows, found, strict=True)), torch.get_num_threads()
        )

    def _frames(self, window: Window) -> slice:
        """Those of a window that the samples of the unit are sums of."""
        begin = window.first - window.low
        return slice(begin, begin + window.blocks + self.linear.config.bank.synthesis_blocks - 1)

    def _unit(self, window: Window, residual: Tensor | None = None) -> Float32:
        frames = self._frames(window)
        x = self.linear.synthesize(window.q[:, frames] * self.step[:, None])
        bands = [] if residual is None else [residual.numpy()]
        if self.noise and window.deviations.any():
            bands.append(window.deviations[:, frames] * self._white(window.first, frames.stop - frames.start))
        return x + self.linear.samples_of(sum(bands[1:], bands[0])) if bands else x

    def _residual(self, window: Window) -> Tensor | None:
        """What the network adds to bands, [n, frames]; None where nothing was coded."""
        assert self.model is not None
        frames, coded = self._frames(window), np.pad(window.q.any(0), NEAR)
        near = np.logical_or.reduce(np.lib.stride_tricks.sliding_window_view(coded, 2 * NEAR + 1), 1)[frames]
        if not near.any():
            return None
        q = torch.from_numpy(window.q).to(self.device).float()[None]
        found: Tensor = self.model.residual(q, self.level)[0, :, frames]
        return found.masked_fill(torch.from_numpy(~near).to(self.device), 0.0)

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
