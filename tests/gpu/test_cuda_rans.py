# SPDX-License-Identifier: Apache-2.0
"""The CUDA coders equal `isthmus.entropy` bit for bit."""

import threading

import numpy as np
import pytest
import torch

from isthmus.entropy import encode_segments
from isthmus.kernels.cuda.rans import coder as cuda_rans
from tests.gpu.chunked import Chunked, on_device, random_family, to_payloads

pytestmark = pytest.mark.gpu
LANES = [1, 2, 4, 8, 16, 32]
SIZES = [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 1000, 0, 4099]


def both_ways(case: Chunked, device: torch.device, lanes: int | None) -> None:
    tables = cuda_rans.DeviceTables.upload(case.family, device)
    payloads = case.payloads(lanes)
    indices = torch.from_numpy(case.indices).to(device)
    symbols = torch.from_numpy(case.symbols).to(device)
    data, bounds = on_device(payloads, device)
    assert torch.equal(cuda_rans.decode(data, bounds, case.bounds.tolist(), indices, tables), symbols)
    assert to_payloads(*cuda_rans.encode(symbols, case.bounds.tolist(), indices, tables, lanes=lanes)) == payloads


@pytest.mark.parametrize("lanes", [None, *LANES])
@pytest.mark.parametrize("precision", [12, 13, 14, 15])
def test_every_precision_and_number_of_lanes(device: torch.device, precision: int, lanes: int | None) -> None:
    family = random_family(np.random.default_rng(precision), precision, 7)
    both_ways(Chunked.random(precision, family, SIZES), device, lanes)


@pytest.mark.parametrize("escapes", [0.0, 0.5, 1.0])
def test_escapes(device: torch.device, escapes: float) -> None:
    family = random_family(np.random.default_rng(1), 12, 3)
    case = Chunked.random(2, family, [500, 1, 33, 0, 77], escapes)
    ends = np.array([-(2**31), 2**31 - 1, 0, -1, 1 << 24, -(1 << 24)], np.int32)
    case.symbols[: len(ends)] = ends
    for lanes in (None, 1, 4, 32):
        both_ways(case, device, lanes)


def test_lanes_are_chosen_as_on_the_cpu(device: torch.device) -> None:
    family = random_family(np.random.default_rng(3), 12, 5)
    case = Chunked.random(4, family, [100, 700, 1500, 3000, 6000, 12_000, 24_000, 48_000], 0.0)
    assert {payload[0] for payload in case.payloads()} >= {0, 1, 2, 3, 4, 5}
    both_ways(case, device, None)


def test_many_chunks(device: torch.device) -> None:
    family = random_family(np.random.default_rng(5), 12, 64)
    sizes = np.random.default_rng(6).integers(0, 300, 1000).tolist()
    both_ways(Chunked.random(7, family, sizes), device, None)


def test_the_largest_family(device: torch.device) -> None:
    both_ways(Chunked.random(9, random_family(np.random.default_rng(8), 12, 1024), [5000, 1, 40]), device, None)


def test_families_of_several_sizes_in_turn(device: torch.device) -> None:
    """They share a kernel, and what a small one asks for must not be all that a large one may have."""
    cases = [Chunked.random(n, random_family(np.random.default_rng(n), 12, n), [300, 40]) for n in (24, 12, 24, 2, 24)]
    for case in cases:
        both_ways(case, device, None)


def test_no_chunk_and_no_symbol(device: torch.device) -> None:
    family = random_family(np.random.default_rng(0), 12, 2)
    both_ways(Chunked.random(0, family, []), device, None)
    both_ways(Chunked.random(0, family, [0]), device, None)
    both_ways(Chunked.random(0, family, [0, 0, 0, 0, 0]), device, 32)


def test_table_indices_of_every_form(device: torch.device) -> None:
    family = random_family(np.random.default_rng(10), 13, 5)
    tables = cuda_rans.DeviceTables.upload(family, device)
    chunks, n = 6, 77
    rng = np.random.default_rng(11)
    bounds = list(range(0, chunks * n + 1, n))
    symbols = rng.integers(-60, 60, (chunks, n)).astype(np.int32)
    for choice, each in [
        (3, np.full((chunks, n), 3)),
        (rng.integers(0, 5, (chunks, 1)), None),
        (rng.integers(0, 5, (1, n)), None),
        (np.array([[4]]), None),
        (rng.integers(0, 5, chunks * n), None),
    ]:
        flat = choice.reshape(chunks, n) if each is None and choice.ndim == 1 else choice
        each = np.broadcast_to(flat, (chunks, n)) if each is None else each
        expected = [encode_segments([(symbols[i], each[i])], family) for i in range(chunks)]
        for dtype in [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64]:
            indices = choice if isinstance(choice, int) else torch.from_numpy(choice).to(dtype).to(device)
            data, ends = cuda_rans.encode(torch.from_numpy(symbols).to(device), bounds, indices, tables)
            assert to_payloads(data, ends) == expected
            found = cuda_rans.decode(data, ends, torch.tensor(bounds, device=device), indices, tables)
            assert np.array_equal(found.cpu().numpy().reshape(chunks, n), symbols)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16])
@pytest.mark.parametrize("count", [1, 5, 300])
def test_narrow_results(device: torch.device, dtype: torch.dtype, count: int) -> None:
    """300 tables of precision 15 take a long search in shared memory, or none at all."""
    family = random_family(np.random.default_rng(20), 15 if count == 300 else 12, 128 if count == 300 else count)
    tables = cuda_rans.DeviceTables.upload(family, device)
    case = Chunked.random(21, family, [5000, 1, 33, 700], 0.0)
    limits = torch.iinfo(dtype)
    case.symbols[::97] = np.clip(case.symbols[::97] * 50, limits.min, limits.max)  # escapes
    indices = torch.from_numpy(case.indices).to(device)
    data, bounds = on_device(case.payloads(), device)
    found = cuda_rans.decode(data, bounds, case.bounds.tolist(), indices, tables, dtype=dtype)
    assert found.dtype == dtype
    assert np.array_equal(found.cpu().numpy(), case.symbols)
    bytes_too = indices.to(torch.uint8)
    assert torch.equal(cuda_rans.decode(data, bounds, case.bounds.tolist(), bytes_too, tables, dtype=dtype), found)


def test_the_only_table(device: torch.device) -> None:
    """Named by an integer, which is known to be right, or by indices, which are looked at."""
    family = random_family(np.random.default_rng(22), 12, 1)
    tables = cuda_rans.DeviceTables.upload(family, device)
    case = Chunked.random(23, family, [5000, 31, 4097])
    data, bounds = on_device(case.payloads(), device)
    for indices in (0, torch.zeros(1, 1, dtype=torch.uint8, device=device), torch.from_numpy(case.indices).to(device)):
        found = cuda_rans.decode(data, bounds, case.bounds.tolist(), indices, tables)
        assert np.array_equal(found.cpu().numpy(), case.symbols)
    wrong = torch.from_numpy(case.indices).to(device)
    wrong[5010] = 1
    with pytest.raises(ValueError, match="chunk 1: a table index"):
        cuda_rans.decode(data, bounds, case.bounds.tolist(), wrong, tables)


@pytest.mark.parametrize("shift", range(4))
def test_payloads_at_any_byte(device: torch.device, shift: int) -> None:
    family = random_family(np.random.default_rng(24), 12, 2)
    case = Chunked.random(25, family, [3000, 100, 1])
    payloads = case.payloads(32)
    ends = np.cumsum([0, *(len(payload) for payload in payloads)]) + shift
    data = torch.zeros(int(ends[-1]), dtype=torch.uint8)
    data[shift:] = torch.frombuffer(bytearray(b"".join(payloads)), dtype=torch.uint8)
    tables, indices = cuda_rans.DeviceTables.upload(family, device), torch.from_numpy(case.indices).to(device)
    found = cuda_rans.decode(data.to(device), ends.tolist(), case.bounds.tolist(), indices, tables)
    assert np.array_equal(found.cpu().numpy(), case.symbols)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16])
def test_narrow_and_strided_symbols(device: torch.device, dtype: torch.dtype) -> None:
    family = random_family(np.random.default_rng(12), 12, 1)
    tables = cuda_rans.DeviceTables.upload(family, device)
    symbols = torch.from_numpy(np.random.default_rng(13).integers(0, 100, (30, 41))).to(device, dtype).T
    data, ends = cuda_rans.encode(symbols, [0, symbols.numel()], 0, tables)
    expected = encode_segments([(symbols.cpu().numpy().astype(np.int32), 0)], family)
    assert to_payloads(data, ends) == [expected]


def test_given_memory_is_used(device: torch.device) -> None:
    family = random_family(np.random.default_rng(14), 12, 2)
    case = Chunked.random(15, family, [10, 20])
    data, ends = on_device(case.payloads(), device)
    tables = cuda_rans.DeviceTables.upload(family, device)
    out = torch.full((40,), 7, dtype=torch.int32, device=device)
    indices = torch.from_numpy(case.indices).to(device)
    assert cuda_rans.decode(data, ends, case.bounds.tolist(), indices, tables, out=out) is out
    assert out.tolist() == [*case.symbols.tolist(), *[7] * 10]
    strided = torch.empty(80, dtype=torch.int32, device=device)[::2]
    with pytest.raises(ValueError, match="not contiguous"):
        cuda_rans.decode(data, ends, case.bounds.tolist(), indices, tables, out=strided)


def test_other_streams_and_threads(device: torch.device) -> None:
    """Work is put on the current stream and follows what precedes it there; threads do not disturb each other."""
    family = random_family(np.random.default_rng(16), 12, 4)
    case = Chunked.random(17, family, [2000] * 20)
    payloads = case.payloads()
    tables = cuda_rans.DeviceTables.upload(family, device)
    ready, bounds = on_device(payloads, device)
    indices, symbols = torch.from_numpy(case.indices).to(device), torch.from_numpy(case.symbols).to(device)
    in_bytes, in_symbols = torch.tensor(bounds, device=device), torch.from_numpy(case.bounds).to(device)
    big = torch.ones(2048, 2048, device=device)
    torch.cuda.synchronize(device)
    wrong: list[str] = []

    def work() -> None:
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            for _ in range(5):
                late, found = torch.zeros_like(ready), torch.zeros_like(symbols)
                for _ in range(20):
                    big @ big  # keeps the stream busy while the launch below is queued
                late.copy_(ready)
                _, status = cuda_rans.decode_unchecked(late, in_bytes, in_symbols, indices, tables, out=found)
                data, ends = cuda_rans.encode(found, in_symbols, indices, tables)
                cuda_rans.raise_faults(status, "test")
                if not torch.equal(found, symbols) or to_payloads(data, ends) != payloads:
                    wrong.append(threading.current_thread().name)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
