# SPDX-License-Identifier: Apache-2.0
"""WaLLoC autoencoder of sound: a filter bank, one linear layer in, a residual network out; all along time alone.

As the image model (`models.walloc.image`), with three differences that trials on sound asked for: the linear maps stay
the Karhunen-Loeve transform of the bands, so the network is all that is trained; the network adds in the whole KLT
basis, coded components and others, each in units of the error that the linear synthesis makes there; and a bank of 256
bands with 172 frames a second takes the place of 8x8 packets.

    x --bank--> bands --KLT, gain, round--> q --step--> y --linear synthesis + network--> bands --bank--> x

Samples are scaled to a peak of 0.5 (the codec keeps the factor), both channels of a pair together: n = 2 * 256 bands.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.filter_bank import FilterBank, filter_bank
from isthmus.models.levels import lerp_levels
from isthmus.models.walloc.noise import noise_widths

LEAST_OFFSET, MORE_OFFSET, HALF_WAY = 0.1, 0.4, 0.25  # of the rounding, by the mean magnitude around
NEAR = ((0, 0.5, 1, 0.5, 0), (0.5, 1, 2, 1, 0.5), (0.5, 1.5, 0, 1.5, 0.5), (0.5, 1, 2, 1, 0.5), (0, 0.5, 1, 0.5, 0))


@dataclass(frozen=True)
class WallocAudioConfig:
    """Everything that shapes the model; stored beside the weights. transform: a `filter_bank`; factor: its bands."""

    latent_channels: int = 108
    signal_channels: int = 2
    transform: str = "mdct"
    factor: int = 256
    width: int = 240
    blocks: int = 8
    kernel: int = 9
    expansion: int = 2
    gain_levels: int = 8

    @property
    def bands(self) -> int:
        """Of all channels together."""
        return self.signal_channels * self.factor

    @property
    def noise_groups(self) -> int:
        """Of a channel."""
        return len(noise_widths(self.factor))

    @property
    def bank(self) -> FilterBank:
        return filter_bank(self.transform, self.factor)


def quantize(y: Tensor) -> Tensor:
    """Uniform quantizer, sign(y) floor(|y| + offset), of latents [B, c, T] over their steps.

    Where all around is small a value costs most bits, so the dead zone is widest there. This stands for the codec's
    choice by the bits that its contexts say (4 % fewer at the same PSNR than an offset of 0.40; this 2 %).
    """
    near = torch.tensor(NEAR, device=y.device)
    wide = F.pad(y.abs()[:, None], (2, 2, 2, 2), mode="replicate")
    around = F.conv2d(wide, (near / near.sum())[None, None])[:, 0]
    offset = LEAST_OFFSET + MORE_OFFSET * around / (around + HALF_WAY)
    return torch.sign(y) * torch.floor(y.abs() + offset)


class Block(nn.Module):
    """Residual block along time: depthwise filter, FiLM by quality, pointwise perceptron; activations [B, T, d]."""

    def __init__(self, config: WallocAudioConfig) -> None:
        super().__init__()
        d, k = config.width, config.kernel
        self.filter = nn.Parameter(torch.empty(k, d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.expand = nn.Linear(d, d * config.expansion)
        self.project = nn.Linear(d * config.expansion, d)
        self.scale = nn.Parameter(torch.ones(config.gain_levels, d))
        self.shift = nn.Parameter(torch.zeros(config.gain_levels, d))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, shift = lerp_levels(self.scale, level)[:, None], lerp_levels(self.shift, level)[:, None]  # [B, 1, d]
        reach, frames = len(self.filter) // 2, x.shape[1]
        wide = F.pad(x, (0, 0, reach, reach))
        h = self.bias.expand_as(x)
        for i, taps in enumerate(self.filter):  # faster than depthwise convolutions, forwards and backwards
            h = h + wide[:, i : i + frames] * taps
        return x + self.project(F.hardswish(self.expand(h * scale + shift)))


class ResidualNetwork(nn.Module):
    """What the linear synthesis misses, in units of its errors; the last layer begins at zero."""

    def __init__(self, config: WallocAudioConfig) -> None:
        super().__init__()
        d = config.width
        self.embed = nn.Conv1d(2 * config.latent_channels, d, 3, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.output = nn.Linear(d, config.bands)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        if self.output.weight.is_meta:
            return
        for block in self.blocks:
            nn.init.normal_(block.filter, std=config.kernel**-0.5)  # type: ignore[arg-type]
            nn.init.normal_(block.project.weight, std=0.02)  # type: ignore[union-attr, arg-type]

    def forward(self, t: Tensor, q: Tensor, level: Tensor) -> Tensor:
        """t: latents over their deviation [B, c, T]; q: the integers; level [B]. Gives components [B, n, T]."""
        seen = torch.cat([t / (1 + 0.3 * t.abs()), torch.asinh(q)], 1)  # latents are heavy-tailed
        x = self.embed(seen).transpose(1, 2)
        for block in self.blocks:
            x = block(x, level)
        return self.output(x).transpose(1, 2)

    def matrices(self) -> list[list[nn.Parameter]]:
        """The weights of the pointwise layers inside the blocks, those of one shape together."""
        return [[getattr(b, name).weight for b in self.blocks] for name in ("expand", "project")] if self.blocks else []

    @staticmethod
    def reach(config: WallocAudioConfig) -> int:
        """Frames that an output depends on to each side."""
        return 1 + config.blocks * (config.kernel // 2)


class WallocAudio(nn.Module):
    """The autoencoder between bands and latents. Levels are real numbers in 0..gain_levels-1, one an item."""

    def __init__(self, config: WallocAudioConfig) -> None:
        super().__init__()
        self.config = config
        c, n, levels = config.latent_channels, config.bands, config.gain_levels
        self.analysis = nn.Linear(n, c, bias=False)
        self.synthesis = nn.Linear(c, n, bias=False)
        self.log_gain = nn.Parameter(torch.zeros(levels, c))
        self.log_step = nn.Parameter(torch.zeros(levels, c))  # inverse gain, times where values of a bin really lie
        self.register_buffer("deviation", torch.ones(c))  # of the latents before the gain
        self.register_buffer(
            "basis", torch.zeros(n, n)
        )  # eye is slow on the meta device  # whole KLT, a column a component
        self.register_buffer("spread", torch.ones(levels, n))  # root mean square error of each component
        self.network = ResidualNetwork(config)

    def analyze(self, bands: Tensor, level: Tensor) -> Tensor:
        """Bands [B, n, T] to scaled latents [B, c, T], still real numbers; `quantize` makes them integers."""
        return self.analysis.weight @ bands * lerp_levels(self.log_gain, level).exp()[..., None]

    def synthesize_linear(self, q: Tensor, level: Tensor) -> Tensor:
        """Quantized latents [B, c, T] to bands [B, n, T], without the network."""
        y = q * lerp_levels(self.log_step, level).exp()[..., None]
        return self.synthesis.weight @ y

    def residual(self, q: Tensor, level: Tensor) -> Tensor:
        """What the network adds to it: [B, n, T]."""
        t = q * (lerp_levels(self.log_step, level).exp() / self.deviation)[..., None]  # type: ignore[operator]
        spread = lerp_levels(self.spread, level)[..., None]  # type: ignore[arg-type]
        return self.basis @ (spread * self.network(t, q, level).float())  # type: ignore[operator]

    def synthesize(self, q: Tensor, level: Tensor) -> Tensor:
        """Quantized latents [B, c, T] to bands [B, n, T]: linear path plus network."""
        return self.synthesize_linear(q, level) + self.residual(q, level)
