# SPDX-License-Identifier: Apache-2.0
"""Which of an image's statements of colour counts.

PNG (third edition, 4.3): cICP before iCCP before sRGB before gAMA and cHRM. Elsewhere an ICC profile; without one, TIFF
has primaries and a curve (TIFF 6.0, section 20), and EXIF says "R03" for Adobe RGB where a camera wrote no profile
(DCF 2.0).
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from isthmus.arrays.colour import ColourWarning
from isthmus.arrays.colour.code_points import CodePoints, space_of
from isthmus.arrays.colour.convert import is_neutral, is_srgb
from isthmus.arrays.colour.profile import space_of_profile
from isthmus.arrays.colour.space import D65, Curve, Space, from_xyz, power, srgb_curve, table, xyz_of

if TYPE_CHECKING:
    from PIL import Image

_INTEROPERABILITY, _INDEX = 0xA005, 1
_ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_TRANSFER_FUNCTION, _WHITE_POINT, _PRIMARIES = 301, 318, 319
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_NEAR_SRGB = 0.005  # a gamma of 1 / 2.2, however rounded, is how PNG says sRGB (PNG 3, 11.3.2.5)


def declared(image: "Image.Image", stated: CodePoints | None) -> Space | bytes | None:
    """What has to be applied to `image`: a `Space`, an ICC profile as bytes where it is no `Space` of such an image, or
    None where it is sRGB, or says nothing.

    stated: what a file says beside what Pillow read, if that counts first. Raises ValueError for HDR and for code
    points that are not known.
    """
    found = space_of(stated) if stated else _of_info(image)
    return None if isinstance(found, Space) and is_srgb(found) else found


def _of_info(image: "Image.Image") -> Space | bytes | None:
    info = image.info
    if "icc_profile" in info:
        profile = info["icc_profile"]
        if not isinstance(profile, bytes):  # Pillow could not inflate it
            warnings.warn("its colour profile is damaged and was ignored: colours may be off", ColourWarning, 6)
            return None
        if profile:
            space = space_of_profile(profile)  # refuses HDR
            return space if space and _suits(space, image) else profile
    if "srgb" in info:
        return None
    if "gamma" in info or "chromaticity" in info:
        return _of_gamma(info.get("gamma"), info.get("chromaticity"))
    if image.mode == "CMYK":
        return None
    tags = getattr(image, "tag_v2", {})
    if _TRANSFER_FUNCTION in tags or _PRIMARIES in tags:
        points = (*tags.get(_WHITE_POINT, D65), *tags[_PRIMARIES]) if _PRIMARIES in tags else None
        return _of_gamma(None, points, tags.get(_TRANSFER_FUNCTION))
    return _of_exif(image)


def _suits(space: Space, image: "Image.Image") -> bool:
    """Grey may be under a profile of RGB whose channels are alike; CMYK is under neither."""
    if image.mode in _GREY:
        return len(space.curves) == 1 or is_neutral(space)
    return image.mode != "CMYK" and len(space.curves) == 3


def _of_gamma(gamma: float | None, points: Sequence[float] | None, light: Sequence[int] | None = None) -> Space | None:
    """gamma: samples are light to this power (gAMA). points: chromaticities of white, red, green and blue (cHRM).

    light: 0..65535 of each sample, of all channels or of three.
    """
    curves: tuple[Curve, ...] = (srgb_curve,)
    matrix = None
    try:
        if gamma is not None and not 0.05 <= gamma <= 20:
            raise ValueError(f"gamma {gamma}")
        if gamma is not None and abs(gamma - 1 / 2.2) >= _NEAR_SRGB:
            curves = (power(1 / gamma),)
        if light is not None:
            entries = np.array(light, np.float64).reshape(-1, _entries(len(light)))
            if (entries[:, -1] <= entries[:, 0]).any():
                raise ValueError("a transfer function that falls")
            curves = tuple(table(one) for one in entries)
        if points is not None:
            numbers = [float(v) for v in points]
            white, *primaries = zip(numbers[::2], numbers[1::2], strict=True)
            matrix = from_xyz(xyz_of(primaries, white))
    except (TypeError, ValueError) as error:
        warnings.warn(f"its gamma or primaries were ignored ({error}): colours may be off", ColourWarning, 7)
        return None
    return Space(curves, matrix)


def _entries(count: int) -> int:
    """Of a channel of a TIFF transfer function: 2 to the bits of a sample, once or three times."""
    for channels in (1, 3):
        if count % channels == 0 and (count // channels).bit_count() == 1 and count // channels > 1:
            return count // channels
    raise ValueError(f"a transfer function of {count} entries")


def _of_exif(image: "Image.Image") -> Space | None:
    if "exif" not in image.info:
        return None
    try:
        index = image.getexif().get_ifd(_INTEROPERABILITY).get(_INDEX)
    except Exception:  # damaged EXIF raises anything, and is announced where the orientation is read
        return None
    if index not in ("R03", b"R03"):
        return None
    return Space((power(563 / 256),), from_xyz(xyz_of(_ADOBE, D65)))
