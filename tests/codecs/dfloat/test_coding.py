# SPDX-License-Identifier: Apache-2.0
"""Payloads of weights: every bit comes back, whatever the width, length, mode, threads and statistics."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat import payload as page
from isthmus.codecs.dfloat.dtypes import UINT
from isthmus.errors import CorruptStreamError
from isthmus.kernels.huffman import reference

LENGTHS = (0, 1, 2, 63, 64, 65, 256, 257, 1000, 65_535, 65_536, 65_537, 262_144, 262_145, 300_001)
KINDS = ("uniform", "normal", "drifting", "one", "half zero", "falling")


def drawn(kind: str, width: int, count: int) -> np.ndarray:
    """Weights [count] as bit patterns."""
    rng = np.random.default_rng(count * 31 + width)
    top = 8 * width
    if kind == "uniform":
        found = rng.integers(0, 1 << top, count, dtype=np.uint64)
    elif kind == "one":
        found = np.full(count, 0x3C, np.uint64)
    elif kind == "half zero":
        found = rng.integers(0, 1 << top, count, dtype=np.uint64)
        found[: count // 2] = 0
    else:
        scale = np.geomspace(1e-3, 10, count) if kind == "drifting" else np.ones(count)
        floats = (rng.normal(size=count) * scale).astype(np.float32).view(np.uint32)
        if kind == "falling":
            floats &= ~(rng.integers(0, 8, count).astype(np.uint32) << np.uint32(20) & np.uint32(0x600000))
        found = (floats >> np.uint32(32 - top)).astype(np.uint64)
    return found.astype(UINT[width])


@pytest.mark.parametrize("mode", coding.MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_round_trip(width: int, kind: str, mode: coding.Mode) -> None:
    for count in LENGTHS:
        weights = drawn(kind, width, count)
        data = coding.encode(weights, mode=mode)
        payload = page.read_payload(data)
        assert np.array_equal(coding.decode(payload), weights), count
        assert np.array_equal(data, coding.encode(weights, mode=mode, threads=3)), "bytes depend on the threads"
        assert np.array_equal(coding.decode(payload, threads=2), weights)
        head = 64 + 8 * width * max(1, -(-count // (1 << 16)))
        assert len(data) <= weights.nbytes + head + 16 * width + 16, "coding made it grow"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_weights(data: st.DataObject) -> None:
    width = data.draw(st.sampled_from([1, 2, 4]))
    pool = data.draw(st.lists(st.integers(0, 256**width - 1), min_size=1, max_size=20))
    seed = data.draw(st.integers(0, 1 << 30))
    count = data.draw(st.integers(0, 3000))
    weights = np.array(pool, UINT[width])[np.random.default_rng(seed).integers(0, len(pool), count)]
    mode = data.draw(st.sampled_from(coding.MODES))
    payload = page.read_payload(coding.encode(weights, mode=mode, index=data.draw(st.booleans())))
    assert np.array_equal(coding.decode(payload), weights)


def test_what_is_chosen() -> None:
    def codings(kind: str, width: int, mode: coding.Mode) -> list[str]:
        payload = page.read_payload(coding.encode(drawn(kind, width, 100_000), mode=mode))
        return [page.CODINGS[plane.coding] for plane in payload.planes]

    assert codings("normal", 2, "huffman") == ["huffman", "raw"]
    assert codings("normal", 4, "huffman") == ["huffman", "raw", "raw", "raw"]
    assert codings("normal", 2, "rans") == ["wide", "wide"]
    assert codings("normal", 4, "rans") == ["wide", "wide", "raw", "raw"]
    assert codings("falling", 2, "rans") == ["rans", "rans"]
    assert codings("uniform", 2, "rans") == ["raw", "raw"]
    assert codings("normal", 1, "rans") == ["rans"]
    assert set(codings("one", 4, "huffman")) == {"huffman"}


def test_tables_follow_the_weights() -> None:
    """A drifting tensor has several tables, a steady one shares them."""
    drifting, steady = (page.read_payload(coding.encode(drawn(kind, 2, 2_000_000))) for kind in ("drifting", "normal"))
    assert len(drifting.tables) == 8 > len(steady.tables) >= 1
    exponents = drawn("drifting", 2, 2_000_000) >> 7 & 0xFF
    lengths = reference.code_lengths(np.bincount(exponents, minlength=256).tolist())
    one_table = sum(lengths[s] * int(c) for s, c in enumerate(np.bincount(exponents)) if c)
    streams = int(drifting.planes[0].records["streams"].sum(dtype=np.int64))
    assert 8 * streams < 0.8 * one_table


@pytest.mark.parametrize("count", [1, 64, 65, 65_536, 70_000, 300_001])
def test_index_is_what_decoding_finds(count: int) -> None:
    weights = drawn("normal", 2, count)
    data = coding.encode(weights, index=True)
    payload = page.read_payload(data)
    if payload.planes[0].coding != page.HUFFMAN:
        assert payload.index is None
        return
    assert payload.index is not None
    bits = coding.group_bits(payload)
    assert np.array_equal(bits, coding.group_bits(dataclasses.replace(payload, index=None), threads=2))
    exponents = weights >> 7 & 0xFF
    table = payload.tables[payload.planes[0].records["table"][0]]
    assert bits[0] == table[exponents[:64]].sum()
    damaged = data.copy()
    damaged[payload.index + 3] ^= 1
    with pytest.raises(CorruptStreamError, match="index"):
        coding.group_bits(page.read_payload(damaged))


def test_an_index_that_does_not_fit() -> None:
    """Groups of one bit a symbol and of twelve differ by more than a byte holds."""
    weights = np.zeros(1 << 17, np.uint8)
    rare = np.random.default_rng(0).permutation(255)[:64].astype(np.uint8) + np.uint8(1)
    weights[: 64 * 40] = np.tile(rare, 40)
    payload = page.read_payload(coding.encode(weights, index=True))
    assert payload.planes[0].coding == page.HUFFMAN and payload.index is None
    bits = coding.group_bits(payload)
    assert int(bits.max()) - int(bits.min()) > 255
    assert np.array_equal(coding.decode(payload), weights)


def test_unaligned_and_other_arrays() -> None:
    weights = drawn("normal", 2, 5000)
    expected = coding.encode(weights)
    odd = np.frombuffer(b"\1" + weights.tobytes(), np.uint8)[1:].view(np.uint16)
    apart = np.repeat(weights, 2)[::2]
    for other in (odd, apart, weights.reshape(50, 100), weights[::-1].copy()[::-1]):
        assert np.array_equal(coding.encode(other), expected)
    out = np.empty(5000, np.uint16)
    assert coding.decode(page.read_payload(expected), out=out) is out and np.array_equal(out, weights)


def test_base() -> None:
    """A delta is the payload of the XOR."""
    weights, base = drawn("normal", 2, 300_000), drawn("normal", 2, 300_000)
    base[::7] ^= 5
    encoder = coding.plan(weights, base=base)
    assert np.array_equal(coding.write(encoder), coding.encode(weights ^ base))


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="bit patterns"):
        coding.encode(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="mode"):
        coding.encode(np.zeros(3, np.uint16), mode="zip")  # type: ignore[arg-type]
    payload = page.read_payload(coding.encode(np.zeros(3, np.uint16)))
    for out in (np.empty(3, np.uint32), np.empty(4, np.uint16), np.empty(6, np.uint16)[::2]):
        with pytest.raises(ValueError, match="out"):
            coding.decode(payload, out=out)
    raw = page.read_payload(coding.encode(drawn("uniform", 2, 1000)))
    with pytest.raises(ValueError, match="not Huffman"):
        coding.group_bits(raw)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_damage_anywhere(data: st.DataObject) -> None:
    """A flipped bit is found, or lies in bytes that nothing reads."""
    width = data.draw(st.sampled_from([1, 2, 4]))
    kind = data.draw(st.sampled_from(["normal", "one", "uniform", "falling"]))
    weights = drawn(kind, width, data.draw(st.sampled_from([100, 3000])))
    payload = coding.encode(weights, mode=data.draw(st.sampled_from(coding.MODES)), index=True)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = coding.decode(page.read_payload(payload))
    except CorruptStreamError as error:
        assert "dfloat payload" in str(error)
    else:
        assert np.array_equal(found, weights)
