# SPDX-License-Identifier: Apache-2.0
"""What a device computes of a picture, as modules that torch.export and ONNX take: pixels and a quality to symbols."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus.codecs.bottlefit.codec import BottlefitCodec
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.kernels.wavelet import torch_image
from isthmus.models.bottleneck import FACTOR
from isthmus.models.bottleneck.head import mirrored
from isthmus.models.walloc.image import ROUNDING_OFFSET

QUALITIES = 100


class SmallNetwork(nn.Module):
    """The head of a bottlefit: uint8 [n, 3, h, w] and a quality, int64 [], to int16 [n, c, ceil(h/8), ceil(w/8)]."""

    def __init__(self, codec: BottlefitCodec) -> None:
        super().__init__()
        self.head = codec.weights.head

    def forward(self, pixels: Tensor, quality: Tensor) -> Tensor:
        return self.head.symbols_of(mirrored(pixels), quality).to(torch.int16)


class LinearAnalysis(nn.Module):
    """The analysis of a `walloc` codec, the same way: additions and multiplications in the order of the format."""

    gains: Tensor

    def __init__(self, codec: WallocImageCodec) -> None:
        super().__init__()
        self.linear = codec.weights.linear
        gains = torch.stack([torch.from_numpy(self.linear.gain(quality + 1)) for quality in range(QUALITIES)])
        self.register_buffer("gains", gains)

    def forward(self, pixels: Tensor, quality: Tensor) -> Tensor:
        linear = self.linear
        return torch_image.analyze_cells(
            mirrored(pixels), linear.analysis_weight, linear.analysis_bias, self.gains[quality - 1], ROUNDING_OFFSET,
            linear.config.levels,
        )  # fmt: skip


def head_of(codec: Any) -> nn.Module:
    """Raises ValueError for a codec whose head is neither."""
    if isinstance(codec, BottlefitCodec):
        return SmallNetwork(codec).eval()
    if isinstance(codec, WallocImageCodec) and codec.weights.config.factor == FACTOR:
        return LinearAnalysis(codec).eval()
    raise ValueError(f"{codec.name}: heads are exported of bottlefit and of walloc-image-f8 codecs")
