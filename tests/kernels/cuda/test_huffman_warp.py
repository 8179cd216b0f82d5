# SPDX-License-Identifier: Apache-2.0
"""The Huffman decoders of devices, without a GPU: the kernel's algorithm in numpy, and torch's, against the CPU's."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import HUFFMAN, read_payload
from isthmus.entropy.tables import huffman
from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.cuda.huffman import decode as cuda_huffman
from isthmus.kernels.huffman import index as huffman_index
from isthmus.kernels.huffman import torch_decode
from isthmus.kernels.huffman.index import group_starts, index_warps, single_tables, warp_tables
from isthmus.kernels.huffman.streams import FRONT, READ_AHEAD, HuffmanStreams, join
from isthmus.weights.device_streams import plane_bytes, streams_of, with_huffman
from tests.kernels.cuda import warp_huffman

SIZES = [63, 64, 65, 129, 300, 2047, 2048, 2049, 4097, 16_384, 16_385, 65_535, 65_536, 65_537, 70_001, 131_073]


def random_bits(seed: int, n: int, spread: float) -> np.ndarray:
    """The bits of n bf16 numbers, their exponents around another middle every 150,000."""
    rng = np.random.default_rng(seed)
    middle = 100 + 40 * (np.arange(n) // 150_000)
    exponents = np.clip(middle + rng.standard_normal(n) * spread, 0, 255).astype(np.uint16)
    return rng.integers(0, 2, n, np.uint16) << 15 | exponents << 7 | rng.integers(0, 128, n, np.uint16)


def coded(bits: np.ndarray) -> tuple[HuffmanStreams, torch.Tensor]:
    payload = read_payload(coding.encode(bits))
    assert payload.planes[0].coding == HUFFMAN
    return streams_of(payload), plane_bytes(payload, 1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    n=st.sampled_from(SIZES),
    spread=st.sampled_from([0.0, 0.4, 1.5, 5.0, 25.0]),
    blocks=st.sampled_from([1, 3, 100]),
    ranges=st.booleans(),
)
def test_the_same_weights(seed: int, n: int, spread: float, blocks: int, ranges: bool) -> None:
    bits = random_bits(seed, n, spread if n > 1000 else min(spread, 1.5))  # what would not shrink is not coded
    streams, rest = coded(bits)
    assert np.array_equal(warp_huffman.decode(streams, rest.numpy(), blocks, ranges), bits)
    assert np.array_equal(warp_huffman.decode(streams, None, blocks, ranges), bits >> 7 & 255)
    assert np.array_equal(torch_decode.decode_bytes(streams).numpy(), bits >> 7 & 255)
    out = torch_decode.decode_bf16(streams, rest)
    assert out.dtype == torch.bfloat16
    assert np.array_equal(out.view(torch.int16).numpy().view(np.uint16), bits)


def test_several_tables() -> None:
    bits = random_bits(0, 900_000, 1.5)
    streams, rest = coded(bits)
    assert len(streams.tables) == len(streams.code_lengths) >= 3
    assert len(torch.unique(streams.chunk_tables)) == len(streams.tables)
    assert np.array_equal(warp_huffman.decode(streams, rest.numpy(), 7), bits)
    assert np.array_equal(torch_decode.decode_bf16(streams, rest).view(torch.int16).numpy().view(np.uint16), bits)


def test_every_pattern_of_bits() -> None:
    bits = np.tile(np.arange(1 << 16, dtype=np.uint16), 2)
    bits[1 << 16 :] = 0x3F80  # so that it shrinks
    streams, rest = coded(np.concatenate((bits, np.full(300_000, 0x3F80, np.uint16))))
    for found in (warp_huffman.decode(streams, rest.numpy(), 2),
                  torch_decode.decode_bf16(streams, rest).view(torch.int16).numpy().view(np.uint16)):  # fmt: skip
        assert np.array_equal(found[: 2 << 16], bits)


def test_lengths_too_far_apart_for_a_byte() -> None:
    bits = far_apart()
    streams, rest = coded(bits)
    assert streams.lengths.dtype == torch.int16
    assert np.array_equal(warp_huffman.decode(streams, rest.numpy(), 5), bits)
    assert np.array_equal(torch_decode.decode_bytes(streams).numpy(), bits >> 7)


def far_apart() -> np.ndarray:
    """Exponents in codes of 1 and of 12 bits, so groups of 64 and of 700 bits beside each other."""
    rng = np.random.default_rng(0)
    rare = rng.integers(60, 120, 40_000).astype(np.uint16)
    mixed = np.concatenate((np.full(900_000, 125, np.uint16), rare)).reshape(-1, 50)[rng.permutation(18_800)]
    return mixed.reshape(-1) << 7


@pytest.mark.parametrize("wide", [False, True])
def test_streams_that_are_joined(wide: bool) -> None:
    parts = [random_bits(k, n, 1.5) for k, n in enumerate((70_001, 65_536, 100, 200_000, 3_000))]
    parts += [far_apart()[:90_000]] if wide else []
    made = [coded(bits) for bits in parts]
    joined, starts = join([streams for streams, _ in made])
    assert starts == [0, 131_072, 196_608, 262_144, 524_288, 589_824][: len(parts)]
    assert joined.count == starts[-1] + len(parts[-1])
    assert (joined.lengths.dtype == torch.int16) == wide
    rest = torch.zeros(joined.count, dtype=torch.uint8)
    for start, (_, of) in zip(starts, made, strict=True):
        rest[start : start + len(of)] = of
    emulated = warp_huffman.decode(joined, rest.numpy(), 3)
    found = torch_decode.decode_bf16(joined, rest).view(torch.int16).numpy().view(np.uint16)
    for start, bits in zip(starts, parts, strict=True):
        assert np.array_equal(emulated[start : start + len(bits)], bits)
        assert np.array_equal(found[start : start + len(bits)], bits)
    part = joined.part(range(3, 5))
    assert np.array_equal(warp_huffman.decode(part, None, 1)[65_536:], parts[3][:65_536] >> 7 & 255)


def test_the_rans_mode_is_coded_anew() -> None:
    bits = random_bits(1, 300_000, 1.5)
    payload = read_payload(coding.encode(bits, mode="rans"))
    assert payload.planes[0].coding != HUFFMAN
    with pytest.raises(ValueError, match="not Huffman"):
        streams_of(payload)
    again = with_huffman(payload)
    assert with_huffman(again) is again
    found = torch_decode.decode_bf16(streams_of(again), plane_bytes(again, 1))
    assert np.array_equal(found.view(torch.int16).numpy().view(np.uint16), bits)


def test_a_stored_index_gives_the_same_streams() -> None:
    bits = random_bits(1, 70_001, 1.5)
    stored, derived = (streams_of(read_payload(coding.encode(bits, index=index))) for index in (True, False))
    assert torch.equal(stored.warps, derived.warps) and torch.equal(stored.lengths, derived.lengths)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=256), st.integers(0, 4095))
def test_an_entry_holds_what_is_whole_in_12_bits(counts: list[int], window: int) -> None:
    padded = np.zeros(256, np.int64)
    padded[: len(counts)] = counts
    padded[7] += 1
    lengths = huffman.fit(padded)[None]
    single, entry = single_tables(lengths)[0].astype(np.int64), int(warp_tables(lengths)[0, window])
    expected, used = [], 0
    while len(expected) < 3 and used + (single[window >> used] >> 8) <= 12:
        expected.append(int(single[window >> used] & 255))
        used += int(single[window >> used] >> 8)
    assert entry == used << 28 | len(expected) << 24 | int.from_bytes(bytes(expected), "little")
    assert expected


def test_the_index_by_hand() -> None:
    starts = group_starts(np.array([5, 6, 7, 8], np.uint16), np.array([2, 9, 9, 4]), np.array([2, 0, 1, 1]))
    assert starts.tolist() == [16, 21, 72, 32]
    with pytest.raises(ValueError, match="out of order"):
        index_warps(starts)
    far = np.arange(70) * 300
    far[40] += 128  # between groups of 428 and 172 bits: one too many for a byte
    index = index_warps(far)
    assert index.warps.tolist() == [0, 32 * 300 << 16, 64 * 300 << 16]
    assert index.lengths.dtype == np.int16 and index.lengths.tolist()[38:42] == [300, 428, 172, 300]
    near = index_warps(np.arange(33) * 300 + (np.arange(33) >= 3) * 255)
    assert near.warps.tolist() == [300, (32 * 300 + 255) << 16]
    assert near.lengths.tolist() == [0, 0, 255] + [0] * 61
    assert index_warps(np.empty(0, np.int64)).warps.shape == (0,)
    for wrong in (np.array([0, 1 << 15]), np.array([1 << 47])):
        with pytest.raises(ValueError, match="too far apart"):
            index_warps(wrong)


def test_no_symbols() -> None:
    none, words = np.empty(0, np.int64), np.empty(0, np.uint16)
    lengths = huffman.fit(np.ones(256, np.int64))[None]
    streams = HuffmanStreams.build(0, np.empty(0, np.uint8), none, none, words, lengths, words)
    assert torch_decode.decode_bytes(streams).shape == (0,)
    assert torch_decode.decode_bf16(streams, torch.empty(0, dtype=torch.uint8)).shape == (0,)
    assert warp_huffman.decode(streams, None, 1).shape == (0,)


def test_what_build_refuses() -> None:
    lengths = huffman.fit(np.ones(256, np.int64))[None]
    good = (65, np.zeros(99, np.uint8), np.array([0]), np.array([2]), np.array([9, 9], np.uint16), lengths)
    HuffmanStreams.build(*good, np.array([0], np.uint16))
    for change in ((0, 64), (0, 65_537), (3, np.array([3])), (4, np.array([9], np.uint16))):
        wrong = list(good)
        wrong[change[0]] = change[1]
        with pytest.raises(ValueError, match="HuffmanStreams: "):
            HuffmanStreams.build(*wrong, np.array([0], np.uint16))
    with pytest.raises(ValueError, match="names table 1 of 1"):
        HuffmanStreams.build(*good, np.array([1], np.uint16))


STREAMS, REST = coded(random_bits(0, 3000, 1.5))


def test_wrong_outputs() -> None:
    for decoder in (torch_decode, cuda_huffman):
        where = "expected" if decoder is torch_decode else "expected a CUDA device"
        byte = partial(torch.empty, dtype=torch.uint8)
        for out in (byte(2999), torch.empty(3000), byte(3001)[1:], byte(6000)[::2], byte(3000, device="meta")):
            with pytest.raises(ValueError, match=where):
                decoder.decode_bytes(STREAMS, out=out)
        for rest in (REST[1:], REST.int(), torch.empty(3001, dtype=torch.uint8)[1:]):
            with pytest.raises(ValueError, match=where):
                decoder.decode_bf16(STREAMS, rest)
    out = torch.empty(3000, dtype=torch.bfloat16)
    assert torch_decode.decode_bf16(STREAMS, REST, out=out).data_ptr() == out.data_ptr()


def test_sizes_and_places() -> None:
    assert STREAMS.nbytes == sum(t.nbytes for t in (STREAMS.data, STREAMS.warps, STREAMS.lengths, STREAMS.code_lengths,
                                                    STREAMS.tables, STREAMS.chunk_tables))  # fmt: skip
    assert STREAMS.to("cpu") is STREAMS
    assert STREAMS.to("meta").warps.device.type == "meta"
    assert 4 * STREAMS.words == len(STREAMS.data) - READ_AHEAD


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30))
def test_damage_stays_within_bounds(seed: int) -> None:
    """Any bytes and any index: the emulation asserts its places, torch its indices."""
    rng = np.random.default_rng(seed)
    data, warps, lengths = (tensor.clone() for tensor in (STREAMS.data, STREAMS.warps, STREAMS.lengths))
    data[FRONT:].random_(0, 256, generator=torch.Generator().manual_seed(seed))
    if seed % 2:
        warps[:] = torch.from_numpy(rng.integers(-(1 << 63), 1 << 63, len(warps)) >> rng.integers(0, 64))
        lengths[:] = torch.from_numpy(rng.integers(0, 256, len(lengths)).astype(np.uint8))
    tables = STREAMS.chunk_tables + int(seed % 3)
    streams = HuffmanStreams(3000, data, warps, lengths, STREAMS.code_lengths, STREAMS.tables, tables)
    assert warp_huffman.decode(streams, REST.numpy(), 2).shape == (3000,)
    if seed % 3 == 0:
        assert torch_decode.decode_bytes(streams).shape == (3000,)


def test_both_sides_mean_the_same_sizes() -> None:
    source = nvrtc.source_of("huffman/decode.cu")
    sizes = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)[;,]", source)}
    assert sizes["GROUP"] == huffman_index.GROUP == warp_huffman.GROUP
    assert 32 * sizes["WARPS"] == cuda_huffman.THREADS
    assert sizes["WARPS"] * 32 * sizes["GROUP"] == cuda_huffman.UNIT
    assert sizes["ENTRIES"] == warp_tables(STREAMS.code_lengths.numpy()).shape[1]
    assert sizes["READ_AHEAD"] == READ_AHEAD // 4
    for name in ("PITCH", "STAGED", "AHEAD"):
        assert sizes[name] == getattr(warp_huffman, name)
    bounds = set(re.findall(r"__launch_bounds__\((\d+), (\d+)\)", source))
    assert bounds == {(str(cuda_huffman.THREADS), str(cuda_huffman.BLOCKS_PER_PROCESSOR))}
