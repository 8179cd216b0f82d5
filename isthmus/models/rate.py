# SPDX-License-Identifier: Apache-2.0
"""The rate term of training: bits of quantized latents under a mixture of logistics per channel and quality level.

Training only. The bytes are made with integer tables counted afterwards (`training.walloc.tables`), so nothing here
need be reproducible between machines.
"""

import math

import torch
from torch import Tensor, nn

from isthmus.models.levels import lerp_levels

SMALLEST_PROBABILITY = 1e-9


class LogisticMixture(nn.Module):
    """`components` logistics per gain level and channel; parameters between two levels are interpolated."""

    def __init__(self, gain_levels: int, channels: int, components: int = 3) -> None:
        super().__init__()
        shape = (gain_levels, channels, components)
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(torch.zeros(shape))
        self.log_scales = nn.Parameter(torch.linspace(-0.7, 1.5, components).expand(shape).clone())

    @torch.no_grad()
    def initialize(self, deviation: Tensor) -> None:
        """Fits the scales to latents whose standard deviation is `deviation` [levels, channels]."""
        spread = torch.linspace(-1.2, 0.6, self.log_scales.shape[-1], device=deviation.device)
        logistic = deviation.clamp_min(0.1) * math.sqrt(3) / math.pi
        self.log_scales.copy_(logistic.log()[..., None] + spread)

    def forward(self, q: Tensor, level: Tensor) -> Tensor:
        """Bits of each latent `q` [B, c, h, w], integers or integers with uniform noise: [B, c, h, w]."""
        weights = lerp_levels(self.logits, level).softmax(-1)[..., None, None, :]  # [B, c, 1, 1, k]
        means = lerp_levels(self.means, level)[..., None, None, :]
        inverse = torch.exp(-lerp_levels(self.log_scales, level).clamp(-4, 8))[..., None, None, :]
        # By symmetry evaluate on the side where both sigmoids are small: no cancellation in the tails.
        centred = -(q[..., None] - means).abs()
        mass = torch.sigmoid((centred + 0.5) * inverse) - torch.sigmoid((centred - 0.5) * inverse)
        return -torch.log2((weights * mass).sum(-1).clamp_min(SMALLEST_PROBABILITY))
