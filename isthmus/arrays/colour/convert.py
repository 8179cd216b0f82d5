# SPDX-License-Identifier: Apache-2.0
"""Samples of a `Space` to 8-bit sRGB, strip by strip, at the depth that they have."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.colour.space import STEPS, Space, encoded
from isthmus.arrays.types import Float32, UInt8

if TYPE_CHECKING:
    from PIL import Image

STRIP_ROWS = 256
FAR_OUT = 0.01  # of white's light: so far beyond sRGB a clipped colour looks different
NOTICED = 1e-3  # share of pixels
SAMPLED = 256  # rows and columns of the pixels that are looked at for it


def grey_table(space: Space, top: int) -> UInt8:
    """sRGB levels of grey samples 0..top: uint8 [top + 1]. Grey is neutral in any primaries."""
    return encoded()[_steps(space.light(min(1, len(space.curves) - 1), top))]


def rgb_converter(space: Space, top: int) -> Callable[[NDArray[Any]], UInt8]:
    """A function of samples 0..top, uint8 or uint16 [..., 3], to sRGB uint8 [..., 3], clipped."""
    light = lights(space, top)
    if space.matrix is None:
        tables = [encoded()[_steps(curve)] for curve in light]
        return lambda samples: np.stack([tables[c][samples[..., c]] for c in range(3)], axis=-1)
    matrix = space.matrix.T.astype(np.float32)

    def convert(samples: NDArray[Any]) -> UInt8:
        linear = np.stack([light[c][samples[..., c]] for c in range(3)], axis=-1) @ matrix
        return encoded()[_steps(np.clip(linear, 0, 1, out=linear))]

    return convert


def lights(space: Space, top: int) -> list[Float32]:
    """Light of the samples 0..top of each of three channels."""
    return [space.light(c, top) for c in range(3)]


def _steps(light: Float32) -> NDArray[np.uint16]:
    return (light * np.float32(STEPS) + np.float32(0.5)).astype(np.uint16)


def rgb_to_srgb(image: "Image.Image", low: "Image.Image | None", space: Space) -> "Image.Image":
    """`image` (RGB of `space`) in sRGB. low: the lower 8 bits of its samples, where they have 16."""
    from PIL import Image

    convert = rgb_converter(space, 255 if low is None else 65535)
    made = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP_ROWS):
        box = (0, top, image.width, min(top + STRIP_ROWS, image.height))
        samples = np.asarray(image.crop(box))
        if low is not None:
            samples = samples.astype(np.uint16) << 8 | np.asarray(low.crop(box))
        made[top : box[3]] = convert(samples)
    return Image.fromarray(made)


def clips(image: "Image.Image", space: Space) -> bool:
    """Whether enough pixels of `image` (RGB) lie so far beyond sRGB that clipping them is seen, by some of them."""
    from PIL import Image

    if space.matrix is None:
        return False
    size = (min(image.width, SAMPLED), min(image.height, SAMPLED))
    samples = np.asarray(image.resize(size, Image.Resampling.NEAREST))
    light = lights(space, 255)
    linear = np.stack([light[c][samples[..., c]] for c in range(3)], axis=-1) @ space.matrix.T.astype(np.float32)
    far = ((linear < -FAR_OUT) | (linear > 1 + FAR_OUT)).any(axis=-1)
    return bool(far.mean() > NOTICED)


def is_srgb(space: Space) -> bool:
    """Whether conversion would change no colour by more than one level."""
    if len(space.curves) == 1 and np.abs(grey_table(space, 255).astype(int) - np.arange(256)).max() > 1:
        return False
    colours = grid()
    return bool(np.abs(rgb_converter(space, 255)(colours).astype(int) - colours).max() <= 1)


def is_neutral(space: Space) -> bool:
    """Whether three equal samples are grey, or nearly."""
    light = lights(space, 255)
    return bool(max(np.abs(light[0] - light[1]).max(), np.abs(light[2] - light[1]).max()) < 1e-3)


def grid() -> UInt8:
    """Colours that a conversion is tried on: every grey, and 9 levels of each channel: uint8 [n, 3]."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    return np.concatenate([np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), cube])
