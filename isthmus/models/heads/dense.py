# SPDX-License-Identifier: Apache-2.0
"""A value for every place of the image: segmentation, colourisation, depth."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.heads.convnext import ConvNextConfig, ConvNextTrunk, Norm
from isthmus.models.heads.stem import LatentInput


@dataclass(frozen=True)
class DenseConfig:
    """width: of the features that all stages are brought to."""

    trunk: ConvNextConfig = field(default_factory=lambda: ConvNextConfig(drop=0.0))
    width: int = 96


class DenseHead(nn.Module):
    """Features of all stages, brought to the finest grid and added (Kirillov et al., arXiv 1901.02446).

    What they come to is added to the floor: a fixed linear map of a cell and its eight neighbours (bands of one place
    lie half a cell apart), which is all that a new head is.
    """

    floor_weight: Tensor
    floor_bias: Tensor

    def __init__(self, about: LatentInput, outputs: int, config: DenseConfig) -> None:
        super().__init__()
        if about.axes != 2 or config.trunk.patch != 1:
            raise ValueError(f"dense head: {about.axes} axes, patch {config.trunk.patch}; expected images, and patch 1")
        self.outputs, self.cell = outputs, about.cell
        self.trunk = ConvNextTrunk(about, config.trunk)
        self.sides = nn.ModuleList(nn.Sequential(Norm(w), nn.Conv2d(w, config.width, 1)) for w in config.trunk.widths)
        self.smooth = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.output = nn.Conv2d(config.width, outputs * about.cell**2, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]
        self.register_buffer("floor_weight", torch.zeros(outputs * about.cell**2, about.channels, 3, 3))
        self.register_buffer("floor_bias", torch.zeros(outputs * about.cell**2))

    def floor(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `forward`, what the fixed linear map of channels of mean 0 and deviation 1 says."""
        return F.pixel_shuffle(self._floor(y, mask), self.cell)

    def _floor(self, y: Tensor, mask: Tensor | None) -> Tensor:
        stem = self.trunk.stem
        x: Tensor = (y - stem.mean) * stem.scale  # type: ignore[operator]
        x = x if mask is None else x * mask[:, None]
        return F.conv2d(x, self.floor_weight, self.floor_bias, padding=1)

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, c, h, w], dequantized, and where it is not padding [n, h, w], to logits or values of every pixel,
        [n, outputs, h * cell, w * cell]."""
        stages, _ = self.trunk(y, mask)
        grid = y.shape[2:]
        x = sum(
            F.interpolate(side(stage), size=grid, mode="bilinear", align_corners=False)
            for side, stage in zip(self.sides, stages, strict=True)
        )
        return F.pixel_shuffle(self.output(F.gelu(self.smooth(x))) + self._floor(y, mask), self.cell)
