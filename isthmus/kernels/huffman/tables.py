# SPDX-License-Identifier: Apache-2.0
"""Huffman codes of at most 12 bits: lengths by package-merge, canonical codes, and the decoder's lookup tables.

Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes" (1990). Equals `reference`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from isthmus.kernels.compiled import kernel

LIMIT = 12  # bits of a code, at most
SYMBOLS = 256
ABSENT = 15  # length of a symbol without a code; 0 is the length of a symbol that is alone
MOST, COUNT, USED = 6, 48, 58  # symbols that one lookup gives, at most; places of their number and length in it
MOST_TABLES = (1 << 16) - 1
RECENT = 16  # tables that a run may share
U8, U16, U64 = np.uint8, np.uint16, np.uint64
_PLACES = np.arange(LIMIT, dtype=np.uint32)
_TURNED = np.zeros((1 << LIMIT) + 1, np.uint32)  # LIMIT bits back to front; the last is for what follows all codes
_TURNED[:-1] = ((np.arange(1 << LIMIT, dtype=np.uint32)[:, None] >> _PLACES & 1) << _PLACES[::-1]).sum(axis=1)
_SHARE = np.zeros(ABSENT + 1, np.int64)  # of all windows of LIMIT bits, those that begin with a code of each length
_SHARE[1 : LIMIT + 1] = 1 << np.arange(LIMIT)[::-1]


def code_lengths(counts: NDArray[np.int64], lengths: NDArray[np.uint8]) -> None:
    """Fills lengths, uint8 [256], with the code of at most LIMIT bits that costs least for counts, int64 [256]."""
    memory = np.empty(4 * SYMBOLS, np.int64), np.empty(2 * LIMIT * SYMBOLS, np.uint8)
    _package_merge(counts, lengths, *memory)


@kernel
def _package_merge(counts, lengths, numbers, is_leaf):  # type: ignore[no-untyped-def]
    """`code_lengths`; numbers and is_leaf are memory, which takes long to compile if it is asked for here."""
    keys, packages, level = numbers, numbers[SYMBOLS:], numbers[2 * SYMBOLS :]  # packages: of the level before
    n = 0
    for s in range(SYMBOLS):
        lengths[s] = U8(ABSENT)
        if counts[s] > 0:
            lengths[s] = U8(0)
            key, at = counts[s] << 8 | s, n  # of equal counts the lower symbol comes first
            while at > 0 and keys[at - 1] > key:
                keys[at] = keys[at - 1]
                at -= 1
            keys[at] = key
            n += 1
    if n < 2:
        return
    package_count = 0
    for depth in range(LIMIT):
        leaf = package = size = 0
        while leaf < n or package < package_count:
            takes_leaf = package >= package_count or (leaf < n and keys[leaf] >> 8 <= packages[package])
            is_leaf[2 * SYMBOLS * depth + size] = takes_leaf
            if takes_leaf:
                level[size] = keys[leaf] >> 8
                leaf += 1
            else:
                level[size] = packages[package]
                package += 1
            size += 1
        package_count = size // 2
        for k in range(package_count):
            packages[k] = level[2 * k] + level[2 * k + 1]
    taken = np.int64(2 * n - 2)  # of the last level; the packages among them say how many of the level before
    for depth in range(LIMIT - 1, -1, -1):
        leaves = np.int64(0)
        for k in range(taken):
            leaves += np.int64(is_leaf[2 * SYMBOLS * depth + k])
        for k in range(leaves):
            lengths[keys[k] & 255] += U8(1)
        taken = 2 * (taken - leaves)


def make_codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """uint32 [256]: the canonical code of each symbol, turned so that its first bit is the lowest; 0 without a code."""
    order = lengths.argsort(kind="stable")
    share = _SHARE[lengths[order]]
    codes = np.empty(SYMBOLS, np.uint32)
    codes[order] = _TURNED[share.cumsum() - share]
    return codes


def make_lookups(lengths: NDArray[np.uint8], singles: NDArray[np.uint16], multi: NDArray[np.uint64]) -> None:
    """Fills what the decoder looks LIMIT bits up in: one symbol, or all that they hold.

    singles: uint16 [2**LIMIT]: length << 8 | symbol. multi: uint64 [2**(LIMIT + 1)], of which the upper half is the
    table: up to MOST symbols, the first in the lowest byte; how many from bit COUNT on; their length from bit USED on.
    The place 2**b + x holds what is whole in b bits x, so that an entry is a symbol before an entry of fewer bits.
    """
    _fill_lookups(lengths, make_codes(lengths), singles, multi)


@kernel
def _fill_lookups(lengths, codes, singles, multi):  # type: ignore[no-untyped-def]
    """`make_lookups`, with the codes."""
    shortest = np.int64(LIMIT)
    for s in range(SYMBOLS):
        bits = np.int64(lengths[s])
        if bits == 0:
            singles[:] = U16(s)
            multi[:] = U64(0x010101010101) * U64(s) | U64(MOST) << U64(COUNT)
            return
        if bits <= LIMIT:
            shortest = bits if bits < shortest else shortest
            value = U16(bits << 8 | s)
            for place in range(np.int64(codes[s]), 1 << LIMIT, 1 << bits):
                singles[U64(place)] = value
    for b in range(LIMIT + 1):
        if LIMIT - shortest < b < LIMIT:
            continue
        level = multi[1 << b : 2 << b]
        level[:] = U64(0)
        for s in range(SYMBOLS):
            bits = np.int64(lengths[s])
            if bits > b:
                continue
            one = U64(s) | U64(1) << U64(COUNT) | U64(bits) << U64(USED)
            rests = multi[1 << (b - bits) : 2 << (b - bits)]
            code, shift = U64(codes[s]), U64(bits)
            if shortest > 1:  # then no entry holds more than MOST symbols
                for i in range(len(rests)):
                    level[U64(i) << shift | code] = _join(one, rests[U64(i)])
            else:
                for i in range(len(rests)):
                    level[U64(i) << shift | code] = _join(one, _at_most(MOST - 1, i, b - bits, multi))


@njit(inline="always")
def _join(one, rest):  # type: ignore[no-untyped-def]
    """The entry of a symbol before those of another entry."""
    symbols = U64((1 << 8 * MOST) - 1)
    return one + ((rest & ~symbols) | (rest << U64(8) & symbols))


@kernel
def _at_most(most, x, b, multi):  # type: ignore[no-untyped-def]
    """The entry of the first of b bits x, of as many as hold at most so many symbols."""
    while multi[(1 << b) + x] >> U64(COUNT) & U64(7) > U64(most):
        b -= 1
        x &= (1 << b) - 1
    return multi[(1 << b) + x]


@kernel
def unpack_tables(data, tables):  # type: ignore[no-untyped-def]
    """Fills tables, uint8 [K, 256], from their bytes; -1, or the number of the first that is cut or no complete code.

    K is that number if bytes are left over.
    """
    tables[:] = U8(ABSENT)
    at = np.int64(0)
    for k in range(len(tables)):
        if at + 2 > len(data):
            return k
        first, last = np.int64(data[at]), np.int64(data[at + 1])
        at += 2
        if first == last:
            tables[k, first] = U8(0)
            continue
        size = (last - first + 2) // 2
        if last < first or at + size > len(data):
            return k
        filled = np.int64(0)
        for s in range(2 * size):
            bits = np.int64(data[at + s // 2]) >> 4 * (s % 2) & 15
            end = s == 0 or first + s == last
            if bits > LIMIT or (bits == 0 and end) or (bits and first + s > last):
                return k
            if bits:
                tables[k, first + s] = U8(bits)
                filled += np.int64(1 << LIMIT) >> bits
        if filled != 1 << LIMIT:
            return k
        at = np.int64(at + size)
    return -1 if at == len(data) else len(tables)


@njit(inline="always")
def _cost_of(counts, lengths):  # type: ignore[no-untyped-def]
    """Bits of symbols with the given counts, int64 [256]; at least 2**60 if one of them has no code."""
    cost, without = np.int64(0), np.int64(0)
    for s in range(SYMBOLS):
        cost += counts[s] * np.int64(lengths[s])
        without += counts[s] if lengths[s] == ABSENT else np.int64(0)
    return cost if without == 0 else np.int64(1) << 60


@kernel
def choose_tables(counts, own, alone, first, tables, chosen):  # type: ignore[no-untyped-def]
    """Chooses a table for each run of symbols; returns how many there are.

    counts: int64 [runs, 256]; own: uint8 [runs, 256], the best table of each; alone: int64 [runs], bits with that, its
    own included. Fills tables, uint8 [runs, 256], and chosen, int64 [runs]. `first` tables are numbered before the
    first of these.
    """
    size = 0
    for run in range(len(counts)):
        best, least = -1, np.int64(1) << 60
        for k in range(max(0, size - RECENT), size):
            cost = _cost_of(counts[run], tables[k])
            if cost < least:
                best, least = k, cost
        if alone[run] < least and first + size < MOST_TABLES:
            best = size
            for s in range(SYMBOLS):  # an assignment of the row takes two seconds to compile
                tables[size, s] = own[run, s]
            size += 1
        chosen[run] = best
    return size
