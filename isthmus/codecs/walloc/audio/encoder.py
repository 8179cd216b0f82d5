# SPDX-License-Identifier: Apache-2.0
"""Samples of any number, block by block, to the latents of units; they depend on the samples alone."""

import numpy as np
import torch

from isthmus.arrays.types import Float32
from isthmus.codecs.walloc.audio.scale import Scale
from isthmus.codecs.walloc.audio.unit import UNIT_FRAMES, End, Grid, UnitPlanes
from isthmus.codecs.walloc.audio.weights import AudioWeights
from isthmus.kernels import threads
from isthmus.kernels.resample.resampler import Resampler, mirrored
from isthmus.models.walloc.noise import LOOKED_AT, measure_noise

LOUDEST = 4.0  # of samples as the model sees them: far louder ones would not fit 16 bits at the highest quality
WORTH = 0.1  # squared error, in quantizer steps, that a bit may save: what rates gain and errors lose cancels there


class UnitEncoder:
    """`push` blocks of samples [C, n], C of 1 or 2, then `finish`: the planes of one unit after another."""

    def __init__(
        self, weights: AudioWeights, grid: Grid, channels: int, quality: int, scale: Scale, noise: bool
    ) -> None:
        self.weights, self.grid, self.quality, self.scale, self.noise = weights, grid, quality, scale, noise
        self.samples = 0  # so far, as given
        self._resampler = Resampler(grid.sample_rate, grid.coded_rate, channels)
        self._held = np.zeros((2, 0), np.float32)
        self._begin = 0  # of what is held, at the coded rate
        self._unit = 0  # the next one

    def push(self, block: Float32) -> list[UnitPlanes]:
        """Latents of the units that are whole now."""
        self.samples += block.shape[1]
        y = self.scale.apply(block)
        if np.abs(y).max(initial=0) > LOUDEST:
            most = float(np.abs(block).max())
            raise ValueError(
                f"encode: samples reach {most:g}, full scale is 1: scale them, or let `encode` or a file's first look "
                "find their level (scale=)"
            )
        self._take(self._resampler.push(y))
        there = self._begin + self._held.shape[1]
        hop, first, windows = self.grid.bank.hop, self._unit, []
        while True:
            low, high = self.grid.bank.needs(self._unit * UNIT_FRAMES, (self._unit + 1) * UNIT_FRAMES)
            if there <= max((self._unit + 1) * self.grid.unit, high * hop):  # more must follow, or it is the last
                break
            windows.append(self._window(low, high, None))
            self._unit += 1
        if self._unit > first:
            low, _ = self.grid.bank.needs(self._unit * UNIT_FRAMES, self._unit * UNIT_FRAMES + 1)
            self._drop(min(low * hop, there - 2 * self.grid.bank.analysis.shape[1]))
        return self._analyze(windows)

    def finish(self) -> tuple[list[UnitPlanes], End]:
        """Latents of the units that are left, the last one among them, and what that says of the end."""
        self._take(self._resampler.finish())
        grid, coded = self.grid, self._begin + self._held.shape[1]
        windows = []
        for unit in range(self._unit, grid.units(coded)):
            first = unit * UNIT_FRAMES
            windows.append(self._window(*grid.bank.needs(first, first + grid.frames(unit, coded)), coded))
        last = coded - (grid.units(coded) - 1) * grid.unit
        return self._analyze(windows), End(last, grid.most(coded) - self.samples)

    def _take(self, block: Float32) -> None:
        self._held = np.concatenate([self._held, np.broadcast_to(block, (2, block.shape[1]))], 1)

    def _drop(self, begin: int) -> None:
        if begin > self._begin:
            self._held, self._begin = self._held[:, begin - self._begin :].copy(), begin

    def _window(self, first: int, last: int, total: int | None) -> Float32:
        """Samples of blocks first .. last, beyond the ends the mirror image; total: samples, where the end is known."""
        low, high = first * self.grid.bank.hop, last * self.grid.bank.hop
        if total == 0:
            return np.zeros((2, max(0, high - low)), np.float32)
        if low >= 0 and (total is None or high <= total):
            return self._held[:, low - self._begin : high - self._begin]
        places = np.abs(np.arange(low, high)) if total is None else mirrored(low, high, total)
        return self._held[:, places - self._begin]

    def _analyze(self, windows: list[Float32]) -> list[UnitPlanes]:
        linear, context, q = self.weights.linear, self.weights.context, self.quality
        centres = linear.step(q) * linear.gain(q)
        silent = np.zeros((self.weights.noise.predictor.channels, 0), np.int16)

        def one(window: Float32) -> UnitPlanes:
            if window.shape[1] < linear.config.bank.analysis.shape[1]:  # of no sound
                return UnitPlanes(np.zeros((len(centres), 0), np.int16), silent)
            y = context.choose(linear.analyze(window, q), centres, q, WORTH)
            if not self.noise:
                return UnitPlanes(y, silent)
            missed = linear.missed(window, y, q, LOOKED_AT)
            return UnitPlanes(y, measure_noise(missed, y.shape[1], linear.config.signal_channels))

        return threads.run(one, windows, torch.get_num_threads())
