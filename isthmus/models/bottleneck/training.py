# SPDX-License-Identifier: Apache-2.0
"""A bottleneck while it is trained, in floats and with normalisation over batches.

The layers are those of BottleFit (Matsubara et al., WoWMoM 2022, arXiv 2201.02693); gains by channel and quality let
one head span a range of rates, as in codecs.
"""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus.models.bottleneck.config import QUALITIES, BottleneckConfig
from isthmus.models.bottleneck.head import MOST_ACTIVATION, MOST_WEIGHT, BottleneckHead, whole_cells
from isthmus.models.levels import lerp_levels, quality_to_level

MOST_BIAS = 1 << 22
TINY = 1e-12


class Bottleneck(nn.Module):
    """Pixels to features, a narrow grid; `folded` is what a device computes."""

    def __init__(self, config: BottleneckConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config.channels, config.width
        self.encoder = nn.Sequential(
            nn.Conv2d(3, d, 7, 2, 3, bias=False), nn.BatchNorm2d(d), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.BatchNorm2d(d), nn.ReLU(), nn.Conv2d(d, c, 2, 2), nn.BatchNorm2d(c, affine=False),
        )  # fmt: skip
        self.log_gain = nn.Parameter(torch.zeros(config.gain_levels, c))

    def forward(self, pixels: Tensor) -> Tensor:
        """As `BottleneckHead`; every channel has mean 0 and deviation 1 over pictures, so that who reads it knows."""
        return self.encoder(_signed(pixels))  # type: ignore[no-any-return]

    @torch.no_grad()
    def folded(self, pixels: Tensor) -> BottleneckHead:
        """Nearly the same in integers, in eval mode. pixels: [n, 3, h, w] in 0..255, whose activations must fit."""
        head = BottleneckHead(self.config).to(self.log_gain.device)
        layers: Any = self.encoder.eval()
        wide, first, _, _, second, _, narrow, last = layers
        pooled = layers[:4](_signed(pixels)).transpose(0, 1).flatten(1)
        scale, offset = _affine(second)
        size = scale.abs().clamp_min(TINY)
        behind = (pooled * scale[:, None] + offset[:, None]).amax(1).clamp_min(0)
        largest = torch.stack([pooled.amax(1), behind / size, offset.abs() / size]).amax(0).clamp_min(TINY)
        finer = MOST_ACTIVATION / largest  # steps of an activation to 1

        factor, shift = _affine(first)
        own = wide.weight * factor[:, None, None, None] / MOST_ACTIVATION  # `sums` begins with twice 255 steps
        _fill(head.wide, own, shift, steps := _steps(own, shift))
        head.step.copy_((finer / steps)[:, None, None])
        head.sign.copy_(torch.where(scale < 0, -1.0, 1.0)[:, None, None])
        head.shift.copy_((offset / size * finer).round().clamp(-MOST_ACTIVATION, MOST_ACTIVATION)[:, None, None])

        factor, shift = _affine(last)
        own = narrow.weight * factor[:, None, None, None] * (size / finer)[:, None, None]
        shift = narrow.bias * factor + shift
        _fill(head.narrow, own, shift, steps := _steps(own, shift))
        head.unit.copy_(1 / steps)
        missed = (layers(_signed(pixels)) - head(pixels)).mean((0, 2, 3))  # what rounded weights add up to
        head.narrow.bias += (missed * steps).round()  # type: ignore[operator]
        levels = [quality_to_level(quality + 1, self.config.gain_levels) for quality in range(QUALITIES)]
        head.gain.copy_(lerp_levels(self.log_gain, torch.tensor(levels, device=steps.device)).exp())
        head.check()
        return head.eval()


def _signed(pixels: Tensor) -> Tensor:
    """Of 0..255: -1..1, in whole cells."""
    return (2 * whole_cells(pixels) - MOST_ACTIVATION) / MOST_ACTIVATION


def _steps(weight: Tensor, bias: Tensor) -> Tensor:
    """Whole numbers to 1, of each output: so many that weights have 8 bits and biases are not too large."""
    return torch.minimum(
        MOST_WEIGHT / weight.abs().flatten(1).amax(1).clamp_min(TINY), MOST_BIAS / bias.abs().clamp_min(TINY)
    )


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor, steps: Tensor) -> None:
    layer.weight.copy_((weight * steps[:, None, None, None]).round())
    assert layer.bias is not None
    layer.bias.copy_((bias * steps).round())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation does to each channel in eval mode: a factor and an offset."""
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = (norm.weight, norm.bias) if norm.affine else (torch.ones_like(norm.running_var), 0.0)
    factor = weight / torch.sqrt(norm.running_var + norm.eps)
    return factor, bias - norm.running_mean * factor
