# SPDX-License-Identifier: Apache-2.0
"""Many `rans.1` payloads on a GPU, a warp each: bytes and symbols stay in its memory, the bytes equal the CPU's.

A chunk is a payload of its own with its symbols. Chunks lie behind each other: chunk j has the bytes
byte_bounds[j] .. byte_bounds[j + 1] - 1 and the symbols symbol_bounds[j] .. symbol_bounds[j + 1] - 1. Bounds are int64
[chunks + 1], tensors on any device or sequences. Kernels run on torch's current stream of the tables' device; what
another stream wrote must be waited for first.

A GPU is busy from a few thousand chunks on, of 32 lanes each (docs/gpu.md).

table_indices name the table of each symbol: one integer, integers [chunks, 1] for each chunk, [1, n] for each place
within a chunk of at most n symbols, or [symbols] for each symbol.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch

from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.driver import launch, launch_warps, processors
from isthmus.kernels.cuda.rans.arguments import NARROW, Choice, as_bounds, as_choice, on_device
from isthmus.kernels.cuda.rans.device_tables import DECODER_FAMILY, FAMILY, RINGS, WARPS, DeviceTables
from isthmus.kernels.cuda.rans.status import raise_faults

__all__ = ["DeviceTables", "decode", "decode_unchecked", "encode", "raise_faults"]

LANES = (1, 2, 4, 8, 16, 32)
NO_IMAGE, ONE_TABLE, TABLES = range(3)  # LOOKUP of rans/decode.cu
VALUES = {torch.int8: "i8", torch.int16: "i16", torch.int32: "i32"}
COST_ONE = 1 << 16  # a bit, in costs
LANE_COST = 512 * 8 * COST_ONE  # what the encoder leaves to each lane at least, when it chooses their number
COST_PER_BYTE = 17 * COST_ONE  # symbols cost at most that much a byte of payload: "Bounds" of format-entropy.md

Bounds: TypeAlias = torch.Tensor | Sequence[int]


def decode(
    data: torch.Tensor,
    byte_bounds: Bounds,
    symbol_bounds: Bounds,
    table_indices: torch.Tensor | int,
    tables: DeviceTables,
    *,
    out: torch.Tensor | None = None,
    dtype: torch.dtype = torch.int32,
) -> torch.Tensor:
    """The symbols of all chunks: int32, or int16 or int8 if `dtype` says so, [symbol_bounds[-1]] on the tables' device.

    data: uint8 [bytes] there. out: contiguous there, at least as long, to write to, of its own dtype; only parts within
    the bounds are written, so these may leave gaps.

    Raises CorruptStreamError that names the first chunk that is not whole, or where the bytes cannot hold so many
    symbols (before memory is taken for them); ValueError for an index without a table, bounds that are none, integers
    that the dtype does not hold, or a tensor elsewhere; TypeError for other dtypes. Waits for the result, as only then
    it is known to be whole.
    """
    symbols, status = decode_unchecked(data, byte_bounds, symbol_bounds, table_indices, tables, out=out, dtype=dtype)
    raise_faults(status, "cuda.rans.decode")
    return symbols


def decode_unchecked(
    data: torch.Tensor,
    byte_bounds: Bounds,
    symbol_bounds: Bounds,
    table_indices: torch.Tensor | int,
    tables: DeviceTables,
    *,
    out: torch.Tensor | None = None,
    dtype: torch.dtype = torch.int32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `decode`, but gives symbols and uint8 status [chunks], and waits for nothing if it is given `out` and both
    bounds lie on the tables' device. The symbols mean nothing before `raise_faults(status, ...)` has returned.
    """
    what = "cuda.rans.decode"
    data = on_device(data, tables, (torch.uint8,), f"{what}: data")
    if out is None:
        _check_values(dtype, tables, what)
        out = torch.empty(_symbols(symbol_bounds, data, tables), dtype=dtype, device=tables.device)
    elif on_device(out, tables, tuple(VALUES), f"{what}: out") is not out:
        raise ValueError(f"{what}: `out` is not contiguous")
    else:
        _check_values(out.dtype, tables, what)
    in_bytes = as_bounds(byte_bounds, tables, f"{what}: byte_bounds")
    in_symbols = as_bounds(symbol_bounds, tables, f"{what}: symbol_bounds")
    if len(in_bytes) != len(in_symbols):
        raise ValueError(f"{what}: {len(in_bytes)} bounds of bytes, but {len(in_symbols)} of symbols")
    chunks = len(in_bytes) - 1
    choice = as_choice(table_indices, chunks, tables, what, bytes_too=True)
    status = torch.empty(chunks, dtype=torch.uint8, device=tables.device)
    if chunks:
        arguments = (
            data, data.numel(), in_bytes, in_symbols, chunks,
            choice.indices, choice.indices.numel(), choice.chunk_step, choice.first_step, *tables.decoder_family(),
            out, out.numel(), status,
        )  # fmt: skip
        launch(
            "rans/decode.cu", "decode_rans", tables.device, min(chunks, processors(tables.device)), 32 * WARPS,
            f"PqPPqPqii{DECODER_FAMILY}PqP", arguments,
            shared=RINGS + len(tables.image),
            defines=decoder_defines(out.dtype, choice, tables, only=isinstance(table_indices, int)),
        )  # fmt: skip
    return out, status


def decoder_defines(dtype: torch.dtype, choice: Choice, tables: DeviceTables, *, only: bool) -> tuple[str, ...]:
    """What rans/decode.cu is compiled with. only: whether the tables' numbers are known to be one that there is."""
    lookup = NO_IMAGE if len(tables.image) == 0 else ONE_TABLE if only and tables.count == 1 else TABLES
    return (
        f"VALUE={VALUES[dtype]}",
        f"INDEX={'u8' if choice.indices.dtype == torch.uint8 else 'u16'}",
        f"STEP={choice.step}",
        f"LOOKUP={lookup}",
        f"PRECISION={tables.precision}",
        f"WIDTH={tables.width}",
    )


def _check_values(dtype: torch.dtype, tables: DeviceTables, what: str) -> None:
    if dtype not in VALUES:
        raise TypeError(f"{what}: got {dtype}, expected {' or '.join(map(str, VALUES))}")
    if tables.least < torch.iinfo(dtype).min or tables.most > torch.iinfo(dtype).max:
        raise ValueError(f"{what}: the tables code {tables.least} to {tables.most}, which {dtype} does not hold")


def _symbols(bounds: Bounds, data: torch.Tensor, tables: DeviceTables) -> int:
    """The number of symbols, if the bytes can hold so many."""
    count = int(bounds[-1]) if len(bounds) else 0
    if count < 0:
        raise ValueError(f"cuda.rans.decode: symbol_bounds end at {count}, expected at least 0")
    if count * tables.least_cost > COST_PER_BYTE * data.numel():
        raise CorruptStreamError(
            f"cuda.rans.decode: {data.numel()} bytes cannot hold {count} symbols; the header or the payloads are "
            "damaged, fetch them again"
        )
    return count


def encode(
    symbols: torch.Tensor,
    symbol_bounds: Bounds,
    table_indices: torch.Tensor | int,
    tables: DeviceTables,
    *,
    lanes: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All chunks as payloads: uint8 [bytes] and int64 byte_bounds [chunks + 1], both on the tables' device.

    symbols: int8, uint8, int16 or int32 there, of any shape, in C order. lanes: 1, 2, 4, 8, 16 or 32, chosen for each
    chunk by the size of its payload when None; 32 decode fastest on a GPU and cost 4 bytes each. The bytes of a chunk
    are those of `isthmus.entropy.encode`.

    Raises ValueError for an index without a table, bounds that are none, other lanes or a tensor elsewhere; TypeError
    for other dtypes. Waits for the sizes of the payloads; these may still be being written when it returns.
    """
    what = "cuda.rans.encode"
    if lanes is not None and lanes not in LANES:
        raise ValueError(f"{what}: {lanes} lanes, expected 1, 2, 4, 8, 16 or 32")
    flat = on_device(symbols, tables, NARROW, f"{what}: symbols").to(torch.int32).reshape(-1)
    bounds = as_bounds(symbol_bounds, tables, f"{what}: symbol_bounds")
    chunks = len(bounds) - 1
    choice = as_choice(table_indices, chunks, tables, what)

    def room(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=tables.device)

    byte_bounds = torch.zeros(chunks + 1, dtype=torch.int64, device=tables.device)
    if chunks == 0:
        return room(0, dtype=torch.uint8), byte_bounds
    words, states = room(flat.numel(), dtype=torch.int16), room(chunks, 32, dtype=torch.int32)
    plans, sizes = room(chunks, 3, dtype=torch.int64), room(chunks, dtype=torch.int64)
    status = room(chunks, dtype=torch.uint8)
    launch_warps(
        "rans/encode.cu", "encode_rans", tables.device, chunks, f"PqPqPqiii{FAMILY}IQPPPPP",
        (
            flat, flat.numel(), bounds, chunks, choice.indices, choice.indices.numel(), *choice.steps,
            *tables.family(), lanes or 0, LANE_COST, words, states, plans, sizes, status,
        ),
    )  # fmt: skip
    raise_faults(status, what)
    torch.cumsum(sizes, 0, out=byte_bounds[1:])
    data = room(int(byte_bounds[-1]), dtype=torch.uint8)
    launch_warps(
        "rans/encode.cu", "write_rans", tables.device, chunks, f"PPqPiii{FAMILY}PPPPP",
        (
            flat, bounds, chunks, choice.indices, *choice.steps, *tables.family(), words, states, plans, byte_bounds,
            data,
        ),
    )  # fmt: skip
    return data, byte_bounds
