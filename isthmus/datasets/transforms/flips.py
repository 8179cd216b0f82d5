# SPDX-License-Identifier: Apache-2.0
"""Flips of the latents of images: estimates with a known error, see `mirror`."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.codecs.base import Codec
from isthmus.datasets.transforms.analysis import Analysis, analysis_of
from isthmus.datasets.transforms.checks import check_latents, check_probability
from isthmus.datasets.transforms.mirror import Mirror, mirror
from isthmus.devices import usual_settings
from isthmus.models.walloc.image import ROUNDING_OFFSET

MOST_ERROR = 0.01  # of the variance: about what rounding at quality 50 loses (measured: 0.008 to 0.011)
TYPICAL = 32  # cells of the image that `error` is of


def flip(
    latents: Tensor, analysis: Analysis, *, vertical: bool = False, quality: int | None = None,
    pixels: int | None = None,
) -> Tensor:  # fmt: skip
    """Latents of the flipped image, estimated: the same shape, dtype and device.

    latents: [c, h, w] or [n, c, h, w]; floats are dequantized ones, integers are those of `quality` and are rounded
    again. pixels: what the flipped side of the image measures, where that is no multiple of a cell (8).

    Raises TypeError or ValueError for other latents, ValueError where the estimate is not good enough (`MOST_ERROR`).
    """
    y = _checked(latents, analysis, quality)
    along = analysis.turned if vertical else analysis
    cells = y.shape[-2] if vertical else y.shape[-1]
    pixels = cells * analysis.cell if pixels is None else pixels
    if -(-pixels // analysis.cell) != cells:
        raise ValueError(
            f"flip: {pixels} pixels do not make the {cells} cells of {analysis.cell} that the latents have"
        )
    with usual_settings():
        step = None
        if not y.dtype.is_floating_point:
            assert quality is not None
            step = analysis.step(quality).to(y.device, torch.float32)[:, None, None]
        x = y.float() if step is None else y.float() * step
        x = x.transpose(-1, -2) if vertical else x
        x = _mirrored(x, *_tables(along, pixels, y.device))
        x = x.transpose(-1, -2) if vertical else x
        if step is None:
            return x.to(y.dtype)
        # By the step, not by the gain of the encoder: steps are smaller, and what is rounded here is dequantized.
        x = x / step
        limits = torch.iinfo(y.dtype)
        return (x.sign() * (x.abs() + ROUNDING_OFFSET).floor()).clamp(limits.min, limits.max).to(y.dtype)


def _checked(latents: Tensor, analysis: Analysis, quality: int | None) -> Tensor:
    """A plain tensor. Raises TypeError or ValueError for what cannot be flipped."""
    y = check_latents(latents, 2, "flip")
    if y.shape[-3] != analysis.channels:
        raise ValueError(f"flip: got {y.shape[-3]} channels, {analysis.name} has {analysis.channels}")
    if quality is None and not y.dtype.is_floating_point:
        raise ValueError("flip: integers need the quality they were made at (quality=50); dequantized latents do not")
    return y


def check_error(analysis: Analysis, pixels: int) -> Mirror:
    """The estimate for so many pixels along x. Raises ValueError where it is not good enough."""
    found = mirror(analysis, pixels)
    if found.error > MOST_ERROR:
        raise ValueError(
            f"flip of {analysis.name}: latents of {pixels} pixels, flipped, would miss {found.error:.1%} of the "
            f"variance, over {MOST_ERROR:.0%}; store flipped views instead: isthmus transcode --views hflip (or vflip)"
        )
    return found


@lru_cache(maxsize=32)
def _tables(analysis: Analysis, pixels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    found = check_error(analysis, pixels)
    return found.matrices.to(device, torch.float32), found.constants.to(device, torch.float32)


def _mirrored(y: Tensor, matrices: Tensor, constants: Tensor) -> Tensor:
    """float32 [..., c, h, w] to the same, by `Mirror.matrices` and `constants`."""
    *batch, c, h, w = y.shape
    taps = matrices.shape[1] // c
    x = y.reshape(-1, c, h, w).flip(-1).permute(3, 0, 2, 1).reshape(w, -1, c)  # [w, n h, c]
    x = F.pad(x, (0, 0, 0, 0, taps // 2, taps // 2))
    x = torch.cat([x[tap : tap + w] for tap in range(taps)], dim=2)  # [w, n h, taps c]
    x = torch.baddbmm(constants[:, None], x, matrices)
    return x.reshape(w, -1, h, c).permute(1, 3, 2, 0).reshape(*batch, c, h, w)


class _RandomFlip:
    """error: squared error over variance for the model of photographs; detailed ones miss up to three times as much
    (docs/transforms.md has measured ones). channel_errors: of each, 1 where nothing is known of a flipped one.
    """

    vertical: bool
    error: float
    channel_errors: list[float]

    def __init__(self, codec: str | Codec, *, quality: int | None = None, p: float = 0.5) -> None:
        self.analysis, self.quality, self.p = analysis_of(codec), quality, check_probability(p)
        if quality is not None:
            self.analysis.step(quality)
        along = self.analysis.turned if self.vertical else self.analysis
        found = check_error(along, TYPICAL * along.cell)
        self.error, self.channel_errors = found.error, found.errors[TYPICAL // 2].tolist()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.analysis.name!r}, quality={self.quality}, p={self.p})"

    def __call__(self, latents: Tensor, *, pixels: int | None = None) -> Tensor:
        """Latents [c, h, w] or [n, c, h, w], each of a batch flipped or not on its own; see `flip`."""
        y = _checked(latents, self.analysis, self.quality)
        batch = y if y.ndim == 4 else y[None]
        chosen = torch.rand(len(batch), device="cpu") < self.p
        if not chosen.any():
            return latents
        place = chosen.nonzero()[:, 0].to(y.device)
        flipped = flip(batch[place], self.analysis, vertical=self.vertical, quality=self.quality, pixels=pixels)
        out = batch.index_copy(0, place, flipped)
        return out if y.ndim == 4 else out[0]


class RandomHorizontalFlip(_RandomFlip):
    """Latents of images flipped left to right with probability `p`, each of a batch on its own.

    codec: a codec or what `isthmus.load` knows. quality: 1 to 100, that of integer latents; floats, which are
    dequantized latents, not normalized, need none. Raises ValueError for a codec whose flips miss more than 1 % of the
    variance, and names `isthmus transcode --views hflip`, which has no error. `error`, squared error over variance, and
    `channel_errors` say what a model of photographs expects to be missed; of detailed ones it is up to three times as
    much.

    >>> flip = RandomHorizontalFlip("walloc-image-f8c12", quality=50, p=1)
    >>> flip(torch.zeros(12, 28, 28, dtype=torch.int16)).shape
    torch.Size([12, 28, 28])
    """

    vertical = False


class RandomVerticalFlip(_RandomFlip):
    """Latents of images flipped top to bottom with probability `p`; as `RandomHorizontalFlip`."""

    vertical = True
