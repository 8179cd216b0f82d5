# SPDX-License-Identifier: Apache-2.0
"""Factorized entropy model of latents: one table of a trained family for each image and channel.

Images differ in scale, so a static table for each channel costs 10 to 12 % more than its order-0 entropy; naming, per
image and channel, one of 64 tables and an integer offset takes most of that back for about 40 bytes a 48-channel image.
Both are coded in the same rANS stream, as differences from
what training saw: a row of the model for each quality, or for whatever else a codec has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.types import Int16, Int32
from isthmus.entropy.coders import batch
from isthmus.entropy.coders.rans import encode_segments
from isthmus.entropy.coders.rans_decoder import LANES
from isthmus.entropy.models.choices import ChoiceColumns, Choices
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.errors import CorruptStreamError
from isthmus.kernels import threads as pool
from isthmus.kernels import tier
from isthmus.kernels.rans import factorized as kernels
from isthmus.kernels.rans import factorized_plain as plain
from isthmus.kernels.rans.plain import SYMBOL
from isthmus.lazy import cached_property

ROWS = 100
SMALL_PLANE = 1 << 14  # positions, up to which a call for each plane would take most of the time
WHAT = "latent payload"
MAX_REACH = 1 << 12  # latent tables lie within +-4096: a lying weights file cannot make `choose` take all memory


@dataclass(frozen=True, eq=False)
class FactorizedModel:
    """`family`: K tables in order of entropy, then one for table choices and one for offsets.

    `expected`: uint8 [100, c], the usual table of each channel in row 1..100 of the model.
    """

    family: TableFamily
    expected: NDArray[np.uint8]
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        shape = self.expected.shape
        if len(shape) != 2 or shape[0] != ROWS or self.expected.dtype != np.uint8 or self.expected.size == 0:
            raise CorruptStreamError(f"weights file: table expectations {shape}, expected uint8 [{ROWS}, channels]")
        if len(self.family) < 3 or int(self.expected.max()) >= self.scales:
            raise CorruptStreamError("weights file: an expected table lies outside the family; fetch the file again")
        if self._reach > MAX_REACH:
            raise CorruptStreamError(f"weights file: a latent table reaches +-{self._reach}, the limit is {MAX_REACH}")
        digest = sha256(bytes.fromhex(self.family.hash) + self.expected.tobytes())
        object.__setattr__(self, "hash", digest.hexdigest()[:8])

    @property
    def scales(self) -> int:
        """Number of tables for latents, K."""
        return len(self.family) - 2

    @cached_property
    def _reach(self) -> int:
        """Histograms span -reach..reach; values beyond are counted at the ends, which are escapes in every table."""
        low, size = self.family.low[: self.scales], self.family.size[: self.scales]
        return int(max(-low.min(), (low + size).max(), 1))

    @cached_property
    def costs(self) -> NDArray[np.int64]:
        """Cost of each value under each table [2 reach + 1, K] in 1/65536 bits."""
        t, reach = self.family, self._reach
        value = np.arange(-reach, reach + 1)
        entry = value[:, None] - t.low[: self.scales]
        size = t.size[: self.scales].astype(np.int64)
        escaped = (entry < 0) | (entry >= size)
        costs = t.costs[t.starts[: self.scales] + np.where(escaped, size, entry)]
        return np.ascontiguousarray(costs + escaped * (8 * COST_ONE), np.int64)

    def choose(self, planes: Int16) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The cheapest table and the offset (nearest integer to the mean) of each plane of [c, h, w]."""
        tables, offsets, _ = self._choose(planes)
        return tuple(tables.tolist()), tuple(offsets.tolist())

    def least_bytes(self, planes: Int16) -> int:
        """What the integers of planes [c, h, w] take at least, with the tables that `encode` chooses."""
        return int(self._choose(planes)[2]) // (8 * COST_ONE)

    def _choose(self, planes: Int16) -> tuple[Int32, Int32, int]:
        """Tables [c], offsets [c] and the cost of the integers with them, in 1/65536 bits."""
        tables, offsets = np.empty((2, len(planes)), np.int32)
        flat = np.ascontiguousarray(planes).reshape(len(planes), -1)
        choose = tier.pick(kernels.choose, plain.choose, planes.size * plain.VALUE)
        return tables, offsets, choose(flat, self.costs, tables, offsets)

    def encode(self, planes: Int16, row: int, choices: Choices | None = None) -> bytes:
        """int16 planes [c, h, w] to a payload; the choices are made here unless given."""
        if 0 < planes[0].size <= SMALL_PLANE:
            return self.encode_batch(planes[None], row, [choices] if choices else None)[0]
        tables, offsets = (choices.tables, choices.offsets) if choices else self.choose(planes)
        usual = self.expected[row - 1].astype(np.int32)
        segments: list[tuple[object, object]] = [
            (np.array(tables, np.int32) - usual, self.scales),
            (np.array(offsets, np.int32), self.scales + 1),
        ]
        for plane, table, offset in zip(planes, tables, offsets, strict=True):
            segments.append((plane if offset == 0 else plane.astype(np.int32) - offset, table))
        return encode_segments(segments, self.family, lanes=choices.lanes if choices else None)

    def decode(self, payload: bytes | memoryview, shape: tuple[int, int, int], row: int) -> tuple[Int16, Choices]:
        """The inverse of `encode` for planes of `shape`; also what the encoder had chosen.

        Raises CorruptStreamError for a payload that does not hold such planes, before memory is taken for them.
        """
        planes, choices = self.decode_batch([payload], shape, row)
        return planes[0], choices[0]

    def encode_batch(
        self,
        planes: Int16,
        rows: int | Sequence[int],
        choices: Sequence[Choices] | None = None,
        *,
        threads: int = 1,
    ) -> list[bytes]:
        """One payload for each item of int16 planes [n, c, h, w], the same as `encode` makes; c h w is at least 1.

        rows: one for all or one each; choices: made here unless given. Raises ValueError for other shapes.
        """
        if planes.ndim != 4 or planes.dtype != np.int16 or planes[:1].size == 0 < len(planes):
            raise ValueError(f"encode_batch: planes {planes.dtype} {planes.shape}, expected int16 [n, c, h, w]")
        items, channels, height, width = planes.shape
        usual = self.usual(rows, items, channels)
        flat = np.ascontiguousarray(planes).reshape(items, channels, height * width)
        tables, offsets = np.zeros((2, items, channels), np.int32)
        lanes = np.zeros(items, np.int64)
        if choices is not None:
            if len(choices) != items or any(c.lanes not in LANES or len(c.tables) != channels for c in choices):
                raise ValueError(f"encode_batch: the choices do not fit {items} items of {channels} channels")
            for i, choice in enumerate(choices):
                tables[i], offsets[i] = choice.tables, choice.offsets
            if items and not 0 <= tables.min() <= tables.max() < self.scales:
                raise ValueError(f"encode_batch: tables {tables.min()}..{tables.max()}, expected 0..{self.scales - 1}")
            lanes[:] = [c.lanes for c in choices]
        t, costs = self.family, self.costs
        family = (t.low, t.size, t.starts)
        choose = tier.pick(kernels.choose, plain.choose, planes.size * plain.VALUE)
        encode = tier.pick(kernels.encode_planes, plain.encode_planes, planes.size * SYMBOL)

        def work(group: range, room: NDArray[np.uint8], bounds: NDArray[np.int64]) -> None:
            part = slice(group.start, group.stop)
            if choices is None:
                for i in group:
                    choose(flat[i], costs, tables[i], offsets[i])
            encode(
                flat[part], usual[part], self.scales, family, t.costs, t.encoder_rows, t.precision, batch.LANE_COST,
                tables[part], offsets[part], lanes[part], room, bounds,
            )  # fmt: skip

        return batch.collect_payloads(items, channels * (height * width + 2), threads, work)

    def decode_batch(
        self,
        payloads: Sequence[bytes | memoryview],
        shape: tuple[int, int, int],
        rows: int | Sequence[int],
        *,
        threads: int = 1,
    ) -> tuple[Int16, list[Choices]]:
        """The inverse of `encode_batch`: int16 [n, c, h, w] and what was chosen for each item.

        Raises what `decode` raises, and names the first item at fault.
        """
        planes, choices = self.decode_columns(payloads, shape, rows, threads=threads)
        return planes, list(choices)

    def decode_columns(
        self,
        payloads: Sequence[bytes | memoryview],
        shape: tuple[int, int, int],
        rows: int | Sequence[int],
        *,
        threads: int = 1,
    ) -> tuple[Int16, ChoiceColumns]:
        """As `decode_batch`; the choices of an item are made when they are asked for."""
        items, (channels, height, width) = len(payloads), shape
        data, bounds, usual = self._open(payloads, shape, rows)
        planes = np.empty((items, channels, height * width), np.int16)
        tables, offsets = np.empty((2, items, channels), np.int32)
        lanes = np.zeros(items, np.int64)
        t = self.family
        decode = tier.pick(kernels.decode_planes, plain.decode_planes, planes.size * SYMBOL)

        def work(group: range) -> None:
            part = slice(group.start, group.stop)
            status = np.zeros(len(group), np.uint8)
            decode(
                data, bounds[group.start : group.stop + 1], usual[part], self.scales, t.lookups, planes[part],
                tables[part], offsets[part], lanes[part], status,
            )  # fmt: skip
            batch.raise_fault(status, group.start, WHAT)

        pool.run(work, batch.plan_groups(items, threads, max(items, 1)), threads)
        return planes.reshape(items, *shape), ChoiceColumns(lanes, tables, offsets)

    def decode_heads(
        self, payloads: Sequence[bytes | memoryview], shape: tuple[int, int, int], rows: int | Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], ChoiceColumns]:
        """What names the tables of the symbols, for who decodes these elsewhere.

        Joined payloads uint8 [bytes] and their bounds int64 [n + 1], tables and offsets int32 [n, c], and the choices.
        Raises what `decode` raises.
        """
        data, bounds, usual = self._open(payloads, shape, rows)
        tables, offsets = np.empty((2, len(payloads), shape[0]), np.int32)
        lanes, status = np.zeros(len(payloads), np.int64), np.zeros(len(payloads), np.uint8)
        kernels.decode_heads(data, bounds, usual, self.scales, self.family.lookups, tables, offsets, lanes, status)
        batch.raise_fault(status, 0, WHAT)
        return data, bounds, tables, offsets, ChoiceColumns(lanes, tables, offsets)

    def _open(
        self, payloads: Sequence[bytes | memoryview], shape: tuple[int, int, int], rows: int | Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
        """Joined payloads, their bounds, and the expected tables of each item. Raises as `decode`."""
        channels, height, width = shape
        data, bounds = batch.join_payloads(payloads, WHAT)
        usual = self.usual(rows, len(payloads), channels)
        # What the cheapest table makes of it; the tables are known only once they are decoded.
        least = int(self.family.least_costs.min()) * prod(shape)
        batch.check_capacity(bounds, [least], WHAT, f"{channels} x {height} x {width} latents")
        return data, bounds, usual

    def usual(self, rows: int | Sequence[int], items: int, channels: int) -> NDArray[np.int32]:
        """The expected tables of each item, int32 [items, c]."""
        if channels != self.expected.shape[1]:
            raise ValueError(f"got {channels} channels, expected {self.expected.shape[1]}")
        given = np.asarray(rows, np.int64)
        if given.shape not in ((), (items,)):
            raise ValueError(f"rows of shape {given.shape}, expected one or {items}")
        every = np.broadcast_to(given, (items,))
        if items and not 1 <= every.min() <= every.max() <= ROWS:
            raise ValueError(f"rows {every.min()}..{every.max()}, expected 1..{ROWS}")
        return self.expected[every - 1].astype(np.int32)
