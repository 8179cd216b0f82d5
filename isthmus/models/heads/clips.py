# SPDX-License-Identifier: Apache-2.0
"""Clips: a head for single frames, and attention over what it sees in each."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from isthmus.models.heads.convnext import ConvNextClassifier, ConvNextConfig
from isthmus.models.heads.stem import LatentInput, pooled, seen_of
from isthmus.models.heads.vit import VitBlock, VitConfig, positions


@dataclass(frozen=True)
class ClipConfig:
    """frames: the head of each frame; depth: blocks over time."""

    frames: ConvNextConfig = field(default_factory=ConvNextConfig)
    depth: int = 2
    heads: int = 4


class ClipClassifier(nn.Module):
    """Logits of clips of latents."""

    def __init__(self, about: LatentInput, classes: int, config: ClipConfig) -> None:
        super().__init__()
        self.frames = ConvNextClassifier(about, 1, config.frames)
        self.frames.output = nn.Identity()  # type: ignore[assignment]
        self.width = config.frames.widths[-1]
        over_time = VitConfig(self.width, config.depth, config.heads)
        self.blocks = nn.ModuleList(VitBlock(over_time, 0.0) for _ in range(config.depth))
        self.norm, self.output = nn.LayerNorm(self.width), nn.Linear(self.width, classes)

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, t, c, h, w], dequantized; mask bool [n, t] of frames that are no padding. Logits [n, classes].

        Raises ValueError for other shapes.
        """
        if y.ndim < 4 or not y.shape[1]:
            raise ValueError(f"head: got latents {tuple(y.shape)}, expected clips [n, frames, c, h, w]")
        x = self.frames.features(y.flatten(0, 1)).reshape(*y.shape[:2], self.width)  # [n, t, width]
        x = x + positions((y.shape[1],), self.width, x.device).to(x.dtype)
        seen = seen_of(mask)
        for block in self.blocks:
            x = block(x, seen)
        return self.output(pooled(self.norm(x).transpose(1, 2), mask))  # type: ignore[no-any-return]
