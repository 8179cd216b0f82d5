# SPDX-License-Identifier: Apache-2.0
"""Latents of pixels while a student trains: as the codec makes them, at qualities of all its range."""

from typing import Any

import torch
from torch import Tensor

from isthmus.codecs.base import Latent
from isthmus.models.heads import LatentInput

GROUPS = 4  # of a batch, each at a quality of its own
LOWER = 1.5  # exponent that makes lower qualities likelier
MEASURED = 256  # views that means and deviations are of


def analyzed(codec: Any, pixels: Tensor, quality: int) -> Tensor:
    """uint8 [n, 3, h, w] to dequantized latents, float32 [n, c, h/f, w/f], where the pixels are."""
    found = codec.analyze(pixels, quality=quality)
    spec = found.latents[0].spec
    stacked = codec.dequantize(Latent({"y": found.planes["y"]}, spec, codec))
    y: Tensor = stacked["y"]
    return y.to(pixels.device)


def at_random_qualities(codec: Any, pixels: Tensor, low: int, high: int) -> Tensor:
    """As `analyzed`, of groups at qualities drawn from torch's generator."""
    parts = []
    for group in pixels.chunk(GROUPS):
        quality = low + int((high - low + 1) * float(torch.rand(())) ** LOWER)
        parts.append(analyzed(codec, group, min(quality, high)))
    return torch.cat(parts)


def measured(codec: Any, pixels: Tensor, low: int, high: int) -> LatentInput:
    """What a head reads: means and deviations of latents of pixels, uint8 [n, 3, h, w], over the range of qualities."""
    y = at_random_qualities(codec, pixels[:MEASURED], low, high).transpose(0, 1).flatten(1)
    return LatentInput(len(y), 2, tuple(y.mean(1).tolist()), tuple(y.std(1).clamp_min(1e-6).tolist()), codec.cell)
