# SPDX-License-Identifier: Apache-2.0
"""Latents into the middle of a network that was trained on pixels.

A pretrained backbone has, at some module, features on a grid like that of the latents (f8 at 224 pixels: 28x28,
ResNet's layer2, EfficientNet's stage of stride 8). An adapter makes such features of latents; what runs behind that
module stays. It is trained to give the features that pixels give (distillation, no labels), then with all that follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.backbones import Backbone, Place
from isthmus.models.cut import cut
from isthmus.models.heads.convnext import ConvNextBlock, ConvNextConfig
from isthmus.models.heads.stem import LatentInput, Stem


@dataclass(frozen=True)
class AdapterConfig:
    """channels: of the features; scale: their grid over that of the latents, a power of two from 1/4 to 4."""

    channels: int
    scale: float = 1.0
    width: int = 192
    blocks: int = 6
    kernel: int = 5


class LatentAdapter(nn.Module):
    """Features [n, channels, h scale, w scale] of dequantized latents [n, c, h, w]."""

    def __init__(self, about: LatentInput, config: AdapterConfig) -> None:
        super().__init__()
        if about.axes != 2 or config.scale not in (0.25, 0.5, 1, 2, 4):
            raise ValueError(f"adapter: {about.axes} axes, scale {config.scale}; expected images, and 1/4 to 4")
        self.scale, d = config.scale, config.width
        shape = ConvNextConfig((d,), (config.blocks,), config.kernel)
        self.stem = Stem(about, d)
        self.blocks = nn.Sequential(*(ConvNextBlock(d, shape, 2, 0.0) for _ in range(config.blocks)))
        halvings = max(0, -int(log2(config.scale)))
        self.down = nn.Sequential(*(nn.Conv2d(d, d, 3, 2, 1) for _ in range(halvings)))
        self.up = max(1, int(config.scale))
        self.output = nn.Conv2d(d, config.channels * self.up**2, 1)

    def forward(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(self.output(self.down(self.blocks(self.stem(y)))), self.up)


def grid_of(place: Place, cell: int) -> int | None:
    """Cells along each side of the only latents that a backbone takes; None where it takes any."""
    return None if place.pixels is None else place.pixels // cell


def check_grid(where: str, side: int | None, grid: tuple[int, ...]) -> None:
    """Raises ValueError for latents of another grid than that, side x side cells."""
    if side is not None and grid != (side, side):
        raise ValueError(
            f"{where}: latents of {'x'.join(str(n) for n in grid)} cells, this backbone takes {side}x{side} only: "
            "transcode with --resize and --crop to that size (vit-b-16: --resize 256 --crop 224), or choose another"
        )


class AdaptedBackbone(nn.Module):
    """A backbone whose first half is an adapter: latents in, what the backbone gives out.

    Weights behind the place where latents enter are the backbone's own, shared with it; `teacher` is its first half,
    which makes of pixels what the adapter learns to make of latents. config: None fits the backbone. keep: as of
    `cut`. Raises ValueError, as `cut`, and for grids that do not fit each other.
    """

    def __init__(
        self, backbone: Backbone, about: LatentInput, config: AdapterConfig | None = None, keep: Sequence[str] = ()
    ) -> None:
        super().__init__()
        teacher, self.tail = cut(backbone, backbone.at, keep)
        self._teacher = [teacher]  # no part of this model
        place = backbone.place
        self.grid = grid_of(place, about.cell)
        self.adapter = LatentAdapter(about, config or AdapterConfig(place.channels, about.cell / place.stride))

    @property
    def teacher(self) -> nn.Module:
        """Pixels, as the backbone takes them, to features."""
        return self._teacher[0]

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, c, h, w], dequantized, to logits [n, classes]. Raises ValueError for a mask, and for
        another grid than that of a backbone that takes one size of images only."""
        if mask is not None:
            raise ValueError(
                "adapter: backbones have no masks, and samples of several sizes need them: transcode with --crop 224"
            )
        check_grid("adapter", self.grid, tuple(y.shape[2:]))
        return self.tail(self.adapter(y))  # type: ignore[no-any-return]
