# SPDX-License-Identifier: Apache-2.0
"""How the decoding kernel finds the entry of a slot: in shared memory where a family fits there, else row by row."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CUMULATIVE = np.uint64(0xFFFF0000)
ENTRIES = 256  # of a table in an image, at most: its slots hold bytes
UNREACHED = 0xFFFF  # the cumulative frequency of rows that no slot reaches
PIECE = 16  # bytes that are copied at a time


class DecoderTables(Protocol):
    """What is read of an `isthmus.entropy.TableFamily`."""

    @property
    def precision(self) -> int: ...
    @property
    def low(self) -> NDArray[np.int32]: ...
    @property
    def size(self) -> NDArray[np.int32]: ...
    @property
    def starts(self) -> NDArray[np.int32]: ...
    @property
    def frequencies(self) -> NDArray[np.int32]: ...
    @property
    def cumulative(self) -> NDArray[np.int32]: ...
    @property
    def slots(self) -> NDArray[np.uint8] | NDArray[np.uint16]: ...
    @property
    def decoder_entries(self) -> NDArray[np.uint64]: ...


@dataclass(frozen=True)
class Image:
    """A family as `struct Family` of rans/decode.cu says, for the shared memory of a block.

    data: uint8, a multiple of 16; width: 2**width slots have one place; info_at, rows_at: where these begin in `data`.
    """

    data: NDArray[np.uint8]
    width: int
    info_at: int
    rows_at: int


def make_image(tables: DecoderTables, most: int) -> Image | None:
    """The image of at most `most` bytes that is searched in the fewest steps; None where there is none."""
    places, count = tables.slots.reshape(len(tables.low), -1), len(tables.low)
    for width in range(tables.precision):
        between = (1 << width) - 1  # rows behind each table, so that a search never enters the next one
        slots = places[:, :: 1 << width]
        info_at = _whole(slots.size)
        rows_at = _whole(info_at + 8 * count)
        size = _whole(rows_at + 4 * (len(tables.frequencies) + count * between))
        if size > most:
            continue
        if int(slots.max()) >= ENTRIES:
            return None
        data = np.zeros(size, np.uint8)
        info, rows = data[info_at:rows_at].view(np.uint32), data[rows_at:].view(np.uint32)
        firsts = tables.starts + between * np.arange(count)
        at = np.arange(len(tables.frequencies)) + between * np.repeat(np.arange(count), tables.size + 1)
        data[: slots.size] = slots.reshape(-1)
        info[: 2 * count : 2] = firsts
        info[1 : 2 * count : 2] = (tables.low - firsts) & 0xFFFFFFFF
        rows[:] = UNREACHED << 16
        rows[at] = tables.frequencies | tables.cumulative.astype(np.uint32) << 16
        rows[firsts + tables.size] |= np.uint32(1 << 15)
        return Image(data, width, info_at, rows_at)
    return None


def _whole(size: int) -> int:
    return -(-size // PIECE) * PIECE


def packed_slots(tables: DecoderTables) -> NDArray[np.uint64]:
    """uint64 [tables * 2**precision]: value << 32 | place in the entry << 16 | is escape << 15 | frequency, by slot."""
    entries = tables.slots + np.repeat(tables.starts, 1 << tables.precision)
    place = np.arange(len(entries)) % (1 << tables.precision) - tables.cumulative[entries]
    rows: Any = (tables.decoder_entries[entries] & ~CUMULATIVE) | place.astype(np.uint64) << np.uint64(16)
    return rows
