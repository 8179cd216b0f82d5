# SPDX-License-Identifier: Apache-2.0
"""Samples of latents, a unit at a time: all of a sound or any part of it, in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus.arrays.types import Float32
from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.walloc.audio.options import AudioDecodeOptions
from isthmus.codecs.walloc.audio.plan import Plan, SoundCodec
from isthmus.codecs.walloc.audio.synthesis import Window
from isthmus.codecs.walloc.audio.unit import UNIT_FRAMES, Choices, End, UnitPlanes, check_end
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.kernels.resample.resampler import Resampler
from isthmus.models.walloc.noise import noise_deviation


class Part(NamedTuple):
    """One unit: its number, its planes, None if it is lost, and the end if it is the last."""

    unit: int
    planes: UnitPlanes | None
    end: End | None
    choices: Choices | None = None


Three = tuple[Part | None, Part, Part | None]  # a unit and those beside it


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
        resampler = Resampler(grid.coded_rate, grid.sample_rate, self.channels, begin=unit * grid.unit, first=first)
        given = first
        # One sample more than `last` is made of: `push` gives only what is beyond doubt.
        until = (
            None if last is None else Resampler.needs(grid.coded_rate, grid.sample_rate, first, last)[1] // grid.unit
        )
        for coded, is_last, ends in self._coded(unit, until, chosen):
            last = min((n for n in (last, ends) if n is not None), default=None)
            block = resampler.push(coded if self.channels == 2 else coded.mean(0, keepdims=True))
            if is_last:
                rest = resampler.finish(last)
                block = rest if not block.shape[1] else np.concatenate([block, rest], 1) if rest.shape[1] else block
            block = block if last is None else block[:, : last - given]
            given += block.shape[1]
            if block.shape[1]:
                yield scale.undo(block)
            if given == last:
                return

    def _coded(
        self, first: int, until: int | None, options: AudioDecodeOptions
    ) -> Iterator[tuple[Float32, bool, int | None]]:
        """Samples [2, n] at the coded rate of the units `first` to `until`, or to the last.

        With each whether it is the last, and the length of the whole sound where the unit tells it.
        """
        synthesis, grid = self.codec.synthesis(self.plan, self.header, options), self.plan.grid
        for group in self._groups(first, until):
            windows = [self._window(synthesis.reach, *three) for three in group]
            there = [three[1].planes is not None and w.blocks > 0 for three, w in zip(group, windows, strict=True)]
            made = iter(synthesis.units([w for w, is_there in zip(windows, there, strict=True) if is_there]))
            for (_, now, following), window, is_there in zip(group, windows, there, strict=True):
                coded = next(made) if is_there else np.zeros((2, max(0, window.blocks) * grid.bank.hop), np.float32)
                ends = None if now.end is None else check_end(now.end, grid, now.unit, self.plan.samples)
                yield coded if now.end is None else coded[:, : now.end.coded], following is None, ends

    def _groups(self, first: int, until: int | None) -> Iterator[list[Three]]:
        """The units `first` to `until` between their neighbours, as many at once as there are threads."""
        group: list[Three] = []
        most = self._at_once()
        try:
            before = now = None
            for following in chain(self.parts(max(0, first - 1)), [None]):
                if now is not None and now.unit >= first:
                    group.append((before, now, following))
                    if len(group) >= most or now.unit == until:
                        yield group
                        group = []
                    if now.unit == until:
                        return
                before, now = now, following
        except IsthmusError:
            if group:  # what comes before the fault is played
                yield group
            raise
        if group:
            yield group

    def _at_once(self) -> int:
        """Units that are synthesised together."""
        return torch.get_num_threads()

    def _window(self, reach: int, before: Part | None, now: Part, after: Part | None) -> Window:
        """What the samples of a unit are made of, no blocks where it has none; silence around it where that is lost."""
        config, bank = self.codec.weights.config, self.plan.grid.bank
        begin = now.unit * UNIT_FRAMES
        near = [(part, self._frames(part)) for part in (before, now, after) if part is not None]
        count = max(part.unit * UNIT_FRAMES + frames for part, frames in near)
        blocks = min(UNIT_FRAMES, count - begin - (bank.synthesis_blocks - 1))
        if blocks < 1:
            return Window(begin, begin, 0, *(np.zeros((0, 0), dtype) for dtype in (np.int16, np.float32)))
        low = max(0, begin - reach)
        high = min(count, begin + blocks + bank.synthesis_blocks - 1 + reach)
        q = np.zeros((config.latent_channels, high - low), np.int16)
        deviations = np.zeros((config.bands, high - low), np.float32)
        for part, there in near:
            offset = part.unit * UNIT_FRAMES
            a, b = max(low, offset), min(high, offset + there)
            if part.planes is not None and a < b:
                q[:, a - low : b - low] = part.planes.y[:, a - offset : b - offset]
                of_unit = noise_deviation(part.planes.noise, there, config.factor)
                deviations[:, a - low : b - low] = of_unit[:, a - offset : b - offset]
        return Window(low, begin, blocks, q, deviations)

    def _frames(self, part: Part) -> int:
        if part.planes is not None:
            return part.planes.y.shape[1]
        known, grid = self.plan.samples, self.plan.grid
        return UNIT_FRAMES if known is None else grid.frames(part.unit, grid.coded(known))
