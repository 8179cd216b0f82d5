# SPDX-License-Identifier: Apache-2.0
"""Planes of many sounds on a GPU: the integers of all their units in one launch for latents and one for noise."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.bitstream.track import TrackHeader
from isthmus.codecs.walloc.audio.unit import Choices, OpenUnit, UnitCoder
from isthmus.entropy.models.causal import CausalModel
from isthmus.entropy.models.context_tables import ContextChoices
from isthmus.entropy.models.device_causal import Places, decode_units, has_room
from isthmus.models.walloc.noise import SILENT, noise_count

Int64 = NDArray[np.int64]


class OpenStream(NamedTuple):
    """A stream whose units are not decoded yet. samples: of the sound at the rate that went in."""

    header: TrackHeader
    quality: int
    samples: int
    units: Sequence[OpenUnit]


class Decoded(NamedTuple):
    """Payloads of units: whether each is whole, and what the encoder chose for those."""

    whole: NDArray[np.bool_]
    lanes: Int64
    offsets: NDArray[np.int8]  # [n, channels]

    def choices(self, unit: int) -> ContextChoices:
        return ContextChoices(int(self.lanes[unit]), tuple(self.offsets[unit].tolist()))


class DevicePlanes(NamedTuple):
    """y: int16, a stream's [c, T] behind that of the one before; noise: int16 [all levels in time, groups].

    firsts, frames, columns, counts: int64, of each stream where in y it begins, T, where in noise, and its levels in
    time. units: int64 [streams + 1], of their first ones among `latents`; voices: where each unit is in `levels`.
    """

    y: Tensor
    noise: Tensor
    firsts: Int64
    frames: Int64
    columns: Int64
    counts: Int64
    units: Int64
    voices: Int64
    latents: Decoded
    levels: Decoded
    whole: NDArray[np.bool_]

    def planes(self, stream: int) -> dict[str, Tensor]:
        """Those of one stream, in memory of their own."""
        begin, column = int(self.firsts[stream]), int(self.columns[stream])
        frames, count = int(self.frames[stream]), int(self.counts[stream])
        channels = self.latents.offsets.shape[1]
        y = self.y[begin : begin + channels * frames].view(channels, frames).clone()
        noise = self.noise[column : column + count].T.clone(memory_format=torch.contiguous_format)
        return {"y": y, "noise": noise}

    def choices(self, stream: int) -> tuple[Choices, ...]:
        """What the encoder chose for each unit of one stream."""
        units = range(self.units[stream], self.units[stream + 1])
        silent = self.voices[1:] == self.voices[:-1]
        return tuple(
            (self.latents.choices(i), None if silent[i] else self.levels.choices(int(self.voices[i]))) for i in units
        )

    def stacked(self) -> dict[str, Tensor] | None:
        """Planes of all streams along a new first axis; None where their shapes differ or one is not whole."""
        if not self.whole.all() or len({*self.frames.tolist()}) != 1 or len({*self.counts.tolist()}) != 1:
            return None
        streams, channels = len(self.frames), self.latents.offsets.shape[1]
        noise = self.noise.view(streams, int(self.counts[0]), self.noise.shape[1])
        return {"y": self.y.view(streams, channels, int(self.frames[0])), "noise": noise.transpose(1, 2).contiguous()}


def fits(coder: UnitCoder, streams: Sequence[OpenStream]) -> NDArray[np.bool_]:
    """Whether the payloads of each stream can hold what it says, to be asked before memory is taken for it."""
    units = [unit for stream in streams for unit in stream.units]
    frames = np.array([unit.frames for unit in units], np.int64)
    counts = np.array([noise_count(unit.frames) if len(unit.noise) else 0 for unit in units], np.int64)
    fine = has_room(coder.context, [unit.latents for unit in units], frames)
    fine &= has_room(coder.noise, [unit.noise for unit in units], counts)
    return _of_streams(fine, _bounds([len(stream.units) for stream in streams]))


def decode_planes(coder: UnitCoder, streams: Sequence[OpenStream], device: str) -> DevicePlanes:
    """Decodes all units of streams that `fits` lets pass; each has at least one. Waits for the GPU."""
    units = [unit for stream in streams for unit in stream.units]
    bounds = _bounds([len(stream.units) for stream in streams])
    of = np.repeat(np.arange(len(streams)), np.diff(bounds))
    rows = np.array([stream.quality for stream in streams], np.int64)[of]
    frames = np.array([unit.frames for unit in units], np.int64)
    before = _bounds(frames)
    begins = before[bounds]  # frames before each stream
    lengths, channels = np.diff(begins), coder.context.predictor.channels
    y = torch.empty(channels * int(before[-1]), dtype=torch.int16, device=device)
    firsts = channels * begins[:-1]
    places = Places(frames, firsts[of] + before[:-1] - begins[of], lengths[of], rows)
    latents = _decode(coder.context, [unit.latents for unit in units], places, y)

    has_noise = np.array([len(unit.noise) > 0 for unit in units], np.bool_)
    counts = np.array([noise_count(unit.frames) for unit in units], np.int64) * has_noise
    voices = [unit.noise for unit in units if len(unit.noise)]
    noise, levels, fine = _decode_noise(coder.noise, voices, counts[has_noise], rows[has_noise], device)
    whole = latents.whole.copy()
    whole[has_noise] &= fine
    columns = _bounds(counts)[bounds]
    return DevicePlanes(
        y, noise, firsts, lengths, columns[:-1], np.diff(columns), bounds, _bounds(has_noise), latents, levels,
        _of_streams(whole, bounds),
    )  # fmt: skip


def _decode(model: CausalModel, payloads: Sequence[memoryview], places: Places, out: Tensor) -> Decoded:
    offsets, whole = decode_units(model, payloads, places, out)
    lanes = 1 << np.array([payload[0] & 7 if len(payload) else 0 for payload in payloads], np.int64)
    return Decoded(whole, lanes, offsets)


def _decode_noise(
    model: CausalModel, payloads: Sequence[memoryview], counts: Int64, rows: Int64, device: str
) -> tuple[Tensor, Decoded, NDArray[np.bool_]]:
    """Levels [all in time, groups] of units with noise, their choices, and which of them are as they must be."""
    groups, most = model.predictor.channels, int(counts.max(initial=0))
    differences = torch.zeros(len(counts), groups, most, dtype=torch.int16, device=device)
    every = np.full(len(counts), most, np.int64)
    places = Places(counts, np.arange(len(counts)) * groups * most, every, rows)
    decoded = _decode(model, payloads, places, differences.view(-1))
    levels = levels_of(differences)
    there = torch.arange(most, device=device) < torch.from_numpy(counts).to(device)[:, None]
    beyond = (((levels < 0) | (levels > SILENT)) & there[:, None]).flatten(1).any(1)
    return levels.transpose(1, 2)[there], decoded, decoded.whole & ~beyond.cpu().numpy()


def levels_of(differences: Tensor) -> Tensor:
    """`isthmus.models.walloc.noise.levels_of` of int16 [units, groups, n], modulo 2^16 as that is."""
    groups = differences.shape[1]
    first, *others = torch.split(differences.long(), groups // 2 if groups % 2 == 0 else groups, 1)
    first[:, :, :1] = first[:, :, :1].cumsum(1)
    first = first.cumsum(2)
    levels = torch.cat([first, *(other + first for other in others)], 1)
    return ((levels + (1 << 15)) % (1 << 16) - (1 << 15)).to(torch.int16)


def _bounds(counts: Sequence[int] | NDArray[Any]) -> Int64:
    """Sums of the counts before each, and of all."""
    bounds = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    return bounds


def _of_streams(units: NDArray[np.bool_], bounds: Int64) -> NDArray[np.bool_]:
    """Whether all units of each stream are."""
    found: NDArray[np.bool_] = np.logical_and.reduceat(units, bounds[:-1]) if len(bounds) > 1 else units
    return found
