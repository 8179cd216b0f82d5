# SPDX-License-Identifier: Apache-2.0
"""The generated loops: the file is what the tool writes, and equals the plain loops wherever a call begins and ends."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from isthmus.entropy import RansDecoder, TableFamily, encode_segments
from isthmus.errors import CorruptStreamError
from isthmus.kernels.rans import lanes as rans_lanes
from isthmus.kernels.rans import unrolled

TOOL = Path(__file__).parents[3] / "tools" / "generate_rans.py"


def family(reach: int, precision: int) -> TableFamily:
    rows = [np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale) for scale in (0.3, 2.0, 9.0 * reach / 30)]
    return TableFamily.from_counts(rows, [-reach] * 3, precision=precision)


FAMILY = family(30, 12)
# The last tables have up to 256 entries in 2**12 slots, which half as much memory serves, and more of either.
FAMILIES = {"small": FAMILY, "256 entries": family(127, 12), "257 entries": family(128, 12), "fine": family(30, 13)}


def test_the_file_is_what_the_tool_writes() -> None:
    spec = importlib.util.spec_from_file_location("generate_rans", TOOL)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.TARGET.read_text(encoding="utf-8") == tool.source(), "run python tools/generate_rans.py"


@pytest.mark.parametrize("begin", [0, 1, 31, 32, 45])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 63, 64, 100, 257])
def test_encoding_equals_the_plain_loop(begin: int, count: int) -> None:
    rng = np.random.default_rng(begin * 1000 + count)
    entries = rng.integers(0, len(FAMILY.frequencies), count).astype(np.uint16)
    found = []
    for kernel in (rans_lanes.encode, unrolled.encode):
        states, words = np.arange(1 << 15, (1 << 15) + 32, dtype=np.uint32), np.zeros(count, np.uint16)
        at = kernel(entries, begin, FAMILY.encoder_rows, 12, states, words, count)
        found.append((at, states.tolist(), words[at:].tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", FAMILIES)
def test_runs_and_indices_decode_alike_from_any_place(name: str) -> None:
    """Long runs go through packed slots, short ones through the plain loop; escapes in both."""
    tables = FAMILIES[name]
    assert (tables.slots.dtype == np.uint8) == (name != "257 entries")
    rng = np.random.default_rng(0)
    lengths = [5, 40_000, 37, 40_001, 32_768, 3]
    indices = np.repeat([0, 1, 2, 0, 2, 1], lengths).astype(np.uint16)
    symbols = np.round(rng.laplace(0, np.array([0.3, 2.0, 9.0])[indices])).astype(np.int32)
    symbols[rng.integers(0, len(symbols), 200)] = rng.integers(-(2**31), 2**31, 200)
    cuts = np.cumsum(lengths)[:-1]
    segments = [(part, index[0]) for part, index in zip(np.split(symbols, cuts), np.split(indices, cuts), strict=True)]
    payload = encode_segments(segments, tables)
    by_run, by_index = RansDecoder(payload, tables), RansDecoder(payload, tables)
    assert by_run.lanes == 32
    for part, index in segments:
        np.testing.assert_array_equal(by_run.decode(int(index), len(part)), part)
    for index in np.split(indices, [1, 40, 20_000, 20_031, 60_000]):
        by_index.decode(index)
    by_run.finish()
    by_index.finish()
    np.testing.assert_array_equal(RansDecoder(payload, tables).decode(indices), symbols)


@pytest.mark.parametrize("run", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_words_and_escapes_that_end_early(name: str, run: bool) -> None:
    tables = FAMILIES[name]
    symbols = np.round(np.random.default_rng(1).laplace(0, 9, 40_000)).astype(np.int16)
    symbols[39_000] = 500
    payload = encode_segments([(symbols, 2)], tables)
    indices = (2, len(symbols)) if run else (np.full(len(symbols), 2), None)
    for data in (payload[:200], payload[:-400], payload[:1] + bytes([1]) + payload[2:], payload[:-1] + b"\x80"):
        decoder = RansDecoder(b"", tables)
        with pytest.raises(CorruptStreamError):
            decoder = RansDecoder(data, tables)
            decoder.decode(*indices)
            decoder.finish()
        with pytest.raises(CorruptStreamError):
            decoder.decode(*indices)
