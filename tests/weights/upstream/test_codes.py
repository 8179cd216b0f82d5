# SPDX-License-Identifier: Apache-2.0
"""Prefix codes and the lookup tables of the DFloat11 layout."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import CorruptStreamError
from isthmus.weights.upstream.codes import END, from_luts, limited_lengths, make_code, to_luts
from tests.weights.upstream.published_kernel import look_up


def counts_of(pairs: dict[int, int]) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    counts[list(pairs)] = list(pairs.values())
    return counts


histograms = st.dictionaries(st.integers(0, 239), st.integers(1, 1 << 40), min_size=1, max_size=240).map(counts_of)
FIBONACCI = counts_of({j: round(1.618**j) for j in range(1, 60)})  # the deepest tree: codes of 59 bits, if not limited


CHAIN = counts_of({j: round(1.9**j) for j in range(1, 31)})  # one code of each length, so one pointer in each row


def huffman_cost(counts: list[int]) -> int:
    """Of the best code without a limit: the sum of the inner nodes."""
    heap, cost = sorted(counts), 0
    while len(heap) > 1:
        merged = heap[0] + heap[1]
        cost += merged
        heap = sorted([*heap[2:], merged])
    return cost


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=40), st.integers(6, 32))
def test_lengths_are_whole_and_the_best(counts: list[int], limit: int) -> None:
    lengths = limited_lengths(counts, limit)
    assert sum(2.0**-length for length in lengths) == 1
    assert min(lengths) >= 1 and max(lengths) <= limit
    cost = sum(count * length for count, length in zip(counts, lengths, strict=True))
    best = huffman_cost(counts)
    assert cost >= best
    if limit == 32:
        assert cost == best


def test_a_limit_binds() -> None:
    assert limited_lengths([1, 1, 2, 4, 8], 3) == [3, 3, 3, 3, 1]
    assert limited_lengths([1, 1, 2, 4, 8], 4) == [4, 4, 3, 2, 1]


@settings(max_examples=100, deadline=None)
@given(histograms, st.sampled_from([1, 2]))
def test_luts_give_the_code_back(counts: np.ndarray, least: int) -> None:
    code = make_code(counts, least=least)
    assert code.symbols.tolist() == sorted(np.flatnonzero(counts), key=lambda s: (code.by_symbol()[1][s], s))
    assert least <= code.lengths.min() and code.lengths.max() <= 32
    luts = to_luts(code)
    read = from_luts(luts, "test")
    for field in ("codes", "lengths", "symbols"):
        assert np.array_equal(getattr(read, field), getattr(code, field))
    for bits, length, symbol in zip(code.codes.tolist(), code.lengths.tolist(), code.symbols.tolist(), strict=True):
        for tail in (0, (1 << (32 - length)) - 1):
            assert look_up(luts, bits | tail) == (symbol, length)
    reaches = [*code.codes.tolist(), int(code.end.ljust(32, "0"), 2)]
    lengths = [*code.lengths.tolist(), len(code.end)]
    for (a, length), b in zip(zip(reaches, lengths, strict=True), reaches[1:], strict=False):
        assert a + (1 << (32 - length)) <= b


@pytest.mark.parametrize("counts", [FIBONACCI, counts_of({j: 1 + (j < 3) * 10**6 for j in range(240)})])
def test_long_codes_and_too_many_rows(counts: np.ndarray) -> None:
    code = make_code(counts)
    assert len(to_luts(code)) - 1 <= 17
    assert len(code.end) == max(code.lengths) <= 32
    assert from_luts(to_luts(code), "test").lengths.tolist() == code.lengths.tolist()


def test_the_table_of_the_decoder() -> None:
    code = make_code(counts_of({j: round(1.618**j) for j in range(1, 20)}))
    triples = zip(code.codes.tolist(), code.lengths.tolist(), code.symbols.tolist(), strict=True)
    of = {format(bits, "032b")[:length]: symbol for bits, length, symbol in triples}
    for window in (0, 1, 0b1010_1010_1010, 0b1111_1111_0000, 0b1111_1111_1111):
        left, found = format(window, "012b"), []
        while len(found) < 6 and (n := next((n for n in range(1, len(left) + 1) if left[:n] in of), 0)):
            found.append(of[left[:n]])
            left = left[n:]
        entry = int(code.table[window])
        assert entry >> 56 == 12 - len(left)
        assert entry >> 48 & 255 == len(found)
        assert list(entry.to_bytes(8, "little")[: len(found)]) == found


def test_exponents_that_the_layout_cannot_hold() -> None:
    for counts in (counts_of({240: 1}), counts_of({3: 1, 255: 2}), np.zeros(256, np.int64)):
        with pytest.raises(ValueError, match="below 240"):
            make_code(counts)
    assert END > 255


BROKEN = {
    "one row": lambda t: t[:1],
    "too many rows": lambda t: np.zeros((19, 256), np.uint8),
    "of another width": lambda t: t[:, :255],
    "of another dtype": lambda t: t.astype(np.int8),
}


@pytest.mark.parametrize("name", BROKEN)
def test_luts_of_another_shape(name: str) -> None:
    with pytest.raises(CorruptStreamError, match=r"^layer: luts are .*expected uint8 \[2..18, 256\]"):
        from_luts(BROKEN[name](to_luts(make_code(FIBONACCI))), "layer")


def first_pointer(luts: np.ndarray, row: int) -> int:
    return int(np.flatnonzero(luts[row] >= 240)[0])


def test_pointers_in_a_circle_or_to_nowhere() -> None:
    good = to_luts(make_code(CHAIN))
    assert len(good) == 5
    for row, target in ((0, 0), (1, 1), (1, 0), (2, 1), (0, 4), (0, 16), (1, 3), (0, 2)):
        luts = good.copy()
        luts[row, first_pointer(luts, row)] = 256 - target & 255 if target else 240
        with pytest.raises(CorruptStreamError, match=r"^layer: (row \d of luts points to row|no pointer leads to row)"):
            from_luts(luts, "layer")


def test_codes_and_lengths_that_disagree() -> None:
    good = to_luts(make_code(CHAIN))
    symbol = int(good[0, 0])
    for change, words in [
        ((0, 5, 200), f"exponent {symbol} in row 0, slot 0"),
        ((-1, symbol, 9), f"exponent {symbol} in row 0, slot 0"),
        ((-1, 200, 3), r"lengths to \[200\], but no codes"),
        ((0, 130, symbol), "exponent .* in row 0, slot 128"),
        ((-1, 100, 33), "codes of 33 bits"),
        ((-1, 240, 1), "exponents above 239"),
    ]:
        luts = good.copy()
        luts[change[:2]] = change[2]
        with pytest.raises(CorruptStreamError, match=f"^layer: .*{words}"):
            from_luts(luts, "layer")
    empty = np.zeros((2, 256), np.uint8)
    with pytest.raises(CorruptStreamError, match="but no codes"):
        from_luts(empty, "layer")


@settings(max_examples=300, deadline=None)
@given(histograms, st.randoms())
def test_damaged_luts_are_refused_or_prefix_free(counts: np.ndarray, random: object) -> None:
    luts = to_luts(make_code(counts)).copy()
    for _ in range(3):
        luts[random.randrange(len(luts)), random.randrange(256)] = random.randrange(256)  # type: ignore[attr-defined]
    try:
        code = from_luts(luts, "layer")
    except CorruptStreamError:
        return
    spans = [(c, c + (1 << 32 - n)) for c, n in zip(code.codes.tolist(), code.lengths.tolist(), strict=True)]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
