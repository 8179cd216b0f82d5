# SPDX-License-Identifier: Apache-2.0
"""The context model of latents in floats, for training: linear means and scales from neighbours, and their cost.

Training only: `isthmus.training.walloc.context` turns it into the integers that make the bytes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.kernels.context.sums import PASSES, available
from isthmus.models.levels import lerp_levels

LEAST = 0.02  # of a weighted sum of normalised residuals, before the logarithm
SHARES_OF_MEAN = 0.25  # worth of a mean's weights, in shares of a scale
LEAK = 0.01  # slope of the gradient below it
SMALLEST_PROBABILITY = 2.0**-16
LOWEST, HIGHEST = -4.5, 5.0  # log scale


class LinearContext(nn.Module):
    """For C channels at `knots` qualities and between them; `typical` [C], mean magnitudes, normalises what is seen.

    mean = typical (bias + own q + earlier q), log scale = offset + slope log(bias + own |e| + earlier |e|) +
    log typical, e = q - round(mean).
    """

    def __init__(self, typical: Tensor, knots: int) -> None:
        super().__init__()
        c = len(typical)
        self.register_buffer("typical", typical)
        self.register_buffer("own_mask", torch.from_numpy(available()).float().view(4, 1, 1, 5, 5))
        earlier = torch.ones(c, c).tril(-1)[..., None, None]
        self.register_buffer("mean_mask", earlier.clone())
        self.register_buffer("scale_mask", earlier)
        self.mean_own = nn.Parameter(torch.zeros(4, c, 1, 5, 5))
        self.mean_earlier = nn.Parameter(torch.zeros(4, c, c, 3, 3))
        self.mean_bias = nn.Parameter(torch.zeros(knots, 4, c))
        self.scale_own = nn.Parameter(torch.full((4, c, 1, 5, 5), 0.01))
        self.scale_earlier = nn.Parameter(torch.full((4, c, c, 3, 3), 0.01))
        self.scale_bias = nn.Parameter(torch.full((knots, 4, c), 0.1))
        self.offset = nn.Parameter(torch.zeros(knots, 4, c))
        self.slope = nn.Parameter(torch.ones(()))

    @torch.no_grad()
    def prune(self, pairs: int) -> None:
        """Keeps as many pairs of a channel and an earlier one as asked for, of means and scales together.

        Those that say most about a channel; each costs time for every position.
        """
        scale_mask, mean_mask = self.get_buffer("scale_mask"), self.get_buffer("mean_mask")
        mean = (self.mean_earlier.abs() * mean_mask).sum((0, 3, 4)) / 4  # [C, C], in units of the channel's magnitude
        scale = (self.scale_earlier.abs() * scale_mask).sum((0, 3, 4))
        share = scale / (scale.sum(1) + self.scale_own.abs().sum((0, 2, 3, 4)))[:, None]
        worth = torch.stack([mean * SHARES_OF_MEAN, share])
        least = worth.flatten().sort(descending=True).values[min(pairs, len(share) * (len(share) - 1))]
        mean_mask.mul_((worth[0] > least)[..., None, None])
        scale_mask.mul_((worth[1] > least)[..., None, None])

    def _sums(self, x: Tensor, name: str, level: Tensor) -> Tensor:
        """Weighted sums of x [B, C, h, w], h and w even: [B, C, h, w]."""
        own = getattr(self, f"{name}_own") * self.own_mask
        earlier = getattr(self, f"{name}_earlier") * getattr(self, f"{name}_mask")
        bias = lerp_levels(getattr(self, f"{name}_bias"), level)[..., None, None]  # [B, 4, C, 1, 1]
        wide = F.pad(x, (2, 2, 2, 2))
        out = torch.empty_like(x)
        for s, (row, column) in enumerate(PASSES):
            own_sums = F.conv2d(wide[:, :, row:, column:], own[s], stride=2, groups=x.shape[1])
            sums = F.conv2d(wide[:, :, row + 1 :, column + 1 :], earlier[s], stride=2)
            h, w = x[:, :, row::2, column::2].shape[2:]
            out[:, :, row::2, column::2] = own_sums[..., :h, :w] + sums[..., :h, :w] + bias[:, s]
        return out

    def forward(self, q: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, C, h, w], integers, h and w even, at levels [B], 0..knots - 1: mean and scale, same shape."""
        n = self.typical[:, None, None]  # type: ignore[index]
        mean = self._sums(q / n, "mean", level) * n
        residual = (q - mean.detach().round()).abs()
        a = self._sums(residual / n, "scale", level)
        least = a.clamp_min(LEAST)
        a = least + LEAK * ((a - least) - (a - least).detach())
        offsets = lerp_levels(self.offset, level)[..., None, None]
        offset = torch.empty_like(q)
        for s, (row, column) in enumerate(PASSES):
            offset[:, :, row::2, column::2] = offsets[:, s]
        log_scale = offset + self.slope * a.log() + n.log()
        return mean, log_scale.clamp(LOWEST, HIGHEST).exp()


class ScaleMixture(nn.Module):
    """Three logistics whose shares and widths are quadratic in the log scale, with a learned dead zone."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(3, 3))
        self.width = nn.Parameter(torch.tensor([[-0.7, 0.0, 0.8], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        self.dead_zone = nn.Parameter(torch.tensor([0.05, 0.0, 0.0]))

    def forward(self, q: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """Bits of each integer of q under (mean, scale), all of one shape."""
        t = scale.log()
        powers = torch.stack([torch.ones_like(t), t, 0.3 * t * t])
        share = torch.einsum("ik,i...->k...", self.share, powers).softmax(0)
        width = torch.einsum("ik,i...->k...", self.width, powers).clamp(-4, 4).exp() * scale
        edge = 0.5 + torch.einsum("i,i...->...", self.dead_zone, powers).clamp(-0.2, 0.3)
        high = torch.where(q == 0, edge, torch.where(q > 0, q + edge, q + 1 - edge))
        low = torch.where(q == 0, -edge, torch.where(q > 0, q - 1 + edge, q - edge))
        # By symmetry evaluate on the side where both sigmoids are small: no cancellation in the tails.
        side = torch.where((high + low) / 2 > mean, -1.0, 1.0)
        x, y = (high - mean) * side, (low - mean) * side
        mass = (torch.sigmoid(x / width) - torch.sigmoid(y / width)).abs()
        return -torch.log2((share * mass).sum(0).clamp_min(SMALLEST_PROBABILITY))
