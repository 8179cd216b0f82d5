# SPDX-License-Identifier: Apache-2.0
"""WaLLoC image autoencoder: wavelet packets, one linear layer in, a convolutional residual network out.

After Jacobellis, Cummings and Yadwadkar, "Learned Compression for Compressed Learning" (arXiv 2412.09405): the analysis
is linear and cheap, the synthesis may be deep. Ours differs in three things: a gain per channel and quality makes one
model serve a whole range of rates, the synthesis is fully convolutional (no attention, so its cost is linear in
pixels), and the network adds to a linear synthesis that works alone.

    x --packet transform--> bands --analysis, gain, round--> q       (the latent)
    q --inverse gain--> y --linear synthesis + network--> bands --inverse transform--> x
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.levels import lerp_levels

ROUNDING_OFFSET = 0.45  # dead zone: |y| below 0.55 becomes 0; 3.8 % BD-rate better than 0.5 on photographs


@dataclass(frozen=True)
class WallocConfig:
    """Everything that shapes the networks; stored beside the weights."""

    latent_channels: int = 48
    signal_channels: int = 3
    levels: int = 3  # packet transform levels: 2**levels pixels a latent position and axis
    width: int = 192
    blocks: int = 12
    kernel: int = 5
    expansion: int = 2
    gain_levels: int = 8  # trained points on the quality scale; between two of them log gains are interpolated

    @property
    def bands(self) -> int:
        return self.signal_channels * 4**self.levels

    @property
    def factor(self) -> int:
        """Pixels a latent position and axis."""
        return 1 << self.levels


def quantize(y: Tensor) -> Tensor:
    """Uniform quantizer with a dead zone, sign(y) floor(|y| + 0.45), with a straight-through gradient."""
    q = torch.sign(y) * torch.floor(y.abs() + ROUNDING_OFFSET)
    return y + (q - y).detach()


class Block(nn.Module):
    """Residual block at latent resolution: depthwise spatial filter, then a pointwise perceptron (ConvNeXt's shape)."""

    def __init__(self, config: WallocConfig) -> None:
        super().__init__()
        d = config.width
        self.spatial = nn.Conv2d(d, d, config.kernel, padding=config.kernel // 2, groups=d)
        self.expand = nn.Conv2d(d, d * config.expansion, 1)
        self.project = nn.Conv2d(d * config.expansion, d, 1)
        self.scale = nn.Parameter(torch.ones(config.gain_levels, d))  # FiLM by quality
        self.shift = nn.Parameter(torch.zeros(config.gain_levels, d))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, shift = lerp_levels(self.scale, level), lerp_levels(self.shift, level)  # [B, d]
        if len(level) == 1:  # a pass over the activations less where all items share a level
            weight = self.spatial.weight * scale[0][:, None, None, None]
            bias = self.spatial.bias * scale[0] + shift[0]  # type: ignore[operator]
            h = F.conv2d(x, weight, bias, padding=self.spatial.padding, groups=len(weight))  # type: ignore[arg-type]
        else:
            h = self.spatial(x) * scale[..., None, None] + shift[..., None, None]  # [B, d, h, w]
        # As matrix products over channels: on a CPU a third faster than 1x1 convolutions.
        h = h.permute(0, 2, 3, 1)  # [B, h, w, d]
        h = F.linear(h, self.expand.weight[..., 0, 0], self.expand.bias)  # [B, h, w, 2d]
        alone = not torch.is_grad_enabled()  # nobody else looks at h again
        h = F.hardswish(h, inplace=alone)
        h = F.linear(h, self.project.weight[..., 0, 0], self.project.bias).permute(0, 3, 1, 2)
        return h.add_(x) if alone else x + h


class ResidualNetwork(nn.Module):
    """Predicts what the linear synthesis misses, from dequantized latents; its last layer begins at zero."""

    def __init__(self, config: WallocConfig) -> None:
        super().__init__()
        d = config.width
        self.embed = nn.Conv2d(config.latent_channels, d, 3, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.output = nn.Conv2d(d, config.bands, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]
        if self.output.weight.is_meta:  # nothing to fill in, and drawing nothing takes torch 1.5 s of imports
            return
        for block in self.blocks:
            nn.init.normal_(block.project.weight, std=0.02)  # type: ignore[union-attr, arg-type]

    def forward(self, t: Tensor, level: Tensor) -> Tensor:
        """`t`: latents over their standard deviation [B, c, h, w]; returns bands [B, bands, h, w]."""
        x = self.embed(t / (1 + 0.3 * t.abs()))  # compress the range: latents are heavy-tailed
        for block in self.blocks:
            x = block(x, level)
        return self.output(x)

    def matrices(self) -> list[list[nn.Parameter]]:
        """The weights of the pointwise layers inside the blocks, those of one shape together."""
        return [[getattr(b, name).weight for b in self.blocks] for name in ("expand", "project")] if self.blocks else []

    @staticmethod
    def reach(config: WallocConfig) -> int:
        """Latent positions that an output depends on to each side: a tile needs this halo to equal the whole."""
        return 1 + config.blocks * (config.kernel // 2)


class Walloc(nn.Module):
    """The autoencoder between packet bands and latents. Levels are real numbers in 0..gain_levels-1, one an item."""

    def __init__(self, config: WallocConfig) -> None:
        super().__init__()
        self.config = config
        c, n, levels = config.latent_channels, config.bands, config.gain_levels
        self.analysis = nn.Linear(n, c)
        self.synthesis = nn.Linear(c, n)
        self.log_gain = nn.Parameter(torch.zeros(levels, c))
        self.log_step = nn.Parameter(torch.zeros(levels, c))  # inverse gain, learned on its own
        self.register_buffer("deviation", torch.ones(c))  # of the latents before the gain
        self.network = ResidualNetwork(config)

    def analyze(self, bands: Tensor, level: Tensor) -> Tensor:
        """Bands [B, n, h, w] to scaled latents [B, c, h, w], still real numbers; `quantize` makes them integers."""
        y = F.conv2d(bands, self.analysis.weight[..., None, None], self.analysis.bias)
        return y * lerp_levels(self.log_gain, level).exp()[..., None, None]

    def dequantize(self, q: Tensor, level: Tensor) -> Tensor:
        """Quantized latents [B, c, h, w] to the scale of the analysis."""
        return q * lerp_levels(self.log_step, level).exp()[..., None, None]

    def synthesize_linear(self, y: Tensor) -> Tensor:
        """The linear path alone: dequantized latents [B, c, h, w] to bands [B, n, h, w]."""
        return F.conv2d(y, self.synthesis.weight[..., None, None], self.synthesis.bias)

    def synthesize(self, y: Tensor, level: Tensor) -> Tensor:
        """Dequantized latents [B, c, h, w] to bands [B, n, h, w]: linear path plus network."""
        t = y / self.deviation[:, None, None]  # type: ignore[index]
        return self.synthesize_linear(y) + self.network(t, level)
