# SPDX-License-Identifier: Apache-2.0
"""The linear half of a WaLLoC model of sound as the kernels take it: samples to latents and back, one matrix each way.

Filter bank and Karhunen-Loeve transform are both linear, so that their product needs neither the bands nor a fast
transform; its sums have a fixed order, whatever the blocks and threads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from isthmus.arrays.types import Float32, Int16
from isthmus.kernels import tier
from isthmus.kernels.wavelet import linear as kernels
from isthmus.kernels.wavelet import plain
from isthmus.lazy import cached_property
from isthmus.models.walloc.audio import WallocAudioConfig
from isthmus.models.walloc.gains import Gains, arrays_of


@dataclass(frozen=True, eq=False)
class AudioLinear(Gains):
    """n bands of all channels, c latent channels, L gain levels, all float32.

    analysis_weight [c, n], synthesis_weight [n, c]; log_gain, log_step [L, c].
    """

    config: WallocAudioConfig
    analysis_weight: Float32
    synthesis_weight: Float32
    log_gain: Tensor
    log_step: Tensor

    @classmethod
    def from_state(cls, config: WallocAudioConfig, state: Mapping[str, Tensor]) -> "AudioLinear":
        """From tensors named as in a model's state, which may hold others too.

        Raises KeyError for one that is missing, ValueError for one of another shape.
        """
        c, n, levels = config.latent_channels, config.bands, config.gain_levels
        shapes = {
            "analysis.weight": (c, n), "synthesis.weight": (n, c), "log_gain": (levels, c), "log_step": (levels, c),
        }  # fmt: skip
        return cls(config, *arrays_of(state, shapes))

    @cached_property
    def analysis(self) -> Float32:
        """Latents of samples: [c, channels * blocks * hop], those of a channel together."""
        return self._through_bank(self.analysis_weight, self.config.bank.analysis)

    @cached_property
    def _analysis_rows(self) -> Float32:
        """`analysis` as the kernels take it: made once, not for every unit."""
        return _padded(self.analysis)

    @cached_property
    def _synthesis_rows(self) -> Float32:
        return _padded(self.synthesis)

    @cached_property
    def _bank_rows(self) -> Float32:
        """A block of samples of the bands of a channel, as `_synthesis_rows` of latents."""
        bank = self.config.bank
        apart = bank.synthesis.reshape(bank.hop, bank.synthesis_blocks, bank.hop)  # [n, blocks, hop]
        return _padded(np.ascontiguousarray(apart.transpose(2, 1, 0), np.float32).reshape(bank.hop, -1))

    @cached_property
    def synthesis(self) -> Float32:
        """A block of samples of latents: [channels * hop, blocks * c], those of the latest frame first."""
        bank, config = self.config.bank, self.config
        parts = self._through_bank(self.synthesis_weight.T, bank.synthesis)  # [c, channels * blocks * hop]
        apart = parts.reshape(-1, config.signal_channels, bank.synthesis_blocks, bank.hop)
        return np.ascontiguousarray(apart.transpose(1, 3, 2, 0)).reshape(config.bands, -1)

    def _through_bank(self, weight: Float32, taps: np.ndarray) -> Float32:
        """Rows over bands [r, channels * n] to rows over samples [r, channels * taps], in a fixed order of sums."""
        bands = np.ascontiguousarray(taps[:, None], np.float32)  # [n, 1, taps]
        zero, hop = np.zeros(len(weight), np.float32), self.config.factor
        parts = [
            kernels.apply_linear(bands, np.ascontiguousarray(weight[:, i : i + hop]), zero)[:, 0]
            for i in range(0, weight.shape[1], hop)
        ]
        return np.concatenate(parts, 1)

    def analyze(self, x: Float32, quality: int) -> Float32:
        """Blocks of samples [channels, blocks * hop] to latents over their gain [c, frames], still real numbers."""
        bank = self.config.bank
        blocks = x.shape[1] // bank.hop
        frames = blocks - bank.analysis_blocks + 1
        phases = np.ascontiguousarray(x.reshape(len(x), blocks, bank.hop).transpose(0, 2, 1))  # [channels, hop, blocks]
        places = np.arange(bank.analysis_blocks * bank.hop)
        offsets = places % bank.hop * blocks + places // bank.hop
        return _map(
            phases,
            [i * bank.hop * blocks + offsets for i in range(len(x))],
            self._analysis_rows,
            self.gain(quality),
            frames,
        )

    def missed(self, x: Float32, q: Int16, quality: int, every: int) -> Float32:
        """What the linear synthesis misses of the bands of every so many frames: [channels * n, frames / every].

        x: blocks of samples as of `analyze`; q: integers [c, frames].
        """
        bank = self.config.bank
        blocks = x.reshape(len(x), -1, bank.hop)
        count, frames = bank.analysis_blocks, np.arange(0, q.shape[1], every)
        seen = blocks[:, frames[:, None] + np.arange(count)]  # [channels, frames, blocks, hop]
        phases = np.ascontiguousarray(seen.transpose(0, 2, 3, 1)).reshape(len(x), -1, 1, len(frames))
        zero, taps = np.zeros(bank.hop, np.float32), np.ascontiguousarray(bank.analysis, np.float32)
        bands = np.concatenate([kernels.apply_linear(one, taps, zero)[:, 0] for one in phases])
        y = np.ascontiguousarray(q[:, frames] * self.step(quality)[:, None], np.float32)
        zero = np.zeros(self.config.bands, np.float32)
        return bands - kernels.apply_linear(y[:, None], self.synthesis_weight, zero)[:, 0]

    def synthesize(self, y: Float32) -> Float32:
        """Latents [c, frames] to the samples [channels, (frames - synthesis_blocks + 1) * hop] of whole blocks."""
        return self._blocks(y, self._synthesis_rows, self.config.signal_channels)

    def samples_of(self, bands: Float32) -> Float32:
        """Bands [channels * n, frames] to samples, as `synthesize`: the bank alone, one channel after the other."""
        return np.concatenate(
            [self._blocks(one, self._bank_rows, 1) for one in np.split(bands, self.config.signal_channels)]
        )

    def _blocks(self, source: Float32, padded: Float32, channels: int) -> Float32:
        """Rows [r, frames] to the samples [channels, blocks * hop] of the blocks that all their frames are there of."""
        bank, (rows, frames) = self.config.bank, source.shape
        count = bank.synthesis_blocks
        offsets = [np.arange(rows) * frames + count - 1 - i for i in range(count)]
        ones = np.ones(channels * bank.hop, np.float32)
        phases = _map(np.ascontiguousarray(source), offsets, padded, ones, frames - count + 1)
        return np.ascontiguousarray(phases.reshape(channels, bank.hop, -1).transpose(0, 2, 1)).reshape(channels, -1)


def _padded(weight: Float32) -> Float32:
    zero = np.zeros(len(weight), np.float32)
    return kernels.pad_weights(weight, zero, zero)[0]


def _map(source: Float32, offsets: list[np.ndarray], padded: Float32, gain: Float32, count: int) -> Float32:
    """Padded weights on inputs that begin at `offsets` of a flat source, for `count` positions: [outputs, count]."""
    bias = np.zeros(len(padded), np.float32)
    gains = np.pad(gain, (0, len(padded) - len(gain)))
    target = np.empty((len(gain), count), np.float32)
    starts = kernels.pad_offsets(np.concatenate(offsets).astype(np.int64))
    targets = np.arange(len(gain), dtype=np.int64) * count
    map_all = tier.pick(kernels.map_bands, plain.map_bands, count * padded.size * plain.PRODUCT)
    map_all(source.reshape(-1), starts, padded, bias, gains, count, target.reshape(-1), targets)
    return target
