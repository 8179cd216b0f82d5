# SPDX-License-Identifier: Apache-2.0
"""Many sounds to latents on a GPU: streams are opened here, and all their integers decoded there."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from isthmus.codecs.base import Codec, Latent, LatentBatch, LatentSpec, unpack_each
from isthmus.codecs.batching import check_errors, named_by_place
from isthmus.codecs.walloc.audio.device_planes import DevicePlanes, OpenStream, decode_planes, fits
from isthmus.codecs.walloc.audio.unit import OpenUnit, UnitCoder, check_end
from isthmus.codecs.walloc.audio.units import AudioUnits
from isthmus.devices import check_device
from isthmus.entropy.models import device as on_gpu
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.lazy import LazySequence


class DeviceLatents(LazySequence[Latent]):
    """Latents of sounds whose planes lie together on a GPU; each is made when it is asked for, in memory of its own."""

    def __init__(
        self, codec: Codec, planes: DevicePlanes, streams: Sequence[OpenStream], places: Sequence[int]
    ) -> None:
        self.codec, self.planes, self.places = codec, planes, places
        self.known = [(stream.header, stream.samples) for stream in streams]
        self._made: dict[int, Latent] = {}

    def __len__(self) -> int:
        return len(self.places)

    def item(self, place: int) -> Latent:
        if place in self._made:
            return self._made[place]
        stream = self.places[place]
        header, samples = self.known[stream]
        spec = LatentSpec(header, self.planes.choices(stream), samples)
        return self._made.setdefault(place, Latent(self.planes.planes(stream), spec, self.codec))


def unpack_batch(
    codec: Codec,
    coder: UnitCoder,
    open_stream: Callable[[bytes], AudioUnits],
    data: Sequence[bytes],
    errors: str,
    device: str,
) -> LatentBatch:
    """The latents of streams; see `Codec.unpack_batch`."""
    check_errors(errors)
    device = check_device(device)
    refusal = None if device == "cpu" else on_gpu.refusal(coder.context)
    if refusal is not None:
        warnings.warn(f"unpack_batch: decoded on the CPU, then copied to {device}: {refusal}", stacklevel=3)
    if device == "cpu" or refusal is not None:
        return unpack_each(codec.unpack, data, errors, device)
    opened: dict[int, OpenStream] = {}
    for place, one in enumerate(data):
        try:
            opened[place] = _open(open_stream(one), coder)
        except IsthmusError:
            continue
    fine = fits(coder, list(opened.values()))
    opened = {place: stream for (place, stream), fit in zip(opened.items(), fine, strict=True) if fit}
    if not opened:
        return unpack_each(codec.unpack, data, errors, device)
    streams = list(opened.values())
    planes = decode_planes(coder, streams, device)
    latents = DeviceLatents(codec, planes, streams, [int(i) for i in np.flatnonzero(planes.whole)])
    good = [place for place, whole in zip(opened, planes.whole, strict=True) if whole]
    rest = sorted(set(range(len(data))) - set(good))
    if not rest:
        return LatentBatch(latents, stacked=planes.stacked())
    broken: dict[int, IsthmusError] = {}
    others: dict[int, Latent] = {}
    for place in rest:  # what is wrong with them the CPU says
        try:
            latent = codec.unpack(data[place])
        except IsthmusError as error:
            broken[place] = named_by_place(error, place, len(data))
            if errors == "raise":
                raise broken[place] from error
        else:
            there = {name: plane.to(device) for name, plane in latent.planes.items()}
            others[place] = Latent(there, latent.spec, codec)
    if not others:
        return LatentBatch(latents, broken)
    every = others | dict(zip(good, latents, strict=True))
    return LatentBatch([every[place] for place in sorted(every)], broken)


def _open(units: AudioUnits, coder: UnitCoder) -> OpenStream:
    """A stream's units. Raises CorruptStreamError for one that `unpack` refuses, which says why."""
    found: list[OpenUnit] = []
    for _, payload in units.payloads():
        if payload is None or (found and found[-1].end is not None):
            raise CorruptStreamError("a unit is missing, or comes after the last one")
        found.append(coder.open(payload, units.plan.noise))
    units.check_end()
    if not found or found[-1].end is None:
        raise CorruptStreamError("the stream ends before its last unit")
    samples = check_end(found[-1].end, units.plan.grid, len(found) - 1, units.plan.samples)
    return OpenStream(units.header, units.plan.quality, samples, found)
