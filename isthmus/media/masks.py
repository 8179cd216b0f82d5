# SPDX-License-Identifier: Apache-2.0
"""Pictures whose samples are numbers of classes: palettes, 8-bit grey, black and white."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arrays.sample_depth import HEAD_BYTES, bits_per_sample
from isthmus.errors import UnreadableFileError

MODES = ("P", "L", "1")  # of Pillow
_LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF", "WEBP")
_TIFF_PHOTOMETRIC = 262
_TURNED = (5, 6, 7, 8)  # orientations of EXIF that exchange height and width


def mode_of(path: str | os.PathLike[str]) -> str:
    """Pillow's mode of a picture, such as P, L, RGB; its samples are not read. Raises UnreadableFileError."""
    with _opened(path) as image:
        return str(image.mode)


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of a picture as it is shown; its samples are not read. Raises UnreadableFileError."""
    with _opened(path) as image:
        turned = image.getexif().get(0x0112) in _TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


def read_mask(path: str | os.PathLike[str], max_pixels: int) -> NDArray[np.uint8]:
    """Numbers of classes, uint8 [H, W, 1]: indices of a palette, samples of 8-bit grey, 0 and 1 of black and white.

    EXIF orientation is applied; grey of 2 or 4 bits keeps the numbers of the file. Raises UnreadableFileError for
    colours, samples of more than 8 bits, lossy formats (whose numbers are not those that were drawn), several frames,
    and what is damaged or larger than `max_pixels`.
    """
    from PIL import ImageOps

    with _opened(path) as image, open(path, "rb") as file:
        bits = bits_per_sample(image, file.read(HEAD_BYTES))
        wrong = _wrong(image, bits, max_pixels)
        if wrong:
            raise UnreadableFileError(f"{path}: {wrong}")
        try:
            image.load()
        except Exception as error:  # Pillow's plugins raise nearly any class on damaged data
            raise UnreadableFileError(f"{path}: cannot be decoded ({error}): it is truncated or damaged") from error
        ImageOps.exif_transpose(image, in_place=True)
        found = np.asarray(image).astype(np.uint8)
    if image.mode == "L" and image.format == "PNG" and bits < 8:  # Pillow spreads these over 0 to 255
        found = found // (255 // ((1 << bits) - 1))
    return found[..., None]


def palette_of(path: str | os.PathLike[str]) -> list[int] | None:
    """Red, green and blue of each class of a mask with a palette, else None. Raises UnreadableFileError."""
    with _opened(path) as image:
        found: Any = image.getpalette("RGB") if image.mode == "P" else None
    return None if found is None else list(found)


def _opened(path: str | os.PathLike[str]) -> Any:
    """A picture of which only the header was read."""
    from PIL import Image

    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f"{path}: cannot be read as a picture ({error})") from error


def _wrong(image: Any, bits: int, max_pixels: int) -> str | None:
    """Why samples are no numbers of classes."""
    if image.width * image.height > max_pixels:
        return f"{image.width}x{image.height} pixels; at most {max_pixels:,} are read"
    if image.mode.startswith("I") or bits > 8:
        return f"{bits} bits a sample; expected 8: at most 255 classes, 0 to 254, and 255 where nothing is known"
    if image.mode not in MODES:
        return (
            f"colours ({image.mode}) where classes are expected: a palette or grey; --targets-are values takes colours"
        )
    if image.format in _LOSSY:
        return f"{image.format} changes samples, which makes other classes: write masks as PNG, or --targets-are values"
    if getattr(image, "n_frames", 1) > 1:
        return f"{image.n_frames} frames; expected one"
    if hasattr(image, "tag_v2") and image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0:
        return "TIFF whose 0 is white, which readers turn around: write masks as PNG"
    return None
