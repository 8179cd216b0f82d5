# SPDX-License-Identifier: Apache-2.0
"""Named tensors without loss: bits per parameter, whether every bit is right, and speed."""

from typing import Any

import torch
from torch import Tensor

from isthmus.bench.medium import Measure, Medium
from isthmus.bench.peers.deflate import Deflate

Tensors = dict[str, Tensor]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def exact(original: Tensors, decoded: Tensors) -> float:
    """The share of bytes that are the original's: 1, or something is wrong."""
    if {k: (v.dtype, v.shape) for k, v in original.items()} != {k: (v.dtype, v.shape) for k, v in decoded.items()}:
        return 0.0
    same = sum(int((_bytes(tensor) == _bytes(decoded[name])).sum()) for name, tensor in original.items())
    return same / max(1, sum(_bytes(tensor).numel() for tensor in original.values()))


def rate(size: int, tensors: Tensors, facts: dict[str, Any]) -> float:
    """Bits per parameter."""
    return 8 * size / max(1, sum(tensor.numel() for tensor in tensors.values()))


MEDIUM = Medium(
    kind="tensors",
    unit="bits per parameter",
    amount_unit="MB",
    measures={"exact": Measure(exact, "share of bytes that are right")},
    rate=rate,
    amount=lambda tensors: sum(_bytes(tensor).numel() for tensor in tensors.values()) / 1e6,
    size=lambda tensors: f"{len(tensors)} tensors",
    prepare=lambda tensors, facts: (tensors, facts),
    peers=lambda: ([Deflate()], []),
    anchor="",  # nothing is lost, so there is no rate at equal loss
)
