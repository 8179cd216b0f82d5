# SPDX-License-Identifier: Apache-2.0
"""Noise in place of what a codec of sound has lost: groups of bands as wide as the ear tells apart."""

import torch
from torch import Tensor

WIDER = 24  # bands after which groups get one band wider


def noise_widths(bands: int) -> list[int]:
    """How many bands each group of one channel has, from the lowest on."""
    widths: list[int] = []
    first = 0
    while first < bands:
        widths.append(min(bands - first, 1 + first // WIDER))
        first += widths[-1]
    return widths


def group_means(x: Tensor, channels: int) -> Tensor:
    """Means over each group of [B, channels * bands, T]: [B, channels * groups, T]."""
    parts = x.unflatten(1, (channels, -1))  # type: ignore[no-untyped-call]
    return torch.stack([part.mean(2) for part in parts.split(noise_widths(parts.shape[2]), 2)], 2).flatten(1, 2)


def spread_groups(x: Tensor, channels: int, bands: int) -> Tensor:
    """Each group's value in all its bands: [B, channels * groups, T] to [B, channels * bands, T]."""
    widths = torch.tensor(noise_widths(bands), device=x.device)
    parts = x.unflatten(1, (channels, -1))  # type: ignore[no-untyped-call]
    return parts.repeat_interleave(widths, 2).flatten(1, 2)
