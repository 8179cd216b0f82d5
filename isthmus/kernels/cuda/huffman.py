# SPDX-License-Identifier: Apache-2.0
"""Huffman streams decoded on a GPU: 64 symbols a thread, in one pass, on torch's current stream.

Nothing here waits for the GPU. Streams and index are read within their bounds whatever they hold, but damaged ones give
other symbols: check the streams where they come from.
"""

import torch

from isthmus.kernels.cuda.driver import Argument, launch, processors
from isthmus.kernels.huffman_streams import HuffmanStreams, check_output, check_rest

THREADS = 256  # a block, as `__launch_bounds__` says
UNIT = 8 * 32 * 64  # symbols that a block decodes at a time
BLOCKS_PER_PROCESSOR = 4
RUN = 4  # units that a block decodes behind each other where tables change; a power of two


def _launch(name: str, streams: HuffmanStreams, outputs: list[Argument]) -> None:
    units, tables = -(-streams.count // UNIT), streams.tables.shape[0]
    blocks = min(units, BLOCKS_PER_PROCESSOR * processors(streams.device))
    # Short runs keep all blocks in one region of memory; with several tables they cost a table each.
    run = RUN if tables > 1 and units >= RUN * blocks else 1
    arguments: list[Argument] = [
        streams.data, streams.words, streams.warps, streams.lengths, streams.lengths.dtype == torch.int16,
        streams.tables, streams.chunk_tables, tables, streams.count, run, *outputs,
    ]  # fmt: skip
    signature = "PQPPiPPIQI" + "P" * len(outputs)
    launch("huffman_decode.cu", name, streams.device, blocks, THREADS, signature, arguments)


def decode_bytes(streams: HuffmanStreams, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """The symbols: uint8 [count] on the streams' device, in `out` if it is given.

    Raises ValueError for another `out` or streams that are on no CUDA device.
    """
    what = "cuda.huffman.decode_bytes"
    _check_device(streams, what)
    out = check_output(out, streams, torch.uint8, what)
    if streams.count:
        _launch("decode_huffman_bytes", streams, [out])
    return out


def decode_bf16(streams: HuffmanStreams, rest: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Weights of which the streams hold the exponents: bfloat16 [count] on their device, in `out` if it is given.

    rest: uint8 [count], sign << 7 | mantissa. Raises ValueError for another `rest` or `out`, or streams that are on no
    CUDA device.
    """
    what = "cuda.huffman.decode_bf16"
    _check_device(streams, what)
    rest = check_rest(rest, streams, what)
    out = check_output(out, streams, torch.bfloat16, what)
    if streams.count:
        _launch("decode_huffman_bf16", streams, [rest, out])
    return out


def _check_device(streams: HuffmanStreams, what: str) -> None:
    if streams.device.type != "cuda":
        raise ValueError(f"{what}: the streams are on {streams.device}, expected a CUDA device")
