# SPDX-License-Identifier: Apache-2.0
"""Where each 64 symbols of Huffman streams begin, and the tables they are looked up in, as GPU threads need them.

A group is 64 symbols of one stream, or fewer at its end; a warp is 32 groups that follow each other, of any streams.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel
from isthmus.kernels.huffman.tables import LIMIT, make_lookups

GROUP = 64
LANES = 32
MOST = 3  # symbols in an entry
MASK = (1 << LIMIT) - 1


@dataclass(frozen=True)
class WarpIndex:
    """warps: int64 [W], the bit at which each warp's first group begins << 16 | what its lengths are less by.

    lengths: [32 W], bits from the begin of a group to that of the next, less what the warp's word says; uint8 if that
    suffices, else int16. The last group of a warp, and what is behind the last group of all, have no length: 0.
    """

    warps: NDArray[np.int64]
    lengths: NDArray[np.uint8] | NDArray[np.int16]


def group_starts(bits: NDArray[np.uint16], places: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [G]: the bit at which each group begins.

    bits: uint16 [G], of each group; places: int64 [S], the byte at which each stream begins; groups: int64 [S], how
    many it has.
    """
    ends = np.cumsum(bits, dtype=np.int64)
    starts = ends - bits
    kept = groups > 0
    first = (np.cumsum(groups) - groups)[kept]
    return starts + np.repeat(8 * places[kept] - starts[first], groups[kept])


def index_warps(starts: NDArray[np.int64]) -> WarpIndex:
    """The index for groups that begin at these bits, each less than 2**15 bits before the next of its warp.

    Raises ValueError where they do not, or where a bit is 2**47 or beyond.
    """
    count = len(starts)
    warps = -(-count // LANES)
    padded = np.zeros((warps, LANES), np.int64)
    padded.reshape(-1)[:count] = starts
    lengths = np.zeros((warps, LANES), np.int64)
    lengths[:, :-1] = np.diff(padded, axis=1)
    known = np.arange(warps * LANES).reshape(warps, LANES) < count - 1
    known[:, -1] = False
    lengths[~known] = 0
    if count and (int(lengths.min()) < 0 or int(lengths.max()) >= 1 << 15 or int(starts.max()) >= 1 << 47):
        raise ValueError("index_warps: groups that are out of order, or too far apart")
    base = np.where(known, lengths, 1 << 15).min(axis=1, initial=1 << 15)
    base[~known.any(axis=1)] = 0
    less = np.where(known, lengths - base[:, None], 0).reshape(-1)
    if less.size and int(less.max()) > 255:
        return WarpIndex(padded[:, 0] << 16, lengths.reshape(-1).astype(np.int16))
    return WarpIndex(padded[:, 0] << 16 | base, less.astype(np.uint8))


@kernel
def _fill(singles, entries):  # type: ignore[no-untyped-def]
    for window in range(1 << LIMIT):
        used, number, entry = np.int64(0), np.int64(0), np.int64(0)
        while number < MOST:
            single = np.int64(singles[(window >> used) & MASK])
            if used + (single >> 8) > LIMIT:
                break
            entry |= (single & 255) << (8 * number)
            used += single >> 8
            number += 1
        entries[window] = np.uint32(used << 28 | number << 24 | entry)


def warp_tables(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """uint32 [K, 4096]: used << 28 | number of symbols << 24 | up to three symbols that 12 bits hold, the first lowest.

    lengths: uint8 [K, 256], see `isthmus.entropy.tables.huffman`.
    """
    entries = np.empty((len(lengths), 1 << LIMIT), np.uint32)
    multi = np.empty(2 << LIMIT, np.uint64)
    for row, of in zip(entries, lengths, strict=True):
        single = np.empty(1 << LIMIT, np.uint16)
        make_lookups(of, single, multi)
        _fill(single, row)
    return entries


def single_tables(lengths: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """uint16 [K, 4096]: length << 8 | symbol of the code that 12 bits begin with."""
    singles = np.empty((len(lengths), 1 << LIMIT), np.uint16)
    multi = np.empty(2 << LIMIT, np.uint64)
    for row, of in zip(singles, lengths, strict=True):
        make_lookups(of, row, multi)
    return singles
