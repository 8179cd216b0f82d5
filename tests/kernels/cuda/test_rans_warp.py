# SPDX-License-Identifier: Apache-2.0
"""The algorithm of the CUDA kernels, lane by lane in numpy, against the coder of the CPU."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.entropy import TableFamily, decode, encode
from isthmus.entropy.coders import rans
from isthmus.entropy.tables.family import quantize_pmf
from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.rans import coder as cuda_rans
from isthmus.kernels.cuda.rans.device_image import make_image, packed_slots
from isthmus.kernels.cuda.rans.status import BAD_ESCAPES, BAD_TABLE, BAD_VALUE, FAULTS, OK
from isthmus.varint import pack_varint
from tests.kernels.cuda import warp_rans

LANES = [None, 1, 2, 4, 8, 16, 32]
MOST = [0, 3000, 9000, 1 << 18]  # bytes of an image: for none at all, for long and short searches, for no search


def make(seed: int, precision: int, n: int, escapes: float) -> tuple[TableFamily, np.ndarray, np.ndarray]:
    """Four tables from flat to almost free of cost, n indices, and n symbols with a share of escapes."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 41, 4)
    rows = [quantize_pmf(rng.random(k + 1) ** rng.integers(0, 40), precision) for k in size]
    family = TableFamily(precision, rng.integers(-50, 50, 4), size, np.concatenate(rows))
    indices = rng.integers(0, 4, n)
    inside = family.low[indices] + rng.integers(0, 1 << 30, n) % family.size[indices]
    anywhere = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 32, n)
    return family, indices, np.where(rng.random(n) < escapes, anywhere, inside).astype(np.int32)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    precision=st.integers(12, 15),
    n=st.sampled_from([0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 200]),
    lanes=st.sampled_from(LANES),
    escapes=st.sampled_from([0.0, 0.1, 1.0]),
    most=st.sampled_from(MOST),
)
def test_the_same_bytes_and_symbols(
    seed: int, precision: int, n: int, lanes: int | None, escapes: float, most: int
) -> None:
    family, indices, symbols = make(seed, precision, n, escapes)
    payload = encode(symbols, indices, family, lanes=lanes)
    assert warp_rans.encode_chunk(symbols, indices, family, lanes) == payload
    status, found = warp_rans.decode_chunk(payload, indices, family, most=most)
    assert status == OK
    assert np.array_equal(found, symbols)


@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_the_same_verdict_on_damage(lanes: int) -> None:
    family, indices, symbols = make(7, 12, 90, 0.1)
    payload = encode(symbols, indices, family, lanes=lanes)
    rng = np.random.default_rng(lanes)
    cases = [payload[:length] for length in range(0, len(payload), 3)]
    cases += [bytes([rng.integers(0, 7)]) + rng.bytes(rng.integers(0, 300)) for _ in range(50)]
    for _ in range(150):
        data = bytearray(payload)
        data[rng.integers(0, len(data))] ^= rng.integers(1, 256)
        cases.append(bytes(data) + rng.bytes(rng.integers(0, 2)))
    seen = set()
    for data in cases:
        status, found = warp_rans.decode_chunk(data, indices, family)
        seen.add(status)
        try:
            expected = decode(data, indices, family)
        except CorruptStreamError:
            assert status in FAULTS
        else:
            assert status == OK
            assert np.array_equal(found, expected)
    assert len(seen - {OK}) >= 3


@pytest.mark.parametrize("n", [700, 1500, 3000, 6000, 12_000, 24_000, 48_000])
def test_the_same_choice_of_lanes(n: int) -> None:
    family, indices, symbols = make(11, 12, n, 0.0)
    assert warp_rans.encode_chunk(symbols, indices, family, None) == encode(symbols, indices, family)
    assert cuda_rans.LANE_COST == warp_rans.LANE_COST == rans.BYTES_PER_LANE * 8 << 16


@pytest.mark.parametrize("end", [-(2**31), 2**31 - 1])
def test_an_escape_just_beyond_32_bits(end: int) -> None:
    family, _, _ = make(2, 12, 0, 0.0)
    low, size = int(family.low[0]), int(family.size[0])
    code = 2 * (end - low - size) if end > 0 else 2 * (low - 1 - end) + 1
    payload, first = encode([end], 0, family), np.zeros(1, np.int64)
    good = pack_varint(code)
    assert payload.endswith(good)
    assert warp_rans.decode_chunk(payload, first, family)[1].tolist() == [end]
    bad = payload[: -len(good)] + pack_varint(code + 2)
    assert warp_rans.decode_chunk(bad, first, family)[0] == BAD_ESCAPES


def test_an_index_without_a_table() -> None:
    family, indices, symbols = make(1, 12, 10, 0.0)
    payload = encode(symbols, indices, family)
    indices[9] = 4
    assert warp_rans.decode_chunk(payload, indices, family)[0] == BAD_TABLE


def test_a_symbol_that_does_not_fit() -> None:
    family, _, _ = make(2, 12, 0, 0.0)
    for value, bits in ((127, 8), (-128, 8), (32_767, 16), (-32_768, 16)):
        for beyond in (0, 1 if value > 0 else -1):
            payload = encode([value + beyond], 0, family)
            status, found = warp_rans.decode_chunk(payload, np.zeros(1, np.int64), family, bits=bits)
            assert status == (BAD_VALUE if beyond else OK)
            assert beyond or found.tolist() == [value]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(12, 15), st.integers(1000, 1 << 18))
def test_an_image_finds_what_the_rows_say(seed: int, precision: int, most: int) -> None:
    family, _, _ = make(seed, precision, 0, 0.0)
    image = make_image(family, most)
    if image is None:
        assert most < 4 * (len(family.frequencies) + (4 << precision)) + 32 + (4 << precision)
        return
    assert len(image.data) % 16 == image.info_at % 16 == image.rows_at % 16 == 0
    assert len(image.data) <= most
    table, slot = (axis.reshape(-1) for axis in np.indices((len(family), 1 << precision)))
    for found, wanted in zip(
        warp_rans.Lookup(family, image).find(table, slot), warp_rans.Lookup(family, None).find(table, slot), strict=True
    ):
        assert np.array_equal(found, wanted)


def test_a_table_of_many_entries_has_no_image() -> None:
    family = TableFamily.from_counts([np.ones(300)], [0])
    assert make_image(family, 1 << 20) is None
    assert make_image(TableFamily.from_counts([np.ones(255)], [0]), 1 << 20) is not None


@pytest.mark.parametrize("precision", [12, 15])
def test_packed_slots(precision: int) -> None:
    """Each slot's row holds its entry's frequency, its place in the entry, and the entry's value or escape."""
    family, _, _ = make(5, precision, 0, 0.0)
    rows = packed_slots(family).tolist()
    assert len(rows) == len(family) << precision
    at = 0
    for k in range(len(family)):
        start = int(family.starts[k])
        for entry, f in enumerate(family.frequencies[start : start + int(family.size[k]) + 1].tolist()):
            value = (int(family.low[k]) + entry) % (1 << 32)
            escape = int(entry == family.size[k]) << 15
            assert rows[at : at + f] == [value << 32 | place << 16 | escape | f for place in range(f)]
            at += f
