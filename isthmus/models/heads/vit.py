# SPDX-License-Identifier: Apache-2.0
"""Transformer heads over a grid of latents (ViT, Dosovitskiy et al., arXiv 2010.11929), for any size of the grid."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.heads.stem import LatentInput, Stem, kept, pooled, seen_of


@dataclass(frozen=True)
class VitConfig:
    """width must be a multiple of heads. patch: cells along each axis that are one token."""

    width: int = 256
    depth: int = 8
    heads: int = 4
    expansion: int = 4
    drop: float = 0.1
    patch: int = 2


def positions(grid: tuple[int, ...], width: int, device: torch.device) -> Tensor:
    """Sines and cosines of places along each axis [tokens, width], so that other grids than in training have them."""
    share = width // len(grid) // 2
    rates = torch.exp(-torch.arange(share, device=device) / share * 6.9)  # periods of 6 to 6000 tokens
    parts = []
    for axis, length in enumerate(grid):
        angle = torch.arange(length, device=device)[:, None] * rates
        shape = [1] * len(grid) + [2 * share]
        shape[axis] = length
        parts.append(torch.cat([angle.sin(), angle.cos()], 1).reshape(shape).expand(*grid, 2 * share))
    made = torch.cat(parts, -1).reshape(-1, 2 * share * len(grid))
    return F.pad(made, (0, width - made.shape[1]))


class VitBlock(nn.Module):
    """Attention, then a perceptron, each behind a normalisation."""

    def __init__(self, config: VitConfig, drop: float) -> None:
        super().__init__()
        d = config.width
        self.heads, self.drop = config.heads, drop
        self.norms = nn.ModuleList([nn.LayerNorm(d), nn.LayerNorm(d)])
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.expand, self.project = nn.Linear(d, d * config.expansion), nn.Linear(d * config.expansion, d)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """x [n, tokens, width]; seen: bool [n, 1, 1, tokens], those that are no padding."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2).flatten(2)
        x = x + self._kept(self.out(h))
        h = self.project(F.gelu(self.expand(self.norms[1](x))))
        return x + self._kept(h)

    def _kept(self, h: Tensor) -> Tensor:
        return kept(h, self.drop) if self.training and self.drop else h


class VitClassifier(nn.Module):
    """Logits of latents of images or sound."""

    def __init__(self, about: LatentInput, classes: int, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(about, config.width, config.patch)
        drops = [config.drop * i / max(1, config.depth - 1) for i in range(config.depth)]
        self.blocks = nn.ModuleList(VitBlock(config, drop) for drop in drops)
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, classes)

    def features(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """[n, width] of latents [n, c, *grid]: what the last layer reads."""
        x, mask = self.stem(y, mask), self.stem.coarse(mask)
        place = positions(tuple(x.shape[2:]), self.config.width, x.device).to(x.dtype)
        x = x.flatten(2).transpose(1, 2) + place  # [n, tokens, width]
        mask = None if mask is None else mask.flatten(1)
        seen = seen_of(mask)
        for block in self.blocks:
            x = block(x, seen)
        return pooled(self.norm(x).transpose(1, 2), mask)

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, c, *grid], dequantized; mask bool [n, *grid] where it is no padding. Logits [n, classes]."""
        return self.output(self.features(y, mask))  # type: ignore[no-any-return]
