# SPDX-License-Identifier: Apache-2.0
"""One unit of a sound: 256 frames that decode alone, the last unit with how many samples it holds.

Byte format: docs/format-walloc.md, "walloc.3".
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from isthmus.arrays.types import Int16
from isthmus.bitstream.planes import pack_planes, unpack_planes
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.context_tables import ContextChoices
from isthmus.errors import CorruptStreamError
from isthmus.kernels.resample.filters import has_filters, ratio
from isthmus.kernels.resample.resampler import resampled_length
from isthmus.models.filter_bank import FilterBank
from isthmus.models.walloc.noise import NOISE_FRAMES, SILENT, level_differences, levels_of, noise_count
from isthmus.varint import pack_varint, unpack_varint

UNIT_FRAMES = 256
NATIVE = (44_100, 48_000)  # rates that sounds are coded at
SLOWEST, FASTEST = 1_000, 768_000  # rates that sounds may have


def coded_rate(sample_rate: int) -> int:
    """The rate that a sound is coded at: its own, or that of its family. Raises ValueError for rates of no sound."""
    if not SLOWEST <= sample_rate <= FASTEST:
        raise ValueError(f"encode: {sample_rate} samples a second, expected {SLOWEST} to {FASTEST}")
    if sample_rate in NATIVE:
        return sample_rate
    slow = sample_rate % 11_025 == 0 or 44_100 % sample_rate == 0
    coded = NATIVE[0] if slow else NATIVE[1]
    if not has_filters(sample_rate, coded):
        raise ValueError(f"encode: {sample_rate} Hz have no short ratio to {coded} Hz: resample the sound first")
    return coded


@dataclass(frozen=True)
class Grid:
    """Where the samples of a sound lie in units: hop and frames of the bank, and both rates."""

    bank: FilterBank
    sample_rate: int

    @property
    def coded_rate(self) -> int:
        return coded_rate(self.sample_rate)

    @property
    def unit(self) -> int:
        """Samples of a whole unit, at the coded rate."""
        return UNIT_FRAMES * self.bank.hop

    def coded(self, samples: int) -> int:
        """Samples at the coded rate of a sound of `samples`."""
        return resampled_length(samples, self.sample_rate, self.coded_rate)

    def most(self, coded: int) -> int:
        """The longest sound of so many samples at the coded rate."""
        p, q = ratio(self.sample_rate, self.coded_rate)
        return coded * q // p

    def units(self, coded: int) -> int:
        """Units of so many samples at the coded rate; one of none."""
        return max(1, -(-coded // self.unit))

    def frames(self, unit: int, coded: int) -> int:
        """Frames of a unit of a whole sound."""
        if unit + 1 < self.units(coded):
            return UNIT_FRAMES
        return self.bank.frames(coded) - unit * UNIT_FRAMES

    def noise_count(self, coded: int) -> int:
        """Levels of noise in time of a whole sound."""
        last = self.units(coded) - 1
        return last * (UNIT_FRAMES // NOISE_FRAMES) + noise_count(self.frames(last, coded))

    def cut(self, planes: "UnitPlanes", unit: int, coded: int) -> "UnitPlanes":
        """Those of one unit, of those of a whole sound."""
        frames, each = self.frames(unit, coded), UNIT_FRAMES // NOISE_FRAMES
        y = planes.y[:, unit * UNIT_FRAMES :][:, :frames]
        noise = planes.noise[:, unit * each :][:, : noise_count(frames)]
        return UnitPlanes(np.ascontiguousarray(y), np.ascontiguousarray(noise))


class End(NamedTuple):
    """What the last unit says: its samples at the coded rate, and how many fewer the sound has than the longest."""

    coded: int
    short: int


class UnitPlanes(NamedTuple):
    """Latents int16 [c, frames] of a unit and levels of noise int16 [channels * groups, n]; n = 0 without noise."""

    y: Int16
    noise: Int16


Choices = tuple[ContextChoices | None, ContextChoices | None]  # of an encoder, for both planes


class OpenUnit(NamedTuple):
    """A unit before its integers are decoded: their payloads, that of noise empty where there is none."""

    end: End | None
    frames: int
    latents: memoryview
    noise: memoryview


class UnitCoder(NamedTuple):
    """The contexts of both planes, and the bank that says how many frames there are."""

    context: CausalModel
    noise: CausalModel
    bank: FilterBank

    @property
    def samples(self) -> int:
        """Of a whole unit, at the coded rate."""
        return UNIT_FRAMES * self.bank.hop

    def pack(self, planes: UnitPlanes, quality: int, end: End | None, choices: Choices = (None, None)) -> bytes:
        """The payload of one unit."""
        head = pack_varint(0) if end is None else pack_varint(self.samples + 1 - end.coded) + pack_varint(end.short)
        noise = (
            self.noise.encode(level_differences(planes.noise), quality, choices[1]) if planes.noise.shape[1] else b""
        )
        return head + pack_planes([noise, self.context.encode(planes.y, quality, choices[0])])

    def open(self, payload: bytes | memoryview, with_noise: bool) -> OpenUnit:
        """The parts of a payload, with_noise: what the header says. Raises CorruptStreamError."""
        end, rest = unpack_end(payload, self.samples)
        frames = UNIT_FRAMES if end is None else self.bank.frames(end.coded)
        noise, latents = unpack_planes(rest, 2)
        if bool(len(noise)) != (with_noise and frames > 0):
            told = "none" if with_noise else f"{len(noise)} bytes"
            raise CorruptStreamError(f"{told} of levels of noise, the header says otherwise; fetch the stream again")
        return OpenUnit(end, frames, latents, noise)

    def unpack(
        self, payload: bytes | memoryview, quality: int, with_noise: bool
    ) -> tuple[UnitPlanes, End | None, Choices]:
        """The inverse of `pack`; with_noise: what the header says. Raises CorruptStreamError."""
        unit = self.open(payload, with_noise)
        frames, noise = unit.frames, unit.noise
        y, choices = self.context.decode(unit.latents, (self.context.predictor.channels, frames), quality)
        shape = self.noise.predictor.channels, noise_count(frames)
        if not len(noise):
            return UnitPlanes(y, np.zeros((shape[0], 0), np.int16)), unit.end, (choices, None)
        differences, chosen = self.noise.decode(noise, shape, quality)
        levels = levels_of(differences)
        if levels.size and not 0 <= levels.min() <= levels.max() <= SILENT:
            raise CorruptStreamError(f"levels of noise from {levels.min()} to {levels.max()}, expected 0 to {SILENT}")
        return UnitPlanes(y, levels), unit.end, (choices, chosen)


def unpack_end(payload: bytes | memoryview, unit: int) -> tuple[End | None, memoryview]:
    """What a payload says of the end, and what follows. Raises CorruptStreamError."""
    left, at = unpack_varint(payload, 0, unit + 1)
    if left == 0:
        return None, memoryview(payload)[at:]
    short, at = unpack_varint(payload, at, FASTEST // NATIVE[0] + 1)
    return End(unit + 1 - left, short), memoryview(payload)[at:]


def check_end(end: End, grid: Grid, unit: int, samples: int | None) -> int:
    """Samples of the whole sound whose last unit is `unit`. Raises CorruptStreamError for an end of another sound."""
    coded = unit * grid.unit + end.coded
    found = grid.most(coded) - end.short
    known = samples is None or samples == found
    if not known or found < 0 or grid.coded(found) != coded or (unit and not end.coded):
        raise CorruptStreamError(
            f"unit {unit} ends after {found} samples, its header says {samples}: it belongs to another stream or is "
            "damaged; fetch the stream again"
        )
    return found
