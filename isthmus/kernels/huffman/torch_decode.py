# SPDX-License-Identifier: Apache-2.0
"""Huffman streams decoded with torch alone, on any device: all groups of 64 at once, a symbol of each at a time."""

import torch

from isthmus.kernels.huffman.index import GROUP
from isthmus.kernels.huffman.streams import HuffmanStreams, check_output, check_rest

LIMIT = 12
CHUNK_GROUPS = 65536 // GROUP


def decode_bytes(streams: HuffmanStreams, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """The symbols: uint8 [count] on the streams' device, in `out` if it is given.

    Damaged streams give other symbols. Raises ValueError for another `out`.
    """
    out = check_output(out, streams, torch.uint8, "torch_decode.decode_bytes")
    if streams.count == 0:
        return out
    data, bits = streams.data.int(), streams.group_starts()
    tables = (streams.chunk_tables.long() & 0xFFFF).repeat_interleave(CHUNK_GROUPS)[: len(bits)] << LIMIT
    singles, last = streams.singles().view(-1), len(streams.data) - 3
    symbols = torch.empty(GROUP, len(bits), dtype=torch.uint8, device=streams.device)
    for row in symbols:
        place = (bits >> 3).clamp(0, last)
        window = data[place] | data[place + 1] << 8 | data[place + 2] << 16
        single = singles[tables + (window >> (bits & 7) & ((1 << LIMIT) - 1))]
        row.copy_(single & 255)
        bits = bits + (single >> 8)
    return out.copy_(symbols.t().reshape(-1)[: streams.count])


def merge_bf16(exponents: torch.Tensor, rest: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Writes to out, bfloat16 [n], the weights of these exponents, uint8 [n], and sign << 7 | mantissa, uint8 [n]."""
    bits = out.view(torch.int16)
    bits.copy_(rest)
    bits += (bits & 128) * 255  # the sign goes from bit 7 to bit 15
    bits |= exponents.to(torch.int16) << 7
    return out


def decode_bf16(streams: HuffmanStreams, rest: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Weights of which the streams hold the exponents: bfloat16 [count] on their device, in `out` if it is given.

    rest: uint8 [count], sign << 7 | mantissa. Raises ValueError for another `rest` or `out`.
    """
    what = "torch_decode.decode_bf16"
    rest = check_rest(rest, streams, what)
    out = check_output(out, streams, torch.bfloat16, what)
    return merge_bf16(decode_bytes(streams), rest, out)
