# SPDX-License-Identifier: Apache-2.0
"""Huffman streams decoded on a GPU: 64 symbols a thread, in one pass, on torch's current stream.

Nothing here waits for the GPU. Streams and index are read within their bounds whatever they hold, but damaged ones give
other symbols: check the streams where they come from.
"""

from collections.abc import Callable
from functools import partial

import torch

from isthmus.kernels.cuda.driver import Argument, launch, packed, processors, start
from isthmus.kernels.huffman.streams import HuffmanStreams, check_output, check_rest

FILE = "huffman/decode.cu"
THREADS = 256  # a block, as `__launch_bounds__` says
UNIT = 8 * 32 * 64  # symbols that a block decodes at a time
BLOCKS_PER_PROCESSOR = 4
STREAMS = "PQPPiPPIQ"  # of `arguments_of`, as `struct` writes types


def blocks_of(streams: HuffmanStreams, blocks_per_processor: int) -> int:
    """How many blocks a kernel of `decode_all` (huffman/units.cuh) is started with."""
    return min(-(-streams.count // UNIT), blocks_per_processor * processors(streams.device))


def arguments_of(streams: HuffmanStreams) -> list[Argument]:
    """The first arguments of the kernels of huffman/units.cuh, of the types of STREAMS."""
    return [
        streams.data, streams.words, streams.warps, streams.lengths, streams.lengths.dtype == torch.int16,
        streams.tables, streams.chunk_tables, streams.tables.shape[0], streams.count,
    ]  # fmt: skip


def decode_bytes(streams: HuffmanStreams, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """The symbols: uint8 [count] on the streams' device, in `out` if it is given.

    Raises ValueError for another `out` or streams that are on no CUDA device.
    """
    what = "cuda.huffman.decode_bytes"
    check_device(streams, what)
    out = check_output(out, streams, torch.uint8, what)
    _prepared("decode_huffman_bytes", streams, [out])()
    return out


def decode_bf16(streams: HuffmanStreams, rest: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Weights of which the streams hold the exponents: bfloat16 [count] on their device, in `out` if it is given.

    rest: uint8 [count], sign << 7 | mantissa. Raises ValueError for another `rest` or `out`, or streams that are on no
    CUDA device.
    """
    check_device(streams, "cuda.huffman.decode_bf16")
    out = torch.empty(streams.count, dtype=torch.bfloat16, device=streams.device) if out is None else out
    prepare_bf16(streams, rest, out)()
    return out


def prepare_bf16(streams: HuffmanStreams, rest: torch.Tensor, out: torch.Tensor) -> Callable[[], None]:
    """What `decode_bf16` does, to be called again and again while these tensors are there."""
    what = "cuda.huffman.decode_bf16"
    check_device(streams, what)
    rest = check_rest(rest, streams, what)
    return _prepared("decode_huffman_bf16", streams, [rest, check_output(out, streams, torch.bfloat16, what)])


def _prepared(name: str, streams: HuffmanStreams, outputs: list[Argument]) -> Callable[[], None]:
    if not streams.count:
        return lambda: None
    block = packed(STREAMS + "P" * len(outputs), [*arguments_of(streams), *outputs])
    return partial(start, FILE, name, streams.device, blocks_of(streams, BLOCKS_PER_PROCESSOR), THREADS, block)


def gather_bf16(streams: HuffmanStreams, rest: torch.Tensor, ids: torch.Tensor, columns: int) -> torch.Tensor:
    """Rows of a matrix of `columns`: bfloat16 [..., columns], NaN for an id that is no row. Other rows are not decoded.

    streams, rest: as `decode_bf16` takes them, of whole rows. ids: int64 or int32 [...] on their device. Raises
    ValueError for others.
    """
    what = "cuda.huffman.gather_bf16"
    check_device(streams, what)
    rest = check_rest(rest, streams, what)
    if columns <= 0 or streams.count % columns:
        raise ValueError(f"{what}: {streams.count} weights, expected whole rows of {columns}")
    if ids.dtype not in (torch.int64, torch.int32) or ids.device != streams.device:
        raise ValueError(f"{what}: ids are {ids.dtype} on {ids.device}, expected integers on {streams.device}")
    flat = ids.reshape(-1).to(torch.int64).contiguous()
    out = torch.empty(flat.shape[0], columns, dtype=torch.bfloat16, device=streams.device)
    blocks_a_row = (columns + 2 * UNIT - 2) // UNIT  # wherever in a unit it begins
    arguments = [*arguments_of(streams), blocks_a_row, rest, flat, streams.count // columns, columns, out]
    if out.numel():
        blocks = flat.shape[0] * blocks_a_row
        launch(FILE, "gather_huffman_bf16", streams.device, blocks, THREADS, STREAMS + "IPPQQP", arguments)
    return out.view(*ids.shape, columns)


def check_device(streams: HuffmanStreams, what: str) -> None:
    if streams.device.type != "cuda":
        raise ValueError(f"{what}: the streams are on {streams.device}, expected a CUDA device")
