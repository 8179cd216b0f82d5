# SPDX-License-Identifier: Apache-2.0
"""Damaged payloads and wrong arguments on the GPU: the same verdict as the CPU's, the right error, no stray write."""

import numpy as np
import pytest
import torch

from isthmus.entropy import TableFamily, decode, encode
from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.rans import coder as cuda_rans
from isthmus.kernels.cuda.rans import status
from isthmus.varint import pack_varint
from tests.gpu.chunked import Chunked, on_device, random_family, to_payloads

pytestmark = pytest.mark.gpu
FAMILY = random_family(np.random.default_rng(0), 12, 5)
CASE = Chunked.random(1, FAMILY, [150], 0.05)


def family_at(low: int) -> TableFamily:
    return TableFamily.from_counts([[1, 2, 1]], [low])


def damaged(payload: bytes, rng: np.random.Generator, count: int) -> list[bytes]:
    """Every beginning, and `count` payloads with some bytes changed, cut off or added."""
    found = [payload[:length] for length in range(len(payload))]
    for _ in range(count):
        data = bytearray(payload)
        for _ in range(rng.integers(0, 4)):
            data[rng.integers(0, min(len(data), 1 << rng.integers(1, 12)))] ^= rng.integers(1, 256)
        cut, more = rng.integers(0, 2, 2) * rng.integers(0, 4, 2)
        found.append(bytes(data[: len(data) - cut]) + rng.bytes(more))
    return found


@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_the_verdicts_are_those_of_the_cpu(device: torch.device, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    payloads = damaged(CASE.payloads(lanes)[0], rng, 1500)
    payloads += [bytes([rng.integers(0, 7)]) + rng.bytes(rng.integers(0, 400)) for _ in range(300)]
    n, chunks = len(CASE.symbols), len(payloads)
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    data, bounds = on_device(payloads, device)
    guarded = torch.full((chunks * n + 2 * n,), 12345, dtype=torch.int32, device=device)
    indices = torch.from_numpy(CASE.indices[None]).to(device)
    symbol_bounds = [n * (j + 1) for j in range(chunks + 1)]
    _, codes = cuda_rans.decode_unchecked(data, bounds, symbol_bounds, indices, tables, out=guarded)
    written = guarded.cpu().numpy().reshape(-1, n)
    assert (written[[0, -1]] == 12345).all()
    good = 0
    for payload, code, symbols in zip(payloads, codes.tolist(), written[1:], strict=False):
        try:
            expected = decode(payload, CASE.indices, FAMILY)
        except CorruptStreamError:
            assert code in status.FAULTS
            continue
        assert code == status.OK
        assert np.array_equal(symbols, expected)
        good += 1
    assert good >= 10


def test_each_fault_has_its_name(device: torch.device) -> None:
    payload = CASE.payloads(4)[0]
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    indices = torch.from_numpy(CASE.indices[None]).to(device)
    escapes = payload[1]
    assert 5 < escapes < 128
    begin = len(payload) - escapes
    for bad, words in [
        (payload[:3], "the head"),
        (b"\x06" + payload[1:], "the head"),
        (payload[:begin - 20] + payload[begin:], "the words end early"),
        (payload[:begin - 2] + payload[begin:], "the words end early"),
        (payload[:-1] + bytes([payload[-1] | 128]), "the escapes end early"),
        (payload[:begin] + b"\x80" * escapes, "the escapes end early"),
        (payload[:begin] + b"\0\0" + payload[begin:], "left over"),
        (b"", "the head"),
    ]:  # fmt: skip
        data, bounds = on_device([payload, bad, payload], device)
        with pytest.raises(CorruptStreamError, match=f"chunk 1: .*{words}"):
            cuda_rans.decode(data, bounds, [0, 150, 300, 450], indices, tables)
    data, bounds = on_device([b"\0"], device)
    with pytest.raises(CorruptStreamError, match="left over"):
        cuda_rans.decode(data, bounds, [0, 0], indices, tables)


@pytest.mark.parametrize("end", [-(2**31), 2**31 - 1])
def test_an_escape_just_beyond_32_bits(device: torch.device, end: int) -> None:
    low, size = int(FAMILY.low[0]), int(FAMILY.size[0])
    code = 2 * (end - low - size) if end > 0 else 2 * (low - 1 - end) + 1
    payload = encode([end], 0, FAMILY)
    good, bad = pack_varint(code), pack_varint(code + 2)
    assert payload.endswith(good)
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    assert cuda_rans.decode(*on_device([payload], device), [0, 1], 0, tables).tolist() == [end]
    with pytest.raises(CorruptStreamError, match="chunk 0: the escapes"):
        cuda_rans.decode(*on_device([payload[: -len(good)] + bad], device), [0, 1], 0, tables)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16])
def test_an_escape_that_does_not_fit(device: torch.device, dtype: torch.dtype) -> None:
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    limits = torch.iinfo(dtype)
    for end, beyond in ((limits.min, limits.min - 1), (limits.max, limits.max + 1)):
        good, bad = (on_device([encode([0, 1, symbol, 2], 0, FAMILY)], device) for symbol in (end, beyond))
        assert cuda_rans.decode(*good, [0, 4], 0, tables, dtype=dtype).tolist() == [0, 1, end, 2]
        with pytest.raises(ValueError, match="chunk 0: an escape stands for"):
            cuda_rans.decode(*bad, [0, 4], 0, tables, dtype=dtype)
        assert cuda_rans.decode(*bad, [0, 4], 0, tables).tolist() == [0, 1, beyond, 2]


def test_announced_symbols_are_refused_before_memory_is_taken(device: torch.device) -> None:
    data, bounds = on_device(CASE.payloads(), device)
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        cuda_rans.decode(data, bounds, [0, 1 << 50], 0, tables)


def test_wrong_bounds(device: torch.device) -> None:
    payload = CASE.payloads()[0]
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    indices = torch.from_numpy(CASE.indices).to(device)
    symbols = torch.from_numpy(CASE.symbols).to(device)
    data, _ = on_device([payload], device)
    end, out = len(payload), torch.empty(150, dtype=torch.int32, device=device)
    for in_bytes, in_symbols in [
        ([0, end + 1], [0, 150]),
        ([-1, end], [0, 150]),
        ([5, 4], [0, 150]),
        ([0, end], [0, 151]),
        ([0, end], [-1, 150]),
        ([0, end], [4, 3]),
        ([0, 1 << 62], [0, 1 << 62]),
    ]:
        with pytest.raises(ValueError, match="chunk 0: its bounds"):
            cuda_rans.decode(data, in_bytes, in_symbols, indices, tables, out=out)
    for in_symbols in ([0, 151], [-1, 150], [4, 3], [0, 1 << 62]):
        with pytest.raises(ValueError, match="chunk 0: its bounds"):
            cuda_rans.encode(symbols, in_symbols, indices, tables)
    with pytest.raises(ValueError, match="chunk 0: its bounds"):  # fewer indices than symbols
        cuda_rans.decode(data, [0, end], [0, 150], indices[:149], tables)
    with pytest.raises(ValueError, match="2 bounds of bytes, but 3 of symbols"):
        cuda_rans.decode(data, [0, end], [0, 10, 150], indices, tables)


@pytest.mark.parametrize("wrong", [5, -1, 65_536, 32_768, 1 << 40])
def test_an_index_without_a_table(device: torch.device, wrong: int) -> None:
    data, bounds = on_device(CASE.payloads(), device)
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    indices = torch.from_numpy(CASE.indices).to(device, torch.int64)
    indices[100] = wrong
    with pytest.raises(ValueError, match="chunk 0: a table index"):
        cuda_rans.decode(data, bounds, [0, 150], indices, tables)
    symbols = torch.from_numpy(CASE.symbols).to(device)
    with pytest.raises(ValueError, match="chunk 0: a table index"):
        cuda_rans.encode(symbols, [0, 150], indices, tables)
    with pytest.raises(ValueError, match="table index .* 5 tables"):
        cuda_rans.encode(symbols, [0, 150], wrong, tables)


def test_wrong_kinds_of_arguments(device: torch.device) -> None:
    data, bounds = on_device(CASE.payloads(), device)
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    symbols = torch.from_numpy(CASE.symbols).to(device)
    with pytest.raises(TypeError, match="data: got torch.int8"):
        cuda_rans.decode(data.to(torch.int8), bounds, [0, 150], 0, tables)
    with pytest.raises(TypeError, match="symbols: got torch.int64"):
        cuda_rans.encode(symbols.to(torch.int64), [0, 150], 0, tables)
    with pytest.raises(TypeError, match="symbols: got ndarray"):
        cuda_rans.encode(CASE.symbols, [0, 150], 0, tables)
    with pytest.raises(TypeError, match="table indices: got torch.float32"):
        cuda_rans.encode(symbols, [0, 150], symbols.float(), tables)
    with pytest.raises(TypeError, match="symbol_bounds: got torch.float32"):
        cuda_rans.encode(symbols, torch.tensor([0.0, 150.0]), 0, tables)
    with pytest.raises(ValueError, match="expected an integer, "):
        cuda_rans.encode(symbols, [0, 150], symbols.reshape(2, 75), tables)
    with pytest.raises(TypeError, match="got torch.float32, expected torch.int8 or"):
        cuda_rans.decode(data, bounds, [0, 150], 0, tables, dtype=torch.float32)
    wide = cuda_rans.DeviceTables.upload(family_at(200), device)
    with pytest.raises(ValueError, match="which torch.int8 does not hold"):
        cuda_rans.decode(data, bounds, [0, 150], 0, wide, dtype=torch.int8)
    with pytest.raises(ValueError, match="3 lanes"):
        cuda_rans.encode(symbols, [0, 150], 0, tables, lanes=3)
    with pytest.raises(ValueError, match="on cpu, expected cuda"):
        cuda_rans.encode(symbols.cpu(), [0, 150], 0, tables)


def test_the_device_is_well_after_all_that(device: torch.device) -> None:
    payloads = CASE.payloads()
    tables = cuda_rans.DeviceTables.upload(FAMILY, device)
    data, ends = cuda_rans.encode(
        torch.from_numpy(CASE.symbols).to(device), [0, 150], torch.from_numpy(CASE.indices).to(device), tables
    )
    torch.cuda.synchronize(device)
    assert to_payloads(data, ends) == payloads
