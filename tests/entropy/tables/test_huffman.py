# SPDX-License-Identifier: Apache-2.0
"""Huffman tables: packed and unpacked, chosen by cost, and what is no table refused."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.entropy.tables import huffman
from isthmus.errors import CorruptStreamError

COUNTS = st.dictionaries(st.integers(0, 255), st.integers(1, 1 << 20), min_size=1, max_size=50)


def table(found: dict[int, int]) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for symbol, count in found.items():
        counts[symbol] = count
    return huffman.fit(counts)


@settings(max_examples=150, deadline=None)
@given(st.lists(COUNTS, max_size=5))
@example([{0: 1}, {255: 1}, {0: 1, 255: 1}, dict.fromkeys(range(256), 1)])
def test_round_trip(found: list[dict[int, int]]) -> None:
    tables = np.stack([table(counts) for counts in found]) if found else np.empty((0, 256), np.uint8)
    assert np.array_equal(huffman.unpack(huffman.pack(tables), len(tables)), tables)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        ("", 1), ("7d", 1), ("7d7f", 1), ("7d7f12", 1), ("7f7d1202", 1), ("7d7f1202", 2), ("7d7f1202", 0),
        ("7d7f120200", 1),
        ("7d7f1203", 1), ("7d7f1201", 1), ("7d7f1212", 1), ("7d7f1002", 1), ("7d7f0212", 1), ("7d7fd202", 1),
        ("7d7e01", 1), ("7d7e10", 1), ("7d7e12", 1), ("7d7f2200", 1), ("7d7f12f2", 1), ("7d7d7d", 1),
    ],
)  # fmt: skip
def test_what_is_no_table(data: str, count: int) -> None:
    with pytest.raises(CorruptStreamError, match="Huffman tables"):
        huffman.unpack(bytes.fromhex(data), count)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 4))
def test_what_unpacks_is_what_was_packed(data: bytes, count: int) -> None:
    """One spelling for each table."""
    try:
        tables = huffman.unpack(data, count)
    except CorruptStreamError:
        return
    assert huffman.pack(tables) == data


def test_choice() -> None:
    """Like runs share a table, others get their own, and the last few are remembered."""
    low, high = np.zeros(256, np.int64), np.zeros(256, np.int64)
    low[10:14] = 8000, 4000, 2000, 2000
    high[10:14] = 2000, 2000, 4000, 8000
    counts = np.stack([low, high, low + 1 * (low > 0), high, low])
    own = np.stack([huffman.fit(c) for c in counts])
    tables, chosen = huffman.choose(counts, own, 0)
    assert chosen.tolist() == [0, 1, 0, 1, 0] and np.array_equal(tables, own[:2])
    many = [np.roll(low, 5 * k) for k in range(huffman.RECENT + 1)]
    counts = np.stack([*many, many[1], many[0]])
    tables, chosen = huffman.choose(counts, np.stack([huffman.fit(c) for c in counts]), 0)
    assert chosen.tolist() == [*range(huffman.RECENT + 1), 1, huffman.RECENT + 1]


def test_no_more_tables_than_can_be_named() -> None:
    counts = np.stack([np.roll(np.r_[np.full(4, 9, np.int64), np.zeros(252, np.int64)], 4 * k) for k in range(3)])
    own = np.stack([huffman.fit(c) for c in counts])
    _, chosen = huffman.choose(counts, own, (1 << 16) - 3)
    assert chosen.tolist() == [0, 1, -1]
