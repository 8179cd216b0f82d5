# SPDX-License-Identifier: Apache-2.0
"""A program, not a test: bytes from anywhere through every rANS kernel; `test_rans_bounds` runs it.

It is run with the kernels as plain Python and compiled with checked bounds: an access outside an array is an
IndexError here, where compiled code would read or write what is not its own.
"""

import sys
import warnings
from collections.abc import Callable

import numpy as np
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from numba import config

from isthmus.entropy import RansDecoder, TableFamily, encode
from isthmus.entropy.coders.batch import decode_batch, encode_batch
from isthmus.entropy.models.factorized import FactorizedModel
from isthmus.errors import CorruptStreamError
from isthmus.kernels import tier
from isthmus.kernels.rans import symbols as rans_symbols

EXAMPLES = int(sys.argv[1]) if __name__ == "__main__" else 1  # pytest imports this in search of doctests
SCALES = (0.2, 2.0, 40.0)
ROWS = [np.exp(-np.abs(np.arange(-60, 61)) / scale) for scale in SCALES]
TABLES = TableFamily.from_counts(ROWS, [-60] * 3, precision=12)
MODEL = FactorizedModel(TABLES, np.zeros((100, 2), np.uint8))


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Bytes of any kind, or a head and states in order with words and escapes of any kind behind them."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    code = draw(st.integers(0, 5))
    rest = draw(st.binary(max_size=300))
    states = np.random.default_rng(draw(st.integers(0, 99))).integers(1 << 15, 1 << 31, 1 << code, np.uint32)
    words = len(rest) - draw(st.integers(0, min(len(rest), 9)))
    words -= words % 2
    return bytes([code, len(rest) - words]) + states.astype("<u4").tobytes() + rest if len(rest) - words < 128 else rest


def attempt(function: Callable[[], object]) -> None:
    """The call gives symbols or CorruptStreamError."""
    try:
        function()
    except CorruptStreamError:
        return


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@seed(1)
@given(payloads(), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 90), st.booleans()), max_size=4))
def any_passes(data: bytes, passes: list[tuple[int, int, bool]]) -> None:
    def work() -> None:
        decoder = RansDecoder(data, TABLES)
        for table, count, run in passes:
            decoder.decode(table, count) if run else decoder.decode((np.arange(count) * table) % 3)
        decoder.finish()

    attempt(work)


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@seed(2)
@given(st.lists(payloads(), max_size=3), st.integers(0, 70), st.booleans())
def any_batch(items: list[bytes], count: int, each: bool) -> None:
    attempt(lambda: decode_batch(items, np.arange(count) % 3 if each else 1, TABLES, (count,)))
    attempt(lambda: MODEL.decode_batch(items, (2, count, 1), 50))


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@seed(3)
@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70), max_size=150), st.sampled_from([1, 2, 8, 32]))
def any_symbols(symbols: list[int], lanes: int) -> None:
    values, indices = np.array(symbols, np.int32), np.arange(len(symbols)) % 3
    for index in (indices, 1):
        data = encode(values, index, TABLES, lanes=lanes)
        decoder = RansDecoder(data, TABLES)
        found = decoder.decode(index) if index is indices else decoder.decode(index, len(symbols))
        decoder.finish()
        assert found.tolist() == symbols
    if config.DISABLE_JIT:  # compiled, it would take seconds more and add only the rows of a batch
        assert decode_batch(encode_batch([values], indices, TABLES), indices, TABLES, values.shape).tolist() == [
            symbols
        ]


def long_run() -> None:
    """Enough symbols for slots to be packed, of one table and with an index each; cut and damaged at several places."""
    count = 4 * 4096 + 40 if not config.DISABLE_JIT else 300
    values = np.round(np.random.default_rng(0).laplace(0, 30, count)).astype(np.int32)
    data = encode(values, 2, TABLES, lanes=32)
    for end in (len(data), len(data) - 1, len(data) - 60, 400, 200, 131):
        attempt(lambda end=end: RansDecoder(data[:end], TABLES).decode(2, count))
        attempt(lambda end=end: RansDecoder(data[:end], TABLES).decode(np.full(count, 2)))
    for place in range(2, len(data), 97):
        damaged = data[:place] + b"\xa5\xff" + data[place + 2 :]
        attempt(lambda damaged=damaged: RansDecoder(damaged, TABLES).decode(2, count))
        attempt(lambda damaged=damaged: RansDecoder(damaged, TABLES).decode(np.arange(count) % 3))


def guard() -> None:
    """An access outside an array does raise IndexError here."""
    try:
        rans_symbols.measure(np.array([9], np.uint16), np.zeros(3, np.int32), 1)
    except IndexError:
        return
    raise AssertionError("bounds are not checked")


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # numpy's integers wrap with a warning, numba's without
    tier.plain = lambda kernel, seconds: False  # kernels alone, not their plain twins
    for check in (guard, any_passes, any_batch, any_symbols, long_run):
        check()
    print("whole")
