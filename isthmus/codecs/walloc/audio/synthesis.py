# SPDX-License-Identifier: Apache-2.0
"""Latents of units back to samples, unit by unit: each sees the frames around it, and depends on no other part."""

from collections.abc import Callable

import torch
from torch import Tensor

from isthmus.arrays.types import Float32, Int16
from isthmus.devices import usual_settings
from isthmus.models.walloc.audio import ResidualNetwork, WallocAudio
from isthmus.models.walloc.audio_linear import AudioLinear

Frames = Callable[[int, int], Int16]  # first and last frame to latents [c, last - first]
Deviations = Callable[[int, int], Float32]  # the same to the noise in each band, [n, last - first]


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

    def unit(self, frames: Frames, deviations: Deviations, first: int, blocks: int, count: int) -> Float32:
        """Samples [2, blocks * hop] of the blocks from `first` on; count: frames that there are."""
        bank = self.linear.config.bank
        end = first + blocks + bank.synthesis_blocks - 1
        if self.model is None and not self.noise:
            return self.linear.synthesize(frames(first, end) * self.step[:, None])
        low, high = max(0, first - self.reach), min(count, end + self.reach)
        with usual_settings(), torch.inference_mode():
            q = torch.from_numpy(frames(low, high)).to(self.device).float()[None]
            if self.model is None:
                y = q[0] * torch.from_numpy(self.step).to(self.device)[:, None]
                bands = torch.from_numpy(self.linear.synthesis_weight).to(self.device) @ y
            else:
                bands = self.model.synthesize(q, self.level)[0]
            bands = bands[:, first - low : end - low]
            if self.noise:
                bands = bands + torch.from_numpy(deviations(first, end)).to(self.device) * self._white(
                    first, end - first
                )
            x = bank.synthesize(bands.reshape(self.linear.config.signal_channels, -1, bands.shape[1]))
            return x.cpu().numpy()

    def _white(self, first: int, count: int) -> Tensor:
        """Noise of variance 1, [n, count], a function of frame and band alone; one channel gets the same twice."""
        config = self.linear.config
        bands = config.factor if self.mono else config.bands
        place = torch.arange(first, first + count, device=self.device) * config.bands
        word = place[None] + torch.arange(bands, device=self.device)[:, None] + 1
        for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):  # of SplitMix64
            word = (word ^ ((word >> shift) & ((1 << (64 - shift)) - 1))) * factor
        uniform = ((word >> 32) & 0xFFFFFFFF).float() * 2**-31 - 1
        white = uniform * 3**0.5
        return white.repeat(config.signal_channels, 1) if self.mono else white
