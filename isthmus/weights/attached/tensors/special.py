# SPDX-License-Identifier: Apache-2.0
"""Operations that do without all of a weight: rows of an embedding, and products with a few vectors on a GPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from isthmus.kernels.cuda.huffman.decode import UNIT, gather_bf16
from isthmus.kernels.cuda.huffman.linear import MOST, Matrix
from isthmus.kernels.huffman.streams import CHUNK, HuffmanStreams
from isthmus.weights.attached.decoding.group import Group
from isthmus.weights.attached.decoding.items import DeviceItem, has_kernels
from isthmus.weights.attached.tensors.nodes import Held, aten
from isthmus.weights.attached.tensors.operations import SPECIAL, held_matrix
from isthmus.weights.attached.tensors.reading import Reading
from isthmus.weights.attached.tensors.tensor import CompressedTensor

T = TypeVar("T")
FEWER = 2  # a GPU takes a unit for each row; all of them at once are decoded faster


def _embedding(reading: Reading, args: Any, kwargs: Any) -> Tensor | None:
    """Rows of a table: of a bf16 one on a GPU as the kernel gathers them, on the CPU from the pieces they lie in."""
    weight, ids, *rest = args
    node = weight.node if isinstance(weight, CompressedTensor) else None
    if not isinstance(node, Held) or not isinstance(node.group, Group) or isinstance(ids, CompressedTensor):
        return None
    if not node.group.by_rows or weight.numel() == 0 or weight.device != ids.device:
        return None
    rows, width = weight.shape
    if ids.is_cuda:
        found = _weight(node.group, node.number, _as_it_is)
        if found is None or FEWER * ids.numel() * (width + UNIT) > rows * width:
            return None
        return gather_bf16(*found, ids, width)
    # Torch refuses ids that are no rows.
    asked = sorted({row for row in ids.reshape(-1).tolist() if 0 <= row < rows})
    parts = [slice(row * width, (row + 1) * width) for row in asked]
    found_rows = aten.embedding.default(reading.value(node, weight.device, parts), ids, *rest, **kwargs)
    return reading.own(found_rows)  # type: ignore[no-any-return]


def _mm(reading: Reading, args: Any, kwargs: Any) -> Tensor | None:
    return _product(args[0], args[1], None) if not kwargs else None


def _addmm(reading: Reading, args: Any, kwargs: Any) -> Tensor | None:
    return _product(args[1], args[2], args[0]) if not kwargs else None


def _product(x: Any, weight: Any, bias: Any = None) -> Tensor | None:
    """x times the transpose of a weight that stays compressed."""
    held = held_matrix(weight.node) if isinstance(weight, CompressedTensor) else None
    if held is None or not isinstance(held.group, Group) or not held.group.fused or not x.is_cuda:
        return None
    columns = weight.shape[0]
    if isinstance(x, CompressedTensor) or x.dtype != torch.bfloat16 or not 0 < x.numel() <= MOST * columns:
        return None
    if isinstance(bias, CompressedTensor) or (bias is not None and bias.dim() != 1) or x.device != weight.device:
        return None
    found = _weight(held.group, held.number, Matrix)
    return None if found is None else found.times(x, bias)


def _as_it_is(streams: HuffmanStreams, rest: Tensor, columns: int) -> tuple[HuffmanStreams, Tensor]:
    return streams, rest


def _weight(group: Group, number: int, make: Callable[[HuffmanStreams, Tensor, int], T]) -> T | None:
    """A bf16 weight on a device that has kernels for it, `make` of its streams, its signs with mantissas, its width."""
    group.settle()
    kept: Any = group.kept
    if kept is None or kept[0] is not group.items:
        kept = group.kept = (group.items, {})
    if (number, make) not in kept[1]:
        found = _find(group, number)
        kept[1][number, make] = None if found is None else make(*found, group.params[number].shape[1])
    return kept[1][number, make]  # type: ignore[no-any-return]


def _find(group: Group, number: int) -> tuple[HuffmanStreams, Tensor] | None:
    """It may be a part of what is decoded together."""
    for item, names in zip(group.items, group.names, strict=True):
        if not isinstance(item, DeviceItem) or item.dtype != torch.bfloat16 or not has_kernels(item.streams.device):
            continue
        for begin, count, stored in zip(item.offsets, item.counts, names, strict=True):
            if stored is group.wanted[number] and begin % CHUNK == 0:
                part = item.streams.part(range(begin // CHUNK, -(-(begin + count) // CHUNK)))
                return replace(part, count=count), item.planes[0][begin : begin + count]
    return None


SPECIAL |= {
    aten.embedding.default: _embedding,
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
}
