# SPDX-License-Identifier: Apache-2.0
"""The linear analysis of an image codec, as transforms of its latents need it: pixels along one axis to latents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from isthmus.codecs.base import Codec
from isthmus.codecs.registry import load
from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.devices import usual_settings
from isthmus.lazy import cached_property
from isthmus.models.wavelet_packet import analyze_packet


@dataclass(frozen=True, eq=False)
class Analysis:
    """Latents of c channels from 3 colours and f bands an axis, all float64; f is the pixels of a cell (8).

    name: of the codec. weight: [c, 3, f, f] (colour, band along x, band along y). bias: [c]. steps: [100, c], what
    integers are multiplied with at qualities 1 to 100.
    """

    name: str
    weight: Tensor
    bias: Tensor
    steps: Tensor

    @property
    def channels(self) -> int:
        return len(self.weight)

    @property
    def cell(self) -> int:
        """Pixels of a cell along each axis."""
        return self.weight.shape[-1]

    def step(self, quality: int) -> Tensor:
        """float64 [c]. Raises ValueError unless quality is 1 to 100."""
        if type(quality) is not int or not 1 <= quality <= len(self.steps):
            raise ValueError(f"quality {quality!r}, expected an integer from 1 to {len(self.steps)}")
        return self.steps[quality - 1]

    @cached_property
    def turned(self) -> Analysis:
        """That of images whose rows and columns are exchanged."""
        return Analysis(self.name, self.weight.transpose(2, 3), self.bias, self.steps)


def analysis_of(codec: str | Codec) -> Analysis:
    """The analysis of a codec, or of the one that `isthmus.load` knows by a name or path.

    Raises ValueError for one whose latents are not a linear analysis of images.
    """
    found = load(codec) if isinstance(codec, str) else codec
    if not isinstance(found, WallocImageCodec):
        raise ValueError(
            f"{found.name}: flips of latents are known for linear analyses of images (walloc-image-...), this is "
            f"{found.kind} of another kind; of images store flipped views: isthmus transcode --views hflip"
        )
    return _analysis(found)


@lru_cache(maxsize=8)
def _analysis(codec: WallocImageCodec) -> Analysis:
    linear, levels = codec.weights.linear, codec.weights.config.levels
    with usual_settings():
        weight = torch.from_numpy(linear.analysis_weight).double()
        digits = weight.reshape(-1, 3, *(2,) * (2 * levels))  # bands' digits: x and y of the first level, the second...
        order = [2 + 2 * level for level in range(levels)] + [3 + 2 * level for level in range(levels)]
        weight = digits.permute(0, 1, *order).reshape(len(weight), 3, 1 << levels, 1 << levels)
        steps = torch.stack([torch.from_numpy(linear.step(quality)).double() for quality in range(1, 101)])
        return Analysis(codec.name, weight, torch.from_numpy(linear.analysis_bias).double(), steps)


def axis_bands(pixels: int, cell: int) -> Tensor:
    """The packet transform of a line, continued to whole cells as codecs do: float64 [cell, cells, pixels].

    Band first: bands of `cell` a position. Source: `isthmus.kernels.wavelet.image`.
    """
    cells = -(-pixels // cell)
    place = torch.arange(cells * cell) % max(1, 2 * (pixels - 1))
    place = torch.minimum(place, 2 * (pixels - 1) - place) if pixels > 1 else torch.zeros_like(place)
    unit = torch.eye(pixels, dtype=torch.float64)[:, None, place]
    return analyze_packet(unit, cell.bit_length() - 1).permute(1, 2, 0)
