# SPDX-License-Identifier: Apache-2.0
"""One model over a range of qualities: tables of trained levels, and what lies between two of them."""

import torch
from torch import Tensor


def lerp_levels(table: Tensor, level: Tensor) -> Tensor:
    """Rows of `table` [L, ...] at the real-valued levels `level` [B] in 0..L-1, linearly interpolated: [B, ...]."""
    low = level.floor().clamp(0, table.shape[0] - 2).long()
    fraction = (level - low).view(-1, *[1] * (table.ndim - 1))
    return torch.lerp(table[low], table[low + 1], fraction)


def quality_to_level(quality: float, gain_levels: int) -> float:
    """The place of quality 1..100 on the gain scale 0..gain_levels-1; linear, so log gain is linear in quality."""
    return (quality - 1) / 99 * (gain_levels - 1)
