# SPDX-License-Identifier: Apache-2.0
"""Huffman streams of bytes in the memory of a device, decoded there from any 64 symbols on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from isthmus.kernels.huffman.index import GROUP, LANES, group_starts, index_warps, single_tables, warp_tables

FRONT = 16  # bytes before the first stream
CHUNK = 1 << 16  # symbols of one table
WARPS_A_CHUNK = CHUNK // (GROUP * LANES)
NOTHING = -1  # the word of a warp that has no symbols
READ_AHEAD = 128  # bytes behind the last one that a decoder may read and ignore


@dataclass(frozen=True)
class HuffmanStreams:
    """`count` symbols of bytes. All tensors are contiguous and on one device.

    data: uint8, FRONT bytes, the streams, READ_AHEAD bytes. warps: int64 [W] and lengths, uint8 or int16 [32 W]: see
    `huffman_index.WarpIndex`, bits counted from the begin of `data`; or NOTHING, for symbols that are not decoded (and
    then hold anything). code_lengths: uint8 [K, 256]. tables: int32
    [K, 4096], `warp_tables` of these. chunk_tables: int16 (of uint16), the number of the table of each 65,536 symbols.
    """

    count: int
    data: torch.Tensor
    warps: torch.Tensor
    lengths: torch.Tensor
    code_lengths: torch.Tensor
    tables: torch.Tensor
    chunk_tables: torch.Tensor

    @classmethod
    def build(
        cls,
        count: int,
        data: NDArray[np.uint8],
        places: NDArray[np.int64],
        groups: NDArray[np.int64],
        bits: NDArray[np.uint16],
        code_lengths: NDArray[np.uint8],
        chunk_tables: NDArray[np.uint16],
    ) -> "HuffmanStreams":
        """On the CPU, for streams that begin at the bytes `places` of `data` and have so many `groups`.

        bits: uint16 [G], of each group. Raises ValueError where these contradict each other.
        """
        warps = -(-count // (GROUP * LANES))
        if len(bits) != -(-count // GROUP) or groups.sum() != len(bits) or len(chunk_tables) != -(-warps // LANES):
            raise ValueError(f"HuffmanStreams: {len(bits)} groups, {groups.sum()} in streams, for {count} symbols")
        if len(chunk_tables) and int(chunk_tables.max()) >= len(code_lengths):
            raise ValueError(f"HuffmanStreams: a chunk names table {chunk_tables.max()} of {len(code_lengths)}")
        room = np.zeros(-(-(FRONT + len(data) + READ_AHEAD) // FRONT) * FRONT, np.uint8)
        room[FRONT : FRONT + len(data)] = data
        index = index_warps(group_starts(bits, places + FRONT, groups))
        return cls(
            count,
            torch.from_numpy(room),
            torch.from_numpy(index.warps),
            torch.from_numpy(index.lengths),
            torch.from_numpy(code_lengths),
            torch.from_numpy(warp_tables(code_lengths).view(np.int32)),
            torch.from_numpy(chunk_tables.astype(np.uint16).view(np.int16)),
        )

    @property
    def device(self) -> torch.device:
        return self.data.device

    @property
    def words(self) -> int:
        """Words of 32 bits, of which the last is the last that a stream may begin in."""
        return (self.data.shape[0] - READ_AHEAD) // 4

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in self._tensors().values())

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "count"}

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "HuffmanStreams":
        """A copy on `device`, or this one if it is there."""
        if self.device == torch.device(device):
            return self
        moved: dict[str, Any] = {
            name: tensor.to(device, non_blocking=non_blocking) for name, tensor in self._tensors().items()
        }
        return replace(self, **moved)

    def pin(self) -> "HuffmanStreams":
        """A copy in page-locked memory, from which a GPU reads without waiting."""
        pinned: dict[str, Any] = {name: tensor.pin_memory() for name, tensor in self._tensors().items()}
        return replace(self, **pinned)

    def part(self, chunks: range) -> "HuffmanStreams":
        """The symbols of some chunks that follow each other; memory is shared."""
        first, last = CHUNK * chunks.start, min(CHUNK * chunks.stop, self.count)
        warps = slice(first // (GROUP * LANES), -(-last // (GROUP * LANES)))
        return replace(
            self,
            count=last - first,
            warps=self.warps[warps],
            lengths=self.lengths[warps.start * LANES : warps.stop * LANES],
            chunk_tables=self.chunk_tables[chunks.start : chunks.stop],
        )

    def group_starts(self) -> torch.Tensor:
        """int64 [G] on the device: the bit at which each group begins."""
        lengths = self.lengths.view(len(self.warps), LANES).long() + (self.warps & 0xFFFF)[:, None]
        starts = lengths.cumsum(1) - lengths + (self.warps >> 16)[:, None]
        return starts.reshape(-1)[: -(-self.count // GROUP)]

    def singles(self) -> torch.Tensor:
        """int32 [K, 4096] on the device: length << 8 | symbol of the code that 12 bits begin with."""
        return torch.from_numpy(single_tables(self.code_lengths.cpu().numpy()).astype(np.int32)).to(self.device)


def join(parts: Sequence[HuffmanStreams]) -> tuple[HuffmanStreams, list[int]]:
    """Streams behind each other as one, on the device of them all, and where the symbols of each begin in it.

    Each part begins with a chunk of its own, and the places between are symbols that nothing is decoded to.
    """
    starts, counts = [0], [part.count for part in parts]
    for count in counts[:-1]:
        starts.append(starts[-1] + -(-count // CHUNK) * CHUNK)
    wide = any(part.lengths.dtype == torch.int16 for part in parts)
    warps, lengths, chunk_tables, bits, tables = [], [], [], 0, 0
    for part in parts:
        missing = 0 if part is parts[-1] else -(-part.count // CHUNK) * WARPS_A_CHUNK - len(part.warps)
        warps.append(pad(part.warps + (bits << 16), (0, missing), value=NOTHING))
        found = part.lengths.short() if wide else part.lengths
        lengths.append(pad(found, (0, missing * LANES)))
        chunk_tables.append(part.chunk_tables + tables)
        bits, tables = bits + 8 * len(part.data), tables + len(part.tables)
    joined = HuffmanStreams(
        starts[-1] + counts[-1],
        torch.cat([part.data for part in parts]),
        torch.cat(warps),
        torch.cat(lengths),
        torch.cat([part.code_lengths for part in parts]),
        torch.cat([part.tables for part in parts]),
        torch.cat(chunk_tables),
    )
    return joined, starts


def check_output(out: torch.Tensor | None, streams: HuffmanStreams, dtype: torch.dtype, what: str) -> torch.Tensor:
    """`out`, or new memory for the symbols; ValueError that begins with `what` unless it has their place and form.

    Memory of `out` must begin at a multiple of 16 bytes, as that of torch does.
    """
    if out is None:
        return torch.empty(streams.count, dtype=dtype, device=streams.device)
    fits = out.dtype == dtype and out.shape == (streams.count,) and out.is_contiguous() and out.data_ptr() % 16 == 0
    if not fits or out.device != streams.device:
        raise ValueError(
            f"{what}: out is {out.dtype} {list(out.shape)} on {out.device}, expected contiguous {dtype} "
            f"[{streams.count}] on {streams.device}, at a multiple of 16 bytes"
        )
    return out


def check_rest(rest: torch.Tensor, streams: HuffmanStreams, what: str) -> torch.Tensor:
    """`rest`, uint8 [count] beside the streams; ValueError that begins with `what` for anything else."""
    fits = rest.dtype == torch.uint8 and rest.shape == (streams.count,) and rest.is_contiguous()
    if not fits or rest.device != streams.device or rest.data_ptr() % 16:
        raise ValueError(
            f"{what}: sign and mantissa are {rest.dtype} {list(rest.shape)} on {rest.device}, expected contiguous "
            f"torch.uint8 [{streams.count}] on {streams.device}, at a multiple of 16 bytes"
        )
    return rest
