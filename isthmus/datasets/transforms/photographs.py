# SPDX-License-Identifier: Apache-2.0
"""A model of photographs: how much pixels some way apart have in common.

Light and colour differences are each a sum of Gaussian blobs of ten sizes, an octave apart: about the power law of
natural images (Field, "Relations between the statistics of natural images and the response properties of cortical
cells", JOSA A 4, 1987), alike in all directions, and each size separable, so that sums over an axis stay small. The
three constants were chosen on photographs (docs/transforms.md).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

SIZES = tuple(0.35 * 2**octave for octave in range(10))  # of the blobs, standard deviation in pixels
LIGHT, COLOUR = 0.7, 0.3  # the power of its size that a blob's share of the variance grows with
COLOURFUL = 0.05  # variance of the first colour difference over that of light; the second has half of it
AXES = ((1, 1, 1), (1, -1, 0), (1, 1, -2))  # light and two colour differences of R, G, B


class Blob(NamedTuple):
    """size: in pixels. colours: covariance of R, G and B, float64 [3, 3]."""

    size: float
    colours: Tensor

    def common(self, pixels: int) -> Tensor:
        """Covariance along a line, float64 [pixels, pixels]."""
        apart = torch.arange(pixels, dtype=torch.float64)
        return torch.exp(-((apart[:, None] - apart) ** 2) / (2 * self.size**2))


def blobs() -> Iterator[Blob]:
    """All sizes; the light of a pixel has variance 1."""
    axes = torch.tensor(AXES, dtype=torch.float64)
    axes = axes / axes.norm(dim=1, keepdim=True)
    light, colour = (torch.tensor(SIZES, dtype=torch.float64) ** power for power in (LIGHT, COLOUR))
    shares = torch.stack(
        (light / light.sum(), COLOURFUL * colour / colour.sum(), COLOURFUL / 2 * colour / colour.sum())
    )
    for size, share in zip(SIZES, shares.T, strict=True):
        yield Blob(size, axes.T @ torch.diag(share) @ axes)
