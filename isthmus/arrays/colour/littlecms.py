# SPDX-License-Identifier: Apache-2.0
"""Images under an ICC profile to sRGB, by LittleCMS. Whether a profile is sRGB is found by trying it, not by name."""

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.arrays.colour.convert import grid

if TYPE_CHECKING:
    from PIL import Image

MAX_PROFILE = 1 << 26  # bytes; the largest in use, of printers, have some 10 MB
KINDS = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: "Image.Image", profile: bytes) -> "Image.Image":
    """`image` (L, RGB or CMYK) in sRGB: L where it was and stays neutral, else RGB; itself if nothing would change.

    Grey under a profile of RGB is three equal channels. Raises ValueError for a profile that is damaged or of another
    kind of colours, ImportError where Pillow was built without LittleCMS.
    """
    if len(profile) > MAX_PROFILE:
        raise ValueError(f"{len(profile):,} bytes, expected at most {MAX_PROFILE:,}")
    mode, changes = _try(profile)
    if image.mode != mode and (image.mode, mode) != ("L", "RGB"):
        raise ValueError(f"it is of {mode} colours, the samples are {image.mode}")
    if not changes:
        return image
    if image.mode != "L":
        return transform(image, profile)
    return _by_table(image, transform(_greys(mode), profile, exact=True))


def _greys(mode: str) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)


def _by_table(image: "Image.Image", greys: "Image.Image") -> "Image.Image":
    """Grey `image` by what becomes of each of 256 levels: L where these stay neutral, else RGB."""
    from PIL import Image

    table = np.asarray(greys)[0]
    if np.ptp(table.astype(int), axis=1).max() <= 1:
        return image.point(table[:, 1].tolist())
    return Image.merge("RGB", [image.point(table[:, c].tolist()) for c in range(3)])


@lru_cache(maxsize=32)
def _try(profile: bytes) -> tuple[str, bool]:
    """The mode of the images that a profile is for, and whether it changes a colour by more than one level."""
    from PIL import Image, ImageCms

    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    except (OSError, ImageCms.PyCMSError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    if space not in KINDS:
        raise ValueError(f"it is of {space.strip()} colours, expected RGB, grey or CMYK")
    mode = KINDS[space]
    if mode == "CMYK":
        return mode, True
    colours = grid()
    if mode == "L":
        colours = colours[:256]
    trial = _greys(mode) if mode == "L" else Image.fromarray(colours[None])
    moved = np.asarray(transform(trial, profile, exact=mode == "L"))[0]
    return mode, bool(np.abs(moved.astype(int) - colours).max() > 1)


def transform(image: "Image.Image", profile: bytes, exact: bool = False) -> "Image.Image":
    """exact: without the tables of few points that LittleCMS makes of a grey curve: 9 levels off in the dark."""
    from PIL import ImageCms

    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | (ImageCms.Flags.NOOPTIMIZE if exact else 0)
    try:
        moved: Any = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=flags,
        )
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        raise ValueError(f"it cannot be applied: {error}") from error
    return moved  # type: ignore[no-any-return]
