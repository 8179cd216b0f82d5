# SPDX-License-Identifier: Apache-2.0
"""A value for every place of the image: segmentation, colourisation, depth."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.heads.convnext import ConvNextConfig, ConvNextTrunk, Norm
from isthmus.models.heads.stem import LatentInput


@dataclass(frozen=True)
class DenseConfig:
    """upscale: values along each axis of a cell; 8 gives one a pixel for codecs whose cells are 8x8."""

    trunk: ConvNextConfig = field(default_factory=lambda: ConvNextConfig(drop=0.0))
    width: int = 96
    upscale: int = 8


class DenseHead(nn.Module):
    """Features of all stages, brought to the finest grid and added (Kirillov et al., arXiv 1901.02446)."""

    def __init__(self, about: LatentInput, outputs: int, config: DenseConfig) -> None:
        super().__init__()
        if about.axes != 2 or config.trunk.patch != 1:
            raise ValueError(f"dense head: {about.axes} axes, patch {config.trunk.patch}; expected images, and patch 1")
        self.outputs, self.upscale = outputs, config.upscale
        self.trunk = ConvNextTrunk(about, config.trunk)
        self.sides = nn.ModuleList(nn.Sequential(Norm(w), nn.Conv2d(w, config.width, 1)) for w in config.trunk.widths)
        self.smooth = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.output = nn.Conv2d(config.width, outputs * config.upscale**2, 1)

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, c, h, w], dequantized, to [n, outputs, h * upscale, w * upscale]: logits or values."""
        stages, _ = self.trunk(y, mask)
        grid = y.shape[2:]
        x = sum(
            F.interpolate(side(stage), size=grid, mode="bilinear", align_corners=False)
            for side, stage in zip(self.sides, stages, strict=True)
        )
        return F.pixel_shuffle(self.output(F.gelu(self.smooth(x))), self.upscale)
