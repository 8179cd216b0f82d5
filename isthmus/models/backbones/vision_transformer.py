# SPDX-License-Identifier: Apache-2.0
"""A vision transformer of torchvision, run so that its patches are one step: there latents can take their place."""

from typing import Any

import torch
from torch import Tensor, nn


class OneSize(nn.Module):
    """Pixels as they are. Raises ValueError for another size than a network's only one."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != (self.side, self.side):
            raise ValueError(
                f"backbone: got {x.shape[3]}x{x.shape[2]} pixels, this one takes {self.side}x{self.side} only"
            )
        return x


class PatchedTransformer(nn.Module):
    """Logits of pixels at the one size of the model; `patches` gives [n, width, h/16, w/16]. The weights are shared."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.size = OneSize(model.image_size)
        self.patches, self.class_token = model.conv_proj, model.class_token
        self.encoder, self.heads = model.encoder, model.heads

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(self.size(x)).flatten(2).transpose(1, 2)  # [n, places, width]
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        return self.heads(self.encoder(torch.cat([first, tokens], 1))[:, 0])  # type: ignore[no-any-return]
