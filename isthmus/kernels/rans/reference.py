# SPDX-License-Identifier: Apache-2.0
"""Interleaved rANS, the definition: plain Python over one list of symbols. See "Entropy payloads" in docs/format.md.

Duda, "Asymmetric numeral systems" (arXiv 1311.2540); interleaving after Giesen (arXiv 1402.3392). States live in
[2**15, 2**31) and words have 16 bits. With tables of p <= 15 bits one word always restores a state: decoding leaves
x' >= x >> p >= 1, and one word makes that at least 2**16 > 2**15.
"""

from collections.abc import Sequence

LOWER = 1 << 15  # states are in [LOWER, LOWER << 16)


def encode(intervals: Sequence[tuple[int, int]], precision: int, lanes: int) -> tuple[list[int], list[int]]:
    """Lane states and words for symbols given as (frequency, cumulative frequency), in the decoder's order."""
    states, words = [LOWER] * lanes, []
    for i in reversed(range(len(intervals))):
        frequency, cumulative = intervals[i]
        x = states[i % lanes]
        if x >= frequency << (31 - precision):  # would leave the interval: x' = x / frequency * 2**precision
            words.append(x & 0xFFFF)
            x >>= 16
        states[i % lanes] = (x // frequency << precision) + x % frequency + cumulative
    return states, words[::-1]


def decode(
    states: list[int], words: list[int], position: int, first: int, tables: Sequence[Sequence[int]], precision: int
) -> tuple[list[int], int]:
    """Table entries of the next symbols, one for each of `tables` (its frequencies), and the new word position.

    `first` is the number of symbols decoded before; `states` is updated in place.
    """
    entries = []
    for i, frequencies in enumerate(tables, start=first):
        x = states[i % len(states)]
        slot, cumulative, entry = x & ((1 << precision) - 1), 0, 0
        while slot >= cumulative + frequencies[entry]:
            cumulative += frequencies[entry]
            entry += 1
        x = frequencies[entry] * (x >> precision) + slot - cumulative
        if x < LOWER:
            x = x << 16 | words[position]
            position += 1
        states[i % len(states)] = x
        entries.append(entry)
    return entries, position
