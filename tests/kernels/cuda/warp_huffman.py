# SPDX-License-Identifier: Apache-2.0
"""What the kernels of huffman/units.cuh do, in numpy: arrays of 32 are one value for each lane of a warp."""

import numpy as np

from isthmus.kernels.huffman.streams import NOTHING, READ_AHEAD, HuffmanStreams

LANE = np.arange(32)
U32 = (1 << 32) - 1
PITCH, GROUP, PER_WARP = 18, 64, 2048
STAGED, AHEAD, LONGEST = 224, 28, 2 + 64 * 12
NEVER = 0x5A5A5A5A  # in shared memory that nothing was copied to


def shuffle_up(values: np.ndarray, step: int) -> np.ndarray:
    return np.concatenate((values[:step], values[:-step]))


def shift_right(high: np.ndarray, low: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The low 32 bits of (high:low) >> by: both funnel shifts, and the 64-bit one, for by from 0 to 63."""
    return ((high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)) >> by.astype(np.uint64)).astype(
        np.int64
    ) & U32


def decode_group(
    table: np.ndarray, words: np.ndarray, at: np.ndarray, place: np.ndarray, active: np.ndarray
) -> np.ndarray:
    """The rows of all lanes, int64 [32, 18] words; the lanes that are done wait for the others."""
    rows = np.zeros((32, PITCH), np.int64)
    low, high, following = words[at], words[at + 1], words[at + 2]
    first, at, filled = at, at + 3, np.zeros(32, np.int64)
    older, newer, room = np.zeros(32, np.int64), np.zeros(32, np.int64), np.full(32, 64)
    running = active.copy()
    while running.any():
        assert (place[running] < 32).all()
        for _ in range(2):
            assert (place[running] + 14 <= 64).all()
            entry = np.where(running, table[(shift_right(high, low, place) & 0x3FFC) >> 2], 0)
            bits = entry >> 21 & 24
            place = np.where(running, place + (entry >> 28), place)
            older, newer = shift_right(newer, older, bits), shift_right(entry, newer, bits)
            room = np.where(running, room - bits, room)
            full = running & (room <= 32)
            assert (filled[full] < PITCH).all() and (room[running] >= 8).all()
            rows[LANE[full], filled[full]] = shift_right(newer, older, room)[full]
            filled = np.where(full, filled + 1, filled)
            room = np.where(full, room + 32, room)
        used = running & (place >= 32)
        low, high = np.where(used, high, low), np.where(used, following, high)
        following = np.where(used, words[np.minimum(at, len(words) - 1)], following)
        assert (at[used] < len(words)).all() and (at[used] - first[used] < AHEAD).all()
        at = np.where(used, at + 1, at)
        place = np.where(used, place - 32, place)
        running &= filled < GROUP // 4
    return rows


def units_of(block: int, blocks: int, units: int, ranges: bool) -> range:
    """The units of a block, in order."""
    return range(units * block // blocks, units * (block + 1) // blocks) if ranges else range(block, units, blocks)


def stage(words: np.ndarray, last: int, start: int, total: int) -> np.ndarray | None:
    """What comes to shared memory of a warp's words from the multiple of four before bit `start` on; None if it is not
    staged.
    """
    if start < 0 or start >> 5 > last or total > (STAGED - AHEAD - 4) * 32:
        return None
    base = start >> 5 & ~3
    pieces = min((start % 128 + total + LONGEST) // 128 + 1, STAGED // 4, (last + 1 + READ_AHEAD // 4 - base) // 4)
    assert base + 4 * pieces <= len(words)
    found = np.full(STAGED, NEVER, np.int64)
    found[: 4 * pieces] = words[base : base + 4 * pieces]
    return found


def decode(streams: HuffmanStreams, rest: np.ndarray | None, blocks: int, ranges: bool = False) -> np.ndarray:
    """uint8 [count], or uint16 with `rest`: every warp of every block."""
    words = streams.data.numpy().view("<u4").astype(np.int64)
    warps, lengths = streams.warps.numpy(), streams.lengths.numpy().astype(np.int64)
    tables = streams.tables.numpy().view(np.uint32).astype(np.int64)
    count, last = streams.count, streams.words - 1
    if rest is not None:
        tables = turned(tables)
    out = np.full(count, 0xEE, np.uint8 if rest is None else np.uint16)
    written = np.zeros(count, np.int64)
    units = -(-count // (8 * PER_WARP))
    for block in range(blocks):
        for unit in units_of(block, blocks, units, ranges):
            table = tables[min(int(streams.chunk_tables[unit // 4]) & 0xFFFF, len(tables) - 1)]
            for warp in range(unit * 8, min(unit * 8 + 8, -(-count // PER_WARP))):
                head, first = int(warps[warp]), warp * PER_WARP
                if head == NOTHING:
                    continue
                length = (head & 0xFFFF) + lengths[warp * 32 : warp * 32 + 32]
                total = length
                for step in (1, 2, 4, 8, 16):
                    total = np.where(step <= LANE, total + shuffle_up(total, step), total)
                start = (head >> 16) - 2
                bit = start + total - length
                active = first + LANE * GROUP < count
                staged = stage(words, last, start, int(total[31]))
                if staged is not None:
                    within = bit - (start >> 7 << 7)
                    found = decode_group(table, staged, within >> 5, within & 31, active)[:, : GROUP // 4]
                else:
                    at = np.where((bit < 0) | (bit >> 5 > last), last, bit >> 5)  # as unsigned integers compare
                    found = decode_group(table, words, at, bit & 31, active)[:, : GROUP // 4]
                symbols = found.astype("<u4").tobytes()
                part = slice(first, min(first + PER_WARP, count))
                exponents = np.frombuffer(symbols, np.uint8)[: part.stop - first]
                out[part] = exponents if rest is None else merge(exponents, rest[part])
                written[part] += 1
    expected = np.repeat(warps != NOTHING, PER_WARP)[:count]
    assert np.array_equal(written, expected)
    return out


def turned(entries: np.ndarray) -> np.ndarray:
    """Entries with each symbol turned right by a bit."""
    return entries & 0xFF000000 | (entries & 0x00FEFEFE) >> 1 | (entries & 0x00010101) << 7


def merge(exponents: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Weights of turned exponents: the highest bits of bytes change places, which gives upper and lower halves."""
    low, high = exponents & 0x80 | rest & 0x7F, rest & 0x80 | exponents & 0x7F
    return low.astype(np.uint16) | high.astype(np.uint16) << 8
