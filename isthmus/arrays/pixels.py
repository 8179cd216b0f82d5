# SPDX-License-Identifier: Apache-2.0
"""Pillow images of every mode to 8-bit sRGB or grey arrays, refusing or announcing every loss."""

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_STRIP_ROWS = 256


class PrecisionWarning(UserWarning):
    """Samples of more than 8 bits were reduced to 8."""


class ColourWarning(UserWarning):
    """Colours were converted in a way that may not be exact: CMYK, or a profile that could not be applied."""


def to_pixels(
    image: "Image.Image", bits: int = 8, levels: tuple[int, int] = (0, 65535), background: str | None = None
) -> np.ndarray:
    """Samples of `image`: uint8 [H,W,3] in sRGB, or [H,W,1] for grey; a new array.

    bits, levels: depth of the file it came from, and black and white if deep grey (see `sample_depth`).
    background: colour name or #rrggbb to lay transparent pixels on. Raises ValueError for transparency without a
    background, float or 32-bit samples, Lab, HSV, 0 pixels.
    """
    if image.width == 0 or image.height == 0:
        raise ValueError(f"image of {image.width}x{image.height}: no pixels; expected at least 1x1")
    colour, alpha = _deep_grey(image, bits, levels) if image.mode.startswith("I") else _split_alpha(image, bits)
    if bits > 8:
        warnings.warn(f"{bits}-bit samples were reduced to 8 bits", PrecisionWarning, stacklevel=4)
    colour = _to_srgb(colour, image.info.get("icc_profile"))
    if alpha is not None and alpha.getextrema()[0] != 255:
        colour = _composite(colour, alpha, background)
    return _to_array(colour)


def _deep_grey(image: "Image.Image", bits: int, levels: tuple[int, int]) -> "tuple[Image.Image, Image.Image | None]":
    """Grey of 9 to 16 bits, rounded to 8 (L), and alpha (L, or None)."""
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
    grey = Image.fromarray(((above_black * 255 + span // 2) // span).astype(np.uint8))
    if not isinstance(key, int):
        return grey, None
    return grey, Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))


def _split_alpha(image: "Image.Image", bits: int) -> "tuple[Image.Image, Image.Image | None]":
    """Colour (L, RGB or CMYK, 8 bits) and alpha (L, or None)."""
    mode = image.mode
    if mode == "F":
        raise ValueError("float samples have no agreed range: scale them to 0..255 and save 8-bit samples first")
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


def _to_srgb(image: "Image.Image", profile: bytes | None) -> "Image.Image":
    """`image` (L, RGB or CMYK) as L or RGB in sRGB; without a profile L and RGB are taken to be sRGB already."""
    converted = _apply_profile(image, profile) if profile else None
    if image.mode == "CMYK":
        how = "by its embedded profile" if converted else "without a profile: colours are approximate"
        warnings.warn(f"CMYK was converted to RGB {how}", ColourWarning, stacklevel=5)
        return converted or image.convert("RGB")
    return converted or image


def _apply_profile(image: "Image.Image", profile: bytes) -> "Image.Image | None":
    """`image` moved from the embedded ICC `profile` to sRGB, or None (after a warning) where that is impossible."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        moved = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception as error:  # a damaged profile raises anything; a build of Pillow without LittleCMS ImportError
        warnings.warn(f"its colour profile was ignored ({error}): colours may be off", ColourWarning, stacklevel=6)
        return None
    if moved is None:
        return None
    return moved.getchannel("G") if image.mode == "L" else moved  # a grey profile gives three equal channels


def _composite(colour: "Image.Image", alpha: "Image.Image", background: str | None) -> "Image.Image":
    from PIL import Image, ImageColor

    if background is None:
        raise ValueError(
            "transparent pixels would be lost (only opaque grey or RGB is coded): flatten it onto a colour "
            'with --background white, or background="white" in Python'
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
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        strip = np.asarray(image.crop((0, top, image.width, bottom)))
        array[top:bottom] = strip.reshape(array[top:bottom].shape)
    return array
