# SPDX-License-Identifier: Apache-2.0
"""Checked arguments of the CUDA coders, as the kernels take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isthmus.kernels.cuda.rans.device_tables import DeviceTables

NARROW = (torch.int8, torch.uint8, torch.int16, torch.int32)
INTEGERS = (*NARROW, torch.uint16, torch.int64)


def on_device(tensor: torch.Tensor, tables: DeviceTables, dtypes: Sequence[torch.dtype], what: str) -> torch.Tensor:
    """`tensor`, contiguous; TypeError for another dtype, ValueError unless it lies where the tables do."""
    if not isinstance(tensor, torch.Tensor) or tensor.dtype not in dtypes:
        got = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise TypeError(f"{what}: got {got}, expected a tensor of {' or '.join(map(str, dtypes))}")
    if tensor.device != tables.device:
        raise ValueError(f"{what}: on {tensor.device}, expected {tables.device}, where the tables are")
    return tensor.contiguous()


def as_bounds(bounds: torch.Tensor | Sequence[int], tables: DeviceTables, what: str) -> torch.Tensor:
    """Bounds as int64 [chunks + 1] on the tables' device; TypeError or ValueError for anything else."""
    tensor = bounds if isinstance(bounds, torch.Tensor) else torch.tensor(bounds, device="cpu")
    if tensor.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{what}: got {tensor.dtype}, expected int64")
    if tensor.ndim != 1 or len(tensor) == 0:
        raise ValueError(f"{what}: shape {tuple(tensor.shape)}, expected [chunks + 1]")
    return tensor.to(tables.device, torch.int64).contiguous()


@dataclass(frozen=True)
class Choice:
    """Table indices (uint8, or int16 read as uint16), and how far on the next chunk's, a chunk's first and the next
    one are.
    """

    indices: torch.Tensor
    chunk_step: int
    first_step: int
    step: int

    @property
    def steps(self) -> tuple[int, int, int]:
        return self.chunk_step, self.first_step, self.step


def as_choice(
    indices: torch.Tensor | int, chunks: int, tables: DeviceTables, what: str, *, bytes_too: bool = False
) -> Choice:
    """One index for all symbols (an integer), for each chunk [chunks, 1], for each place in a chunk [1, n], or for each
    symbol [symbols]. bytes_too: whether uint8 stays as it is. Raises TypeError for other dtypes, ValueError for other
    shapes or an integer without a table.
    """
    if isinstance(indices, int | np.integer):
        if not 0 <= indices < tables.count:
            raise ValueError(f"{what}: table index {indices}, but the family has {tables.count} tables")
        return Choice(torch.full((1,), int(indices), dtype=torch.int16, device=tables.device), 0, 0, 0)
    tensor = on_device(indices, tables, INTEGERS, f"{what}: table indices")
    if tensor.dtype in (torch.int32, torch.int64):
        tensor = tensor.clamp(-1, tables.count)  # what names no table still names none in 16 bits
    if bytes_too and tensor.dtype == torch.uint8:
        narrow = tensor
    else:
        narrow = tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor.to(torch.int16)
    if narrow.ndim == 1:
        return Choice(narrow, 0, 1, 1)
    if narrow.ndim == 2 and narrow.shape[0] == 1:
        return Choice(narrow, 0, 0, int(narrow.shape[1] > 1))
    if narrow.ndim == 2 and narrow.shape == (chunks, 1):
        return Choice(narrow, 1, 0, 0)
    raise ValueError(
        f"{what}: table indices {tuple(narrow.shape)}, expected an integer, [{chunks}, 1], [1, n] or [symbols]"
    )
