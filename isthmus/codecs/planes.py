# SPDX-License-Identifier: Apache-2.0
"""Many latents at once: those of one shape and entropy model go through the engine in one call."""

import warnings
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.bitstream import TrackHeader, pack_singles, unpack_singles
from isthmus.codecs.base import Codec, Latent, LatentBatch, LatentSpec, check_plane
from isthmus.codecs.batching import check_errors, named_by_place
from isthmus.devices import check_device
from isthmus.entropy.models import device as on_gpu
from isthmus.errors import CorruptStreamError, IsthmusError
from isthmus.lazy import LazySequence

SMALL_BATCH = 1 << 16  # latents below which threads cost more than they save
Planner = Callable[[TrackHeader], Any]
Checker = Callable[[Tensor], None]
Chooser = Callable[[TrackHeader, NDArray[np.int16], bytes], tuple[TrackHeader, bytes]]


def plane_of(latent: Latent, shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """Plane `y` as int16 of `shape`. Raises ValueError for other shapes, floats, or values beyond 16 bits."""
    y = latent.planes.get("y")
    if y is not None and y.dtype == torch.int16 and y.shape == shape and y.device.type == "cpu" and y.is_contiguous():
        return y.numpy()  # in a tenth of the time
    return check_plane(y, "y", shape, torch.int16).numpy()


def _threads(numbers: int) -> int:
    return 1 if numbers < SMALL_BATCH else torch.get_num_threads()


def pack_batch(
    plan_of: Planner, smaller: Chooser, latents: Sequence[Latent], check: Callable[[Any], None]
) -> list[bytes]:
    """One stream for each latent; see `Codec.pack_batch`. smaller: what may replace a new payload.

    check: of planes on the CPU, raises ValueError.
    Latents on a GPU that leave the choice to the encoder are coded there, where their coder can be.
    """
    groups: dict[tuple[int, tuple[int, int, int], bool], list[int]] = {}
    whole = latents.y if isinstance(latents, StackedLatents) and latents.is_untouched else None
    if whole is None:
        latents = list(latents)
        headers, choices = [one.spec.header for one in latents], [one.spec.choices for one in latents]
    else:
        assert isinstance(latents, StackedLatents)
        headers, choices = list(latents.headers), list(latents.choices)
    known = {id(header): plan_of(header) for header in {id(header): header for header in headers}.values()}
    plans = [known[id(header)] for header in headers]
    for place, plan in enumerate(plans):
        groups.setdefault((id(plan.coder), plan.shape, choices[place] is None), []).append(place)
    payloads: list[bytes] = [b""] * len(plans)
    for (_, shape, free), places in groups.items():
        coder, qualities = plans[places[0]].coder, [plans[place].quality for place in places]
        planes: Any = whole if whole is not None and len(places) == len(plans) else None
        if planes is None or planes.dtype != torch.int16 or planes.shape[1:] != shape:
            planes = _stacked([latents[place] for place in places], shape)
        check(planes)
        if planes.is_cuda and free and on_gpu.encodes(coder):
            made = on_gpu.encode_batch(coder, planes, qualities)
        else:
            planes = planes.cpu().numpy()
            chosen = None if free else [choices[place] for place in places]
            made = coder.encode_batch(planes, qualities, chosen, threads=_threads(planes.size))
        for place, plane, payload in zip(places, planes, made, strict=True):
            one = smaller(headers[place], plane, payload) if free else (headers[place], payload)
            headers[place], payloads[place] = one
    return pack_singles(headers, payloads)


def _stacked(latents: Sequence[Latent], shape: tuple[int, int, int]) -> Tensor:
    """Planes `y`, int16 [n, *shape], on the GPU where all of them lie there, else on the CPU. Raises as `plane_of`."""
    found = [latent.planes.get("y") for latent in latents]
    there = [y for y in found if y is not None and y.is_cuda and y.dtype == torch.int16 and y.shape == shape]
    if len(there) == len(found) and len({y.device for y in there}) == 1:
        return torch.stack(there)
    return torch.from_numpy(np.stack([plane_of(latent, shape) for latent in latents]))


class StackedLatents(LazySequence[Latent]):
    """Latents of one shape whose planes lie in one tensor [n, c, h, w]; each is made when it is asked for."""

    def __init__(self, codec: Codec, y: Tensor, headers: Sequence[TrackHeader], choices: Sequence[Any]) -> None:
        self.codec, self.y, self.headers, self.choices = codec, y, headers, choices
        self._made: dict[int, Latent] = {}

    def __len__(self) -> int:
        return len(self.headers)

    @property
    def is_untouched(self) -> bool:
        """Whether `y` is what the latents hold: none has been given to anyone who might have changed it."""
        return not self._made

    def item(self, place: int) -> Latent:
        if place in self._made:
            return self._made[place]
        spec = LatentSpec(self.headers[place], self.choices[place])
        # A copy: one latent does not keep the others alive. Made once, so that what is changed in it stays.
        return self._made.setdefault(place, Latent({"y": self.y[place].clone()}, spec, self.codec))


class Group(NamedTuple):
    """Streams of one entropy model and shape: their places in what was given, headers, payloads and qualities."""

    plan: Any
    places: Sequence[int]
    headers: Sequence[TrackHeader]
    payloads: Sequence[memoryview]
    qualities: Sequence[int]

    def part(self, begin: int, end: int) -> "Group":
        plan, places, headers, payloads, qualities = self
        return Group(plan, places[begin:end], headers[begin:end], payloads[begin:end], qualities[begin:end])


def unpack_batch(
    codec: Codec, plan_of: Planner, data: Sequence[bytes], errors: str, device: str, check: Checker | None = None
) -> LatentBatch:
    """The latents of streams; see `Codec.unpack_batch`. check: of all planes, raises CorruptStreamError."""
    check_errors(errors)
    device = check_device(device)
    broken: dict[int, IsthmusError] = {}
    found: list[tuple[Group, StackedLatents]] = []
    for group in _grouped(plan_of, unpack_singles(data), broken):
        found += _unpack_group(codec, group, device, broken, check)
    if broken and errors == "raise":
        place = min(broken)
        raise named_by_place(broken[place], place, len(data)) from broken[place]
    broken = {place: named_by_place(broken[place], place, len(data)) for place in sorted(broken)}
    if len(found) == 1:
        return LatentBatch(found[0][1], broken, {"y": found[0][1].y})
    by_place = {place: one for group, latents in found for place, one in zip(group.places, latents, strict=True)}
    return LatentBatch(tuple(by_place[place] for place in sorted(by_place)), broken)


def _grouped(plan_of: Planner, parsed: list[Any], broken: dict[int, IsthmusError]) -> list[Group]:
    """Streams by what decodes them; those that are not whole, or of another codec, go to `broken`."""
    plans: dict[int, Any] = {}  # by the header's identity: few differ, and comparing them takes longer
    whole = []
    for place, single in enumerate(parsed):
        if isinstance(single, IsthmusError):
            broken[place] = single
            continue
        header = single[0]
        if id(header) not in plans:
            try:
                plans[id(header)] = plan_of(header)
            except IsthmusError as error:
                plans[id(header)] = error
        if isinstance(plans[id(header)], IsthmusError):
            broken[place] = plans[id(header)]
        else:
            whole.append(place)
    kinds = {(id(plan.coder), plan.shape) for plan in plans.values() if not isinstance(plan, IsthmusError)}
    members = {kind: [] if len(kinds) > 1 else whole for kind in kinds}
    if len(kinds) > 1:
        for place in whole:
            plan = plans[id(parsed[place][0])]
            members[id(plan.coder), plan.shape].append(place)
    groups = []
    for places in members.values():
        headers, payloads = zip(*(parsed[place] for place in places), strict=True)
        qualities = [plans[id(header)].quality for header in headers]
        groups.append(Group(plans[id(headers[0])], places, headers, payloads, qualities))
    return groups


def _unpack_group(
    codec: Codec, group: Group, device: str, broken: dict[int, IsthmusError], check: Checker | None
) -> list[tuple[Group, StackedLatents]]:
    """The latents of a group, in parts where some of its streams go to `broken`: these are found by halves."""
    try:
        latents = _decode(codec, group, device)
        if check is not None:
            check(latents.y)
        return [(group, latents)]
    except CorruptStreamError as error:
        count = len(group.places)
        if count == 1:
            broken[group.places[0]] = error
            return []
    halves = group.part(0, count // 2), group.part(count // 2, count)
    return [part for half in halves for part in _unpack_group(codec, half, device, broken, check)]


def _decode(codec: Codec, group: Group, device: str) -> StackedLatents:
    """All streams of a group. Raises CorruptStreamError if one is broken."""
    coder, shape, payloads = group.plan.coder, group.plan.shape, group.payloads
    if device != "cpu":
        refusal = on_gpu.refusal(coder)
        if refusal is None:
            y, choices = on_gpu.decode_batch(coder, payloads, shape, group.qualities, device)
            return StackedLatents(codec, y, group.headers, choices)
        warnings.warn(f"unpack_batch: decoded on the CPU, then copied to {device}: {refusal}", stacklevel=5)
    threads = _threads(len(payloads) * prod(shape))
    planes, choices = coder.decode_columns(payloads, shape, group.qualities, threads=threads)
    return StackedLatents(codec, torch.from_numpy(planes).to(device), group.headers, choices)
