# SPDX-License-Identifier: Apache-2.0
"""Modules of the DFloat11 layout: encoded, decoded, and refused where their fields contradict each other."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import CorruptStreamError
from isthmus.weights.upstream import encode
from isthmus.weights.upstream.block import UpstreamBlock
from isthmus.weights.upstream.encode import MOST_IN_CHUNK, encode_block, verify_block
from tests.weights.upstream import published_kernel


def random_bits(seed: int, n: int, spread: float) -> np.ndarray:
    """The bits of n bf16 numbers whose exponents lie around 110, the farther the greater the spread."""
    rng = np.random.default_rng(seed)
    exponents = np.clip(110 + rng.standard_normal(n) * spread, 0, 239).astype(np.uint16)
    return rng.integers(0, 2, n, np.uint16) << 15 | exponents << 7 | rng.integers(0, 128, n, np.uint16)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    n=st.sampled_from([1, 2, 3, 5, 8, 31, 64, 1000, 9999]),
    spread=st.sampled_from([0.0, 0.3, 1.5, 4.0, 60.0, 1e9]),
    parts=st.integers(1, 4),
    threads=st.integers(1, 3),
)
def test_a_round_trip(seed: int, n: int, spread: float, parts: int, threads: int) -> None:
    bits = random_bits(seed, n, spread)
    matrices = np.array_split(bits, parts)
    block = encode_block("layer", matrices, threads=threads)
    assert np.array_equal(block.decode(threads=threads), bits)
    assert np.array_equal(published_kernel.decode(block), bits)
    back = block.matrices(bits)
    assert len(back) == parts and all(map(np.array_equal, back, matrices))
    shared = max(np.diff(block.positions))
    assert shared <= MOST_IN_CHUNK


@pytest.mark.parametrize("spread", [0.0, 1.5, 60.0])
def test_many_chunks_on_threads(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = random_bits(3, 2_000_003, spread)
    whole = encode_block("layer", [bits])
    assert np.array_equal(whole.decode(), bits)
    monkeypatch.setattr(encode, "PART", 5_000)  # parts that end within a byte, a window and a chunk
    parts = encode_block("layer", [bits[:1], bits[1:]], threads=2)
    for field in ("luts", "encoded_exponent", "sign_mantissa", "output_positions", "gaps"):
        assert np.array_equal(getattr(parts, field), getattr(whole, field))
    out = np.full(len(bits), 0xFFFF, np.uint16)
    assert parts.decode(out, threads=2) is out
    assert np.array_equal(out, bits)


def test_codes_beyond_the_table() -> None:
    sizes = [round(1.9**j) for j in range(22)]
    exponents = np.repeat(np.arange(100, 122, dtype=np.uint16), sizes)
    bits = np.random.default_rng(0).permutation(exponents) << 7
    block = encode_block("layer", [bits])
    assert block.code.lengths.max() >= 20
    assert np.array_equal(block.decode(), bits)


def test_the_end_at_the_edge_of_a_chunk() -> None:
    """All numbers of bits around a chunk's end, with and without a mark; 2 bits a weight."""
    for n in range(4094 * 4, 4098 * 4):
        bits = np.full(n, 100 << 7, np.uint16)
        block = encode_block("layer", [bits])
        assert np.array_equal(block.decode(), bits)
        assert len(block.output_positions) == 4 * (block.chunks + 1)


def test_what_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match=r"layer: 2 weights are infinite, NaN or at least 2\^113"):
        encode_block("layer", [np.array([240 << 7, 1, 0xFFFF], np.uint16)])
    for nothing in ([], [np.empty(0, np.uint16)]):
        with pytest.raises(ValueError, match="layer: 0 weights"):
            encode_block("layer", nothing)
    with pytest.raises(TypeError, match="layer: got .*int16"):
        encode_block("layer", [np.zeros(3, np.int16)])
    with pytest.raises(ValueError, match="layer: out is uint16"):
        encode_block("layer", [np.zeros(3, np.uint16)]).decode(np.zeros(4, np.uint16))


GOOD = encode_block("layer", [random_bits(1, 30_000, 1.5), random_bits(2, 500, 1.5)])


def positions(block: UpstreamBlock, change: Callable[[np.ndarray], None]) -> np.ndarray:
    values = block.output_positions.view("<u4").copy()
    change(values)
    return values.view(np.uint8)


def set_item(index: int, value: int) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


CHANGES = {
    "sign_mantissa has 0 weights": {"sign_mantissa": np.empty(0, np.uint8)},
    "sign_mantissa is int8": {"sign_mantissa": GOOD.sign_mantissa.view(np.int8)},
    "gaps is uint8 .1, ": {"gaps": GOOD.gaps[None]},
    "gaps have 959 bytes, expected 960 for 3 chunks": {"gaps": GOOD.gaps[:-1]},
    "gaps have 960 bytes, expected 320": {"encoded_exponent": GOOD.encoded_exponent[:4000]},
    "gaps have 960 bytes, expected 0": {"encoded_exponent": GOOD.encoded_exponent[:0]},
    "output_positions have 3.25 entries": {"output_positions": GOOD.output_positions[:-3]},
    "output_positions have 5.0 entries": {"output_positions": np.append(GOOD.output_positions, GOOD.gaps[:4])},
    "output_positions do not rise from 0 to the 30500": {"output_positions": positions(GOOD, set_item(0, 1))},
    "output_positions do not rise": {"output_positions": positions(GOOD, set_item(-1, 2**32 - 1))},
    "output_positions do not rise .*": {"output_positions": positions(GOOD, set_item(1, 2**31))},
    "output_positions do not rise from 0": {"output_positions": positions(GOOD, set_item(2, 3))},
    "split_positions is int32": {"split_positions": np.zeros(1, np.int32)},
    "split_positions do not rise within": {"split_positions": np.array([-1])},
    "split_positions do not rise within the": {"split_positions": np.array([30_501])},
    "split_positions do not rise": {"split_positions": np.array([7, 6])},
    "0 threads a block": {"threads_per_block": 0},
    "2048 threads a block": {"threads_per_block": 2048},
    "luts are": {"luts": GOOD.luts[:1]},
}


@pytest.mark.parametrize("words", CHANGES)
def test_fields_that_contradict_each_other(words: str) -> None:
    with pytest.raises(CorruptStreamError, match=f"^layer: {words}.*fetch it again$"):
        replace(GOOD, **CHANGES[words])  # type: ignore[arg-type]


def test_bits_that_do_not_meet() -> None:
    gaps = GOOD.gaps.copy()
    gaps[320] ^= 1 << 3  # the first window of chunk 1
    with pytest.raises(CorruptStreamError, match="layer: chunk 0 of 3: its exponents do not end where gaps"):
        replace(GOOD, gaps=gaps).decode()
    moved = replace(GOOD, output_positions=positions(GOOD, set_item(1, int(GOOD.positions[1]) + 1)))
    with pytest.raises(CorruptStreamError, match="layer: chunk 0 of 3"):
        moved.decode()
    last = replace(
        GOOD, sign_mantissa=np.zeros(40_000, np.uint8), output_positions=positions(GOOD, set_item(-1, 40_000))
    )
    with pytest.raises(CorruptStreamError, match="layer: chunk 2 of 3: its exponents end early"):
        last.decode()
    code = GOOD.encoded_exponent.copy()
    code[100:108] = 255  # the code of the end, again and again
    with pytest.raises(CorruptStreamError, match="layer: chunk 0 of 3: its bits are no code of luts"):
        replace(GOOD, encoded_exponent=code).decode()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([0.0, 1.5, 60.0]), st.integers(0, 1 << 30), st.integers(1, 31))
def test_every_gap_is_verified(n: int, spread: float, seed: int, change: int) -> None:
    block = encode_block("layer", [random_bits(seed, n, spread)])
    verify_block(block)
    bits = block.code.by_symbol()[1][block.decode() >> 7 & 255].astype(np.int64)
    begins = np.unique((np.cumsum(bits) - bits) // 64)  # windows in which a weight's code begins
    window = int(begins[seed % len(begins)])
    five = np.unpackbits(block.gaps)
    five[5 * window : 5 * window + 5] ^= np.unpackbits(np.array([change << 3], np.uint8))[:5]
    with pytest.raises(CorruptStreamError, match="^layer: "):
        verify_block(replace(block, gaps=np.packbits(five)), threads=2)


@pytest.mark.parametrize("parts", [1, 2])
def test_gaps_of_many_parts(parts: int) -> None:
    block = encode_block("layer", [random_bits(1, 600_000, 1.5)])
    verify_block(block, threads=parts)
    gaps = block.gaps.copy()
    gaps[5 * 2500] ^= 1 << 3
    with pytest.raises(
        CorruptStreamError, match="gaps are wrong in 1 of 25... windows of 64 bits, the first is number 20000"
    ):
        verify_block(replace(block, gaps=gaps), threads=parts)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["encoded_exponent", "gaps", "output_positions", "luts"]), st.randoms())
def test_damage_gives_the_one_error_or_weights(field: str, random: object) -> None:
    small = encode_block("layer", [random_bits(1, 13_000, 1.5)])
    array = getattr(small, field).copy()
    flat = array.reshape(-1)
    for _ in range(2):
        flat[random.randrange(flat.size)] = random.randrange(256)  # type: ignore[attr-defined]
    try:
        assert replace(small, **{field: array}).decode().shape == (13_000,)  # type: ignore[arg-type]
    except CorruptStreamError as error:
        assert str(error).startswith("layer: ")
