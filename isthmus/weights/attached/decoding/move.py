# SPDX-License-Identifier: Apache-2.0
"""Compressed tensors brought to the device that decodes them, and there joined, so that one launch decodes a block."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch.nn.functional import pad

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.dtypes import UINT
from isthmus.codecs.dfloat.payload import HUFFMAN, read_payload
from isthmus.kernels.huffman.streams import CHUNK, join
from isthmus.weights.attached.decoding.items import DeviceItem, Item, PayloadItem, PlainItem, UpstreamItem
from isthmus.weights.device_streams import plane_bytes, streams_of

MOST_TABLES = 1 << 16  # that chunks can name
T = TypeVar("T")


def for_device(item: Item, threads: int) -> Item:
    """The item as devices other than the CPU decode it, still on the CPU; its weights are checked on the way."""
    if isinstance(item, PayloadItem) and item.base is None and item.payload.planes[0].coding == HUFFMAN:
        payload = item.payload
    else:
        weights = torch.empty(item.size, dtype=item.dtype, device="cpu")
        item.decode(weights, threads)
        bits = weights.view(torch.uint8).numpy().view(UINT[item.dtype.itemsize])
        payload = read_payload(coding.encode(bits, threads=threads))
        if payload.planes[0].coding != HUFFMAN:
            return PlainItem(item.names, item.shapes, item.dtype, weights)
    streams = streams_of(payload, threads=threads)
    planes = tuple(plane_bytes(payload, k, threads=threads) for k in range(1, payload.width))
    return DeviceItem(item.names, item.shapes, item.dtype, streams, planes, tuple(item.offsets))


def settle(
    items: Sequence[Item], slots: Sequence[list[T]], device: torch.device, *, offload: bool, threads: int
) -> tuple[list[Item], list[list[T]]]:
    """Items as `device` decodes them, and what goes with each of their tensors in the same order.

    Their bytes go to the device, or with `offload` to page-locked memory of the CPU.
    """
    if device.type == "cpu" and all(isinstance(item, PayloadItem | UpstreamItem) for item in items):
        return list(items), list(slots)
    made = [item if isinstance(item, DeviceItem | PlainItem) else for_device(item, threads) for item in items]
    joined, theirs = join_items(made, slots)
    return [_move(item, device, offload) for item in joined], theirs


def _move(item: Item, device: torch.device, offload: bool) -> Item:
    if isinstance(item, PlainItem):
        return replace(item, weights=item.weights.pin_memory() if offload else item.weights.to(device))
    assert isinstance(item, DeviceItem)
    if offload:
        return replace(item, streams=item.streams.pin(), planes=tuple(plane.pin_memory() for plane in item.planes))
    return replace(item, streams=item.streams.to(device), planes=tuple(plane.to(device) for plane in item.planes))


def join_items(items: Sequence[Item], slots: Sequence[list[T]]) -> tuple[list[Item], list[list[T]]]:
    """Items of streams as one for each dtype, the others behind them, and what goes with their tensors."""
    alike: dict[torch.dtype, list[int]] = {}
    for place, item in enumerate(items):
        if isinstance(item, DeviceItem):
            alike.setdefault(item.dtype, []).append(place)
    found: list[tuple[Item, list[T]]] = []
    for places in alike.values():
        some = [item for item in (items[place] for place in places) if isinstance(item, DeviceItem)]
        if sum(len(item.streams.tables) for item in some) < MOST_TABLES:
            found.append((_joined(some), [slot for place in places for slot in slots[place]]))
        else:
            found += [(items[place], slots[place]) for place in places]
    found += [(item, of) for item, of in zip(items, slots, strict=True) if not isinstance(item, DeviceItem)]
    return [item for item, _ in found], [of for _, of in found]


def _joined(items: list[DeviceItem]) -> DeviceItem:
    """One item, of which each part begins with a chunk of its own."""
    if len(items) == 1:
        return items[0]
    streams, starts = join([item.streams for item in items])
    rooms = [-(-item.streams.count // CHUNK) * CHUNK - item.streams.count for item in items[:-1]] + [0]
    planes = [
        torch.cat([pad(item.planes[k], (0, room)) for item, room in zip(items, rooms, strict=True)])
        for k in range(len(items[0].planes))
    ]
    return DeviceItem(
        tuple(name for item in items for name in item.names),
        tuple(shape for item in items for shape in item.shapes),
        items[0].dtype,
        streams,
        tuple(planes),
        tuple(start + begin for item, start in zip(items, starts, strict=True) for begin in item.begins),
    )
