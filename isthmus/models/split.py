# SPDX-License-Identifier: Apache-2.0
"""A backbone in two while it is trained: a bottleneck in its front, an adapter and its own second half behind that.

The rate is part of the loss (Entropic Student, Matsubara et al., WACV 2022, arXiv 2108.09628): here at every level of
the bottleneck's scale, so that one head spans a range.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus.models.backbones import Backbone
from isthmus.models.bottleneck import HIGH, LOW, Bottleneck, BottleneckConfig
from isthmus.models.heads import LatentInput
from isthmus.models.heads.adapter import AdaptedBackbone, LatentAdapter
from isthmus.models.levels import lerp_levels
from isthmus.models.rate import LogisticMixture

LEAST, MOST = 1.5, 24.0  # steps to a standard deviation at the ends of the scale, to begin with


def read_of(config: BottleneckConfig) -> LatentInput:
    """What a head reads of a bottleneck: mean 0 and deviation 1 of every channel."""
    return LatentInput(config.channels, 2, (0.0,) * config.channels, (1.0,) * config.channels, config.factor)


def usual_gains(config: BottleneckConfig) -> Tensor:
    """Of features with deviation 1, as logarithms [levels, channels]."""
    steps = torch.linspace(math.log(LEAST), math.log(MOST), config.gain_levels)
    return steps[:, None].expand(-1, config.channels)


class BottleneckAdapter(nn.Module):
    """Pixels through a bottleneck and its rounding to the features of a backbone.

    low, high: price of a bit at the lowest and the highest level; `cost` is that of the last call, a picture's mean.
    """

    def __init__(self, config: BottleneckConfig, adapter: LatentAdapter, low: float, high: float) -> None:
        super().__init__()
        self.bottleneck, self.adapter = Bottleneck(config), adapter
        self.rate = LogisticMixture(config.gain_levels, config.channels)
        with torch.no_grad():
            self.bottleneck.log_gain.copy_(usual_gains(config))
        self.rate.initialize(self.bottleneck.log_gain.detach().exp())
        self.register_buffer("log_price", torch.linspace(math.log(low), math.log(high), config.gain_levels))
        self.levels, self.cost, self.bits = config.gain_levels, torch.zeros(()), torch.zeros(())

    def forward(self, pixels: Tensor, level: Tensor | None = None) -> Tensor:
        """float [n, 3, h, w] in 0..255 to features; level: of each picture on the scale, drawn where it is None."""
        if level is None:
            level = torch.rand(len(pixels), device=pixels.device) * (self.levels - 1)
        features = self.bottleneck(pixels).float()
        gain = lerp_levels(self.bottleneck.log_gain, level).exp()[:, :, None, None]
        scaled = features * gain
        with torch.autocast(pixels.device.type, enabled=False):
            noisy = scaled + torch.rand_like(scaled) - 0.5
            bits = self.rate(noisy, level).flatten(1).sum(1)
        price = lerp_levels(self.log_price[:, None], level)[:, 0].exp()  # type: ignore[index]
        self.cost, self.bits = (bits * price).mean(), bits.detach()
        sent = scaled + (scaled.round().clamp(LOW, HIGH) - scaled).detach()  # straight through
        return self.adapter(sent / gain)  # type: ignore[no-any-return]


class SplitStudent(nn.Module):
    """A backbone whose front is a bottleneck and an adapter; `teacher` is what that front was.

    keep: as of `cut`. Raises ValueError as `AdaptedBackbone`.
    """

    def __init__(
        self, backbone: Backbone, config: BottleneckConfig, low: float, high: float, keep: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.adapted = [AdaptedBackbone(backbone, read_of(config), keep=keep)]  # its parts are this model's
        self.adapter = BottleneckAdapter(config, self.adapted[0].adapter, low, high)
        self.tail = self.adapted[0].tail

    @property
    def teacher(self) -> nn.Module:
        """Pixels to the features that the adapter learns to give."""
        return self.adapted[0].teacher

    def forward(self, pixels: Tensor, level: Tensor | None = None) -> Tensor:
        """float [n, 3, h, w] in 0..255 to logits [n, classes]."""
        return self.tail(self.adapter(pixels, level))  # type: ignore[no-any-return]

    def adapted_state(self) -> dict[str, Tensor]:
        """What an `AdaptedBackbone` needs to read the symbols of this bottleneck: by name."""
        kept = ("adapter.adapter.", "tail.")
        state = {name: value for name, value in self.state_dict().items() if name.startswith(kept)}
        return {name.replace(kept[0], "adapter.", 1): value for name, value in state.items()}
