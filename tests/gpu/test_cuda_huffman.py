# SPDX-License-Identifier: Apache-2.0
"""The CUDA decoder of weights equals the CPU's bit for bit, and stays within its bounds whatever it is given."""

import threading

import numpy as np
import pytest
import torch

from isthmus.codecs.dfloat import coding
from isthmus.codecs.dfloat.payload import HUFFMAN, read_payload
from isthmus.entropy.tables import huffman as tables
from isthmus.kernels.cuda.huffman import decode as cuda_huffman
from isthmus.kernels.huffman import torch_decode
from isthmus.kernels.huffman.streams import FRONT, HuffmanStreams, join
from isthmus.weights.device_streams import plane_bytes, streams_of

pytestmark = pytest.mark.gpu
SIZES = [63, 64, 65, 300, 2047, 2048, 2049, 16_383, 16_384, 16_385, 65_536, 65_537, 262_145, 1_000_003]


def random_bits(seed: int, n: int, spread: float) -> np.ndarray:
    """The bits of n bf16 numbers, their exponents around another middle every 150,000."""
    rng = np.random.default_rng(seed)
    middle = 20 + 13 * (np.arange(n) // 150_000 % 16)
    exponents = np.clip(middle + rng.standard_normal(n) * spread, 0, 255).astype(np.uint16)
    return rng.integers(0, 2, n, np.uint16) << 15 | exponents << 7 | rng.integers(0, 128, n, np.uint16)


def coded(bits: np.ndarray, device: torch.device) -> tuple[HuffmanStreams, torch.Tensor]:
    payload = read_payload(coding.encode(bits, threads=2))
    assert payload.planes[0].coding == HUFFMAN
    return streams_of(payload).to(device), plane_bytes(payload, 1).to(device)


def bits_of(weights: torch.Tensor) -> np.ndarray:
    return weights.view(torch.int16).cpu().numpy().view(np.uint16)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("spread", [0.0, 0.4, 1.5, 5.0, 25.0])
def test_weights_and_bytes(n: int, spread: float, device: torch.device) -> None:
    bits = random_bits(n, n, spread if n > 1000 else min(spread, 5.0))  # what would not shrink is not coded
    streams, rest = coded(bits, device)
    assert np.array_equal(bits_of(cuda_huffman.decode_bf16(streams, rest)), bits)
    assert np.array_equal(cuda_huffman.decode_bytes(streams).cpu().numpy(), bits >> 7 & 255)


def test_many_units_a_block(device: torch.device) -> None:
    """More than every block gets at once, with tables that change on the way."""
    bits = random_bits(1, 40_000_000, 1.5)
    streams, rest = coded(bits, device)
    assert len(streams.tables) > 10
    assert np.array_equal(bits_of(cuda_huffman.decode_bf16(streams, rest)), bits)


def test_lengths_too_far_apart_for_a_byte(device: torch.device) -> None:
    rng = np.random.default_rng(0)
    rare = rng.integers(60, 120, 40_000).astype(np.uint16)
    bits = np.concatenate((np.full(900_000, 125, np.uint16), rare)).reshape(-1, 50)[rng.permutation(18_800)]
    streams, rest = coded(bits.reshape(-1) << 7, device)
    assert streams.lengths.dtype == torch.int16
    assert np.array_equal(bits_of(cuda_huffman.decode_bf16(streams, rest)), bits.reshape(-1) << 7)


def test_every_pattern_of_bits(device: torch.device) -> None:
    bits = np.concatenate((np.arange(1 << 16, dtype=np.uint16), np.full(400_000, 0x3F80, np.uint16)))
    streams, rest = coded(bits, device)
    assert np.array_equal(bits_of(cuda_huffman.decode_bf16(streams, rest)), bits)


def test_no_symbols(device: torch.device) -> None:
    none, words = np.empty(0, np.int64), np.empty(0, np.uint16)
    lengths = tables.fit(np.ones(256, np.int64))[None]
    streams = HuffmanStreams.build(0, np.empty(0, np.uint8), none, none, words, lengths, words).to(device)
    assert cuda_huffman.decode_bytes(streams).shape == (0,)
    assert cuda_huffman.decode_bf16(streams, torch.empty(0, dtype=torch.uint8, device=device)).shape == (0,)


def test_streams_that_are_joined(device: torch.device) -> None:
    parts = [random_bits(k, n, 1.5) for k, n in enumerate((70_001, 65_536, 100, 2_000_000, 3_000))]
    made = [coded(bits, device) for bits in parts]
    joined, starts = join([streams for streams, _ in made])
    rest = torch.zeros(joined.count, dtype=torch.uint8, device=device)
    for start, (_, of) in zip(starts, made, strict=True):
        rest[start : start + len(of)] = of
    out = torch.full((joined.count,), 7.0, dtype=torch.bfloat16, device=device)
    found = bits_of(cuda_huffman.decode_bf16(joined, rest, out=out))
    for start, bits in zip(starts, parts, strict=True):
        assert np.array_equal(found[start : start + len(bits)], bits)
    between = out[2048 * 35 : starts[1]]  # behind the last warp of the first part
    assert (between == 7).all() and len(between) > 50_000


def test_torch_on_the_gpu(device: torch.device) -> None:
    bits = random_bits(5, 300_001, 1.5)
    streams, rest = coded(bits, device)
    assert np.array_equal(bits_of(torch_decode.decode_bf16(streams, rest)), bits)


def test_the_current_stream(device: torch.device) -> None:
    """A decode on a stream comes behind what that stream was told before: here, the copy of its input."""
    bits = random_bits(2, 5_000_000, 1.5)
    streams, rest = coded(bits, torch.device("cpu"))
    pinned, other = streams.pin(), rest.pin_memory()
    out = torch.zeros(len(bits), dtype=torch.bfloat16, device=device)
    torch.cuda.synchronize(device)
    with torch.cuda.stream(torch.cuda.Stream(device)):
        torch.cuda._sleep(50_000_000)
        moved = pinned.to(device, non_blocking=True)
        cuda_huffman.decode_bf16(moved, other.to(device, non_blocking=True), out=out)
        copy = out.clone()
        torch.cuda.current_stream(device).synchronize()
    assert np.array_equal(bits_of(copy), bits)


def test_a_fresh_thread(device: torch.device) -> None:
    bits = random_bits(3, 70_000, 1.5)
    streams, rest = coded(bits, device)
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(bits_of(cuda_huffman.decode_bf16(streams, rest))))
    thread.start()
    thread.join()
    assert np.array_equal(found[0], bits)


@pytest.mark.parametrize("n", [2047, 2048, 65_541])
def test_the_memory_around_the_output(n: int, device: torch.device) -> None:
    bits = random_bits(4, n, 1.5)
    streams, rest = coded(bits, device)
    room = torch.full((n + 4096,), 7.0, dtype=torch.bfloat16, device=device)
    cuda_huffman.decode_bf16(streams, rest, out=room[2048 : 2048 + n])
    assert np.array_equal(bits_of(room[2048 : 2048 + n]), bits)
    assert (room[:2048] == 7).all() and (room[2048 + n :] == 7).all()


@pytest.mark.parametrize("seed", range(20))
def test_damage_stays_within_bounds(seed: int, device: torch.device) -> None:
    bits = random_bits(4, 70_003, 1.5)
    streams, rest = coded(bits, device)
    rng = np.random.default_rng(seed)
    data, warps, lengths = (tensor.clone() for tensor in (streams.data, streams.warps, streams.lengths))
    data[FRONT:].random_(0, 256)
    if seed % 2:
        warps[:] = torch.from_numpy(rng.integers(-(1 << 63), 1 << 63, len(warps)) >> rng.integers(0, 64)).to(device)
        lengths.random_(0, 256)
    chunk_tables = streams.chunk_tables + seed % 3
    broken = HuffmanStreams(len(bits), data, warps, lengths, streams.code_lengths, streams.tables, chunk_tables)
    room = torch.full((len(bits) + 4096,), 7.0, dtype=torch.bfloat16, device=device)
    cuda_huffman.decode_bf16(broken, rest, out=room[2048 : 2048 + len(bits)])
    torch.cuda.synchronize(device)
    assert (room[:2048] == 7).all() and (room[2048 + len(bits) :] == 7).all()
    assert np.array_equal(bits_of(cuda_huffman.decode_bf16(streams, rest)), bits)


@pytest.mark.parametrize(
    ("rows", "columns"), [(5, 31), (1000, 192), (3001, 320), (7, 40_000), (16, 16_384), (300, 4097)]
)
def test_rows(rows: int, columns: int, device: torch.device) -> None:
    bits = random_bits(rows, rows * columns, 1.5)
    streams, rest = coded(bits, device)
    matrix = bits.reshape(rows, columns)
    ids = torch.randint(0, rows, (3, 5), generator=torch.Generator().manual_seed(rows))
    ids[0, 0], ids[2, 4] = 0, rows - 1
    for kind in (torch.int64, torch.int32):
        found = cuda_huffman.gather_bf16(streams, rest, ids.to(device, kind), columns)
        assert found.shape == (3, 5, columns)
        assert np.array_equal(bits_of(found), matrix[ids.numpy()])
    wrong = cuda_huffman.gather_bf16(streams, rest, torch.tensor([rows, 0, -1, 1 << 60], device=device), columns)
    assert wrong[[0, 2, 3]].isnan().all() and np.array_equal(bits_of(wrong[1]), matrix[0])
    assert cuda_huffman.gather_bf16(streams, rest, ids[:0].to(device), columns).shape == (0, 5, columns)


def test_rows_of_other_shapes(device: torch.device) -> None:
    streams, rest = coded(random_bits(6, 3000, 1.5), device)
    ids = torch.zeros(3, dtype=torch.int64, device=device)
    for columns in (0, 7, 3001):
        with pytest.raises(ValueError, match="expected whole rows"):
            cuda_huffman.gather_bf16(streams, rest, ids, columns)
    for other in (ids.cpu(), ids.float()):
        with pytest.raises(ValueError, match="ids are .*expected integers on"):
            cuda_huffman.gather_bf16(streams, rest, other, 30)


def test_wrong_arguments(device: torch.device) -> None:
    streams, rest = coded(random_bits(6, 3000, 1.5), device)
    wrong: list[torch.Tensor] = [
        torch.empty(2999, dtype=torch.bfloat16, device=device),
        torch.empty(3000, dtype=torch.bfloat16),
        torch.empty(3001, dtype=torch.bfloat16, device=device)[1:],
        torch.empty(3000, dtype=torch.float16, device=device),
    ]
    for out in wrong:
        with pytest.raises(ValueError, match="out is .*expected contiguous torch.bfloat16"):
            cuda_huffman.decode_bf16(streams, rest, out=out)
    for other in (rest.cpu(), rest[1:], rest.int()):
        with pytest.raises(ValueError, match="sign and mantissa are .*expected contiguous torch.uint8"):
            cuda_huffman.decode_bf16(streams, other)
