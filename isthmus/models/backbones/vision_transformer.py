# SPDX-License-Identifier: Apache-2.0
"""A vision transformer of torchvision, run so that its patches are one step: there latents can take their place."""

from typing import Any

import torch
from torch import Tensor, nn


class PatchedTransformer(nn.Module):
    """Logits of pixels at the one size of the model; `patches` gives [n, width, h/16, w/16]. The weights are shared."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.patches, self.class_token = model.conv_proj, model.class_token
        self.encoder, self.heads = model.encoder, model.heads

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)  # [n, places, width]
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        return self.heads(self.encoder(torch.cat([first, tokens], 1))[:, 0])  # type: ignore[no-any-return]
