# SPDX-License-Identifier: Apache-2.0
"""The resumable decoder of rANS payloads (`rans.1` of docs/format-entropy.md)."""

from collections.abc import Callable
from functools import partial
from math import prod
from operator import index as to_int
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.entropy.coders.arguments import as_integers, flat_indices
from isthmus.entropy.tables.family import TableFamily
from isthmus.entropy.tables.fixed_log2 import COST_ONE
from isthmus.errors import CorruptStreamError
from isthmus.kernels import tier
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import plain, unrolled
from isthmus.kernels.rans import segments as kernels
from isthmus.kernels.rans.reference import LOWER
from isthmus.varint import unpack_varint

LANES = (1, 2, 4, 8, 16, 32)
BITS_PER_WORD = 17  # what a word or a state can hold, at most; see RansDecoder
SMALL_PRECISION = 12  # at which an entry, its frequency and the place in it fit 32 bits
WORTH_PACKING = 4  # times 2**precision symbols of one table, for which its slots are packed first


class RansDecoder:
    """Decodes one payload call by call; the lane states are kept in between (for models with many passes).

    Raises CorruptStreamError for a payload that is not whole. A symbol that the payload cannot hold is refused before
    memory is taken for it. A symbol of cost c = log2(2**p / f) bits lowers log2 of a lane's state by at least c / 2:
    the ratio (q 2**p + C + b) / (q f + b), 0 <= b < f, q >= 1, is above (2**p / f + 1) / 2 >= sqrt(2**p / f). A word
    raises it by at most 17, from x to below (x + 1) 2**16, and the first states are less than 16 above the last.

    >>> from isthmus.entropy import encode
    >>> tables = TableFamily.from_counts([[1, 2, 1]], [-1])
    >>> decoder = RansDecoder(encode([0, 1, -1, 0, 500], 0, tables), tables)
    >>> decoder.decode([0, 0]).tolist(), decoder.decode(0, count=3).tolist(), decoder.lanes
    ([0, 1], [-1, 0, 500], 1)
    >>> decoder.finish()
    """

    def __init__(self, data: bytes | memoryview, tables: TableFamily) -> None:
        self._first = self._at = self._escape_at = 0
        self._states = np.empty(0, np.uint32)
        self._words = np.zeros(rans_lanes.WORD_PADDING, np.uint16)
        self._word_count = 0
        self._escapes = np.empty(0, np.uint8)
        self.use(tables)
        view = memoryview(data).cast("B")
        if len(view):
            self._read(view)
        self._capacity = 2 * BITS_PER_WORD * COST_ONE * (self._word_count + len(self._states))

    def _read(self, view: memoryview) -> None:
        if view[0] >= len(LANES):
            raise CorruptStreamError(f"rANS payload: lane code {view[0]}, expected 0..{len(LANES) - 1}; fetch it again")
        lanes = LANES[view[0]]
        escape_bytes, begin = unpack_varint(view, 1)
        middle = begin + 4 * lanes
        end = len(view) - escape_bytes
        if end < middle or (end - middle) % 2:
            raise CorruptStreamError(
                f"rANS payload: {len(view)} bytes cannot hold {lanes} states and {escape_bytes} bytes of escapes; "
                "the stream is damaged, fetch it again"
            )
        self._states = np.frombuffer(view[begin:middle], "<u4").astype(np.uint32)
        if (self._states < LOWER).any() or (self._states >= LOWER << 16).any():
            raise CorruptStreamError("rANS payload: a lane state is outside [2^15, 2^31); fetch it again")
        self._word_count = (end - middle) // 2
        self._words = np.empty(self._word_count + rans_lanes.WORD_PADDING, np.uint16)
        self._words[self._word_count :] = 0
        self._words[: self._word_count] = np.frombuffer(view[middle:end], "<u2")
        self._escapes = np.frombuffer(view[end:], np.uint8)

    def use(self, tables: TableFamily) -> None:
        """Takes the next symbols from other tables; they may be of another precision."""
        self.tables = tables
        self._lookups = tables.lookups

    @property
    def lanes(self) -> int:
        """Number of interleaved states of the payload; 0 when it is empty."""
        return len(self._states)

    def decode(
        self, table_indices: Any, count: int | None = None, *, out: NDArray[np.int32] | None = None
    ) -> NDArray[np.int32]:
        """The next symbols: int32 in the shape of `table_indices`, or `count` of them with one table for all.

        out: contiguous int32 [symbols] to write them to, which spares new memory.
        Raises ValueError for an index without a table, a negative count or another `out`, TypeError for other dtypes,
        CorruptStreamError when the payload does not hold so many; the decoder is of no use after that.
        """
        array = as_integers(table_indices, "rans.decode: table indices")
        if count is not None and (array.ndim or to_int(count) < 0):
            raise ValueError("rans.decode: `count` is at least 0 and goes with a single table index")
        shape = array.shape if count is None else (to_int(count),)
        length = prod(shape)
        if out is not None and (out.dtype != np.int32 or out.shape != (length,) or not out.flags.c_contiguous):
            raise ValueError(f"rans.decode: `out` is {out.dtype} {out.shape}, expected contiguous int32 ({length},)")
        if length == 0:
            return np.empty(shape, np.int32)
        # Broadcast axes count once, so that no more memory is taken before the check than the caller already holds.
        compact = array[tuple(slice(None if stride else 1) for stride in array.strides)]
        index, step = flat_indices(compact, compact.shape, self.tables)
        if len(index) == length:  # the caller holds as much already: a bound that costs no pass over it is enough
            self._reserve(self.tables.least_cost * length, length)
        else:
            total = tier.pick(kernels.total_cost, plain.total_cost, len(index) * plain.LOOKUP)
            self._reserve(total(index, self.tables.least_costs) * (length // len(index)), length)
        if step and len(index) < length:
            index, step = flat_indices(array, shape, self.tables)
        out = np.empty(length, np.int32) if out is None else out
        self._at, self._escape_at = self._kernel(index, step, length)(
            self._first, self._lookups, self._states, self._words, self._escapes, self._at, self._escape_at, out
        )
        self._first += length
        self._check_position()
        return out.reshape(shape)

    def apply(self, kernel: Callable[..., tuple[int, int, int, bool]], *arguments: Any) -> bool:
        """Hands the payload to a kernel that decodes many passes in one call; returns what it says of their values.

        kernel(first, lookups, states, words, escapes, at, escape_at, *arguments) gives the number of the next symbol,
        the positions in words and escapes, and a verdict. How many symbols the payload can hold is the
        caller's to check. Raises CorruptStreamError where words or escapes end early or are invalid.
        """
        self._first, self._at, self._escape_at, verdict = kernel(
            self._first, self._lookups, self._states, self._words, self._escapes, self._at, self._escape_at, *arguments
        )
        self._check_position()
        return verdict

    def _check_position(self) -> None:
        if self._at < 0 or self._escape_at < 0:
            self._capacity = 0
            part = "words" if self._at < 0 else "escapes"
            raise CorruptStreamError(f"rANS payload: the {part} end early or are invalid; fetch the stream again")

    def _kernel(self, index: NDArray[np.uint16], step: int, length: int) -> Callable[..., tuple[int, int]]:
        """The loop for so many symbols, its first arguments bound."""
        t = self.tables
        decode = tier.pick(rans_lanes.decode, plain.decode, length * plain.SYMBOL)
        if self.lanes != unrolled.LANES or decode is not rans_lanes.decode:
            return partial(decode, index, step)
        if step:
            return partial(unrolled.decode_each, index)
        if length < WORTH_PACKING << t.precision:
            return partial(rans_lanes.decode, index, step)
        slots = t.slots[int(index[0]) << t.precision :][: 1 << t.precision]
        start = t.starts[index[0]]
        if t.precision == SMALL_PRECISION and slots.dtype == np.uint8:
            small = np.empty(len(slots), np.uint32)
            rans_lanes.pack_small(slots, t.frequencies[start:], small)
            return partial(unrolled.decode_small, index, small)
        packed = np.empty(len(slots), np.uint64)
        rans_lanes.pack_slots(slots, t.decoder_entries[start:], packed)
        return partial(unrolled.decode_run, index, packed)

    def _reserve(self, least_cost: int, length: int) -> None:
        self._capacity -= least_cost
        if self._capacity < 0:
            raise CorruptStreamError(
                f"rANS payload: {length} more symbols were announced than {self._word_count} words can hold; the "
                "header or the payload is damaged, fetch it again"
            )

    def finish(self) -> None:
        """Checks that everything was used and every lane is back at its start; CorruptStreamError otherwise."""
        whole = self._at == self._word_count and self._escape_at == len(self._escapes)
        whole = whole and (self._first > 0 or self.lanes == 0)  # no symbols have one spelling, no bytes
        if not whole or (self._states != LOWER).any():
            raise CorruptStreamError(
                "rANS payload: bytes are left over or the states do not close; the stream is damaged or its tables "
                "are not the ones it was made with"
            )
