# SPDX-License-Identifier: Apache-2.0
"""The units of a stream of sound, and the samples that they hold, any part of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from isthmus.codecs.base import Latent, check_plane
from isthmus.codecs.units import ADVICE, MOST_GAP, Units
from isthmus.codecs.walloc.audio.plan import SoundCodec, UnitLayout
from isthmus.codecs.walloc.audio.samples import Part, SampleReader
from isthmus.codecs.walloc.audio.unit import End, UnitPlanes, check_end, unpack_end
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads
from isthmus.models.walloc.noise import SILENT

AT_ONCE = 8  # units of a file that are unpacked together, for each thread


class AudioUnits(SampleReader, Units):
    """A stream of sound: a sequence of latents, one a unit, and `blocks` or `read`, the samples."""

    codec: SoundCodec

    def __init__(self, codec: SoundCodec, source: Any, *, allow_loss: bool = False) -> None:
        Units.__init__(self, codec, source, allow_loss=allow_loss)
        self.plan = codec.plan(self.header)

    @property
    def samples(self) -> int | None:
        """Of each channel; None where the header does not know and the last unit is not there (yet)."""
        if self.plan.samples is not None or self.is_pipe or not self.total:
            return self.plan.samples
        payload = self.payload(self.total - 1)
        end = None if payload is None else unpack_end(payload, self.plan.grid.unit)[0]
        return None if end is None else check_end(end, self.plan.grid, self.total - 1, None)

    def parts(self, first: int = 0) -> Iterator[Part]:
        """The units from `first` on, in order. Raises CorruptStreamError where the stream ends before its last unit."""
        group: list[tuple[int, memoryview | None]] = []
        most = 1 if self.is_pipe else AT_ONCE * torch.get_num_threads()
        following, ended = first, False
        for unit, payload in chain(self.payloads(first), [(-1, None)]):
            if unit >= 0:
                group.append((unit, payload))
            if group and (unit < 0 or len(group) >= most):
                for part in threads.run(self._part, group, torch.get_num_threads()):
                    if ended:
                        raise CorruptStreamError(f"unit {part.unit} comes after the last one; {ADVICE}")
                    if part.planes is None and part.unit not in self._known_lost:
                        self.lose(part.unit, f"unit {part.unit} cannot be decoded")
                    following, ended = part.unit + 1, part.end is not None
                    yield part
                group = []
        if not ended:
            yield from self._lose_rest(following)
        self.check_end()

    def _lose_rest(self, following: int) -> Iterator[Part]:
        """What a stream lacks at its end, lost: the units that its header tells of, else one without a number."""
        known, grid = self.plan.samples, self.plan.grid
        coded = 0 if known is None else grid.coded(known)
        units = following + 1 if known is None else grid.units(coded)
        cut, why = ("the stream is cut", f" ({self.cut})") if self.cut else ("the stream ends", "")
        at, ends = following * grid.unit / grid.coded_rate, 0 if known is None else known / grid.sample_rate
        before = f"before unit {following}, {at:.2f} s into the sound"
        if known is not None:
            before = f"before unit {following} of {units}, at {at:.2f} of {ends:.2f} s"
        self.lose(following, f"{cut} {before}{why}")
        if known is None or units - following > MOST_GAP:  # a damaged number must not ask for years of silence
            return
        for unit in range(following, units):
            self.lose(unit, f"{cut} before it")
            end = End(coded - unit * grid.unit, grid.most(coded) - known)
            yield Part(unit, None, end if unit == units - 1 else None)

    def _at_once(self) -> int:
        return 1 if self.is_pipe else super()._at_once()

    def _part(self, item: tuple[int, memoryview | None]) -> Part:
        unit, payload = item
        if payload is None:
            return Part(unit, None, None, None)
        try:
            planes, end, choices = self.codec.weights.coder.unpack(payload, self.plan.quality, self.plan.noise)
            if end is not None:
                check_end(end, self.plan.grid, unit, self.plan.samples)
        except CorruptStreamError as error:
            if not self.allow_loss:
                raise CorruptStreamError(f"unit {unit}: {error}") from error
            return Part(unit, None, None, None)
        return Part(unit, planes, end, choices)


class LatentUnits(SampleReader):
    """A latent in memory, whole or of one unit, as the units that it is made of."""

    def __init__(self, codec: SoundCodec, latent: Latent, what: str = "synthesize") -> None:
        self.codec, self.header = codec, latent.spec.header
        self.plan = codec.plan(self.header)
        samples = self.plan.samples if self.plan.samples is not None else latent.spec.layout
        if type(samples) is not int or isinstance(latent.spec.layout, UnitLayout):
            raise ValueError(f"{what}: a latent of a part or of unknown length; expected that of a whole stream")
        grid, coded = self.plan.grid, self.plan.grid.coded(samples)
        shape = codec.weights.config.latent_channels, grid.bank.frames(coded)
        groups = codec.weights.noise.predictor.channels, grid.noise_count(coded) if self.plan.noise else 0
        self._length, self._coded_length = samples, coded
        self._y = check_plane(latent.planes.get("y"), "y", shape, torch.int16, what).numpy()
        self._noise = noise = check_plane(latent.planes.get("noise"), "noise", groups, torch.int16, what).numpy()
        if noise.size and not 0 <= noise.min() <= noise.max() <= SILENT:
            raise ValueError(f"{what}: plane noise holds {noise.min()} to {noise.max()}, expected 0 to {SILENT}")

    @property
    def samples(self) -> int:
        return self._length

    def parts(self, first: int = 0) -> Iterator[Part]:
        grid, coded = self.plan.grid, self._coded_length
        units = grid.units(coded)
        for unit in range(first, units):
            end = End(coded - unit * grid.unit, grid.most(coded) - self._length)
            planes = grid.cut(UnitPlanes(self._y, self._noise), unit, coded)
            yield Part(unit, planes, end if unit == units - 1 else None)
