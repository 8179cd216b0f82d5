# SPDX-License-Identifier: Apache-2.0
"""Latents to features: what every head begins with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BEND = 0.3  # where the range bends: at a third of it, three standard deviations count as 1.6
LEAST = 1e-12  # standard deviation


@dataclass(frozen=True)
class LatentInput:
    """What a head reads: plane "y" of a codec, dequantized. Part of a checkpoint, so that a head finds its own input.

    channels: of the latent. axes: 2 of images, 1 of sound. mean, std: of each channel, as `LatentDataset.mean` has
    them, std above 0. cell: pixels or samples of a place of the grid, along each axis.
    """

    channels: int
    axes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cell: int = 8

    @classmethod
    def of(cls, dataset: Any) -> "LatentInput":
        """Of a `LatentDataset`, or whatever has its `mean`, `std` and `codec`."""
        mean, std = dataset.mean["y"], dataset.std["y"].clamp_min(LEAST)  # channels may be of one value
        cell = getattr(dataset.codec, "cell", cls.cell)
        return cls(len(mean), mean.ndim - 1, tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()), cell)


def conv(axes: int) -> type[nn.Conv1d] | type[nn.Conv2d]:
    """The convolution along so many axes."""
    return nn.Conv1d if axes == 1 else nn.Conv2d


class Stem(nn.Module):
    """Normalises each channel, bends its range, mixes neighbours.

    Channels of wavelet bands are sparse and heavy-tailed: most values are zero, a few are ten standard deviations. What
    is bent keeps their order and sign, so that a few do not decide what all weights see. The first convolution looks at
    neighbours, as bands of one place lie half a cell apart.

    patch: cells that become one feature, along each axis. fine: what sizes are multiplied by before their logarithm:
    the more, the further down it tells loud from quiet.
    """

    def __init__(self, about: LatentInput, width: int, patch: int = 1, fine: float = 1.0) -> None:
        super().__init__()
        shape = (-1, *(1,) * about.axes)
        self.register_buffer("mean", torch.tensor(about.mean).reshape(shape))
        self.register_buffer("scale", 1 / torch.tensor(about.std).clamp_min(LEAST).reshape(shape))
        self.channels, self.axes, self.patch, self.fine = about.channels, about.axes, patch, fine
        layer = conv(about.axes)
        # Three times: bent; as it is within one standard deviation, where most of what is rounded to zero lies; and its
        # size, as what is fine in pictures and nearly all of sound has signs that say little.
        self.mix = layer(3 * about.channels, width, 3, padding=1)
        self.merge = layer(width, width, patch, patch) if patch > 1 else nn.Identity()

    def forward(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """float32 [n, channels, *grid], dequantized, and where it is not padding [n, *grid]: [n, width, *grid / patch].

        Raises ValueError for other shapes.
        """
        if y.ndim != self.axes + 2 or y.shape[1] != self.channels:
            grid = ", h, w" if self.axes == 2 else ", frames"
            raise ValueError(f"head: got latents {tuple(y.shape)}, expected [n, {self.channels}{grid}]")
        if 0 in y.shape[2:]:
            raise ValueError(f"head: got latents {tuple(y.shape)}, whose grid is empty")
        t = (y - self.mean) * self.scale  # type: ignore[operator]
        if mask is not None:
            t = t * mask[:, None]
        size = t.abs()
        t = torch.cat([t / (1 + BEND * size), t.clamp(-1, 1), (self.fine * size).log1p()], 1)
        missing: Sequence[int] = [-n % self.patch for n in t.shape[2:]]
        if any(missing):  # grids that are no multiple of the patch
            t = nn.functional.pad(t, [side for n in reversed(missing) for side in (0, n)])
        return self.merge(self.mix(t))  # type: ignore[no-any-return]

    def coarse(self, mask: Tensor | None) -> Tensor | None:
        """The mask of what `forward` gives: a feature is there if any of its cells is."""
        if mask is None or self.patch == 1:
            return mask
        pool = nn.functional.max_pool1d if self.axes == 1 else nn.functional.max_pool2d
        return pool(mask[:, None].float(), self.patch, ceil_mode=True)[:, 0] > 0


def kept(h: Tensor, drop: float) -> Tensor:
    """What a block adds while training: nothing for a share `drop` of samples (stochastic depth, arXiv 1603.09382)."""
    chosen = torch.rand(len(h), *(1,) * (h.ndim - 1), device=h.device) >= drop
    return h * chosen / (1 - drop)


def heard(x: Tensor, mask: Tensor | None) -> Tensor:
    """Means and maxima over time, added, of what is no padding: [n, width, frames] to [n, width].

    Zeros where all is padding. Much of what is to be told of a sound, a bark or a knock, fills a small part of it, and
    would drown in a mean (so do Kong et al., "PANNs", arXiv 1912.10211).
    """
    if mask is None:
        return pooled(x, mask) + x.amax(2)
    loudest = x.masked_fill(~mask[:, None], -torch.inf).amax(2)
    return pooled(x, mask) + torch.where(mask.any(1, keepdim=True), loudest, 0)


def seen_of(mask: Tensor | None) -> Tensor | None:
    """What attention may look at, bool [n, 1, 1, tokens], of a mask [n, tokens]: all of a sample that is padding alone,
    as attention to nothing is no number."""
    return None if mask is None else (mask | ~mask.any(1, keepdim=True))[:, None, None]


def pooled(x: Tensor, mask: Tensor | None) -> Tensor:
    """Means over the grid, of what is no padding: [n, width, *grid] to [n, width]."""
    if mask is None:
        return x.flatten(2).mean(2)
    weight = mask[:, None].to(x.dtype)
    return (x * weight).flatten(2).sum(2) / weight.flatten(2).sum(2).clamp_min(1)
