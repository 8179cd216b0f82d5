# SPDX-License-Identifier: Apache-2.0
"""Pillow images of every mode to 8-bit sRGB or grey arrays, refusing or announcing every loss."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from isthmus.arrays.colour import ColourWarning
from isthmus.arrays.colour.code_points import CodePoints
from isthmus.arrays.colour.convert import STRIP_ROWS, clips, grey_table, rgb_to_srgb
from isthmus.arrays.colour.declared import declared
from isthmus.arrays.colour.littlecms import to_srgb
from isthmus.arrays.colour.space import Space

if TYPE_CHECKING:
    from PIL import Image

LowBits = Callable[[], "Image.Image | None"]


class PrecisionWarning(UserWarning):
    """Samples of more than 8 bits were reduced to 8."""


def no_low_bits() -> None:
    """For samples that have no lower halves, or none that can be had."""


def to_pixels(
    image: "Image.Image",
    bits: int = 8,
    levels: tuple[int, int] = (0, 65535),
    background: str | None = None,
    stated: CodePoints | None = None,
    low_bits: LowBits = no_low_bits,
) -> np.ndarray:
    """Samples of `image`: uint8 [H,W,3] in sRGB, or [H,W,1] for grey; a new array.

    bits, levels: depth of the file it came from, and black and white if deep grey (see `sample_depth`).
    background: colour name or #rrggbb to lay transparent pixels on. stated: colour that the file states and Pillow does
    not see. low_bits: gives the lower halves of 16-bit RGB as an image, or None; asked for where colours are converted.
    Raises ValueError for transparency without a background, HDR or unknown colour, float or 32-bit samples, Lab, HSV,
    0 pixels.
    """
    if image.width == 0 or image.height == 0:
        raise ValueError(f"image of {image.width}x{image.height}: no pixels; expected at least 1x1")
    colour_of = declared(image, stated)
    if image.mode.startswith("I"):
        space = colour_of if isinstance(colour_of, Space) else None
        colour, alpha = _deep_grey(image, bits, levels, space)
        colour_of = None if space else colour_of
    else:
        colour, alpha = _split_alpha(image, bits)
    if bits > 8:
        warnings.warn(f"{bits}-bit samples were reduced to 8 bits", PrecisionWarning, stacklevel=4)
    colour = _to_srgb(colour, colour_of, low_bits)
    if alpha is not None and alpha.getextrema()[0] != 255:
        colour = _composite(colour, alpha, background)
    return _to_array(colour)


def _deep_grey(
    image: "Image.Image", bits: int, levels: tuple[int, int], space: Space | None
) -> "tuple[Image.Image, Image.Image | None]":
    """Grey of up to 16 bits in integers of Pillow, rounded to 8 (L) as `space` says, and alpha (L, or None)."""
    from PIL import Image

    samples, key = np.asarray(image), image.info.get("transparency")
    black, white = levels
    if bits > 16 or samples.min() < 0 or samples.max() > max(levels):
        raise ValueError(
            f"{bits}-bit grey samples from {samples.min()} to {samples.max()}: expected unsigned samples of at most "
            "16 bits; scale them to 0..255 and save 8-bit samples first"
        )
    span = abs(white - black)
    above_black = np.abs(samples.astype(np.int32) - black)
    reduced = grey_table(space, span)[above_black] if space else (above_black * 255 + span // 2) // span
    grey = Image.fromarray(reduced.astype(np.uint8))
    if not isinstance(key, int):
        return grey, None
    return grey, Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))


def _split_alpha(image: "Image.Image", bits: int) -> "tuple[Image.Image, Image.Image | None]":
    """Colour (L, RGB or CMYK, 8 bits) and alpha (L, or None)."""
    mode = image.mode
    if mode == "F":
        raise ValueError("float samples have no agreed range: multiply 0..1 by 255, round to uint8 and save that")
    if mode in ("LAB", "HSV"):
        raise ValueError(f"{mode} colour is not supported: convert it to RGB first")
    if image.has_transparency_data:
        if bits > 8 and "transparency" in image.info:
            raise ValueError("a transparent colour key over 16-bit RGB is not supported: save it as RGBA first")
        if mode in ("1", "L", "LA", "La"):
            grey_alpha = image if mode == "LA" else image.convert("LA")
            return grey_alpha.getchannel("L"), grey_alpha.getchannel("A")
        rgba = image if mode == "RGBA" else image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    if mode in ("L", "RGB", "CMYK"):
        return image, None
    return image.convert("L" if mode == "1" else "RGB"), None


def _to_srgb(image: "Image.Image", colour: Space | bytes | None, low_bits: LowBits) -> "Image.Image":
    """`image` (L, RGB or CMYK) as L or RGB in sRGB; None: L and RGB are sRGB already."""
    converted = image
    if isinstance(colour, Space) and image.mode == "L":
        converted = image.point(grey_table(colour, 255).tolist())
    elif isinstance(colour, Space):
        converted = rgb_to_srgb(image, low_bits(), colour)
        if clips(image, colour):
            warnings.warn("colours beyond sRGB were clipped to it", ColourWarning, stacklevel=5)
    elif colour:
        converted = _apply_profile(image, colour)
    if image.mode == "CMYK":
        how = "without a profile: colours are approximate" if converted is image else "by its embedded profile"
        warnings.warn(f"CMYK was converted to RGB {how}", ColourWarning, stacklevel=5)
        return converted.convert("RGB")
    return converted


def _apply_profile(image: "Image.Image", profile: bytes) -> "Image.Image":
    """`image` moved from an embedded ICC profile to sRGB; itself, after a warning, where that is impossible."""
    try:
        return to_srgb(image, profile)
    except (ValueError, ImportError) as error:  # ImportError: a build of Pillow without LittleCMS
        warnings.warn(f"its colour profile was ignored ({error}): colours may be off", ColourWarning, stacklevel=6)
        return image


def _composite(colour: "Image.Image", alpha: "Image.Image", background: str | None) -> "Image.Image":
    from PIL import Image, ImageColor

    if background is None:
        raise ValueError(
            "transparent pixels would be lost (only opaque grey or RGB is coded): flatten it onto a colour "
            'first, or say which: --background white on the command line, background="white" in Python'
        )
    fill = ImageColor.getrgb(background)[:3]
    if colour.mode == "L" and len(set(fill)) > 1:
        colour = colour.convert("RGB")
    canvas = Image.new(colour.mode, colour.size, fill[0] if colour.mode == "L" else fill)
    canvas.paste(colour, mask=alpha)
    return canvas


def _to_array(image: "Image.Image") -> np.ndarray:
    # Strip by strip: np.asarray of a whole image makes two more copies of it on the way, and is read-only.
    array = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, image.height)
        strip = np.asarray(image.crop((0, top, image.width, bottom)))
        array[top:bottom] = strip.reshape(array[top:bottom].shape)
    return array
