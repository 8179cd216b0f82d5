# SPDX-License-Identifier: Apache-2.0
"""Samples of latents, a unit at a time: all of a sound or any part of it, in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from isthmus.arrays.types import Float32, Int16
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.walloc.audio.options import AudioDecodeOptions
from isthmus.codecs.walloc.audio.plan import Plan, SoundCodec
from isthmus.codecs.walloc.audio.unit import UNIT_FRAMES, Choices, End, UnitPlanes, check_end
from isthmus.errors import CorruptStreamError
from isthmus.kernels.resample.resampler import Resampler
from isthmus.models.walloc.noise import noise_deviation


class Part(NamedTuple):
    """One unit: its number, its planes, None if it is lost, and the end if it is the last."""

    unit: int
    planes: UnitPlanes | None
    end: End | None
    choices: Choices | None = None


class SampleReader(ABC):
    """Whatever has the units of a sound in order: `read` and `blocks` give its samples."""

    codec: SoundCodec
    header: TrackHeader
    plan: Plan

    @property
    def sample_rate(self) -> int:
        return self.plan.grid.sample_rate

    @property
    def channels(self) -> int:
        return self.plan.channels

    @property
    @abstractmethod
    def samples(self) -> int | None:
        """Of each channel; None where that is not known (yet)."""

    @abstractmethod
    def parts(self, first: int = 0) -> Iterator[Part]:
        """The units from `first` on, in order."""

    def read(self, **options: Any) -> Float32:
        """Samples float32 [C, T], all or those of options `start` to `stop`; other options as of `blocks`."""
        chosen = AudioDecodeOptions.of(options)
        most = chosen.max_samples // self.channels
        found: list[Float32] = []
        there = 0
        for block in self.blocks(**options):
            there += block.shape[1]
            if there > most:
                raise CorruptStreamError(
                    f"decode: more than {chosen.max_samples:,} samples at once: decode parts of it (start=, stop=; "
                    "--from, --to), read its blocks, or raise max_samples"
                )
            found.append(block)
        return np.concatenate(found, 1) if found else np.zeros((self.channels, 0), np.float32)

    def blocks(self, **options: Any) -> Iterator[Float32]:
        """Samples float32 [C, n], about a unit at a time, in bounded memory.

        options: `AudioDecodeOptions`. Each block equals that slice of the whole. Raises ValueError for a `start` behind
        the end, CorruptStreamError where a unit is lost or the stream is cut, unless `allow_loss` was given to `open`.
        """
        chosen = AudioDecodeOptions.of(options)
        first, last = chosen.part(self.sample_rate)
        there = self.samples
        if there is not None and first > there:
            raise ValueError(
                f"decode: from {first / self.sample_rate:g} s, the sound ends at {there / self.sample_rate:g} s"
            )
        last = there if last is None else last if there is None else min(last, there)
        if last is not None and last <= first:
            for _ in self.parts() if there == 0 else ():  # of a sound of no samples at least the stream is whole
                pass
            return
        grid, scale = self.plan.grid, self.plan.scale
        low = max(0, Resampler.needs(grid.coded_rate, grid.sample_rate, first, first + 1)[0])
        unit = low // grid.unit
        resampler = Resampler(grid.coded_rate, grid.sample_rate, 2, begin=unit * grid.unit, first=first)
        given = first
        for coded, is_last, ends in self._coded(unit, chosen):
            last = min((n for n in (last, ends) if n is not None), default=None)
            block = resampler.push(coded)
            if is_last:
                rest = resampler.finish(last)
                block = rest if not block.shape[1] else np.concatenate([block, rest], 1) if rest.shape[1] else block
            block = block if last is None else block[:, : last - given]
            given += block.shape[1]
            if block.shape[1]:
                yield scale.undo(block if self.channels == 2 else block.mean(0, keepdims=True))
            if given == last:
                return

    def _coded(self, first: int, options: AudioDecodeOptions) -> Iterator[tuple[Float32, bool, int | None]]:
        """Samples [2, n] at the coded rate of each unit from `first` on, whether they are the last, and the length.

        That of the whole sound, where the unit tells it.
        """
        synthesis = self.codec.synthesis(self.plan, self.header, options)
        before: Part | None = None
        now: Part | None = None
        for following in chain(self.parts(max(0, first - 1)), [None]):
            if now is not None:
                if now.unit >= first:
                    ends = None if now.end is None else check_end(now.end, self.plan.grid, now.unit, self.plan.samples)
                    yield self._samples(synthesis, before, now, following), following is None, ends
                before = now
            now = following

    def _samples(self, synthesis: Any, before: Part | None, now: Part, after: Part | None) -> Float32:
        grid, channels = self.plan.grid, self.codec.weights.config.latent_channels
        begin = now.unit * UNIT_FRAMES
        near = [(part, self._frames(part)) for part in (before, now, after) if part is not None]
        count = max(part.unit * UNIT_FRAMES + frames for part, frames in near)

        def frames(low: int, high: int) -> Int16:
            found = np.zeros((channels, high - low), np.int16)
            for part, there in near:
                offset = part.unit * UNIT_FRAMES
                a, b = max(low, offset), min(high, offset + there)
                if part.planes is not None and a < b:
                    found[:, a - low : b - low] = part.planes.y[:, a - offset : b - offset]
            return found

        def deviations(low: int, high: int) -> Float32:
            found = np.zeros((self.codec.weights.config.bands, high - low), np.float32)
            for part, there in near:
                offset = part.unit * UNIT_FRAMES
                a, b = max(low, offset), min(high, offset + there)
                if part.planes is not None and a < b:
                    of_unit = noise_deviation(part.planes.noise, there, self.codec.weights.config.factor)
                    found[:, a - low : b - low] = of_unit[:, a - offset : b - offset]
            return found

        blocks = min(UNIT_FRAMES, count - begin - (grid.bank.synthesis_blocks - 1))
        if blocks < 1:
            return np.zeros((2, 0), np.float32)
        size = blocks * grid.bank.hop if now.end is None else now.end.coded
        if now.planes is None:
            return np.zeros((2, size), np.float32)
        return synthesis.unit(frames, deviations, begin, blocks, count)[:, :size]

    def _frames(self, part: Part) -> int:
        if part.planes is not None:
            return part.planes.y.shape[1]
        known, grid = self.plan.samples, self.plan.grid
        return UNIT_FRAMES if known is None else grid.frames(part.unit, grid.coded(known))
