# SPDX-License-Identifier: Apache-2.0
"""Families of integer frequency tables: where distributions and coders meet."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.entropy.quantize_pmf import quantize_pmf
from isthmus.errors import CorruptStreamError

MIN_PRECISION, MAX_PRECISION = 12, 15
MAX_TABLES = 1024
COST_ONE = 1 << 16  # one bit in the fixed-point costs

Int32 = NDArray[np.int32]


def fixed_log2(values: ArrayLike) -> NDArray[np.int64]:
    """floor(log2(v) * 65536) of integers 1 <= v < 2**31, by repeated squaring: the same on every machine."""
    v = np.asarray(values, np.uint64)
    exponent = np.zeros(v.shape, np.int64)
    for shift in (16, 8, 4, 2, 1):
        large = v >> np.uint64(shift) > 0
        exponent += np.where(large, shift, 0)
        v = np.where(large, v >> np.uint64(shift), v)
    mantissa = np.asarray(values, np.uint64) << (31 - exponent).astype(np.uint64)  # in [2**31, 2**32)
    fraction = np.zeros(v.shape, np.int64)
    for _ in range(16):
        mantissa = (mantissa * mantissa) >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        fraction = fraction * 2 + bit.astype(np.int64)
        mantissa >>= bit
    return exponent * COST_ONE + fraction


@dataclass(frozen=True, eq=False)
class TableFamily:
    """K tables of one precision. Table k codes the integers low[k] .. low[k] + size[k] - 1 and an escape for the rest.

    frequencies: int32, table after table, size[k] + 1 entries each, the escape last; every entry is at least 1 and
    each table sums to 2**precision. So every int32 can be coded and none costs zero bits.

    >>> tables = TableFamily.from_counts([[1, 6, 1]], [-1], precision=12)
    >>> tables.frequencies.tolist(), tables.hash
    ([512, 3071, 512, 1], '28463327')
    """

    precision: int
    low: Int32
    size: Int32
    frequencies: Int32

    def __post_init__(self) -> None:
        for name in ("low", "size", "frequencies"):
            array = np.array(getattr(self, name), np.int32)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._validate()

    def _validate(self) -> None:
        k = len(self.low)
        if not MIN_PRECISION <= self.precision <= MAX_PRECISION:
            raise ValueError(f"entropy tables: precision {self.precision}, expected {MIN_PRECISION}..{MAX_PRECISION}")
        if not 1 <= k <= MAX_TABLES or self.low.shape != (k,) or self.size.shape != (k,):
            raise ValueError(f"entropy tables: {k} tables, expected 1..{MAX_TABLES} with one `low` and `size` each")
        if (self.size < 1).any() or (self.size >= 1 << self.precision).any():
            raise ValueError("entropy tables: a table has no symbols or more symbols than slots")
        if (np.abs(self.low.astype(np.int64)) > 1 << 24).any():
            raise ValueError("entropy tables: an alphabet begins beyond +-2**24")
        if self.frequencies.shape != (int(self.size.sum()) + k,) or (self.frequencies < 1).any():
            raise ValueError("entropy tables: the number of frequencies is wrong or one of them is below 1")
        if (np.add.reduceat(self.frequencies.astype(np.int64), self.starts) != 1 << self.precision).any():
            raise ValueError(f"entropy tables: a table does not sum to 2**{self.precision}")

    @classmethod
    def from_counts(
        cls, counts: Sequence[ArrayLike], low: Sequence[int], *, precision: int = MIN_PRECISION
    ) -> "TableFamily":
        """Tables from symbol counts: counts[k][i] of the integer low[k] + i.

        Ends of an alphabet that deserve less than half a slot are left to the escape.
        Raises ValueError for negative or all-zero counts.
        """
        lows, sizes, frequencies = [], [], []
        for row, first in zip(counts, low, strict=True):
            w = np.asarray(row, np.float64)
            if w.ndim != 1 or (w < 0).any() or not w.sum() > 0:
                raise ValueError("TableFamily.from_counts: each row must be one-dimensional, >= 0 and not all zero")
            kept = np.flatnonzero(w * (2 << precision) >= w.sum())
            begin, end = int(kept[0]), int(kept[-1]) + 1
            rest = w[:begin].sum() + w[end:].sum()
            lows.append(first + begin)
            sizes.append(end - begin)
            frequencies.append(quantize_pmf(np.append(w[begin:end], rest), precision))
        return cls(precision, np.array(lows), np.array(sizes), np.concatenate(frequencies))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> "TableFamily":
        """The inverse of `to_arrays`; raises CorruptStreamError for arrays that are no valid tables."""
        try:
            values = {k: np.asarray(arrays[k]) for k in ("precision", "low", "size", "frequencies")}
            if any(v.dtype.kind not in "iu" for v in values.values()) or values["precision"].size != 1:
                raise ValueError("entropy tables: expected integer arrays and one precision")
            precision = int(values.pop("precision").reshape(()))
            return cls(precision, **values)
        except (KeyError, ValueError, OverflowError) as error:
            raise CorruptStreamError(f"weights file: {error}; fetch the file again") from error

    def to_arrays(self) -> dict[str, Int32]:
        """Integer arrays that hold the whole family, for safetensors."""
        precision = np.array([self.precision], np.int32)
        return {"precision": precision, "low": self.low, "size": self.size, "frequencies": self.frequencies}

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Index of each table's first frequency."""
        return np.cumsum(self.size.astype(np.int64) + 1) - self.size - 1

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits that name these tables (docs/format.md, "Hashes")."""
        digest = hashlib.sha256()
        for name in ("precision", "low", "size", "frequencies"):
            digest.update(self.to_arrays()[name].astype("<i4").tobytes())
        return digest.hexdigest()[:8]

    @cached_property
    def cumulative(self) -> Int32:
        """Sum of the frequencies before each entry within its table."""
        f = self.frequencies.astype(np.int64)
        total = np.cumsum(f) - f
        return (total - np.repeat(total[self.starts], self.size + 1)).astype(np.int32)

    @cached_property
    def costs(self) -> Int32:
        """Bits of each entry, times 65536, rounded up; an escape costs its varint on top."""
        return (self.precision * COST_ONE - fixed_log2(self.frequencies)).astype(np.int32)

    @cached_property
    def least_costs(self) -> Int32:
        """The cheapest entry of each table, in bits times 65536: at least 1 (a frequency never reaches 2**precision)."""
        return np.maximum(1, np.minimum.reduceat(self.costs, self.starts)).astype(np.int32)

    @cached_property
    def slots(self) -> NDArray[np.uint64]:
        """Decoder's lookup [K, 2**precision]: entry << 32 | (frequency - 1) << 16 | slot - cumulative."""
        entry = np.concatenate([np.arange(n + 1) for n in self.size]).astype(np.uint64)
        packed = entry << np.uint64(32) | (self.frequencies - 1).astype(np.uint64) << np.uint64(16)
        repeated = np.repeat(packed, self.frequencies)
        slot = np.tile(np.arange(1 << self.precision), len(self))
        bias = slot - np.repeat(self.cumulative, self.frequencies)
        return (repeated | bias.astype(np.uint64)).reshape(len(self), -1)
