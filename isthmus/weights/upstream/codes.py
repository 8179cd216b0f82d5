# SPDX-License-Identifier: Apache-2.0
"""Prefix codes of exponents, and the lookup tables in which the dfloat11 package keeps them.

`luts` is uint8 [k + 1, 256]. Row 0 is looked up with the first 8 bits of a code, and a value of 240 or more there or in
a later row is a pointer: 8 bits more, looked up in row 256 - value. Any other value is an exponent. The last row is the
length of each exponent's code in bits. One more code than there are exponents marks the end of the data; its slots
repeat what stands before them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import CorruptStreamError
from isthmus.kernels.weights import dfloat11
from isthmus.lazy import cached_property

FIRST_POINTER = 240
MOST_ROWS = 17  # of 8-bit lookups: row 0 and one for each pointer
LONGEST = 32
END = 256  # stands for the code that marks the end, behind the 256 bytes


@dataclass(frozen=True)
class PrefixCode:
    """codes: uint32 [m], left-aligned and rising; lengths: uint8 [m], 1 to 32; symbols: uint8 [m], 0 to 239.

    end: the bits that are begun where the last byte has room, as text; empty in a code that was read.
    """

    codes: NDArray[np.uint32]
    lengths: NDArray[np.uint8]
    symbols: NDArray[np.uint8]
    end: str = ""

    @cached_property
    def table(self) -> NDArray[np.uint64]:
        """The decoder's table, see `dfloat11`."""
        table = np.empty(1 << dfloat11.TABLE_BITS, np.uint64)
        dfloat11.fill_table(self.codes, self.lengths, self.symbols, table)
        return table

    def by_symbol(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Right-aligned codes uint64 [256] and lengths uint8 [256]; 0 and 0 for a byte without a code."""
        code_of, length_of = np.zeros(256, np.uint64), np.zeros(256, np.uint8)
        code_of[self.symbols] = self.codes >> (LONGEST - self.lengths.astype(np.uint32))
        length_of[self.symbols] = self.lengths
        return code_of, length_of


def limited_lengths(counts: list[int], limit: int) -> list[int]:
    """Lengths of the best prefix code of at most `limit` bits, by package-merge; counts: at least two, each at least 1.

    Larmore and Hirschberg, 1990. The sum of 2**-length is 1.
    """
    leaves = sorted((count, (place,)) for place, count in enumerate(counts))
    merged: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(limit):
        merged = sorted([*leaves, *merged], key=lambda item: item[0])
        merged = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[0::2], merged[1::2], strict=False)]
    lengths = [0] * len(counts)
    for _, places in merged[: len(counts) - 1]:
        for place in places:
            lengths[place] += 1
    return lengths


def make_code(counts: NDArray[np.int64], *, least: int = 1) -> PrefixCode:
    """The code for exponents with these counts, int64 [256], and the end; no code is shorter than `least` bits.

    Limited to 32 bits, or to 8 where it would need more than 17 rows of `luts`. Raises ValueError without exponents or
    with one of 240 or more, which the layout cannot hold.
    """
    symbols = [*np.flatnonzero(counts).tolist(), END]
    if len(symbols) == 1 or symbols[-2] >= FIRST_POINTER:
        raise ValueError(f"exponents {symbols[:-1]}, expected at least one and each below {FIRST_POINTER}")
    frequencies = [*counts[symbols[:-1]].tolist(), 1]
    for limit in (LONGEST, 8):
        lengths = [max(length, least) for length in limited_lengths(frequencies, limit)]
        code = _canonical(symbols, lengths)
        if len(_rows(code)) <= MOST_ROWS:
            return code
    raise AssertionError("240 codes and the end fit 8 bits")


def _canonical(symbols: list[int], lengths: list[int]) -> PrefixCode:
    """Codes in the order of lengths, then of symbols; the end is among the rarest, so the longest and the last."""
    order = sorted(range(len(symbols)), key=lambda j: (symbols[j] == END, lengths[j], symbols[j]))
    lengths[order[-1]] = max(lengths)
    at, codes = 0, []
    for j in order:
        codes.append(at)
        at += 1 << (LONGEST - lengths[j])
    kept = order[:-1]
    return PrefixCode(
        np.array(codes[:-1], np.uint32),
        np.array([lengths[j] for j in kept], np.uint8),
        np.array([symbols[j] for j in kept], np.uint8),
        format(codes[-1], f"0{LONGEST}b")[: lengths[order[-1]]],
    )


def _rows(code: PrefixCode) -> list[str]:
    """The bits that lead to each row, shorter ones first."""
    pairs = zip(code.codes.tolist(), code.lengths.tolist(), strict=True)
    prefixes = {format(bits, f"0{LONGEST}b")[: (length - 1) // 8 * 8] for bits, length in pairs}
    prefixes |= {prefix[:end] for prefix in prefixes for end in range(0, len(prefix), 8)}
    return sorted(prefixes, key=lambda prefix: (len(prefix), prefix))


def to_luts(code: PrefixCode) -> NDArray[np.uint8]:
    """`luts` of a code from `make_code`."""
    rows = _rows(code)
    luts = np.zeros((len(rows) + 1, 256), np.uint8)
    filled = np.zeros((len(rows), 256), bool)
    for row, prefix in enumerate(rows[1:], 1):
        parent, slot = rows.index(prefix[:-8]), int(prefix[-8:], 2)
        luts[parent, slot], filled[parent, slot] = 256 - row, True
    for bits, length, symbol in zip(code.codes.tolist(), code.lengths.tolist(), code.symbols.tolist(), strict=True):
        level = (length - 1) // 8
        row = rows.index(format(bits, f"0{LONGEST}b")[: 8 * level])
        slot = bits >> (LONGEST - 8 * level - 8) & 255
        part = slice(slot, slot + (1 << (8 * level + 8 - length)))
        luts[row, part], filled[row, part] = symbol, True
        luts[-1, symbol] = length
    flat = luts[:-1].reshape(-1)
    last = np.maximum.accumulate(np.where(filled.reshape(-1), np.arange(flat.size), 0))
    luts[:-1] = flat[last].reshape(-1, 256)  # a slot of no code: any exponent with a length keeps a reader moving
    return luts


def from_luts(luts: NDArray[np.uint8], what: str) -> PrefixCode:
    """The code in `luts`; CorruptStreamError, beginning with `what`, unless rows are used once and all codes fit."""
    if luts.ndim != 2 or luts.shape[1] != 256 or not 2 <= luts.shape[0] <= MOST_ROWS + 1 or luts.dtype != np.uint8:
        raise CorruptStreamError(
            f"{what}: luts are {luts.dtype} {list(luts.shape)}, expected uint8 [2..{MOST_ROWS + 1}, 256]; "
            "fetch it again"
        )
    rows, lengths = luts.shape[0] - 1, luts[-1].tolist()
    if any(lengths[FIRST_POINTER:]) or max(lengths) > LONGEST:
        raise CorruptStreamError(
            f"{what}: luts name codes of {max(lengths)} bits or of exponents above 239; expected 1 "
            f"to {LONGEST} bits; fetch it again"
        )
    prefixes: dict[int, tuple[int, int]] = {0: (0, 0)}  # row: how many bits lead to it, and which
    found: dict[int, int] = {}
    previous = -1
    for row in range(rows):
        if row not in prefixes:
            raise CorruptStreamError(
                f"{what}: no pointer leads to row {row} of luts; the file is damaged, fetch it again"
            )
        depth, bits = prefixes[row]
        slot = 0
        while slot < 256:
            value = int(luts[row, slot])
            child, step = 256 - value, 1
            here = bits | slot << (LONGEST - 8 - depth)
            if value == previous and (value >= FIRST_POINTER or value in found):
                pass  # a slot of no code repeats what stands before it
            elif value >= FIRST_POINTER:
                if not row < child < rows or child in prefixes or depth + 8 >= LONGEST:
                    raise CorruptStreamError(
                        f"{what}: row {row} of luts points to row {child} of {rows}, expected a later row that nothing "
                        "else points to (no circle), at most 4 in all; fetch it again"
                    )
                prefixes[child] = (depth + 8, here)
            elif lengths[value]:
                step = 1 << max(0, depth + 8 - lengths[value])
                fits = depth < lengths[value] <= depth + 8 and slot % step == 0 and value not in found
                if not fits or (luts[row, slot : slot + step] != value).any():
                    raise CorruptStreamError(
                        f"{what}: exponent {value} in row {row}, slot {slot} of luts does not fit its code of "
                        f"{lengths[value]} bits; the file is damaged, fetch it again"
                    )
                found[value] = here
            previous = value
            slot += step
    missing = [symbol for symbol in range(FIRST_POINTER) if lengths[symbol] and symbol not in found]
    if missing or not found:
        raise CorruptStreamError(f"{what}: luts give lengths to {missing}, but no codes; fetch it again")
    symbols = sorted(found, key=found.__getitem__)
    return PrefixCode(
        np.array([found[symbol] for symbol in symbols], np.uint32),
        np.array([lengths[symbol] for symbol in symbols], np.uint8),
        np.array(symbols, np.uint8),
    )
