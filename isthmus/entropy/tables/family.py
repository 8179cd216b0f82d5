# SPDX-License-Identifier: Apache-2.0
"""Families of integer frequency tables: where distributions and coders meet."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.arrays.numbers import as_array
from isthmus.arrays.types import Int32
from isthmus.entropy.tables.alphabet import check_inside
from isthmus.entropy.tables.fixed_log2 import COST_ONE, fixed_log2
from isthmus.entropy.tables.quantize_pmf import quantize_pmf, quantize_rows, with_escape
from isthmus.errors import CorruptStreamError
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.lazy import cached_property

MIN_PRECISION, MAX_PRECISION = 12, 15
MAX_TABLES, MAX_LOW = 1024, 1 << 24
MAX_SLOTS = 1 << 22  # tables times 2**precision: the decoder's lookup takes at most 16 MB

Lookups: TypeAlias = tuple[int, Int32, Int32, Int32, NDArray[Any], NDArray[np.uint64]]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _int32(values: ArrayLike, name: str) -> Int32:
    """A read-only int32 copy of a one-dimensional integer array; ValueError if it is none or a value does not fit."""
    array = as_array(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"entropy tables: `{name}` is {array.dtype} {array.shape}, expected integers in one dimension")
    if array.size and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
        raise ValueError(f"entropy tables: `{name}` does not fit 32 bits")
    return _frozen(array.astype(np.int32))


@dataclass(frozen=True, eq=False)
class TableFamily:
    """K tables of one precision. Table k codes the integers low[k] .. low[k] + size[k] - 1 and an escape for the rest.

    frequencies: int32, table after table, size[k] + 1 entries each, the escape last; every entry is at least 1 and
    each table sums to 2**precision. So every int32 can be coded and none costs zero bits. An index into `frequencies`
    is called an entry.

    Limits: precision 12..15, 1..1024 tables and at most 2**22 slots (tables times 2**precision) in all, size at least
    1, |low| <= 2**24. Raises ValueError for anything else.

    >>> tables = TableFamily.from_counts([[1, 6, 1]], [-1], precision=12)
    >>> tables.frequencies.tolist(), tables.hash
    ([512, 3071, 512, 1], 'e54a4bef')
    """

    precision: int
    low: Int32
    size: Int32
    frequencies: Int32

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", index(self.precision))
        if not MIN_PRECISION <= self.precision <= MAX_PRECISION:
            raise ValueError(f"entropy tables: precision {self.precision}, expected {MIN_PRECISION}..{MAX_PRECISION}")
        for name in ("low", "size", "frequencies"):
            object.__setattr__(self, name, _int32(getattr(self, name), name))
        self._validate()

    def _validate(self) -> None:
        k = len(self.low)
        if not 1 <= k <= MAX_TABLES or k << self.precision > MAX_SLOTS or len(self.size) != k:
            raise ValueError(
                f"entropy tables: {k} `low` and {len(self.size)} `size` at precision {self.precision}, expected as "
                f"many of both, 1..{min(MAX_TABLES, MAX_SLOTS >> self.precision)}"
            )
        if (self.size < 1).any() or (self.size >= 1 << self.precision).any():
            raise ValueError("entropy tables: a table has no symbols or more symbols than slots")
        if (self.low < -MAX_LOW).any() or (self.low > MAX_LOW).any():
            raise ValueError(f"entropy tables: an alphabet begins beyond +-{MAX_LOW}")
        if len(self.frequencies) != int(self.size.sum()) + k or (self.frequencies < 1).any():
            raise ValueError("entropy tables: the number of frequencies is wrong or one of them is below 1")
        sums = np.add.reduceat(self.frequencies.astype(np.int64), self.starts)
        wrong = np.flatnonzero(sums != 1 << self.precision)
        if wrong.size:
            raise ValueError(
                f"entropy tables: table {wrong[0]} sums to {sums[wrong[0]]}, expected 2**{self.precision} = "
                f"{1 << self.precision}"
            )

    @classmethod
    def from_counts(
        cls,
        counts: Sequence[ArrayLike],
        low: Sequence[int],
        *,
        precision: int = MIN_PRECISION,
        longest: int | None = None,
    ) -> "TableFamily":
        """Tables from symbol counts: counts[k][i] of the integer low[k] + i.

        Ends of an alphabet that deserve less than half a slot are left to the escape, and the rarest ends where it has
        more than `longest` symbols. Families whose tables all have less than 256 are decoded from half the memory.
        Raises ValueError for negative, infinite or all-zero counts, and for more symbols than 2**precision slots.
        """
        lows, sizes, frequencies = [], [], []
        for row, first in zip(counts, low, strict=True):
            w = as_array(row).astype(np.float64, copy=False)
            if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
                raise ValueError("TableFamily.from_counts: each row must be one-dimensional, >= 0 and not all zero")
            kept = np.flatnonzero(w * (2 << precision) >= w.sum())
            begin, end = (int(kept[0]), int(kept[-1]) + 1) if kept.size else (0, len(w))
            if end - begin >= 1 << precision:
                raise ValueError(f"TableFamily.from_counts: {end - begin} symbols, 2**{precision} slots are too few")
            while longest is not None and end - begin > longest:
                begin, end = (begin + 1, end) if w[begin] < w[end - 1] else (begin, end - 1)
            lows.append(first + begin)
            sizes.append(end - begin)
            frequencies.append(quantize_pmf(np.append(w[begin:end], w[:begin].sum() + w[end:].sum()), precision))
        return cls(precision, np.array(lows), np.array(sizes), np.concatenate(frequencies))

    @classmethod
    def from_pmf(cls, rows: Sequence[ArrayLike], low: Sequence[int], *, precision: int | None = None) -> "TableFamily":
        """Tables from probabilities: rows[k][i] of the integer low[k] + i; what a row lacks of 1 is the escape's.

        Every integer of a row stays in its alphabet. precision: 12..15; None takes the least with which each table
        costs at most 0.4 % more bits than its distribution's entropy (or than 0.1 bit, where the entropy is lower), or
        else the largest that fits.

        Raises ValueError for rows that are no probabilities, more than 1024 rows, or rows too long for the slots.

        >>> tables = TableFamily.from_pmf([[0.25, 0.5, 0.25], [0.01, 0.98]], [-1, 0])
        >>> tables.precision, tables.frequencies.tolist()
        (12, [1024, 2047, 1024, 1, 41, 4014, 41])
        """
        weights = with_escape(rows)
        if not 1 <= len(weights) <= MAX_TABLES:
            raise ValueError(f"TableFamily.from_pmf: {len(weights)} rows, expected 1..{MAX_TABLES}")
        most = min(MAX_PRECISION, (MAX_SLOTS // len(weights)).bit_length() - 1)
        allowed = range(MIN_PRECISION, most + 1) if precision is None else (precision,)
        if not MIN_PRECISION <= allowed[0] <= most:
            raise ValueError(f"TableFamily.from_pmf: precision {precision}, expected {MIN_PRECISION}..{most}")
        chosen, frequencies = quantize_rows(weights, allowed)
        sizes = [len(w) - 1 for w in weights]
        return cls(chosen, np.array(low), np.array(sizes), np.concatenate(frequencies))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> "TableFamily":
        """The inverse of `to_arrays`; raises CorruptStreamError for arrays that are no valid tables."""
        try:
            values = {k: np.asarray(arrays[k]) for k in ("precision", "low", "size", "frequencies")}
            precision = _int32(values.pop("precision"), "precision")
            if len(precision) != 1:
                raise ValueError(f"entropy tables: {len(precision)} precisions, expected one")
            return cls(int(precision[0]), **values)
        except KeyError as error:
            raise CorruptStreamError(f"weights file: entropy tables lack {error}; fetch the file again") from error
        except ValueError as error:
            raise CorruptStreamError(f"weights file: {error}; fetch the file again") from error

    def to_arrays(self) -> dict[str, Int32]:
        """Integer arrays that hold the whole family, for safetensors."""
        precision = np.array([self.precision], np.int32)
        return {"precision": precision, "low": self.low, "size": self.size, "frequencies": self.frequencies}

    def check(self, symbols: Any, table_indices: Any) -> None:
        """Raises ValueError for the first symbol outside its table, which would be escaped, or index without a table.

        symbols, table_indices: integers as `encode` takes them. Where escapes would be a mistake, call it first.
        """
        check_inside(symbols, table_indices, self.low, self.size)

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def starts(self) -> Int32:
        """First entry of each table; of 32 bits, which `find_entries` makes vectors of."""
        return _frozen((np.cumsum(self.size.astype(np.int64) + 1) - self.size - 1).astype(np.int32))

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits that name these tables (docs/format-entropy.md, "The hash of a family")."""
        digest = hashlib.sha256()
        for name in ("precision", "low", "size", "frequencies"):
            digest.update(self.to_arrays()[name].astype("<i4").tobytes())
        return digest.hexdigest()[:8]

    @cached_property
    def cumulative(self) -> Int32:
        """Sum of the frequencies before each entry within its table."""
        f = self.frequencies.astype(np.int64)
        total = np.cumsum(f) - f
        return _frozen((total - np.repeat(total[self.starts], self.size + 1)).astype(np.int32))

    @cached_property
    def costs(self) -> Int32:
        """Bits of each entry, times 65536, rounded up; an escape costs its varint on top."""
        return _frozen((self.precision * COST_ONE - fixed_log2(self.frequencies)).astype(np.int32))

    @cached_property
    def least_costs(self) -> Int32:
        """Bits of the cheapest entry of each table, times 65536, rounded down: at least 1.

        A frequency is at most 2**15 - 1 of 2**15, which costs 2.88.
        """
        return _frozen((np.minimum.reduceat(self.costs, self.starts) - 1).astype(np.int32))

    @cached_property
    def least_cost(self) -> int:
        """The least of `least_costs`."""
        return int(self.least_costs.min())

    @cached_property
    def slots(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Decoder's lookup, flat: which of its table's entries each slot belongs to, 2**precision slots a table."""
        # In bytes where that is enough: many tables then stay in a core's second cache.
        kind = np.uint8 if self.size.max() < 1 << 8 else np.uint16
        return _frozen(np.repeat(self._places().astype(kind), self.frequencies))

    def _places(self) -> NDArray[np.int64]:
        """Which of its table's entries each entry is."""
        return np.arange(len(self.frequencies)) - np.repeat(self.starts, self.size + 1)

    @cached_property
    def lookups(self) -> Lookups:
        """What the kernels take to decode."""
        return self.precision, self.low, self.size, self.starts, self.slots, self.decoder_entries

    @cached_property
    def no_entries(self) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """An empty array of the smallest dtype that holds the number of an entry."""
        kind = np.uint16 if len(self.frequencies) <= 1 << 16 else np.uint32
        return _frozen(np.empty(0, kind))

    @cached_property
    def encoder_rows(self) -> NDArray[np.uint32]:
        """What the kernel needs to encode each entry."""
        return _frozen(rans_lanes.encoder_rows(self.frequencies, self.cumulative))

    @cached_property
    def decoder_entries(self) -> NDArray[np.uint64]:
        """What the kernel needs to decode each entry; the value of an escape is the first beyond the alphabet."""
        place = self._places()
        values = (place + np.repeat(self.low, self.size + 1)).astype(np.int32)
        escapes = place == np.repeat(self.size, self.size + 1)
        return _frozen(rans_lanes.decoder_entries(self.frequencies, self.cumulative, values, escapes))
