# SPDX-License-Identifier: Apache-2.0
"""Convolutional heads over a grid of latents, in the shape of ConvNeXt (Liu et al., arXiv 2201.03545)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.models.heads.stem import LatentInput, Stem, conv, heard, kept, pooled


@dataclass(frozen=True)
class ConvNextConfig:
    """widths, depths: features and blocks of each stage; the grid is halved between stages. drop: share of blocks that
    are left out for a sample while training, at the last block (stochastic depth). patch, fine: of the `Stem`."""

    widths: tuple[int, ...] = (96, 192, 320)
    depths: tuple[int, ...] = (3, 5, 3)
    kernel: int = 7
    expansion: int = 3
    drop: float = 0.1
    patch: int = 1
    fine: float = 1.0


class Norm(nn.Module):
    """Layer normalisation over channels of [n, width, *grid]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(1, -1)
        return nn.functional.layer_norm(moved, self.weight.shape, self.weight, self.bias).movedim(-1, 1)


class ConvNextBlock(nn.Module):
    """x + scale * MLP(norm(depthwise(x))), left out for a share `drop` of samples while training."""

    def __init__(self, width: int, config: ConvNextConfig, axes: int, drop: float) -> None:
        super().__init__()
        k = config.kernel
        self.spatial = conv(axes)(width, width, k, padding=k // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width * config.expansion)
        self.project = nn.Linear(width * config.expansion, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.spatial(x).movedim(1, -1))  # [n, *grid, width]
        h = self.project(nn.functional.gelu(self.expand(h))) * self.scale
        if self.training and self.drop:
            h = kept(h, self.drop)
        return x + h.movedim(-1, 1)


class ConvNextTrunk(nn.Module):
    """Stages of features, the finest first."""

    def __init__(self, about: LatentInput, config: ConvNextConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(about, config.widths[0], config.patch, config.fine)
        count, done = sum(config.depths), 0
        self.halves, self.stages = nn.ModuleList(), nn.ModuleList()
        for place, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            before = config.widths[max(0, place - 1)]
            half = nn.Sequential(Norm(before), conv(about.axes)(before, width, 3, 2, 1)) if place else Norm(before)
            drops = [config.drop * (done + i) / max(1, count - 1) for i in range(depth)]
            self.halves.append(half)
            self.stages.append(nn.ModuleList(ConvNextBlock(width, config, about.axes, drop) for drop in drops))
            done += depth

    def forward(self, y: Tensor, mask: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Dequantized latents [n, c, *grid] to features of each stage, and the mask of the last."""
        x, mask, found = self.stem(y, mask), self.stem.coarse(mask), []
        for place, (half, stage) in enumerate(zip(self.halves, self.stages, strict=True)):
            x = half(x)
            if mask is not None and place:  # as a convolution of width 3 and stride 2 has its centres
                mask = mask[(slice(None), *(slice(None, None, 2),) * (mask.ndim - 1))]
            for block in [nn.Identity(), *stage]:  # type: ignore[misc]
                x = block(x) if mask is None else block(x) * mask[:, None]  # zeros beyond it, as beyond a border
            found.append(x)
        return found, mask


class ConvNextClassifier(nn.Module):
    """Logits of latents of images or sound."""

    def __init__(self, about: LatentInput, classes: int, config: ConvNextConfig) -> None:
        super().__init__()
        self.trunk, self.pool = ConvNextTrunk(about, config), heard if about.axes == 1 else pooled
        self.norm = nn.LayerNorm(config.widths[-1])
        self.output = nn.Linear(config.widths[-1], classes)

    def features(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """[n, width] of latents [n, c, *grid]: what the last layer reads."""
        stages, left = self.trunk(y, mask)
        return self.norm(self.pool(stages[-1], left))  # type: ignore[no-any-return]

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, c, *grid], dequantized; mask bool [n, *grid] where it is no padding. Logits [n, classes]."""
        return self.output(self.features(y, mask))  # type: ignore[no-any-return]
